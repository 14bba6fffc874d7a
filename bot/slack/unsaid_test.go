package slack

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// says has a method answered with a word of Slack's.
func says(word string) func(called) (int, any) {
	return func(called) (int, any) { return http.StatusOK, map[string]any{"ok": false, "error": word} }
}

func TestAServerThatDoesNotSayWhoseTheTokenIsIsServed(t *testing.T) {
	bare := func(called) (int, any) { return http.StatusOK, map[string]any{"ok": true} }
	for name, auth := range map[string]func(called) (int, any){
		"it does not know the method":     says("unknown_method"),
		"it calls that something else":    says("not_implemented"),
		"it lets nobody ask":              says("missing_scope"),
		"it has nothing at that address":  func(called) (int, any) { return http.StatusNotFound, "no such page" },
		"it answers that all is well":     bare,
		"it answers with a team's name":   func(called) (int, any) { return http.StatusOK, map[string]any{"ok": true, "team": "Acme"} },
		"it says something without sense": says("NO!"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.api.on("auth.test", auth)
			if _, err := w.workspaces.holder(t.Context(), w.workspaces.home); err != nil { // a command waits for less than a second
				t.Fatal(err)
			}
			if got := w.post("/slack/commands", w.command("list")); got.Code != 200 || got.Body.Len() != 0 {
				t.Fatalf("a command is answered with %d %s", got.Code, got.Body)
			}
			if e := w.shelf.one(t); e.Identity != "slack:U1" || e.Place.ID() != "T1/C1" {
				t.Errorf("%s typed it in %s", e.Identity, e.Place.ID())
			}
			if err := w.Answer(t.Context(), w.shelf.one(t), 0, bot.ChatMessage{Text: "x"}); err != nil || len(w.api.told()) != 1 {
				t.Errorf("the answer: %v, %q", err, w.api.told())
			}
			if sent, err := w.Post(t.Context(), bot.ChatPlace{Platform: "slack", Workspace: "T1", Channel: "C1"}, "k", bot.ChatMessage{Text: "x"}); err == nil {
				t.Errorf("a message without a timestamp is %+v", sent)
			}
		})
	}
	t.Run("and people of other workspaces stay strangers", func(t *testing.T) {
		w := newWorld(t)
		w.api.on("auth.test", says("unknown_method"))
		w.post("/slack/interactions", w.click(buttonValue{Line: "approve 01"}, `"team_id":"T1"}`, `"team_id":"T9"}`))
		if e := w.shelf.one(t); e.Identity != "slack:T9.U1" || e.Place.ID() != "T1/C1" {
			t.Errorf("%s clicked in %s", e.Identity, e.Place.ID())
		}
	})
	t.Run("until it does say", func(t *testing.T) {
		w := newWorld(t)
		w.api.on("auth.test", says("unknown_method"))
		if _, err := w.workspaces.holder(t.Context(), w.workspaces.home); err != nil {
			t.Fatal(err)
		}
		w.api.on("auth.test", w.api.usual)
		if err := w.workspaces.againWhose(t.Context(), w.workspaces.home); err != nil {
			t.Fatal(err)
		}
		if h, err := w.workspaces.holder(t.Context(), w.workspaces.home); err != nil || h.team != "T1" || h.unsaid != nil || h.is("T9") {
			t.Errorf("the token is of %+v: %v", h, err)
		}
	})
}

func TestARefusedTokenAndATroubleThatPassesAreNoServerWithoutTheMethod(t *testing.T) {
	for name, auth := range map[string]func(called) (int, any){
		"the token is wrong":           says("invalid_auth"),
		"the token is revoked":         says("token_revoked"),
		"the token is of a wrong kind": says("not_allowed_token_type"),
		"Slack has a fault":            says("internal_error"),
		"Slack's server has a fault":   func(called) (int, any) { return http.StatusBadGateway, "" },
		"Slack wants a pause":          func(called) (int, any) { return http.StatusTooManyRequests, "" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.api.on("auth.test", auth)
			got := w.post("/slack/commands", w.command("list"))
			if got.Code != 200 || !strings.Contains(got.Body.String(), "Slack does not tell Berth") || strings.Contains(got.Body.String(), "store") {
				t.Errorf("a command is answered with %d %s", got.Code, got.Body)
			}
			if len(w.shelf.all()) != 0 {
				t.Errorf("stored is %+v", w.shelf.all())
			}
		})
	}
	own, err := New(Options{BotToken: "xoxb-1"})
	if err != nil {
		t.Fatal(err)
	}
	if own.unsaid(&refused{word: "unknown_method"}) || own.api.missing("auth.test", http.StatusNotFound) {
		t.Error("Slack itself is taken for a server without auth.test")
	}
}

