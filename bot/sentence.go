package bot

import (
	"strings"

	"github.com/berth-dev/berth/actions"
)

// Sentence says in one sentence, without its full stop and without the name,
// how an environment is, such as "is running abc1234; the update to def5678
// failed: …". It is Markdown.
func Sentence(env *actions.Environment) string {
	text := stateWords(env)
	last := env.LastAction
	if last == nil || (last.State != actions.RunFailed && last.State != actions.RunCancelled) {
		return text
	}
	what := "the " + string(last.Verb)
	if last.Verb == actions.VerbDeploy && env.Commit.SHA != "" {
		what = "the update"
	}
	if last.Commit.SHA != "" && last.Verb.TakesCommit() {
		if last.Verb == actions.VerbDeploy && env.Commit.SHA != "" {
			what += " to"
		} else {
			what += " of"
		}
		what += " " + Code(Short(last.Commit.SHA), 40)
	}
	text += "; " + what + " failed"
	if last.State == actions.RunCancelled {
		text = strings.TrimSuffix(text, "failed") + "was cancelled"
	}
	if last.Error != "" && last.Error != actions.ErrCancelRequested.Msg { // which says no more than that
		text += ": " + strings.TrimRight(Escape(last.Error, 600), ".")
	}
	return withWhereabouts(text, last.Left)
}

// withWhereabouts adds where a run left its parts to a sentence without its full
// stop, and leaves it without one. What went wrong may be long, and is cut before
// this: it matters more.
func withWhereabouts(text, left string) string {
	if left == "" {
		return text
	}
	if !strings.HasSuffix(text, "…") {
		text += "."
	}
	return text + " " + strings.TrimRight(Escape(actions.Whereabouts(left), 4000), ".")
}

func stateWords(env *actions.Environment) string {
	commit := Code(Short(env.Commit.SHA), 40)
	with := func(verb string) string {
		if commit == "" {
			return verb
		}
		text := verb + " " + commit
		if env.Commit.Message != "" {
			text += " (" + Escape(env.Commit.Message, 80) + ")"
		}
		return text
	}
	and := func(is, commits string) string {
		if commit == "" {
			return is // it came from no repository
		}
		return with(is + commits)
	}
	switch env.State {
	case actions.StateCreatePending:
		return "is being created"
	case actions.StateUpdatePending:
		return with("is running") + " and is being updated"
	case actions.StateRunning:
		if env.Sleeping && env.SleptBy != "" {
			return and("is sleeping, put to sleep by "+Escape(env.SleptBy, 80), "; when awake it runs")
		}
		if env.Sleeping {
			return and("is sleeping", "; when awake it runs")
		}
		return with("is running")
	case actions.StateFailure:
		if commit == "" && (env.FirstRevision == 0 || env.Deployed < env.FirstRevision) {
			return "could not be deployed"
		}
		if commit == "" {
			return "is broken"
		}
		return "is broken; the last that was deployed is " + commit
	case actions.StateArchivePending:
		return "is being archived"
	case actions.StateArchived:
		return and("is archived", "; what ran was")
	case actions.StateRestorePending:
		return "is being restored"
	case actions.StateCleanupPending:
		return "is being cleaned up"
	case actions.StateCleaned:
		return "is gone since " + Moment(env.UpdatedAt)
	default:
		return "is in state " + Escape(string(env.State), 40)
	}
}
