package notify

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// watched are the events that nobody else tells of: those whom they concern see
// them where they asked. They are told where a route wants them.
var watched = []string{bot.EventDeployed, bot.EventFailed, bot.EventArchived, bot.EventCleaned, bot.EventWaiting, bot.EventGlass}

const (
	cursorKey  = keyPrefix + "cursor"  // the last hint that was looked at
	sinceKey   = keyPrefix + "since"   // hash of routes, by their ids, to when each was first there
	watcherKey = keyPrefix + "watcher" // the replica that watches

	watchLease = 20 * time.Second
	watchBlock = 5 * time.Second
	// watchPace lets hints about the same request come together, so that what is
	// looked at is bounded however fast they come.
	watchPace = time.Second
	// watchSweep is how often the newest requests are looked at, of which hints
	// may have been lost, and sweepMost how many.
	watchSweep = 5 * time.Minute
	sweepMost  = 200
	// stale is when what happened is no news any more.
	stale = 24 * time.Hour
)

// Changes are hints that something changed. *actions.Store has them.
type Changes interface {
	Changes(ctx context.Context, after string, block time.Duration) ([]actions.Change, error)
	ChangesHead(ctx context.Context) (string, error)
}

// Requests are the records of requests. *approvals.Requests has them.
type Requests interface {
	Get(ctx context.Context, id string) (*approvals.Request, error)
	List(ctx context.Context, f approvals.Filter) ([]*approvals.Request, string, error)
}

// holdScript makes a replica the one that watches, or keeps it so.
//
//	KEYS[1]  the watcher
//	ARGV[1]  the replica
//	ARGV[2]  for how long, in milliseconds
//	output   1, or 0 when another one watches
var holdScript = redis.NewScript(`
local who = redis.call('GET', KEYS[1])
if who and who ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`)

// watcher is what one replica knows while it watches.
type watcher struct {
	*Notifier
	table *table           // whose routes since is about
	since map[string]int64 // route → from when on it is told, in milliseconds
	swept time.Time
}

// watch tells of what happened until ctx ends, while this replica is the one that
// watches. Two that think so for a moment tell nothing twice: a notice has its key.
func (n *Notifier) watch(ctx context.Context) {
	w := &watcher{Notifier: n}
	for failures := 0; ctx.Err() == nil; {
		wait, err := w.look(ctx)
		if err == nil {
			failures = 0
			pause(ctx, wait)
			continue
		}
		failures++
		if ctx.Err() == nil {
			n.log.WarnContext(ctx, "what happened cannot be read, so that nobody is told of it; trying again", "error", err)
		}
		pause(ctx, backOff(failures, time.Second, 15*time.Second))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if who, err := n.rdb.Get(ctx, watcherKey).Result(); err == nil && who == n.replica {
		n.rdb.Del(ctx, watcherKey)
	}
}

// look looks at what changed since it was last looked at, and says how long to
// wait before the next time.
func (w *watcher) look(ctx context.Context) (time.Duration, error) {
	t := w.Notifier.table.Load()
	wanted := slices.DeleteFunc(slices.Clone(t.routes), func(r Route) bool { return !slices.ContainsFunc(watched, r.wants) })
	mine, err := holdScript.Run(ctx, w.rdb, []string{watcherKey}, w.replica, watchLease.Milliseconds()).Bool()
	if err != nil {
		return 0, err
	}
	if !mine {
		w.table = nil
		return watchBlock, nil
	}
	if len(wanted) == 0 { // what happens meanwhile will be nothing that a later route is told
		w.table = t
		return watchBlock, w.rdb.Del(ctx, cursorKey, sinceKey).Err()
	}
	if w.table != t {
		if err := w.begin(ctx, t, wanted); err != nil {
			return 0, err
		}
	}
	cursor, err := w.cursor(ctx)
	if err != nil {
		return 0, err
	}
	if now := w.now(); now.Sub(w.swept) >= watchSweep {
		if err := w.sweep(ctx, t, wanted); err != nil {
			return 0, err
		}
		w.swept = now
	}
	changes, err := w.changes.Changes(ctx, cursor, watchBlock)
	if err != nil || len(changes) == 0 {
		return 0, err
	}
	seen := map[string]bool{"": true}
	for _, c := range changes {
		if seen[c.RequestID] {
			continue
		}
		seen[c.RequestID] = true
		r, err := w.requests.Get(ctx, c.RequestID)
		if actions.CodeOf(err) == actions.CodeNotFound {
			continue
		}
		if err == nil {
			err = w.tellOf(ctx, t, wanted, r)
		}
		if err != nil {
			return 0, err // it is all looked at again
		}
	}
	return watchPace, w.rdb.Set(ctx, cursorKey, changes[len(changes)-1].ID, 0).Err()
}

// begin notes since when each route is there: what happened before is old.
func (w *watcher) begin(ctx context.Context, t *table, wanted []Route) error {
	now := w.now().UnixMilli()
	known, err := w.rdb.HGetAll(ctx, sinceKey).Result()
	if err != nil {
		return err
	}
	since := map[string]int64{}
	_, err = w.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, r := range wanted {
			id := r.id()
			at, bad := strconv.ParseInt(known[id], 10, 64)
			if bad != nil {
				at = now
				p.HSet(ctx, sinceKey, id, at)
			}
			since[id] = at
		}
		for id := range known {
			if _, there := since[id]; !there {
				p.HDel(ctx, sinceKey, id)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.table, w.since = t, since
	return nil
}

// cursor is the hint up to which all were looked at; to begin with, the newest.
func (w *watcher) cursor(ctx context.Context) (string, error) {
	at, err := w.rdb.Get(ctx, cursorKey).Result()
	if !errors.Is(err, redis.Nil) {
		return at, err
	}
	if at, err = w.changes.ChangesHead(ctx); err != nil {
		return "", err
	}
	return at, w.rdb.Set(ctx, cursorKey, at, 0).Err()
}

// sweep looks at the newest requests, for which hints may have been lost.
func (w *watcher) sweep(ctx context.Context, t *table, wanted []Route) error {
	newest, _, err := w.requests.List(ctx, approvals.Filter{Limit: sweepMost})
	if err != nil {
		return err
	}
	for _, r := range newest {
		if err := w.tellOf(ctx, t, wanted, r); err != nil {
			return err
		}
	}
	return nil
}

// tellOf tells what there is to tell of r as it is now, where routes want it that
// were there when it happened. What was told before is known by its key.
func (w *watcher) tellOf(ctx context.Context, t *table, wanted []Route, r *approvals.Request) error {
	for _, n := range noticesOf(r) {
		if w.now().Sub(n.At) > stale {
			continue
		}
		routes := slices.DeleteFunc(slices.Clone(wanted), func(r Route) bool { return n.At.UnixMilli() < w.since[r.id()] })
		if err := w.store(ctx, n, t.routed(n, routes)); err != nil {
			return err
		}
	}
	return nil
}
