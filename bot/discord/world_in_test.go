package discord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot"
)

const (
	testApp   = "1100000000000000001"
	testGuild = "1200000000000000001"
	testPlace = "1300000000000000001" // a channel
	testUser  = "1400000000000000001"
	testMe    = "1500000000000000001" // Berth's own account
)

// taken is an Intake that remembers, and fails while it is told to.
type taken struct {
	mu     sync.Mutex
	events []bot.ChatEvent
	fail   func(n int) error // by the number of the call, from 1
	calls  int
	told   chan bot.ChatEvent
}

func (i *taken) Take(_ context.Context, e bot.ChatEvent) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calls++
	if i.fail != nil {
		if err := i.fail(i.calls); err != nil {
			return err
		}
	}
	i.events = append(i.events, e)
	if i.told != nil {
		i.told <- e
	}
	return nil
}

func (i *taken) all() []bot.ChatEvent {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]bot.ChatEvent(nil), i.events...)
}

var errDown = errors.New("redis is down")

// rest is a little of Discord's REST API: routes by "METHOD path", each of which
// answers with a status and JSON.
type rest struct {
	*httptest.Server
	mu     sync.Mutex
	routes map[string]func(body []byte) (int, string)
	calls  []restCall
	seen   chan restCall
}

type restCall struct {
	route string
	body  string
	auth  string
}

func newRest(t *testing.T) *rest {
	t.Helper()
	api := &rest{routes: map[string]func([]byte) (int, string){}, seen: make(chan restCall, 1000)}
	api.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		route := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/api/v10/")
		call := restCall{route: route, body: string(body), auth: r.Header.Get("Authorization")}
		api.mu.Lock()
		answer := api.routes[route]
		api.calls = append(api.calls, call)
		api.mu.Unlock()
		api.seen <- call
		status, text := http.StatusNotFound, `{"code":0,"message":"404: Not Found"}`
		if answer != nil {
			status, text = answer(body)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(api.Close)
	return api
}

func (r *rest) on(route string, status int, text string) {
	r.answer(route, func([]byte) (int, string) { return status, text })
}

func (r *rest) answer(route string, do func(body []byte) (int, string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.routes[route] = do
}

// await waits for a call of that route.
func (r *rest) await(t *testing.T, route string) restCall {
	t.Helper()
	timeout := time.After(2 * time.Minute)
	for {
		select {
		case call := <-r.seen:
			if call.route == route {
				return call
			}
		case <-timeout:
			t.Fatalf("%s was never called", route)
		}
	}
}

// count is how often a route was called.
func (r *rest) count(route string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, call := range r.calls {
		if call.route == route {
			n++
		}
	}
	return n
}

// logged is a log that tests read.
type logged struct {
	mu   sync.Mutex
	b    strings.Builder
	more chan struct{} // holds one: something was written
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	signal(l.more)
	return l.b.Write(p)
}

// await waits until text stands in the log so often.
func (l *logged) await(t *testing.T, text string, times int) {
	t.Helper()
	timeout := time.After(2 * time.Minute)
	for strings.Count(l.String(), text) < times {
		select {
		case <-l.more:
		case <-timeout:
			t.Fatalf("%q is not in the log %d times:\n%s", text, times, l)
		}
	}
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// surfaceOf is a Surface whose API is there.
func surfaceOf(t *testing.T, api *rest, intake Intake, change func(*Options)) (*Surface, *logged) {
	t.Helper()
	public, _ := testKey()
	log := &logged{more: make(chan struct{}, 1)}
	o := Options{ApplicationID: testApp, PublicKey: public, BotToken: "bot-secret", APIURL: "http://127.0.0.1:1/api/v10/", Verbs: testVerbs,
		Now: func() time.Time { return testNow }, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if api != nil {
		o.APIURL = api.URL + "/api/v10/"
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Attach(intake, nil)
	return s, log
}

var testVerbs = []Verb{
	{Name: "deploy", Summary: "creates an environment, or updates it",
		Arguments: []Option{{Name: "target", Summary: "the environment", Suggest: SuggestTarget}},
		Flags: []Option{{Name: "ref", Summary: "what to deploy", Suggest: SuggestRef}, {Name: "set", Summary: "sets a value", Kind: OptionWords},
			{Name: "to", Summary: "a revision", Kind: OptionNumber}, {Name: "dry-run", Summary: "changes nothing", Kind: OptionSwitch}, {Name: "reason", Summary: "why"}}},
	{Name: "approve", Summary: "agrees to a request", Arguments: []Option{{Name: "request", Summary: "which", Required: true, Suggest: SuggestRequest}}},
	{Name: "vars", Summary: "shows variables", Group: "vars", As: "show", Arguments: []Option{{Name: "target", Summary: "the environment", Suggest: SuggestTarget}}},
	{Name: "set", Summary: "sets variables", Group: "vars", As: "set", Arguments: []Option{{Name: "target", Summary: "the environment"}, {Name: "variables", Summary: "KEY=VALUE", Kind: OptionWords, Required: true}}},
	{Name: "help", Summary: "says what can be typed", Arguments: []Option{{Name: "verb", Summary: "which", Suggest: SuggestVerb}}},
}

// interactionID is an id of testNow.
var interactionID = fmt.Sprint((testNow.UnixMilli() - discordEpoch) << 22)

// done is an interaction in JSON.
func done(kind int, data string, more ...string) string {
	fields := map[string]json.RawMessage{
		"id": json.RawMessage(`"` + interactionID + `"`), "application_id": json.RawMessage(`"` + testApp + `"`), "type": json.RawMessage(fmt.Sprint(kind)),
		"data": json.RawMessage(data), "guild_id": json.RawMessage(`"` + testGuild + `"`), "channel_id": json.RawMessage(`"` + testPlace + `"`),
		"member":  json.RawMessage(`{"user":{"id":"` + testUser + `","username":"ana","global_name":"Ana"},"nick":null,"roles":[]}`),
		"channel": json.RawMessage(`{"id":"` + testPlace + `","type":0}`),
		"token":   json.RawMessage(`"tok.en-1"`), "version": json.RawMessage("1"),
	}
	for i := 0; i+1 < len(more); i += 2 {
		if more[i+1] == "" {
			delete(fields, more[i])
		} else {
			fields[more[i]] = json.RawMessage(more[i+1])
		}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// send gives an interaction to the handler, signed, and reads the answer.
func send(t *testing.T, s *Surface, body string) (int, response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, signed(testNow, body))
	var r response
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
	}
	return w.Code, r, w.Body.String()
}
