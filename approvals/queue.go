package approvals

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
)

const (
	queueKey   = "berth:queue"         // stream of hints, read by the group of workers
	delayedKey = "berth:queue:delayed" // sorted set of hints, by when they are due (Unix milliseconds)
	group      = "workers"
	// farthest is more than any hint is delayed by: one that is due later was
	// delayed by a clock that ran ahead, and is not waited for.
	farthest = 5 * time.Minute
)

// hint says that a request wants attention. The record says which.
type hint struct {
	env   actions.Name
	id    string
	tries int // how often the same thing was tried in vain
}

// delivered is a hint with its place in the stream.
type delivered struct {
	entry string
	hint  hint
}

// queue brings hints to workers: at least once, to one of them at a time.
type queue struct {
	rdb redis.UniversalClient
	now func() time.Time
	log *slog.Logger
}

func newQueue(rdb redis.UniversalClient, now func() time.Time, log *slog.Logger) *queue {
	return &queue{rdb: rdb, now: now, log: log}
}

// add makes h due now.
func (q *queue) add(ctx context.Context, h hint) error {
	return q.rdb.XAdd(ctx, &redis.XAddArgs{Stream: queueKey, Values: []any{"env", h.env.String(), "id", h.id, "tries", h.tries}}).Err()
}

// delay makes h due after d.
func (q *queue) delay(ctx context.Context, h hint, d time.Duration) error {
	due := q.now().Add(d).UnixMilli()
	return q.rdb.ZAdd(ctx, delayedKey, redis.Z{Score: float64(due), Member: fmt.Sprintf("%s %s %d", h.id, h.env, h.tries)}).Err()
}

// prepare makes the group of workers, unless it is there. It begins with the
// first hint, so that a group that somebody removed misses none when it is back.
func (q *queue) prepare(ctx context.Context) error {
	err := q.rdb.XGroupCreateMkStream(ctx, queueKey, group, "0").Err()
	if err != nil && strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return nil
	}
	return err
}

// fresh waits up to block for hints that nobody got yet, and gives them to consumer.
func (q *queue) fresh(ctx context.Context, consumer string, count int, block time.Duration) ([]delivered, error) {
	return q.read(ctx, consumer, ">", count, block)
}

// own returns hints that consumer got before and has not finished, those after
// the entry after.
func (q *queue) own(ctx context.Context, consumer, after string, count int) ([]delivered, error) {
	return q.read(ctx, consumer, after, count, -1)
}

func (q *queue) read(ctx context.Context, consumer, from string, count int, block time.Duration) ([]delivered, error) {
	streams, err := q.rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: group, Consumer: consumer, Streams: []string{queueKey, from}, Count: int64(count), Block: block,
	}).Result()
	if isNil(err) || (err == nil && len(streams) == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return read(streams[0].Messages), nil
}

// claim gives consumer hints that others, or itself before a crash, have not
// finished and not kept alive for idle. What it returns to go on from is "0-0"
// when the whole was looked through.
func (q *queue) claim(ctx context.Context, consumer, from string, idle time.Duration, count int) ([]delivered, string, error) {
	messages, next, err := q.rdb.XAutoClaim(ctx, &redis.XAutoClaimArgs{
		Stream: queueKey, Group: group, Consumer: consumer, MinIdle: idle, Start: from, Count: int64(count),
	}).Result()
	if err != nil {
		return nil, "", err
	}
	return read(messages), next, nil
}

// keep shows that consumer is still at work on entries.
func (q *queue) keep(ctx context.Context, consumer string, entries []string) error {
	if len(entries) == 0 {
		return nil
	}
	err := q.rdb.XClaimJustID(ctx, &redis.XClaimArgs{Stream: queueKey, Group: group, Consumer: consumer, Messages: entries}).Err()
	if isNil(err) {
		return nil
	}
	return err
}

// done takes entries out of the queue.
func (q *queue) done(ctx context.Context, entries []string) error {
	_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.XAck(ctx, queueKey, group, entries...)
		p.XDel(ctx, queueKey, entries...)
		return nil
	})
	if err != nil && strings.HasPrefix(err.Error(), "NOGROUP") {
		return nil
	}
	return err
}

// moveDue queues delayed hints whose time has come, and returns how many. Of
// several processes that do so at once, one gets each; a hint that is lost
// because that one dies is the sweeper's to find.
func (q *queue) moveDue(ctx context.Context) (int, error) {
	const most = 200
	members, err := q.rdb.ZRangeByScore(ctx, delayedKey, &redis.ZRangeBy{
		Min: "-inf", Max: strconv.FormatInt(q.now().UnixMilli(), 10), Count: most,
	}).Result()
	if err != nil {
		return 0, err
	}
	moved := 0
	for _, m := range members {
		mine, err := q.rdb.ZRem(ctx, delayedKey, m).Result()
		if err != nil {
			return moved, err
		}
		h, ok := parseDelayed(m)
		if mine == 0 || !ok {
			continue
		}
		if err := q.add(ctx, h); err != nil {
			return moved, err
		}
		moved++
	}
	return moved, nil
}

