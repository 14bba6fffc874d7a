package actions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// undoVerb ends the id of a step that takes back what another one did.
const undoVerb Verb = "undo"

// errOverdue is what the cause of a run's deadline wraps.
var errOverdue = errors.New("the deadline of the run is over")

// overdue is why a run is stopped at its deadline.
func overdue(app *App) error {
	return Wrap("run.deadline", CodeDownstream, errOverdue, fmt.Sprintf("It was stopped, since it had not ended within %s, the longest that a run of %s may take (run_within); look at what it waited for, and try again.", days(runWithin(app)), app.Name))
}

// halted tells whether the action itself is to stop, and not this worker alone:
// somebody cancelled it, or its time is over.
func halted(ctx context.Context) bool {
	return cancelled(ctx) || (ctx.Err() != nil && errors.Is(context.Cause(ctx), errOverdue))
}

// givenUp tells whether the run, which has not ended, is past its steps and takes
// back what it did.
func (r *Run) givenUp() bool { return r.Error != "" && r.State == RunRunning }

// broughtBack tells whether the run, which did not succeed, made a part again
// what ran before.
func (r *Run) broughtBack(part string) bool {
	return slices.ContainsFunc(r.Steps, func(s StepRecord) bool {
		return s.Undo && s.Part == part && s.Verb == VerbRollback && s.State == StepDone
	})
}

// undoing is the part of an execution that takes back.
type undoing struct {
	prior *revision // what ran before; nil when nothing did, or nothing was kept of it
	scene *scene    // of prior, nil with it
}

// before looks up what ran before the run.
func (x *execution) before(ctx context.Context) error {
	_, env := x.j.snapshot()
	if x.undo != nil || !makesRevision(x.sc.order.Verb) {
		return nil
	}
	u := &undoing{}
	err := x.j.patiently(ctx, func(ctx context.Context) (err error) {
		u.prior, err = x.r.store.deployed(ctx, env)
		return err
	})
	if err != nil {
		return err
	}
	if u.prior != nil {
		sc := *x.sc
		if err := sc.adopt(u.prior); err != nil {
			return err
		}
		b, err := decodeBasis(u.prior.Basis)
		if err != nil {
			return err
		}
		sc.then, sc.agreed, sc.verb = precedent{Earlier: u.prior.Steps}, b.Agreed, VerbRollback
		sc.plant(x.r.sources)
		u.scene = &sc
	}
	x.undo = u
	return nil
}

// giveUp records why the run cannot succeed and what takes back what it did,
// part by part as each says. It reports whether there is anything to take back.
func (x *execution) giveUp(ctx context.Context, why error) (bool, error) {
	if !makesRevision(x.sc.order.Verb) {
		return false, nil
	}
	if err := x.before(ctx); err != nil {
		return false, err
	}
	run, env := x.j.snapshot()
	var steps []StepRecord
	var parts []string
	for _, s := range slices.Backward(run.Steps) {
		if s.Tries == 0 {
			continue
		}
		if step, ok := x.undoStep(ctx, run, env, s); ok {
			steps, parts = append(steps, step), append(parts, s.Part)
		}
	}
	if len(steps) == 0 {
		return false, nil
	}
	now := x.r.clock()
	text := Message(why) + " Taking back what it did with " + strings.Join(parts, ", ") + "."
	return true, x.j.write(ctx, entry{
		kind: "run.undoing", detail: map[string]string{"parts": strings.Join(parts, " "), "error": Message(why), "code": string(CodeOf(why))},
		events: []Event{x.j.runEvent(RunRunning, text)},
		change: func(run *Run, _ *Environment) {
			run.Error, run.Code = Message(why), CodeOf(why)
			cancelWaiting(run, now)
			run.Steps = append(run.Steps, steps...)
			run.Deadline = now.Add(x.r.undoWithin)
		},
	})
}

