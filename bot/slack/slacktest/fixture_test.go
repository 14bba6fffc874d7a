package slacktest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// app is a small app that does by itself what the tests tell it to.
type app struct {
	*Server
	t    *testing.T
	team Workspace

	mu       sync.Mutex
	got      []got
	answer   func(got) (status int, body string) // nil acknowledges
	received chan got
}

type got struct {
	path    string
	header  http.Header
	raw     string
	form    url.Values
	payload obj // of an interaction or an event
}

func newApp(t *testing.T, opts Options) *app {
	t.Helper()
	return fill(t, Run(t, opts))
}

// oddApp is one whose oddities do not fail the test, but those of the stand-in.
func oddApp(t *testing.T, opts Options) *app {
	t.Helper()
	s := New(opts)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		s.TakeOdd()
		for _, o := range s.Odd() {
			t.Error(o)
		}
	})
	return fill(t, s)
}

func fill(t *testing.T, s *Server) *app {
	a := &app{Server: s, t: t, received: make(chan got, 100)}
	web := httptest.NewServer(a.handler())
	t.Cleanup(web.Close)
	a.team = s.AddWorkspace(Workspace{ID: "T1", Name: "Acme"})
	for id, name := range map[string]string{"U1": "ana", "U2": "ben"} {
		a.must(s.AddUser(User{ID: id, Name: name}))
	}
	a.must(s.AddChannel(Channel{ID: "C1", Name: "deploys"}))
	a.must(s.AddChannel(Channel{ID: "C2", Name: "elsewhere", NoBot: true, Private: true}))
	a.must(s.AddChannel(Channel{ID: "C3", Name: "old", Archived: true}))
	a.must(s.AddGroup(Group{ID: "S1", Handle: "db", Members: []string{"U1", "U2"}}))
	if !s.App().Socket {
		s.Connect(web.URL)
	}
	return a
}

func (a *app) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *app) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		g := got{path: r.URL.Path, header: r.Header, raw: string(raw)}
		if g.form, err = url.ParseQuery(g.raw); err == nil && g.form.Has("payload") {
			err = json.Unmarshal([]byte(g.form.Get("payload")), &g.payload)
		} else if r.Header.Get("Content-Type") == "application/json" {
			err = json.Unmarshal(raw, &g.payload)
		}
		if err != nil {
			a.t.Error(err)
		}
		a.mu.Lock()
		a.got = append(a.got, g)
		answer := a.answer
		a.mu.Unlock()
		if answer != nil {
			status, body := answer(g)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
		a.received <- g
	})
}

// answers has the app acknowledge with a body from now on.
func (a *app) answers(do func(got) (int, string)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = do
}

// next is the next thing that the app got.
func (a *app) next() got {
	a.t.Helper()
	select {
	case g := <-a.received:
		return g
	case <-soon(a.t).Done():
		a.t.Fatal("nothing was delivered")
	}
	return got{}
}

// call calls a method with the bot's token and a JSON body.
func (a *app) call(method string, args obj) obj {
	a.t.Helper()
	_, out := a.post(a.APIURL()+method, a.team.BotToken, args)
	return out
}

func (a *app) post(address, token string, args any) (*http.Response, obj) {
	a.t.Helper()
	raw, err := json.Marshal(args)
	a.must(err)
	req, err := http.NewRequestWithContext(soon(a.t), http.MethodPost, address, bytes.NewReader(raw))
	a.must(err)
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("Authorization", "Bearer "+token)
	return a.do(req)
}

// form calls a method with a form.
func (a *app) form(method string, values url.Values) obj {
	a.t.Helper()
	req, err := http.NewRequestWithContext(soon(a.t), http.MethodPost, a.APIURL()+method, bytes.NewBufferString(values.Encode()))
	a.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+a.team.BotToken)
	_, out := a.do(req)
	return out
}

func (a *app) do(req *http.Request) (*http.Response, obj) {
	a.t.Helper()
	res, err := http.DefaultClient.Do(req)
	a.must(err)
	defer drain(res.Body)
	var out obj
	_ = json.NewDecoder(res.Body).Decode(&out) // What is no JSON is told by its status.
	return res, out
}

// ok calls a method that has to go well.
func (a *app) ok(method string, args obj) obj {
	a.t.Helper()
	out := a.call(method, args)
	if out["ok"] != true {
		a.t.Fatalf("%s: %v", method, out)
	}
	return out
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func section(text string) obj {
	return obj{"type": "section", "text": obj{"type": "mrkdwn", "text": text}}
}

func button(label, value string) obj {
	return obj{"type": "button", "action_id": "a-" + value, "text": obj{"type": "plain_text", "text": label}, "value": value}
}

func actions(elements ...any) obj { return obj{"type": "actions", "elements": elements} }
