package actions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Run runs a released request, or goes on with it from its last finished step
// when another worker has begun it. lease must be held for the request's
// environment; every write carries its token. A run that has ended already is
// returned as it is.
//
// The result is the run as it ended, failed ones included. An error means that
// this worker cannot end it: CodeStale when what would run now is not what was
// agreed on and nothing has run yet; CodeFenced when another worker has taken
// the environment; CodeUnavailable when Redis did not answer; and whatever ctx
// was cancelled with, unless that asks for the run itself to be cancelled (see
// ErrCancelRequested). After all but the first, another worker goes on.
func (r *Runner) Run(ctx context.Context, lease *Lease, req RunRequest) (*Run, error) {
	const op = "run"
	if lease == nil || lease.Env != req.Order.Env {
		return nil, Errorf(op, CodeInternal, "The lease is not one of %s.", req.Order.Env)
	}
	if req.ID == "" || strings.ContainsAny(req.ID, " {}:") {
		return nil, Errorf(op, CodeInternal, "%q cannot be the id of a run.", clip(req.ID))
	}
	run, err := r.store.run(context.WithoutCancel(ctx), lease.Env, req.ID) // a cancelled run ends properly, too
	if err != nil {
		return nil, err
	}
	if run != nil && run.State != RunRunning {
		return run, nil
	}
	logs, stopLogs := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLogs()
	x := &execution{r: r, receipts: map[string]*receipts{}, events: newEventLog(logs, r.store, lease, req.ID)}
	x.j = &journal{store: r.store, lease: lease, events: x.events, patience: r.savePatience, origin: req.Origin}
	if run == nil {
		run, err = x.begin(ctx, req)
	} else {
		run, err = x.resume(ctx, run, req)
	}
	if err != nil || run != nil {
		return run, err
	}
	defer x.sc.close()
	return x.toTheEnd(ctx)
}

// execution is one run in the hands of this worker.
type execution struct {
	r      *Runner
	j      *journal
	sc     *scene
	events *eventLog

	mu       sync.Mutex
	receipts map[string]*receipts // by step, what it took away
	undo     *undoing
}

// begin checks that what was agreed on is what would run, and writes the run's
// record. A run that can only fail is returned as a failed one.
func (x *execution) begin(ctx context.Context, req RunRequest) (*Run, error) {
	sc, err := x.check(ctx, req)
	switch {
	case err == nil:
	case ctx.Err() != nil && !cancelled(ctx), CodeOf(err) == CodeStale, CodeOf(err) == CodeFenced, x.redisGone(ctx):
		return nil, endOf(ctx, err)
	case ctx.Err() != nil:
		return x.refuse(ctx, req, RunCancelled, context.Cause(ctx))
	default:
		return x.refuse(ctx, req, RunFailed, err)
	}
	kept, err := sc.basis().encode()
	if err == nil {
		err = x.index(ctx, req.ID, sc.order.Env)
	}
	if err != nil {
		sc.close()
		return nil, err
	}
	x.sc = sc
	now := x.r.clock()
	run := &Run{ID: req.ID, RequestID: req.RequestID, Order: sc.order, Digest: req.Digest, State: RunRunning, Attempt: 1, Back: sc.then.Revision, StartedAt: now, Deadline: now.Add(runWithin(sc.app))}
	if sc.env != nil {
		run.Before, run.Mixed = settled(sc.env.State), sc.env.Mixed
	}
	for _, part := range sc.app.Parts {
		_, verb, can, _, err := x.r.executorOf(ctx, sc, part)
		if sc.order.Verb == VerbExtend || (err == nil && !can) {
			continue // left alone, as its plan says
		}
		run.Steps = append(run.Steps, StepRecord{ID: stepID(req.ID, part.Name, verb), Part: part.Name, Use: part.Use, Verb: verb, State: StepWaiting})
	}
	x.j.run, x.j.env = run, &Environment{}
	if sc.env != nil {
		x.j.env = sc.env
	}
	err = x.j.write(ctx, entry{
		kind: "run.started", detail: map[string]string{"verb": string(sc.order.Verb), "commit": sc.order.Commit.SHA},
		events: []Event{x.j.runEvent(RunRunning, "")}, app: kept,
		change: func(run *Run, env *Environment) { x.start(run, env, now) },
	})
	if err != nil {
		sc.close()
	}
	return nil, err
}

