package github

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// shownReceipts is how many things that were taken away a comment names, and
	// shownDrift how many differences.
	shownReceipts = 50
	shownDrift    = 10
)

// componentRows says what an environment is built from besides its own commit.
func (s *Surface) componentRows(sc *scene, row func(name, value string)) {
	for _, name := range slices.Sorted(maps.Keys(sc.env.Components)) {
		c := sc.env.Components[name]
		if !validRepo(c.Repo) {
			continue
		}
		text := s.commitLink(c.Repo, c.Commit)
		switch {
		case c.PullRequest > 0:
			text = strings.TrimSpace(text + " of " + s.pullLink(c.Repo, c.PullRequest))
		case c.Ref != "":
			text = strings.TrimSpace(text + " of " + bot.Code(c.Repo+"@"+c.Ref, 200))
		default:
			text = strings.TrimSpace(text + " of " + bot.Code(c.Repo, 150))
		}
		row("**"+bot.Escape(name, 60)+"**", text)
	}
}

// sleepText says who put an environment to sleep.
func sleepText(sc *scene) string {
	if sc.env == nil || !sc.env.Sleeping || sc.env.State == actions.StateCleaned {
		return ""
	}
	if sc.env.SleptBy == "" {
		return "" // the headline says all there is to say
	}
	return "put to sleep by " + bot.Escape(sc.env.SleptBy, 80) + ", with its data kept"
}

// expiryText says until when an environment is there.
func expiryText(sc *scene) string {
	if sc.env == nil || sc.env.State == actions.StateCleaned || (sc.underway() && sc.latest.Order.Verb == actions.VerbCleanup) {
		return ""
	}
	if sc.env.Keep {
		return "never: somebody said that it stays"
	}
	if sc.env.ExpiresAt.IsZero() {
		return ""
	}
	text := bot.Moment(sc.env.ExpiresAt) + ", unless it is extended or deployed again before"
	if sc.app != nil && sc.app.OnExpiry == actions.VerbArchive && sc.env.State != actions.StateArchived {
		text += "; then it will be archived"
	}
	return text
}

// driftOf is how an environment's parts differ from what was deployed, by part.
func driftOf(env *actions.Environment) (lines []string) {
	if env == nil || env.State != actions.StateRunning || env.Sleeping {
		return nil
	}
	for _, part := range slices.Sorted(maps.Keys(env.Parts)) {
		for _, line := range env.Parts[part].Drift {
			lines = append(lines, bot.Code(part, 60)+": "+bot.Escape(line, 200))
		}
	}
	return lines
}

// driftText says what is not as it was deployed. While something is under way
// that may set it right, it says nothing.
func driftText(sc *scene) string {
	lines := driftOf(sc.env)
	if len(lines) == 0 || sc.underway() {
		return ""
	}
	text := "🟡 **Not as deployed:**\n\n- " + strings.Join(lines[:min(len(lines), shownDrift)], "\n- ") + "\n"
	if left := len(lines) - shownDrift; left > 0 {
		text += fmt.Sprintf("- and %d more\n", left)
	}
	return text + "\n"
}

// receiptsSection names what the last run took away, folded.
func receiptsSection(sc *scene) string {
	if sc.run == nil || sc.run.State == actions.RunRunning {
		return ""
	}
	var lines []string
	total := 0
	for _, step := range sc.run.Steps {
		total += len(step.Receipts) + step.ReceiptsLeft
		for _, r := range step.Receipts {
			if len(lines) == shownReceipts {
				break
			}
			name := r.Name
			if r.Namespace != "" {
				name = r.Namespace + "/" + name
			}
			line := bot.Code(step.Part, 60) + ": " + bot.Escape(r.Kind, 60) + " " + bot.Code(name, 150)
			if r.Destructive {
				line += ", with its data"
			}
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return ""
	}
	// What stands on the summary's line is HTML: only words of ours.
	text := fmt.Sprintf("\n<details><summary>Taken away by the %s: %d</summary>\n\n- ", sc.run.Order.Verb, total) + strings.Join(lines, "\n- ") + "\n"
	if left := total - len(lines); left > 0 {
		text += fmt.Sprintf("- and %d more; %s in a terminal shows all of them\n", left, bot.Code("berth logs "+sc.name.String(), 120))
	}
	return text + "\n</details>\n"
}
