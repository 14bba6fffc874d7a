package approvals

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
)

// stopLook is how often a worker looks whether somebody wants what it runs to stop.
const stopLook = 400 * time.Millisecond

// start runs r, which is released, if it is its turn.
func (w *Worker) start(work context.Context, r *Request, tries int) (step, error) {
	if held, err := w.recheck(work, r, tries); held != nil || err != nil {
		return *cmp.Or(held, &step{}), err
	}
	in, full, err := w.admit(work, r)
	if err != nil {
		return step{}, err
	}
	if full != "" {
		w.log.DebugContext(work, "a request waits for room", "request_id", r.ID, "limit", full)
		return step{after: verdict{later: turnWait, tries: tries}}, nil
	}
	defer w.dismiss(work, in)
	if s, began, err := w.beginNow(work, r, nil, in); began || err != nil {
		return s, err
	}
	standing, err := w.requests.standing(work, r.Order.Env)
	if err != nil {
		return step{}, err
	}
	for i := len(standing) - 1; i >= 0 && standing[i].ID != r.ID; i-- {
		if !supersedes(standing[i], r) {
			continue
		}
		if _, err := w.requests.supersede(work, r, standing[i]); err != nil {
			return step{}, err
		}
		w.requests.nudge(work, r.Order.Env)
		return step{}, nil
	}
	if before(standing, r) != nil {
		return step{after: verdict{later: turnWait}}, nil
	}
	leave, seated := w.runs.enter(w.room(r.Order), w.halt)
	if !seated {
		return step{after: verdict{later: turnWait, tries: tries}}, nil
	}
	defer leave()
	asked := time.Now()
	lease, err := w.store.Acquire(work, r.Order.Env, w.holder, w.lease)
	if actions.CodeOf(err) == actions.CodeConflict {
		return step{after: verdict{later: turnWait}}, nil
	}
	if err != nil {
		return step{}, err
	}
	h := &held{Lease: lease, asked: asked, in: in}
	defer w.release(work, h)
	run := w.runChange()
	run.lease = lease
	next, err := w.requests.move(work, r, run)
	if err != nil {
		return step{}, err
	}
	w.metrics.started(next)
	return w.execute(work, next, h, 0)
}

// resume carries on with r, which is running, if nobody does.
func (w *Worker) resume(work context.Context, r *Request, tries int) (step, error) {
	leave, seated := w.runs.enter(w.room(r.Order), w.halt)
	if !seated {
		return step{after: verdict{later: turnWait, tries: tries}}, nil
	}
	defer leave()
	asked := time.Now()
	lease, err := w.store.Acquire(work, r.Order.Env, w.holder, w.lease)
	if actions.CodeOf(err) == actions.CodeConflict {
		// Somebody runs it, who keeps a hint of their own; or did, and the
		// sweeper asks again until the lease has run out.
		return step{}, nil
	}
	if err != nil {
		return step{}, err
	}
	in := w.placesOf(r)
	w.stay(work, in)
	defer w.dismiss(work, in)
	h := &held{Lease: lease, asked: asked, in: in}
	defer w.release(work, h)
	// It may have ended between the look that found it running and the lease.
	now, err := w.requests.get(work, r.Order.Env, r.ID)
	if err != nil {
		return step{}, err
	}
	if now.State != StateRunning {
		return step{next: now}, nil
	}
	w.log.InfoContext(work, "taking a run over", "request_id", r.ID, "run_id", r.RunID, "env", r.Order.Env.String())
	return w.execute(work, now, h, tries)
}

// release gives a lease back, even when work has to stop, and calls the request
// that waits for it.
func (w *Worker) release(work context.Context, lease *held) {
	if lease.back {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(work), stopWithin)
	defer cancel()
	if err := lease.Release(ctx); err != nil {
		w.log.WarnContext(ctx, "a lease was not given back; it will run out", "env", lease.Env.String(), "error", err)
		return
	}
	w.requests.nudge(ctx, lease.Env)
}

// held is a lease and when it was asked for, on this process's clock: it holds
// for its time from then on at least.
type held struct {
	*actions.Lease
	asked time.Time
	in    *admitted
	back  bool // it was given back together with the end of what ran
}