func TestWhatNamesNoWorkspaceIsOfTheFirst(t *testing.T) {
	for name, post := range map[string]func(w *world){
		"a command": func(w *world) { w.post("/slack/commands", w.command("list", "team_id", "")) },
		"a click": func(w *world) {
			w.post("/slack/interactions", w.click(buttonValue{Line: "list"}, `,"team_id":"T1"}`, `}`, `"team":{"id":"T1","domain":"acme"},`, ``, `,"team":"T1"`, ``))
		},
		"an event": func(w *world) {
			w.post("/slack/events", `{"type":"event_callback","event_id":"Ev1","event":{"type":"app_mention","user":"U1","channel":"C1","ts":"1699999999.000100","text":"<@UBOT1> list"}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			post(w)
			if e := w.shelf.one(t); e.Identity != "slack:U1" || e.Place.ID() != "T1/C1" || e.Line != "list" {
				t.Errorf("%s did %q in %s", e.Identity, e.Line, e.Place.ID())
			}
		})
	}
	t.Run("once Slack says which that is", func(t *testing.T) {
		w := newWorld(t).running(t)
		w.api.on("auth.test", says("internal_error"))
		w.post("/slack/commands", w.command("list", "team_id", ""))
		w.api.on("auth.test", w.api.usual)
		w.clock.pass(time.Second)
		until(t, w.shelf.change, "it is stored", func() bool { return len(w.shelf.all()) == 1 })
		if e := w.shelf.one(t); e.Identity != "slack:U1" || e.Place.ID() != "T1/C1" {
			t.Errorf("%s did it in %s", e.Identity, e.Place.ID())
		}
	})
}

func TestWhatDiffersIsNotOneForItsTrigger(t *testing.T) {
	w := newWorld(t)
	for _, text := range []string{"list", "help", "list"} {
		w.post("/slack/commands", w.command(text))
	}
	if got := len(w.shelf.all()); got != 2 {
		t.Errorf("three commands of two kinds, with one trigger, are %d events", got)
	}
	for _, trigger := range []string{"9.9.9", "9.9.9", "9.9.10"} {
		w.post("/slack/interactions", w.click(buttonValue{Line: "extend shop/pr-1"}, "9.9.9", trigger))
	}
	if got := len(w.shelf.all()); got != 4 {
		t.Errorf("with three clicks of two triggers there are %d events", got)
	}
}

func TestEventsAreToldApartWithoutAnID(t *testing.T) {
	w := newWorld(t)
	mention := func(ts string) string {
		return `{"type":"event_callback","team_id":"T1","event_time":1699999999.000100,"event":{"type":"app_mention","user":"U1","channel":"C1","ts":"` + ts + `","text":"<@UBOT1> list"}}`
	}
	for _, ts := range []string{"1699999999.000100", "1699999999.000100", "1699999999.000200"} {
		if got := w.post("/slack/events", mention(ts)); got.Code != 200 {
			t.Fatalf("the answer is %d %s", got.Code, got.Body)
		}
	}
	if got := len(w.shelf.all()); got != 2 {
		t.Errorf("two messages, one delivered twice, are %d events", got)
	}
}

func TestAnAnswerFindsAWayPastMethodsThatAreMissing(t *testing.T) {
	for name, open := range map[string]func(called) (int, any){
		"conversations.open is not known":        says("unknown_method"),
		"conversations.open needs another scope": says("missing_scope"),
		"nothing is at conversations.open":       func(called) (int, any) { return http.StatusNotFound, "" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.api.on("views.update", says("unknown_method"))
			w.api.on("chat.postEphemeral", says("unknown_method"))
			w.api.on("conversations.open", open)
			w.api.on("chat.postMessage", func(called) (int, any) { return http.StatusOK, map[string]any{"ok": true, "ts": "1.2"} })
			e := bot.ChatEvent{ID: "e", User: "U1", Answer: viewAnswer + "V1", At: w.clock.now(), Place: bot.ChatPlace{Platform: "slack", Workspace: "T1", Channel: "C1"}}
			if err := w.Answer(t.Context(), e, 0, bot.ChatMessage{Text: "x"}); err != nil {
				t.Fatal(err)
			}
			if posted := w.api.of("chat.postMessage"); len(posted) != 1 || posted[0].form.Get("channel") != "U1" {
				t.Errorf("posted is %+v", posted)
			}
		})
	}
}

func TestAServerWithoutAccountsHasGroups(t *testing.T) {
	w := newWorld(t)
	w.api.on("usergroups.users.list", func(called) (int, any) {
		return http.StatusOK, map[string]any{"ok": true, "users": []string{"U1"}}
	})
	ask := func() (bool, error) {
		return w.Groups().Member(context.Background(), "S1", nil, approvals.Person{Name: "ana", Identities: []string{"slack:U1"}})
	}
	w.api.on("users.info", says("missing_scope"))
	if is, err := ask(); is || err == nil {
		t.Errorf("without the scope to look: %v, %v", is, err)
	}
	w.api.on("users.info", says("unknown_method"))
	if is, err := ask(); !is || err != nil {
		t.Errorf("without accounts to look at: %v, %v", is, err)
	}
}
