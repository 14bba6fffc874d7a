package api_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/bottest"
)

func TestACallThatTheEndOfTheServerCutsShortIsToBeSentAgain(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	a, err := api.New(api.Options{Service: w.Service, Tokens: []api.Token{{Actor: "ci", SHA256: hashed("ci-token"), Roles: []string{"deployer"}}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	for _, key := range []string{"", "key"} {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/v1/requests", strings.NewReader(`{"command":"deploy shop/pr-42"}`))
		r.Header.Set("Authorization", "Bearer ci-token")
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", key)
		rec := httptest.NewRecorder()
		a.ServeHTTP(rec, r)
		if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" || rec.Header().Get("Content-Type") != api.ProblemType {
			t.Errorf("with the key %q: %d, %v, %s", key, rec.Code, rec.Header(), rec.Body)
		}
	}
}

// What is cut short by the end of the server must not look whole to who reads it,
// and nobody who follows may keep the server from ending.
func TestLogsThatTheEndOfTheServerCutsShortSaySo(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Work()
	w.Do("deploy shop/pr-42")
	a, err := api.New(api.Options{Service: w.Service, Tokens: []api.Token{{Actor: "ci", SHA256: hashed("ci-token"), Roles: []string{"deployer"}}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ts := httptest.NewUnstartedServer(a)
	ts.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	ts.Start()
	defer ts.Close()
	w.Executor.Print("web", actions.LogLine{Time: noon, Source: "web-1/app", Text: "one"})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ts.URL+shop42+"/logs?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ci-token")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, `"text":"one"`) {
		t.Fatalf("%q, %v", line, err)
	}
	stop()
	rest, err := io.ReadAll(lines)
	if err == nil || !strings.Contains(string(rest), `"code":"unavailable"`) || !strings.Contains(string(rest), "Berth is being stopped") {
		t.Errorf("the follower is told %q, %v", rest, err)
	}
	ended, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := ts.Config.Shutdown(ended); err != nil {
		t.Errorf("the server does not end: %v", err)
	}
}

// Whoever follows and reads nothing must not hold up the end of the server.
func TestTheServerEndsThoughSomebodyReadsNothing(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Work()
	w.Do("deploy shop/pr-42")
	a, err := api.New(api.Options{Service: w.Service, Tokens: []api.Token{{Actor: "ci", SHA256: hashed("ci-token"), Roles: []string{"deployer"}}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	stuck := make(chan struct{})
	ts := httptest.NewUnstartedServer(a)
	ts.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	ts.Listener = narrow{ts.Listener, stuck}
	ts.Start()
	defer ts.Close()
	many := make([]actions.LogLine, 20_000)
	for i := range many {
		many[i] = actions.LogLine{Time: noon, Source: "web-1/app", Text: strings.Repeat("x", 1000)}
	}
	w.Executor.Print("web", many...)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ts.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET "+shop42+"/logs?follow=true HTTP/1.1\r\nHost: berth\r\nAuthorization: Bearer ci-token\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-stuck
	stop()
	ended, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := ts.Config.Shutdown(ended); err != nil {
		t.Errorf("the server does not end: %v", err)
	}
}

// narrow is a listener that tells when it has taken all that fits between it and
// a reader who reads nothing.
type narrow struct {
	net.Listener
	stuck chan struct{}
}

func (n narrow) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &narrowConn{Conn: c, stuck: n.stuck}, nil
}

type narrowConn struct {
	net.Conn
	stuck chan struct{}
	once  sync.Once
}

func (c *narrowConn) Write(b []byte) (int, error) {
	timer := time.AfterFunc(time.Second, func() { c.once.Do(func() { close(c.stuck) }) }) // loopback takes it at once, or not at all
	defer timer.Stop()
	return c.Conn.Write(b)
}
