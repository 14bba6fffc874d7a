package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack/socketmode"

	"github.com/berth-dev/berth/bot"
)

// The envelopes and answers of Socket Mode are those of slack-go; the connection
// is our own, since slack-go's client leaves one as soon as Slack announces that
// it will close it, before it has another: what Slack sends in between is lost.
// Source: https://docs.slack.dev/apis/events-api/using-socket-mode

const (
	// pingEvery is how often a connection is pinged, and quiet how long nothing at
	// all may come before it counts as broken.
	pingEvery = 10 * time.Second
	quiet     = 35 * time.Second
	// writeWithin is how long it may take to write one answer.
	writeWithin = 5 * time.Second
	// drainFor is how long a connection is read on that Slack is about to close.
	drainFor = 30 * time.Second
	// helloWithin is how long a look at the connection waits for the first one.
	helloWithin = 3 * time.Second
	// refreshed is for how many failures connections count at most that Slack wanted
	// replaced: such a wait is two seconds or less.
	refreshed = 2
	// steady is how long a connection has to last for the next failure to count as
	// the first.
	steady = 10 * time.Second
	// maxBackOff is the longest wait between two tries to connect.
	maxBackOff = 30 * time.Second
	// maxFrame is the largest message that is read, in bytes. One that is larger
	// closes the connection.
	maxFrame = 4 << 20
	// maxAnswer is the largest answer, in bytes: Slack drops larger ones unseen.
	// Source: https://pkg.go.dev/github.com/slack-go/slack/socketmode
	maxAnswer = 20<<10 - 1
	// writeBuffer holds any answer, since Slack does not put fragments together.
	writeBuffer = 32 << 10
	// atOnce is how many envelopes of one connection are handled side by side; what
	// is more waits in Slack.
	atOnce = 256
)

// socket keeps a connection to Slack, over which everything comes that would
// come over HTTP. Each replica has one of its own; Slack gives each envelope to
// one of them.
type socket struct {
	s     *Surface
	token string

	running atomic.Bool
	tried   chan struct{} // closed once there was a connection, or none could be had
	first   sync.Once     // closes tried

	mu     sync.Mutex
	newest *connection // the last that said hello, nil when it is gone
	why    error       // why there is none
}

func newSocket(s *Surface, token string) *socket {
	return &socket{s: s, token: token, tried: make(chan struct{}), why: errNoHello}
}

