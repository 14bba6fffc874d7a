package slack

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot"
)

const testSecret = "8f742231b10e8888abcd99yyyzzz85a5"

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// shelf is an Intake that keeps events by their ids.
type shelf struct {
	mu     sync.Mutex
	events map[string]bot.ChatEvent
	takes  int
	fail   func(ctx context.Context) error // nil means that all is well
	change chan struct{}
}

func newShelf() *shelf {
	return &shelf{events: map[string]bot.ChatEvent{}, change: make(chan struct{}, 100_000)}
}

func (s *shelf) Take(ctx context.Context, e bot.ChatEvent) error {
	s.mu.Lock()
	fail := s.fail
	s.takes++
	s.mu.Unlock()
	defer func() { s.change <- struct{}{} }()
	if fail != nil {
		if err := fail(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.events[e.ID]; !there {
		s.events[e.ID] = e
	}
	return nil
}

func (s *shelf) failing(fail func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func (s *shelf) all() []bot.ChatEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []bot.ChatEvent
	for _, e := range s.events {
		all = append(all, e)
	}
	return all
}

// one is the only event there is.
func (s *shelf) one(t *testing.T) bot.ChatEvent {
	t.Helper()
	all := s.all()
	if len(all) != 1 {
		t.Fatalf("%d events are stored, not one: %+v", len(all), all)
	}
	return all[0]
}

// called is a call of Slack's Web API.
type called struct {
	method string
	token  string
	form   url.Values
}

// api is a small Slack: the methods that what comes in needs, and addresses for
// answers.
type api struct {
	*httptest.Server
	mu      sync.Mutex
	calls   []called
	answers []string // what was sent to the response_url
	change  chan struct{}
	reply   map[string]func(c called) (int, any) // by method
	teams   map[string]string                    // by token
	scopes  string                               // of all tokens; "" is what Berth asks for, "-" says none
}

func newAPI(t *testing.T) *api {
	a := &api{change: make(chan struct{}, 10_000), reply: map[string]func(called) (int, any){}, teams: map[string]string{"xoxb-home": "T1", "xoxb-two": "T2"}}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

func (a *api) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	method := strings.TrimPrefix(r.URL.Path, "/api/")
	if strings.HasPrefix(method, "/answer") {
		a.mu.Lock()
		a.answers = append(a.answers, string(body))
		a.mu.Unlock()
		a.change <- struct{}{}
		_, _ = io.WriteString(w, "ok")
		return
	}
	c := called{method: method, token: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		c.form = url.Values{}
		var fields map[string]json.RawMessage
		_ = json.Unmarshal(body, &fields)
		for key, value := range fields {
			text := string(value)
			_ = json.Unmarshal(value, &text)
			c.form.Set(key, text)
		}
	} else {
		c.form, _ = url.ParseQuery(string(body))
	}
	if c.token == "" {
		c.token = c.form.Get("token")
	}
	a.mu.Lock()
	a.calls = append(a.calls, c)
	special := a.reply[method]
	a.mu.Unlock()
	status, out := a.usual(c)
	if special != nil {
		status, out = special(c)
	}
	w.Header().Set("Content-Type", "application/json")
	switch a.scopes {
	case "-":
	case "":
		w.Header().Set("X-OAuth-Scopes", strings.Join(Scopes(), ","))
	default:
		w.Header().Set("X-OAuth-Scopes", a.scopes)
	}
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "7")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out)
	a.change <- struct{}{}
}

func (a *api) usual(c called) (int, any) {
	switch c.method {
	case "auth.test":
		a.mu.Lock()
		team := a.teams[c.token]
		a.mu.Unlock()
		if team == "" {
			return http.StatusOK, map[string]any{"ok": false, "error": "invalid_auth"}
		}
		return http.StatusOK, map[string]any{"ok": true, "url": "https://acme.slack.com/", "team_id": team, "user_id": "UBOT" + team[1:], "bot_id": "BBOT"}
	case "views.open", "views.push", "views.update":
		return http.StatusOK, map[string]any{"ok": true, "view": map[string]any{"id": "V900"}}
	}
	return http.StatusOK, map[string]any{"ok": true}
}

// on has a method answered otherwise.
func (a *api) on(method string, do func(c called) (int, any)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reply[method] = do
}

func (a *api) of(method string) []called {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []called
	for _, c := range a.calls {
		if c.method == method {
			found = append(found, c)
		}
	}
	return found
}

func (a *api) told() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.answers...)
}

// until waits for something to be so, looking whenever change says that it may
// be.
func until(t *testing.T, change <-chan struct{}, what string, is func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for !is() {
		select {
		case <-change:
		case <-deadline:
			t.Fatalf("it never came to pass that %s", what)
		}
	}
}

// guesser is a Suggester that knows two environments.
type guesser struct {
	mu    sync.Mutex
	asked []string
}

