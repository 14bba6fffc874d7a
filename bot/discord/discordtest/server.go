package discordtest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say how the stand-in behaves. The zero value is a Discord that knows
// one application, enforces no rate limits and grants no privileged intents.
type Options struct {
	// Addr is where Start listens; empty is a free port on loopback.
	Addr string
	// ApplicationID is the application's id and that of its bot; empty is one of
	// the server's making.
	ApplicationID string
	// Token is the bot's, without "Bot "; empty is one of the server's making.
	Token string
	// Name is what the application is called; empty is "Berth".
	Name string
	// RateLimits has Discord's limits enforced from the start; see
	// [Server.EnforceRateLimits].
	RateLimits bool
	// InvalidLimit is how many invalid requests in ten minutes get the sender
	// banned; 0 is Discord's 10,000.
	InvalidLimit int
	// AnswerWithin is how long the application has for an interaction, in real
	// time; 0 is Discord's 3 s.
	AnswerWithin time.Duration
	// Heartbeat is the interval that the gateway asks for; 0 is Discord's 41.25 s.
	Heartbeat time.Duration
	// Shards is how many the gateway advises; 0 is 1.
	Shards int
	// Intents are the privileged ones that the application was granted, such as
	// [IntentMessageContent].
	Intents int
	// Now is the clock of everything but AnswerWithin and Heartbeat; nil is
	// time.Now.
	Now func() time.Time
	// Log gets a line for each request and each interaction; nil discards them.
	Log *slog.Logger
}

// Server is the stand-in. Its methods may be called from any goroutine, before
// and after Start.
type Server struct {
	opts    Options
	url     string
	http    *http.Server
	client  *http.Client
	key     ed25519.PrivateKey
	closing chan struct{}
	working sync.WaitGroup

	mu           sync.Mutex
	changed      chan struct{} // closed, and replaced, at each change
	lastID       int64
	app          *user // the application's bot
	endpoint     string
	description  string
	delivered    int // interactions sent to the endpoint, for the probes between them
	users        map[string]*user
	guilds       map[string]*guild
	channels     map[string]*channel
	messages     map[string]*message
	files        map[string]file // attachments, by path
	commands     map[string][]*command
	interactions map[string]*interaction // by id
	byToken      map[string]*interaction
	order        []*interaction
	odd          []string
	requests     []Request
	faults       []*fault
	limits       limiter
	sessions     map[string]*session
	connections  int // live ones
	mostAtOnce   int
	identified   time.Time // when a session was last begun
	muted        bool      // heartbeats are not acknowledged
}

// keptConnections is how many connections to an endpoint are kept for the next
// interactions.
const keptConnections = 256

