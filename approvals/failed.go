package approvals

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
)

// failedIndexKey is indexKey of those that failed: what somebody should look at,
// and may retry.
const failedIndexKey = "berth:requests:failed"

// mostActive is how many requests one call of Active reads.
const mostActive = 10_000

// Active returns the requests of app that have not ended, the oldest first and
// without their plans; app "" means those of every app. It returns CodeConflict
// when there are more than 10,000, rather than some of them.
func (q *Requests) Active(ctx context.Context, app string) ([]*Request, error) {
	const op, page = "requests.active", 1000
	var active []*Request
	for from := "-"; ; {
		members, err := q.rdb.ZRangeByLex(ctx, activeIndexKey, &redis.ZRangeBy{Min: from, Max: "+", Count: page}).Result()
		if err != nil {
			return nil, redisError(op, err)
		}
		entries := make([]entry, 0, len(members))
		for _, m := range members {
			if e := parseMember(m); app == "" || e.env.App == app {
				entries = append(entries, e)
			}
		}
		found, err := q.loadAll(ctx, op, entries)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			if r != nil && !r.State.Ended() {
				active = append(active, r)
			}
		}
		if len(active) > mostActive {
			return nil, actions.Errorf(op, actions.CodeConflict, "More than %d requests have not ended; decide or cancel some.", mostActive)
		}
		if len(members) < page {
			return active, nil
		}
		from = "(" + members[len(members)-1]
	}
}

// Retry asks anew for what request id asked for, which failed: by gets a new
// request with the same order and command, but its commit, which is looked up
// again. A failed request is retried once, whoever asks: another retry of it
// returns the request that the first one made, or the one that was made when that
// was retried in turn. It returns CodeNotFound for an unknown id, CodeConflict for
// a request that did not fail and for one whose retry failed too, which is the one
// to retry, and what Submit returns.
func (q *Requests) Retry(ctx context.Context, id string, by Requester, place Place) (*Request, error) {
	const op = "requests.retry"
	if by.Actor == "" {
		return nil, actions.Errorf(op, actions.CodeInvalid, "Nobody is named who retries the request.")
	}
	r, err := q.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if r.State != StateFailed {
		return nil, actions.Errorf(op, actions.CodeConflict, "Request %s is %s; only a failed one is retried.", id, r.State)
	}
	if r.RetriedAs != "" {
		return q.latest(ctx, r)
	}
	again := Request{
		Order: r.Order, Command: r.Command, Requester: by, Place: place, DryRun: r.DryRun, Key: retryKey(id), RetryOf: id,
	}
	again.Order.By, again.Order.Identity, again.Order.Commit, again.Order.Components = by.Actor, by.Identity, actions.Commit{}, nil
	made, created, err := q.Submit(ctx, again)
	if err != nil || created {
		return made, err
	}
	r.RetriedAs = made.ID
	return q.latest(ctx, r)
}

// retryKey is the idempotency key of what asks anew for request id.
func retryKey(id string) string { return "retry:" + id }

// latest is what became of r, which was retried: the last of its retries. One that
// failed has to be retried itself.
func (q *Requests) latest(ctx context.Context, r *Request) (*Request, error) {
	last := r
	for last.RetriedAs != "" {
		next, err := q.get(ctx, r.Order.Env, last.RetriedAs)
		if err != nil {
			return nil, err
		}
		last = next
	}
	if last.State == StateFailed {
		return nil, actions.Errorf("requests.retry", actions.CodeConflict, "Request %s was retried already, and request %s, which that led to, failed too; retry %s.", r.ID, last.ID, last.ID)
	}
	return last, nil
}

// noteRetries fills in RetriedAs of those among found that failed; nil ones are
// passed over.
func (q *Requests) noteRetries(ctx context.Context, op string, found []*Request) error {
	failed := slices.DeleteFunc(slices.Clone(found), func(r *Request) bool { return r == nil || r.State != StateFailed })
	if len(failed) == 0 {
		return nil
	}
	ids := make([]*redis.StringCmd, len(failed))
	_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, r := range failed {
			ids[i] = p.Get(ctx, q.keyKey(&Request{Key: retryKey(r.ID), Order: actions.Order{Env: r.Order.Env}}))
		}
		return nil
	})
	if err != nil && !isNil(err) {
		return redisError(op, err)
	}
	for i, r := range failed {
		id, err := ids[i].Result()
		if err != nil && !isNil(err) {
			return redisError(op, err)
		}
		r.RetriedAs = id
	}
	return nil
}
