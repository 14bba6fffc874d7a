package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/berth-dev/berth/approvals"
)

// clock is a moment as people read it: "Mon 23 Nov 07:00 UTC".
func clock(t time.Time) string { return t.UTC().Format("Mon 2 Jan 15:04 UTC") }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// sentence ends a text that somebody wrote into a config or a chat.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || strings.HasSuffix(s, ".") || strings.HasSuffix(s, "!") || strings.HasSuffix(s, "?") {
		return s
	}
	return s + "."
}

// refusal says why a request cannot be, until when, and who can change that.
func (ev *evaluation) refusal(r *rule) string {
	text := fmt.Sprintf("The rule %s refuses this: %s", r.Name, sentence(r.Refuse))
	if end := ev.until(r); !end.IsZero() {
		text += fmt.Sprintf(" It holds until %s.", clock(end))
	}
	return text + unblock(r)
}

// unblock says who can set a rule aside.
func unblock(r *rule) string {
	if len(r.BreakGlass) == 0 {
		return " Only a change of Berth's config can change that."
	}
	return fmt.Sprintf(" In an emergency %s may set it aside, with --break-glass and --reason \"…\".", listed(r.BreakGlass, "or"))
}

// waiting says what a rule waits for.
func (ev *evaluation) waiting(r *rule, said voices, out *approvals.RuleOutcome) string {
	var text string
	switch need := missing(out.Groups); {
	case need != "":
		text = fmt.Sprintf("The rule %s needs %s", r.Name, need)
	case r.Approve.Majority && len(said.approve) <= len(said.deny):
		text = fmt.Sprintf("The rule %s needs more approvals than denials, of which there are %d and %d, from %s", r.Name, len(said.approve), len(said.deny), listed(everybody(r.Approve, out.Escalated), "or"))
	default:
		text = fmt.Sprintf("The rule %s waits to see who said no", r.Name)
	}
	if r.Approve.NotRequester && ev.by.Name != "" {
		text += fmt.Sprintf(" (not from %s, who asked)", ev.by.Name)
	}
	text += fmt.Sprintf(", by %s.", clock(out.ExpiresAt))
	if len(said.blind) > 0 {
		text += fmt.Sprintf(" Who belongs to %s could not be asked just now, so nobody counts by that; Berth tries again in a moment.", listed(said.blind, "and"))
	}
	return text
}

// missing is what is missing of approvals: "1 more approval from the role sre,
// and 2 more from the role db".
func missing(groups []approvals.GroupOutcome) string {
	var parts []string
	for _, group := range groups {
		if group.Missing == 0 {
			continue
		}
		text := fmt.Sprintf("%d more", group.Missing)
		if len(parts) == 0 {
			text += " approval"
			if group.Missing > 1 {
				text += "s"
			}
		}
		parts = append(parts, text+" from "+listed(group.From, "or"))
	}
	return strings.Join(parts, ", and ")
}

// denial says who said no, and why.
func denial(r *rule, said voices) string {
	var who []string
	for _, v := range said.deny {
		text := v.Name
		if v.decision.Reason != "" {
			text += fmt.Sprintf(" (%s)", v.decision.Reason)
		}
		who = append(who, text)
	}
	return fmt.Sprintf("%s said no, and the rule %s gives them that say. Ask for it again once that is settled.", joined(who, "and"), r.Name)
}
