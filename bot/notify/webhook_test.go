package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot"
)

// receiver is a web server that checks what it gets, as docs/notifications.md
// says that one should.
type receiver struct {
	*httptest.Server
	secret string
	status int
	header http.Header
	got    chan *http.Request
	bodies chan []byte
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{secret: "hunter2", status: http.StatusNoContent, header: http.Header{}, got: make(chan *http.Request, 100), bodies: make(chan []byte, 100)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.got <- req
		r.bodies <- body
		for k, v := range r.header {
			w.Header()[k] = v
		}
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) hooks() *Webhooks {
	return NewWebhooks(map[string]Hook{"ops": {URL: r.URL + "/T0/hunter2", Secret: r.secret}}, nil)
}

func TestAWebhookIsSigned(t *testing.T) {
	r := newReceiver(t)
	n := expiring("pr-42")
	n.Text, n.At = "It **goes** at 10.", time.Date(2026, 11, 18, 10, 0, 0, 0, time.UTC)
	must(t, r.hooks().Tell(t.Context(), "ops", n))
	req, body := <-r.got, <-r.bodies
	mac := hmac.New(sha256.New, []byte(r.secret))
	mac.Write(body)
	if got, want := req.Header.Get("X-Berth-Signature-256"), "sha256="+hex.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
	if req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json" || req.Header.Get("Idempotency-Key") != n.Key {
		t.Errorf("%s with headers %v", req.Method, req.Header)
	}
	var m Message
	must(t, json.Unmarshal(body, &m))
	if m.Version != 1 || m.Key != n.Key || m.Event != n.Event || m.Environment != "shop/pr-42" || m.App != "shop" || m.Text != n.Text ||
		!m.At.Equal(n.At) || time.Since(m.SentAt) > time.Minute || len(m.Commands) != 1 || m.Commands[0].Command != "extend shop/pr-42 --ttl 24h" {
		t.Errorf("message %+v", m)
	}
}

func TestAKeyThatNoHeaderCanHoldIsHashed(t *testing.T) {
	r := newReceiver(t)
	for _, key := range []string{"a\r\nX-Injected: yes", "ä", strings.Repeat("k", 300), "a b"} {
		n := stopped(1)
		n.Key = key
		must(t, r.hooks().Tell(t.Context(), "ops", n))
		req := <-r.got
		if got := req.Header.Get(KeyHeader); !strings.HasPrefix(got, "sha256-") || req.Header.Get("X-Injected") != "" {
			t.Errorf("key %q became %q", key, got)
		}
	}
}

func TestWhatAReceiverAnswers(t *testing.T) {
	tests := map[string]struct {
		status      int
		wait        string
		fails       bool
		final       bool
		askedToWait time.Duration
	}{
		"it took it":                  {status: 200},
		"it took it in":               {status: 202},
		"it is elsewhere":             {status: 302, fails: true},
		"it is elsewhere for good":    {status: 308, fails: true},
		"it cannot read it":           {status: 400, fails: true, final: true},
		"it is gone":                  {status: 410, fails: true, final: true},
		"it is not there for now":     {status: 404, fails: true},
		"its secret is another":       {status: 401, fails: true},
		"it has enough":               {status: 429, wait: "120", fails: true, askedToWait: 2 * time.Minute},
		"it has enough for long":      {status: 503, wait: "999999999", fails: true, askedToWait: lastPause},
		"it says nonsense":            {status: 503, wait: "soon", fails: true},
		"it is broken":                {status: 500, fails: true},
		"it has enough but not so":    {status: 429, wait: "-5", fails: true},
		"it says how long in fractal": {status: 429, wait: "1e9", fails: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			r.status = test.status
			elsewhere := newReceiver(t)
			r.header.Set("Location", elsewhere.URL)
			if test.wait != "" {
				r.header.Set("Retry-After", test.wait)
			}
			err := r.hooks().Tell(t.Context(), "ops", stopped(1))
			_, final := errors.AsType[finalError](err)
			if (err != nil) != test.fails || final != test.final || askedToWait(err) != test.askedToWait {
				t.Errorf("the error is %v, final %v, wait %v", err, final, askedToWait(err))
			}
			if len(elsewhere.got) != 0 {
				t.Error("the redirect was followed")
			}
		})
	}
}

func TestNoErrorHoldsTheAddress(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(untrusted.Close)
	garbage, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = garbage.Close() })
	go func() {
		for {
			conn, err := garbage.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("hunter2\n"))
			_ = conn.Close()
		}
	}()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	tests := map[string]string{
		"nobody listens":                   closed.URL + "/hunter2",
		"it never answers":                 "http://" + silent.Addr().String() + "/hunter2",
		"its certificate is nobody's":      untrusted.URL + "/hunter2",
		"it answers with something else":   "http://" + garbage.Addr().String() + "/hunter2",
		"its name is not there":            "https://hunter2.invalid/hunter2",
		"its address cannot be an address": "http://[::1/hunter2",
		"its port is none":                 "http://127.0.0.1:hunter2/",
	}
	for name, address := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			w := NewWebhooks(map[string]Hook{"ops": {URL: address, Secret: "s"}}, nil)
			err := w.Tell(ctx, "ops", stopped(1))
			if err == nil {
				t.Fatal("it was told")
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				if strings.Contains(e.Error(), "hunter2") || strings.Contains(e.Error(), "127.0.0.1") {
					t.Errorf("the error says %q", e)
				}
			}
		})
	}
}

func TestAHugeAnswerIsNotRead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 64<<10)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	w := NewWebhooks(map[string]Hook{"ops": {URL: server.URL, Secret: "s"}}, nil)
	must(t, w.Tell(t.Context(), "ops", stopped(1)))
}

func TestAWebhookThatIsAwayGetsItLater(t *testing.T) {
	r := newReceiver(t)
	r.status = http.StatusServiceUnavailable
	c := newClock()
	n := New(Options{
		Redis: redistest.Client(t), Now: c.Now, Routes: []Route{{To: []Target{{OutletWebhook, "ops"}}}},
		Outlets: map[string]Outlet{OutletWebhook: NewWebhooks(map[string]Hook{"ops": {URL: r.URL, Secret: r.secret}}, c.Now)},
	})
	must(t, n.Notify(t.Context(), stopped(1)))
	over(t, n, c, time.Hour, 10*time.Second)
	r.status = http.StatusOK
	over(t, n, c, lastPause, 10*time.Second)
	tries := len(r.got)
	over(t, n, c, time.Hour, 10*time.Second)
	if len(r.got) != tries || tries < 5 {
		t.Errorf("it was sent %d times, then %d more", tries, len(r.got)-tries)
	}
	for range tries {
		if req := <-r.got; req.Header.Get(KeyHeader) != "stopped-1" {
			t.Errorf("it was sent under the key %q", req.Header.Get(KeyHeader))
		}
	}
}

func TestAWebhookThatIsGoneIsFinal(t *testing.T) {
	err := NewWebhooks(nil, nil).Tell(t.Context(), "ops", stopped(1))
	if _, final := errors.AsType[finalError](err); !final {
		t.Errorf("the error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := newReceiver(t)
	if err := r.hooks().Tell(ctx, "ops", bot.Notice{}); actions.CodeOf(err) != actions.CodeCancelled {
		t.Errorf("stopped, the error is %v", err)
	}
}
