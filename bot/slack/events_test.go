package slack

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot/slack/slacktest"
)

func TestWhichMessagesAreCommands(t *testing.T) {
	const mention = `"type":"app_mention","user":"U1","team":"T1","text":"<@UBOT1> list","ts":"1699999999.000100","event_ts":"1699999999.000100","channel":"C1"`
	const message = `"type":"message","channel_type":"im","user":"U1","team":"T1","text":"list","ts":"1699999999.000100","event_ts":"1699999999.000100","channel":"D1"`
	change := func(fields string, what ...string) string { return strings.NewReplacer(what...).Replace(fields) }
	tests := map[string]struct {
		fields string
		taken  bool
	}{
		"a mention is":                                       {mention, true},
		"a direct message is":                                {message, true},
		"a message with a file is":                           {message + `,"subtype":"file_share"`, true},
		"a reply that is shown in the channel, too, is":      {change(message, `"type"`, `"thread_ts":"1699990000.1","subtype":"thread_broadcast","type"`), true},
		"what is not edited is":                              {mention + `,"edited":null`, true},
		"Berth's own is not":                                 {change(message, `"U1"`, `"UBOT1"`), false},
		"Berth's own is not, by its other name":              {message + `,"bot_id":"BBOT"`, false},
		"another bot's is not":                               {mention + `,"bot_id":"B7"`, false},
		"a bot's message of old is not":                      {change(message, `"user":"U1",`, "") + `,"subtype":"bot_message","bot_id":"B7"`, false},
		"Slackbot's is not":                                  {change(message, `"U1"`, `"USLACKBOT"`), false},
		"an edited one is not":                               {mention + `,"edited":{"user":"U1","ts":"1699999999.000200"}`, false},
		"an edit is not":                                     {`"type":"message","subtype":"message_changed","channel":"D1","ts":"1.1","message":{"text":"list","user":"U1"}`, false},
		"a deletion is not":                                  {`"type":"message","subtype":"message_deleted","channel":"D1","ts":"1.1","deleted_ts":"1.0"`, false},
		"somebody's joining is not":                          {change(mention, `"type"`, `"subtype":"channel_join","type"`), false},
		"a message in a channel without a mention is not":    {change(message, `"D1"`, `"C1"`), false},
		"a mention in a direct message is that message":      {change(mention, `"C1"`, `"D1"`), false},
		"one of nobody is not":                               {change(mention, `"user":"U1",`, ""), false},
		"a reaction is not, whatever it calls its parts":     {`"type":"reaction_added","user":"U1","item":{"type":"message","channel":"C1"},"text":{"a":1},"channel":{"id":"C1"}`, false},
		"Berth's being taken out of the workspace is not":    {`"type":"app_uninstalled"`, false},
		"a revoked token is not":                             {`"type":"tokens_revoked","tokens":{"bot":["UBOT1"]}`, false},
		"another tab of Berth's is not":                      {`"type":"app_home_opened","user":"U1","channel":"D1","tab":"messages","event_ts":"1.1"`, false},
		"the Home tab is":                                    {`"type":"app_home_opened","user":"U1","channel":"D1","tab":"home","event_ts":"1.1"`, true},
		"a link to Berth is":                                 {`"type":"link_shared","user":"U1","channel":"C1","message_ts":"1.1","links":[{"url":"https://berth.example.org/r/1","domain":"berth.example.org"}]`, true},
		"a link in capitals is":                              {`"type":"link_shared","user":"U1","channel":"C1","message_ts":"1.1","links":[{"url":"https://Berth.Example.org/r/1"}]`, true},
		"a link elsewhere is not":                            {`"type":"link_shared","user":"U1","channel":"C1","message_ts":"1.1","links":[{"url":"https://example.org/r/1"},{"url":"ftp://berth.example.org/"}]`, false},
		"a link that is still being written is not":          {`"type":"link_shared","user":"U1","channel":"COMPOSER","source":"composer","message_ts":"1c2d-uuid","links":[{"url":"https://berth.example.org/r/1"}]`, false},
		"a link that Berth itself posted is not":             {`"type":"link_shared","user":"UBOT1","channel":"C1","message_ts":"1.1","links":[{"url":"https://berth.example.org/r/1"}]`, false},
		"a link of a domain that only looks like ours isn't": {`"type":"link_shared","user":"U1","channel":"C1","message_ts":"1.1","links":[{"url":"https://berth.example.org@evil.org/"}]`, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for range 2 { // a retry is the same event
				if got := w.post("/slack/events", eventText("Ev1", tt.fields)); got.Code != http.StatusOK || got.Body.Len() != 0 {
					t.Errorf("the answer is %d %s", got.Code, got.Body)
				}
			}
			all := w.shelf.all()
			if tt.taken != (len(all) == 1) {
				t.Fatalf("stored is %+v", all)
			}
			if tt.taken && (all[0].ID != "Ev1" || all[0].User != "U1" || all[0].Identity != "slack:U1") {
				t.Errorf("stored is %+v", all[0])
			}
		})
	}
}

