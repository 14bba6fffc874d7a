package github

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

const (
	// maxShown is how many decisions, rules and parts a card lists.
	maxShown = 30
	// maxCalled is how many people and teams a comment calls at most.
	maxCalled = 10
)

// card is what a request's comment is made of.
type card struct {
	sc     *scene
	r      *approvals.Request // with its plan
	repo   string             // where the card stands
	number int
	note   string // what else is to be said of whom it waits for
}

func cardMarker(requestID string) string { return markerStart + "request=" + requestID + " -->" }

// renderCard is the comment that asks for approvals of a request, and says in
// the end who gave them. Like an environment's comment it says the same for as
// long as nothing changes.
func (s *Surface) renderCard(c card) string {
	r := c.r
	var b strings.Builder
	icon, title := cardHeadline(r)
	level := "###"
	if len(brokenRules(r)) > 0 {
		level = "##"
	}
	fmt.Fprintf(&b, "%s\n%s %s %s %s\n\n", cardMarker(r.ID), level, icon, bot.Code(r.Order.Env.String(), 100), title)
	b.WriteString(s.askedText(c) + "\n\n")
	paragraph := func(text string) {
		if text != "" {
			b.WriteString(text + "\n\n")
		}
	}
	paragraph(endText(r))
	paragraph(brokenText(r))
	paragraph(changedText(r))
	paragraph(lossText(r.Plan))
	paragraph(needsText(r))
	paragraph(s.decisionsText(c))
	if r.State == approvals.StatePending {
		paragraph(c.note)
		paragraph(answerText(r))
	}
	if r.Plan != nil {
		b.WriteString("<details><summary>Plan</summary>\n\n" + cutPlan(r.Plan) + "\n\n" + digestText(r) + "</details>\n")
	}
	return fit(strings.TrimRight(b.String(), "\n") + "\n")
}

