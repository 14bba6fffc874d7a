package slacktest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestMentionIsDeliveredAgainUntilAcknowledged(t *testing.T) {
	a := newApp(t, Options{EventRetries: []time.Duration{0, 0, 0}})
	tries := 0
	a.answers(func(got) (int, string) {
		if tries++; tries < 3 {
			return 503, ""
		}
		return 200, ""
	})
	m, err := a.Mention("U1", "C1", "", "status shop/pr-7")
	a.must(err)
	a.must(a.Idle(soon(t)))
	ids := map[string]bool{}
	for n, want := range []string{"", "1", "2"} {
		g := a.next()
		ids[str(g.payload, "event_id")] = true
		e := g.payload["event"].(obj)
		if g.header.Get("X-Slack-Retry-Num") != want || (n > 0 && g.header.Get("X-Slack-Retry-Reason") != "http_error") || e["type"] != "app_mention" || e["text"] != "<@"+a.team.Bot+"> status shop/pr-7" || e["ts"] != m.TS {
			t.Errorf("try %d: %v %v", n, g.header, g.payload)
		}
	}
	if len(ids) != 1 || len(a.TakeFailures()) != 2 {
		t.Errorf("event ids %v", ids)
	}
}

func TestEventsAreThoseThatTheAppIsSubscribedTo(t *testing.T) {
	a := newApp(t, Options{App: App{UnfurlDomains: []string{"berth.example.org"}}})
	_, err := a.Say("U1", "C1", "", "nothing for the app")
	a.must(err)
	_, err = a.Say("U1", "C1", "", "look: https://berth.example.org/environments/shop/pr-7")
	a.must(err)
	link := a.next().payload["event"].(obj)
	shared := objects(list(link, "links"))[0]
	if link["type"] != "link_shared" || shared["url"] != "https://berth.example.org/environments/shop/pr-7" || shared["domain"] != "berth.example.org" {
		t.Fatalf("event %v", link)
	}
	a.ok("chat.unfurl", obj{"channel": "C1", "ts": link["message_ts"], "unfurls": obj{str(shared, "url"): obj{"blocks": []any{section("*shop/pr-7* runs")}}}})
	if m := a.Messages("C1")[1]; !strings.Contains(m.Words, "*shop/pr-7* runs") {
		t.Errorf("the message says %q", m.Words)
	}
	_, err = a.Say("U1", a.DM("U1"), "", "help")
	a.must(err)
	if e := a.next().payload["event"].(obj); e["type"] != "message" || e["channel_type"] != "im" || e["text"] != "help" {
		t.Errorf("event %v", e)
	}
	a.must(a.OpenHome("U1"))
	if e := a.next().payload["event"].(obj); e["type"] != "app_home_opened" || e["tab"] != "home" || e["view"] != nil {
		t.Errorf("event %v", e)
	}
	_, err = a.Mention("U1", "C2", "", "help")
	a.must(err)
	if own := a.Ephemerals("U1"); len(own) != 1 || !strings.Contains(own[0].Text, "not in this channel") {
		t.Errorf("told %+v", own)
	}
	a.must(a.Idle(soon(t)))
}

func TestAppHearsItselfInDirectMessages(t *testing.T) {
	a := newApp(t, Options{})
	out := a.ok("chat.postMessage", obj{"channel": "U1", "text": "for you"})
	if e := a.next().payload["event"].(obj); e["bot_id"] == nil || e["user"] != a.team.Bot || e["channel"] != out["channel"] {
		t.Errorf("event %v", e)
	}
	a.ok("chat.update", obj{"channel": out["channel"], "ts": out["ts"], "text": "for you still"})
	if e := a.next().payload["event"].(obj); e["subtype"] != "message_changed" || e["user"] != nil {
		t.Errorf("event %v", e)
	}
	a.must(a.Idle(soon(t)))
}

func TestAppIsToldThatItWasTakenOut(t *testing.T) {
	a := newApp(t, Options{})
	a.Uninstall("T1")
	kinds := map[any]bool{}
	for range 2 {
		kinds[a.next().payload["event"].(obj)["type"]] = true
	}
	if out := a.call("auth.test", obj{}); out["error"] != "token_revoked" || !kinds["tokens_revoked"] || !kinds["app_uninstalled"] {
		t.Errorf("got %v, told %v", out, kinds)
	}
	a.must(a.Idle(soon(t)))
}

func TestChallengeIsAskedFor(t *testing.T) {
	a := newApp(t, Options{})
	a.answers(func(g got) (int, string) { return 200, str(g.payload, "challenge") })
	a.must(a.Verify())
	a.answers(func(got) (int, string) { return 200, "yes" })
	if err := a.Verify(); err == nil {
		t.Error("a wrong answer was taken")
	}
}

