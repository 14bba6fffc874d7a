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

// toTheEnd runs the steps that are left and ends the run.
func (x *execution) toTheEnd(ctx context.Context) (*Run, error) {
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	run, _ := x.j.snapshot()
	waits := x.order(run)
	done := make([]chan struct{}, len(run.Steps))
	for i := range done {
		done[i] = make(chan struct{})
	}
	var wg sync.WaitGroup
	for i := range run.Steps {
		wg.Go(func() {
			defer close(done[i])
			for _, j := range waits[i] {
				<-done[j] // each ends soon after ctx does
			}
			if err := x.step(inner, i, waits[i]); err != nil {
				stop(err) // no step may go on when one could not be recorded
			}
		})
	}
	wg.Wait()
	run, _ = x.j.snapshot()
	left := slices.ContainsFunc(run.Steps, func(s StepRecord) bool { return s.State == StepWaiting || s.State == StepRunning })
	if left && !cancelled(inner) {
		if ctx.Err() != nil { // this process goes: what was said so far is not lost with it
			x.events.flush()
		}
		return nil, endOf(inner, Errorf("run", CodeInternal, "The run stopped without a reason."))
	}
	return x.end(ctx, run, cancelled(inner) && left)
}

// order tells which steps each step waits for.
func (x *execution) order(run *Run) [][]int {
	parts := make([]Part, 0, len(run.Steps))
	for _, s := range run.Steps {
		p, _ := x.sc.app.Part(s.Part)
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
		case cancelled(ctx):
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
			if step.StartedAt.IsZero() {
				step.StartedAt = now
			}
			x.setPart(env, step, func(p *PartStatus) { p.Text = "" })
			if step.Verb == VerbArchive || step.Verb == VerbRestore {
				env.HasArchive = true
			}
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
			if len(cause) > 0 {
				step.Code = CodeOf(cause[0])
			}
			x.setPart(env, step, func(p *PartStatus) {
				p.Text = why
				if state == StepDone && (step.Verb == VerbDeploy || step.Verb == VerbRestore || len(step.Outputs) > 0) {
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

// try runs a step once.
func (x *execution) try(ctx context.Context, i int) (out Outputs, err error) {
	const op = "run.step"
	defer survive(op, &err)
	record := x.stepRecord(i)
	part, ok := x.sc.app.Part(record.Part)
	if !ok {
		return nil, Errorf(op, CodeInternal, "It is not among the parts that the run began with.")
	}
	ex, can, _, err := x.r.executor(ctx, part, record.Verb)
	if err != nil {
		return nil, err
	}
	if !can {
		return nil, Errorf(op, CodeInvalid, "The executor %s cannot %s any more.", part.Use, record.Verb)
	}
	_, env := x.j.snapshot()
	step, _, err := x.sc.step(ctx, part, env, record.Verb, record.ID, x.sc.leniency(func(err error) {
		x.events.add(Event{Kind: EventLog, Part: part.Name, Text: Message(err) + " The cleanup goes on without it."})
	}))
	if err != nil {
		return nil, err
	}
	if unknown := slices.DeleteFunc(slices.Clone(part.Needs), func(n string) bool { return step.Outputs[n] != nil }); len(unknown) > 0 && x.sc.verb.Down() {
		// A part that is left alone by this verb and that never ran.
		x.events.add(Event{Kind: EventLog, Part: part.Name, Text: fmt.Sprintf("There are no outputs of %s.", strings.Join(unknown, ", "))})
	}
	step.Agreed = maps.Clone(x.sc.agreed[part.Name])
	limited, cancel := context.WithTimeout(ctx, x.r.stepWithin)
	defer cancel()
	out, err = ex.Run(limited, step, func(e Event) {
		e.ID, e.Part = "", part.Name
		if e.Kind != EventProgress { // steps and runs change their state here alone
			e.Kind, e.State = EventLog, ""
		}
		x.events.add(e)
	})
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return nil, Wrap(op, CodeDownstream, err, fmt.Sprintf("It was stopped, since it had not ended within %s, the longest that a step may take; look at what it waits for, and try again.", x.r.stepWithin))
	}
	if err != nil && !errors.As(err, new(*Error)) {
		err = typed(op, CodeInternal, err, "Its executor failed without saying why; Berth's log says more.")
	}
	return maps.Clone(out), err
}

// end decides how the run ended.
func (x *execution) end(ctx context.Context, run *Run, stopped bool) (*Run, error) {
	var failed []StepRecord
	touched := x.sc.order.Verb == VerbExtend
	for _, s := range run.Steps {
		if s.State == StepFailed {
			failed = append(failed, s)
		}
		touched = touched || s.Tries > 0
	}
	switch {
	case stopped || slices.ContainsFunc(run.Steps, func(s StepRecord) bool { return s.State == StepCancelled }):
		why := context.Cause(ctx)
		if CodeOf(why) != CodeCancelled {
			why = ErrCancelRequested
		}
		return x.finish(ctx, RunCancelled, why, x.outcome(ctx, run, touched))
	case len(failed) > 0:
		msg := fmt.Sprintf("Part %s: %s", failed[0].Part, failed[0].Error)
		if len(failed) > 1 {
			var others []string
			for _, s := range failed[1:] {
				others = append(others, s.Part)
			}
			msg += fmt.Sprintf(" (%s failed too.)", strings.Join(others, ", "))
		}
		return x.finish(ctx, RunFailed, Errorf("run", failed[0].Code, "%s", msg), x.outcome(ctx, run, touched))
	}
	seen := x.look(ctx)
	if ctx.Err() != nil { // it was cut short
		if !cancelled(ctx) {
			return nil, endOf(ctx, nil)
		}
		seen = x.look(context.WithoutCancel(ctx))
	}
	return x.finish(ctx, RunSucceeded, nil, outcome{seen: seen})
}
