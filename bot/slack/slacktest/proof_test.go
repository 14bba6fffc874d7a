package slacktest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestWhatTheStandInSendsIsProofed(t *testing.T) {
	tests := map[string]struct {
		name string
		sent obj
		odd  string // empty is right
	}{
		"an answer":                        {"chat.delete", obj{"ok": true, "channel": "C1", "ts": "1.000000"}, ""},
		"an answer with a field of others": {"chat.delete", obj{"ok": true, "colour": "red"}, "invalid additional property: colour"},
		"an answer with a wrong type":      {"chat.delete", obj{"ok": true, "ts": 1}, "must be a string"},
		"a payload without what is in all": {"shortcut", obj{"type": "shortcut"}, "missing required field: callback_id"},
		"a payload of a kind of others":    {"dialog", obj{}, "Slack sends nothing like"},
		"an event that there is not":       {"event_callback", obj{"event": obj{"type": "shouted"}}, "unsupported type: shouted"},
		"an envelope that there is not":    {"socket", obj{"type": "goodbye"}, "unsupported type: goodbye"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := New(Options{})
			t.Cleanup(s.Close)
			s.mu.Lock()
			s.proof(test.name, test.sent)
			s.mu.Unlock()
			if taken := s.TakeOdd(); taken != nil {
				t.Errorf("a test can take it: %v", taken)
			}
			odd := s.Odd()
			if test.odd == "" && odd == nil {
				return
			}
			if len(odd) != 1 || odd[0].What != itself || !strings.Contains(odd[0].Problem, test.odd) {
				t.Errorf("odd %v", odd)
			}
		})
	}
}

