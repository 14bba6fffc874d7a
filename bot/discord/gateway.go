package discord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/bwmarrin/discordgo"
	"github.com/gorilla/websocket"

	"github.com/berth-dev/berth/actions"
)

const (
	// readyWithin is how long Discord may take from the dial to its READY.
	readyWithin = 30 * time.Second
	// maxPause is the longest that is waited before a new session is begun after one
	// that failed at once. Discord lets a bot begin 1,000 in a day, one in 86 s.
	// Source: https://docs.discord.com/developers/events/gateway#session-start-limit-object
	maxPause = 2 * time.Minute
	// maxRedial is the longest that is waited before the gateway is dialled again,
	// which counts as nothing until a session is begun.
	maxRedial = 10 * time.Second
	// steady is how long a session lasts that counts as a good one.
	steady = time.Minute
	// hopeless is how long is waited after what only a person can mend.
	hopeless = 5 * time.Minute
	// atOnce is how many events of a connection are handled at the same time; beyond
	// it the connection is read no further until one is done.
	atOnce = 256
)

// intents are what Discord is asked to tell. None is privileged: the content of
// messages that mention Berth, and of direct messages to it, comes without.
// Source: https://docs.discord.com/developers/events/gateway#gateway-intents
const intents = discordgo.IntentsGuilds | discordgo.IntentsGuildMessages | discordgo.IntentsDirectMessages

// The gateway's close codes that decide what is done next.
// Source: https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes
const (
	closeAuthentication = 4004
	closeSequence       = 4007
	closeRate           = 4008
	closeTimedOut       = 4009
	closeShard          = 4010
	closeSharding       = 4011
	closeVersion        = 4012
	closeIntents        = 4013
	closeDisallowed     = 4014
)

var (
	errLost     = errors.New("the connection was lost")
	errNotReady = errors.New("no session was begun in time")
	errInvalid  = errors.New("the session is invalid")
	errSpent    = errors.New("no more sessions may begin today")
)

// aboutGateway is what Discord says of its gateway.
// Source: https://docs.discord.com/developers/events/gateway#get-gateway-bot
type aboutGateway struct {
	URL    string `json:"url"`
	Shards int    `json:"shards"`
	Starts struct {
		Remaining  int   `json:"remaining"`
		ResetAfter int64 `json:"reset_after"` // milliseconds
		AtOnce     int   `json:"max_concurrency"`
	} `json:"session_start_limit"`
}

// gatewayBot asks for the gateway.
func (s *Surface) gatewayBot(ctx context.Context) (aboutGateway, error) {
	var about aboutGateway
	if err := s.client.call(ctx, http.MethodGet, "gateway/bot", nil, &about); err != nil {
		return aboutGateway{}, err
	}
	u, err := url.Parse(about.URL)
	if err != nil || u.Scheme != "wss" && u.Scheme != "ws" || u.Host == "" {
		return aboutGateway{}, fmt.Errorf("the gateway %.200q is no address", about.URL)
	}
	// discordgo adds the version that it knows, in what then is no part of the
	// request any more.
	if u.Path == "" {
		u.Path = "/"
	}
	u.RawQuery, u.Fragment = "v=10&encoding=json", ""
	about.URL = u.String() + "#"
	about.Shards = min(max(about.Shards, 1), 1000)
	return about, nil
}

// listen keeps the shards connected that this replica leads, until ctx ends.
func (s *Surface) listen(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		about, err := s.gatewayBot(ctx)
		if err != nil {
			s.gateway.failed(err)
			s.complain(ctx, "ask for Discord's gateway", err, failures)
			failures++
			s.sleep(ctx, jittered(backOff(failures, maxRedial)))
			continue
		}
		failures = 0
		s.leadShards(ctx, about.Shards)
		s.sleep(ctx, jittered(time.Second))
	}
}

