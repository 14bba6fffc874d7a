package approvals

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/berth-dev/berth/actions"
)

const (
	// planTries is how often planning is tried when something does not answer:
	// for about 15 s, since somebody waits for the answer.
	planTries = 5
	// planWithin is how long planning may take before it counts as not answering:
	// time to fetch a repository and a chart over a slow line.
	planWithin = 2 * time.Minute
	// runTries is how often a run is taken up again in a row when it could not
	// be brought to an end: for some minutes, since nobody else will do it.
	runTries = 20
	// maxReplans is how often a request is planned again because what would run
	// is no longer what was planned.
	maxReplans = 3
	// turnWait is how long a released request waits before it looks again
	// whether its environment is free. Whoever frees it calls the next one, so
	// that this is for when that call was lost.
	turnWait = time.Second
	// firstRetry and lastRetry bound the wait between tries.
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// step is what one step of a request's way led to: the request as it is now, to
// go on with, or nil when it needs nothing more for now.
type step struct {
	next  *Request
	after verdict
}

// attend brings the request that h names as far as it gets. r is that request, or
// nil when it is to be read first.
func (w *Worker) attend(work context.Context, h hint, r *Request) verdict {
	conflicts := 0
	var err error
	if r == nil {
		r, err = w.requests.get(work, h.env, h.id)
	}
	for {
		if w.stopping.Load() || work.Err() != nil {
			return verdict{now: true}
		}
		if err == nil {
			var s step
			if s, err = w.advance(work, r, h.tries); err == nil {
				if s.next == nil {
					return s.after
				}
				if s.next.State != r.State {
					h.tries = 0
				}
				r = s.next
				continue
			}
		}
		switch code := actions.CodeOf(err); {
		case work.Err() != nil: // seen to above
		case code == actions.CodeNotFound:
			return verdict{} // its record is gone: it was never stored, or is no longer kept
		case code == actions.CodeConflict && conflicts < moveTries:
			conflicts++ // somebody changed it: look at what it is now
			r, err = w.requests.get(work, h.env, h.id)
		default:
			w.log.WarnContext(work, "a request could not be seen to and is tried again", "request_id", h.id, "env", h.env.String(), "error", err)
			return verdict{later: backoff(h.tries, firstRetry, lastRetry), tries: h.tries + 1}
		}
	}
}

// advance makes the next step of r.
func (w *Worker) advance(work context.Context, r *Request, tries int) (step, error) {
	switch r.State {
	case StatePlanning:
		return w.plan(work, r, tries)
	case StatePending:
		return w.evaluate(work, r, tries)
	case StateReleased:
		return w.start(work, r, tries)
	case StateRunning:
		return w.resume(work, r, tries)
	default:
		return step{}, nil
	}
}

// plan has r's plan made and asks the policy what it needs.
func (w *Worker) plan(work context.Context, r *Request, tries int) (step, error) {
	leave, in := w.plans.enter(w.room(r.Order), w.halt)
	if !in {
		return step{after: verdict{later: turnWait, tries: tries}}, nil
	}
	plan, err := w.callPlan(work, r.Order)
	leave()
	if err != nil {
		return w.planFailed(work, r, err, tries)
	}
	planned := *r
	planned.Plan, planned.Digest, planned.Order = plan, plan.Digest, placed(r.Order, plan.Order)
	planned.Changed = actions.Changed(r.Was, plan)
	if r.DryRun {
		return w.leave(work, r, change{to: StateSucceeded, edit: adoptPlan(&planned)})
	}
	outcome, err := w.requests.weigh(work, &planned)
	if err != nil {
		return w.planFailed(work, r, err, tries)
	}
	c := obey(outcome)
	if outcome.broken() {
		c.kind, c.by, c.place, c.why["reason"] = kindGlass, planned.Glass.By, planned.Place, planned.Glass.Reason
	}
	say := c.edit
	c.edit = func(r *Request) {
		adoptPlan(&planned)(r)
		say(r)
	}
	if places := w.placesOf(r); c.to == StateReleased && len(places.limits) == 0 {
		if s, began, err := w.beginNow(work, r, &c, places); began || err != nil {
			return s, err
		}
	}
	return w.leave(work, r, c)
}

// evaluate asks the policy again what r, which is pending, needs.
func (w *Worker) evaluate(work context.Context, r *Request, tries int) (step, error) {
	outcome, err := w.requests.weigh(work, r)
	if err != nil {
		return w.cannotTell(work, r, err, tries)
	}
	c := obey(outcome)
	if c.to == StatePending {
		if c.kind = news(r.Outcome, outcome); c.kind == "" { // nothing new: the next decision, or Again, brings the next hint
			w.requests.again(work, r, &outcome)
			return step{}, nil
		}
	}
	return w.leave(work, r, c)
}

// cannotTell is what becomes of r, which waits, when the policy could not say
// what it needs: it waits on, and says why.
func (w *Worker) cannotTell(work context.Context, r *Request, err error, tries int) (step, error) {
	w.log.WarnContext(work, "the policy could not tell", "request_id", r.ID, "error", err)
	after := step{after: verdict{later: backoff(tries, firstRetry, lastRetry), tries: tries + 1}}
	msg := actions.Message(err)
	if r.Reason == msg && r.State == StatePending {
		return after, nil
	}
	_, err = w.requests.move(work, r, change{to: StatePending, kind: "request.policy_failed", edit: func(r *Request) { r.Reason = msg }})
	return after, err
}

// recheck asks the policy once more about r, which is released and about to
// run: it may be another policy than the one that released it, or an approver
// may have lost the role. It returns nil when r may run.
func (w *Worker) recheck(work context.Context, r *Request, tries int) (*step, error) {
	outcome, err := w.requests.weigh(work, r)
	if err != nil {
		s, err := w.cannotTell(work, r, err, tries)
		return &s, err
	}
	if outcome.Effect == EffectRelease {
		return nil, nil
	}
	w.log.InfoContext(work, "a released request is held back: the policy says otherwise now", "request_id", r.ID, "effect", outcome.Effect, "reason", outcome.Reason)
	c := obey(outcome)
	c.kind = "request.held_back"
	s, err := w.leave(work, r, c)
	return &s, err
}

// leave makes a change that takes r out of planning or pending, and calls the
// request that this lets go next, unless r itself goes on.
func (w *Worker) leave(work context.Context, r *Request, c change) (step, error) {
	next, err := w.requests.move(work, r, c)
	if err != nil {
		return step{}, err
	}
	w.log.InfoContext(work, "a request moved on", "request_id", r.ID, "env", r.Order.Env.String(), "from", r.State, "to", next.State)
	if next.State == StateReleased {
		return step{next: next}, nil
	}
	if next.State == StatePending {
		w.requests.again(context.WithoutCancel(work), next, next.Outcome)
	}
	w.requests.nudge(context.WithoutCancel(work), r.Order.Env)
	return step{}, nil
}

// planFailed is what becomes of r when its plan could not be made.
func (w *Worker) planFailed(work context.Context, r *Request, err error, tries int) (step, error) {
	if work.Err() != nil {
		return step{after: verdict{now: true}}, nil
	}
	code := actions.CodeOf(err)
	if (code == actions.CodeUnavailable || actions.Retryable(err)) && tries+1 < planTries {
		w.log.InfoContext(work, "planning is tried again", "request_id", r.ID, "try", tries+1, "error", err)
		return step{after: verdict{later: backoff(tries, firstRetry, 8*time.Second), tries: tries + 1}}, nil
	}
	if code == actions.CodeNotFound || code == actions.CodeConflict {
		// What came before it in its environment is not done: what is missing, or
		// in the way, may not be in a moment.
		standing, errStanding := w.requests.standing(work, r.Order.Env)
		if errStanding == nil && tries+1 < planTries && before(standing, r) != nil {
			return step{after: verdict{later: backoff(tries, firstRetry, 8*time.Second), tries: tries + 1}}, nil
		}
	}
	w.log.WarnContext(work, "planning failed", "request_id", r.ID, "code", code, "error", err)
	c := change{to: StateFailed, edit: func(r *Request) { r.Reason, r.Code = actions.Message(err), code }}
	switch code {
	case actions.CodeInvalid, actions.CodeNotFound, actions.CodeForbidden, actions.CodeUnauthenticated, actions.CodeConflict:
		c.to = StateRefused
	}
	return w.leave(work, r, c)
}

// adoptPlan takes over what planning found.
func adoptPlan(planned *Request) func(*Request) {
	return func(r *Request) {
		r.Plan, r.Digest, r.Order = planned.Plan, planned.Digest, placed(r.Order, planned.Order)
		r.Changed, r.Was = planned.Changed, nil
	}
}

// placed is o with what planning found out: the commits and the cluster.
func placed(o, planned actions.Order) actions.Order {
	o.Commit, o.Components, o.Placed = planned.Commit, planned.Components, planned.Placed
	return o
}

// callPlan is Floor.Plan, whose panics are failures.
func (w *Worker) callPlan(work context.Context, order actions.Order) (plan *actions.Plan, err error) {
	defer w.recovered(work, "plan", &err)
	slow := actions.Errorf("worker.plan", actions.CodeUnavailable, "Planning took longer than %s; something that it asks does not answer.", planWithin)
	ctx, cancel := context.WithTimeoutCause(work, planWithin, slow)
	defer cancel()
	plan, err = w.floor.Plan(ctx, order, false)
	if err != nil && errors.Is(context.Cause(ctx), slow) {
		err = slow
	}
	if err == nil && (plan == nil || plan.Digest == "") {
		err = actions.Errorf("worker.plan", actions.CodeInternal, "Planning gave no plan.")
	}
	return plan, err
}

// callRun is Floor.Run, whose panics are failures.
func (w *Worker) callRun(ctx context.Context, lease *actions.Lease, req actions.RunRequest) (run *actions.Run, err error) {
	defer w.recovered(ctx, "run", &err)
	run, err = w.floor.Run(ctx, lease, req)
	if err == nil && run == nil {
		err = actions.Errorf("worker.run", actions.CodeInternal, "The run left no record.")
	}
	return run, err
}

// recovered, deferred, turns a panic into an error. One request meets the bug;
// the others go on.
func (w *Worker) recovered(ctx context.Context, what string, err *error) {
	if p := recover(); p != nil {
		w.log.ErrorContext(ctx, "panic", "in", what, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = actions.Wrap("worker."+what, actions.CodeInternal, fmt.Errorf("panic: %v", p), "A bug in Berth stopped this; its log says where.")
	}
}
