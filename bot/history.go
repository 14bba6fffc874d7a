package bot

import (
	"context"
	"fmt"
	"strings"

	"github.com/berth-dev/berth/actions"
)

const (
	historyShown = 20  // of an environment's past in one reply; the API has all
	historyMost  = 200 // of it that is looked through for a revision
)

// History is actions.Store.History.
func (s *Service) History(ctx context.Context, name actions.Name, limit int) ([]actions.HistoryEntry, error) {
	return s.store.History(ctx, name, limit)
}

// history shows the revisions of an environment, which of them runs, and what
// else was done to it.
func (s *Service) history(ctx context.Context, in Input, c Command) (Reply, error) {
	_, name, err := s.target(in, c)
	if err != nil {
		return Reply{}, err
	}
	env, err := s.store.Environment(ctx, name)
	if isNotFound(err) {
		return Reply{}, s.noEnvironment(ctx, in, name)
	}
	if err != nil {
		return Reply{}, err
	}
	past, err := s.store.History(ctx, name, historyMost)
	if err != nil {
		return Reply{}, err
	}
	shown := Code(name.String(), 100)
	if len(past) == 0 {
		return Reply{Tone: ToneInfo, Environment: env, Text: "Nothing has ended at " + shown + " yet. " + s.shown(in, VerbStatus, name) + " says how it is."}, nil
	}
	var b strings.Builder
	b.WriteString("What was done to " + shown + ", the newest first:\n\n| revision | action | commit | by | when |\n|---|---|---|---|---|")
	for i, e := range past {
		if i == historyShown {
			break
		}
		fmt.Fprintf(&b, "\n| %s | %s | %s | %s | %s |", revisionText(env, e), Did(e), commitText(e.Commit), orDash(Escape(e.By, 80)), Moment(e.EndedAt))
	}
	b.WriteString("\n\n")
	if len(past) > historyShown {
		fmt.Fprintf(&b, "These are the newest %d of %d; `berth history %s` in a terminal shows more. ", historyShown, len(past), name)
	}
	b.WriteString(s.goBack(in, env, past))
	return Reply{Tone: ToneInfo, Environment: env, Text: strings.TrimRight(b.String(), " ")}, nil
}

// goBack says how to go back to a revision, where there is one to go back to.
func (s *Service) goBack(in Input, env *actions.Environment, past []actions.HistoryEntry) string {
	if env.State != actions.StateRunning && env.State != actions.StateFailure && !env.State.Pending() {
		return s.next(in, env)
	}
	for _, e := range past {
		if e.Revision >= max(1, env.FirstRevision) && e.Revision < env.Deployed && e.Kept {
			return s.shown(in, string(actions.VerbRollback), env.Name) + " goes back to what ran before, " +
				s.shown(in, string(actions.VerbRollback), env.Name, fmt.Sprintf("--to %d", e.Revision)) + " to that revision."
		}
	}
	return "There is no earlier revision that can be gone back to."
}

// revisionText is the revision that a run made, with a mark on the one that runs.
func revisionText(env *actions.Environment, e actions.HistoryEntry) string {
	switch {
	case e.Revision == 0:
		return "–"
	case e.Revision == env.Deployed && Serves(env):
		return fmt.Sprintf("**%d** (runs now)", e.Revision)
	default:
		return fmt.Sprint(e.Revision)
	}
}

// Serves tells whether the environment's last good revision is what is there: it
// runs, or sleeps, or is being updated.
func Serves(env *actions.Environment) bool {
	return env.State == actions.StateRunning || env.State == actions.StateUpdatePending
}

// Did is what an ended run did, in a few words of Markdown: "rollback to 3",
// "deploy failed: …".
func Did(e actions.HistoryEntry) string {
	text := string(e.Verb)
	if e.Back > 0 {
		text += fmt.Sprintf(" to %d", e.Back)
	}
	switch e.State {
	case actions.RunSucceeded:
		return text
	case actions.RunCancelled:
		text += " was cancelled"
	default:
		text += " " + string(e.State)
	}
	if e.Error != "" {
		text += ": " + Escape(e.Error, 160)
	}
	return text
}

// commitText is a commit in a cell of a table.
func commitText(c actions.Commit) string {
	if c.SHA == "" {
		return "–"
	}
	text := Code(Short(c.SHA), 40)
	if c.Message != "" {
		text += " " + Escape(c.Message, 60)
	}
	return text
}