// execute has r, which is running, brought to its end under lease.
func (w *Worker) execute(work context.Context, r *Request, lease *held, tries int) (step, error) {
	life, lose := context.WithCancelCause(work)
	ctx, stop := actions.Stoppable(life)
	unwatch := w.watched(context.WithoutCancel(work), lose, stop, r, lease)
	began := time.Now()
	run, err := w.callRun(ctx, lease.Lease, runRequest(r))
	unwatch()
	lost := actions.CodeOf(context.Cause(life)) == actions.CodeFenced
	stop(nil)
	lose(nil)
	switch {
	case lost || actions.CodeOf(err) == actions.CodeFenced:
		w.log.WarnContext(work, "the lease of a run was lost; this worker stops", "request_id", r.ID, "run_id", r.RunID)
		return step{after: verdict{later: turnWait}}, nil
	case err == nil && run.State == actions.RunRunning:
		err = actions.Errorf("worker.run", actions.CodeInternal, "The run was left before its end.")
	}
	if err == nil {
		w.metrics.ran(r, run.State, time.Since(began))
		return w.finish(work, r, lease, outcomeOf(run))
	}
	return w.runFailed(work, r, lease, err, tries)
}

// runRequest is what the floor is told of r.
func runRequest(r *Request) actions.RunRequest {
	return actions.RunRequest{
		ID: r.RunID, RequestID: r.ID, Order: r.Order, Digest: r.Digest, Basis: basis(r),
		Origin: actions.Origin{Surface: r.Place.Surface, Address: r.Place.Address},
	}
}

func basis(r *Request) map[string]string {
	if r.Plan == nil {
		return nil
	}
	return r.Plan.Basis
}

// runFailed is what becomes of r when its run was not brought to an end.
func (w *Worker) runFailed(work context.Context, r *Request, lease *held, err error, tries int) (step, error) {
	code := actions.CodeOf(err)
	switch {
	case work.Err() != nil:
		return step{after: verdict{now: true}}, nil
	case code == actions.CodeStale:
		return w.replan(work, r, lease, err)
	case (code == actions.CodeUnavailable || actions.Retryable(err)) && tries+1 < runTries:
		w.log.WarnContext(work, "a run is taken up again", "request_id", r.ID, "run_id", r.RunID, "try", tries+1, "error", err)
		return step{after: verdict{later: backoff(tries, firstRetry, lastRetry), tries: tries + 1}}, nil
	}
	w.log.ErrorContext(work, "a run could not be brought to its end", "request_id", r.ID, "run_id", r.RunID, "code", code, "error", err)
	to := StateFailed
	if code == actions.CodeCancelled {
		to = StateCancelled
	}
	return w.finish(work, r, lease, change{to: to, edit: func(r *Request) {
		r.Reason, r.Code = actions.Message(err), code
		if to == StateCancelled && r.Stop != nil {
			r.Reason = saidBy("Stopped", r.Stop.By, r.Stop.Reason)
		}
	}})
}

// replan sends r back to be planned: what would run is not what was agreed on.
func (w *Worker) replan(work context.Context, r *Request, lease *held, cause error) (step, error) {
	if r.Replans >= maxReplans {
		return w.finish(work, r, lease, change{to: StateFailed, edit: func(r *Request) {
			r.Code = actions.CodeStale
			r.Reason = fmt.Sprintf("What would run kept changing while it was planned, %d times; ask again once it stands still. %s", r.Replans+1, actions.Message(cause))
		}})
	}
	next, err := w.requests.move(work, r, change{
		to: StatePlanning, lease: lease.Lease, kind: "request.replanned",
		edit: func(r *Request) {
			r.Replans++
			r.Reason = actions.Message(cause)
			r.Was = &actions.Plan{Digest: r.Digest, Order: actions.Order{Commit: r.Order.Commit}, Basis: basis(r)}
			r.Plan, r.Digest, r.RunID, r.Decisions, r.Outcome, r.Order.Commit, r.Order.Components = nil, "", "", nil, nil, actions.Commit{}, nil
			if r.Glass != nil && r.Glass.Digest != "" {
				r.Glass = nil
			}
		},
		why: map[string]string{"digest": r.Digest, "run": r.RunID},
	})
	if err != nil {
		return step{}, err
	}
	return step{next: next}, nil
}

