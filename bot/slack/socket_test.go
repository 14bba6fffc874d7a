package slack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/slack/slacktest"
)

func TestSocketModeOutlivesItsConnections(t *testing.T) {
	tests := map[string]struct {
		lose  func(w *town)
		still int // how many connections there are at the end, besides one
	}{
		"that a network cuts":                      {func(w *town) { w.Disconnect() }, 0},
		"that Slack renews":                        {func(w *town) { w.Refresh("refresh_requested") }, 1},
		"that Slack says it will renew, and keeps": {func(w *town) { w.Refresh("warning") }, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t, true, slacktest.Options{})
			s, _ := w.connected(1)
			newest := func() *connection {
				s.socket.mu.Lock()
				defer s.socket.mu.Unlock()
				return s.socket.newest
			}
			first := newest()
			tt.lose(w)
			for n := range 20 { // in between, and over both connections
				_, err := w.Mention("U1", "C1", "", fmt.Sprintf("status shop/pr-%d", n))
				w.must(err)
			}
			w.await("there is another connection", func() bool { return newest() != nil && newest() != first })
			w.must(w.Idle(t.Context()))
			w.acked(w.Command("U1", "C1", "list"))
			w.stored("list")
			if got := len(w.shelf.all()); got != 21 {
				t.Errorf("%d of 21 events are stored", got)
			}
			if got := w.Sockets(); got > 1+tt.still {
				t.Errorf("there are %d connections", got)
			}
			if check := s.Checks(t.Context())[0]; !check.OK {
				t.Errorf("the check is %+v", check)
			}
		})
	}
}

func TestWhatWasNotAcknowledgedOverASocketComesAgain(t *testing.T) {
	w := newTown(t, true, slacktest.Options{AckTimeout: 3 * time.Second, EventRetries: []time.Duration{0, 0}})
	w.connected(1)
	var mu sync.Mutex
	tries := 0
	w.shelf.failing(func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if tries++; tries == 1 {
			return errDown
		}
		return nil
	})
	_, err := w.Mention("U1", "C1", "", "list")
	w.must(err)
	w.must(w.Idle(t.Context()))
	if e := w.shelf.one(t); e.Line != "list" || w.shelf.takes != 2 {
		t.Errorf("after %d tries stored is %+v", w.shelf.takes, e)
	}
	if failed := w.TakeFailures(); len(failed) != 1 {
		t.Errorf("what was not acknowledged is %v", failed)
	}
}

func TestReplicasShareWhatComesOverSockets(t *testing.T) {
	w := newTown(t, true, slacktest.Options{EventRetries: []time.Duration{0, 0, 0}})
	_, stopOne := w.connected(1)
	w.connected(2)
	say := func(from, to int) {
		for n := from; n < to; n++ {
			_, err := w.Mention("U1", "C1", "", fmt.Sprintf("status shop/pr-%d", n))
			w.must(err)
			if n%10 == 0 {
				w.acked(w.Command("U1", "C1", fmt.Sprintf("logs shop/pr-%d", n)))
			}
		}
	}
	say(0, 50)
	stopped := make(chan struct{})
	go func() { defer close(stopped); stopOne() }()
	say(50, 100)
	<-stopped
	w.must(w.Idle(t.Context()))
	lines := map[string]int{}
	for _, e := range w.shelf.all() {
		lines[e.Line]++
	}
	for n := range 100 {
		if line := fmt.Sprintf("status shop/pr-%d", n); lines[line] != 1 {
			t.Errorf("%q is stored %d times", line, lines[line])
		}
	}
	w.await("one connection is left", func() bool { return w.Sockets() == 1 })
}

