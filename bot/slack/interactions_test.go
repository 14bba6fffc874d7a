package slack

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot"
)

func TestAClickIsItsCommand(t *testing.T) {
	w := newWorld(t)
	if got := w.post("/slack/interactions", w.click(buttonValue{Line: "approve 01jd", Digest: "abcdef"})); got.Code != 200 || got.Body.Len() != 0 {
		t.Fatalf("the answer is %d %q", got.Code, got.Body)
	}
	e := w.shelf.one(t)
	if e.Kind != bot.ChatCommand || !e.Clicked || e.Line != "approve 01jd" || e.Digest != "abcdef" || e.Message != "1699999000.000100" || e.Place.ID() != "T1/C1" ||
		e.Identity != "slack:U1" || e.Answer != w.api.URL+"/answer/click" || !e.At.Equal(time.Unix(1699999999, 500_000_000)) {
		t.Errorf("stored is %+v", e)
	}
	w.post("/slack/interactions", w.click(buttonValue{Line: "approve 01jd", Digest: "abcdef"}))
	w.shelf.one(t)
}

func TestWhereAClickIsDone(t *testing.T) {
	tests := map[string]struct {
		change          []string
		place, identity string
	}{
		"in a thread":                             {[]string{`"ts":"1699999000.000100","bot_id"`, `"ts":"1699999000.000100","thread_ts":"1699990000.1","bot_id"`}, "T1/C1/1699990000.1", "slack:U1"},
		"on the message that a thread hangs on":   {[]string{`"ts":"1699999000.000100","bot_id"`, `"ts":"1699999000.000100","thread_ts":"1699999000.000100","bot_id"`}, "T1/C1", "slack:U1"},
		"in a direct message":                     {[]string{`"C1"`, `"D1"`}, "T1/D1", "slack:U1"},
		"in a further workspace":                  {[]string{`"T1"`, `"T2"`}, "T2/C1", "slack:T2.U1"},
		"by a stranger in a shared channel":       {[]string{`"team_id":"T1"`, `"team_id":"T9"`}, "T1/C1", "slack:T9.U1"},
		"by one whose own team Slack names first": {[]string{`"team_id":"T1"`, `"team_id":"T9"`, `"team":{"id":"T1"`, `"team":{"id":"T9"`}, "T1/C1", "slack:T9.U1"},
		"by one of the first in a further's":      {[]string{`"team":{"id":"T1"`, `"team":{"id":"T2"`, `"team":"T1"`, `"team":"T2"`}, "T2/C1", "slack:U1"},
		"in an organisation that names no team":   {[]string{`"team":{"id":"T1","domain":"acme"}`, `"team":null`}, "T1/C1", "slack:U1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.post("/slack/interactions", w.click(buttonValue{Line: "status shop/pr-1"}, tt.change...))
			if e := w.shelf.one(t); e.Place.ID() != tt.place || e.Identity != tt.identity {
				t.Errorf("%s did it in %s", e.Identity, e.Place.ID())
			}
		})
	}
}

func TestWhatIsNoCommandIsAcknowledgedAlone(t *testing.T) {
	w := newWorld(t)
	for name, body := range map[string]string{
		"a link's button":       w.click(buttonValue{}, `"value":`, `"was":`),
		"another's value":       w.click(buttonValue{Line: "x"}, `{\"line\":\"x\"}`, `hello`),
		"a closed window":       wrapped(`{"type":"view_closed","user":{"id":"U1"},"team":{"id":"T1"},"view":{"id":"V1","callback_id":"berth_reason"}}`),
		"another's shortcut":    wrapped(`{"type":"shortcut","callback_id":"other","user":{"id":"U1"},"team":{"id":"T1"},"trigger_id":"1"}`),
		"another's window":      wrapped(`{"type":"view_submission","user":{"id":"U1"},"team":{"id":"T1"},"view":{"id":"V1","callback_id":"other"}}`),
		"what came after Berth": wrapped(`{"type":"hologram","user":{"id":"U1"},"team":{"id":"T1"}}`),
		"no action at all":      wrapped(`{"type":"block_actions","user":{"id":"U1"},"team":{"id":"T1"},"actions":[]}`),
	} {
		if got := w.post("/slack/interactions", body); got.Code != 200 || got.Body.Len() != 0 {
			t.Errorf("%s is answered with %d %s", name, got.Code, got.Body)
		}
	}
	if all := w.shelf.all(); len(all) != 0 {
		t.Errorf("stored is %+v", all)
	}
}

