package actions

import (
	"fmt"
	"time"
)

// StateNone is the state of an environment that was never made.
const StateNone State = ""

// MaxTTL is the longest that an environment may live past now.
const MaxTTL = 30 * 24 * time.Hour

// DefaultRunWithin is the deadline of a run whose app sets none: what has not
// ended by then is stuck.
const DefaultRunWithin = 6 * time.Hour

// Moment is when, in the course of an action, a state changes.
type Moment string

// The moments of an action.
const (
	Started   Moment = "started"
	Succeeded Moment = "succeeded"
	Failed    Moment = "failed" // or was cancelled, and the environment is not whole
	Kept      Moment = "kept"   // failed or was cancelled, and what ran before serves on
	Undone    Moment = "undone" // failed or was cancelled, and all that it did was taken back
)

// Transition is one row of the table of states.
type Transition struct {
	From State
	Verb Verb
	On   Moment
	To   State
}

// Transitions is the table of states: all that can happen to an environment's
// state. What is not in it is refused. Besides,
//   - an action that ends before its first step began leaves the state as it
//     was (and an environment that was never made, Cleaned);
//   - a pending state whose action no worker holds any more counts as Failure:
//     nobody can say how far it came.
func Transitions() []Transition {
	table := []Transition{
		{StateNone, VerbDeploy, Started, StateCreatePending},
		{StateCleaned, VerbDeploy, Started, StateCreatePending},
		{StateCreatePending, VerbDeploy, Succeeded, StateRunning},
		{StateCreatePending, VerbDeploy, Failed, StateFailure},
		{StateCreatePending, VerbDeploy, Undone, StateCleaned},

		{StateRunning, VerbArchive, Started, StateArchivePending},
		{StateFailure, VerbArchive, Started, StateArchivePending},
		{StateArchivePending, VerbArchive, Succeeded, StateArchived},
		{StateArchivePending, VerbArchive, Failed, StateFailure},
		{StateArchivePending, VerbArchive, Kept, StateRunning},

		{StateArchived, VerbRestore, Started, StateRestorePending},
		{StateFailure, VerbRestore, Started, StateRestorePending},
		{StateRestorePending, VerbRestore, Succeeded, StateRunning},
		{StateRestorePending, VerbRestore, Failed, StateFailure},
		{StateRestorePending, VerbRestore, Undone, StateArchived},

		{StateRunning, VerbCleanup, Started, StateCleanupPending},
		{StateFailure, VerbCleanup, Started, StateCleanupPending},
		{StateArchived, VerbCleanup, Started, StateCleanupPending},
		{StateCleanupPending, VerbCleanup, Succeeded, StateCleaned},
		{StateCleanupPending, VerbCleanup, Failed, StateFailure},
	}
	for _, update := range []Verb{VerbDeploy, VerbRollback} {
		table = append(table,
			Transition{StateRunning, update, Started, StateUpdatePending},
			Transition{StateFailure, update, Started, StateUpdatePending},
			Transition{StateUpdatePending, update, Succeeded, StateRunning},
			Transition{StateUpdatePending, update, Failed, StateFailure},
			Transition{StateUpdatePending, update, Kept, StateRunning},
		)
	}
	for _, quick := range []Verb{VerbRestart, VerbSleep, VerbWake} { // too short for a state of their own
		table = append(table,
			Transition{StateRunning, quick, Started, StateRunning},
			Transition{StateRunning, quick, Succeeded, StateRunning},
			Transition{StateRunning, quick, Failed, StateFailure},
			Transition{StateRunning, quick, Kept, StateRunning},
		)
	}
	for _, s := range []State{StateRunning, StateFailure} { // changes the expiry alone
		table = append(table, Transition{s, VerbExtend, Started, s}, Transition{s, VerbExtend, Succeeded, s}, Transition{s, VerbExtend, Failed, s})
	}
	return table
}

// transitions is looked up often and never changed.
var transitions = Transitions()

