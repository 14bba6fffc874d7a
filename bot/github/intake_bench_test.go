package github

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions/redistest"
)

// floor does the least that any receiver of webhooks which loses nothing has
// to do: read, check the HMAC, put the body into a Redis stream.
type floor struct{ rdb redis.UniversalClient }

func (f floor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	given, err := hex.DecodeString(strings.TrimPrefix(r.Header.Get("X-Hub-Signature-256"), "sha256="))
	mac := hmac.New(sha256.New, []byte(testSecret))
	mac.Write(body)
	if err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if err := f.rdb.XAdd(r.Context(), &redis.XAddArgs{Stream: "floor", Values: []any{"body", body}}).Err(); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// fill is a comment's payload of 14 KB, the size that GitHub's usually have.
func fill() []byte {
	var b strings.Builder
	b.WriteString(`{"action":"created","comment":{"id":1,"body":"/deploy"},"urls":{`)
	for i := 0; b.Len() < 14_000; i++ {
		fmt.Fprintf(&b, `"field_%d_url":"https://api.github.com/repos/acme/shop/things{/thing_%d}","n%d":%d,`, i, i, i, i)
	}
	b.WriteString(`"last":null}}`)
	return []byte(b.String())
}

var deliveries atomic.Int64

// load posts n genuine deliveries with fresh ids from c connections. It speaks
// plain HTTP/1.1 itself, so that the client's cost hides little of the server's.
func load(tb testing.TB, addr string, c, n int) time.Duration {
	body := fill()
	head := fmt.Sprintf("POST /webhooks/github HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"+
		"User-Agent: GitHub-Hookshot/abc\r\nX-GitHub-Event: issue_comment\r\nX-Hub-Signature-256: %s\r\nX-GitHub-Delivery: ", addr, len(body), sign(testSecret, body))
	var left atomic.Int64
	left.Store(int64(n))
	var group sync.WaitGroup
	start := time.Now()
	for range c {
		group.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				tb.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			out := make([]byte, 0, len(head)+len(body)+64)
			for left.Add(-1) >= 0 {
				out = fmt.Appendf(append(out[:0], head...), "72d3162e-cc78-11e3-81ab-%012d\r\n\r\n", deliveries.Add(1))
				if _, err := conn.Write(append(out, body...)); err != nil {
					tb.Error(err)
					return
				}
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					tb.Error(err)
					return
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusAccepted {
					tb.Errorf("status %d, %v", resp.StatusCode, err)
					return
				}
			}
		})
	}
	group.Wait()
	return time.Since(start)
}

// benchServer starts a server of handler on a Redis with its
// append-only file on, synced as policy says.
func benchServer(b *testing.B, policy string, handler func(redis.UniversalClient) http.Handler) (addr string, rdb redis.UniversalClient) {
	server := redistest.Start(b, "--appendonly", "yes", "--appendfsync", policy)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, PoolSize: 64})
	b.Cleanup(func() { _ = client.Close() })
	web := httptest.NewServer(handler(client))
	b.Cleanup(web.Close)
	return web.Listener.Addr().String(), client
}

func newFloor(rdb redis.UniversalClient) http.Handler       { return floor{rdb} }
func newBenchIntake(rdb redis.UniversalClient) http.Handler { return testIntake(rdb) }

// BenchmarkFloor and BenchmarkIntake take signed deliveries of 14 KB.
func BenchmarkFloor(b *testing.B) { benchmark(b, newFloor) }

func BenchmarkIntake(b *testing.B) { benchmark(b, newBenchIntake) }

func benchmark(b *testing.B, handler func(redis.UniversalClient) http.Handler) {
	for _, c := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("concurrency=%d", c), func(b *testing.B) {
			addr, _ := benchServer(b, "everysec", handler)
			b.ResetTimer()
			took := load(b, addr, c, b.N)
			b.ReportMetric(float64(b.N)/took.Seconds(), "req/s")
		})
	}
}

// BenchmarkIntakeToFloor runs the two in turns, so that a machine that is busy
// with other things is so for both, and reports how many deliveries the intake
// takes for each that the floor does. Aim: 0.85 or more.
func BenchmarkIntakeToFloor(b *testing.B) {
	for _, policy := range []string{"everysec", "always"} {
		for _, c := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("appendfsync=%s/concurrency=%d", policy, c), func(b *testing.B) {
				ctx := context.Background()
				low, lowDB := benchServer(b, policy, newFloor)
				our, ourDB := benchServer(b, policy, newBenchIntake)
				const round = 250
				var lowTook, ourTook time.Duration
				b.ResetTimer()
				n := 0
				for n < b.N || n < 4*round {
					lowTook += load(b, low, c, round)
					ourTook += load(b, our, c, round)
					n += round
				}
				b.StopTimer()
				if got := ourDB.XLen(ctx, keyIntake).Val(); got != int64(n) {
					b.Fatalf("%d of %d deliveries are stored", got, n)
				}
				if got := lowDB.XLen(ctx, "floor").Val(); got != int64(n) {
					b.Fatalf("%d of %d deliveries are stored by the floor", got, n)
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(n)/lowTook.Seconds(), "floor_req/s")
				b.ReportMetric(float64(n)/ourTook.Seconds(), "intake_req/s")
				b.ReportMetric(lowTook.Seconds()/ourTook.Seconds(), "ratio")
			})
		}
	}
}
