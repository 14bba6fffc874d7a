package approvals

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
)

const (
	// sweepTick is how often hints that are due are moved, those included that a
	// dead replica had in hand.
	sweepTick = 250 * time.Millisecond
	// sweepEvery is how often one of the replicas looks for requests without a
	// hint.
	sweepEvery = time.Second
	// measureEvery is how often each replica looks how long the queue is.
	measureEvery = 5 * time.Second
	// deepEvery is how often the index of active requests is made anew from what
	// the environments say, for when the index itself lost something.
	deepEvery = 10 * time.Minute
	// askAgain is how often the policy of a pending request that has decisions
	// is asked without there being a new one.
	askAgain = time.Minute
	// sweepPage is how many active requests one sweep looks at.
	sweepPage = 1000
	// indexLead is how long an index entry may be there before its record.
	indexLead = time.Minute

	sweepTurnKey = "berth:sweep"      // there as long as no sweep is due
	sweepAtKey   = "berth:sweep:at"   // where in the index of active requests the next one begins
	deepTurnKey  = "berth:sweep:deep" // the same for the deep one
)

// sweep keeps hints in step with records until ctx ends. It runs on every
// replica: what only one need do goes by turns that Redis gives out, and is
// harmless when two do it.
func (w *Worker) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepTick)
	defer tick.Stop()
	measured := time.Time{}
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := w.sweepOnce(ctx)
		if err == nil && time.Since(measured) >= measureEvery {
			measured, err = time.Now(), w.measure(ctx)
		}
		if err == nil {
			failures = 0
			continue
		}
		w.complain(ctx, "sweep", err, failures)
		w.pause(ctx, failures)
		failures++
	}
}

func (w *Worker) sweepOnce(ctx context.Context) error {
	freed, err := w.queue.moveDue(ctx, w.lease)
	if err != nil {
		return err
	}
	if freed > 0 {
		w.log.InfoContext(ctx, "took what a replica that is gone had in hand back into the queue", "count", freed)
	}
	mine, err := w.turn(ctx, sweepTurnKey, sweepEvery)
	if err != nil || !mine {
		return err
	}
	if err := w.restore(ctx); err != nil {
		return err
	}
	if mine, err = w.turn(ctx, deepTurnKey, deepEvery); err != nil || !mine {
		return err
	}
	if err := w.trim(ctx); err != nil {
		return err
	}
	return w.reindex(ctx)
}

// trim takes out of the indexes of ended requests what is no longer kept.
func (w *Worker) trim(ctx context.Context) error {
	oldest := w.requests.clock().Add(-w.requests.keep - w.requests.patience - keepKeys)
	for _, key := range []string{indexKey, failedIndexKey} {
		if err := w.requests.rdb.ZRemRangeByLex(ctx, key, "-", "("+firstID(oldest)).Err(); err != nil {
			return err
		}
	}
	return nil
}

// measure shows how long the queue is.
func (w *Worker) measure(ctx context.Context) error {
	ready, delayed, err := w.queue.depth(ctx)
	if err == nil {
		w.metrics.ready.Set(float64(ready))
		w.metrics.delayed.Set(float64(delayed))
	}
	return err
}

// turn tells whether it is this process's turn to do what is done once per time.
func (w *Worker) turn(ctx context.Context, key string, every time.Duration) (bool, error) {
	err := w.requests.rdb.SetArgs(ctx, key, w.replica, redis.SetArgs{Mode: "NX", TTL: every}).Err()
	if isNil(err) {
		return false, nil
	}
	return err == nil, err
}

