package actions

import (
	"context"
	"crypto/rand"
	"errors"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// keyPrefix begins every key that Berth writes, so that a Redis can be shared.
const keyPrefix = "berth:"

// Store keeps environments, runs, their events and the audit chains in Redis.
// All keys of one environment share a hash tag, and no script touches the keys
// of two environments, so that a standalone Redis, Sentinel and Cluster all do.
type Store struct {
	rdb     redis.UniversalClient
	pipe    *Pipe
	process string // tells this process from all others
	now     func() time.Time
	log     *slog.Logger
	keep    time.Duration // of audit records; 0 is for ever
	keepOf  func(app string) Keep
	every   time.Duration // between anchors
	anchors anchoring
	touched touched
	seed    maphash.Seed
	stripes [stripeCount]stripe

	installation atomic.Pointer[string] // once it was read
	settled      settledHints
	lostRecords  lostRecords
	complete     atomic.Bool // the index is known to lead to all records
	mending      atomic.Bool // somebody makes it so
}

// StoreOptions are what a Store needs besides Redis.
type StoreOptions struct {
	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil means none
	// KeepAudit is how long audit records are kept at least; 0 means for ever.
	// Records that are older leave while Anchoring runs, once an anchor vouches
	// for them.
	KeepAudit time.Duration
	// Keep says how much of the past of an app's environments is kept; nil means
	// the defaults for every app. It is asked anew each time.
	Keep func(app string) Keep
	// AnchorEvery is how often Anchoring makes an anchor when something moved; 0
	// means every minute.
	AnchorEvery time.Duration
}

// NewStore makes a Store on rdb, which stays its caller's to close.
func NewStore(rdb redis.UniversalClient, o StoreOptions) *Store {
	s := &Store{rdb: rdb, now: o.Now, log: o.Log, keep: max(o.KeepAudit, 0), keepOf: o.Keep, every: o.AnchorEvery, pipe: NewPipe(rdb), process: rand.Text(), seed: maphash.MakeSeed()}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.every <= 0 {
		s.every = anchorEvery
	}
	for i := range s.stripes {
		s.stripes[i].turn = make(chan struct{}, 1)
	}
	return s
}

// Pipe is what the Store sends its commands through. Who changes environments
// beside it shares it.
func (s *Store) Pipe() *Pipe { return s.pipe }

// Key is the key that holds suffix of env: "berth:{shop/pr-42}:suffix".
func (s *Store) Key(env Name, suffix string) string {
	return keyPrefix + "{" + env.String() + "}:" + suffix
}

// clock is the time that goes into records: UTC, without a monotonic part.
func (s *Store) clock() time.Time { return s.now().UTC().Round(0) }

// redisError turns a failure of the client into an Error. What Redis itself
// refused because of what it was asked is a bug of ours; all else means that
// it could not be reached or is not ready, and may be tried again.
func redisError(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return Wrap(op, CodeCancelled, err, "It was stopped before Redis answered.")
	}
	if asked, ok := errors.AsType[redis.Error](err); ok && !passing(asked.Error()) {
		return Wrap(op, CodeInternal, err, "Redis refused what Berth asked of it; Berth's log says what.")
	}
	return &Error{Op: op, Code: CodeUnavailable, Msg: "Redis did not answer; try again in a moment.", Err: err, Retry: true}
}

// passing tells whether a reply of Redis says that it cannot serve now.
// Source: https://redis.io/docs/latest/develop/reference/protocol-spec/ and
// the errors that src/server.c of Redis 7 shares between commands.
func passing(reply string) bool {
	for _, prefix := range []string{
		"LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "BUSY", "OOM", "MISCONF",
		"NOREPLICAS", "MOVED", "ASK", "NOAUTH", "WRONGPASS", "NOPERM", "ERR max number of clients",
	} {
		if strings.HasPrefix(reply, prefix) {
			return true
		}
	}
	return false
}
