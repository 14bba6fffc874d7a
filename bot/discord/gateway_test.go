package discord

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/berth-dev/berth/bot"
)

// heard is what came to a gateway: that a connection was opened or ended, or what
// was written to it.
type heard struct {
	conn  int // from 1
	query string
	op    int
	data  json.RawMessage
}

// opEnded is the op of what tells that a connection is over, opOpened that it
// was begun.
const (
	opOpened = -1
	opEnded  = -2
)

// gatewayOf is a gateway that does what a test says on each connection.
type gatewayOf struct {
	*httptest.Server
	heard chan heard
	mu    sync.Mutex
	conns int
}

// speaker is one connection of it, in the hands of a test.
type speaker struct {
	t    *testing.T
	n    int
	conn *websocket.Conn
	in   chan heard
}

func (s *speaker) say(text string) { _ = s.conn.WriteMessage(websocket.TextMessage, []byte(text)) }

func (s *speaker) hello() { s.say(`{"op":10,"d":{"heartbeat_interval":30000}}`) }

func (s *speaker) ready(seq int) {
	s.say(fmt.Sprintf(`{"op":0,"s":%d,"t":"READY","d":{"v":10,"user":{"id":%q,"username":"berth","bot":true},"guilds":[],"session_id":"session-1","resume_gateway_url":"ws://x","application":{"id":%q}}}`, seq, testMe, testApp))
}

func (s *speaker) close(code int) {
	_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second))
}

// next is the next that is no heartbeat; it is false once the connection is over.
func (s *speaker) next() (heard, bool) {
	for h := range s.in {
		if h.op != 1 {
			return h, true
		}
	}
	return heard{}, false
}

// wait waits until the connection is over.
func (s *speaker) wait() {
	for range s.in {
		continue // what is still written does not matter
	}
}

func newGateway(t *testing.T, api *rest, script func(s *speaker)) *gatewayOf {
	t.Helper()
	g := &gatewayOf{heard: make(chan heard, 1000)}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{}
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		g.mu.Lock()
		g.conns++
		s := &speaker{t: t, n: g.conns, conn: conn, in: make(chan heard, 1000)}
		g.mu.Unlock()
		g.heard <- heard{conn: s.n, op: opOpened, query: r.URL.RawQuery}
		go func() {
			defer close(s.in)
			for {
				var p struct {
					Op   int             `json:"op"`
					Data json.RawMessage `json:"d"`
				}
				if conn.ReadJSON(&p) != nil {
					return
				}
				h := heard{conn: s.n, op: p.Op, data: p.Data}
				g.heard <- h
				s.in <- h
			}
		}()
		script(s)
		_ = conn.Close()
		g.heard <- heard{conn: s.n, op: opEnded}
	}))
	t.Cleanup(g.Close)
	api.on("GET gateway/bot", 200, fmt.Sprintf(`{"url":"ws%s","shards":1,"session_start_limit":{"total":1000,"remaining":999,"reset_after":1000,"max_concurrency":1}}`, strings.TrimPrefix(g.URL, "http")))
	return g
}

// opened is how many connections there were.
func (g *gatewayOf) opened() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.conns
}

// await waits for what a connection is to tell.
func (g *gatewayOf) await(t *testing.T, conn, op int) heard {
	t.Helper()
	timeout := time.After(2 * time.Minute)
	for {
		select {
		case h := <-g.heard:
			if h.conn == conn && h.op == op {
				return h
			}
			if h.conn == conn && op == 6 && h.op == 2 {
				t.Fatal("a session was begun where one was to be resumed")
			}
		case <-timeout:
			t.Fatalf("connection %d never came to op %d", conn, op)
		}
	}
}