// start moves the environment into the state in which the run has it.
func (x *execution) start(run *Run, env *Environment, now time.Time) {
	o := run.Order
	if env.Name.IsZero() || env.State == StateCleaned { // a new life
		*env = Environment{Name: o.Env, Revision: env.Revision, State: env.State, CreatedAt: now, LastAction: env.LastAction, Owner: Owner{Actor: o.By, Identity: o.Identity},
			Deployed: env.Deployed, FirstRevision: env.Deployed + 1}
		x.lives(env, o, now) // whatever becomes of it
	}
	env.State, _ = next(settled(env.State), o.Verb, Started)
	env.Repo, env.Namespace, env.Cluster = x.sc.app.Repo, x.sc.namespace, x.sc.app.Cluster.Name
	if x.sc.pr > 0 {
		env.PullRequest = x.sc.pr
	}
	if env.Components == nil { // nothing ran yet
		env.Components = o.Components
	}
	env.RunID = run.ID
	if o.uses() {
		env.UsedAt = now
	}
}

// runWithin is how long a run of app may take.
func runWithin(app *App) time.Duration {
	if app.RunWithin > 0 {
		return app.RunWithin
	}
	return DefaultRunWithin
}

// settled is what a state counts as when no worker is at it: see Transitions.
func settled(s State) State {
	if s.Pending() {
		return StateFailure
	}
	return s
}

// check plans again, briefly, and compares. Failures that may pass are tried
// again.
func (x *execution) check(ctx context.Context, req RunRequest) (*scene, error) {
	order := req.Order
	for try := 1; ; try++ {
		sc, err := x.r.scene(ctx, order)
		if err == nil && sc.env != nil && sc.env.State.Pending() {
			// The lease is ours, so whoever made it pending is gone.
			now := *sc.env
			now.State = settled(now.State)
			err = Allowed(order.Env, &now, order.Verb)
		}
		var plan *Plan
		if err == nil {
			sc.agreed = inputsIn(req.basis(), sc.app.Parts)
			plan, err = x.r.plan(ctx, sc, true)
		}
		if err == nil && plan.Digest != req.Digest {
			err = stale("run.check", req, plan)
		}
		if err == nil {
			sc.agreed = inputsOf(plan)
			return sc, nil
		}
		if sc != nil && sc.trees != nil {
			sc.close()
		}
		if !mayPass(err) || try >= x.r.tries || ctx.Err() != nil {
			return nil, err
		}
		if pause := pauseFor(ctx, x.r.backOff(try)); pause != nil {
			return nil, err
		}
	}
}

// stale says that what would run now is not what was agreed on, and what
// became different.
func stale(op string, req RunRequest, now *Plan) error {
	const most = 5
	changes := Changed(&Plan{Digest: req.Digest, Order: req.Order, Basis: req.basis()}, now)
	if n := len(changes); n > most {
		changes = append(changes[:most:most], fmt.Sprintf("and %d more", n-most))
	}
	return Errorf(op, CodeStale, "What would run on %s now is not what was agreed on (%s); it is planned again.", req.Order.Env, strings.Join(changes, "; "))
}

// inputsOf are what the executors said decides their steps, by part.
func inputsOf(p *Plan) map[string]map[string]string {
	inputs := make(map[string]map[string]string, len(p.Parts))
	for _, part := range p.Parts {
		if len(part.Inputs) > 0 {
			inputs[part.Part] = part.Inputs
		}
	}
	return inputs
}

// redisGone tells whether Redis does not answer, so that nothing can be said of
// the run now.
func (x *execution) redisGone(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveWithin)
	defer cancel()
	return x.r.store.rdb.Get(ctx, x.r.store.Key(x.j.lease.Env, tokenKey)).Err() != nil
}