// withModal has ana open a modal by a click.
func withModal(t *testing.T, a *app) *View {
	t.Helper()
	a.ok("chat.postMessage", obj{"channel": "C1", "text": "x", "blocks": []any{actions(button("Deny", "no"))}})
	_, err := a.Click("U1", a.Messages("C1")[0], "Deny")
	a.must(err)
	trigger := a.next().payload["trigger_id"]
	a.ok("views.open", obj{"trigger_id": trigger, "view": reasonModal()})
	if out := a.call("views.open", obj{"trigger_id": trigger, "view": reasonModal()}); out["error"] != "exchanged_trigger_id" {
		t.Errorf("a trigger served twice: %v", out)
	}
	a.TakeOdd()
	return a.View("U1")
}

func TestModalIsSubmittedWithEveryAnswer(t *testing.T) {
	a := newApp(t, Options{})
	v := withModal(t, a)
	submit := func(body, why string) {
		t.Helper()
		a.answers(func(got) (int, string) { return 200, body })
		_, err := a.Submit(v.ID, map[string]string{"Why?": why})
		a.must(err)
	}
	if _, err := a.Submit(v.ID, nil); err == nil {
		t.Error("a modal was sent without what it asks for")
	}
	if _, err := a.Submit(v.ID, map[string]string{"Why?": long(501)}); err == nil {
		t.Error("a modal was sent with more than it takes")
	}
	submit(`{"response_action": "errors", "errors": {"reason": "say more"}}`, "no")
	if now := a.View("U1"); now == nil || now.Errors["reason"] != "say more" {
		t.Fatalf("view %+v", now)
	}
	g := a.next()
	given := g.payload["view"].(obj)
	typed := given["state"].(obj)["values"].(obj)["reason"].(obj)["text"].(obj)
	if g.payload["type"] != "view_submission" || typed["value"] != "no" || given["callback_id"] != "why" {
		t.Errorf("submission %v", g.payload)
	}
	second, err := json.Marshal(obj{"response_action": "push", "view": with(reasonModal(), "title", plainText("Second"))})
	a.must(err)
	submit(string(second), "because")
	if now := a.View("U1"); now == nil || now.Title != "Second" || now.Depth != 2 {
		t.Fatalf("view %+v", now)
	}
	v = a.View("U1")
	submit(`{"response_action": "clear"}`, "because")
	if a.View("U1") != nil {
		t.Error("the modals are still there")
	}
}

func TestAnswersToSubmissionsAreChecked(t *testing.T) {
	tests := map[string]struct{ body, problem string }{
		"an action that there is not":     {`{"response_action": "shout"}`, "no response_action shout"},
		"a field that there is not":       {`{"response_action": "clear", "text": "done"}`, "response_action clear has no field text"},
		"an error at no input":            {`{"response_action": "errors", "errors": {"nope": "x"}}`, "no input of the view"},
		"a message in place of an answer": {`{"text": "done"}`, "no response_action"},
		"no JSON":                         {`done`, "no JSON"},
		"a view that is none":             {`{"response_action": "update", "view": {"type": "home", "blocks": []}}`, "must be one of modal"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := oddApp(t, Options{})
			v := withModal(t, a)
			a.answers(func(got) (int, string) { return 200, test.body })
			_, err := a.Submit(v.ID, map[string]string{"reason": "x"})
			a.must(err)
			if odd := a.Odd(); len(odd) != 1 || !strings.Contains(odd[0].Problem, test.problem) {
				t.Errorf("odd %v", odd)
			}
		})
	}
}

func TestTriggersAndURLsExpire(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	a := newApp(t, Options{Now: func() time.Time { return now }})
	_, err := a.Command("U1", "C1", "x")
	a.must(err)
	g := a.next()
	now = now.Add(3100 * time.Millisecond)
	if out := a.call("views.open", obj{"trigger_id": g.form.Get("trigger_id"), "view": reasonModal()}); out["error"] != "expired_trigger_id" {
		t.Errorf("got %v", out)
	}
	now = now.Add(30 * time.Minute)
	if res, out := a.post(g.form.Get("response_url"), "", obj{"text": "late"}); res.StatusCode != 404 || out["error"] != "expired_url" {
		t.Errorf("got %d %v", res.StatusCode, out)
	}
	a.TakeOdd()
}

func TestShortcutsHaveTheirPayloads(t *testing.T) {
	a := newApp(t, Options{})
	m, err := a.Say("U2", "C1", "", "shop/pr-7 is slow")
	a.must(err)
	_, err = a.Shortcut("U1", "C1", m.TS, "status")
	a.must(err)
	p := a.next().payload
	if p["type"] != "message_action" || p["callback_id"] != "status" || str(p["message"].(obj), "text") != "shop/pr-7 is slow" || p["response_url"] == nil {
		t.Errorf("payload %v", p)
	}
	_, err = a.Shortcut("U1", "", "", "mine")
	a.must(err)
	if p := a.next().payload; p["type"] != "shortcut" || p["response_url"] != nil || p["trigger_id"] == nil {
		t.Errorf("payload %v", p)
	}
}

