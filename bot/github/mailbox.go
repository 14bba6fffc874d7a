package github

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// rememberDelivery is how long a delivery's id is kept. GitHub redelivers
	// for three days.
	// Source: https://docs.github.com/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks
	rememberDelivery = 4 * 24 * time.Hour
	// storeTimeout is how long storing may take. GitHub gives up after 10 s and
	// then counts the delivery as failed, as the 503 makes it do.
	storeTimeout = 5 * time.Second
	// One flight is one pipeline to Redis. What arrives while maxFlights are in
	// the air waits for the next, which takes all of it along: under load one
	// write to the socket and one fsync of the append-only file serve many.
	maxFlights     = 2
	maxFlightLen   = 64
	maxFlightBytes = 4 << 20
)

// storeDelivery puts a delivery into the intake stream unless its id is known.
// The id is remembered last: if the stream refuses the entry, a redelivery must
// not look like a duplicate.
//
//	KEYS  1 the delivery's key, 2 the intake stream
//	ARGV  1 how long to remember the id, in ms, 2 id, 3 event, 4 body
//	→ 1 stored, 0 known
var storeDelivery = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('XADD', KEYS[2], '*', 'delivery', ARGV[2], 'event', ARGV[3], 'body', ARGV[4])
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1`)

// letter is one delivery on its way into Redis. Nobody may change body until
// done has been answered.
type letter struct {
	delivery, event string
	body            []byte
	done            chan stored // holds one
}

type stored struct {
	fresh bool // false: this delivery was stored before
	err   error
}

// mailbox stores deliveries, several at once where several arrive at once.
type mailbox struct {
	rdb     redis.UniversalClient
	down    atomic.Bool // the last that is known of Redis
	mu      sync.Mutex
	waiting []*letter
	flying  int
}

// put stores l. It gives up after storeTimeout, which leaves open whether l is
// stored; its body must then never be used again.
func (m *mailbox) put(l *letter) (fresh bool, err error) {
	m.mu.Lock()
	m.waiting = append(m.waiting, l)
	if m.flying < maxFlights {
		m.flying++
		go m.fly()
	}
	m.mu.Unlock()

	timer := time.NewTimer(storeTimeout)
	defer timer.Stop()
	select {
	case s := <-l.done:
		return s.fresh, s.err
	case <-timer.C:
		m.down.Store(true)
		return false, errStoreTimeout
	}
}

var errStoreTimeout = errors.New("redis did not answer in time")

// fly carries letters until none waits.
func (m *mailbox) fly() {
	for {
		batch := m.take()
		if batch == nil {
			return
		}
		m.carry(batch)
	}
}

// take returns the letters of the next flight, or nil when the flight is over.
func (m *mailbox) take() []*letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, size := 0, 0
	for n < len(m.waiting) && n < maxFlightLen && (n == 0 || size+len(m.waiting[n].body) <= maxFlightBytes) {
		size += len(m.waiting[n].body)
		n++
	}
	if n == 0 {
		m.flying--
		return nil
	}
	batch := m.waiting[:n:n]
	m.waiting = m.waiting[n:]
	if len(m.waiting) == 0 {
		m.waiting = nil
	}
	return batch
}

// carry stores a batch in one round trip and answers each letter.
func (m *mailbox) carry(batch []*letter) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	pipe := m.rdb.Pipeline()
	replies := make([]*redis.Cmd, len(batch))
	for i, l := range batch {
		replies[i] = storeDelivery.EvalSha(ctx, pipe, l.keys(), l.args()...)
	}
	_, _ = pipe.Exec(ctx) // each reply carries its own error
	var failed error
	for i, l := range batch {
		if err := replies[i].Err(); err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
			replies[i] = storeDelivery.Eval(ctx, m.rdb, l.keys(), l.args()...)
		}
		n, err := replies[i].Int()
		if err != nil {
			failed = err
			err = fmt.Errorf("store delivery %s: %w", l.delivery, err)
		}
		l.done <- stored{fresh: n == 1, err: err}
	}
	m.down.Store(failed != nil)
}

func (l *letter) keys() []string { return []string{keyDelivery(l.delivery), keyIntake} }

func (l *letter) args() []any {
	return []any{rememberDelivery.Milliseconds(), l.delivery, l.event, l.body}
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

func (m *mailbox) ask(ctx context.Context) {
	answered := make(chan error, 1)
	go func() { answered <- m.rdb.Ping(ctx).Err() }()
	select {
	case <-ctx.Done():
	case err := <-answered:
		m.down.Store(err != nil)
	case <-time.After(storeTimeout):
		m.down.Store(true)
		<-answered // one question at a time
	}
}
