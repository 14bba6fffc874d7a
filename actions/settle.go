package actions

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

const (
	// settleLease is how long Settle holds an environment at most.
	settleLease = 15 * time.Second
	// settleSlack is how long after a run's deadline somebody may still go on with
	// it, where nobody can say whether its request has ended: a worker that takes
	// it up then stops it, and takes back what it did.
	settleSlack = time.Hour
)

// Settle sees to an environment that an action left in the middle and that
// nobody will go on with: no worker holds it, and the request has ended
// (RunnerOptions.RequestEnded) or, where that cannot be told, the run's deadline
// is long over. Its run becomes a failed one, its state what the table says of a
// failed action, and the audit says "environment.settled". It reports whether
// it changed anything; an environment that is in order is left alone.
//
// It returns CodeNotFound for an environment that is not there, and
// CodeUnavailable when Redis, or whoever knows requests, did not answer.
func (r *Runner) Settle(ctx context.Context, name Name) (changed bool, err error) {
	env, err := r.store.Environment(ctx, name)
	if err != nil || !env.leftOpen() {
		return false, err
	}
	lease, err := r.store.Acquire(ctx, name, "settle", settleLease)
	if CodeOf(err) == CodeConflict {
		return false, nil // somebody is at it
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = lease.Release(context.WithoutCancel(ctx)) }() // it runs out by itself
	for try := 1; ; try++ {
		changed, err = r.settle(ctx, lease)
		if CodeOf(err) != CodeConflict || try == saveTries {
			return changed, err
		}
	}
}

// leftOpen tells whether an action has env, or says so.
func (e *Environment) leftOpen() bool { return e.State.Pending() || e.RunID != "" }

// settle is Settle once the environment is ours.
func (r *Runner) settle(ctx context.Context, lease *Lease) (bool, error) {
	const why = "It was left in the middle, and nobody went on with it, so that nobody can say how far it came; look at what is there, and deploy it again or clean it up."
	s := r.store
	env, err := s.Environment(ctx, lease.Env)
	if err != nil || !env.leftOpen() {
		return false, err
	}
	run, err := s.run(ctx, env.Name, env.RunID)
	if err != nil {
		return false, err
	}
	now := r.clock()
	if run != nil && run.State == RunRunning {
		if over, err := r.abandoned(ctx, run, now); err != nil || !over {
			return false, err
		}
	}
	from := env.State
	env.State = settled(env.State)
	rec := Record{Kind: "environment.settled", RunID: env.RunID, Detail: map[string]string{"from": string(from), "error": why}}
	c := saving{env: env, token: lease.Token}
	if run != nil {
		if to, ok := next(from, run.Order.Verb, Failed); ok {
			env.State = to
		}
		rec.Actor, rec.Identity, rec.RequestID, rec.Digest = run.Order.By, run.Order.Identity, run.RequestID, run.Digest
	}
	if run != nil && run.State == RunRunning {
		run.State, run.Code, run.EndedAt = RunFailed, CodeInternal, now
		if run.Error != "" {
			run.Error += " "
		}
		run.Error += why
		cancelWaiting(run, now)
		env.LastAction = lastAction(run)
		c.run, c.app = run, "-"
		c.events = []Event{{Time: now, Kind: EventRun, State: string(RunFailed), Text: why}}
	}
	env.RunID = ""
	rec.Detail["state"], rec.Detail["lease"] = string(env.State), strconv.FormatInt(lease.Token, 10)
	c.rec = rec
	if err := s.save(ctx, env.Name, c); err != nil {
		return false, err
	}
	r.log.WarnContext(ctx, "an environment that was left in the middle was settled", "env", env.Name.String(), "run_id", rec.RunID, "from", from, "state", env.State)
	return true, nil
}

// abandoned tells whether nobody will go on with a run that has not ended.
func (r *Runner) abandoned(ctx context.Context, run *Run, now time.Time) (bool, error) {
	if r.requestEnded == nil || run.RequestID == "" {
		return !run.Deadline.IsZero() && now.After(run.Deadline.Add(settleSlack)), nil
	}
	over, err := r.requestEnded(ctx, run.Order.Env, run.RequestID)
	if err != nil {
		return false, typed("run.settle", CodeUnavailable, err, fmt.Sprintf("Nobody could say whether request %s has ended.", clip(run.RequestID)))
	}
	return over, nil
}
