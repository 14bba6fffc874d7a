package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot/api"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestWhatProgramsPrintIsMergedAndFiltered(t *testing.T) {
	s := start(t)
	s.Work()
	s.do("deploy shop/pr-42")
	s.Executor.Print("db", actions.LogLine{Time: noon, Source: "db-0/db", Text: "ready"}, actions.LogLine{Time: noon.Add(2 * time.Second), Source: "db-0/db", Text: "query \x1b[31mfailed"})
	s.Executor.Print("web", actions.LogLine{Time: noon.Add(time.Second), Source: "web-1/app", Text: "listening"}, actions.LogLine{Time: noon.Add(3 * time.Second), Source: "web-2/app", Text: "GET /"})
	for query, want := range map[string]string{
		"":                                      "ready|listening|query \x1b[31mfailed|GET /",
		"?part=web":                             "listening|GET /",
		"?pod=web-2":                            "GET /",
		"?tail=1":                               "query \x1b[31mfailed|GET /",
		"?contains=ready":                       "ready",
		"?since=2026-03-01T12:00:02Z":           "query \x1b[31mfailed|GET /",
		"?since=1s":                             "",
		"?part=web&since=2026-03-01T12:00Z":     "422",
		"?part=nothing":                         "404",
		"?tail=-1":                              "422",
		"?nonsense=1":                           "422",
		"?tail=99999999999999999999":            "422",
		"?since=-5m":                            "422",
		"?since=9999999h":                       "422",
		"?since=0001-01-01T00:00:00Z":           "ready|listening|query \x1b[31mfailed|GET /",
		"?contains=" + strings.Repeat("x", 801): "422",
	} {
		a := s.raw(http.MethodGet, shop42+"/logs"+query, "eve-token", nil, nil)
		var got string
		if a.status != http.StatusOK {
			got = map[int]string{404: "404", 422: "422"}[a.status]
		} else {
			var texts []string
			for line := range strings.Lines(string(a.body)) {
				var l actions.LogLine
				if err := json.Unmarshal([]byte(line), &l); err != nil {
					t.Fatalf("%s: %q: %v", query, line, err)
				}
				texts = append(texts, l.Text)
			}
			got = strings.Join(texts, "|")
		}
		if got != want {
			t.Errorf("logs%s are %q (%d), want %q", query, got, a.status, want)
		}
	}
	s.Executor.Fail("db", actions.Errorf("x", actions.CodeDownstream, "The cluster does not answer."), "logs")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+shop42+"/logs", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ci-token")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	told, err := io.ReadAll(res.Body) // which breaks off, since it is not all
	if lines := strings.Split(strings.TrimSpace(string(told)), "\n"); err == nil || !strings.Contains(lines[len(lines)-1], "The cluster does not answer.") {
		t.Errorf("a part that fails after its lines is not told of: %q, %v", lines, err)
	}
	if a := s.raw(http.MethodGet, "/api/v1/environments/shop/pr-9/logs", "ci-token", nil, nil); a.status != http.StatusNotFound {
		t.Errorf("logs of nothing are answered %d", a.status)
	}
}

func TestLogsAreFollowedUntilTheReaderLeaves(t *testing.T) {
	s := start(t)
	s.Work()
	s.do("deploy shop/pr-42")
	s.Executor.Print("web", actions.LogLine{Time: noon, Source: "web-1/app", Text: "one"})
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+shop42+"/logs?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ci-token")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for _, want := range []string{"one", "two", "three"} {
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Fatalf("%q, want %q (%v)", lines.Text(), want, lines.Err())
		}
		s.Executor.Print("db", actions.LogLine{Time: noon, Source: "db-0/db", Text: map[string]string{"one": "two", "two": "three"}[want]})
	}
}

