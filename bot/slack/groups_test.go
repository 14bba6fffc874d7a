package slack

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot/slack/slacktest"
)

func TestWhoIsInAUserGroup(t *testing.T) {
	person := func(identities ...string) approvals.Person {
		return approvals.Person{Name: "ana", Identities: identities}
	}
	tests := map[string]struct {
		group  string
		person approvals.Person
		change func(w *town)
		want   bool
		code   actions.Code
	}{
		"a member is": {group: "S1", person: person("github:ana", "slack:U1"), want: true},
		"a member by another of their accounts is":      {group: "S1", person: person("slack:U77", "slack:U1"), want: true},
		"somebody else is not":                          {group: "S1", person: person("slack:U2")},
		"somebody without Slack is not":                 {group: "S1", person: person("github:ana", "discord:1")},
		"nobody is not":                                 {group: "S1", person: person()},
		"a member of a further workspace's group is":    {group: "T2.S2", person: person("slack:T2.U5"), want: true},
		"a namesake of the first workspace is not":      {group: "T2.S2", person: person("slack:U5")},
		"a namesake of a further workspace is not":      {group: "S1", person: person("slack:T2.U1")},
		"the first workspace may be named, too":         {group: "T1.S1", person: person("slack:U1"), want: true},
		"a name that is no account is not":              {group: "S1", person: person("slack:U1&usergroup=S9", "slack:")},
		"a deactivated member is not":                   {group: "S1", person: person("slack:U1"), change: func(w *town) { w.Deactivate("U1") }},
		"a disabled group is an error":                  {group: "S3", person: person("slack:U1"), code: actions.CodeDownstream},
		"a group that there is not is an error":         {group: "S9", person: person("slack:U1"), code: actions.CodeDownstream},
		"what cannot be a group is an error":            {group: "dbas", person: person("slack:U1"), code: actions.CodeInvalid},
		"a channel is no group":                         {group: "C1", person: person("slack:U1"), code: actions.CodeInvalid},
		"half a name is an error":                       {group: "T2.", person: person("slack:U1"), code: actions.CodeInvalid},
		"a workspace that Berth has no token of is":     {group: "T7.S1", person: person("slack:U1"), code: actions.CodeNotFound},
		"an answer of another kind is an error":         {group: "S1", person: person("slack:U1"), change: fails("usergroups.users.list", slacktest.Fault{Error: "fatal_error"}), code: actions.CodeUnavailable},
		"no answer is an error":                         {group: "S1", person: person("slack:U1"), change: fails("usergroups.users.list", slacktest.Fault{Cut: true}), code: actions.CodeUnavailable},
		"a pause that Slack wants is an error":          {group: "S1", person: person("slack:U1"), change: fails("usergroups.users.list", slacktest.Fault{Status: http.StatusTooManyRequests}), code: actions.CodeUnavailable},
		"not being told who still signs in is an error": {group: "S1", person: person("slack:U1"), change: fails("users.info", slacktest.Fault{Status: http.StatusInternalServerError}), code: actions.CodeUnavailable},
		"a scope that the app lacks is an error":        {group: "S1", person: person("slack:U1"), change: fails("usergroups.users.list", slacktest.Fault{Error: "missing_scope"}), code: actions.CodeDownstream},
		"a token that does not count any more is one":   {group: "S1", person: person("slack:U1"), change: fails("usergroups.users.list", slacktest.Fault{Error: "token_revoked"}), code: actions.CodeDownstream},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t, false, slacktest.Options{})
			w.must(w.AddGroup(slacktest.Group{ID: "S1", Handle: "db", Members: []string{"U1"}}))
			w.must(w.AddGroup(slacktest.Group{ID: "S2", Team: "T2", Handle: "db", Members: []string{"U5"}}))
			w.must(w.AddGroup(slacktest.Group{ID: "S3", Handle: "old", Members: []string{"U1"}, Disabled: true}))
			s, _ := w.connected(1)
			if tt.change != nil {
				tt.change(w)
			}
			in, err := s.Groups().Member(context.Background(), tt.group, nil, tt.person)
			if in != tt.want || actions.CodeOf(err) != tt.code {
				t.Errorf("in it: %v, %v", in, err)
			}
		})
	}
}

func fails(method string, f slacktest.Fault) func(*town) {
	return func(w *town) { w.Fail(method, -1, f) }
}