// cardHeadline says in an icon and a few words where a request is.
func cardHeadline(r *approvals.Request) (icon, title string) {
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
	case len(brokenRules(r)) > 0:
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

// askedText says who wants what.
func (s *Surface) askedText(c card) string {
	r := c.r
	var b strings.Builder
	if r.Place.Surface == "github" && r.Place.Message == "" { // nobody typed it
		fmt.Fprintf(&b, "%s is to run", bot.Code("/"+r.Command, 300))
		if r.Requester.Actor != "" {
			fmt.Fprintf(&b, " for **%s**", bot.Escape(r.Requester.Actor, 80))
		}
	} else {
		fmt.Fprintf(&b, "**%s** asked for %s %s", bot.Escape(r.Requester.Actor, 80), bot.Code("/"+r.Command, 300), s.whence(c, r.Place))
	}
	reason := strings.TrimSpace(r.Order.Reason)
	if r.Glass != nil && reason == r.Glass.Reason || strings.Contains(r.Command, "--reason") {
		reason = "" // it is told already
	}
	if reason != "" {
		b.WriteString(": " + bot.Escape(reason, 300))
	}
	if reason == "" || !strings.ContainsAny(reason[len(reason)-1:], ".!?") {
		b.WriteString(".")
	}
	if r.Order.Verb.TakesCommit() {
		if link := s.commitLink(c.repo, r.Order.Commit); link != "" {
			b.WriteString("\n\nCommit " + link)
			if r.Order.Commit.Fork {
				b.WriteString(" – **from a fork**")
			}
		}
	}
	return b.String()
}

// surfaceWords are places where people ask and decide.
var surfaceWords = map[string]string{
	"cli": "in a terminal", "api": "by the API", "web": "on the dashboard", "schedule": "by a schedule",
	"slack": "in Slack", "discord": "in Discord", "mattermost": "in Mattermost",
}

// whence says where something was said, with a link where there is one.
func (s *Surface) whence(c card, p approvals.Place) string {
	if p.Surface != "github" {
		if words, ok := surfaceWords[p.Surface]; ok {
			return words
		}
		return "by " + bot.Escape(p.Surface, 40)
	}
	repo, number, ok := parsePlace(p.ID)
	if !ok {
		return "on GitHub"
	}
	words := "here"
	if number != c.number || !strings.EqualFold(repo, c.repo) {
		words = "on another pull request"
	}
	if p.Message == "" || strings.Trim(p.Message, "0123456789") != "" {
		return words
	}
	return fmt.Sprintf("[%s](%s/%s/pull/%d#issuecomment-%s)", words, s.client.web(), repo, number, p.Message)
}

// endText says why a request ended where its headline and the decisions do not.
func endText(r *approvals.Request) string {
	switch r.State {
	case approvals.StateSuperseded, approvals.StateCancelled, approvals.StateRefused, approvals.StateFailed, approvals.StateExpired:
		if r.Reason != "" {
			first, _, _ := strings.Cut(strings.TrimSpace(r.Reason), "\n")
			return prose(first, 600)
		}
	case approvals.StatePending:
		// What the rules ask for is listed; a reason beside them is one why they
		// could not be asked.
		if r.Reason != "" && (r.Outcome == nil || len(waiting(r)) == 0 || r.Reason != r.Outcome.Reason) {
			return prose(r.Reason, 600)
		}
	}
	return ""
}

// brokenRules are the rules that somebody set aside.
func brokenRules(r *approvals.Request) (names []string) {
	if r.Outcome == nil {
		return nil
	}
	for _, rule := range r.Outcome.Rules {
		if rule.BrokenBy != "" {
			names = append(names, bot.Code(rule.Rule, 100))
		}
	}
	return names
}

// brokenText says who broke the glass, why, and what it did.
func brokenText(r *approvals.Request) string {
	if r.Glass == nil {
		return ""
	}
	what := "No rule that matches lets them, so that it changed nothing."
	if broken := brokenRules(r); len(broken) > 0 {
		what = "Set aside: " + bot.Join(broken, "and") + "."
	}
	return fmt.Sprintf("🚨 **%s broke the glass** at %s: %s\n\n%s",
		bot.Escape(r.Glass.By.Actor, 80), moment(r.Glass.At), bot.Escape(r.Glass.Reason, 600), what)
}

// changedText names what was not as it was agreed on.
func changedText(r *approvals.Request) string {
	if len(r.Changed) == 0 {
		return ""
	}
	return "🔁 **This is a new plan.** What was agreed on before no longer holds, since this has changed:\n\n" + list(r.Changed, func(text string) string { return prose(text, 300) })
}

// lossText names the parts whose data goes, where everybody sees it.
func lossText(plan *actions.Plan) string {
	if plan == nil || !plan.Destructive {
		return ""
	}
	parts := slices.DeleteFunc(slices.Clone(plan.Parts), func(p actions.PartPlan) bool { return !p.Destructive })
	if len(parts) == 0 {
		return "⚠️ **This takes data away.**"
	}
	return "⚠️ **This takes data away:**\n\n" + list(parts, func(p actions.PartPlan) string {
		return fmt.Sprintf("**%s** (%s): %s", bot.Escape(p.Part, 60), bot.Escape(p.Use, 60), bot.Escape(p.Summary, 300))
	})
}

// list is a list of at most maxShown lines.
func list[T any](all []T, line func(T) string) string {
	lines := make([]string, 0, min(len(all), maxShown)+1)
	for i, item := range all {
		if i == maxShown {
			lines = append(lines, fmt.Sprintf("- and %d more", len(all)-maxShown))
			break
		}
		lines = append(lines, "- "+line(item))
	}
	return strings.Join(lines, "\n")
}

// need is what one group of approvers has yet to say, or has said.
type need struct {
	rule  *approvals.RuleOutcome
	group *approvals.GroupOutcome
}

// needs are the groups of all rules that ask for approvals.
func needs(r *approvals.Request) (all []need) {
	if r.Outcome == nil {
		return nil
	}
	for i := range r.Outcome.Rules {
		rule := &r.Outcome.Rules[i]
		if rule.BrokenBy != "" {
			continue
		}
		for k := range rule.Groups {
			all = append(all, need{rule, &rule.Groups[k]})
		}
	}
	return all
}

// waiting are those that have not said enough.
func waiting(r *approvals.Request) []need {
	return slices.DeleteFunc(needs(r), func(n need) bool { return n.group.Missing == 0 })
}

// needsText says which rules ask for whom, and how far that is.
func needsText(r *approvals.Request) string {
	all := needs(r)
	if len(all) == 0 {
		return ""
	}
	head := "**Waits for:**"
	if r.State != approvals.StatePending {
		head = "**Needed:**"
	}
	return head + "\n\n" + list(all, func(n need) string { return n.text(r) })
}

// text is "1 more of `role:sre` (ben agreed), by the rule `x`, until …".
func (n need) text(r *approvals.Request) string {
	g, rule := n.group, n.rule
	var b strings.Builder
	pending := r.State == approvals.StatePending
	switch {
	case g.Missing == 0:
		fmt.Fprintf(&b, "🟢 %d of %s", g.Count, groupNames(g.From))
	case len(g.By) > 0:
		fmt.Fprintf(&b, "⚪ **%d more** of %s", g.Missing, groupNames(g.From))
	default:
		fmt.Fprintf(&b, "⚪ **%d** of %s", g.Missing, groupNames(g.From))
	}
	if said := saidText(g); said != "" {
		b.WriteString(" (" + said + ")")
	}
	fmt.Fprintf(&b, " – rule %s", bot.Code(rule.Rule, 100))
	if g.Missing == 0 || !pending {
		return b.String()
	}
	if rule.Majority {
		b.WriteString(", the majority decides")
	}
	if rule.NotRequester {
		fmt.Fprintf(&b, ", not %s, who asked for it", bot.Escape(r.Requester.Actor, 80))
	}
	if !rule.ExpiresAt.IsZero() {
		b.WriteString(", until " + moment(rule.ExpiresAt))
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
			parts = append(parts, bot.Join(escaped(said.who), "and")+" "+said.what)
		}
	}
	return strings.Join(parts, ", ")
}

