package discord

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func testApps() []App {
	return []App{{Name: "shop", Repo: "acme/shop"}, {Name: "api", Repo: "acme/api"}, {Name: "edge", Repo: "acme/api"}}
}

func TestWhatMessagesSpeakOf(t *testing.T) {
	t.Parallel()
	s, _ := surfaceOf(t, nil, &taken{}, func(o *Options) { o.Apps = testApps })
	for text, want := range map[string][]string{
		"see https://github.com/acme/shop/pull/42/files please": {"shop/pr-42"},
		"https://github.com/ACME/Shop/pull/42":                  {"shop/pr-42"},
		"https://github.com/acme/api/pull/7":                    {"api/pr-7", "edge/pr-7"},
		"https://github.com/else/shop/pull/42":                  nil,
		"https://github.com/acme/shop/issues/42":                nil,
		"shop/demo, then api/pr-3. And shop/demo again":         {"shop/demo", "api/pr-3"},
		"and/or either/or a path /etc/shop/pr-1 or shop/pr-1/x": nil,
		"(shop/pr-1)": {"shop/pr-1"},
		"":            nil,
		"shop/pr-9 https://github.com/acme/shop/pull/9":               {"shop/pr-9"},
		"https://github.com/acme/shop/pull/0 https://x/shop/pull/1":   nil,
		"https://github.com/acme/shop/pull/99999999999999999999999 !": nil,
	} {
		if got := s.targetsIn(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestDeployWithBerth(t *testing.T) {
	t.Parallel()
	about := func(text string) string {
		quoted, _ := json.Marshal(text)
		return `{"name":"Deploy with Berth","type":3,"target_id":"5","resolved":{"messages":{"5":{"id":"5","content":` + string(quoted) + `,"embeds":[{"title":"PR","url":"https://github.com/acme/shop/pull/8"}]}}}}`
	}
	in := &taken{}
	s, _ := surfaceOf(t, nil, in, func(o *Options) { o.Apps = testApps })
	if _, r, text := send(t, s, done(typeCommand, about("no link here"))); r.Type != answerDeferred || len(in.all()) != 1 || in.all()[0].Line != "deploy shop/pr-8" {
		t.Errorf("%s %+v", text, in.all())
	}
	_, r, text := send(t, s, done(typeCommand, about("api/pr-1")))
	if r.Type != answerMessage || r.Data.Flags != flagEphemeral || !strings.Contains(text, `"b1|||deploy api/pr-1"`) || !strings.Contains(text, `"b1|||deploy shop/pr-8"`) || len(in.all()) != 1 {
		t.Error(text)
	}
	s.apps = nil
	if _, r, text = send(t, s, done(typeCommand, about("api/pr-1"))); r.Type != answerMessage || len(in.all()) != 1 {
		t.Error(text)
	}
}