// New makes a server that does not listen yet; it is an http.Handler. Its URLs
// then begin with http://discord.test, unless Start gives it a real address.
func New(opts Options) *Server {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Name == "" {
		opts.Name = "Berth"
	}
	if opts.Token == "" {
		opts.Token = "bot-" + rand.Text()
	}
	if opts.InvalidLimit == 0 {
		opts.InvalidLimit = 10_000
	}
	if opts.AnswerWithin == 0 {
		opts.AnswerWithin = 3 * time.Second
	}
	if opts.Heartbeat == 0 {
		opts.Heartbeat = 41_250 * time.Millisecond
	}
	if opts.Shards == 0 {
		opts.Shards = 1
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // It is what the standard library has there.
	transport.MaxIdleConnsPerHost = keptConnections
	s := &Server{
		opts: opts, url: "http://discord.test", closing: make(chan struct{}), changed: make(chan struct{}),
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		users:  map[string]*user{}, guilds: map[string]*guild{}, channels: map[string]*channel{}, messages: map[string]*message{},
		files: map[string]file{}, commands: map[string][]*command{}, interactions: map[string]*interaction{},
		byToken: map[string]*interaction{}, sessions: map[string]*session{},
	}
	// The key is random; only a broken system source fails, which crypto/rand does
	// not survive either.
	_, s.key, _ = ed25519.GenerateKey(nil)
	if opts.ApplicationID == "" {
		opts.ApplicationID = s.newID()
	}
	s.opts.ApplicationID = opts.ApplicationID
	s.app = &user{id: opts.ApplicationID, name: opts.Name, bot: true}
	s.users[s.app.id] = s.app
	s.limits = newLimiter(opts.RateLimits)
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
// and the test fails if anything was odd.
func Run(t TB, opts Options) *Server {
	t.Helper()
	s := New(opts)
	if err := s.Start(); err != nil {
		t.Fatalf("discordtest: %v", err)
	}
	t.Cleanup(func() {
		s.Close()
		for _, odd := range s.Odd() {
			t.Errorf("discordtest: %s", odd)
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
		return fmt.Errorf("start the Discord stand-in: %w", err)
	}
	s.mu.Lock()
	s.url = "http://" + listener.Addr().String()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	server := s.http
	s.mu.Unlock()
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.opts.Log.Error("the Discord stand-in stopped", "error", err)
		}
	}()
	return nil
}

// Close stops listening, and ends the gateway's connections and the deliveries
// that are under way.
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
	s.working.Wait()
	s.client.CloseIdleConnections()
}

// URL is the server's address, without a trailing slash: that of its page.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// APIURL is the base of the REST API, with a trailing slash: what a bot's
// api_url is set to.
func (s *Server) APIURL() string { return s.URL() + "/api/v10/" }

// ApplicationID is the id of the application and of its bot.
func (s *Server) ApplicationID() string { return s.opts.ApplicationID }

// Token is the bot's token, without "Bot ".
func (s *Server) Token() string { return s.opts.Token }

// PublicKey is the application's, in hex: what interactions are verified with.
func (s *Server) PublicKey() string {
	return hex.EncodeToString(s.key.Public().(ed25519.PublicKey)) //nolint:forcetypeassert // It is what an ed25519 key has.
}

// ServeHTTP answers the API, the gateway, the page and downloads.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/api/"):
		s.serveAPI(w, r)
	case strings.HasPrefix(path, "/gateway"):
		s.serveGateway(w, r)
	case strings.HasPrefix(path, "/attachments/"):
		s.serveFile(w, r)
	default:
		s.servePage(w, r)
	}
}

// Odd lists every breach of Discord's rules so far, oldest first: requests that
// were refused as malformed or that Discord would only tolerate, interactions
// that were answered late or wrongly, pauses that were not kept; and what the
// stand-in itself sent that Discord would not.
func (s *Server) Odd() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.odd)
}

// Forgive empties Odd, for tests that bring a breach about on purpose. What the
// stand-in itself did wrong stays.
func (s *Server) Forgive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.odd = slices.DeleteFunc(s.odd, func(odd string) bool { return !strings.HasPrefix(odd, itself) })
}

// strange puts a breach on Odd. The caller holds s.mu.
func (s *Server) strange(format string, args ...any) {
	s.odd = append(s.odd, fmt.Sprintf(format, args...))
	s.touch()
}

// touch tells those who wait that something changed. The caller holds s.mu.
func (s *Server) touch() {
	close(s.changed)
	s.changed = make(chan struct{})
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
			return fmt.Errorf("discordtest: what was waited for did not come: %w", ctx.Err())
		}
	}
}

// Request is one call of the REST API that the server answered.
type Request struct {
	Time   time.Time
	Method string
	Path   string // with the query; tokens of interactions are left out
	Route  string // as [Server.Fail] takes it; empty if there is none
	Status int
	Code   int // Discord's code of the error; 0 when there is none
}

// Requests lists the calls of the REST API so far, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// epoch is the first second of 2015, from which ids count.
// Source: https://docs.discord.com/developers/reference#snowflakes
const epoch = 1_420_070_400_000

// newID makes an id. The caller holds s.mu, but in New.
func (s *Server) newID() string {
	id := (s.opts.Now().UnixMilli() - epoch) << 22
	if id <= s.lastID {
		id = s.lastID + 1
	}
	s.lastID = id
	return fmt.Sprint(id)
}
