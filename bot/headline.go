package bot

import (
	"slices"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// RequestHeadline says in an icon and a few words where a request is; before
// the words stands its environment's name.
func RequestHeadline(r *approvals.Request) (icon, title string) {
	its := "– its " + string(r.Order.Verb)
	switch r.State {
	case approvals.StatePlanning:
		return "📝", its + " is being planned again"
	case approvals.StatePending:
		return "🕒", its + " waits for approval"
	case approvals.StateDenied:
		return "❌", its + " was denied"
	case approvals.StateExpired:
		return "⌛", its + " was not approved in time"
	case approvals.StateSuperseded:
		return "⏭️", its + " was overtaken by a newer request"
	case approvals.StateRefused:
		return "⛔", its + " is not allowed any more"
	case approvals.StateCancelled:
		if r.RunID == "" {
			return "🚫", its + " was withdrawn"
		}
	}
	icon, how := "✅", "was approved"
	switch {
	case len(BrokenRules(r)) > 0:
		icon, how = "🚨", "was let through by broken glass"
	case !slices.ContainsFunc(r.Decisions, func(d approvals.Decision) bool { return d.Verdict == approvals.Approve }):
		how = "needs no approval any more"
	}
	switch r.State {
	case approvals.StateSucceeded:
		return icon, its + " " + how + ", and is done"
	case approvals.StateFailed:
		return "🔴", its + " " + how + ", and failed"
	case approvals.StateCancelled:
		return "🚫", its + " " + how + ", and stopped before it was done"
	default:
		return icon, its + " " + how
	}
}

// doing is what a verb is called while it runs.
var doing = map[actions.Verb]string{
	actions.VerbDeploy: "is being deployed", actions.VerbArchive: "is being archived", actions.VerbRestore: "is being restored",
	actions.VerbCleanup: "is being cleaned up", actions.VerbRollback: "is being rolled back", actions.VerbRestart: "is being restarted",
	actions.VerbSleep: "is being put to sleep", actions.VerbWake: "is being woken",
}

// ActiveHeadline says in an icon and a few words what a request that has not
// ended does to its environment, whose name stands before the words.
func ActiveHeadline(r *approvals.Request) (icon, title string) {
	verb := string(r.Order.Verb)
	switch r.State {
	case approvals.StatePlanning:
		return "📝", "– its " + verb + " is being planned"
	case approvals.StatePending:
		return "🕒", "– its " + verb + " waits for approval"
	case approvals.StateReleased:
		return "⏳", "– its " + verb + " waits for its turn"
	}
	if title, ok := doing[r.Order.Verb]; ok {
		return "🚧", title
	}
	return "🚧", "– its " + verb + " is running"
}

// EnvironmentHeadline says in an icon and a few words how an environment is on
// which nothing is under way; nil stands for one that was never made.
func EnvironmentHeadline(env *actions.Environment) (icon, title string) {
	if env == nil {
		return "🔴", "was not deployed"
	}
	switch env.State {
	case actions.StateRunning:
		switch last := env.LastAction; {
		case env.Sleeping && last != nil && last.State == actions.RunFailed:
			return "🟠", "is sleeping, and the last " + string(last.Verb) + " failed"
		case env.Sleeping:
			return "😴", "is sleeping"
		case last != nil && last.State == actions.RunFailed:
			return "🟠", "is running, but the last " + string(last.Verb) + " failed"
		case last != nil && last.State == actions.RunCancelled:
			return "🟠", "is running; the last " + string(last.Verb) + " was cancelled"
		case Drifted(env):
			return "🟡", "is running, and is not what was deployed any more"
		default:
			return "🟢", "is running"
		}
	case actions.StateFailure:
		if env.Commit.SHA == "" {
			return "🔴", "could not be deployed"
		}
		return "🔴", "is broken"
	case actions.StateArchived:
		return "📦", "is archived"
	case actions.StateCleaned:
		return "🧹", "is cleaned up"
	}
	if title, ok := between[env.State]; ok {
		return "⏳", title
	}
	return "⏳", "is in between"
}

// between is what the states are called through which an environment passes.
var between = map[actions.State]string{
	actions.StateCreatePending: "is being created", actions.StateUpdatePending: "is being updated", actions.StateArchivePending: "is being archived",
	actions.StateRestorePending: "is being restored", actions.StateCleanupPending: "is being cleaned up",
}

// Drifted tells whether a part of env was not what was deployed when it was last
// looked at.
func Drifted(env *actions.Environment) bool {
	for _, p := range env.Parts {
		if len(p.Drift) > 0 {
			return true
		}
	}
	return false
}