func TestWhoMentionsInASharedChannel(t *testing.T) {
	tests := map[string]struct{ fields, identity string }{
		"one of the workspace":                       {`"team":"T1"`, "slack:U1"},
		"one of whom Slack says nothing":             {`"x":1`, "slack:U1"},
		"a stranger by their team":                   {`"team":"T9"`, "slack:T9.U1"},
		"a stranger by the team that sends":          {`"team":"T1","source_team":"T9"`, "slack:T9.U1"},
		"a stranger by the account's own team":       {`"team":"T1","source_team":"T1","user_team":"T9"`, "slack:T9.U1"},
		"one of the second workspace, in the first":  {`"team":"T2"`, "slack:T2.U1"},
		"one of an organisation that is no one here": {`"team":"E9"`, "slack:E9.U1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.post("/slack/events", eventText("Ev1", `"type":"app_mention","user":"U1","text":"<@UBOT1> list","ts":"1.1","channel":"C1",`+tt.fields))
			if e := w.shelf.one(t); e.Identity != tt.identity || e.Place.ID() != "T1/C1" {
				t.Errorf("%s did it in %s", e.Identity, e.Place.ID())
			}
		})
	}
	w := newWorld(t)
	got := w.post("/slack/events", strings.ReplaceAll(eventText("Ev1", `"type":"app_mention","user":"U1","text":"<@UBOT1> list","ts":"1.1","channel":"C1"`), `"T1"`, `"T9"`))
	if got.Code != http.StatusOK || len(w.shelf.all()) != 0 || !strings.Contains(w.log.String(), "slack.workspaces") {
		t.Errorf("a workspace that Berth has no token of is answered with %d; stored: %+v; logged: %s", got.Code, w.shelf.all(), w.log)
	}
	w = newWorld(t)
	shared := strings.Replace(eventText("Ev1", `"type":"app_mention","user":"U1","team":"T9","text":"<@UBOT1> list","ts":"1.1","channel":"C1"`), `"team_id":"T1"`, `"team_id":"T9"`, 1)
	w.post("/slack/events", shared)
	if e := w.shelf.one(t); e.Place.ID() != "T1/C1" || e.Identity != "slack:T9.U1" {
		t.Errorf("an event that names the stranger's workspace first is stored as %+v", e)
	}
}

func TestSlackDeliversAgainWhatCouldNotBeStored(t *testing.T) {
	w := newTown(t, false, slacktest.Options{EventRetries: []time.Duration{0, time.Millisecond, time.Millisecond}})
	w.connected(1)
	tries := 0
	w.shelf.failing(func(context.Context) error {
		if tries++; tries <= 2 {
			return errDown
		}
		return nil
	})
	_, err := w.Mention("U1", "C1", "", "list")
	w.must(err)
	w.must(w.Idle(t.Context()))
	if e := w.shelf.one(t); e.Line != "list" || w.shelf.takes != 3 {
		t.Errorf("after %d tries stored is %+v", w.shelf.takes, e)
	}
	if failed := w.TakeFailures(); len(failed) != 2 || failed[0].Ack.Status != http.StatusServiceUnavailable {
		t.Errorf("what was not acknowledged is %v", failed)
	}
}