// TestEverythingThatIsSentIsLikeSlacks has each method answer well, and each kind
// of payload delivered: Run fails it where one is not as the description has it.
func TestEverythingThatIsSentIsLikeSlacks(t *testing.T) {
	a := newApp(t, Options{App: App{UnfurlDomains: []string{"berth.example.org"}, Scopes: append([]string{"channels:join"}, DefaultScopes...)}})
	a.callEverything()
	a.deliverEverything()
	d, err := described()
	a.must(err)
	seen := map[string]bool{"socket": true} // TestSocketCarriesTheSame
	for _, c := range a.Calls() {
		seen[c.Method] = seen[c.Method] || c.Error == ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, g := range a.got {
		seen[str(g.payload, "type")] = true
		seen["command"] = seen["command"] || g.form.Has("command")
	}
	for name := range d.Sent {
		if !seen[name] {
			t.Errorf("nothing made the stand-in send %s", name)
		}
	}
	for name := range methods {
		if d.Sent[name] == nil {
			t.Errorf("the description has no answer of %s", name)
		}
	}
}

// callEverything calls each method so that it answers well.
func (a *app) callEverything() {
	a.t.Helper()
	everything := []any{
		section("*Deploy*"), obj{"type": "header", "text": plainText("shop/pr-7")}, obj{"type": "divider"},
		obj{"type": "context", "elements": []any{plainText("a minute ago")}},
		actions(with(button("Approve", "yes"), "style", "primary"), obj{"type": "overflow", "action_id": "o", "options": many(2, obj{"text": plainText("x"), "value": "x"})}),
	}
	posted := a.ok("chat.postMessage", obj{
		"channel": "C1", "text": "asks", "blocks": everything, "attachments": []any{obj{"color": "#fff", "fallback": "x", "blocks": everything[:3]}},
		"metadata": obj{"event_type": "berth", "event_payload": obj{"key": "k"}},
	})
	ts := str(posted, "ts")
	reply := a.ok("chat.postMessage", obj{"channel": "C1", "text": "on it", "thread_ts": ts})
	a.ok("chat.update", obj{"channel": "C1", "ts": ts, "text": "done", "blocks": everything})
	a.ok("chat.update", obj{"channel": "C1", "ts": reply["ts"], "text": "done"})
	a.ok("chat.postEphemeral", obj{"channel": "C1", "user": "U1", "text": "for you"})
	a.ok("reactions.add", obj{"channel": "C1", "timestamp": ts, "name": "eyes"})
	linked, err := a.Say("U1", "C1", "", "https://berth.example.org/requests/1")
	a.must(err)
	a.ok("chat.unfurl", obj{"channel": "C1", "ts": linked.TS, "unfurls": obj{"https://berth.example.org/requests/1": obj{"blocks": everything[:2]}}})
	direct := a.ok("conversations.open", obj{"users": "U1"})["channel"].(obj)
	a.ok("conversations.open", obj{"channel": direct["id"]})
	a.ok("conversations.join", obj{"channel": "C1"})
	a.ok("views.publish", obj{"user_id": "U1", "view": obj{"type": "home", "blocks": everything}})
	for method, args := range map[string]url.Values{
		"team.info": {}, "users.list": {}, "users.info": {"user": {"U1"}}, "usergroups.list": {"include_users": {"true"}}, "usergroups.users.list": {"usergroup": {"S1"}},
		"conversations.list": {"types": {"public_channel,im"}}, "conversations.members": {"channel": {"C1"}}, "conversations.replies": {"channel": {"C1"}, "ts": {ts}},
		"conversations.history": {"channel": {"C1"}, "include_all_metadata": {"true"}}, "chat.getPermalink": {"channel": {"C1"}, "message_ts": {ts}},
	} {
		if out := a.form(method, args); out["ok"] != true {
			a.t.Errorf("%s: %v", method, out)
		}
	}
	for _, channel := range []string{"C1", str(direct, "id")} {
		if out := a.form("conversations.info", url.Values{"channel": {channel}}); out["ok"] != true {
			a.t.Errorf("conversations.info: %v", out)
		}
	}
	a.ok("auth.test", obj{})
	up := a.form("files.getUploadURLExternal", url.Values{"filename": {"plan.diff"}, "length": {"1"}})
	res, err := http.Post(str(up, "upload_url"), "text/plain", strings.NewReader("+"))
	a.must(err)
	drain(res.Body)
	a.ok("files.completeUploadExternal", obj{"channel_id": "C1", "files": []any{obj{"id": up["file_id"], "title": "The plan"}}})
	a.ok("chat.delete", obj{"channel": "C1", "ts": reply["ts"]})
	a.SetApp(func(app *App) { app.Socket = true })
	if _, out := a.post(a.APIURL()+"apps.connections.open", a.App().Token, obj{}); out["ok"] != true {
		a.t.Errorf("apps.connections.open: %v", out)
	}
	a.SetApp(func(app *App) { app.Socket = false })
}

// deliverEverything has people do all that the app is told of.
func (a *app) deliverEverything() {
	a.t.Helper()
	a.answers(func(g got) (int, string) {
		switch str(g.payload, "type") {
		case "block_suggestion":
			return 200, `{"options":[{"text":{"type":"plain_text","text":"shop"},"value":"shop"}]}`
		case "url_verification":
			return 200, str(g.payload, "challenge")
		}
		return 200, ""
	})
	acked := func(_ Ack, err error) { a.t.Helper(); a.must(err) }
	card := a.Messages("C1")[0]
	acked(a.Command("U1", "C1", "help"))
	acked(a.Shortcut("U1", "", "", "mine"))
	acked(a.Shortcut("U1", "C1", card.TS, "status"))
	acked(a.Click("U1", card, "Approve"))
	acked(a.Act("U1", "C1", card.TS, Action{ActionID: "o", Value: "x"}))
	acked(a.ActInView(a.Home("U1").ID, Action{Label: "Approve"}))
	open := func(method string, view obj) {
		a.t.Helper()
		acked(a.Click("U1", card, "Approve"))
		a.mu.Lock()
		trigger := a.got[len(a.got)-1].payload["trigger_id"]
		a.mu.Unlock()
		a.ok(method, obj{"trigger_id": trigger, "view": view})
	}
	menu := obj{"type": "input", "block_id": "m", "label": plainText("Which?"), "element": obj{"type": "external_select", "action_id": "menu"}}
	open("views.open", with(with(reasonModal(), "notify_on_close", true), "blocks", []any{menu}))
	open("views.push", reasonModal())
	a.ok("views.update", obj{"view_id": a.View("U1").ID, "view": reasonModal()})
	acked(a.Submit(a.View("U1").ID, map[string]string{"Why?": "it is time"}))
	_, err := a.Suggest(a.View("U1").ID, "menu", "sh")
	a.must(err)
	a.must(a.CloseView(a.View("U1").ID))
	a.must(a.Verify())
	_, err = a.Mention("U1", "C1", card.TS, "status")
	a.must(err)
	_, err = a.Say("U1", a.DM("U1"), "", "help")
	a.must(err)
	direct := a.ok("chat.postMessage", obj{"channel": "U1", "text": "for you"})
	a.ok("chat.update", obj{"channel": direct["channel"], "ts": direct["ts"], "text": "for you still"})
	a.must(a.OpenHome("U1"))
	a.must(a.Idle(soon(a.t)))
	a.Uninstall("T1")
	a.must(a.Idle(soon(a.t)))
}
