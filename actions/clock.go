package actions

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// clockEvery is how often a Clock compares itself with Redis. A quartz clock
	// that is off by 100 parts in a million drifts by a millisecond within it.
	clockEvery = 10 * time.Second
	// clockTries is how many answers are compared; the one that took the shortest
	// way says the time most truly.
	clockTries = 3
	// clockTold is how far a machine's clock may be off before the log says so.
	clockTold = time.Second
)

// Clock is the time of Redis, so that replicas whose own clocks differ agree on
// what has expired and in which order things happened. It goes on by itself
// between two looks, and is the machine's own clock before the first.
type Clock struct {
	rdb  redis.UniversalClient
	base func() time.Time
	log  *slog.Logger
	last atomic.Pointer[reading]
	told atomic.Bool
}

// reading is what the base said when Redis said its time.
type reading struct{ base, redis time.Time }

// NewClock makes a Clock on rdb. base is the machine's clock, nil for time.Now;
// log may be nil.
func NewClock(rdb redis.UniversalClient, base func() time.Time, log *slog.Logger) *Clock {
	if base == nil {
		base = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Clock{rdb: rdb, base: base, log: log}
}

// Now is the time, in UTC.
func (c *Clock) Now() time.Time {
	now := c.base()
	if last := c.last.Load(); last != nil {
		// The difference is taken of the monotonic clock, so that it does not
		// matter when somebody sets the machine's.
		return last.redis.Add(now.Sub(last.base)).UTC()
	}
	return now.Round(0).UTC()
}

// timeScript asks the node that has one and the same key, since the nodes of a
// Cluster may differ.
//
//	KEYS[1]  any
//	output   {seconds, microseconds}
var timeScript = redis.NewScript(`return redis.call('TIME')`)

// Sync sets the Clock by Redis. It returns CodeUnavailable, and leaves the Clock
// as it was, when Redis does not answer.
func (c *Clock) Sync(ctx context.Context) error {
	const op = "clock.sync"
	var best *reading
	least := time.Duration(0)
	for range clockTries {
		asked := c.base()
		words, err := timeScript.Run(ctx, c.rdb, []string{keyPrefix + "clock"}).StringSlice()
		answered := c.base()
		if err != nil {
			return redisError(op, err)
		}
		at, err := parseTime(words)
		if err != nil {
			return Wrap(op, CodeInternal, err, "Redis did not say the time.")
		}
		if way := answered.Sub(asked); best == nil || way < least {
			best, least = &reading{base: answered, redis: at.Add(way / 2)}, way
		}
	}
	c.last.Store(best)
	if off := best.base.Sub(best.redis).Round(time.Millisecond); off.Abs() >= clockTold && !c.told.Swap(true) {
		c.log.WarnContext(ctx, "this machine's clock is off; Berth goes by the clock of Redis", "ahead", off.String())
	}
	return nil
}

func parseTime(words []string) (time.Time, error) {
	if len(words) != 2 {
		return time.Time{}, fmt.Errorf("TIME answered %q", words)
	}
	seconds, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("TIME answered %q: %w", words, err)
	}
	micros, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("TIME answered %q: %w", words, err)
	}
	return time.Unix(seconds, micros*1000).UTC(), nil
}

// Follow keeps the Clock set until ctx ends.
func (c *Clock) Follow(ctx context.Context) {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for {
		if err := c.Sync(ctx); err != nil && ctx.Err() == nil {
			c.log.DebugContext(ctx, "the clock goes on without Redis", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