func (g *guesser) Suggest(_ context.Context, at bot.ChatPlace, identity, what, _, typed string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, fmt.Sprintf("%s %s %s %q", at.ID(), identity, what, typed))
	var found []string
	for _, name := range []string{"shop/pr-42", "shop/pr-7"} {
		if strings.Contains(name, typed) {
			found = append(found, name)
		}
	}
	return found
}

// world is a Surface with all that is around it.
type world struct {
	*Surface
	api   *api
	shelf *shelf
	guess *guesser
	clock *clock
	log   *locked
	front http.Handler
}

func newWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	w := &world{api: newAPI(t), shelf: newShelf(), guess: &guesser{}, clock: &clock{at: time.Unix(1_700_000_000, 0).UTC()}, log: &locked{}}
	o := Options{
		SigningSecret: testSecret, BotToken: "xoxb-home", Workspaces: map[string]string{"T2": "xoxb-two"}, APIURL: w.api.URL + "/api/",
		PublicURL: "https://berth.example.org", Replica: "r1", Now: w.clock.now, Log: slog.New(slog.NewTextHandler(w.log, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Attach(w.shelf, w.guess)
	w.Surface, w.front = s, s.Handler()
	unhurried(s)
	return w
}

// unhurried gives a Surface the time that a busy machine takes. What a test says of
// the time itself it says with hurried.
func unhurried(s *Surface) {
	s.patience, s.takeWithin, s.lookFor = time.Minute, time.Minute, time.Minute
}

// hurried gives a Surface the time that it has in truth.
func hurried(s *Surface) {
	s.patience, s.takeWithin, s.lookFor = patience, takeWithin, lookFor
}

// running runs the Surface until the test ends.
func (w *world) running(t *testing.T) *world {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	return w
}

// locked is a buffer that several write to.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// sign is Slack's signature of a body.
func sign(secret string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "v0:%d:%s", at.Unix(), body)
	return "v0=" + hex.EncodeToString(mac.Sum(nil))
}

// post sends a signed request.
func (w *world) post(path string, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	at := w.clock.now()
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Slack-Request-Timestamp", strconv.FormatInt(at.Unix(), 10))
	r.Header.Set("X-Slack-Signature", sign(testSecret, at, []byte(body)))
	out := httptest.NewRecorder()
	w.front.ServeHTTP(out, r)
	return out
}

// command is the form of a slash command.
func (w *world) command(text string, change ...string) string {
	form := url.Values{
		"token": {"old"}, "team_id": {"T1"}, "team_domain": {"acme"}, "channel_id": {"C1"}, "channel_name": {"ops"}, "user_id": {"U1"}, "user_name": {"ana"},
		"command": {"/berth"}, "text": {text}, "response_url": {w.api.URL + "/answer/1"}, "trigger_id": {"1.2.3"}, "api_app_id": {"A1"}, "is_enterprise_install": {"false"},
	}
	for i := 0; i+1 < len(change); i += 2 {
		form.Set(change[i], change[i+1])
	}
	return form.Encode()
}

// wrapped is the form of an interaction.
func wrapped(text string) string { return url.Values{"payload": {text}}.Encode() }

// click is a click on a button of a message in #ops.
func (w *world) click(value buttonValue, change ...string) string {
	v, _ := marshal(value)
	text := fmt.Sprintf(`{"type":"block_actions","user":{"id":"U1","username":"ana","team_id":"T1"},"api_app_id":"A1","token":"old",
		"container":{"type":"message","message_ts":"1699999000.000100","channel_id":"C1","is_ephemeral":false},"trigger_id":"9.9.9",
		"team":{"id":"T1","domain":"acme"},"enterprise":null,"is_enterprise_install":false,"channel":{"id":"C1","name":"ops"},
		"message":{"user":"UBOT1","type":"message","ts":"1699999000.000100","bot_id":"BBOT","text":"card","team":"T1","blocks":[{"type":"from_the_future"}]},
		"state":{"values":{}},"response_url":%q,
		"actions":[{"action_id":"berth:0","block_id":"b1","text":{"type":"plain_text","text":"Approve"},"value":%s,"type":"button","action_ts":"1699999999.500000"}]}`,
		w.api.URL+"/answer/click", strconv.Quote(v))
	return wrapped(strings.NewReplacer(change...).Replace(text))
}

// eventText is an event of a type with fields.
func eventText(id, fields string) string {
	return fmt.Sprintf(`{"token":"old","team_id":"T1","api_app_id":"A1","event":{%s},"type":"event_callback","event_id":%q,"event_time":1699999999,
		"authorizations":[{"enterprise_id":null,"team_id":"T1","user_id":"UBOT1","is_bot":true,"is_enterprise_install":false}],"is_ext_shared_channel":false}`, fields, id)
}
