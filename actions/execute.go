package actions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
)

// toTheEnd runs the steps that are left, takes back what has to be when they
// fail, and ends the run.
func (x *execution) toTheEnd(ctx context.Context) (*Run, error) {
	run, _ := x.j.snapshot()
	if run.givenUp() {
		return x.back(ctx)
	}
	inner, cancel := context.WithTimeoutCause(ctx, run.Deadline.Sub(x.r.clock()), overdue(x.sc.app))
	defer cancel()
	if run.Deadline.IsZero() { // it was begun by a Berth that knew none
		inner = ctx
	}
	err := x.each(inner, run, x.order(run), func(s StepRecord) bool { return !s.Undo })
	run, _ = x.j.snapshot()
	left := slices.ContainsFunc(run.Steps, StepRecord.waits)
	if err != nil || (left && !halted(inner)) {
		if ctx.Err() != nil { // this process goes: what was said so far is not lost with it
			x.events.flush()
		}
		if err != nil && (inner.Err() == nil || halted(inner)) {
			return nil, err
		}
		return nil, endOf(inner, Errorf("run", CodeInternal, "The run stopped without a reason."))
	}
	why := verdict(inner, run, left)
	if why == nil {
		return x.succeed(ctx)
	}
	taking, err := x.giveUp(ctx, why)
	if err != nil {
		return nil, err
	}
	if taking {
		return x.back(ctx)
	}
	return x.fail(ctx, why)
}

// each brings those steps that which names to their end, side by side as far as
// waits allows. An error means that one could not be recorded.
func (x *execution) each(ctx context.Context, run *Run, waits [][]int, which func(StepRecord) bool) error {
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make([]chan struct{}, len(run.Steps))
	for i := range done {
		done[i] = make(chan struct{})
	}
	var wg sync.WaitGroup
	var once sync.Once
	var failed error
	for i, s := range run.Steps {
		if !which(s) {
			close(done[i])
			continue
		}
		wg.Go(func() {
			defer close(done[i])
			for _, j := range waits[i] {
				<-done[j] // each ends soon after ctx does
			}
			if err := x.step(inner, i, waits[i]); err != nil {
				once.Do(func() { failed = err })
				stop(err) // no step may go on when one could not be recorded
			}
		})
	}
	wg.Wait()
	return failed
}

// order tells which steps each step waits for.
func (x *execution) order(run *Run) [][]int {
	parts := make([]Part, 0, len(run.Steps))
	for _, s := range run.Steps {
		p, _ := x.sc.app.Part(s.Part)
		if s.Undo { // see takeBack
			p = Part{}
		}
		parts = append(parts, Part{Name: s.Part, Needs: x.needs(p, run)})
	}
	return waitsFor(parts, x.sc.verb.Down())
}

// needs are the parts with a step in run that p comes after, be it by way of
// parts that are left alone.
func (x *execution) needs(p Part, run *Run) []string {
	var out []string
	seen := map[string]bool{}
	var add func(p Part)
	add = func(p Part) {
		for _, n := range p.Needs {
			if seen[n] {
				continue
			}
			seen[n] = true
			if slices.ContainsFunc(run.Steps, func(s StepRecord) bool { return s.Part == n }) {
				out = append(out, n)
			} else if through, ok := x.sc.app.Part(n); ok {
				add(through)
			}
		}
	}
	add(p)
	return out
}

// step brings step i to its end, unless it has one already. An error means that
// the run cannot go on with this worker.
func (x *execution) step(ctx context.Context, i int, waits []int) error {
	run, _ := x.j.snapshot()
	switch run.Steps[i].State {
	case StepWaiting, StepRunning:
	default:
		return nil // another worker has done it
	}
	for _, j := range waits {
		if run.Steps[i].Undo {
			break // whatever became of the others, it is tried
		}
		before := run.Steps[j]
		if before.State == StepFailed || before.State == StepSkipped {
			return x.stepEnds(ctx, i, StepSkipped, fmt.Sprintf("It waits for %s, which failed.", x.culprit(run, j)), nil)
		}
		if before.State != StepDone {
			return nil // the run is stopped
		}
	}
	var last error // why the try before failed
	for try := 1; ; try++ {
		if ctx.Err() != nil {
			return nil
		}
		if err := x.stepStarts(ctx, i, last); err != nil {
			return err
		}
		out, err := x.try(ctx, i)
		switch {
		case err == nil:
			return x.stepEnds(ctx, i, StepDone, "", out)
		case halted(ctx) && run.Steps[i].Undo:
			return x.stepEnds(ctx, i, StepFailed, Message(context.Cause(ctx)), nil, context.Cause(ctx))
		case halted(ctx):
			return x.stepEnds(ctx, i, StepCancelled, Message(context.Cause(ctx)), nil)
		case ctx.Err() != nil:
			return nil // it stays running, and another worker runs it again
		case !mayPass(err) || try >= x.r.tries:
			x.r.log.WarnContext(ctx, "a step failed", "env", run.Order.Env.String(), "run_id", run.ID, "request_id", run.RequestID, "part", run.Steps[i].Part, "error", err)
			return x.stepEnds(ctx, i, StepFailed, Message(err), nil, err)
		}
		last = err
		wait := x.r.retryPause(try, err)
		x.r.log.InfoContext(ctx, "a step is tried again", "env", run.Order.Env.String(), "run_id", run.ID, "part", run.Steps[i].Part, "try", try, "error", err)
		x.events.add(Event{Kind: EventLog, Part: run.Steps[i].Part, Text: fmt.Sprintf("%s It is tried again (%d of %d).", Message(err), try+1, x.r.tries)})
		_ = pauseFor(ctx, wait)
	}
}

