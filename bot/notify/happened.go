package notify

import (
	"fmt"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// maxWords bounds what a notice quotes of a reason, in characters.
const maxWords = 1000

// noticesOf is what there is to tell of a request as it is now.
func noticesOf(r *approvals.Request) (all []bot.Notice) {
	if r.DryRun || r.Order.Env.IsZero() {
		return nil
	}
	if r.Glass != nil {
		all = append(all, glass(r))
	}
	switch r.State {
	case approvals.StatePending:
		all = append(all, waits(r))
	case approvals.StateFailed:
		all = append(all, failed(r))
	case approvals.StateSucceeded:
		if n, ok := succeeded(r); ok {
			all = append(all, n)
		}
	}
	return all
}

// about is a notice about r. What it says comes from outside: its title is plain
// text, and in its text everything is escaped.
func about(r *approvals.Request, event string, severity bot.Severity, title string) bot.Notice {
	n := bot.Notice{
		Event: event, Severity: severity, Env: r.Order.Env, Request: r.ID, Key: event + ":" + r.ID, Title: r.Order.Env.String() + title, At: r.EndedAt,
		Text: fmt.Sprintf("%s by %s (request `%s`).", bot.Code(r.Command, 300), bot.Escape(r.Requester.Actor, 80), r.ID),
	}
	if n.At.IsZero() {
		n.At = r.UpdatedAt
	}
	return n
}

func waits(r *approvals.Request) bot.Notice {
	n := about(r, bot.EventWaiting, bot.SeverityWarning, fmt.Sprintf(": %s for %s waits for people to agree", r.Order.Verb, r.Requester.Actor))
	if r.Reason != "" {
		n.Text += "\n\n" + bot.Escape(r.Reason, maxWords)
	}
	n.Commands = []bot.Suggestion{{Label: "Approve", Command: "approve " + r.ID}, {Label: "Deny", Command: "deny " + r.ID}, {Label: "Why it waits", Command: "explain " + r.ID}}
	return n
}

func glass(r *approvals.Request) bot.Notice {
	n := about(r, bot.EventGlass, bot.SeverityWarning, fmt.Sprintf(": %s broke the glass for %s", r.Glass.By.Actor, r.Order.Verb))
	n.At = r.Glass.At
	n.Text += "\n\nThe reason that was given: " + bot.Escape(r.Glass.Reason, maxWords)
	n.Commands = []bot.Suggestion{{Label: "What it was for", Command: "explain " + r.ID}}
	return n
}

func failed(r *approvals.Request) bot.Notice {
	what := string(r.Order.Verb)
	if r.Order.Verb.TakesCommit() && r.Order.Commit.SHA != "" {
		what += " of " + bot.Short(r.Order.Commit.SHA)
	}
	n := about(r, bot.EventFailed, bot.SeverityError, ": "+what+" failed")
	if r.Reason != "" {
		n.Text += "\n\n" + bot.Escape(r.Reason, maxWords)
	}
	if r.Left != "" {
		n.Text += "\n\n" + bot.Escape(actions.Whereabouts(r.Left), maxWords)
	}
	if r.RunID != "" {
		n.Commands = []bot.Suggestion{{Label: "Show the log", Command: "logs " + r.RunID}}
	}
	return n
}

// succeeded is what a success is told as; most are not told.
func succeeded(r *approvals.Request) (bot.Notice, bool) {
	commit := strings.TrimSpace(" " + bot.Short(r.Order.Commit.SHA))
	switch r.Order.Verb {
	case actions.VerbDeploy, actions.VerbRestore:
		title := " runs"
		if r.Order.Verb == actions.VerbRestore {
			title = " is restored and runs"
		}
		if commit != "" {
			title += " " + commit
		} else if r.Order.Verb == actions.VerbDeploy {
			title = " is deployed"
		}
		return about(r, bot.EventDeployed, bot.SeverityInfo, title), true
	case actions.VerbRollback:
		return about(r, bot.EventDeployed, bot.SeverityInfo, " is rolled back"), true
	case actions.VerbArchive:
		return about(r, bot.EventArchived, bot.SeverityInfo, " is archived"), true
	case actions.VerbCleanup:
		return about(r, bot.EventCleaned, bot.SeverityInfo, " is cleaned up"), true
	default:
		return bot.Notice{}, false
	}
}
