package bot

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// What cards say of a request on every surface: whom it waits for, what was
// decided and what became of it. All of it is Markdown with what came from
// outside escaped, and says the same for as long as nothing changes.

// maxListed is how many decisions, rules and parts a card lists.
const maxListed = 30

// BrokenRules are the rules of r that somebody set aside, as code.
func BrokenRules(r *approvals.Request) (names []string) {
	if r.Outcome == nil {
		return nil
	}
	for _, rule := range r.Outcome.Rules {
		if rule.BrokenBy != "" {
			names = append(names, Code(rule.Rule, 100))
		}
	}
	return names
}

// Need is what one group of approvers has yet to say of a request, or has said.
type Need struct {
	Rule  *approvals.RuleOutcome
	Group *approvals.GroupOutcome
}

// Needs are the groups of all rules that ask for approvals of r.
func Needs(r *approvals.Request) (all []Need) {
	if r.Outcome == nil {
		return nil
	}
	for i := range r.Outcome.Rules {
		rule := &r.Outcome.Rules[i]
		if rule.BrokenBy != "" {
			continue
		}
		for k := range rule.Groups {
			all = append(all, Need{rule, &rule.Groups[k]})
		}
	}
	return all
}

// Lacking are those of Needs that have not said enough.
func Lacking(r *approvals.Request) []Need {
	return slices.DeleteFunc(Needs(r), func(n Need) bool { return n.Group.Missing == 0 })
}

// NeedsList says which rules ask for whom, and how far that is, as a list; ""
// when none does.
func NeedsList(r *approvals.Request) string { return NeedsListBy(r, time.Time{}) }

// NeedsListBy is NeedsList where it is said already that time is up at by.
func NeedsListBy(r *approvals.Request, by time.Time) string {
	return Listed(Needs(r), func(n Need) string { return n.text(r, by) })
}

// text is "1 more of `role:sre` (ben agreed), by the rule `x`, until …".
func (n Need) text(r *approvals.Request, by time.Time) string {
	g, rule := n.Group, n.Rule
	var b strings.Builder
	pending := r.State == approvals.StatePending
	switch {
	case g.Missing == 0:
		fmt.Fprintf(&b, "🟢 %d of %s", g.Count, GroupNames(g.From))
	case len(g.By) > 0:
		fmt.Fprintf(&b, "⚪ **%d more** of %s", g.Missing, GroupNames(g.From))
	default:
		fmt.Fprintf(&b, "⚪ **%d** of %s", g.Missing, GroupNames(g.From))
	}
	if said := saidText(g); said != "" {
		b.WriteString(" (" + said + ")")
	}
	fmt.Fprintf(&b, " – rule %s", Code(rule.Rule, 100))
	if g.Missing == 0 || !pending {
		return b.String()
	}
	if rule.Majority {
		b.WriteString(", the majority decides")
	}
	if rule.NotRequester {
		fmt.Fprintf(&b, ", not %s, who asked for it", Escape(r.Requester.Actor, 80))
	}
	if !rule.ExpiresAt.IsZero() && !rule.ExpiresAt.Equal(by) {
		b.WriteString(", until " + Moment(rule.ExpiresAt))
	}
	if rule.Escalated {
		b.WriteString("; nobody agreed for so long that more people may now")
	}
	return b.String()
}

// saidText is "ana and ben agreed, cleo said no".
func saidText(g *approvals.GroupOutcome) string {
	var parts []string
	for _, said := range []struct {
		who  []string
		what string
	}{{g.By, "agreed"}, {g.Against, "said no"}} {
		if len(said.who) > 0 {
			parts = append(parts, Join(escaped(said.who), "and")+" "+said.what)
		}
	}
	return strings.Join(parts, ", ")
}

func escaped(names []string) []string {
	shown := make([]string, 0, min(len(names), maxListed))
	for i, name := range names {
		if i == maxListed {
			return append(shown, fmt.Sprintf("%d more", len(names)-maxListed))
		}
		shown = append(shown, Escape(name, 80))
	}
	return shown
}

// GroupNames are the groups of a policy as people read them: "the team
// `acme/ops`, the code owners or `ana`". Nobody is called by them: what is code
// is no mention.
func GroupNames(from []string) string {
	names := make([]string, len(from))
	for i, f := range from {
		kind, name, _ := strings.Cut(f, ":")
		switch kind {
		case "github-team":
			names[i] = "the team " + Code(name, 100)
		case "slack-group":
			names[i] = "the Slack group " + Code(name, 100)
		case "discord-role":
			names[i] = "the Discord role " + Code(name, 100)
		case "codeowners":
			names[i] = "the code owners"
		case "actor":
			names[i] = Code(name, 100)
		default:
			names[i] = Code(f, 100)
		}
	}
	return Join(names, "or")
}

// WaitsFor is what a pending request waits for in a line; "" when there is
// nothing to name.
func WaitsFor(r *approvals.Request) string {
	var texts []string
	for i, n := range Lacking(r) {
		if i == 5 {
			texts = append(texts, "others")
			break
		}
		more := ""
		if len(n.Group.By) > 0 {
			more = " more"
		}
		text := fmt.Sprintf("%d%s of %s", n.Group.Missing, more, GroupNames(n.Group.From))
		if said := saidText(n.Group); said != "" {
			text += " (" + said + ")"
		}
		texts = append(texts, text)
	}
	return Join(texts, "and")
}