// finish ends r.
func (w *Worker) finish(work context.Context, r *Request, lease *held, c change) (step, error) {
	c.lease = lease.Lease
	ctx, cancel := context.WithTimeout(context.WithoutCancel(work), stopWithin)
	defer cancel()
	for n := 1; ; n++ {
		next, others, err := w.requests.end(ctx, r, c)
		if err == nil {
			if lease.back = true; others {
				w.requests.nudge(ctx, r.Order.Env)
			}
			w.log.InfoContext(ctx, "a request ended", "request_id", r.ID, "run_id", r.RunID, "env", r.Order.Env.String(), "state", next.State, "reason", next.Reason)
			return step{}, nil
		}
		if actions.CodeOf(err) != actions.CodeConflict || n == moveTries {
			return step{}, err
		}
		// Somebody asked it to stop in the moment in which it ended.
		now, err := w.requests.get(ctx, r.Order.Env, r.ID)
		if err != nil {
			return step{}, err
		}
		if now.State != StateRunning || now.RunID != r.RunID {
			return step{}, nil
		}
		r = now
	}
}

// outcomeOf is the end of a request whose run ended.
func outcomeOf(run *actions.Run) change {
	switch run.State {
	case actions.RunSucceeded:
		return change{to: StateSucceeded, edit: func(r *Request) { r.Reason, r.Left, r.Code = "", "", "" }}
	case actions.RunCancelled:
		return change{to: StateCancelled, edit: func(r *Request) {
			r.Reason, r.Left, r.Code = run.Error, run.Left, actions.CodeCancelled
			if r.Stop == nil {
				return
			}
			// The run says so itself, unless somebody else's wish stopped it.
			if said := saidBy("Stopped", r.Stop.By, r.Stop.Reason); !strings.HasPrefix(run.Error, said) {
				r.Reason = said
			}
		}}
	default:
		return change{to: StateFailed, edit: func(r *Request) {
			r.Reason, r.Left, r.Code = run.Error, run.Left, run.Code
			if r.Code == "" {
				r.Code = actions.CodeInternal
			}
		}}
	}
}

// watched has r watched from soon on, until the returned function is called, which
// waits for the watcher. What is over by then, as many runs are, costs nothing.
func (w *Worker) watched(ctx context.Context, lose, stop context.CancelCauseFunc, r *Request, lease *held) (end func()) {
	if r.Stop != nil {
		stop(stopped(r.Stop))
	}
	watching, unwatch := context.WithCancel(ctx)
	over := make(chan struct{})
	soon := time.AfterFunc(min(stopLook/2, w.lease/10), func() {
		defer close(over)
		w.watch(watching, lose, stop, r, lease)
	})
	return func() {
		unwatch()
		if !soon.Stop() {
			<-over
		}
	}
}

// watch renews the lease of what runs and looks whether it is to stop, until ctx
// ends, which is when nothing runs any more: what stops, and takes back what it
// did, needs its lease too. It cancels with the causes that Floor speaks of.
func (w *Worker) watch(ctx context.Context, lose, stop context.CancelCauseFunc, r *Request, lease *held) {
	stopping := r.Stop != nil
	renew, look := time.NewTicker(w.lease/3), time.NewTicker(stopLook)
	defer renew.Stop()
	defer look.Stop()
	// Once it was not renewed for its whole time somebody else may have it,
	// though Redis cannot tell us so. What runs gets the last tenth to stop.
	holds := w.lease * 9 / 10
	lapse := time.AfterFunc(holds-time.Since(lease.asked), func() { lose(lostLease(lease)) })
	defer lapse.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-renew.C:
			asked := time.Now()
			w.stay(ctx, lease.in)
			err := lease.Renew(ctx)
			if actions.CodeOf(err) == actions.CodeFenced {
				lose(lostLease(lease))
				return
			}
			if err == nil {
				lapse.Reset(holds - time.Since(asked))
			}
		case <-look.C:
			if stopping {
				continue
			}
			now, err := w.requests.load(ctx, "worker.watch", r.Order.Env, []string{r.ID})
			if err == nil && len(now) == 1 && now[0].Stop != nil {
				stopping = true
				stop(stopped(now[0].Stop))
			}
		}
	}
}

func stopped(s *Stop) error {
	return actions.Errorf("worker.watch", actions.CodeCancelled, "%s", saidBy("Stopped", s.By, s.Reason))
}

func lostLease(l *held) error {
	return actions.Errorf("worker.watch", actions.CodeFenced, "The lease of %s was lost; this worker stops.", l.Env)
}
