package slacktest

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestCommandIsSignedAndAnsweredByItsURL(t *testing.T) {
	a := newApp(t, Options{})
	ack, err := a.Command("U1", "C1", "deploy shop/pr-7")
	a.must(err)
	g := a.next()
	if !ack.OK() || g.path != "/slack/commands" || g.form.Get("text") != "deploy shop/pr-7" || g.form.Get("command") != "/berth" {
		t.Fatalf("acknowledged %+v, delivered %+v", ack, g)
	}
	stamp := g.header.Get("X-Slack-Request-Timestamp")
	if want := Sign(SigningSecret, stamp, []byte(g.raw)); g.header.Get("X-Slack-Signature") != want {
		t.Errorf("signed %s, want %s", g.header.Get("X-Slack-Signature"), want)
	}
	to := g.form.Get("response_url")
	for n := range 6 {
		res, out := a.post(to, "", obj{"text": "working", "replace_original": n > 0})
		if want := n < 5; (res.StatusCode == http.StatusOK) != want {
			t.Errorf("use %d of the response_url: %d %v", n, res.StatusCode, out)
		}
	}
	if odd := a.TakeOdd(); len(odd) != 1 || !strings.Contains(odd[0].Problem, "used_url") {
		t.Errorf("odd %v", odd)
	}
	own := a.Ephemerals("U1")
	if len(own) != 1 || own[0].Edits != 4 || len(a.Ephemerals("U2")) != 0 || len(a.Messages("C1")) != 0 {
		t.Errorf("ephemerals %+v", own)
	}
}

func TestSignatureIsThatOfTheDocumentedExample(t *testing.T) {
	body := "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	want := "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
	if got := Sign(SigningSecret, "1531420618", []byte(body)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAnswerInTheBodyOfACommandIsShown(t *testing.T) {
	a := newApp(t, Options{})
	a.answers(func(got) (int, string) { return 200, "on it" })
	_, err := a.Command("U1", "C1", "help")
	a.must(err)
	a.answers(func(got) (int, string) { return 200, `{"response_type": "in_channel", "text": "hello"}` })
	_, err = a.Command("U1", "C1", "help")
	a.must(err)
	if own, all := a.Ephemerals("U1"), a.Messages("C1"); len(own) != 1 || own[0].Words != "on it" || len(all) != 1 || all[0].Text != "hello" {
		t.Errorf("ephemerals %+v, messages %+v", own, all)
	}
}

func TestCommandThatIsNotAcknowledgedIsToldToThePerson(t *testing.T) {
	a := newApp(t, Options{AckTimeout: 100 * time.Millisecond})
	release := make(chan struct{})
	a.answers(func(got) (int, string) { <-release; return 200, "" })
	ack, err := a.Command("U1", "C1", "status")
	close(release)
	a.must(err)
	b := newApp(t, Options{AckTimeout: time.Minute})
	b.answers(func(got) (int, string) { return 500, "" })
	second, err := b.Command("U1", "C1", "status")
	b.must(err)
	if ack.Error != "operation_timeout" || second.Error != "dispatch_failed" || second.Status != 500 {
		t.Errorf("acknowledged %+v, %+v", ack, second)
	}
	if own := a.Ephemerals("U1"); len(own) != 1 || !strings.Contains(own[0].Text, "operation_timeout") || len(a.TakeFailures()) != 1 {
		t.Errorf("told %+v", own)
	}
	if own := b.Ephemerals("U1"); len(own) != 1 || !strings.Contains(own[0].Text, "dispatch_failed") || len(b.TakeFailures()) != 1 {
		t.Errorf("told %+v", own)
	}
}

func TestCardIsClickedInAThreadAndAnAttachment(t *testing.T) {
	a := newApp(t, Options{})
	root := a.ok("chat.postMessage", obj{"channel": "C1", "text": "asks", "blocks": []any{section("*Deploy*"), actions(button("Approve", "yes"))}})
	ts := str(root, "ts")
	a.ok("chat.postMessage", obj{"channel": "C1", "text": "", "thread_ts": ts, "attachments": []any{obj{"color": "#2eb886", "fallback": "x", "blocks": []any{actions(button("Deny", "no"))}}}})
	reply := a.Thread("C1", ts)
	if len(reply) != 1 || len(a.Messages("C1")) != 2 {
		t.Fatalf("thread %+v", reply)
	}
	first, _ := a.Message("C1", ts)
	_, err := a.Click("U2", first, "Approve")
	a.must(err)
	p := a.next().payload
	act := objects(list(p, "actions"))[0]
	if p["type"] != "block_actions" || str(act, "value") != "yes" || str(p["message"].(obj), "ts") != ts || str(p["user"].(obj), "id") != "U2" || str(p, "response_url") == "" {
		t.Errorf("payload %v", p)
	}
	_, err = a.Click("U2", reply[0], "Deny")
	a.must(err)
	box := a.next().payload["container"].(obj)
	if box["type"] != "message_attachment" || box["thread_ts"] != ts || box["attachment_id"] != 1.0 {
		t.Errorf("container %v", box)
	}
	a.ok("chat.update", obj{"channel": "C1", "ts": ts, "text": "done", "blocks": []any{section("done")}})
	after, _ := a.Message("C1", ts)
	if len(after.Buttons) != 0 || after.Edits != 1 || after.Words != "done" {
		t.Errorf("after %+v", after)
	}
	if _, err := a.Click("U2", after, "Approve"); err == nil {
		t.Error("a button that is gone was clicked")
	}
}