func escaped(names []string) []string {
	shown := make([]string, 0, min(len(names), maxShown))
	for i, name := range names {
		if i == maxShown {
			return append(shown, fmt.Sprintf("%d more", len(names)-maxShown))
		}
		shown = append(shown, bot.Escape(name, 80))
	}
	return shown
}

// groupNames are the groups of a policy as people read them. Nobody is called by
// them: what is code is no mention.
func groupNames(from []string) string {
	names := make([]string, len(from))
	for i, f := range from {
		kind, name, _ := strings.Cut(f, ":")
		switch kind {
		case "github-team":
			names[i] = "the team " + bot.Code(name, 100)
		case "codeowners":
			names[i] = "the code owners"
		case "actor":
			names[i] = bot.Code(name, 100)
		default:
			names[i] = bot.Code(f, 100)
		}
	}
	return bot.Join(names, "or")
}

// decisionsText says who decided what, where and why.
func (s *Surface) decisionsText(c card) string {
	if len(c.r.Decisions) == 0 {
		return ""
	}
	return "**Decisions:**\n\n" + list(c.r.Decisions, func(d approvals.Decision) string {
		icon, did := "✅", "agreed"
		if d.Verdict == approvals.Deny {
			icon, did = "❌", "said no"
		}
		why := ""
		if d.BreakGlass {
			icon, did, d.Reason = "🚨", "broke the glass", "" // it stands above
		}
		if c.r.Outcome != nil {
			if counts, because := c.r.Outcome.Counts(d.By.Identity); !counts {
				icon, why = "➖", "; it does not count: "+bot.Escape(strings.TrimSuffix(because, "."), 200)
			}
		}
		text := fmt.Sprintf("%s **%s** %s %s at %s%s", icon, bot.Escape(d.By.Actor, 80), did, s.whence(c, d.Place), moment(d.At), why)
		if d.Reason != "" {
			text += ": " + bot.Escape(d.Reason, 300)
		}
		return text
	})
}

// answerText says what to type. The id keeps an answer from counting for
// another request than the one that was read.
func answerText(r *approvals.Request) string {
	text := fmt.Sprintf("**To agree**, comment\n\n%s\n\n%s says no, %s says more, %s withdraws it.",
		bot.Block("/approve "+r.ID, ""), bot.Code("/deny "+r.ID+" why not", 60), bot.Code("/explain "+r.ID, 60), bot.Code("/cancel "+r.ID, 60))
	var may []string
	for _, n := range needs(r) {
		for _, group := range n.rule.BreakGlass {
			if !slices.Contains(may, group) {
				may = append(may, group)
			}
		}
	}
	if len(may) > 0 {
		text += fmt.Sprintf("\n\nIn an emergency %s may break the glass, for everybody to see: %s", groupNames(may), bot.Code("/approve "+r.ID+` --break-glass --reason "why"`, 100))
	}
	return text
}

// digestText names what an approval is tied to.
func digestText(r *approvals.Request) string {
	if r.Digest == "" {
		return ""
	}
	plan := bot.Code(clip(r.Digest, 19), 20)
	if r.State != approvals.StatePending {
		return "This is the plan " + plan + ".\n\n"
	}
	return fmt.Sprintf("An approval is for exactly this plan, %s: if anything of it changes before it runs, it is asked for anew.\n\n", plan)
}

// waitsFor is what a pending request waits for in a line; "" when there is
// nothing to name.
func waitsFor(r *approvals.Request) string {
	var texts []string
	for i, n := range waiting(r) {
		if i == 5 {
			texts = append(texts, "others")
			break
		}
		more := ""
		if len(n.group.By) > 0 {
			more = " more"
		}
		text := fmt.Sprintf("%d%s of %s", n.group.Missing, more, groupNames(n.group.From))
		if said := saidText(n.group); said != "" {
			text += " (" + said + ")"
		}
		texts = append(texts, text)
	}
	return bot.Join(texts, "and")
}