// leadShards has each shard kept by one of all replicas, until ctx ends or
// another number of them is needed.
func (s *Surface) leadShards(ctx context.Context, count int) {
	ctx, reshard := context.WithCancel(ctx)
	defer reshard()
	var group sync.WaitGroup
	for n := range count {
		group.Go(func() {
			name := fmt.Sprintf("discord-gateway-%s-%d-of-%d", s.app, n, count)
			err := s.lead(ctx, name, func(ctx context.Context) { s.shard(ctx, n, count, reshard) })
			if err != nil && ctx.Err() == nil {
				s.log.ErrorContext(ctx, "a shard of Discord's gateway has no leader any more", "shard", n, "error", err)
			}
		})
	}
	group.Wait()
}

// shard keeps one shard connected while this replica leads it: it resumes the
// session after the network was lost, so that Discord sends what was missed, and
// begins a new one where Discord wants that.
func (s *Surface) shard(ctx context.Context, n, count int, reshard func()) {
	s.gateway.lead(n, count, s.now())
	defer s.gateway.leave(n)
	var c *connection
	failures := 0                       // in a row, without a session between them
	for flaps := 0; ctx.Err() == nil; { // sessions that were lost soon after they were there
		began := time.Now()
		err := error(nil)
		if c == nil {
			c, err = s.newConnection(ctx, n, count)
		}
		if err == nil {
			err = c.live(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		failures++
		if time.Since(began) > steady {
			flaps = 0
		}
		if errors.Is(err, errLost) {
			failures, flaps = 0, flaps+1
		}
		v := verdictOf(err, failures, flaps)
		s.gateway.down(n, v.say(err), v.fix, s.now())
		if v.level == hopelessly {
			s.log.ErrorContext(ctx, "Discord's gateway does not take Berth: "+v.why+"; "+v.fix, "shard", n, "error", err, "again_in", v.pause.String())
		} else {
			s.log.WarnContext(ctx, "not connected to Discord's gateway", "shard", n, "error", err, "resume", !v.fresh, "again_in", v.pause.String())
		}
		if v.level == resharding {
			reshard()
			return
		}
		if v.fresh {
			c = nil
		}
		s.sleep(ctx, v.pause)
	}
}

// beginEvery is how far the beginnings of sessions are apart whose shards have the
// same remainder by max_concurrency.
// Source: https://docs.discord.com/developers/events/gateway#sharding-max-concurrency
const beginEvery = 5 * time.Second

// begins knows when this replica began sessions. The zero value is ready.
type begins struct {
	mu   sync.Mutex
	next map[int]time.Time // by remainder
}

// turn is how long shard n has to wait until it may begin a session; it then has
// its turn.
func (b *begins) turn(n, atOnce int, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = map[int]time.Time{}
	}
	key := n % max(atOnce, 1)
	at := b.next[key]
	if at.Before(now) {
		at = now
	}
	b.next[key] = at.Add(beginEvery)
	return at.Sub(now)
}

// level is how bad a verdict is.
type level int

const (
	passing    level = iota // it passes
	resharding              // the number of shards is another
	hopelessly              // a person must mend it
)

// verdict is what is done after a connection ended.
type verdict struct {
	level level
	fresh bool // with a new session
	pause time.Duration
	// why and fix say what a person must mend, and how.
	why, fix string
}

// say is what ended the connection, for people.
func (v verdict) say(err error) string {
	if v.why != "" {
		return v.why
	}
	return err.Error()
}

// verdictOf decides what is done after so many failures in a row, or sessions
// that were lost soon.
func verdictOf(err error, failures, flaps int) verdict {
	code := 0
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
		code = closed.Code
	}
	if spent, ok := errors.AsType[*spentError](err); ok {
		return verdict{fresh: true, pause: spent.after}
	}
	switch {
	case code == closeAuthentication:
		return verdict{level: hopelessly, fresh: true, pause: hopeless, why: "it refuses discord.bot_token", fix: "make a new token on the application's page Bot and put it into the config"}
	case code == closeDisallowed, code == closeIntents:
		return verdict{level: hopelessly, fresh: true, pause: hopeless, why: "it refuses the intents that Berth asks for, none of which is privileged", fix: "see whether the application on the Developer Portal is this one, and not disabled"}
	case code == closeVersion:
		return verdict{level: hopelessly, fresh: true, pause: hopeless, why: "it has no version 10 any more", fix: "update Berth"}
	case code == closeShard, code == closeSharding:
		return verdict{level: resharding, fresh: true}
	case code == closeSequence, code == closeTimedOut, code == closeRate, code >= 4001 && code <= 4005:
		return verdict{fresh: true, pause: jittered(backOff(failures, maxPause))}
	case errors.Is(err, errInvalid):
		// Between one and five seconds, as Discord wants it.
		return verdict{fresh: true, pause: time.Second + rand.N(4*time.Second) + backOff(failures, maxPause)/2} //nolint:gosec // no secret
	case errors.Is(err, errNotReady):
		return verdict{fresh: true, pause: 5*time.Second + jittered(backOff(failures, maxPause))}
	case errors.Is(err, errLost): // resuming costs none of the sessions that may begin in a day
		return verdict{pause: rand.N(500*time.Millisecond) + min(time.Duration(flaps-1)*100*time.Millisecond, maxRedial)} //nolint:gosec // no secret
	default:
		return verdict{pause: jittered(backOff(failures, maxRedial))}
	}
}