// restore looks at the next part of the index of active requests, so that its cost
// is the same however many wait. It gives each that wants a worker's attention a
// hint if it has none, lets those that waited too long expire, and takes what has
// ended out of the index.
func (w *Worker) restore(ctx context.Context) error {
	rdb := w.requests.rdb
	from, err := rdb.Get(ctx, sweepAtKey).Result()
	if err != nil && !isNil(err) {
		return err
	}
	if from == "" {
		from = "-"
	}
	members, err := rdb.ZRangeByLex(ctx, activeIndexKey, &redis.ZRangeBy{Min: from, Max: "+", Count: sweepPage}).Result()
	if err != nil {
		return err
	}
	next := "-"
	if len(members) == sweepPage {
		next = "(" + members[len(members)-1]
	}
	if next != from {
		if err := rdb.Set(ctx, sweepAtKey, next, 0).Err(); err != nil {
			return err
		}
	}
	if len(members) == 0 {
		return nil
	}
	lost, err := w.queue.lost(ctx, members)
	if err != nil {
		return err
	}
	var bare []entry
	for _, m := range members {
		if lost[m] {
			bare = append(bare, parseMember(m))
		}
	}
	found, err := w.requests.loadAll(ctx, "worker.restore", bare)
	if err != nil {
		return err
	}
	for i, r := range found {
		if err := w.restoreOne(ctx, bare[i], r); err != nil {
			return err
		}
	}
	return nil
}

// restoreOne sees to one entry of the index that has no hint; r is its record,
// or nil.
func (w *Worker) restoreOne(ctx context.Context, e entry, r *Request) error {
	now := w.requests.clock()
	switch {
	case r == nil && now.Sub(idTime(e.id)) < indexLead:
		return nil
	case r == nil || r.State.Ended():
		m := e.id
		if !e.env.IsZero() {
			m = member(e.id, e.env)
		}
		return w.requests.rdb.ZRem(ctx, activeIndexKey, m).Err()
	case r.State != StatePending:
		return w.queue.add(ctx, hintOf(r))
	case r.Outcome != nil && !r.Outcome.Again.IsZero():
		if now.Before(r.Outcome.Again) {
			return nil
		}
		return w.queue.add(ctx, hintOf(r)) // the look that was put down is lost
	case now.Sub(r.UpdatedAt) >= w.requests.patience:
		return w.expire(ctx, r)
	case len(r.Decisions) > 0:
		return w.queue.delay(ctx, hintOf(r), askAgain)
	}
	return nil
}

// expire ends r, which waited for decisions in vain.
func (w *Worker) expire(ctx context.Context, r *Request) error {
	full, err := w.requests.get(ctx, r.Order.Env, r.ID)
	if err != nil {
		return err
	}
	_, err = w.requests.move(ctx, full, change{to: StateExpired, edit: func(r *Request) {
		r.Reason = fmt.Sprintf("Nobody who could agree did so within %s; ask again.", w.requests.patience)
	}})
	if actions.CodeOf(err) == actions.CodeConflict {
		return nil // somebody decided in this moment
	}
	w.requests.nudge(ctx, r.Order.Env)
	return err
}

// reindex puts every active request that an environment knows of into the index
// of all environments.
func (w *Worker) reindex(ctx context.Context) error {
	scan := func(ctx context.Context, node redis.Cmdable) error {
		const page = 100 // Redis does nothing else meanwhile
		keys := node.Scan(ctx, 0, "berth:{*}:requests:active", page).Iterator()
		for keys.Next(ctx) {
			env, ok := envOf(keys.Val())
			if !ok {
				continue
			}
			ids, err := w.requests.rdb.ZRange(ctx, keys.Val(), 0, -1).Result()
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err := w.requests.rdb.ZAdd(ctx, activeIndexKey, redis.Z{Member: member(id, env)}).Err(); err != nil {
					return err
				}
			}
		}
		return keys.Err()
	}
	if cluster, ok := w.requests.rdb.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return scan(ctx, node) })
	}
	return scan(ctx, w.requests.rdb)
}

// envOf is the environment whose key this is: "berth:{shop/pr-42}:…".
func envOf(key string) (actions.Name, bool) {
	_, rest, _ := strings.Cut(key, "{")
	name, _, _ := strings.Cut(rest, "}")
	env, err := actions.ParseName(name)
	return env, err == nil
}