// standing is why there is no connection, nil when there is one. It waits for
// the outcome of the first try, for helloWithin at most. Where nobody runs the
// socket, it asks Slack whether one could be opened.
func (k *socket) standing(ctx context.Context) error {
	if !k.running.Load() {
		_, err := k.s.api.call(ctx, k.token, "apps.connections.open", nil, nil)
		return err
	}
	timer := time.NewTimer(helloWithin)
	defer timer.Stop()
	select {
	case <-k.tried:
	case <-timer.C:
	case <-ctx.Done():
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.newest != nil {
		return nil
	}
	return k.why
}

// run keeps a connection until ctx ends. When Slack announces that it will close
// one, the next is opened while the first is still read.
func (k *socket) run(ctx context.Context) {
	k.running.Store(true)
	var group sync.WaitGroup
	defer group.Wait()
	for failures := 0; ctx.Err() == nil; {
		began := time.Now()
		c, err := k.open(ctx)
		if err == nil {
			leaving := make(chan error, 1)
			group.Go(func() { c.read(ctx, leaving) })
			err = <-leaving
			if time.Since(began) >= steady {
				failures = 0
			}
		}
		if ctx.Err() != nil {
			return
		}
		wait := backOff(failures, err)
		failures++
		if errors.Is(err, errRefresh) {
			failures = min(failures, refreshed) // it is no trouble of Slack's, and the next may be one
			k.s.log.InfoContext(ctx, "Slack asks for a new Socket Mode connection", "wait", wait)
		} else {
			k.s.log.WarnContext(ctx, "there is no Socket Mode connection to Slack; another is opened", "wait", wait, "error", err)
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// backOff is how long to wait before the next try to connect, after so many
// that failed one after the other.
func backOff(failures int, err error) time.Duration {
	if limited, is := errors.AsType[*bot.Limited](err); is {
		return max(limited.After, time.Second)
	}
	if failures == 0 && errors.Is(err, errRefresh) {
		return 0 // the old one may be closed before the new one is there
	}
	if failures == 0 {
		return time.Duration(rand.Int64N(int64(200 * time.Millisecond))) //nolint:gosec // it spreads replicas, and keeps nothing secret
	}
	wait := min(time.Second<<min(failures-1, 10), maxBackOff)
	return wait/2 + time.Duration(rand.Int64N(int64(wait/2))) //nolint:gosec // it spreads replicas, and keeps nothing secret
}

// open asks Slack where to connect to, and does.
func (k *socket) open(ctx context.Context) (*connection, error) {
	c, err := k.dial(ctx)
	if err != nil {
		k.mu.Lock()
		if k.newest == nil {
			k.why = err
		}
		k.mu.Unlock()
		k.first.Do(func() { close(k.tried) })
	}
	return c, err
}

func (k *socket) dial(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var opened struct {
		URL string `json:"url"`
	}
	if _, err := k.s.api.call(ctx, k.token, "apps.connections.open", nil, &opened); err != nil {
		return nil, fmt.Errorf("apps.connections.open: %w", err)
	}
	u, err := url.Parse(opened.URL)
	if err != nil || u.Host == "" || u.Scheme != "wss" && u.Scheme != "ws" || slackOwn(k.s.apiURL.Hostname()) && (u.Scheme != "wss" || !slackOwn(u.Hostname())) {
		return nil, errors.New("apps.connections.open: the address is none of Slack's")
	}
	dialer := &websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: 10 * time.Second, WriteBufferSize: writeBuffer}
	conn, answer, err := dialer.DialContext(ctx, opened.URL, nil) //nolint:bodyclose // a refusal's is buffered, and the rest is the connection's
	if err != nil {
		// The address has a ticket in it, which no log may have.
		if answer != nil {
			return nil, fmt.Errorf("the connection to %s was refused with %d", u.Host, answer.StatusCode)
		}
		return nil, fmt.Errorf("no connection to %s: %w", u.Host, unwrapURL(err))
	}
	conn.SetReadLimit(maxFrame)
	return &connection{k: k, conn: conn, places: make(chan struct{}, atOnce)}, nil
}

// unwrapURL is err without the address that it happened at.
func unwrapURL(err error) error {
	if e, is := errors.AsType[*url.Error](err); is {
		return e.Err
	}
	return err
}

// connection is one to Slack.
type connection struct {
	k      *socket
	conn   *websocket.Conn
	places chan struct{} // a place for each envelope that is being handled

	mu sync.Mutex // of writing
}

var (
	errRefresh = errors.New("slack closes this connection soon")
	errNoHello = errors.New("nothing was heard over it yet")
	errOff     = errors.New("slack closed this connection")
)

// read takes in what comes over c until it is closed, by Slack, by ctx or some
// time after Slack said that it would be. leaving gets one error, when it is time
// for another connection.
func (c *connection) read(ctx context.Context, leaving chan<- error) {
	var (
		group sync.WaitGroup
		told  sync.Once
	)
	leave := func(err error) { told.Do(func() { leaving <- err }) }
	over := make(chan struct{})
	group.Go(func() { c.ping(ctx, over) })
	var ended error
	defer func() {
		c.k.gone(c, ended)
		leave(ended)
		close(over)
		group.Wait()
		_ = c.conn.Close()
	}()
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetReadDeadline(time.Now()) })
	defer stop()
	last := time.Time{} // when a connection that is being left must be over
	alive := func() {
		deadline := time.Now().Add(quiet)
		if !last.IsZero() && last.Before(deadline) {
			deadline = last
		}
		_ = c.conn.SetReadDeadline(deadline)
		if ctx.Err() != nil { // looked at last, so that its end is never written over
			_ = c.conn.SetReadDeadline(time.Now())
		}
	}
	alive()
	c.conn.SetPongHandler(func(string) error { alive(); return nil })
	c.conn.SetPingHandler(func(data string) error {
		alive()
		_ = c.conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(writeWithin))
		return nil
	})
	for {
		_, data, err := c.conn.ReadMessage()
		if err != nil {
			ended = fmt.Errorf("%w: %w", errOff, err)
			return
		}
		alive()
		r, err := decodeSocket(data)
		if err != nil {
			c.k.s.log.WarnContext(ctx, "something in Socket Mode could not be read", "bytes", len(data))
			continue
		}
		switch r.Type {
		case socketmode.RequestTypeHello:
			c.k.arrived(c)
		case socketmode.RequestTypeDisconnect:
			if r.Reason == "link_disabled" {
				ended = errors.New("socket mode is turned off in the app's settings")
				return
			}
			last = time.Now().Add(drainFor)
			alive()
			leave(errRefresh)
		default:
			c.k.heard(c)
			c.places <- struct{}{}
			group.Go(func() {
				defer func() { <-c.places }()
				c.handle(ctx, r)
			})
		}
	}
}

