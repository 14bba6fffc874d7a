package bot

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/approvals"
)

// lacking says in a sentence or two what a pending request waits for. What a
// policy says is from the config, yet escaped as all else.
func lacking(r *approvals.Request) string {
	if r.Outcome == nil || len(r.Outcome.Rules) == 0 {
		if r.Reason != "" {
			return Prose(r.Reason, 600)
		}
		return "It waits on."
	}
	var waits []string
	besides, told := "", false
	for _, rule := range r.Outcome.Rules {
		told = told || strings.Contains(r.Reason, rule.Rule)
		// What the rule says after its first sentence, which is about the same
		// groups, is what else holds it up: such as a team that could not be seen.
		if _, more, ok := strings.Cut(rule.Reason, ". "); ok && rule.Effect == approvals.EffectApprove {
			besides += " " + Prose(more, 600)
		}
		for _, g := range rule.Groups {
			if rule.Effect == approvals.EffectApprove && g.Missing > 0 {
				waits = append(waits, needs(g))
			}
		}
	}
	if len(waits) == 0 {
		return Prose(r.Reason, 600)
	}
	text := "It waits for " + Join(waits, "and for") + "." + besides
	if !told && r.Reason != "" {
		text += " " + Prose(r.Reason, 600) // the policy could not tell just now
	}
	return text
}

// needs is what one group still has to give: "1 more of `role:sre`, `actor:ana`
// (ben agrees)".
func needs(g approvals.GroupOutcome) string {
	text := strconv.Itoa(g.Missing)
	if len(g.By) > 0 {
		text += " more"
	}
	text += " of " + groups(g.From)
	return text + soFar(g)
}

// soFar is who of a group has said something, in brackets.
func soFar(g approvals.GroupOutcome) string {
	var parts []string
	switch {
	case len(g.By) > 0 && g.Missing > 0:
		parts = append(parts, "approved so far: "+names(g.By))
	case len(g.By) > 0:
		parts = append(parts, "approved: "+names(g.By))
	}
	if len(g.Against) > 0 {
		parts = append(parts, "against: "+names(g.Against))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

// groups are groups of approvers, any of which will do.
func groups(from []string) string {
	shown := make([]string, len(from))
	for i, g := range from {
		shown[i] = Code(g, 140)
	}
	return Join(shown, "or")
}

func names(people []string) string {
	shown := make([]string, len(people))
	for i, name := range people {
		shown[i] = Escape(name, 80)
	}
	return Join(shown, "and")
}

// outcomeText is what a policy said, rule by rule, as a list.
func outcomeText(in Input, o *approvals.Outcome, id string) string {
	if o == nil || len(o.Rules) == 0 {
		return ""
	}
	var b strings.Builder
	for _, rule := range o.Rules {
		b.WriteString("\n- Rule " + Code(rule.Rule, 80) + " " + ruleText(rule))
		if rule.BrokenBy != "" {
			continue // no decision counts for it any more
		}
		for _, i := range rule.Ignored {
			verdict := "approval"
			if i.Verdict == approvals.Deny {
				verdict = "denial"
			}
			fmt.Fprintf(&b, "\n  - %s's %s does not count: %s.", Escape(i.By, 80), verdict, strings.TrimRight(Escape(i.Why, 300), "."))
		}
		if len(rule.BreakGlass) > 0 && rule.Effect != approvals.EffectRelease && id != "" {
			fmt.Fprintf(&b, "\n  - %s may set it aside: %s.", groups(rule.BreakGlass), in.code(VerbApprove, id, "--break-glass", `--reason "…"`))
		}
	}
	return strings.TrimPrefix(b.String(), "\n")
}

// ruleText is what one rule says, as the end of a sentence that begins with its
// name, with its full stop.
func ruleText(rule approvals.RuleOutcome) string {
	if rule.BrokenBy != "" {
		return "was set aside by " + Escape(rule.BrokenBy, 80) + ", who broke the glass."
	}
	switch rule.Effect {
	case approvals.EffectRelease:
		if len(rule.Groups) > 0 {
			return "has what it asks for: " + each(rule.Groups) + "."
		}
		return "lets it run."
	case approvals.EffectApprove:
		return approveText(rule)
	case approvals.EffectRefuse:
		return "refuses it" + because(rule.Reason)
	case approvals.EffectDeny:
		return "counts it as denied" + because(rule.Reason)
	case approvals.EffectExpire:
		return "gave it up" + because(rule.Reason)
	default:
		return "says " + Escape(string(rule.Effect), 40) + because(rule.Reason)
	}
}

func because(reason string) string {
	if reason == "" {
		return "."
	}
	return ": " + strings.TrimRight(Prose(reason, 600), ".") + "."
}

// each says how far all groups of a rule are.
func each(all []approvals.GroupOutcome) string {
	texts := make([]string, len(all))
	for i, g := range all {
		texts[i] = fmt.Sprintf("%d of %s%s", g.Count, groups(g.From), soFar(g))
	}
	return Join(texts, "and")
}

func approveText(rule approvals.RuleOutcome) string {
	text := "asks for " + each(rule.Groups)
	if len(rule.Groups) == 0 {
		text = "asks for approval" + strings.TrimSuffix(because(rule.Reason), ".")
	}
	if rule.NotRequester {
		text += ", not counting whoever asked"
	}
	if rule.Majority {
		text += "; the majority decides"
	}
	text += "."
	if rule.Escalated {
		text += " It waited too long and was escalated; who was added may agree as well."
	}
	if rule.Reminders > 0 {
		text += " Reminded " + number(rule.Reminders, "time") + "."
	}
	if !rule.ExpiresAt.IsZero() {
		text += " Expires " + Moment(rule.ExpiresAt) + " unless it is decided by then."
	}
	return text
}

// past is what else has a part in how a request stands: that the glass was
// broken, and that it was planned again.
func past(r *approvals.Request) string {
	var b strings.Builder
	if g := r.Glass; g != nil {
		fmt.Fprintf(&b, "\n\n**%s broke the glass** at %s: %s", Escape(g.By.Actor, 80), Moment(g.At), Escape(g.Reason, 500))
	}
	if len(r.Changed) > 0 {
		b.WriteString("\n\nIt was planned again, since what would run is not what was agreed on before; earlier decisions count no more:\n")
		for _, change := range r.Changed {
			b.WriteString("\n- " + Escape(change, 300))
		}
	}
	return b.String()
}