func TestGroupsAndPeopleAreListed(t *testing.T) {
	a := newApp(t, Options{})
	a.Deactivate("U2")
	if out := a.form("usergroups.users.list", url.Values{"usergroup": {"S1"}}); quoted(out["users"]) != `["U1"]` {
		t.Errorf("members %v", out)
	}
	if out := a.form("usergroups.users.list", url.Values{"usergroup": {"S9"}}); out["error"] != "no_such_subteam" {
		t.Errorf("got %v", out)
	}
	out := a.form("users.info", url.Values{"user": {"U2"}})
	if u, _ := out["user"].(obj); u["deleted"] != true || u["name"] != "ben" {
		t.Errorf("user %v", out)
	}
}

func TestMetadataFindsAMessageAgain(t *testing.T) {
	a := newApp(t, Options{})
	out := a.ok("chat.postMessage", obj{"channel": "C1", "text": "x", "metadata": obj{"event_type": "berth", "event_payload": obj{"key": "k1"}}})
	found := a.form("conversations.history", url.Values{"channel": {"C1"}, "include_all_metadata": {"true"}})
	first := objects(list(found, "messages"))[0]
	if quoted(first["metadata"]) != `{"event_payload":{"key":"k1"},"event_type":"berth"}` || first["ts"] != out["ts"] {
		t.Errorf("found %v", first)
	}
}

// dial opens a socket as an app does.
func dial(t *testing.T, a *app) *websocket.Conn {
	t.Helper()
	_, out := a.post(a.APIURL()+"apps.connections.open", a.App().Token, obj{})
	conn, res, err := websocket.DefaultDialer.Dial(str(out, "url"), nil)
	if err != nil {
		t.Fatalf("dial: %v (%v)", err, out)
	}
	drain(res.Body)
	t.Cleanup(func() { _ = conn.Close() })
	if hello := read1(t, conn); hello["type"] != "hello" {
		t.Fatalf("said %v", hello)
	}
	if _, _, err := websocket.DefaultDialer.Dial(str(out, "url"), nil); err == nil {
		t.Error("a ticket served twice")
	}
	return conn
}

func read1(t *testing.T, conn *websocket.Conn) obj {
	t.Helper()
	var o obj
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := conn.ReadJSON(&o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestSocketCarriesTheSame(t *testing.T) {
	a := newApp(t, Options{App: App{Socket: true}})
	conn := dial(t, a)
	acked := make(chan Ack, 1)
	go func() {
		ack, err := a.Command("U1", "C1", "help")
		if err != nil {
			t.Error(err)
		}
		acked <- ack
	}()
	e := read1(t, conn)
	if e["type"] != "slash_commands" || e["accepts_response_payload"] != true || str(e["payload"].(obj), "text") != "help" {
		t.Fatalf("envelope %v", e)
	}
	a.must(conn.WriteJSON(obj{"envelope_id": e["envelope_id"], "payload": obj{"text": "on it"}}))
	if ack := <-acked; !ack.OK() || a.Ephemerals("U1")[0].Text != "on it" {
		t.Errorf("acknowledged %+v", ack)
	}
	_, err := a.Mention("U1", "C1", "", "status")
	a.must(err)
	first := read1(t, conn)
	a.Disconnect() // Before it is acknowledged.
	again := read1(t, dial(t, a))
	if first["type"] != "events_api" || again["retry_attempt"] != 1.0 || str(first["payload"].(obj), "event_id") != str(again["payload"].(obj), "event_id") {
		t.Errorf("first %v, again %v", first, again)
	}
	a.Close()
	a.TakeFailures()
}

func TestSocketIsAskedToComeAnew(t *testing.T) {
	a := newApp(t, Options{App: App{Socket: true}})
	conn := dial(t, a)
	a.Refresh("warning")
	if o := read1(t, conn); o["type"] != "disconnect" || o["reason"] != "warning" {
		t.Errorf("said %v", o)
	}
	a.Refresh("refresh_requested")
	if o := read1(t, conn); o["reason"] != "refresh_requested" {
		t.Errorf("said %v", o)
	}
	second := dial(t, a)
	go func() {
		var o obj
		if second.ReadJSON(&o) == nil {
			_ = second.WriteJSON(obj{"envelope_id": o["envelope_id"]}) // The command says whether that came.
		}
	}()
	if ack, err := a.Command("U1", "C1", "help"); err != nil || !ack.OK() {
		t.Errorf("acknowledged %+v %v", ack, err)
	}
}

func TestFilesAreSentInThreeSteps(t *testing.T) {
	a := newApp(t, Options{})
	out := a.form("files.getUploadURLExternal", url.Values{"filename": {"plan.diff"}, "length": {"5"}})
	res, err := http.Post(str(out, "upload_url"), "text/plain", strings.NewReader("+a\n-b"))
	a.must(err)
	drain(res.Body)
	if done := a.call("files.completeUploadExternal", obj{"channel_id": "C1", "files": []any{obj{"id": out["file_id"], "title": "The plan"}}}); done["ok"] != true {
		t.Fatalf("got %v", done)
	}
	if f := a.Messages("C1")[0].Files[0]; f.Name != "plan.diff" || f.Title != "The plan" || f.Text != "+a\n-b" {
		t.Errorf("file %+v", f)
	}
}