// ping keeps c alive, and notices when it is not, until over is closed.
func (c *connection) ping(ctx context.Context, over <-chan struct{}) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeWithin)) // reading notices what is broken
		}
	}
}

// arrived makes c the newest connection.
func (k *socket) arrived(c *connection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.newest, k.why = c, nil
	k.first.Do(func() { close(k.tried) })
}

// heard makes c the newest connection where there is none: what speaks is there,
// even if it did not say hello.
func (k *socket) heard(c *connection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.newest == nil {
		k.newest, k.why = c, nil
	}
	k.first.Do(func() { close(k.tried) })
}

// gone takes c off, which has ended. One that Slack is about to close still
// counts: it is read until another has said hello.
func (k *socket) gone(c *connection, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.newest == c {
		k.newest, k.why = nil, err
	}
	k.first.Do(func() { close(k.tried) })
}

// decodeSocket reads one message of Socket Mode.
func decodeSocket(data []byte) (*socketmode.Request, error) {
	r := new(socketmode.Request)
	if err := json.Unmarshal(data, r); err != nil || r.Type == "" {
		return nil, errMalformed
	}
	switch r.Type {
	case socketmode.RequestTypeHello, socketmode.RequestTypeDisconnect:
		return r, nil
	}
	if !wordy(r.EnvelopeID) {
		return nil, errMalformed
	}
	return r, nil
}

// handle does what an envelope holds, and acknowledges it when it is stored.
// What is not acknowledged Slack sends again, except commands and clicks.
func (c *connection) handle(ctx context.Context, r *socketmode.Request) {
	s := c.k.s
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.patience)
	defer cancel()
	out := s.envelope(work, r)
	switch out.status {
	case http.StatusServiceUnavailable:
		return
	case http.StatusBadRequest:
		s.log.WarnContext(ctx, "what came by Socket Mode could not be read", "type", r.Type, "bytes", len(r.Payload))
	}
	answer := socketmode.Response{EnvelopeID: r.EnvelopeID}
	if r.AcceptsResponsePayload {
		answer.Payload = out.body
	}
	if err := c.acknowledge(answer); err != nil {
		s.log.WarnContext(ctx, "an envelope of Socket Mode could not be acknowledged; it is one even if it comes again", "error", err)
	}
}

// envelope does what an envelope holds, by the code that does what comes over
// HTTP.
func (s *Surface) envelope(ctx context.Context, r *socketmode.Request) reply {
	switch r.Type {
	case socketmode.RequestTypeSlashCommands:
		return s.commandEnvelope(ctx, r.EnvelopeID, r.Payload)
	case socketmode.RequestTypeInteractive:
		return s.interactionEnvelope(ctx, r.Payload)
	case socketmode.RequestTypeEventsAPI:
		return s.eventEnvelope(ctx, r.Payload)
	}
	return ok // of a kind that came after this was written
}

// acknowledge answers an envelope over c, or over the newest connection when c
// is closed already: Slack goes by the envelope's id.
func (c *connection) acknowledge(answer socketmode.Response) error {
	data, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	if len(data) > maxAnswer {
		if data, err = json.Marshal(socketmode.Response{EnvelopeID: answer.EnvelopeID}); err != nil {
			return err
		}
	}
	if err = c.write(data); err == nil {
		return nil
	}
	c.k.mu.Lock()
	other := c.k.newest
	c.k.mu.Unlock()
	if other == nil || other == c {
		return err
	}
	return other.write(data)
}

func (c *connection) write(data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	return c.conn.WriteMessage(websocket.TextMessage, data)
}