// undoStep is the step that takes back what s did, if its part asks for one.
func (x *execution) undoStep(ctx context.Context, run *Run, env *Environment, s StepRecord) (StepRecord, bool) {
	part, ok := x.sc.app.Part(s.Part)
	if !ok || part.OnFailure == "" || part.OnFailure == FailureKeep {
		return StepRecord{}, false
	}
	undo := StepRecord{ID: stepID(run.ID, s.Part, undoVerb), Part: s.Part, Use: s.Use, Verb: VerbCleanup, State: StepWaiting, Undo: true}
	switch {
	case s.Verb == VerbRestore:
		// What was archived was kept on purpose: it is put aside again, never
		// cleaned up.
		undo.Verb = VerbArchive
		_, can, _, err := x.r.executor(ctx, part, VerbArchive)
		return undo, can || err != nil
	case part.OnFailure == FailureCleanup && run.Order.Verb != VerbRestore:
		return undo, true
	}
	ran, known := env.ranBefore()
	if prior := x.undo.prior; prior != nil {
		if was, had := x.undo.scene.app.Part(s.Part); had && prior.Steps[s.Part] != "" {
			undo.Verb, undo.Use = VerbRollback, was.Use
		}
		return undo, undo.Verb == VerbRollback || run.Order.Verb != VerbRestore
	}
	if run.Order.Verb == VerbRestore {
		return StepRecord{}, false // what was kept may have parts of it
	}
	if ran || !known {
		undo.Verb, undo.State, undo.EndedAt = VerbRollback, StepFailed, x.r.clock()
		undo.Error, undo.Code = "Nothing was kept of what ran before, so that it cannot be brought back.", CodeInternal
	}
	return undo, true
}

// takeBack runs the steps that take back, each after those of the parts that
// need its own. One that fails does not keep the others from theirs.
func (x *execution) takeBack(ctx context.Context) error {
	if err := x.before(ctx); err != nil {
		return err
	}
	run, _ := x.j.snapshot()
	parts := make([]Part, len(run.Steps))
	for i, s := range run.Steps {
		if s.Undo {
			p, _ := x.sc.app.Part(s.Part)
			parts[i] = Part{Name: s.Part, Needs: x.needs(p, run)}
		}
	}
	limited, cancel := context.WithTimeoutCause(ctx, run.Deadline.Sub(x.r.clock()),
		Wrap("run.undo", CodeDownstream, errOverdue, fmt.Sprintf("There was no time left for it: taking back may take %s.", days(x.r.undoWithin))))
	defer cancel()
	err := x.each(limited, run, waitsFor(parts, false), func(s StepRecord) bool { return s.Undo })
	if err != nil && (limited.Err() == nil || halted(limited)) {
		return err
	}
	if limited.Err() != nil && !halted(limited) {
		return endOf(limited, err)
	}
	late := x.r.clock()
	run, _ = x.j.snapshot()
	if !slices.ContainsFunc(run.Steps, StepRecord.waits) {
		return nil
	}
	return x.j.write(ctx, entry{
		kind: "run.undo.late", detail: map[string]string{"error": Message(context.Cause(limited))},
		change: func(run *Run, _ *Environment) {
			for i := range run.Steps {
				if s := &run.Steps[i]; s.waits() {
					s.State, s.Error, s.Code, s.EndedAt = StepFailed, Message(context.Cause(limited)), CodeDownstream, late
				}
			}
		},
	})
}

// waits tells whether the step has not ended.
func (s StepRecord) waits() bool { return s.State == StepWaiting || s.State == StepRunning }

// undoScene is what a step that takes back is made of.
func (x *execution) undoScene(s StepRecord) (*scene, error) {
	if s.Verb == VerbRollback {
		if x.undo == nil || x.undo.scene == nil {
			return nil, Errorf("run.undo", CodeInternal, "Nothing was kept of what ran before, so that it cannot be brought back.")
		}
		return x.undo.scene, nil
	}
	sc := *x.sc
	sc.agreed, sc.then = nil, precedent{} // what was agreed on was another verb
	return &sc, nil
}

// whereabouts says, part by part, where a run that did not succeed left them. It
// is "" when there is nothing to tell that the failure itself does not.
func (x *execution) whereabouts(run *Run) string {
	if run.Order.Verb == VerbExtend {
		return ""
	}
	undos, done, touched, stopped := map[string]StepRecord{}, 0, 0, run.Code == CodeCancelled
	var forward []StepRecord
	for _, s := range run.Steps {
		if s.Undo {
			undos[s.Part] = s
			continue
		}
		forward = append(forward, s)
		if s.Tries > 0 {
			touched++
			stopped = stopped || s.State == StepCancelled
		}
		if s.State == StepDone {
			done++
		}
	}
	if touched == 0 || (len(undos) == 0 && done == 0 && !stopped) {
		return ""
	}
	var said []string
	for _, s := range forward {
		undo, taken := undos[s.Part]
		switch {
		case taken:
			said = append(said, s.Part+" "+x.wasTakenBack(undo))
		case s.Tries == 0:
			said = append(said, s.Part+" was not touched")
		case s.State == StepDone:
			said = append(said, s.Part+" "+doneBy(s.Verb, run.Order.Commit.SHA))
		default:
			said = append(said, s.Part+" is as its "+string(s.Verb)+" left it"+goneOf(s))
		}
	}
	return strings.Join(said, "; ")
}