// culprit is the part that is to blame for a step's not being done.
func (x *execution) culprit(run *Run, i int) string {
	waits := x.order(run)
	for run.Steps[i].State == StepSkipped {
		j := slices.IndexFunc(waits[i], func(j int) bool { s := run.Steps[j].State; return s == StepFailed || s == StepSkipped })
		if j < 0 {
			break
		}
		i = waits[i][j]
	}
	return run.Steps[i].Part
}

// stepStarts records that a step is about to run, and why it is tried again when
// last, the error of the try before, is not nil.
func (x *execution) stepStarts(ctx context.Context, i int, last error) error {
	s := x.stepRecord(i)
	now := x.r.clock()
	text := ""
	if s.Tries > 0 {
		text = fmt.Sprintf("try %d", s.Tries+1)
	}
	detail := map[string]string{"part": s.Part, "use": s.Use, "verb": string(s.Verb), "try": fmt.Sprint(s.Tries + 1)}
	if last != nil {
		detail["error"], detail["code"] = Message(last), string(CodeOf(last))
	}
	return x.j.write(ctx, entry{
		kind: "run.step.started", detail: detail,
		events: []Event{x.j.stepEvent(s.Part, StepRunning, text)},
		change: func(run *Run, env *Environment) {
			step := &run.Steps[i]
			step.State, step.Tries = StepRunning, s.Tries+1
			x.receiptsOf(step)
			if step.StartedAt.IsZero() {
				step.StartedAt = now
			}
			x.setPart(env, step, func(p *PartStatus) { p.Text = "" })
			if step.Verb == VerbArchive || step.Verb == VerbRestore {
				env.HasArchive = true
			}
			env.Mixed = env.Mixed || step.Verb == VerbCleanup || (makesRevision(run.Order.Verb) && !x.sc.then.AsWas)
		},
	})
}

func (x *execution) stepRecord(i int) StepRecord {
	run, _ := x.j.snapshot()
	return run.Steps[i]
}

// setPart notes on the environment's record how a step stands.
func (x *execution) setPart(env *Environment, step *StepRecord, change func(*PartStatus)) {
	if env.Parts == nil {
		env.Parts = map[string]PartStatus{}
	}
	p := env.Parts[step.Part]
	p.Use, p.State, p.At = step.Use, string(step.State), x.r.clock()
	change(&p)
	env.Parts[step.Part] = p
}

// stepEnds records how a step ended. cause, when there is one, gives the
// failure its code.
func (x *execution) stepEnds(ctx context.Context, i int, state StepState, why string, out Outputs, cause ...error) error {
	s := x.stepRecord(i)
	now := x.r.clock()
	detail := map[string]string{"part": s.Part, "use": s.Use, "verb": string(s.Verb), "try": fmt.Sprint(s.Tries)}
	if why != "" {
		detail["error"] = why
	}
	if len(cause) > 0 {
		detail["code"] = string(CodeOf(cause[0]))
	}
	return x.j.write(ctx, entry{
		kind: "run.step." + string(state), detail: detail, events: []Event{x.j.stepEvent(s.Part, state, why)},
		change: func(run *Run, env *Environment) {
			step := &run.Steps[i]
			step.State, step.Error, step.EndedAt, step.Outputs = state, why, now, partOutputs(out)
			x.receiptsOf(step)
			if len(cause) > 0 {
				step.Code = CodeOf(cause[0])
			}
			if step.Undo && step.Verb == VerbCleanup && state == StepDone {
				delete(env.Parts, step.Part)
				return
			}
			x.setPart(env, step, func(p *PartStatus) {
				p.Text = why + goneOf(*step)
				if state == StepDone {
					p.Text = why
				}
				if state == StepDone && (step.Verb == VerbDeploy || step.Verb == VerbRestore || step.Verb == VerbRollback || len(step.Outputs) > 0) {
					p.Outputs = step.Outputs
				}
			})
		},
	})
}

// survive, when deferred, makes a failure of a panic: a fault of one executor
// ends its step, not every run of this process.
func survive(op string, err *error) {
	if p := recover(); p != nil {
		*err = Wrap(op, CodeInternal, fmt.Errorf("panic: %v\n%s", p, debug.Stack()), "Its executor failed inside Berth; Berth's log says where.")
	}
}

