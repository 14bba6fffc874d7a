package approvals

import (
	"context"
	"fmt"

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
// again. The same retry of the same request by the same person, be it clicked
// twice, is one request. It returns CodeNotFound for an unknown id, CodeConflict
// for a request that did not fail, and what Submit returns.
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
	again := Request{
		Order: r.Order, Command: r.Command, Requester: by, Place: place, DryRun: r.DryRun,
		Key: fmt.Sprintf("retry:%s:%s:%s", id, by.Identity, by.Actor),
	}
	again.Order.By, again.Order.Identity, again.Order.Commit = by.Actor, by.Identity, actions.Commit{}
	made, _, err := q.Submit(ctx, again)
	return made, err
}