// Whereabouts is a sentence of Run.Left, after a space; "" of an empty one.
func Whereabouts(left string) string {
	if left == "" {
		return ""
	}
	return " Where things are: " + left + "."
}

// goneOf tells how much a step that did not end well took away.
func goneOf(s StepRecord) string {
	switch n := len(s.Receipts) + s.ReceiptsLeft; n {
	case 0:
		return ""
	case 1:
		return " (1 thing is gone already)"
	default:
		return fmt.Sprintf(" (%d things are gone already)", n)
	}
}

// wasTakenBack says how the step that takes a part back ended.
func (x *execution) wasTakenBack(s StepRecord) string {
	to := "what ran before"
	if x.undo != nil && x.undo.prior != nil {
		to = fmt.Sprintf("revision %d", x.undo.prior.Number)
		if sha := x.undo.prior.Commit.SHA; sha != "" {
			to += " (" + shortSHA(sha) + ")"
		}
	}
	failed := s.State != StepDone
	why := ""
	if failed {
		why = " (" + strings.TrimSuffix(clip(s.Error), ".") + ")"
	}
	switch {
	case s.Verb == VerbArchive && failed:
		return "could not be archived again" + why
	case s.Verb == VerbArchive:
		return "is archived again"
	case s.Verb == VerbCleanup && failed:
		return "could not be cleaned up" + why + goneOf(s)
	case s.Verb == VerbCleanup:
		return "was cleaned up"
	case failed:
		return "could not be brought back to " + to + why
	default:
		return "is back at " + to
	}
}

// doneBy says what a verb made of a part.
func doneBy(v Verb, sha string) string {
	switch v {
	case VerbDeploy, VerbRollback, VerbRestore:
		if sha != "" {
			return "runs " + shortSHA(sha)
		}
		return "has the new version"
	case VerbArchive:
		return "is archived"
	case VerbCleanup:
		return "is gone"
	case VerbSleep:
		return "sleeps"
	case VerbWake:
		return "is awake"
	default:
		return "was restarted"
	}
}

// undoneWhole tells whether the run has left nothing of what it did: each step
// that had begun was taken back by v, or, in a restore, by bringing back what was
// never put aside.
func (r *Run) undoneWhole(v Verb) bool {
	begun := 0
	for _, s := range r.Steps {
		if s.Undo || s.Tries == 0 {
			continue
		}
		begun++
		by := v
		if r.Order.Verb == VerbRestore && s.Verb != VerbRestore {
			by = VerbRollback
		}
		if !slices.ContainsFunc(r.Steps, func(u StepRecord) bool { return u.Undo && u.Part == s.Part && u.Verb == by && u.State == StepDone }) {
			return false
		}
	}
	return begun > 0
}

// whole tells whether every part is what revision Deployed made of it after the
// run, which did not succeed: each was, and what the run changed it brought back,
// or it brought back all of them.
func (x *execution) whole(run *Run) bool {
	if x.broughtBack(run) {
		return true
	}
	for _, s := range run.Steps {
		changes := s.Verb == VerbCleanup || (makesRevision(run.Order.Verb) && !x.sc.then.AsWas)
		if s.Undo || s.Tries == 0 || !changes {
			continue
		}
		if !slices.ContainsFunc(run.Steps, func(u StepRecord) bool {
			return u.Undo && u.Part == s.Part && u.Verb == VerbRollback && u.State == StepDone
		}) {
			return false
		}
	}
	return !run.Mixed
}

// broughtBack tells whether every part of what ran before was brought back by
// the run.
func (x *execution) broughtBack(run *Run) bool {
	if x.undo == nil || x.undo.prior == nil {
		return false
	}
	for part := range maps.Keys(x.undo.prior.Steps) {
		if _, had := x.undo.scene.app.Part(part); had && !run.broughtBack(part) {
			return false
		}
	}
	return true
}