func TestAnswersAboutGroupsCountForThreeSeconds(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	members := []string{"U1", "U2"}
	w.api.on("usergroups.users.list", func(called) (int, any) {
		mu.Lock()
		defer mu.Unlock()
		return http.StatusOK, map[string]any{"ok": true, "users": members}
	})
	w.api.on("users.info", func(c called) (int, any) {
		return http.StatusOK, map[string]any{"ok": true, "user": map[string]any{"id": c.form.Get("user")}}
	})
	ask := func(user string, want bool) {
		t.Helper()
		in, err := w.Groups().Member(context.Background(), "S1", nil, approvals.Person{Name: "x", Identities: []string{"slack:" + user}})
		if err != nil || in != want {
			t.Errorf("%s is in it: %v, %v", user, in, err)
		}
	}
	ask("U1", true)
	ask("U1", true)
	ask("U2", true)
	if lists, looks := len(w.api.of("usergroups.users.list")), len(w.api.of("users.info")); lists != 1 || looks != 2 {
		t.Errorf("Slack was asked %d times for the group and %d times for accounts", lists, looks)
	}
	mu.Lock()
	members = []string{"U2"}
	mu.Unlock()
	w.clock.pass(keepGroup - time.Millisecond)
	ask("U1", true)
	w.clock.pass(time.Millisecond)
	ask("U1", false)
	ask("U2", true)
	w.clock.pass(keepGroup)
	w.api.on("usergroups.users.list", func(called) (int, any) { return http.StatusOK, map[string]any{"ok": false, "error": "fatal_error"} })
	if in, err := w.Groups().Member(context.Background(), "S1", nil, approvals.Person{Identities: []string{"slack:U2"}}); err == nil || in {
		t.Errorf("a failure counts as %v, %v", in, err)
	}
	w.clock.pass(-time.Hour) // a clock that goes back keeps nothing alive
	if in, err := w.Groups().Member(context.Background(), "S1", nil, approvals.Person{Identities: []string{"slack:U2"}}); err == nil || in {
		t.Errorf("with the clock put back it counts as %v, %v", in, err)
	}
}

func TestNobodyIsInAGroupWhileSlackDoesNotSayWhoseTheTokenIs(t *testing.T) {
	w := newWorld(t)
	w.api.on("auth.test", func(called) (int, any) { return http.StatusBadGateway, nil })
	in, err := w.Groups().Member(context.Background(), "T1.S1", nil, approvals.Person{Identities: []string{"slack:U1"}})
	if in || actions.CodeOf(err) != actions.CodeUnavailable {
		t.Errorf("in it: %v, %v", in, err)
	}
}

func TestChecksSayWhatToDo(t *testing.T) {
	tests := map[string]struct {
		change      func(w *world)
		ok          bool
		detail, fix string
	}{
		"all is well":                   {func(*world) {}, true, "acme.slack.com as UBOT1 (T1)", ""},
		"a wrong bot token":             {func(w *world) { w.api.teams = nil }, false, "auth.test: invalid_auth", "xoxb-"},
		"no way to Slack":               {func(w *world) { w.api.on("auth.test", func(called) (int, any) { return 502, nil }) }, false, "HTTP status 502", "reaches"},
		"a scope that was not asked":    {func(w *world) { w.api.scopes = "chat:write,commands" }, false, "scopes that are missing: app_mentions:read", "berth slack manifest"},
		"a token of another workspace":  {func(w *world) { w.api.teams = map[string]string{"xoxb-home": "T1", "xoxb-two": "T3"} }, true, "T1", ""},
		"Slack wanting to be left be":   {func(w *world) { w.api.on("auth.test", func(called) (int, any) { return 429, nil }) }, false, "tried again in 7s", "reaches"},
		"what says no scopes has those": {func(w *world) { w.api.scopes = "-" }, true, "T1", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tt.change(w)
			all := w.Checks(t.Context())
			if len(all) != 2 || all[0].Name != "slack" || all[1].Name != "slack T2" || all[0].Needed {
				t.Fatalf("the checks are %+v", all)
			}
			if c := all[0]; c.OK != tt.ok || !strings.Contains(c.Detail, tt.detail) || !strings.Contains(c.Fix, tt.fix) || c.OK != (c.Fix == "") || strings.Contains(c.Detail, "xoxb") {
				t.Errorf("the check is %+v", c)
			}
			if c := all[1]; strings.Contains(name, "another workspace") && (c.OK || !strings.Contains(c.Detail, "T3")) {
				t.Errorf("the check of the second is %+v", c)
			}
			asked := len(w.api.of("auth.test"))
			w.Checks(t.Context())
			if len(w.api.of("auth.test")) != asked {
				t.Error("Slack is asked each time")
			}
			w.clock.pass(keepCheck)
			w.Checks(t.Context())
			if len(w.api.of("auth.test")) != asked+2 {
				t.Error("Slack is not asked again")
			}
		})
	}
	w := newWorld(t)
	cut, cancel := context.WithCancel(context.Background())
	cancel()
	w.Checks(cut)
	if c := w.Checks(t.Context())[0]; !c.OK {
		t.Errorf("after a look that was cut short the check is %+v", c)
	}
}