func TestImportsMakeRecordsAndNothingElse(t *testing.T) {
	s := start(t)
	s.Work()
	in := object{
		"app": "shop", "name": "orca", "state": "Archived", "owner": "bo", "note": "from Octopod", "created_at": "2025-05-01T10:00:00Z",
		"links":   []object{{"name": "bad", "url": "javascript:alert(1)"}, {"name": "secret", "url": "https://bo:secret@orca.example.org"}, {"name": "app", "url": "https://orca.example.org"}},
		"history": []object{{"verb": "deploy", "by": "bo", "at": "2025-05-01T10:01:00Z", "took": 60, "ok": true}, {"verb": "archive", "at": "2025-06-01T10:01:00Z", "ok": false, "error": "disk full"}},
	}
	for what, tt := range map[string]struct {
		token  string
		change func(object)
		status int
	}{
		"a deployer may not":             {"ci-token", func(object) {}, 403},
		"a viewer may not":               {"eve-token", func(object) {}, 403},
		"another state":                  {"ada-token", func(o object) { o["state"] = "CreatePending" }, 422},
		"another app":                    {"ada-token", func(o object) { o["app"] = "nothing" }, 404},
		"a name that is none":            {"ada-token", func(o object) { o["name"] = "Orca!" }, 422},
		"a key that --set may not name":  {"ada-token", func(o object) { o["set"] = object{"secret.key": "x"} }, 422},
		"a verb that there is not":       {"ada-token", func(o object) { o["history"] = []object{{"verb": "explode", "at": "2025-05-01T10:01:00Z", "ok": true}} }, 422},
		"a field that nobody knows":      {"ada-token", func(o object) { o["pods"] = 1 }, 422},
		"more of the past than is taken": {"ada-token", func(o object) { o["history"] = make([]object, 501) }, 422},
	} {
		body := object{}
		for k, v := range in {
			body[k] = v
		}
		tt.change(body)
		if a := s.raw(http.MethodPost, "/api/v1/imports", tt.token, body, nil); a.status != tt.status {
			t.Errorf("%s: %d %s, want %d", what, a.status, a.body, tt.status)
		}
	}
	a := s.raw(http.MethodPost, "/api/v1/imports", "ada-token", in, nil)
	if a.status != http.StatusCreated {
		t.Fatalf("%d: %s", a.status, a.body)
	}
	if a := s.raw(http.MethodPost, "/api/v1/imports", "ada-token", in, nil); a.status != http.StatusConflict {
		t.Errorf("the second time: %d: %s", a.status, a.body)
	}
	const orca = "/api/v1/environments/shop/orca"
	env := into[api.Environment](t, s.call(http.MethodGet, orca, nil, nil))
	if env.State != "Archived" || env.CreatedAt.Year() != 2025 || env.URL != "https://orca.example.org" || len(env.Links) != 1 || len(env.Parts) != 2 || env.ExpiresAt != nil {
		t.Errorf("the environment is %+v", env)
	}
	past := into[api.Page[api.Past]](t, s.call(http.MethodGet, orca+"/history", nil, nil)).Items
	if len(past) != 2 || past[0].Verb != "archive" || past[0].Error != "disk full" || past[1].By != "bo" {
		t.Errorf("its history is %+v", past)
	}
	if runs := s.Executor.Restarts(actions.Name{App: "shop", Env: "orca"}, "web"); runs != 0 {
		t.Errorf("something ran")
	}
	s.do("cleanup shop/orca")
	if env := into[api.Environment](t, s.call(http.MethodGet, orca, nil, nil)); env.State != "Cleaned" {
		t.Errorf("after a cleanup it is %s", env.State)
	}
}

// A name that Berth once had and cleaned up begins anew with an import: nothing of
// its earlier life is taken for what runs.
func TestAnImportOverACleanedNameIsANewLife(t *testing.T) {
	s := start(t)
	s.Work()
	s.do("deploy shop/orca")
	s.do("cleanup shop/orca")
	in := object{"app": "shop", "name": "orca", "state": "Running", "set": object{"image.tag": "v7"}}
	if a := s.raw(http.MethodPost, "/api/v1/imports", "ada-token", in, nil); a.status != http.StatusCreated {
		t.Fatalf("%d: %s", a.status, a.body)
	}
	env := actions.Name{App: "shop", Env: "orca"}
	record, err := s.Store.Environment(t.Context(), env)
	if err != nil || record.Commit.SHA != "" || len(record.Components) > 0 || record.LastAction != nil {
		t.Errorf("the record has something of its earlier life: %+v, %v", record, err)
	}
	s.do("deploy shop/orca")
	if record, err = s.Store.Environment(t.Context(), env); err != nil || record.Set["image.tag"] != "v7" || record.Deployed != 2 {
		t.Errorf("after a deploy it is %+v, %v", record, err)
	}
}

// What another tool had set stays set with the first deploy, as it would have
// there; Berth's own environments take what each deploy says.
func TestAnImportedEnvironmentKeepsWhatWasSet(t *testing.T) {
	s := start(t)
	s.Work()
	in := object{"app": "shop", "name": "orca", "state": "Running", "set": object{"image.tag": "v7"}}
	if a := s.raw(http.MethodPost, "/api/v1/imports", "ada-token", in, nil); a.status != http.StatusCreated {
		t.Fatalf("%d: %s", a.status, a.body)
	}
	env := actions.Name{App: "shop", Env: "orca"}
	for _, step := range []struct{ command, tag string }{{"deploy shop/orca", "v7"}, {"deploy shop/orca --set image.tag=v8", "v8"}, {"deploy shop/orca", ""}} {
		s.do(step.command)
		record, err := s.Store.Environment(t.Context(), env)
		if err != nil || record.Set["image.tag"] != step.tag {
			t.Errorf("after %q the tag is %q, want %q (%v)", step.command, record.Set["image.tag"], step.tag, err)
		}
	}
}