// opened is the window that Slack was asked to open.
func opened(t *testing.T, w *world, method string) (v struct {
	CallbackID string `json:"callback_id"`
	Metadata   string `json:"private_metadata"`
	Title      struct{ Text string }
	Submit     struct{ Text string }
	Blocks     []json.RawMessage
}) {
	t.Helper()
	until(t, w.api.change, "a window is opened", func() bool { return len(w.api.of(method)) > 0 })
	c := w.api.of(method)[0]
	if c.token != "xoxb-home" {
		t.Errorf("it was opened with the token %q", c.token)
	}
	if err := json.Unmarshal([]byte(c.form.Get("view")), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// submit is a window filled in.
func submit(callback, metadata, values, change string) string {
	return wrapped(fmt.Sprintf(`{"type":"view_submission","team":{"id":"T1"},"user":{"id":"U1","username":"ana","team_id":"T1"},"api_app_id":"A1","trigger_id":"3.3",
		"view":{"id":"V900","team_id":"T1","app_installed_team_id":"T1","type":"modal","hash":"163.abc","callback_id":%q,"private_metadata":%q,"state":{"values":{%s}}}%s}`, callback, metadata, values, change))
}

func TestAReasonIsAskedForInAWindow(t *testing.T) {
	w := newWorld(t)
	body := w.click(buttonValue{Line: "deny 01jd", Digest: "abc", Reason: "Why not?"}, "Approve", "Deny")
	if got := w.post("/slack/interactions", body); got.Code != 200 {
		t.Fatalf("the answer is %d", got.Code)
	}
	v := opened(t, w, "views.open")
	if v.CallbackID != callbackReason || v.Title.Text != "Deny" || v.Submit.Text != "Deny" || len(w.shelf.all()) != 0 {
		t.Errorf("the window is %+v; stored is %+v", v, w.shelf.all())
	}
	empty := w.post("/slack/interactions", submit(v.CallbackID, v.Metadata, `"reason":{"reason":{"type":"plain_text_input","value":" \n "}}`, ""))
	if !strings.Contains(empty.Body.String(), `"response_action":"errors"`) {
		t.Errorf("no reason is answered with %s", empty.Body)
	}
	filled := submit(v.CallbackID, v.Metadata, `"reason":{"reason":{"type":"plain_text_input","value":"It \"breaks\"\n  the  cart\u202e --break-glass"}}`, "")
	for range 2 {
		if got := w.post("/slack/interactions", filled); got.Code != 200 || got.Body.Len() != 0 {
			t.Errorf("the answer is %d %s", got.Code, got.Body)
		}
	}
	e := w.shelf.one(t)
	if e.Line != `deny 01jd --reason "It \"breaks\" the cart --break-glass"` || e.Digest != "abc" || !e.Clicked || e.Place.ID() != "T1/C1" || e.Message != "1699999000.000100" ||
		e.Answer != w.api.URL+"/answer/click" || e.Until.IsZero() {
		t.Errorf("stored is %+v", e)
	}
}

func TestWhoeverClicksIsToldWhenNoWindowOpens(t *testing.T) {
	w := newWorld(t)
	w.api.on("views.open", func(called) (int, any) { return 200, map[string]any{"ok": false, "error": "expired_trigger_id"} })
	w.post("/slack/interactions", w.click(buttonValue{Line: "deny 01jd", Reason: "Why not?"}))
	until(t, w.api.change, "it is told", func() bool { return len(w.api.told()) == 1 })
	if told := w.api.told()[0]; !strings.Contains(told, "/berth deny 01jd") || !strings.Contains(told, "nothing was done") {
		t.Errorf("told is %s", told)
	}
}

func TestALongAnswerGetsAWindow(t *testing.T) {
	w := newWorld(t)
	w.post("/slack/interactions", w.click(buttonValue{Line: "diff 01jd", Show: true}))
	if e := w.shelf.one(t); e.Answer != "view:V900" || e.Until.IsZero() {
		t.Errorf("the answer goes to %q until %s", e.Answer, e.Until)
	}
	v := opened(t, w, "views.open")
	if v.CallbackID != callbackShow {
		t.Errorf("the window is %+v", v)
	}
}

func TestALongAnswerGoesElsewhereWhenSlackIsSlow(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	w.api.on("views.open", func(c called) (int, any) { <-release; return w.api.usual(c) })
	w.lookFor = lookFor
	w.post("/slack/interactions", w.click(buttonValue{Line: "diff 01jd", Show: true})) // returns, though the window is not open
	if e := w.shelf.one(t); e.Answer != w.api.URL+"/answer/click" {
		t.Errorf("the answer goes to %q", e.Answer)
	}
	close(release)
	until(t, w.api.change, "the late window says so", func() bool { return len(w.api.of("views.update")) == 1 })
}

func TestAClickInAWindowIsAnsweredThere(t *testing.T) {
	w := newWorld(t)
	kept, err := note{Team: "T1", Channel: "C1", Thread: "1699990000.1"}.text()
	if err != nil {
		t.Fatal(err)
	}
	in := `{"type":"block_actions","user":{"id":"U1","team_id":"T1"},"team":{"id":"T1"},"trigger_id":"1","container":{"type":"view","view_id":"V5"},
		"view":{"id":"V5","type":"%s","private_metadata":%q,"state":{"values":{}}},"actions":[{"action_id":"berth:0","type":"button","value":"{\"line\":\"logs shop/pr-1\"}","action_ts":"1699999999.5"}]}`
	w.post("/slack/interactions", wrapped(fmt.Sprintf(in, "modal", kept)))
	if e := w.shelf.one(t); e.Answer != "view:V5" || e.Place.ID() != "T1/C1/1699990000.1" || len(w.api.of("views.open")) != 0 {
		t.Errorf("stored is %+v", e)
	}
	w = newWorld(t)
	w.post("/slack/interactions", wrapped(fmt.Sprintf(in, "home", "")))
	if e := w.shelf.one(t); e.Answer != "view:V900" || e.Place.ID() != "T1/@U1" || !e.Private {
		t.Errorf("a click on somebody's own page is stored as %+v", e)
	}
}

func TestAMessageIsDeployedByShortcut(t *testing.T) {
	w := newWorld(t)
	got := w.post("/slack/interactions", wrapped(fmt.Sprintf(`{"type":"message_action","callback_id":"berth_message","trigger_id":"5","team":{"id":"T1"},"channel":{"id":"C1","name":"ops"},
		"user":{"id":"U1","name":"ana","team_id":"T1"},"message_ts":"1699999000.1","message":{"type":"message","text":"see <https://github.com/acme/shop/pull/42|#42>","ts":"1699999000.1","user":"U2"},
		"response_url":%q}`, w.api.URL+"/answer/shortcut")))
	if got.Code != 200 {
		t.Fatalf("the answer is %d", got.Code)
	}
	v := opened(t, w, "views.open")
	all, _ := json.Marshal(v.Blocks)
	for _, has := range []string{`"initial_option":{"text":{"type":"plain_text","text":"pr-42"`, `"external_select"`, `"min_query_length":0`, `"deploy"`} {
		if !strings.Contains(string(all), has) {
			t.Errorf("the form lacks %s: %s", has, all)
		}
	}
	menu := fmt.Sprintf(`{"type":"block_suggestion","user":{"id":"U1","team_id":"T1"},"team":{"id":"T1"},"container":{"type":"view","view_id":"V900"},"action_id":"environment","block_id":"environment","value":"%%s",
		"view":{"id":"V900","type":"modal","private_metadata":%q}}`, v.Metadata)
	for typed, want := range map[string]string{
		"":           "shop/pr-42 shop/pr-7 pr-42",
		"PR-7":       "shop/pr-7 pr-7",
		"blog/pr-12": "blog/pr-12",
		"Zwölf ":     "", //nolint:gocritic // as it stands while somebody types
	} {
		var out struct {
			Options []struct {
				Text  struct{ Type, Text string }
				Value string
			}
		}
		answer := w.post("/slack/interactions", wrapped(fmt.Sprintf(menu, typed)))
		if err := json.Unmarshal(answer.Body.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, o := range out.Options {
			names = append(names, o.Value)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q is offered %q, not %q", typed, got, want)
		}
	}
	if asked := w.guess.asked[0]; !strings.HasPrefix(asked, "T1/C1 slack:U1 environment") {
		t.Errorf("asked was %s", asked)
	}
	w.post("/slack/interactions", submit(v.CallbackID, v.Metadata, `"verb":{"verb":{"selected_option":{"value":"deploy"}}},"environment":{"environment":{"selected_option":{"value":"shop/pr-42"}}},
		"ref":{"ref":{"value":"feature/x y"}},"reason":{"reason":{"value":null}}`, ""))
	e := w.shelf.one(t)
	if e.Line != `deploy shop/pr-42 --ref "feature/x y"` || e.Place.ID() != "T1/C1" || e.Answer != w.api.URL+"/answer/shortcut" || e.Identity != "slack:U1" {
		t.Errorf("stored is %+v", e)
	}
}

func TestACommandFromAnywhere(t *testing.T) {
	w := newWorld(t)
	w.post("/slack/interactions", wrapped(`{"type":"shortcut","callback_id":"berth_run","trigger_id":"5","team":{"id":"T1"},"user":{"id":"U1","username":"ana","team_id":"T1"},"action_ts":"1699999000.1"}`))
	v := opened(t, w, "views.open")
	fields := `"verb":{"verb":{"selected_option":{"value":"%s"}}},"environment":{"environment":{"selected_option":{"value":"%s"}}},"ref":{"ref":{"value":"%s"}},"place":{"place":{"selected_conversation":%s}}`
	for name, tt := range map[string]struct{ verb, target, ref, wrong string }{
		"an unknown verb":         {"conquer", "shop/pr-1", "", `"verb"`},
		"flags for a target":      {"deploy", "--break-glass", "", `"environment"`},
		"a ref that is not taken": {"archive", "shop/pr-1", "main", `"ref"`},
	} {
		got := w.post("/slack/interactions", submit(v.CallbackID, v.Metadata, fmt.Sprintf(fields, tt.verb, tt.target, tt.ref, "null"), ""))
		if !strings.Contains(got.Body.String(), tt.wrong) || !strings.Contains(got.Body.String(), `"errors"`) {
			t.Errorf("%s is answered with %s", name, got.Body)
		}
	}
	if len(w.shelf.all()) != 0 {
		t.Fatalf("stored is %+v", w.shelf.all())
	}
	w.post("/slack/interactions", submit(v.CallbackID, v.Metadata, fmt.Sprintf(fields, "archive", "shop/pr-1", "", `"C7"`), fmt.Sprintf(`,"response_urls":[{"block_id":"place","action_id":"place","channel_id":"C7","response_url":%q}]`, w.api.URL+"/answer/7")))
	if e := w.shelf.one(t); e.Line != "archive shop/pr-1" || e.Place.ID() != "T1/C7" || e.Answer != w.api.URL+"/answer/7" || e.Private {
		t.Errorf("stored is %+v", e)
	}
	w = newWorld(t)
	w.post("/slack/interactions", submit(v.CallbackID, v.Metadata, fmt.Sprintf(fields, "status", "shop/pr-1", "", "null"), ""))
	if e := w.shelf.one(t); e.Place.ID() != "T1/@U1" || !e.Private || e.Answer != "" {
		t.Errorf("stored is %+v", e)
	}
}

func TestNotesFit(t *testing.T) {
	long := note{Team: "T1", Channel: "C1", Line: strings.Repeat("ü", 2000), Answer: "https://hooks.slack.com/" + strings.Repeat("a", 990), Found: []string{"shop/pr-1"}}
	text, err := long.text()
	if err != nil || width(text) > maxPrivateMetadata {
		t.Fatalf("it has %d characters: %v", width(text), err)
	}
	back, err := readNote(text)
	if err != nil || back.Line != long.Line || back.Answer != "" {
		t.Errorf("read back it is %+v: %v", back, err)
	}
	if _, err := (note{Line: strings.Repeat("\\", 2000)}).text(); err == nil {
		t.Error("what is too long is taken")
	}
	for _, bad := range []string{"{", `{"c":"../x"}`, `{"h":"a b"}`, `[]`} {
		if _, err := readNote(bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
