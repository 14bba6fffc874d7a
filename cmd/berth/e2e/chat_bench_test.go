package e2e

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// slackSecret signs what the load's Slack sends.
const slackSecret = "8f742231b10e8888abcd99yyyzzz85a5"

// loadTime and loadRate are the load; a short run takes a sixth of the time.
const (
	loadTime = 30 * time.Second
	loadRate = 1000
)

// slackSink is as much of Slack as takes answers and counts them, by the address
// that each command came with.
type slackSink struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]int
}

func newSlackSink(t testing.TB) *slackSink {
	s := &slackSink{answers: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		if id, ok := strings.CutPrefix(r.URL.Path, "/respond/"); ok {
			s.mu.Lock()
			s.answers[id]++
			s.mu.Unlock()
			_, _ = io.WriteString(w, "ok")
			return
		}
		_, _ = fmt.Fprintf(w, `{"ok":true,"ts":"%d.000100","channel":"C1","team_id":"T1","team":"acme","user":"berth","user_id":"UBERTH","bot_id":"B1","url":%q,"messages":[]}`,
			time.Now().UnixNano()/1000, s.URL+"/")
	}))
	t.Cleanup(s.Close)
	return s
}

// answered is how many commands have an answer, and how many have two.
func (s *slackSink) answered() (once, twice int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.answers {
		once++
		if n > 1 {
			twice++
		}
	}
	return once, twice
}

// BenchmarkChatCommands sends a thousand signed Slack commands a second to one
// replica and prints how long Slack waits for its 200, beside a floor that
// verifies and stores them in the same Redis and does nothing else; how many were
// answered, how many twice, how long the last one took; and what the replica's
// memory grew by.
func BenchmarkChatCommands(b *testing.B) {
	for b.Loop() {
		w := newWorld(b)
		sink := newSlackSink(b)
		w.rules = fmt.Sprintf("slack: {signing_secret: {env: E2E_SLACK_SECRET}, bot_token: {env: E2E_SLACK_TOKEN}, api_url: %q, guests: [viewer]}\n", sink.URL+"/api/")
		b.Setenv("E2E_SLACK_SECRET", slackSecret)
		b.Setenv("E2E_SLACK_TOKEN", "xoxb-1")
		replica := w.startBerth(w.simpleApp())
		last := loadTime
		if os.Getenv("BENCH") == "short" {
			last /= 6
		}
		before := residentMB(b, replica.cmd.Process.Pid)
		peak, stop := before, make(chan struct{})
		var watching sync.WaitGroup
		watching.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond):
					peak = max(peak, residentMB(b, replica.cmd.Process.Pid))
				}
			}
		})
		floor := load(b, last, bareIntake(b, w.redis.Addr), "floor", sink.URL)
		began := time.Now()
		took := load(b, last, replica.url+"/slack/commands", w.env(), sink.URL)
		sent := len(took)
		w.await("every command to be answered", func() bool { once, _ := sink.answered(); return once >= sent })
		all := time.Since(began)
		close(stop)
		watching.Wait()
		once, twice := sink.answered()
		slices.Sort(took)
		slices.Sort(floor)
		p99 := took[sent*99/100]
		b.ReportMetric(float64(sent)/last.Seconds(), "commands/s")
		b.ReportMetric(p99.Seconds()*1000, "ack_p99_ms")
		b.ReportMetric(took[sent/2].Seconds()*1000, "ack_p50_ms")
		b.ReportMetric(took[sent-1].Seconds()*1000, "ack_max_ms")
		b.ReportMetric(float64(p99)/float64(floor[len(floor)*99/100]), "ack_p99_vs_floor")
		b.ReportMetric(float64(sent-once), "unanswered")
		b.ReportMetric(float64(twice), "answered_twice")
		b.ReportMetric((all - last).Seconds(), "last_answer_after_s")
		b.ReportMetric(peak-before, "memory_growth_MB")
		replica.stop()
	}
}

// load posts signed commands at the rate for a time, and returns how long each
// waited for its 200. Whatever is not a 200 fails the benchmark.
func load(b *testing.B, last time.Duration, target, env, answers string) []time.Duration {
	b.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	total := int(last.Seconds()) * loadRate
	took, failed := make([]time.Duration, total), make(chan string, total)
	var open sync.WaitGroup
	start := time.Now()
	for i := range total {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / loadRate)))
		open.Go(func() {
			began := time.Now()
			if problem := postCommand(client, target, env, answers, i); problem != "" {
				failed <- problem
			}
			took[i] = time.Since(began)
		})
	}
	open.Wait()
	close(failed)
	for problem := range failed {
		b.Fatalf("%d of %d commands were not acknowledged; one: %s", len(failed)+1, total, problem)
	}
	return took
}

func postCommand(client *http.Client, target, env, answers string, i int) (problem string) {
	body := url.Values{
		"token": {"x"}, "team_id": {"T1"}, "team_domain": {"acme"}, "channel_id": {"C1"}, "channel_name": {"general"}, "user_id": {fmt.Sprintf("U%d", i%500)},
		"user_name": {"ana"}, "command": {"/berth"}, "text": {"status " + env}, "api_app_id": {"A1"},
		"response_url": {answers + "/respond/" + strconv.Itoa(i)}, "trigger_id": {fmt.Sprintf("%d.%d.abc", time.Now().UnixNano(), i)},
	}.Encode()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Slack-Request-Timestamp", stamp)
	req.Header.Set("X-Slack-Signature", signSlack(stamp, body))
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("%d %s", resp.StatusCode, text)
	}
	return ""
}

func signSlack(stamp, body string) string {
	mac := hmac.New(sha256.New, []byte(slackSecret))
	_, _ = io.WriteString(mac, "v0:"+stamp+":"+body) // a hash takes everything
	return "v0=" + hex.EncodeToString(mac.Sum(nil))
}

// bareIntake is the least that can be done: it verifies a command and stores it,
// once.
func bareIntake(b *testing.B, addr string) (target string) {
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		signed := signSlack(r.Header.Get("X-Slack-Request-Timestamp"), string(body))
		if err != nil || !hmac.Equal([]byte(signed), []byte(r.Header.Get("X-Slack-Signature"))) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		form, _ := url.ParseQuery(string(body))
		text, _ := json.Marshal(form) // it can be written: it is of strings
		pipe := rdb.TxPipeline()
		pipe.SetNX(r.Context(), "floor:"+form.Get("trigger_id"), bytes.TrimSpace(text), time.Minute)
		pipe.ZAdd(r.Context(), "floor:due", redis.Z{Member: form.Get("trigger_id"), Score: 1})
		if _, err := pipe.Exec(r.Context()); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	go func() { _ = server.Serve(l) }() // until it is closed
	b.Cleanup(func() { _, _ = server.Close(), rdb.Close() })
	return "http://" + l.Addr().String() + "/"
}