func TestABadAppTokenIsSaidAndNotTriedWithoutEnd(t *testing.T) {
	tests := map[string]struct {
		fault slacktest.Fault
		fix   string
	}{
		"that Slack does not take":   {slacktest.Fault{Error: "invalid_auth"}, "slack.app_token"},
		"while Slack wants a pause":  {slacktest.Fault{Status: http.StatusTooManyRequests, RetryAfter: 60 * time.Second}, "WebSockets"},
		"while Slack is not working": {slacktest.Fault{Status: http.StatusBadGateway}, "WebSockets"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t, true, slacktest.Options{})
			w.Fail("apps.connections.open", -1, tt.fault)
			s, _ := w.replica()
			tries := func() int { return strings.Count(w.log.String(), "there is no Socket Mode connection") }
			began := time.Now()
			w.await("it was tried", func() bool {
				return !errors.Is(standsNow(s.socket), errNoHello)
			})
			check := s.Checks(t.Context())[0]
			if check.OK || !strings.Contains(check.Fix, tt.fix) || !strings.Contains(check.Detail, "apps.connections.open") || strings.Contains(check.Detail, "xapp-") {
				t.Errorf("the check is %+v", check)
			}
			if most := 3 + int(time.Since(began)/(500*time.Millisecond)); tries() > most {
				t.Errorf("it was tried %d times in %s", tries(), time.Since(began))
			}
			if tt.fault.Error == "" {
				return
			}
			w.Heal()
			w.await("it is connected once the token is taken", func() bool { return connected(s.socket) })
		})
	}
}

func TestHowLongToWaitForAConnection(t *testing.T) {
	err := errors.New("gone")
	for failures := range 40 {
		wait := backOff(failures, err)
		least, most := 250*time.Millisecond, maxBackOff
		if failures == 0 {
			least, most = 0, 200*time.Millisecond
		}
		if failures > 6 {
			least = maxBackOff / 2
		}
		if wait < least || wait > most {
			t.Errorf("after %d failures it waits %s", failures, wait)
		}
	}
	if got := backOff(0, fmt.Errorf("open: %w", &bot.Limited{After: 42 * time.Second})); got != 42*time.Second {
		t.Errorf("when Slack wants a pause of 42 s it waits %s", got)
	}
	if got := backOff(0, errRefresh); got != 0 {
		t.Errorf("when Slack is about to close a connection, the next waits %s", got)
	}
	if got := backOff(1, errRefresh); got < 250*time.Millisecond {
		t.Errorf("when Slack closes one after the other, the next waits %s", got)
	}
	if got := backOff(0, &bot.Limited{}); got < time.Second {
		t.Errorf("when Slack wants a pause of no length it waits %s", got)
	}
}

// wire is the other end of Berth's sockets, for what the stand-in never says.
type wire struct {
	*world
	conns chan *websocket.Conn
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{conns: make(chan *websocket.Conn, 10)}
	upgrader := websocket.Upgrader{}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if conn, err := upgrader.Upgrade(out, r, nil); err == nil {
			t.Cleanup(func() { _ = conn.Close() })
			w.conns <- conn
		}
	}))
	t.Cleanup(server.Close)
	w.world = newWorld(t, func(o *Options) { o.AppToken, o.Now = "xapp-1", nil })
	w.api.on("apps.connections.open", func(called) (int, any) {
		return http.StatusOK, map[string]any{"ok": true, "url": "ws" + strings.TrimPrefix(server.URL, "http") + "/link/?ticket=secret-ticket"}
	})
	w.running(t)
	return w
}

// next is the next connection.
func (w *wire) next(t *testing.T) *websocket.Conn {
	t.Helper()
	select {
	case conn := <-w.conns:
		return conn
	case <-time.After(2 * time.Minute):
		t.Fatal("nobody connects")
	}
	return nil
}