// next is where the table goes.
func next(from State, v Verb, on Moment) (State, bool) {
	for _, t := range transitions {
		if t.From == from && t.Verb == v && t.On == on {
			return t.To, true
		}
	}
	return from, false
}

// Pending tells whether an environment in state s is in the middle of an action.
func (s State) Pending() bool {
	switch s {
	case StateCreatePending, StateUpdatePending, StateArchivePending, StateRestorePending, StateCleanupPending:
		return true
	default:
		return false
	}
}

// Allowed returns nil when v may be done to env as it is now; nil stands for an
// environment that was never made. While another action is on its way, it
// judges by how that may end, since a request waits for its turn.
//
// Errors: CodeNotFound when there is no such environment, CodeConflict when its
// state or a lock does not allow v. Their sentences say what to do instead.
func Allowed(name Name, env *Environment, v Verb) error {
	const op = "state.allowed"
	if env == nil {
		if _, ok := next(StateNone, v, Started); ok {
			return nil
		}
		return Errorf(op, CodeNotFound, "There is no environment %s; deploy it first.", name)
	}
	if l := env.Lock; l != nil {
		return Errorf(op, CodeConflict, "%s is locked by %s%s; unlock it first.", name, clip(l.By), because(l.Reason))
	}
	states := []State{env.State}
	if env.State.Pending() {
		states = states[:0]
		for _, t := range transitions {
			if t.From == env.State {
				states = append(states, t.To)
			}
		}
	}
	var refusal error
	for _, s := range states {
		could := *env
		could.State = s
		if env.State.Pending() { // how it ends decides these anew
			archives := env.HasArchive || env.State == StateArchivePending || env.State == StateRestorePending
			could.Sleeping, could.HasArchive = v == VerbWake, v == VerbRestore && archives
		}
		err := allowedNow(name, &could, v)
		if err == nil {
			return nil
		}
		if refusal == nil {
			refusal = err
		}
	}
	return refusal
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", clip(reason))
}

// allowedNow is Allowed for an environment that is not in the middle of an action.
func allowedNow(name Name, env *Environment, v Verb) error {
	const op = "state.allowed"
	_, ok := next(env.State, v, Started)
	switch {
	case !ok:
		return Errorf(op, CodeConflict, "%s %s", name, refusal(env.State, v))
	case env.State == StateFailure && v == VerbRestore && !env.HasArchive:
		return Errorf(op, CodeConflict, "%s has no archive to restore; deploy it again.", name)
	case env.State == StateFailure && env.HasArchive && (v == VerbDeploy || v == VerbRollback):
		return Errorf(op, CodeConflict, "%s may have parts that are archived, which a %s would start empty; restore it or clean it up first.", name, v)
	case v == VerbSleep && env.Sleeping:
		return Errorf(op, CodeConflict, "%s sleeps already; wake it when you need it.", name)
	case v == VerbRestart && env.Sleeping:
		return Errorf(op, CodeConflict, "%s sleeps; wake it instead.", name)
	case v == VerbWake && !env.Sleeping:
		return Errorf(op, CodeConflict, "%s is awake already; restart it if it does not answer, or deploy it if somebody scaled it down.", name)
	}
	return nil
}

// refusal says why the table has no row, and what to do instead.
func refusal(s State, v Verb) string {
	switch {
	case s == StateCleaned && v == VerbCleanup:
		return "is cleaned up already; there is nothing left to do."
	case s == StateCleaned:
		return "was cleaned up; deploy it to have it anew."
	case s == StateArchived && v == VerbArchive:
		return "is archived already; restore it when you need it."
	case s == StateArchived:
		return "is archived; restore it first."
	case s == StateRunning && v == VerbRestore:
		return "is running, so there is nothing to restore; deploy it to update it."
	case s == StateFailure:
		return fmt.Sprintf("is not running, because its last action failed; deploy it again before you %s it.", v)
	default:
		return fmt.Sprintf("is %s, in which there is no %s; ask for its status.", s, v)
	}
}