// hinted returns the ids of all requests that have a hint. A hint that goes from
// the stream to the delayed ones meanwhile is seen, since it is in both for a
// moment, and they are read in that order.
func (q *queue) hinted(ctx context.Context) (map[string]bool, error) {
	const page = 1000
	ids := make(map[string]bool)
	for from := "-"; ; {
		messages, err := q.rdb.XRangeN(ctx, queueKey, from, "+", page).Result()
		if err != nil {
			return nil, err
		}
		for _, d := range read(messages) {
			ids[d.hint.id] = true
		}
		if len(messages) < page {
			break
		}
		from = "(" + messages[len(messages)-1].ID
	}
	due := strconv.FormatInt(q.now().Add(farthest).UnixMilli(), 10)
	members, err := q.rdb.ZRangeByScore(ctx, delayedKey, &redis.ZRangeBy{Min: "-inf", Max: due}).Result()
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if h, ok := parseDelayed(m); ok {
			ids[h.id] = true
		}
	}
	return ids, nil
}

// requeue adds hints again that have been in the stream for longer than age and
// are in nobody's hands: not delivered because all workers are busy, which does
// no harm, or delivered to a consumer that somebody removed, which would
// otherwise be for ever.
func (q *queue) requeue(ctx context.Context, age time.Duration) error {
	const most = 1000
	until := strconv.FormatInt(q.now().Add(-age).UnixMilli(), 10)
	messages, err := q.rdb.XRangeN(ctx, queueKey, "-", until, most).Result()
	if err != nil || len(messages) == 0 {
		return err
	}
	pending, err := q.rdb.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: queueKey, Group: group, Start: "-", End: until, Count: 2 * most}).Result()
	if err != nil || len(pending) == 2*most {
		return err
	}
	held := make(map[string]bool, len(pending))
	for _, p := range pending {
		held[p.ID] = true
	}
	for _, d := range read(messages) {
		if held[d.entry] {
			continue
		}
		if d.hint.id != "" {
			if err := q.add(ctx, d.hint); err != nil {
				return err
			}
		}
		if err := q.rdb.XDel(ctx, queueKey, d.entry).Err(); err != nil {
			return err
		}
	}
	return nil
}

// dropConsumers removes consumers that have nothing in hand and have not been
// seen for age: replicas whose names will not come again.
func (q *queue) dropConsumers(ctx context.Context, age time.Duration) error {
	consumers, err := q.rdb.XInfoConsumers(ctx, queueKey, group).Result()
	if err != nil {
		return err
	}
	for _, c := range consumers {
		if c.Pending == 0 && c.Idle > age {
			if err := q.rdb.XGroupDelConsumer(ctx, queueKey, group, c.Name).Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

// depth is how many hints there are: in the stream, and delayed.
func (q *queue) depth(ctx context.Context) (int64, int64, error) {
	var ready, delayed *redis.IntCmd
	_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		ready, delayed = p.XLen(ctx, queueKey), p.ZCard(ctx, delayedKey)
		return nil
	})
	return ready.Val(), delayed.Val(), err
}

// read turns messages into hints. One that says nothing has an empty id.
func read(messages []redis.XMessage) []delivered {
	hints := make([]delivered, 0, len(messages))
	for _, m := range messages {
		text := func(key string) string { v, _ := m.Values[key].(string); return v }
		hints = append(hints, delivered{entry: m.ID, hint: newHint(text("id"), text("env"), text("tries"))})
	}
	return hints
}

func parseDelayed(m string) (hint, bool) {
	words := strings.Fields(m)
	if len(words) != 3 {
		return hint{}, false
	}
	h := newHint(words[0], words[1], words[2])
	return h, h.id != ""
}

// newHint is the hint that the texts say, the zero one when they say none.
func newHint(id, name, tries string) hint {
	env, err := actions.ParseName(name)
	n, errTries := strconv.Atoi(tries)
	if err != nil || errTries != nil || n < 0 || !validID(id) {
		return hint{}
	}
	return hint{env: env, id: id, tries: n}
}

func isNil(err error) bool { return errors.Is(err, redis.Nil) }

// backoff is how long to wait after the n-th failure in a row, n from 0: first,
// then twice as long each time up to most, less a random part of up to half, so
// that those who failed together do not come back together.
func backoff(n int, first, most time.Duration) time.Duration {
	d := most
	if n < 30 && first<<n < most {
		d = first << n
	}
	return d - rand.N(d/2+1) //nolint:gosec // it spreads load; nobody gains by guessing it
}
