package approvals

import (
	"context"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

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

// Decide adds a decision to a pending request and asks the policy what it makes
// of it: the decision, its effect (the request is released, denied, or waits on)
// and the audit record are one atomic change. Who decided before and decides
// again changes their mind.
//
// It returns CodeForbidden, with who can decide, for a decision that no rule
// counts; that is audited and nothing else changes. It returns CodeConflict when
// the request is not pending, CodeStale when d.Digest is given and is not what
// would run now, CodeNotFound for an unknown id, CodeInvalid for a decision that is
// none, and the policy's own error when it cannot tell at all.
// When the policy could not see something just now, the decision is kept and
// weighed later: the request that is returned is still pending.
func (q *Requests) Decide(ctx context.Context, id string, d Decision) (*Request, error) {
	const op = "requests.decide"
	switch {
	case d.Verdict != Approve && d.Verdict != Deny:
		return nil, actions.Errorf(op, actions.CodeInvalid, "A decision is %q or %q.", Approve, Deny)
	case d.By.Actor == "":
		return nil, actions.Errorf(op, actions.CodeInvalid, "Nobody is named who decides.")
	case len(d.Reason) > maxText:
		return nil, actions.Errorf(op, actions.CodeInvalid, "The reason is longer than %d bytes.", maxText)
	case d.BreakGlass && (d.Verdict != Approve || strings.TrimSpace(d.Reason) == ""):
		return nil, actions.Errorf(op, actions.CodeInvalid, "Breaking the glass is an approve with a reason, which everybody will read.")
	}
	return q.retry(ctx, id, func(r *Request) (*Request, error) {
		switch {
		case r.State.Ended():
			return nil, ended(op, r)
		case r.State == StatePlanning:
			return nil, actions.Errorf(op, actions.CodeConflict, "Request %s is still being planned; decide once it shows what would change.", id)
		case r.State != StatePending:
			return nil, actions.Errorf(op, actions.CodeConflict, "Request %s is %s already; there is nothing to decide.", id, r.State)
		case d.Digest != "" && d.Digest != r.Digest:
			return nil, actions.Errorf(op, actions.CodeStale, "Request %s was planned again since that was decided: what would run now is something else. Look at it, and decide again.", id)
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
	if i := slices.IndexFunc(r.Decisions, same); i >= 0 && r.Decisions[i].Verdict == d.Verdict && r.Decisions[i].BreakGlass == d.BreakGlass {
		return r, nil // the same click again
	}
	decided := *r
	decided.Decisions = append(slices.DeleteFunc(slices.Clone(r.Decisions), same), d)
	if d.BreakGlass {
		decided.Glass = &Glass{By: d.By, Reason: d.Reason, At: d.At, Digest: d.Digest}
	}
	outcome, err := q.weigh(ctx, &decided)
	switch {
	case err != nil && (d.BreakGlass || !actions.Retryable(err) && actions.CodeOf(err) != actions.CodeUnavailable):
		return nil, err // nobody breaks the glass before it is known that they may
	case err != nil:
		q.log.WarnContext(ctx, "a decision is kept and weighed later", "request_id", r.ID, "actor", d.By.Actor, "error", err)
		outcome = Outcome{Effect: EffectApprove, Reason: actions.Message(err), Again: d.At.Add(weighAgain)}
		if r.Outcome != nil {
			outcome.Rules = r.Outcome.Rules
		}
	default:
		if d.Verdict == Deny && !outcome.weighs() && outcome.Effect != EffectRefuse {
			outcome.Effect = EffectDeny // nobody's approval is asked for by rule; a no is a no
		}
		if err := q.uncounted(ctx, r, d, &outcome); err != nil {
			return nil, err
		}
	}
	c := decisionChange(d, &decided, outcome)
	next, err := q.move(ctx, r, c)
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	switch {
	case next.State.Ended():
		q.nudge(ctx, r.Order.Env)
	case next.State == StateReleased:
		q.enqueue(next)
	default:
		q.again(ctx, next, next.Outcome)
	}
	return next, nil
}

// decisionChange is the change that d makes, of which outcome came.
func decisionChange(d Decision, decided *Request, outcome Outcome) change {
	c := obey(outcome)
	obeyed := c.edit
	c.by, c.place = d.By, d.Place
	c.edit = func(next *Request) {
		next.Decisions, next.Glass = decided.Decisions, decided.Glass
		obeyed(next)
		if outcome.Effect == EffectDeny {
			next.Reason = saidBy("Denied", d.By, d.Reason)
		}
	}
	switch {
	case d.BreakGlass:
		c.kind = kindGlass
	case d.Verdict == Approve:
		c.kind = "request.approved"
	case outcome.Effect == EffectDeny:
		c.kind = "request.denied"
	default:
		c.kind = "request.objected"
	}
	if d.Reason != "" {
		c.why["reason"] = d.Reason
	}
	return c
}

// uncounted says why d counts for no rule, nil when it does. That somebody tried
// is audited.
func (q *Requests) uncounted(ctx context.Context, r *Request, d Decision, o *Outcome) error {
	const op = "requests.decide"
	msg := ""
	broken := o.broken()
	if counts, why := o.Counts(d.By.Identity); !counts && (!d.BreakGlass || !broken) {
		msg = fmt.Sprintf("%s's decision on request %s does not count: %s.", d.By.Actor, r.ID, strings.TrimSuffix(why, "."))
	}
	if d.BreakGlass && !broken {
		msg = fmt.Sprintf("%s cannot break the glass for request %s: no rule that it waits for lets them.", d.By.Actor, r.ID)
	}
	if msg == "" {
		return nil
	}
	if o.Reason != "" {
		msg += " " + o.Reason
	}
	c := change{
		to: r.State, by: d.By, place: d.Place, kind: "request.decision_refused", edit: func(*Request) {},
		why: map[string]string{"decision": string(d.Verdict), "reason": msg},
	}
	// The request itself stays as it is, so that who tries over and over neither
	// fills the audit nor is in the way of those who can decide.
	rec := c.record(r, r.State)
	rec.Time = q.clock()
	delete(rec.Detail, "from")
	delete(rec.Detail, "to")
	if err := q.store.Refused(ctx, r.Order.Env, rec); err != nil {
		return err
	}
	return actions.Errorf(op, actions.CodeForbidden, "%s", msg)
}

// weighAgain is how long after a policy could not see something it is asked anew.
const weighAgain = 15 * time.Second

// again has r, which is pending, looked at when time alone may change o, what its
// policy said last. The sweeper does it when this fails.
func (q *Requests) again(ctx context.Context, r *Request, o *Outcome) {
	if o == nil || o.Again.IsZero() {
		return
	}
	if err := q.queue.delay(ctx, hintOf(r), max(0, o.Again.Sub(q.clock()))); err != nil {
		q.log.WarnContext(ctx, "a look at a waiting request was not put down; the sweeper will see to it", "request_id", r.ID, "error", err)
	}
}

// retry reads a request and calls try with it, again when somebody else changed
// it in between. Those of this process go one after another, so that many who
// decide in the same moment need not try often; those of others are given way to.
func (q *Requests) retry(ctx context.Context, id string, try func(*Request) (*Request, error)) (*Request, error) {
	turn := q.turns[crc32.ChecksumIEEE([]byte(id))%uint32(len(q.turns))]
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return nil, redisError("requests.retry", ctx.Err())
	}
	defer func() { <-turn }()
	for n := 1; ; n++ {
		if n > 1 {
			wait(ctx, backoff(n, time.Millisecond, 50*time.Millisecond))
		}
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
			q.enqueue(r)
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
