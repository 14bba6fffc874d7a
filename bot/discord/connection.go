package discord

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bwmarrin/discordgo"
	"github.com/gorilla/websocket"
)

const (
	// quiet is how long a connection may say nothing before it counts as lost:
	// heartbeats are answered every 41 s or so. discordgo itself waits for five of
	// them to fail.
	quiet = 90 * time.Second
	// maxBegins is how often in a minute so much may be written as the beginning of a
	// session has, and largeWrite how much that is, in bytes; heartbeats have less.
	// It stops discordgo from answering an endless row of "invalid session" with as
	// many beginnings of new ones, of which there are 1,000 in a day.
	// Source: https://docs.discord.com/developers/events/gateway#session-start-limit-object
	maxBegins, largeWrite = 10, 128
)

// connection is a session with one shard of the gateway, over one websocket after
// another. It leaves the protocol to discordgo, but not when to connect again:
// discordgo tries for ever, whoever leads by then, and does not look at why.
type connection struct {
	s       *Surface
	n       int
	count   int // of shards
	session *discordgo.Session
	readied chan struct{} // holds one: a session began, or was resumed
	lost    chan struct{} // holds one: the websocket is gone
	wire    atomic.Pointer[wire]
	slots   chan struct{} // of events that are handled
	// These two are written and read where events are told, one after the other.
	me    string // Berth's own account
	begun bool   // there is a session, which can be resumed
	// What was missed before the session, and until when all has come.
	absence atomic.Pointer[absence] // nil before the first session
	guilds  chan struct{}           // holds one: Discord told of a guild
	came    atomic.Int64            // when the last event did, in Unix nanoseconds
	kept    time.Time               // until when all was heard, as it was kept last
}

// newConnection prepares a session that is to be begun. It returns *spentError when
// Discord lets none begin.
func (s *Surface) newConnection(ctx context.Context, n, count int) (*connection, error) {
	about, err := s.gatewayBot(ctx)
	if err != nil {
		return nil, err
	}
	if about.Starts.Remaining <= 0 && about.Starts.ResetAfter > 0 {
		return nil, &spentError{after: min(time.Duration(about.Starts.ResetAfter)*time.Millisecond, 24*time.Hour)}
	}
	if wait := s.begins.turn(n, about.Starts.AtOnce, time.Now()); wait > 0 {
		s.sleep(ctx, wait)
	}
	session, err := discordgo.New(s.client.token)
	if err != nil {
		return nil, err
	}
	c := &connection{s: s, n: n, count: count, session: session, readied: make(chan struct{}, 1), lost: make(chan struct{}, 1), slots: make(chan struct{}, atOnce),
		guilds: make(chan struct{}, 1)}
	session.LogLevel = -1 // what matters is logged here, without tokens
	session.Compress, session.Identify.Compress = false, false
	session.StateEnabled = false // nothing is remembered of guilds
	session.ShouldReconnectOnError = false
	session.ShouldReconnectVoiceOnSessionError = false
	session.SyncEvents = true // in order; what takes time is done beside it
	session.Identify.Intents = intents
	session.Identify.Properties.Browser, session.Identify.Properties.Device = "berth", "berth"
	session.Identify.Shard = &[2]int{n, count}
	session.Client = &http.Client{Transport: gatewayAddress(about.URL)}
	session.Dialer = &websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: readyWithin, NetDialContext: c.dial}
	session.AddHandler(func(_ *discordgo.Session, e *discordgo.Event) { c.event(e) }) //nolint:contextcheck // what came is done, also when the connection ends
	session.AddHandler(func(*discordgo.Session, *discordgo.Disconnect) { signal(c.lost) })
	return c, nil
}

// gatewayAddress answers the one call of the API that discordgo makes here, with
// the address that is known already. Its address of the API is fixed, and of
// another version.
type gatewayAddress string

func (a gatewayAddress) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/gateway") {
		return nil, fmt.Errorf("%s %s is not called by Berth", r.Method, r.URL.Path)
	}
	body := fmt.Sprintf(`{"url":%q}`, string(a))
	return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader([]byte(body))), ContentLength: int64(len(body))}, nil
}

// dial opens what the websocket runs over.
func (c *connection) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: readyWithin}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: conn}
	c.wire.Store(w)
	return w, nil
}

// cut closes the websocket without a word, if there is one.
func (c *connection) cut() {
	if w := c.wire.Load(); w != nil {
		_ = w.Close()
	}
}

