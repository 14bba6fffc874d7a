package approvals

import (
	"context"

	"github.com/berth-dev/berth/actions"
)

// Names that tests reach past what others may use.

func (q *Requests) Move(ctx context.Context, r *Request, to State, lease *actions.Lease) (*Request, error) {
	return q.move(ctx, r, change{to: to, lease: lease})
}

// Force writes a record as it is.
func (q *Requests) Force(ctx context.Context, r *Request) error {
	text, err := encode(r)
	if err != nil {
		return err
	}
	return q.rdb.Set(ctx, q.recordKey(r.Order.Env, r.ID), text, 0).Err()
}

const (
	QueueKey       = queueKey
	DelayedKey     = delayedKey
	ActiveIndexKey = activeIndexKey
	Group          = group
)

var Supersedes = supersedes
