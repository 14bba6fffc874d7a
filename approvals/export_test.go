package approvals

import (
	"context"

	"github.com/berth-dev/berth/actions"
)

// Names that tests reach past what others may use.

// StopLook is how often a worker looks whether what it runs is to stop.
const StopLook = stopLook

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

// TakeOne has replica take a hint, and tells whether there was one.
func (q *Requests) TakeOne(ctx context.Context, replica string) (bool, error) {
	hints, err := q.queue.take(ctx, replica, 1)
	return len(hints) > 0, err
}

// Enqueued waits until what was enqueued is in the queue.
func (q *Requests) Enqueued(ctx context.Context) error {
	for {
		q.queue.mu.Lock()
		putting := q.queue.putting
		q.queue.mu.Unlock()
		if !putting {
			return ctx.Err()
		}
		if _, _, err := q.queue.depth(ctx); err != nil { // goes after what is under way
			return err
		}
	}
}

const (
	ReadyKey       = readyKey
	LaterKey       = laterKey
	HeldKey        = heldKey
	WorkersKey     = workersKey
	ActiveIndexKey = activeIndexKey
)

var Supersedes = supersedes

// Die has what is submitted from now on given to a worker of this process, replica,
// that does nothing with it: what a process leaves that dies in this moment.
func (q *Requests) Die(ctx context.Context, replica string) error {
	q.queue.near.Store(&near{replica: replica, seat: func() bool { return true }, leave: func() {}, hand: func(*Request) bool { return true }})
	q.queue.open.Store(true)
	return q.queue.seen(ctx, replica)
}

// Near tells whether what is submitted now goes straight to a worker of this process.
func (q *Requests) Near() bool { return q.queue.near.Load() != nil && q.queue.open.Load() }

// End ends r, which is running, as its worker does.
func (q *Requests) End(ctx context.Context, r *Request, to State, lease *actions.Lease) (*Request, error) {
	next, _, err := q.end(ctx, r, change{to: to, lease: lease})
	return next, err
}
