package slack

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/slack/slacktest"
)

// office is a Slack with Ana and Bo in it, and a Surface that writes there.
type office struct {
	*slacktest.Server
	*Surface
	now *clock
}

func newOffice(t *testing.T) *office {
	t.Helper()
	server := slacktest.Run(t, slacktest.Options{App: slacktest.App{UnfurlDomains: []string{"berth.example.org"}}, EventRetries: []time.Duration{}})
	server.AddWorkspace(slacktest.Workspace{ID: "T1", Domain: "acme"})
	server.AddWorkspace(slacktest.Workspace{ID: "T2"})
	for _, err := range []error{
		server.AddUser(slacktest.User{ID: "U1", Name: "ana"}), server.AddUser(slacktest.User{ID: "U2", Name: "bo"}), server.AddUser(slacktest.User{ID: "U9", Team: "T2", Name: "zoe"}),
		server.AddChannel(slacktest.Channel{ID: "C1", Name: "shop"}), server.AddChannel(slacktest.Channel{ID: "C2", Name: "secret", Private: true, NoBot: true}),
		server.AddChannel(slacktest.Channel{ID: "C9", Team: "T2", Name: "two"}),
		server.AddGroup(slacktest.Group{ID: "S1", Handle: "db", Members: []string{"U2"}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	o := &office{Server: server, now: &clock{at: time.Now()}}
	surface, err := New(Options{BotToken: "xoxb-T1", Workspaces: map[string]string{"T2": "xoxb-T2"}, APIURL: server.APIURL(), Replica: "a", Now: o.now.now})
	if err != nil {
		t.Fatal(err)
	}
	o.Surface = surface
	return o
}

var shopChannel = bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: "T1", Channel: "C1"}

func TestPostFindEdit(t *testing.T) {
	ctx := t.Context()
	o := newOffice(t)
	began := time.Now()
	m := requestCard()
	m.Call = []string{"slack:U1", "slack-group:S1"}
	sent, err := o.Post(ctx, shopChannel, "r:01jd", m)
	if err != nil {
		t.Fatal(err)
	}
	posted, ok := o.Message("C1", sent.ID)
	if !ok || !posted.App || !strings.Contains(posted.Words, "This takes data away") || len(posted.Buttons) != 4 || !strings.Contains(posted.Text, "<@U1>") {
		t.Fatalf("there stands %+v", posted)
	}
	if path := strings.TrimPrefix(posted.Permalink, o.URL()); sent.URL != "https://acme.slack.com"+path {
		t.Errorf("its address is %q, and is said to be %q", path, sent.URL)
	}
	found, err := o.Find(ctx, shopChannel, "r:01jd", began)
	if err != nil || found != sent {
		t.Errorf("found is %+v (%v), not %+v", found, err, sent)
	}
	for name, key := range map[string]string{"another key": "r:other", "no key": ""} {
		if found, err := o.Find(ctx, shopChannel, key, began); err != nil || found.ID != "" {
			t.Errorf("%s: found is %+v (%v)", name, found, err)
		}
	}
	if err := o.Edit(ctx, sent, bot.ChatMessage{Icon: "🟢", Title: "shop/pr-7 is gone", Call: []string{"slack:U1"}}); err != nil {
		t.Fatal(err)
	}
	if edited, _ := o.Message("C1", sent.ID); edited.Edits != 1 || len(edited.Buttons) != 0 || strings.Contains(edited.Words+edited.Text, "<@") || !strings.Contains(edited.Words, "is gone") {
		t.Errorf("there stands %+v", edited)
	}
	if found, err := o.Find(ctx, shopChannel, "r:01jd", began); err != nil || found != sent {
		t.Errorf("once it is edited it is %+v (%v)", found, err)
	}

	thread := shopChannel
	thread.Thread = sent.ID
	reply, err := o.Post(ctx, thread, "p:01jd", bot.ChatMessage{Text: "1 of 2 parts"})
	if err != nil {
		t.Fatal(err)
	}
	if all := o.Thread("C1", sent.ID); len(all) != 1 || all[0].TS != reply.ID || !strings.Contains(reply.URL, "thread_ts="+sent.ID) {
		t.Errorf("in the thread there stands %+v, and was sent %+v", all, reply)
	}
	if found, err := o.Find(ctx, thread, "p:01jd", began); err != nil || found != reply {
		t.Errorf("in the thread is found %+v (%v)", found, err)
	}
	o.Gone("C1", sent.ID)
	if err := o.Edit(ctx, sent, bot.ChatMessage{Text: "x"}); actions.CodeOf(err) != actions.CodeNotFound {
		t.Errorf("a deleted message is %v", err)
	}
	o.TakeOdd() // that it was edited all the same
}

func TestPostToPeopleAndWorkspaces(t *testing.T) {
	ctx := t.Context()
	o := newOffice(t)
	sent, err := o.Post(ctx, bot.ChatPlace{Platform: bot.PlatformSlack, User: "U1"}, "k", bot.ChatMessage{Text: "for you"})
	if err != nil {
		t.Fatal(err)
	}
	if all := o.Messages(o.DM("U1")); len(all) != 1 || sent.Place.Channel != o.DM("U1") {
		t.Errorf("Ana reads %+v, and was sent %+v", all, sent)
	}
	if _, err := o.Post(ctx, bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: "T2", Channel: "C9"}, "k", bot.ChatMessage{Text: "there"}); err != nil {
		t.Error(err)
	}
	if all := o.Messages("C9"); len(all) != 1 {
		t.Errorf("in the other workspace there stands %+v", all)
	}
	for name, c := range map[string]struct {
		at   bot.ChatPlace
		code actions.Code
		says string
	}{
		"a workspace without a token": {bot.ChatPlace{Workspace: "T3", Channel: "C1"}, actions.CodeNotFound, "T3"},
		"a private channel":           {bot.ChatPlace{Workspace: "T1", Channel: "C2"}, actions.CodeForbidden, "/invite @Berth"},
		"a channel that is not":       {bot.ChatPlace{Workspace: "T1", Channel: "C404"}, actions.CodeForbidden, "/invite @Berth"},
		"an account that is not":      {bot.ChatPlace{Workspace: "T1", User: "U404"}, actions.CodeNotFound, "account"},
		"an account that cannot be":   {bot.ChatPlace{Workspace: "T1", User: "U1,U2"}, actions.CodeNotFound, "account"},
	} {
		_, err := o.Post(ctx, c.at, "k", bot.ChatMessage{Text: "x"})
		if actions.CodeOf(err) != c.code || !strings.Contains(actions.Message(err), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o.Archive("C1")
	if _, err := o.Post(ctx, shopChannel, "k", bot.ChatMessage{Text: "x"}); actions.CodeOf(err) != actions.CodeForbidden {
		t.Errorf("an archived channel: %v", err)
	}
	o.TakeOdd() // all that was refused
}

func TestWhateverIsSaidTheStandInTakesIt(t *testing.T) {
	o := newOffice(t)
	r := rand.New(rand.NewPCG(5, 6))
	for range 25 {
		m := hostile(r)
		sent, err := o.Post(t.Context(), shopChannel, "k", m)
		if err == nil {
			err = o.Edit(t.Context(), sent, hostile(r))
		}
		if err == nil {
			err = o.Page(t.Context(), "T1", "U1", bot.ChatPage{Mine: []bot.ChatMessage{m, m}, Waiting: []bot.ChatMessage{hostile(r)}})
		}
		if err != nil {
			t.Fatalf("%v: %+v", err, m)
		}
	}
}

func TestRefusals(t *testing.T) {
	o := newOffice(t)
	sent, err := o.Post(t.Context(), shopChannel, "k", bot.ChatMessage{Text: "x"})
	if err != nil {
		t.Fatal(err)
	}
	type fault = slacktest.Fault
	for name, c := range map[string]struct {
		fault      slacktest.Fault
		post, edit actions.Code // "limited" is *bot.Limited
	}{
		"too much":                      {fault{Status: 429, RetryAfter: 7 * time.Second}, "limited", "limited"},
		"too much, said otherwise":      {fault{Error: "ratelimited"}, "limited", "limited"},
		"Slack is broken":               {fault{Status: 500}, actions.CodeUnavailable, actions.CodeUnavailable},
		"Slack says so":                 {fault{Error: "internal_error"}, actions.CodeUnavailable, actions.CodeUnavailable},
		"what nobody heard of":          {fault{Error: "new_error"}, actions.CodeUnavailable, actions.CodeUnavailable},
		"the line is cut":               {fault{Cut: true}, actions.CodeUnavailable, actions.CodeUnavailable},
		"not in the channel":            {fault{Error: "not_in_channel"}, actions.CodeForbidden, actions.CodeNotFound},
		"the channel is archived":       {fault{Error: "is_archived"}, actions.CodeForbidden, actions.CodeNotFound},
		"the window of edits is closed": {fault{Error: "edit_window_closed"}, actions.CodeForbidden, actions.CodeNotFound},
		"another's message":             {fault{Error: "cant_update_message"}, actions.CodeForbidden, actions.CodeNotFound},
		"the message is gone":           {fault{Error: "message_not_found"}, actions.CodeNotFound, actions.CodeNotFound},
		"the token is revoked":          {fault{Error: "token_revoked"}, actions.CodeForbidden, actions.CodeForbidden},
		"the app is gone":               {fault{Error: "account_inactive"}, actions.CodeForbidden, actions.CodeForbidden},
		"a scope is missing":            {fault{Error: "missing_scope"}, actions.CodeForbidden, actions.CodeForbidden},
		"it is too long":                {fault{Error: "msg_too_long"}, actions.CodeInvalid, actions.CodeInvalid},
		"its blocks are wrong":          {fault{Error: "invalid_blocks"}, actions.CodeInvalid, actions.CodeInvalid},
		"no direct messages":            {fault{Error: "messages_tab_disabled"}, actions.CodeForbidden, actions.CodeForbidden},
		"a bot":                         {fault{Error: "cannot_dm_bot"}, actions.CodeInvalid, actions.CodeInvalid},
		"a thread that is locked":       {fault{Error: "restricted_action_thread_locked"}, actions.CodeForbidden, actions.CodeForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			o.Fail("chat.postMessage", 1, c.fault)
			o.Fail("chat.update", 1, c.fault)
			_, posted := o.Post(t.Context(), shopChannel, "k", bot.ChatMessage{Text: "x"})
			edited := o.Edit(t.Context(), sent, bot.ChatMessage{Text: "y"})
			for _, got := range []struct {
				err  error
				want actions.Code
			}{{posted, c.post}, {edited, c.edit}} {
				if limited, ok := errors.AsType[*bot.Limited](got.err); ok {
					if got.want != "limited" || limited.After < time.Second {
						t.Errorf("limited for %s", limited.After)
					}
				} else if actions.CodeOf(got.err) != got.want {
					t.Errorf("want %s, got %v", got.want, got.err)
				}
				if strings.Contains(got.err.Error(), "xoxb") {
					t.Errorf("%v holds the token", got.err)
				}
			}
		})
	}
	o.TakeOdd() // that Berth went on after token_revoked
}

// command is an event whose answer goes to a response_url.
func (o *office) command(t *testing.T) bot.ChatEvent {
	t.Helper()
	return bot.ChatEvent{ID: "e1", Kind: bot.ChatCommand, Place: shopChannel, User: "U1", Identity: "slack:U1", At: o.now.now()}
}

func TestAnswers(t *testing.T) {
	say := bot.ChatMessage{Text: "for Ana alone"}
	for name, c := range map[string]struct {
		change func(o *office, e *bot.ChatEvent)
		only   int // what Ana alone sees in the channel
		direct int // and in direct messages
		thread bool
	}{
		"without an address it stands in the channel":          {only: 1},
		"a mention in a thread is answered there":              {change: func(o *office, e *bot.ChatEvent) { e.Place.Thread = o.said(e) }, only: 1, thread: true},
		"where she is no member it is a direct message":        {change: func(o *office, _ *bot.ChatEvent) { o.Kick("C1", "U1") }, direct: 1},
		"where Berth is no member it is a direct message":      {change: func(_ *office, e *bot.ChatEvent) { e.Place.Channel = "C2" }, direct: 1},
		"in a direct message it is one":                        {change: func(o *office, e *bot.ChatEvent) { e.Private, e.Place.Channel = true, o.DM("U1") }, direct: 1},
		"between two people it is a direct message of Berth's": {change: func(_ *office, e *bot.ChatEvent) { e.Private, e.Place.Channel = true, "D0OTHERS" }, direct: 1},
		"an address that is used up is none":                   {change: func(o *office, e *bot.ChatEvent) { e.Answer = o.URL() + "/gone" }, only: 1},
		"an address that is no address is none":                {change: func(_ *office, e *bot.ChatEvent) { e.Answer = "ftp://x" }, only: 1},
		"an address whose time is over is not used":            {change: func(o *office, e *bot.ChatEvent) { e.Answer, e.Until = "http://127.0.0.1:1/", o.now.now() }, only: 1},
		"a window that was closed is none":                     {change: func(_ *office, e *bot.ChatEvent) { e.Answer = viewAnswer + "V404" }, only: 1},
		"a window that was closed and no channel is a direct":  {change: func(_ *office, e *bot.ChatEvent) { e.Answer, e.Place.Channel = viewAnswer+"V404", "" }, direct: 1},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			e := o.command(t)
			if c.change != nil {
				c.change(o, &e)
			}
			if err := o.Answer(t.Context(), e, 0, say); err != nil {
				t.Fatal(err)
			}
			only := o.Ephemerals("U1")
			if len(only) != c.only || len(o.Messages(o.DM("U1"))) != c.direct {
				t.Errorf("in the channel she sees %+v, and directly %+v", only, o.Messages(o.DM("U1")))
			}
			if c.thread && only[0].Thread != e.Place.Thread {
				t.Errorf("it stands in thread %q", only[0].Thread)
			}
			for _, m := range o.Messages("C1") {
				if strings.Contains(m.Words, "alone") {
					t.Errorf("all read %q", m.Words)
				}
			}
			o.TakeOdd() // what was tried in vain
		})
	}
}

