package slacktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options say how the stand-in behaves. The zero value is a Slack without rate
// limits, with one app that is reached over HTTP once [Server.Connect] has said
// where.
type Options struct {
	// Addr is where Start listens; empty is a free port on loopback.
	Addr string
	// URL is where the stand-in is reached when it is mounted in somebody else's
	// server; empty is where Start listens. Without a trailing slash.
	URL string
	App App
	// RateLimits enforces Slack's limits for each method and channel.
	// https://docs.slack.dev/apis/web-api/rate-limits
	RateLimits bool
	// AckTimeout is how long the app may take to acknowledge; 0 is Slack's 3 s.
	AckTimeout time.Duration
	// EventRetries are the pauses before an event that was not acknowledged is
	// delivered again; nil is Slack's: at once, after a minute, after five.
	// https://docs.slack.dev/apis/events-api#retries
	EventRetries []time.Duration
	// Now is the clock; nil is time.Now. Time-outs run in real time all the same.
	Now func() time.Time
	// Log gets a line for each call and each delivery; nil discards them.
	Log *slog.Logger
}

// Server is the stand-in. Its methods may be called from any goroutine, before
// and after Start.
type Server struct {
	opts    Options
	app     App
	url     string
	http    *http.Server
	client  *http.Client
	closing chan struct{}
	sending sync.WaitGroup

	mu         sync.Mutex
	changed    chan struct{} // closed, and replaced, at each change
	lastID     int
	lastTS     time.Time
	teams      []string // ids of workspaces in the order in which they were added
	workspaces map[string]*workspace
	tokens     map[string]*workspace
	revoked    map[string]bool // tokens that served once
	users      map[string]*user
	channels   map[string]*channel
	groups     map[string]*group
	views      map[string]*view
	triggers   map[string]*trigger
	responses  map[string]*response
	files      map[string]*file
	tickets    map[string]bool
	sockets    []*socket
	calls      []Call
	odd        []Oddity
	failures   []Failure
	faults     []*fault
	buckets    map[string]*bucket
	pending    int
}

// New makes a server that does not listen yet; it is an http.Handler. Close it
// when it is no longer needed, also if it was never started.
func New(opts Options) *Server {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.AckTimeout == 0 {
		opts.AckTimeout = 3 * time.Second
	}
	if opts.EventRetries == nil {
		opts.EventRetries = []time.Duration{0, time.Minute, 5 * time.Minute}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	url := opts.URL
	if url == "" {
		url = "http://slack.test"
	}
	return &Server{
		opts: opts, app: opts.App.withDefaults(), url: strings.TrimSuffix(url, "/"),
		client:  &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		closing: make(chan struct{}), changed: make(chan struct{}),
		workspaces: map[string]*workspace{}, tokens: map[string]*workspace{}, users: map[string]*user{},
		channels: map[string]*channel{}, groups: map[string]*group{}, views: map[string]*view{},
		triggers: map[string]*trigger{}, responses: map[string]*response{}, files: map[string]*file{},
		tickets: map[string]bool{}, revoked: map[string]bool{}, buckets: map[string]*bucket{},
	}
}

// TB is what Run needs of a *testing.T.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Run starts a server for the time of a test. When the test ends it is closed,
// and the test fails if the app did anything odd, or did not acknowledge
// something: a test that means to have that takes it, with [Server.TakeOdd] or
// [Server.TakeFailures].
func Run(t TB, opts Options) *Server {
	t.Helper()
	s := New(opts)
	if err := s.Start(); err != nil {
		t.Fatalf("slacktest: %v", err)
	}
	t.Cleanup(func() {
		s.Close()
		for _, o := range s.Odd() {
			t.Errorf("slacktest: %s", o)
		}
		for _, f := range s.Failures() {
			t.Errorf("slacktest: %s", f)
		}
	})
	return s
}

// Start listens on Options.Addr and returns once requests are accepted.
func (s *Server) Start() error {
	addr := s.opts.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("start the Slack stand-in: %w", err)
	}
	s.mu.Lock()
	if s.opts.URL == "" {
		s.url = "http://" + listener.Addr().String()
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	server := s.http
	s.mu.Unlock()
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.opts.Log.Error("the Slack stand-in stopped", "error", err)
		}
	}()
	return nil
}

// Close stops listening and delivering, and closes the sockets. Deliveries that
// wait for their next try are given up.
func (s *Server) Close() {
	s.mu.Lock()
	if s.closed() {
		s.mu.Unlock()
		return
	}
	close(s.closing)
	server, sockets := s.http, append([]*socket(nil), s.sockets...)
	s.mu.Unlock()
	for _, k := range sockets {
		k.close()
	}
	if server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // What is still open is cut off; that is the point.
		}
	}
	s.sending.Wait()
}

// URL is the server's address, without a trailing slash: the base of its page.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// APIURL is the base of the Web API, with a trailing slash: what a bot's api_url
// is set to.
func (s *Server) APIURL() string { return s.URL() + "/api/" }

// ServeHTTP answers the Web API, response_urls, sockets, uploads and the page.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/api/"):
		s.serveAPI(w, r, strings.TrimPrefix(path, "/api/"))
	case strings.HasPrefix(path, "/commands/"), strings.HasPrefix(path, "/actions/"):
		s.serveResponse(w, r)
	case path == "/link/":
		s.serveSocket(w, r)
	case strings.HasPrefix(path, "/upload/v1/"), strings.HasPrefix(path, "/files-pri/"):
		s.serveFile(w, r)
	default:
		s.servePage(w, r)
	}
}

// Until returns once the condition holds, looking again after each change of
// state. It returns the context's error, wrapped, when that ends first.
func (s *Server) Until(ctx context.Context, condition func() bool) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if condition() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("slacktest: what was waited for did not come: %w", ctx.Err())
		}
	}
}

// Idle returns once nothing is on its way to the app, retries included.
func (s *Server) Idle(ctx context.Context) error {
	return s.Until(ctx, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.pending == 0
	})
}

// touch tells everybody who waits that something changed. s.mu is held.
func (s *Server) touch() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// drain reads what is left of a body so that its connection can be used again.
func drain(body io.ReadCloser) {
	_, _ = io.Copy(io.Discard, io.LimitReader(body, 1<<20)) // Only the reuse is lost.
	_ = body.Close()
}
