package github

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// The fields of an entry of the intake stream.
const (
	fieldDelivery = "delivery"
	fieldEvent    = "event"
)

const (
	// rememberDelivery is how long the id of a handled delivery is kept. GitHub
	// redelivers for three days.
	// Source: https://docs.github.com/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks
	rememberDelivery = 4 * 24 * time.Hour
	// storeTimeout is how long storing may take. GitHub gives up after 10 s and
	// then counts the delivery as failed, as the 503 makes it do.
	storeTimeout = 5 * time.Second
	// One flight is one transaction. What arrives while maxFlights are in the
	// air waits for the next, which takes all of it along: under load one write
	// to the socket and one fsync of the append-only file serve many.
	maxFlights     = 8
	maxFlightLen   = 64
	maxFlightBytes = 4 << 20
)

// letter is one delivery on its way into Redis. Nobody may change body until
// put has returned.
type letter struct {
	delivery, event string
	body            []byte
	turn            chan turn // holds one
}

// turn is what a waiting letter is told: how it went, or that its own goroutine
// is to fly the next flight.
type turn struct {
	fly   []*letter
	fresh bool // false: this delivery was stored before
	err   error
}

// mailbox stores deliveries, several at once where several arrive at once.
//
// The payload is the value of a key that is the delivery's own, set only when
// it is not there: that is what makes a delivery one, however often it comes.
// The stream holds what is to be handled, by id alone. Redis does both in one
// transaction of plain commands, which at 14 KB costs it little more than one
// XADD; a script would copy the payload into Lua and back, which costs more
// than all the rest.
type mailbox struct {
	rdb     redis.UniversalClient
	down    atomic.Bool // the last that is known of Redis
	mu      sync.Mutex
	waiting []*letter
	flying  int
}

// put stores l. It gives up after storeTimeout, when a redelivery can still
// find it stored.
func (m *mailbox) put(l *letter) (fresh bool, err error) {
	m.mu.Lock()
	var batch []*letter
	if m.flying < maxFlights {
		m.flying++
		batch = []*letter{l}
	} else {
		m.waiting = append(m.waiting, l)
	}
	m.mu.Unlock()
	if batch == nil {
		t := m.wait(l)
		if t.fly == nil {
			return t.fresh, t.err
		}
		batch = t.fly
	}
	own := m.fly(l, batch)
	return own.fresh, own.err
}

// wait waits for l's turn.
func (m *mailbox) wait(l *letter) turn {
	timer := time.NewTimer(storeTimeout)
	defer timer.Stop()
	select {
	case t := <-l.turn:
		return t
	case <-timer.C:
	}
	m.mu.Lock()
	at := slices.Index(m.waiting, l)
	if at >= 0 {
		m.waiting = slices.Delete(m.waiting, at, at+1)
	}
	m.mu.Unlock()
	if at < 0 {
		return <-l.turn // it is in the air, or has to fly: both end soon
	}
	return turn{err: errors.New("redis did not answer in time")}
}

// fly stores batch, which own is among, and hands the next flight to the first
// letter that waits, so that each goroutine flies once.
func (m *mailbox) fly(own *letter, batch []*letter) (result turn) {
	turns := m.carry(batch)

	m.mu.Lock()
	n, size := 0, 0
	for n < len(m.waiting) && n < maxFlightLen && (n == 0 || size+len(m.waiting[n].body) <= maxFlightBytes) {
		size += len(m.waiting[n].body)
		n++
	}
	next := m.waiting[:n:n]
	m.waiting = m.waiting[n:]
	if n == 0 {
		m.flying--
		m.waiting = nil
	}
	m.mu.Unlock()

	if n > 0 {
		next[0].turn <- turn{fly: next}
	}
	for i, l := range batch {
		if l == own {
			result = turns[i]
			continue
		}
		l.turn <- turns[i]
	}
	return result
}

// carry stores a batch in one round trip.
func (m *mailbox) carry(batch []*letter) []turn {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	pipe := m.rdb.TxPipeline()
	sets, adds := make([]*redis.BoolCmd, len(batch)), make([]*redis.StringCmd, len(batch))
	for i, l := range batch {
		// Its key expires once it has been handled, not before.
		sets[i] = pipe.SetNX(ctx, keyDelivery(l.delivery), l.body, 0)
		adds[i] = pipe.XAdd(ctx, &redis.XAddArgs{Stream: keyIntake, Values: []any{fieldDelivery, l.delivery, fieldEvent, l.event}})
	}
	_, err := pipe.Exec(ctx)
	m.down.Store(err != nil)
	turns := make([]turn, len(batch))
	var again []string
	for i, l := range batch {
		if err != nil {
			turns[i].err = fmt.Errorf("store delivery %s: %w", l.delivery, err)
			continue
		}
		turns[i].fresh = sets[i].Val()
		if !turns[i].fresh {
			again = append(again, adds[i].Val())
		}
	}
	if again != nil {
		// Whoever reads the entry of a delivery that is known finds it handled or
		// being handled. Taking it out again only saves that look.
		_ = m.rdb.XDel(ctx, keyIntake, again...).Err()
	}
	return turns
}

// watch asks Redis every second whether it is there, so that deliveries which
// are not stored are not answered as if all were well while it is gone. It
// returns when ctx ends.
func (m *mailbox) watch(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		m.ask(ctx)
	}
}

// ask looks whether Redis answers and, once it was seen not to, whether it
// stores again: one that is full, or only reads, answers all the same.
func (m *mailbox) ask(ctx context.Context) {
	answered := make(chan bool, 1) // whether it does not
	go func() {
		if m.down.Load() {
			answered <- m.rdb.Set(ctx, keyProbe, "1", time.Minute).Err() != nil
			return
		}
		answered <- m.rdb.Ping(ctx).Err() != nil
	}()
	timer := time.NewTimer(storeTimeout)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case down := <-answered:
		m.down.Store(down)
	case <-timer.C:
		m.down.Store(true)
		<-answered // one question at a time
	}
}