// said has Ana say something, and is where.
func (o *office) said(e *bot.ChatEvent) string {
	m, err := o.Say("U1", e.Place.Channel, "", "hello")
	if err != nil {
		panic(err) // a test's own fault
	}
	return m.TS
}

func TestAnAddressTakesFiveAnswers(t *testing.T) {
	var uses atomic.Int32
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uses.Add(1)
		if r.Header.Get("Authorization") != "" {
			t.Error("the token is sent to a response_url")
		}
		_, _ = w.Write([]byte("ok"))
	}))
	t.Cleanup(slack.Close)
	o := newOffice(t)
	e := o.command(t)
	e.Answer, e.Until = slack.URL+"/secret", o.now.now().Add(30*time.Minute)
	for nth := range 7 {
		if err := o.Answer(t.Context(), e, nth, bot.ChatMessage{Text: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if uses.Load() != 5 || len(o.Ephemerals("U1")) != 2 {
		t.Errorf("the address was used %d times, and %d answers stand in the channel", uses.Load(), len(o.Ephemerals("U1")))
	}
	slack.Close()
	if err := o.Answer(t.Context(), e, 0, bot.ChatMessage{Text: "x"}); err != nil || len(o.Ephemerals("U1")) != 3 {
		t.Errorf("where nothing listens at the address, %d answers stand in the channel: %v", len(o.Ephemerals("U1")), err)
	}
	err := o.api.respond(t.Context(), e.Answer, "", render(bot.ChatMessage{Text: "x"}, "", messageRoom))
	if actions.CodeOf(err) != actions.CodeNotFound || strings.Contains(err.Error(), "secret") {
		t.Errorf("an address at which nothing listens: %v", err)
	}
}

func TestAnAnswerWaitsForABrokenAddressOnlyForAWhile(t *testing.T) {
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	t.Cleanup(slack.Close)
	o := newOffice(t)
	e := o.command(t)
	e.Answer, e.At, e.Until = slack.URL+"/secret", o.now.now(), o.now.now().Add(30*time.Minute)
	if err := o.Answer(t.Context(), e, 0, bot.ChatMessage{Text: "x"}); actions.CodeOf(err) != actions.CodeUnavailable || strings.Contains(err.Error(), "secret") {
		t.Errorf("at first: %v", err)
	}
	e.At = e.At.Add(-addressFor - time.Second)
	if err := o.Answer(t.Context(), e, 0, bot.ChatMessage{Text: "x"}); err != nil || len(o.Ephemerals("U1")) != 1 {
		t.Errorf("later %d answers stand in the channel: %v", len(o.Ephemerals("U1")), err)
	}
}

func TestAnswerAddresses(t *testing.T) {
	own, err := New(Options{BotToken: "xoxb-1"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(Options{BotToken: "xoxb-1", APIURL: "http://127.0.0.1:9/api/"})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string][2]bool{
		"https://hooks.slack.com/commands/T1/1/x":     {true, true},
		"https://hooks.slack-gov.com/commands/T1/1/x": {true, true},
		"http://hooks.slack.com/commands/T1/1/x":      {false, true},
		"https://hooks.slack.com:8443/x":              {false, true},
		"https://slack.com.evil.org/x":                {false, true},
		"https://evilslack.com/x":                     {false, true},
		"http://169.254.169.254/":                     {false, true},
		"https://u:p@hooks.slack.com/x":               {false, false},
		"file:///etc/passwd":                          {false, false},
		"https:///x":                                  {false, false},
		"":                                            {false, false},
		"\x00":                                        {false, false},
	} {
		if got := [2]bool{own.api.answers(address), other.api.answers(address)}; got != want {
			t.Errorf("%q: want %v, got %v", address, want, got)
		}
	}
}

func TestAnswersOfSlackThatAreNone(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"nothing":         func(http.ResponseWriter, *http.Request) {},
		"an empty object": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) },
		"no without why":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"ok":false}`)) },
		"a page":          func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>sign in</html>")) },
		"yes and no message": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"ok":true,"channel":"C1"}`))
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				t.Error("the redirect is followed")
			}
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
		"an endless one": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"ok":true,"ts":"1.2","x":"`))
			for range maxBody / 4096 * 2 {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(answer)
			t.Cleanup(server.Close)
			s, err := New(Options{BotToken: "xoxb-secret", APIURL: server.URL + "/api/"})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Post(t.Context(), bot.ChatPlace{Channel: "C1"}, "k", bot.ChatMessage{Text: "x"})
			if actions.CodeOf(err) != actions.CodeUnavailable || strings.Contains(err.Error(), "xoxb") {
				t.Errorf("it is %v", err)
			}
		})
	}
}