// spentError says that Discord lets no more sessions begin for a while.
type spentError struct{ after time.Duration }

func (e *spentError) Error() string { return errSpent.Error() }
func (e *spentError) Unwrap() error { return errSpent }

// backOff is how long is waited after so many failures in a row.
func backOff(failures int, most time.Duration) time.Duration {
	return min(time.Second<<min(max(failures-1, 0), 10), most)
}

// jittered is d, or up to half as long again, so that replicas do not all try at
// once.
func jittered(d time.Duration) time.Duration {
	return d + rand.N(d/2+1) //nolint:gosec // no secret
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// complain logs the first failure of a row, and now and then one of the others.
func (s *Surface) complain(ctx context.Context, what string, err error, failures int) {
	if ctx.Err() == nil && failures%30 == 0 {
		s.log.WarnContext(ctx, "could not "+what+"; trying on", "error", err, "failures", failures+1)
	}
}

// gatewayState is how this replica's shards are. The zero value is ready.
type gatewayState struct {
	mu     sync.Mutex
	count  int // of shards; 0 until that is known
	shards map[int]shardState
	fault  string // why nothing is known
}

// shardState is how one shard is that this replica leads.
type shardState struct {
	since     time.Time // when it was connected, or was not any more
	connected bool
	fault     string
	fix       string // what a person must do; "" where Berth goes on by itself
}

func (g *gatewayState) lead(n, count int, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shards == nil || g.count != count {
		g.shards = map[int]shardState{}
	}
	g.count, g.fault = count, ""
	g.shards[n] = shardState{since: at, fault: "it is not connected yet"}
}

func (g *gatewayState) leave(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.shards, n)
}

func (g *gatewayState) up(n int, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shards[n] = shardState{since: at, connected: true}
}

// down keeps since when a shard was not connected, however often it is tried.
func (g *gatewayState) down(n int, fault, fix string, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if was := g.shards[n]; !was.connected && !was.since.IsZero() {
		at = was.since
	}
	g.shards[n] = shardState{since: at, fault: fault, fix: fix}
}

func (g *gatewayState) failed(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault = actions.Message(err)
}

// ready is what READY says, as far as that matters.
type ready struct {
	User   user `json:"user"`
	Guilds []struct {
		ID string `json:"id"`
	} `json:"guilds"` // of which GUILD_CREATE tells
}

// decodeReady reads READY.
func decodeReady(raw []byte) (ready, error) {
	var r ready
	if err := json.Unmarshal(raw, &r); err != nil || !isID(r.User.ID) {
		return ready{}, errors.New("READY does not say who Berth is")
	}
	return r, nil
}