// Until is the first end of what a request waits for; zero when it has none.
func Until(r *approvals.Request) (soonest time.Time) {
	for _, n := range Lacking(r) {
		if end := n.Rule.ExpiresAt; !end.IsZero() && (soonest.IsZero() || end.Before(soonest)) {
			soonest = end
		}
	}
	return soonest
}

// UntilText is ", until …" for Until; "" when it is zero.
func UntilText(r *approvals.Request) string {
	if soonest := Until(r); !soonest.IsZero() {
		return ", until " + Moment(soonest)
	}
	return ""
}

// RulesAsk is "rule `a` asks" or "rules `a` and `b` ask".
func RulesAsk(names []string) string {
	if len(names) == 1 {
		return "rule " + names[0] + " asks"
	}
	return "rules " + Join(names, "and") + " ask"
}

// GlassGroups are the groups that may set aside a rule that r waits for.
func GlassGroups(r *approvals.Request) (may []string) {
	for _, n := range Needs(r) {
		for _, group := range n.Rule.BreakGlass {
			if !slices.Contains(may, group) {
				may = append(may, group)
			}
		}
	}
	return may
}

// GlassText says who broke the glass, why, and what it did; "" when nobody did.
func GlassText(r *approvals.Request) string {
	if r.Glass == nil {
		return ""
	}
	what := "No rule that matches lets them, so that it changed nothing."
	if broken := BrokenRules(r); len(broken) > 0 {
		what = "Set aside: " + Join(broken, "and") + "."
	}
	return fmt.Sprintf("🚨 **%s broke the glass** at %s: %s\n\n%s",
		Escape(r.Glass.By.Actor, 80), Moment(r.Glass.At), Escape(r.Glass.Reason, 600), what)
}

// ChangedList names what was not as it was agreed on, as a list; "" when r was
// not planned again.
func ChangedList(r *approvals.Request) string {
	return Listed(r.Changed, func(text string) string { return Prose(text, 300) })
}

// LossText names the parts of a plan whose data goes; "" when none does.
func LossText(plan *actions.Plan) string {
	if plan == nil || !plan.Destructive {
		return ""
	}
	parts := slices.DeleteFunc(slices.Clone(plan.Parts), func(p actions.PartPlan) bool { return !p.Destructive })
	if len(parts) == 0 {
		return "⚠️ **This takes data away.**"
	}
	return "⚠️ **This takes data away:**\n\n" + Listed(parts, func(p actions.PartPlan) string {
		return fmt.Sprintf("**%s** (%s): %s", Escape(p.Part, 60), Escape(p.Use, 60), Escape(p.Summary, 300))
	})
}

// EndText says why a request ended where its headline and the decisions do not,
// and what a pending one waits for besides what its rules ask for.
func EndText(r *approvals.Request) string {
	switch r.State {
	case approvals.StateSuperseded, approvals.StateCancelled, approvals.StateRefused, approvals.StateFailed, approvals.StateExpired:
		if r.Reason != "" {
			first, _, _ := strings.Cut(strings.TrimSpace(r.Reason), "\n")
			return Prose(first, 600)
		}
	case approvals.StatePending:
		// What the rules ask for is listed; a reason beside them is one why they
		// could not be asked.
		if r.Reason != "" && (r.Outcome == nil || len(Lacking(r)) == 0 || r.Reason != r.Outcome.Reason) {
			return Prose(r.Reason, 600)
		}
	}
	return ""
}

// DecisionsList says who decided what, where and why, as a list. whence says
// where, such as "in Slack" or SurfaceWords of it.
func DecisionsList(r *approvals.Request, whence func(approvals.Place) string) string {
	return Listed(r.Decisions, func(d approvals.Decision) string {
		icon, did := "✅", "agreed"
		if d.Verdict == approvals.Deny {
			icon, did = "❌", "said no"
		}
		why := ""
		if d.BreakGlass {
			icon, did, d.Reason = "🚨", "broke the glass", "" // it stands above
		}
		if r.Outcome != nil {
			if counts, because := r.Outcome.Counts(d.By.Identity); !counts {
				icon, why = "➖", "; it does not count: "+Escape(strings.TrimSuffix(because, "."), 200)
			}
		}
		text := fmt.Sprintf("%s **%s** %s %s at %s%s", icon, Escape(d.By.Actor, 80), did, whence(d.Place), Moment(d.At), why)
		if d.Reason != "" {
			text += ": " + Escape(d.Reason, 300)
		}
		return text
	})
}

// surfaceWords are places where people ask and decide.
var surfaceWords = map[string]string{
	"cli": "in a terminal", "api": "by the API", "web": "on the dashboard", "schedule": "by a schedule", "github": "on GitHub",
	PlatformSlack: "in Slack", PlatformDiscord: "in Discord", "mattermost": "in Mattermost",
}

// SurfaceWords says where something was said or done: "in Slack".
func SurfaceWords(surface string) string {
	if words, ok := surfaceWords[surface]; ok {
		return words
	}
	return "by " + Escape(surface, 40)
}

// Listed is a list of at most 30 lines, and says how many more there are; ""
// when there are none.
func Listed[T any](all []T, line func(T) string) string {
	lines := make([]string, 0, min(len(all), maxListed)+1)
	for i, item := range all {
		if i == maxListed {
			lines = append(lines, fmt.Sprintf("- and %d more", len(all)-maxListed))
			break
		}
		lines = append(lines, "- "+line(item))
	}
	return strings.Join(lines, "\n")
}
