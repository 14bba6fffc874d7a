package approvals

import (
	"context"

	"github.com/berth-dev/berth/actions"
)

// near is a worker of the same process. What was submitted here while nothing
// waits in the queue and the worker has room is given to it without going through
// the queue, which is only told that it is in the worker's hands: a crash is then
// found as that of any worker. When something waits, the queue says who is next.
type near struct {
	replica string
	seat    func() bool // takes a slot if there is room
	leave   func()      // gives the slot back
	// hand gives r to the worker, in the slot that was taken; false when it has
	// stopped, and then the slot is given back.
	hand func(r *Request) bool
}

// spare is the worker of this process with a slot taken for what is about to be
// stored, or nil.
func (q *queue) spare() *near {
	n := q.near.Load()
	if n == nil || !q.open.Load() || !n.seat() {
		return nil
	}
	return n
}

// holds is the command by which n has h in its hands.
func (n *near) holds(ctx context.Context, h hint) *actions.Member {
	return actions.NewMember(ctx, "sadd", heldKey+n.replica, h.String())
}

// offer lets what is submitted in this process come to w at once, until the
// returned function is called.
func (w *Worker) offer(work context.Context) (end func()) {
	n := &near{
		replica: w.replica,
		seat: func() bool {
			return len(w.plans.seats) < cap(w.plans.seats) && len(w.runs.seats) < cap(w.runs.seats) && w.slotNow()
		},
		leave: func() { <-w.slots },
		hand: func(r *Request) bool {
			mine := *r // the other one is its submitter's
			return w.begin(work, &job{hint: hintOf(r), known: &mine})
		},
	}
	w.queue.near.Store(n)
	return func() { w.queue.near.CompareAndSwap(n, nil) }
}
