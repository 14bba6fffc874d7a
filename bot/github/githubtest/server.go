package githubtest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
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

// Options say how the stand-in behaves. The zero value is a github.com without
// secondary limits and without a GitHub App.
type Options struct {
	// Addr is where Start listens; empty is a free port on loopback.
	Addr string
	// Enterprise serves the REST API under /api/v3 as GitHub Enterprise Server
	// does, and uses that base in the URLs that it hands out. The API stays
	// reachable at the root as well.
	Enterprise bool
	// App is the GitHub App that may sign in with a JWT; nil for none.
	App *App
	// RateLimit is the primary limit of a token in requests per hour; 0 is
	// GitHub's 5,000. Requests without a token have 60.
	RateLimit int
	// Secondary enforces GitHub's secondary limits; nil does not.
	Secondary *SecondaryLimits
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// WebhookTimeout is how long a delivery may take; 0 is GitHub's 10 s.
	WebhookTimeout time.Duration
	// Log gets a line for each request and each delivery; nil discards them.
	Log *slog.Logger
}

// App is a GitHub App. Its private key is made by the server; see
// [Server.AppKey].
type App struct {
	ID       int64  // 0 is 1.
	Slug     string // The bot's login is Slug + "[bot]"; empty is "berth".
	Name     string // Empty is Slug.
	Owner    string // Who registered it; empty is "berth-dev".
	ClientID string // Empty is made from the ID.
	// Permissions that each installation grants, such as {"issues": "write"};
	// nil is all that the stand-in's operations need.
	Permissions map[string]string
	// Events that the App's webhook gets; nil is the usual ones.
	Events []string
}

// Server is the stand-in. Its methods may be called from any goroutine, before
// and after Start.
type Server struct {
	opts    Options
	url     string
	started time.Time
	http    *http.Server
	client  *http.Client
	sending sync.WaitGroup
	keyOnce sync.Once
	key     *rsa.PrivateKey
	keyErr  error
	closing chan struct{}

	mu            sync.Mutex
	changed       chan struct{} // closed, and replaced, at each change
	lastID        int64
	accounts      map[string]*account
	repos         map[string]*repo
	teams         map[string]*team
	tokens        map[string]*caller
	installations []*installation
	downloads     map[string]*repo // one-time tokens of private tarballs
	appHook       *hook
	webhook       *Webhook
	queue         chan *delivery
	pending       int
	deliveries    []*delivery
	requests      []Request
	violations    []Violation
	faults        []*fault
	outage        Outage
	budgets       map[string]*budget
	inFlight      map[string]int
}

// New makes a server that does not listen yet; it is an http.Handler. Its URLs
// then begin with http://github.test, unless Start gives it a real address. Close
// it when it is no longer needed, also if it was never started.
func New(opts Options) *Server {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.RateLimit == 0 {
		opts.RateLimit = 5000
	}
	if opts.WebhookTimeout == 0 {
		opts.WebhookTimeout = 10 * time.Second
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.App != nil {
		app := opts.App.withDefaults()
		opts.App = &app
	}
	if opts.Secondary != nil {
		limits := opts.Secondary.withDefaults()
		opts.Secondary = &limits
	}
	s := &Server{
		opts: opts, url: "http://github.test", started: opts.Now().UTC(),
		client:  &http.Client{Timeout: opts.WebhookTimeout, CheckRedirect: noRedirect},
		closing: make(chan struct{}), changed: make(chan struct{}), lastID: 1_000_000_000,
		accounts: map[string]*account{}, repos: map[string]*repo{}, teams: map[string]*team{},
		tokens: map[string]*caller{}, downloads: map[string]*repo{},
		queue: make(chan *delivery, 10_000), budgets: map[string]*budget{}, inFlight: map[string]int{},
	}
	go s.deliverAll()
	return s
}

// TB is what Run needs of a *testing.T.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Run starts a server for the time of a test. When the test ends it is closed,
// and the test fails if there were violations.
func Run(t TB, opts Options) *Server {
	t.Helper()
	s := New(opts)
	if err := s.Start(); err != nil {
		t.Fatalf("githubtest: %v", err)
	}
	t.Cleanup(func() {
		s.Close()
		for _, v := range s.Violations() {
			t.Errorf("githubtest: %s", v)
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
		return fmt.Errorf("start the GitHub stand-in: %w", err)
	}
	s.mu.Lock()
	s.url = "http://" + listener.Addr().String()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	server := s.http
	s.mu.Unlock()
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.opts.Log.Error("the GitHub stand-in stopped", "error", err)
		}
	}()
	return nil
}

// Close stops listening and delivering. Deliveries that wait or are under way
// are given up; use [Server.Flush] before to have them sent.
func (s *Server) Close() {
	s.mu.Lock()
	select {
	case <-s.closing:
		s.mu.Unlock()
		return
	default:
		close(s.closing)
	}
	server := s.http
	s.mu.Unlock()
	if server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
	}
	s.sending.Wait()
}

