package api_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
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
	ended, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := ts.Config.Shutdown(ended); err != nil {
		t.Errorf("the server does not end: %v", err)
	}
}
