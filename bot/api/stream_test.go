package api_test

import (
	"bufio"
	"context"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot/api"
)

type sse struct{ id, event, data string }

// watch opens a stream; the channel is closed when it ends.
func (s *server) watch(ctx context.Context, runID, after string) (*http.Response, <-chan sse) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/api/v1/runs/"+runID+"/events", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ci-token")
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	events := make(chan sse, 1000)
	go func() {
		defer close(events)
		defer res.Body.Close()
		var e sse
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.event = value
			case "data":
				e.data = value
			case "":
				if e.event != "" {
					events <- e
				}
				e = sse{}
			}
		}
	}()
	return res, events
}

func TestEventsAreToldOnceAndResumed(t *testing.T) {
	s := start(t)
	s.Work()
	release := s.Executor.Hold("web")
	r := into[api.Request](t, s.call(http.MethodPost, "/api/v1/requests", object{"command": "deploy shop/pr-42"}, nil))
	running := s.Await(r.ID, func(r *approvals.Request) bool { return r.RunID != "" })

	first, cancel := context.WithCancel(context.Background())
	res, events := s.watch(first, running.RunID, "")
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s, %s", res.Status, res.Header.Get("Content-Type"))
	}
	var told []sse
	for e := range events {
		told = append(told, e)
		if e.event == "progress" && strings.Contains(e.data, "pods ready") {
			break
		}
	}
	cancel() // as a laptop does that is closed
	release()
	_, events = s.watch(context.Background(), running.RunID, told[len(told)-1].id)
	for e := range events {
		told = append(told, e)
	}
	seen := map[string]bool{}
	for _, e := range told[:len(told)-1] {
		if e.id == "" || seen[e.id] {
			t.Errorf("%+v came twice, or has no id", e)
		}
		seen[e.id] = true
	}
	last := told[len(told)-1]
	if last.event != "end" || !strings.Contains(last.data, `"state":"succeeded"`) {
		t.Errorf("the last is %+v", last)
	}

	_, whole := s.watch(context.Background(), running.RunID, "")
	count := 0
	for range whole {
		count++
	}
	if count != len(told) {
		t.Errorf("in one go there are %d events, in two %d", count, len(told))
	}
	if res, _ := s.watch(context.Background(), running.RunID, told[len(told)-2].id); res.StatusCode != http.StatusNoContent {
		t.Errorf("after the end: %s", res.Status)
	}
	if res, _ := s.watch(context.Background(), running.RunID, "nonsense"); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("after an event that is none: %s", res.Status)
	}
}

func TestOnlookersWhoLeaveLeaveNothingBehind(t *testing.T) {
	s := start(t)
	s.Work()
	release := s.Executor.Hold("web")
	defer release()
	r := into[api.Request](t, s.call(http.MethodPost, "/api/v1/requests", object{"command": "deploy shop/pr-42"}, nil))
	running := s.Await(r.ID, func(r *approvals.Request) bool { return r.RunID != "" })
	before := runtime.NumGoroutine()
	for range 40 { // more than the connections that a pool to Redis has
		ctx, cancel := context.WithCancel(context.Background())
		_, events := s.watch(ctx, running.RunID, "")
		<-events
		cancel()
		for range events { // until the client's side is closed
		}
	}
	deadline := time.After(2 * time.Minute)
	for runtime.NumGoroutine() > before+4 {
		select {
		case <-deadline:
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		default:
			http.DefaultClient.CloseIdleConnections()
			runtime.Gosched()
		}
	}
}