// URL is the server's address, without a trailing slash: the base of its pages.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// APIURL is the base of the REST API, without a trailing slash: what a bot's
// api_url is set to.
func (s *Server) APIURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.api()
}

// ServeHTTP answers the API, the pages and downloads.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token := r.Header.Get("Authorization")
	s.count(token, 1)
	defer s.count(token, -1)
	if s.inject(w, r) {
		return
	}
	path := r.URL.EscapedPath()
	switch {
	case strings.HasPrefix(path, "/codeload/"):
		s.serveArchive(w, r)
	case strings.HasPrefix(path, "/avatars/"):
		s.serveAvatar(w, r)
	case s.servePage(w, r):
	default:
		s.serveAPI(w, r)
	}
}

// count keeps how many requests of a token are under way.
func (s *Server) count(token string, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inFlight[token] += by; s.inFlight[token] == 0 {
		delete(s.inFlight, token)
	}
}

// Request is one call of the REST API that the server answered.
type Request struct {
	Time      time.Time
	Method    string
	Path      string // with the query
	Operation string // "GET /repos/{owner}/{repo}"; empty if there is none
	Actor     string // login, or "app/slug" for a JWT; empty without a token
	Status    int
}

// Requests lists the calls of the REST API so far, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// WaitFor returns once the condition holds, looking again after each change of
// state. It returns the context's error, wrapped, when that ends first.
func (s *Server) WaitFor(ctx context.Context, condition func() bool) error {
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
			return fmt.Errorf("githubtest: what was waited for did not come: %w", ctx.Err())
		}
	}
}

// AppKey is the App's private key as PEM (PKCS #1, as GitHub hands it out). It
// is made at the first call, which takes a moment.
func (s *Server) AppKey() ([]byte, error) {
	key, err := s.appKey()
	if err != nil {
		return nil, err
	}
	return encodeKey(key), nil
}

func (s *Server) appKey() (*rsa.PrivateKey, error) {
	s.keyOnce.Do(func() { s.key, s.keyErr = rsa.GenerateKey(rand.Reader, 2048) })
	return s.key, s.keyErr
}

func (a App) withDefaults() App {
	if a.ID == 0 {
		a.ID = 1
	}
	if a.Slug == "" {
		a.Slug = "berth"
	}
	if a.Name == "" {
		a.Name = a.Slug
	}
	if a.Owner == "" {
		a.Owner = "berth-dev"
	}
	if a.ClientID == "" {
		a.ClientID = fmt.Sprintf("Iv1.%016x", a.ID)
	}
	if a.Permissions == nil {
		a.Permissions = map[string]string{
			"metadata": "read", "contents": "read", "issues": "write", "pull_requests": "write",
			"deployments": "write", "statuses": "write", "checks": "write", "members": "read",
		}
	}
	if a.Events == nil {
		a.Events = []string{"issue_comment", "pull_request", "push", "check_run", "deployment", "deployment_status"}
	}
	return a
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// drain reads what is left of a body so that its connection can be used again.
func drain(body io.ReadCloser) {
	_, _ = io.Copy(io.Discard, io.LimitReader(body, 1<<20)) // Only the reuse is lost.
	_ = body.Close()
}