// cancelled tells whether somebody wants the run itself stopped.
func cancelled(ctx context.Context) bool {
	return ctx.Err() != nil && CodeOf(context.Cause(ctx)) == CodeCancelled
}

// endOf is why a worker cannot go on.
func endOf(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause == nil {
		return err
	}
	if _, ok := errors.AsType[*Error](cause); ok {
		return cause
	}
	return &Error{Op: "run", Code: CodeUnavailable, Msg: "This worker stops; another goes on.", Err: cause, Retry: true}
}

// index makes the run and the environment findable, before they are there.
func (x *execution) index(ctx context.Context, id string, env Name) error {
	return redisError("run.index", x.r.store.pipe.Do(ctx,
		redis.NewStatusCmd(ctx, "set", runIndexKey(id), env.String()), NewMember(ctx, "zadd", envsKey, env.String())))
}

// refuse records a run that ends before anything of the environment changed.
func (x *execution) refuse(ctx context.Context, req RunRequest, state RunState, why error) (*Run, error) {
	ctx = context.WithoutCancel(ctx)
	s := x.r.store
	name := req.Order.Env
	if err := s.rdb.Set(ctx, runIndexKey(req.ID), name.String(), 0).Err(); err != nil {
		return nil, redisError("run.refuse", err)
	}
	now := x.r.clock()
	run := &Run{ID: req.ID, RequestID: req.RequestID, Order: req.Order, Digest: req.Digest, State: state, Steps: []StepRecord{},
		Error: Message(why), Code: CodeOf(why), Attempt: 1, StartedAt: now, EndedAt: now}
	x.r.log.InfoContext(ctx, "a run was refused", "env", name.String(), "run_id", req.ID, "request_id", req.RequestID, "error", why)
	for try := 1; ; try++ {
		env, err := s.Environment(ctx, name)
		if CodeOf(err) == CodeNotFound {
			env, err = nil, nil
		}
		if err != nil {
			return nil, err
		}
		if env != nil {
			run.Before = settled(env.State)
			env.LastAction = lastAction(run)
		}
		err = s.save(ctx, name, saving{
			env: env, token: x.j.lease.Token, run: run, events: []Event{x.j.runEvent(state, run.Error)},
			rec: x.j.record(run, entry{kind: "run." + string(state), detail: map[string]string{"error": run.Error, "code": string(run.Code)}}),
		})
		if CodeOf(err) == CodeConflict && try < saveTries {
			continue
		}
		if err != nil {
			return nil, err
		}
		s.tidy(ctx, name, run.ID)
		return run, nil
	}
}

// resume takes a run up that another worker has begun.
func (x *execution) resume(ctx context.Context, run *Run, req RunRequest) (*Run, error) {
	env, err := x.r.store.Environment(context.WithoutCancel(ctx), run.Order.Env)
	if err != nil {
		return nil, err
	}
	x.j.run, x.j.env = run, env
	if env.RunID != run.ID {
		return x.overtaken(ctx, run)
	}
	if !cancelled(ctx) && !run.givenUp() && !slices.ContainsFunc(run.Steps, func(s StepRecord) bool { return s.Tries > 0 }) {
		if err := x.stillAgreed(ctx, run, env, req); err != nil {
			return nil, err
		}
	}
	text, err := x.r.store.rdb.Get(context.WithoutCancel(ctx), x.r.store.Key(env.Name, appKey(run.ID))).Bytes()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, redisError("run.resume", err)
	}
	kept, err := decodeBasis(text)
	if err != nil {
		return nil, err
	}
	if now, err := x.r.catalog.App(kept.App.Name); err == nil {
		if cluster, known := now.cluster(kept.App.Cluster.Name); known {
			kept.App.Cluster = cluster // the way into it is this machine's own
		}
	}
	x.sc = &scene{app: kept.App, env: env, order: run.Order, namespace: env.Namespace, ref: kept.Ref, pr: kept.PR, set: kept.Set, verb: run.Order.Verb, agreed: kept.Agreed, then: kept.Then}
	x.sc.plant(x.r.sources)
	x.sc.installed = x.r.store.Installation
	if err := x.receiptsSaid(ctx, run); err != nil {
		return nil, err
	}
	return nil, x.j.write(ctx, entry{
		kind: "run.resumed", detail: map[string]string{"attempt": fmt.Sprint(run.Attempt + 1)},
		events: []Event{x.j.runEvent(RunRunning, fmt.Sprintf("Another worker goes on with it (attempt %d).", run.Attempt+1))},
		change: func(run *Run, _ *Environment) { run.Attempt++ },
	})
}