// connected runs a Surface that listens to a gateway. What it would wait comes
// by pauses.
func connected(t *testing.T, api *rest, in Intake) (s *Surface, log *logged, pauses chan time.Duration, stop func()) {
	t.Helper()
	pauses = make(chan time.Duration, 10_000)
	s, log = surfaceOf(t, api, in, func(o *Options) {
		o.Gateway, o.PublicKey = true, ""
		o.Lead = func(ctx context.Context, _ string, while func(context.Context)) error { while(ctx); return nil }
	})
	s.sleep = func(ctx context.Context, d time.Duration) {
		pauses <- d
		if d >= hopeless {
			<-ctx.Done()
			return
		}
		sleep(ctx, time.Millisecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { defer close(over); _ = s.Run(ctx) }()
	stop = func() { cancel(); <-over }
	t.Cleanup(stop)
	return s, log, pauses, stop
}

func TestTheGatewayIsHeardAndResumed(t *testing.T) {
	t.Parallel()
	api := newRest(t)
	api.on("GET channels/"+testPlace, 200, `{"id":"`+testPlace+`","type":0}`)
	api.on("POST interactions/"+interactionID+"/tok.en-1/callback", 204, "")
	message := `{"id":"9","type":0,"channel_id":"` + testPlace + `","guild_id":"` + testGuild + `","author":{"id":"` + testUser + `"},"content":"<@` + testMe + `> status"}`
	in := &taken{told: make(chan bot.ChatEvent, 10)}
	drop, over := make(chan struct{}), make(chan struct{})
	g := newGateway(t, api, func(s *speaker) {
		s.hello()
		s.next()
		switch s.n {
		case 1:
			s.ready(1)
			s.say(`{"op":0,"s":2,"t":"MESSAGE_CREATE","d":` + message + `}`)
			s.say(`{"op":0,"s":3,"t":"INTERACTION_CREATE","d":` + done(typeCommand, `{"name":"berth","type":1,"options":[{"name":"deploy","type":1}]}`) + `}`)
			<-drop // the network is lost: no word of it
		case 2:
			// What was missed comes before the word that the session is resumed.
			s.say(`{"op":0,"s":4,"t":"MESSAGE_CREATE","d":` + strings.Replace(message, `"id":"9"`, `"id":"10"`, 1) + `}`)
			s.say(`{"op":0,"s":5,"t":"RESUMED","d":{}}`)
			s.say(`{"op":7,"d":null}`) // Discord wants Berth elsewhere
			s.wait()
		default:
			s.say(`{"op":0,"s":6,"t":"RESUMED","d":{}}`)
			close(over)
			s.wait()
		}
	})
	s, log, _, stop := connected(t, api, in)
	if h := g.await(t, 1, opOpened); h.query != "v=10&encoding=json" {
		t.Errorf("opened with %q", h.query)
	}
	var identify struct {
		Token   string `json:"token"`
		Intents int    `json:"intents"`
		Shard   [2]int `json:"shard"`
	}
	if err := json.Unmarshal(g.await(t, 1, 2).data, &identify); err != nil || identify.Token != "bot-secret" || identify.Intents != 1|1<<9|1<<12 || identify.Shard != [2]int{0, 1} {
		t.Errorf("%+v %v", identify, err)
	}
	lines := map[string]string{}
	for range 2 {
		e := <-in.told
		lines[e.ID] = e.Line
	}
	if lines["m9"] != "status" || lines[interactionID] != "deploy" {
		t.Errorf("%v", lines)
	}
	close(drop)
	var resume struct {
		Token   string `json:"token"`
		Session string `json:"session_id"`
		Seq     int    `json:"seq"`
	}
	if err := json.Unmarshal(g.await(t, 2, 6).data, &resume); err != nil || resume.Token != "bot-secret" || resume.Session != "session-1" || resume.Seq != 3 {
		t.Errorf("%+v %v", resume, err)
	}
	if e := <-in.told; e.ID != "m10" {
		t.Errorf("%+v", e)
	}
	g.await(t, 3, 6)
	<-over
	if _, fix := s.gatewayCheck("", testNow); fix != "" {
		t.Errorf("not right: %s", fix)
	}
	began := time.Now()
	stop()
	if took := time.Since(began); took > 20*time.Second { // readyWithin is longer, and so is quiet
		t.Errorf("stopping took %s", took)
	}
	if strings.Contains(log.String(), "bot-secret") || strings.Contains(log.String(), "tok.en-1") {
		t.Error("the log has a token")
	}
}

func TestAnInvalidSessionIsBegunAnew(t *testing.T) {
	t.Parallel()
	api := newRest(t)
	done := make(chan struct{})
	g := newGateway(t, api, func(s *speaker) {
		s.hello()
		s.next()
		switch s.n {
		case 1:
			s.ready(1)
		case 2:
			s.say(`{"op":9,"d":false}`)
			if h, more := s.next(); more {
				s.t.Errorf("op %d on a connection that has no session", h.op)
			}
		default:
			s.ready(1)
			close(done)
			s.wait()
		}
	})
	_, _, pauses, _ := connected(t, api, &taken{})
	g.await(t, 2, 6)
	g.await(t, 3, 2)
	<-done
	<-pauses // before it was resumed
	if d := <-pauses; d < time.Second {
		t.Errorf("begun after %s, where Discord wants one to five seconds", d)
	}
}

func TestSessionsThatNeverBeginAreNotTriedInARow(t *testing.T) {
	t.Parallel()
	api := newRest(t)
	counted := make(chan int, 100)
	newGateway(t, api, func(s *speaker) {
		s.hello()
		n := 0
		for {
			if _, more := s.next(); !more {
				break
			}
			n++
			s.say(`{"op":9,"d":false}`)
		}
		counted <- n
	})
	_, _, pauses, stop := connected(t, api, &taken{})
	if n := <-counted; n > maxBegins {
		t.Errorf("%d sessions were begun on one connection", n)
	}
	<-counted
	stop()
	if first := <-pauses; first < 5*time.Second {
		t.Errorf("tried again after %s", first)
	}
}

func TestWhatOnlyAPersonCanMend(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code int
		say  string
	}{
		"a token that is refused":            {4004, "discord.bot_token"},
		"intents that are refused":           {4014, "intents"},
		"a version that is there no longer":  {4012, "update Berth"},
		"intents that Discord does not know": {4013, "intents"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newRest(t)
			g := newGateway(t, api, func(s *speaker) {
				s.hello()
				s.next()
				s.close(c.code)
			})
			s, log, pauses, stop := connected(t, api, &taken{})
			if d := <-pauses; d != hopeless {
				t.Errorf("tried again after %s", d)
			}
			detail, fix := s.gatewayCheck("", testNow) // nothing is gained by waiting
			stop()
			if fix == "" || !strings.Contains(detail+" "+fix, c.say) || !strings.Contains(log.String(), c.say) {
				t.Errorf("%q %q\n%s", detail, fix, log)
			}
			if n := g.opened(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestHowTheGatewayIsSaid(t *testing.T) {
	t.Parallel()
	s, _ := surfaceOf(t, nil, &taken{}, listens)
	says := func(at time.Time, say string, right bool) {
		t.Helper()
		if detail, fix := s.gatewayCheck("Berth", at); (fix == "") != right || !strings.Contains(detail, say) {
			t.Errorf("%q %q, want %q", detail, fix, say)
		}
	}
	says(testNow, "another replica", true)
	s.gateway.lead(0, 1, testNow)
	says(testNow, "connecting to the gateway", true)
	for tried := range 10 { // each within the time that passes before anything is said
		s.gateway.down(0, "no route", "", testNow.Add(time.Duration(tried)*10*time.Second))
	}
	says(testNow.Add(95*time.Second), "no route", false)
	s.gateway.up(0, testNow.Add(100*time.Second))
	says(testNow.Add(time.Hour), "1 of 1 shards", true)
	s.gateway.down(0, "lost", "", testNow.Add(time.Hour))
	says(testNow.Add(time.Hour+time.Second), "connecting to the gateway", true)
	s.gateway.leave(0)
	says(testNow.Add(2*time.Hour), "another replica", true)
}

func TestMoreShardsAreTakenWhenDiscordWantsThem(t *testing.T) {
	t.Parallel()
	api := newRest(t)
	shards := make(chan string, 10)
	g := newGateway(t, api, func(s *speaker) {
		s.hello()
		h, _ := s.next()
		var identify struct{ Shard json.RawMessage }
		_ = json.Unmarshal(h.data, &identify)
		if s.n == 1 {
			api.on("GET gateway/bot", 200, fmt.Sprintf(`{"url":"ws://%s","shards":2,"session_start_limit":{"remaining":9}}`, s.conn.LocalAddr()))
			s.close(4011)
			return
		}
		s.ready(1)
		shards <- string(identify.Shard)
		s.wait()
	})
	s, log, _, _ := connected(t, api, &taken{})
	got := map[string]bool{<-shards: true, <-shards: true}
	if !got["[0,2]"] || !got["[1,2]"] || g.URL == "" {
		t.Errorf("%v", got)
	}
	log.await(t, `msg="connected to`, 2)
	if detail, fix := s.gatewayCheck("x", testNow); fix != "" || !strings.Contains(detail, "2 of 2 shards") {
		t.Errorf("%q %q", detail, fix)
	}
}

func TestNoSessionIsBegunWhenThereAreNoneLeft(t *testing.T) {
	t.Parallel()
	api := newRest(t)
	g := newGateway(t, api, func(s *speaker) { s.wait() })
	api.on("GET gateway/bot", 200, `{"url":"ws`+strings.TrimPrefix(g.URL, "http")+`","shards":1,"session_start_limit":{"total":1000,"remaining":0,"reset_after":3600000}}`)
	_, _, pauses, stop := connected(t, api, &taken{})
	if d := <-pauses; d != time.Hour {
		t.Errorf("tried again after %s", d)
	}
	stop()
	if n := g.opened(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

func TestALostLeaseEndsTheConnectionAtOnce(t *testing.T) {
	t.Parallel()
	for name, silent := range map[string]bool{"one that is ready": false, "one on which Discord says nothing": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newRest(t)
			g := newGateway(t, api, func(s *speaker) {
				if !silent {
					s.hello()
					s.next()
					s.ready(1)
				}
				s.wait()
			})
			_, _, _, stop := connected(t, api, &taken{})
			if silent {
				g.await(t, 1, opOpened)
			} else {
				g.await(t, 1, 2)
			}
			began := time.Now()
			stop()
			g.await(t, 1, opEnded)
			if took := time.Since(began); took > 20*time.Second { // readyWithin is longer, and so is quiet
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestTheGatewayIsAskedForAgainWhileDiscordIsDown(t *testing.T) {
	t.Parallel()
	api := newRest(t)
	api.on("GET gateway/bot", 503, "")
	s, _, _, _ := connected(t, api, &taken{})
	api.await(t, "GET gateway/bot")
	api.await(t, "GET gateway/bot")
	if detail, fix := s.gatewayCheck("", testNow); fix == "" {
		t.Errorf("right: %s", detail)
	}
	ready := make(chan struct{})
	newGateway(t, api, func(s *speaker) {
		s.hello()
		s.next()
		s.ready(1)
		close(ready)
		s.wait()
	})
	select {
	case <-ready:
	case <-time.After(2 * time.Minute):
		t.Fatal("never connected")
	}
}