// leniency is what a cleanup needs: it takes away what is there, be the commit
// gone.
func (x *execution) leniency(part Part, v Verb) func(error) {
	if v != VerbCleanup {
		return nil
	}
	return func(err error) {
		x.events.add(Event{Kind: EventLog, Part: part.Name, Text: Message(err) + " The cleanup goes on without it."})
	}
}

// try runs a step once.
func (x *execution) try(ctx context.Context, i int) (out Outputs, err error) {
	const op = "run.step"
	defer survive(op, &err)
	record, sc := x.stepRecord(i), x.sc
	if record.Undo {
		if sc, err = x.undoScene(record); err != nil {
			return nil, err
		}
	}
	part, ok := sc.app.Part(record.Part)
	if !ok {
		return nil, Errorf(op, CodeInternal, "It is not among the parts that the run began with.")
	}
	ex, can, description, err := x.r.executor(ctx, part, record.Verb)
	if err != nil {
		return nil, err
	}
	if !can {
		return nil, Errorf(op, CodeInvalid, "The executor %s cannot %s any more.", part.Use, record.Verb)
	}
	_, env := x.j.snapshot()
	verb := stepVerb(description, record.Verb)
	step, _, err := sc.step(ctx, part, env, verb, record.ID, x.leniency(part, verb))
	if err != nil {
		return nil, err
	}
	if unknown := slices.DeleteFunc(slices.Clone(part.Needs), func(n string) bool { return step.Outputs[n] != nil }); len(unknown) > 0 && x.sc.verb.Down() {
		// A part that is left alone by this verb and that never ran.
		x.events.add(Event{Kind: EventLog, Part: part.Name, Text: fmt.Sprintf("There are no outputs of %s.", strings.Join(unknown, ", "))})
	}
	step.Agreed = maps.Clone(sc.agreed[part.Name])
	if record.Undo && verb == VerbRollback {
		step.Agreed = nil // it was agreed on for a deploy; Earlier says what comes back
	}
	limited, cancel := context.WithTimeout(ctx, x.r.stepWithin)
	defer cancel()
	out, err = ex.Run(limited, step, func(e Event) { x.hear(part.Name, record.ID, e) })
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return nil, Wrap(op, CodeDownstream, err, fmt.Sprintf("It was stopped, since it had not ended within %s, the longest that a step may take; look at what it waits for, and try again.", x.r.stepWithin))
	}
	if err != nil && !errors.As(err, new(*Error)) {
		err = typed(op, CodeInternal, err, "Its executor failed without saying why; Berth's log says more.")
	}
	return maps.Clone(out), err
}

// verdict is why the run did not succeed; nil when it did.
func verdict(ctx context.Context, run *Run, left bool) error {
	var failed []StepRecord
	for _, s := range run.Steps {
		if s.State == StepFailed {
			failed = append(failed, s)
		}
	}
	switch {
	case left || slices.ContainsFunc(run.Steps, func(s StepRecord) bool { return s.State == StepCancelled }):
		if halted(ctx) {
			return context.Cause(ctx)
		}
		return ErrCancelRequested
	case len(failed) == 0:
		return nil
	}
	msg := fmt.Sprintf("Part %s: %s", failed[0].Part, failed[0].Error)
	if len(failed) > 1 {
		var others []string
		for _, s := range failed[1:] {
			others = append(others, s.Part)
		}
		msg += fmt.Sprintf(" (%s failed too.)", strings.Join(others, ", "))
	}
	return Errorf("run", failed[0].Code, "%s", msg)
}

// succeed ends a run all of whose steps are done.
func (x *execution) succeed(ctx context.Context) (*Run, error) {
	seen := x.look(ctx)
	if ctx.Err() != nil { // it was cut short
		if !cancelled(ctx) {
			return nil, endOf(ctx, nil)
		}
		seen = x.look(context.WithoutCancel(ctx))
	}
	if err := x.keepRevision(ctx); err != nil {
		return nil, err
	}
	return x.finish(ctx, RunSucceeded, nil, outcome{seen: seen})
}

// back takes back what the run did, and ends it.
func (x *execution) back(ctx context.Context) (*Run, error) {
	life, done := lifeOf(ctx)
	defer done()
	if err := x.takeBack(life); err != nil {
		if life.Err() != nil {
			x.events.flush()
		}
		return nil, err
	}
	run, _ := x.j.snapshot()
	return x.fail(ctx, Errorf("run", run.Code, "%s", run.Error))
}

// fail ends a run that did not succeed.
func (x *execution) fail(ctx context.Context, why error) (*Run, error) {
	if err := x.before(ctx); err != nil {
		return nil, err
	}
	state := RunFailed
	if CodeOf(why) == CodeCancelled {
		state = RunCancelled
	}
	run, _ := x.j.snapshot()
	touched := x.sc.order.Verb == VerbExtend || slices.ContainsFunc(run.Steps, func(s StepRecord) bool { return s.Tries > 0 })
	return x.finish(ctx, state, why, x.outcome(ctx, run, touched))
}