// stillAgreed checks the digest of a run of which nothing has run yet. When it
// does not hold, the run ends, the environment is as it was, and the error has
// CodeStale.
func (x *execution) stillAgreed(ctx context.Context, run *Run, env *Environment, req RunRequest) error {
	req.Order, req.Digest = run.Order, run.Digest // what the run began with
	before := *env
	before.State = run.Before
	var seen *Environment
	if run.Before != StateNone {
		seen = &before
	}
	sc, err := x.r.sceneOf(ctx, run.Order, seen)
	if err == nil {
		defer sc.close()
		sc.agreed = inputsIn(req.basis(), sc.app.Parts)
		var plan *Plan
		if plan, err = x.r.plan(ctx, sc, true); err == nil {
			if plan.Digest == run.Digest {
				return nil
			}
			err = stale("run.resume", req, plan)
		}
	}
	if mayPass(err) || ctx.Err() != nil {
		return endOf(ctx, err)
	}
	if CodeOf(err) != CodeStale {
		err = Wrap("run.resume", CodeStale, err, fmt.Sprintf("What was agreed on for %s cannot run any more (%s); it is planned again.", run.Order.Env, strings.TrimSuffix(Message(err), ".")))
	}
	if _, failed := x.finish(ctx, RunFailed, err, outcome{untouched: true}); failed != nil {
		return failed
	}
	return err
}

// overtaken ends a run that was left in the middle and whose environment
// another run has changed since: it can neither go on nor be undone.
func (x *execution) overtaken(ctx context.Context, run *Run) (*Run, error) {
	why := Errorf("run.resume", CodeConflict, "Another action changed %s before this one could go on; ask for it again.", run.Order.Env)
	err := x.j.write(ctx, entry{
		kind: "run.failed", detail: map[string]string{"error": Message(why), "code": string(CodeConflict)},
		events: []Event{x.j.runEvent(RunFailed, Message(why))}, app: "-",
		change: func(run *Run, _ *Environment) {
			run.State, run.Error, run.Code, run.EndedAt = RunFailed, Message(why), CodeConflict, x.r.clock()
			cancelWaiting(run, x.r.clock())
		},
	})
	if err != nil {
		return nil, err
	}
	ended, _ := x.j.snapshot()
	return ended, nil
}

func cancelWaiting(run *Run, now time.Time) {
	for i := range run.Steps {
		if s := &run.Steps[i]; s.State == StepWaiting || s.State == StepRunning {
			s.State, s.EndedAt = StepCancelled, now
		}
	}
}

// lastAction is what an environment remembers of a run.
func lastAction(run *Run) *LastAction {
	return &LastAction{Verb: run.Order.Verb, RequestID: run.RequestID, RunID: run.ID, Commit: run.Order.Commit,
		State: run.State, Error: run.Error, Left: run.Left, By: run.Order.By, At: run.EndedAt}
}

// partOutputs are a step's outputs, cut to what a record may hold.
func partOutputs(out Outputs) Outputs {
	const most, longest = 100, 4 << 10
	if len(out) == 0 {
		return nil
	}
	kept := Outputs{}
	for _, key := range slices.Sorted(maps.Keys(out)) {
		if len(kept) == most {
			break
		}
		kept[short(key, maxDetail)] = short(out[key], longest)
	}
	return kept
}
