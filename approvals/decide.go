package approvals

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
)

// moveTries bounds how often a change is tried anew after somebody else changed
// the same request first. Each time the request has come closer to its end.
const moveTries = 20

// Cancel withdraws a waiting request at once. A running one is asked to stop: it
// stays running, with Stop set, until the worker that runs it has stopped, which
// it begins within a second. It returns CodeNotFound for an unknown id and
// CodeConflict for a request that ended in another way; one that is cancelled
// already, or asked to stop, is success.
func (q *Requests) Cancel(ctx context.Context, id string, by Requester, reason string) (*Request, error) {
	const op = "requests.cancel"
	if by.Actor == "" {
		return nil, actions.Errorf(op, actions.CodeInvalid, "Nobody is named who cancels the request.")
	}
	if len(reason) > maxText {
		return nil, actions.Errorf(op, actions.CodeInvalid, "The reason is longer than %d bytes.", maxText)
	}
	return q.retry(ctx, id, func(r *Request) (*Request, error) {
		switch {
		case r.State == StateCancelled, r.State == StateRunning && r.Stop != nil:
			return r, nil
		case r.State.Ended():
			return nil, ended(op, r)
		case r.State == StateRunning:
			return q.move(ctx, r, change{
				to: StateRunning, by: by, kind: "request.stop", why: map[string]string{"reason": reason},
				edit: func(r *Request) { r.Stop = &Stop{By: by, Reason: reason, At: q.clock()} },
			})
		}
		next, err := q.move(ctx, r, change{
			to: StateCancelled, by: by,
			edit: func(r *Request) { r.Reason = saidBy("Cancelled", by, reason) },
		})
		if err == nil {
			q.nudge(context.WithoutCancel(ctx), r.Order.Env)
		}
		return next, err
	})
}

// Decide adds a decision to a pending request. A deny ends it. After an approve
// the policy is asked again, by a worker, whether that was enough: the request
// that is returned is still pending, and released a moment later if it was. Who
// decided before and decides again changes their mind.
//
// It returns CodeConflict when the request is not pending, CodeNotFound for an
// unknown id and CodeInvalid for a decision that is none.
func (q *Requests) Decide(ctx context.Context, id string, d Decision) (*Request, error) {
	const op = "requests.decide"
	switch {
	case d.Verdict != Approve && d.Verdict != Deny:
		return nil, actions.Errorf(op, actions.CodeInvalid, "A decision is %q or %q.", Approve, Deny)
	case d.By.Actor == "":
		return nil, actions.Errorf(op, actions.CodeInvalid, "Nobody is named who decides.")
	case len(d.Reason) > maxText:
		return nil, actions.Errorf(op, actions.CodeInvalid, "The reason is longer than %d bytes.", maxText)
	}
	return q.retry(ctx, id, func(r *Request) (*Request, error) {
		switch {
		case r.State.Ended():
			return nil, ended(op, r)
		case r.State == StatePlanning:
			return nil, actions.Errorf(op, actions.CodeConflict, "Request %s is still being planned; decide once it shows what would change.", id)
		case r.State != StatePending:
			return nil, actions.Errorf(op, actions.CodeConflict, "Request %s is %s already; there is nothing to decide.", id, r.State)
		}
		return q.decide(ctx, r, d)
	})
}

// decide makes d on r, which is pending.
func (q *Requests) decide(ctx context.Context, r *Request, d Decision) (*Request, error) {
	d.At, d.Digest = q.clock(), r.Digest
	same := func(other Decision) bool {
		return other.By.Actor == d.By.Actor && other.By.Identity == d.By.Identity
	}
	if i := slices.IndexFunc(r.Decisions, same); i >= 0 && r.Decisions[i].Verdict == d.Verdict {
		return r, nil // the same click again
	}
	c := change{
		to: StatePending, by: d.By, place: d.Place, kind: "request.approved",
		edit: func(next *Request) {
			next.Decisions = append(slices.DeleteFunc(slices.Clone(r.Decisions), same), d)
		},
	}
	if d.Reason != "" {
		c.why = map[string]string{"reason": d.Reason}
	}
	if d.Verdict == Deny {
		add := c.edit
		c.to, c.kind = StateDenied, ""
		c.edit = func(next *Request) {
			add(next)
			next.Reason = saidBy("Denied", d.By, d.Reason)
		}
	}
	next, err := q.move(ctx, r, c)
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	if d.Verdict == Deny {
		q.nudge(ctx, r.Order.Env)
	} else {
		q.enqueue(ctx, next)
	}
	return next, nil
}

// retry reads a request and calls try with it, again when somebody else changed
// it in between.
func (q *Requests) retry(ctx context.Context, id string, try func(*Request) (*Request, error)) (*Request, error) {
	for n := 1; ; n++ {
		r, err := q.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		next, err := try(r)
		if err == nil || n == moveTries || actions.CodeOf(err) != actions.CodeConflict || !actions.Retryable(err) {
			return next, err
		}
	}
}

// ended says that r has come to its end.
func ended(op string, r *Request) error {
	msg := fmt.Sprintf("Request %s has ended already: %s.", r.ID, r.State)
	if r.Reason != "" {
		msg += " " + r.Reason
	}
	return actions.Errorf(op, actions.CodeConflict, "%s", msg)
}

// saidBy is "Denied by ana: too late in the day."
func saidBy(what string, by Requester, reason string) string {
	text := what + " by " + by.Actor
	if reason = strings.TrimSpace(reason); reason == "" {
		return text + "."
	}
	text += ": " + reason
	if strings.ContainsAny(text[len(text)-1:], ".!?") {
		return text
	}
	return text + "."
}

// nudge queues a hint for the request of env that may run next, so that it need
// not wait for the sweeper after what stood before it is out of its way.
func (q *Requests) nudge(ctx context.Context, env actions.Name) {
	standing, err := q.standing(ctx, env)
	if err != nil {
		q.log.WarnContext(ctx, "the next request was not called; the sweeper will see to it", "env", env.String(), "error", err)
		return
	}
	for _, r := range standing {
		if r.State == StateReleased && before(standing, r) == nil {
			q.enqueue(ctx, r)
			return
		}
	}
}

// before is the request of standing that r must let go first, or nil: those of
// an environment run in the order in which they came. One that waits for
// decisions holds nobody up; once it is released its turn is next.
func before(standing []*Request, r *Request) *Request {
	for _, other := range standing {
		if other.ID == r.ID {
			return nil
		}
		if other.State != StatePending && !other.DryRun {
			return other
		}
	}
	return nil
}
