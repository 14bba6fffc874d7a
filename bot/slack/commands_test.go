package slack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot"
)

func TestASlashCommandIsStoredBeforeItIsAcknowledged(t *testing.T) {
	w := newWorld(t)
	if got := w.post("/slack/commands", w.command("deploy shop/pr-42 —ref main &amp; more")); got.Code != 200 || got.Body.Len() != 0 {
		t.Fatalf("the answer is %d %q", got.Code, got.Body)
	}
	e := w.shelf.one(t)
	want := bot.ChatEvent{
		ID: e.ID, Kind: bot.ChatCommand, Place: bot.ChatPlace{Platform: "slack", Workspace: "T1", Channel: "C1"}, Identity: "slack:U1", User: "U1", Name: "ana",
		Line: "deploy shop/pr-42 --ref main & more", Answer: w.api.URL + "/answer/1", Until: w.clock.now().Add(30 * time.Minute), At: w.clock.now(),
	}
	if fmt.Sprintf("%+v", e) != fmt.Sprintf("%+v", want) {
		t.Errorf("stored is\n%+v, not\n%+v", e, want)
	}
}

func TestEachCommandIsOneHoweverOftenItArrives(t *testing.T) {
	w := newWorld(t)
	for range 3 { // a replay is signed as well as the original
		w.post("/slack/commands", w.command("list"))
	}
	if w.shelf.takes != 3 {
		t.Errorf("%d arrived", w.shelf.takes)
	}
	w.shelf.one(t)
	w.post("/slack/commands", w.command("list", "trigger_id", "1.2.4"))
	if got := len(w.shelf.all()); got != 2 {
		t.Errorf("the same words typed again are %d events in all", got)
	}
	w.post("/slack/commands", w.command("list", "trigger_id", ""))
	w.post("/slack/commands", w.command("list", "trigger_id", ""))
	if got := len(w.shelf.all()); got != 3 {
		t.Errorf("a replay of one without a trigger made %d events in all", got)
	}
}

func TestAccountsAreCalledByTheirWorkspace(t *testing.T) {
	tests := map[string]struct {
		change []string
		want   string
		place  string
	}{
		"of the first workspace":     {nil, "slack:U1", "T1/C1"},
		"of a further one":           {[]string{"team_id", "T2"}, "slack:T2.U1", "T2/C1"},
		"in a direct message":        {[]string{"channel_id", "D1"}, "slack:U1", "T1/D1"},
		"of an organisation's token": {[]string{"team_id", "", "enterprise_id", "T1"}, "slack:U1", "T1/C1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.post("/slack/commands", w.command("list", tt.change...))
			e := w.shelf.one(t)
			if e.Identity != tt.want || e.Place.ID() != tt.place || e.Private != strings.Contains(tt.place, "/D") {
				t.Errorf("%s did it in %s (private: %v)", e.Identity, e.Place.ID(), e.Private)
			}
		})
	}
	w := newWorld(t)
	got := w.post("/slack/commands", w.command("list", "team_id", "T9"))
	if got.Code != 200 || !strings.Contains(got.Body.String(), "slack.workspaces") || len(w.shelf.all()) != 0 {
		t.Errorf("a workspace that Berth has no token of is answered with %d %s; stored: %+v", got.Code, got.Body, w.shelf.all())
	}
}

func TestAnswersGoToSlackAlone(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.APIURL = "" })
	for address, want := range map[string]bool{
		"https://hooks.slack.com/commands/T1/1/x":              true,
		"https://hooks.slack-gov.com/commands/T1/1/x":          true,
		"http://hooks.slack.com/commands/T1/1/x":               false,
		"https://hooks.slack.com.evil.org/x":                   false,
		"https://evil.org/hooks.slack.com":                     false,
		"https://evilslack.com/x":                              false,
		"https://u@hooks.slack.com/x":                          false,
		"file:///etc/passwd":                                   false,
		"http://169.254.169.254/latest":                        false,
		"":                                                     false,
		"https://hooks.slack.com/" + strings.Repeat("a", 2000): false,
	} {
		if got := w.address(address) != ""; got != want {
			t.Errorf("%q is taken: %v", address, got)
		}
	}
}

var errDown = errors.New("the store is down")