// say writes a frame.
func say(t *testing.T, conn *websocket.Conn, text string) {
	t.Helper()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// heard is the next frame.
func heard(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
	_, data, err := conn.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWhatIsWrongOverASocketHarmsNothing(t *testing.T) {
	w := newWire(t)
	conn := w.next(t)
	for _, nonsense := range []string{``, `{`, `[]`, `{"type":""}`, `{"type":"events_api","envelope_id":"a b"}`, `{"type":"hello","num_connections":"x"}`, strings.Repeat("[", 100_000)} {
		say(t, conn, nonsense)
	}
	say(t, conn, `{"type":"hello","num_connections":1}`)
	for name, tt := range map[string]struct{ envelope, want string }{
		"a kind that came later":             {`{"type":"holograms","envelope_id":"e1","payload":{"x":1},"accepts_response_payload":true}`, `{"envelope_id":"e1"}`},
		"an event that cannot be read":       {`{"type":"events_api","envelope_id":"e2","payload":{"type":"event_callback","event":5}}`, `{"envelope_id":"e2"}`},
		"a command that cannot be read":      {`{"type":"slash_commands","envelope_id":"e3","payload":{"user_id":"../x"},"accepts_response_payload":true}`, `{"envelope_id":"e3"}`},
		"an interaction that cannot be read": {`{"type":"interactive","envelope_id":"e4","payload":null,"accepts_response_payload":true}`, `{"envelope_id":"e4"}`},
	} {
		say(t, conn, tt.envelope)
		if got := heard(t, conn); got != tt.want {
			t.Errorf("%s is answered with %s", name, got)
		}
	}
	if all := w.shelf.all(); len(all) != 0 {
		t.Errorf("stored is %+v", all)
	}
	say(t, conn, `{"type":"slash_commands","envelope_id":"e5","accepts_response_payload":true,"payload":{"team_id":"T1","channel_id":"C1","user_id":"U1","text":"list"}}`)
	if got := heard(t, conn); got != `{"envelope_id":"e5"}` || w.shelf.one(t).Line != "list" {
		t.Errorf("after all that a command is answered with %s", got)
	}
	w.shelf.failing(func(context.Context) error { return errDown })
	say(t, conn, `{"type":"slash_commands","envelope_id":"e6","accepts_response_payload":true,"payload":{"team_id":"T1","channel_id":"C1","user_id":"U1","text":"help","trigger_id":"1.1"}}`)
	if got := heard(t, conn); !strings.Contains(got, `"response_type":"ephemeral"`) || !strings.Contains(got, "does not answer") {
		t.Errorf("while the store is down a command is answered with %s", got)
	}
	w.shelf.failing(nil)
}

func TestASocketThatSlackClosesAtOnceIsNotOpenedWithoutEnd(t *testing.T) {
	began := time.Now()
	w := newWire(t)
	for range 4 {
		_ = w.next(t).Close()
	}
	if took := time.Since(began); took < 1500*time.Millisecond { // what backOff waits at least
		t.Errorf("four connections were opened within %s", took)
	}
	if text := w.log.String(); strings.Contains(text, "secret-ticket") || strings.Contains(text, "xapp-") {
		t.Errorf("the log has secrets: %s", text)
	}
}

func TestSocketModeThatIsTurnedOffIsSaid(t *testing.T) {
	w := newWire(t)
	conn := w.next(t)
	say(t, conn, `{"type":"hello","num_connections":1}`)
	say(t, conn, `{"type":"disconnect","reason":"link_disabled"}`)
	w.next(t) // it is tried again, for the day that it is turned on
	check := w.Checks(t.Context())[0]
	if check.OK || !strings.Contains(check.Detail, "turned off") {
		t.Errorf("the check is %+v", check)
	}
}

func TestTheConnectionIsLookedAtBeforeItIsThereAndWithoutOne(t *testing.T) {
	w := newTown(t, true, slacktest.Options{})
	app := w.App()
	only, err := New(Options{BotToken: "xoxb-T1", AppToken: app.Token, APIURL: w.APIURL()})
	if err != nil {
		t.Fatal(err)
	}
	if check := only.Checks(t.Context())[0]; !check.OK {
		t.Errorf("where nobody connects, and could: %+v", check)
	}
	other, err := New(Options{BotToken: "xoxb-T1", AppToken: "xapp-other", APIURL: w.APIURL()})
	if err != nil {
		t.Fatal(err)
	}
	if check := other.Checks(t.Context())[0]; check.OK || !strings.Contains(check.Fix, "slack.app_token") {
		t.Errorf("with another token: %+v", check)
	}
	w.TakeOdd() // the token that is none
	if w.Sockets() != 0 {
		t.Errorf("looking left %d connections", w.Sockets())
	}
	s, err := New(Options{BotToken: "xoxb-T1", AppToken: app.Token, APIURL: w.APIURL()})
	if err != nil {
		t.Fatal(err)
	}
	s.socket.running.Store(true) // as it is when it is asked while it connects
	looked := make(chan error, 1)
	go func() { looked <- s.socket.standing(t.Context()) }()
	s.socket.arrived(&connection{})
	if err := <-looked; err != nil {
		t.Errorf("while it connects: %v", err)
	}
	one, two := &connection{}, &connection{}
	s.socket.gone(s.socket.newest, errOff)
	s.socket.heard(one)
	s.socket.heard(two)
	if s.socket.newest != one {
		t.Error("what is heard over an old connection makes it the newest")
	}
}