// live connects and stays connected until ctx ends or the connection is lost, and
// says why it ended.
func (c *connection) live(ctx context.Context) error {
	drain(c.readied)
	drain(c.lost)
	c.wire.Store(nil)
	c.identifies(!c.begun)
	defer c.close()
	opened := make(chan error, 1)
	go func() { opened <- c.session.Open() }()
	timer := time.NewTimer(readyWithin)
	defer timer.Stop()
	var err error
	select {
	case err = <-opened:
	case <-timer.C:
		err = c.giveUp(opened, errNotReady)
	case <-ctx.Done():
		err = c.giveUp(opened, ctx.Err())
	}
	if errors.Is(err, discordgo.ErrWSShardBounds) { // see identifies
		err = errInvalid
	}
	if err != nil {
		return err
	}
	select {
	case <-c.readied:
	case <-c.lost:
		return errNotReady
	case <-timer.C:
		return errNotReady
	case <-ctx.Done():
		return ctx.Err()
	}
	c.s.gateway.up(c.n, c.s.now())
	c.s.log.InfoContext(ctx, "connected to Discord's gateway", "shard", c.n)
	following, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { c.follow(following) })
	defer beside.Wait()
	defer stop()
	select {
	case <-c.lost:
		return errLost
	case <-ctx.Done():
		return ctx.Err()
	}
}

// giveUp ends an Open that takes too long.
func (c *connection) giveUp(opened <-chan error, why error) error {
	for {
		c.cut()
		select {
		case err := <-opened:
			c.s.log.Debug("a connection to Discord's gateway was given up", "shard", c.n, "error", err)
			return why
		case <-time.After(50 * time.Millisecond): // it may be dialling yet
		}
	}
}

// event is told by discordgo, in the order in which Discord tells it.
func (c *connection) event(e *discordgo.Event) {
	s, ctx := c.s, context.Background()
	c.came.Store(time.Now().UnixNano())
	switch e.Type {
	case "READY":
		r, err := decodeReady(e.RawData)
		if err != nil {
			s.log.ErrorContext(ctx, "Discord's gateway began a session that cannot be read", "shard", c.n, "error", err)
			return
		}
		c.me, c.begun = r.User.ID, true
		c.absence.Store(newAbsence(r))
		c.identifies(true)
		signal(c.readied)
	case "RESUMED":
		c.identifies(true)
		signal(c.readied)
	case "GUILD_CREATE":
		if err := c.guild(e.RawData); err != nil {
			s.log.WarnContext(ctx, "a guild of Discord's gateway could not be read", "shard", c.n, "error", err)
		}
	case "INTERACTION_CREATE":
		c.beside(func() { s.interacted(ctx, e.RawData) })
	case "MESSAGE_CREATE":
		m, err := decodeMessage(e.RawData)
		if err != nil {
			s.log.WarnContext(ctx, "a message of Discord's gateway could not be read", "shard", c.n, "error", err)
			return
		}
		if line, ok := m.command(c.me); ok && s.allowed(m.GuildID) {
			c.beside(func() { s.mentioned(ctx, m, line) })
		}
	}
}

// beside does what takes time beside the reading of the connection, which stops
// while too much is being done.
func (c *connection) beside(do func()) {
	c.slots <- struct{}{}
	if !c.s.work.begin(func() { defer func() { <-c.slots }(); do() }) {
		<-c.slots
	}
}

// identifies says whether discordgo may begin a session by itself when Discord
// calls one invalid. While it resumes one it may not: it would do so at once,
// where Discord wants a pause. A number of shards that cannot be stops it, which
// then is what Open fails with.
func (c *connection) identifies(may bool) {
	c.session.ShardID, c.session.ShardCount = 0, 1 // Identify.Shard is what is sent
	if !may {
		c.session.ShardID, c.session.ShardCount = 2, 2
	}
}

// close ends the websocket: with a word, unless that takes too long.
func (c *connection) close() {
	closed := make(chan struct{})
	go func() { defer close(closed); _ = c.session.Close() }() // it is gone, or will be
	timer := time.NewTimer(3 * time.Second)
	defer timer.Stop()
	select {
	case <-closed:
	case <-timer.C:
		c.cut()
		<-closed
	}
}

// signal notes that something happened, if that is not noted already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// drain forgets what was noted.
func drain(c <-chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// wire is what a websocket runs over. It ends a connection on which nothing
// comes, or too much goes.
type wire struct {
	net.Conn
	mu     sync.Mutex
	minute time.Time
	writes int
}

func (w *wire) Read(p []byte) (int, error) {
	if err := w.SetReadDeadline(time.Now().Add(quiet)); err != nil {
		return 0, err
	}
	return w.Conn.Read(p)
}

var errTooMuch = errors.New("more was to be written to Discord's gateway than it takes")

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	now := time.Now()
	if now.Sub(w.minute) > time.Minute {
		w.minute, w.writes = now, 0
	}
	if len(p) > largeWrite {
		w.writes++
	}
	over := w.writes > maxBegins
	w.mu.Unlock()
	if over {
		_ = w.Close()
		return 0, errTooMuch
	}
	return w.Conn.Write(p)
}