func TestAHangingSlackIsLeftInTime(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	s, err := New(Options{BotToken: "xoxb-1", APIURL: server.URL + "/api/"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err = s.Post(ctx, bot.ChatPlace{Channel: "C1"}, "k", bot.ChatMessage{Text: "x"}); actions.CodeOf(err) != actions.CodeUnavailable {
		t.Errorf("it is %v", err)
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	err := refusal("chat.postMessage", slackapi.SlackResponse{Error: "missing_scope", Needed: "chat:write"}, nil)
	if msg := actions.Message(err); !strings.Contains(msg, "`chat:write`") || !strings.Contains(msg, "install the app again") {
		t.Errorf("it says %q", msg)
	}
	err = refusal("chat.postMessage", slackapi.SlackResponse{Error: "<script>\n"}, nil)
	if strings.Contains(err.Error(), "script") {
		t.Errorf("it is %v", err)
	}
	for word, v := range verdicts {
		if v.msg == "" || !strings.HasSuffix(v.msg, ".") || !wordPattern.MatchString(word) {
			t.Errorf("%s says %q", word, v.msg)
		}
	}
	for text, want := range map[string]time.Duration{"": pauseUnsaid, "x": pauseUnsaid, "0": time.Second, "-5": time.Second, "7": 7 * time.Second, "99999999999999": pauseUnsaid, "999999999": longestPause} {
		if got := retryAfter(http.Header{"Retry-After": {text}}); got != want && (text != "99999999999999" || got != longestPause) {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func TestPageAndUnfurl(t *testing.T) {
	ctx := t.Context()
	o := newOffice(t)
	if err := o.Page(ctx, "T1", "U1", bot.ChatPage{Waiting: []bot.ChatMessage{requestCard()}}); err != nil {
		t.Fatal(err)
	}
	if home := o.Home("U1"); home == nil || !strings.Contains(home.Words, "Waiting for me") {
		t.Errorf("her page is %+v", home)
	}
	const link = "https://berth.example.org/environments/shop/pr-7"
	m, err := o.Say("U1", "C1", "", "look: "+link)
	if err != nil {
		t.Fatal(err)
	}
	e := bot.ChatEvent{Kind: bot.ChatLinks, Place: shopChannel, Message: m.TS, User: "U1", Links: []string{link}}
	if err := o.Unfurl(ctx, e, map[string]bot.ChatMessage{link: requestCard()}); err != nil {
		t.Fatal(err)
	}
	if shown, _ := o.Message("C1", m.TS); len(shown.Attachments) != 1 {
		t.Errorf("below the message there stands %+v", shown.Attachments)
	}
	if err := o.Unfurl(ctx, e, nil); err != nil {
		t.Error(err)
	}
	if err := o.Idle(ctx); err != nil {
		t.Error(err)
	}
	o.TakeFailures() // nobody listens for what is said and done
}

func TestAWindowKeepsWhereItCameFrom(t *testing.T) {
	asked := make(chan url.Values, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/views.update" {
			_ = r.ParseForm()
			asked <- r.PostForm
		}
		_, _ = w.Write([]byte(`{"ok":true,"team_id":"T1","view":{"id":"V1"}}`))
	}))
	t.Cleanup(server.Close)
	s, err := New(Options{BotToken: "xoxb-1", APIURL: server.URL + "/api/"})
	if err != nil {
		t.Fatal(err)
	}
	e := bot.ChatEvent{ID: "e", Place: shopChannel, Message: "1700000000.000100", User: "U1", Answer: viewAnswer + "V1"}
	long := bot.ChatMessage{Title: "What deploy shop/pr-7 changes", Text: bot.Block(strings.Repeat("+ a line\n", 30_000), "diff"), Whole: "`berth diff` shows all."}
	if err := s.Answer(t.Context(), e, 3, long); err != nil {
		t.Fatal(err)
	}
	form := <-asked
	var view slackapi.ModalViewRequest
	if err := json.Unmarshal([]byte(form.Get("view")), &view); err != nil {
		t.Fatal(err)
	}
	kept, err := readNote(view.PrivateMetadata)
	if err != nil || kept.Channel != "C1" || kept.Team != "T1" || kept.Message != e.Message || view.CallbackID != callbackShow || form.Get("view_id") != "V1" {
		t.Errorf("the window is %s with %+v (%v)", view.CallbackID, kept, err)
	}
	checked(t, view.Blocks.BlockSet, "view")
	if n := len(form.Get("view")); n > maxView {
		t.Errorf("the window has %d bytes", n)
	}
}