func TestWhoeverTypesIsToldWhatTheStoreDoes(t *testing.T) {
	if patience > time.Second || lookFor >= patience {
		t.Errorf("Slack, which waits for 3 s, is answered after %s", patience)
	}
	broken := func(context.Context) error { return errDown }
	for name, frozen := range map[string]bool{"while it is frozen": true, "while it refuses": false} {
		t.Run(name+", and what was typed is done when it comes back", func(t *testing.T) {
			w := newWorld(t)
			hurried(w.Surface)
			w.running(t)
			acked := make(chan struct{})
			w.shelf.failing(broken)
			if frozen { // it comes back, and refuses then, when the acknowledgement is there
				w.shelf.failing(func(ctx context.Context) error {
					select {
					case <-acked:
					case <-t.Context().Done():
					}
					<-ctx.Done()
					return ctx.Err()
				})
			}
			got := w.post("/slack/commands", w.command("list"))
			close(acked)
			if got.Code != 200 || !strings.Contains(got.Body.String(), `"response_type":"ephemeral"`) || !strings.Contains(got.Body.String(), "does not answer") {
				t.Errorf("the answer is %d %s", got.Code, got.Body)
			}
			w.shelf.failing(nil)
			until(t, w.shelf.change, "the command is stored", func() bool { return len(w.shelf.all()) == 1 })
			if told := w.api.told(); len(told) != 0 {
				t.Errorf("somebody was told %q", told)
			}
		})
	}
	t.Run("and is told when the minute is over in vain", func(t *testing.T) {
		w := newWorld(t).running(t)
		w.shelf.failing(broken)
		w.post("/slack/commands", w.command("list"))
		w.clock.pass(61 * time.Second)
		until(t, w.api.change, "it is told", func() bool { return len(w.api.told()) == 1 })
		if told := w.api.told()[0]; !strings.Contains(told, "was not done") {
			t.Errorf("told is %s", told)
		}
	})
	t.Run("a click is told by its own address, since nobody reads its acknowledgement", func(t *testing.T) {
		w := newWorld(t).running(t)
		w.shelf.failing(broken)
		if got := w.post("/slack/interactions", w.click(buttonValue{Line: "approve 01"})); got.Code != 200 || got.Body.Len() != 0 {
			t.Errorf("the answer is %d %s", got.Code, got.Body)
		}
		until(t, w.api.change, "it is told", func() bool { return len(w.api.told()) == 1 })
		w.shelf.failing(nil)
		until(t, w.shelf.change, "the click is stored", func() bool { return len(w.shelf.all()) == 1 })
	})
	t.Run("an event is to be delivered again", func(t *testing.T) {
		w := newWorld(t)
		w.shelf.failing(broken)
		body := eventText("Ev1", `"type":"app_mention","user":"U1","text":"<@UBOT1> list","ts":"1699999999.1","channel":"C1"`)
		if got := w.post("/slack/events", body); got.Code != http.StatusServiceUnavailable {
			t.Errorf("the answer is %d", got.Code)
		}
		w.shelf.failing(nil)
		if got := w.post("/slack/events", body); got.Code != 200 {
			t.Errorf("the second answer is %d", got.Code)
		}
		w.shelf.one(t)
	})
}

func TestNoMoreIsHeldThanThereIsRoomFor(t *testing.T) {
	w := newWorld(t)
	w.shelf.failing(func(context.Context) error { return errDown })
	for n := range maxHeld {
		w.post("/slack/commands", w.command("list", "trigger_id", fmt.Sprint(n)))
	}
	got := w.post("/slack/commands", w.command("list", "trigger_id", "last"))
	if got.Code != 200 || !strings.Contains(got.Body.String(), "was not taken") {
		t.Errorf("one too many is answered with %d %s", got.Code, got.Body)
	}
	w.shelf.failing(nil)
	w.running(t)
	until(t, w.shelf.change, "all that was held is stored", func() bool { return len(w.shelf.all()) == maxHeld })
}

func TestNobodyPassesForSomebodyElseWhileSlackDoesNotSayWhoseTheTokenIs(t *testing.T) {
	w := newWorld(t)
	w.api.on("auth.test", func(called) (int, any) { return 500, map[string]any{} })
	w.running(t) // it asks at once
	got := w.post("/slack/commands", w.command("list"))
	if got.Code != 200 || len(w.shelf.all()) != 0 {
		t.Errorf("the answer is %d, and stored is %+v", got.Code, w.shelf.all())
	}
	w.api.on("auth.test", nil)
	w.clock.pass(time.Second)
	until(t, w.shelf.change, "the command is stored", func() bool { return len(w.shelf.all()) == 1 })
	if e := w.shelf.one(t); e.Identity != "slack:U1" {
		t.Errorf("it was done by %s", e.Identity)
	}
}

func TestSecretsReachNoLog(t *testing.T) {
	w := newWorld(t).running(t)
	w.shelf.failing(func(context.Context) error { return errDown })
	w.api.on("views.open", func(called) (int, any) { return 200, map[string]any{"ok": false, "error": "invalid_trigger"} })
	w.post("/slack/commands", w.command("list"))
	w.post("/slack/interactions", w.click(buttonValue{Line: "deny 01", Reason: "Why?"}))
	w.clock.pass(61 * time.Second)
	until(t, w.api.change, "both are told", func() bool { return len(w.api.told()) >= 2 })
	for _, secret := range []string{"xoxb-", "/answer/", testSecret} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("the log has %q in it:\n%s", secret, w.log)
		}
	}
}
