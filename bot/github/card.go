package github

import (
	"fmt"
	"strings"

	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// maxCalled is how many people and teams a comment calls at most.
const maxCalled = 10

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
	icon, title := bot.RequestHeadline(r)
	level := "###"
	if len(bot.BrokenRules(r)) > 0 {
		level = "##"
	}
	fmt.Fprintf(&b, "%s\n%s %s %s %s\n\n", cardMarker(r.ID), level, icon, bot.Code(r.Order.Env.String(), 100), title)
	b.WriteString(s.askedText(c) + "\n\n")
	paragraph := func(text string) {
		if text != "" {
			b.WriteString(text + "\n\n")
		}
	}
	paragraph(bot.EndText(r))
	paragraph(bot.GlassText(r))
	paragraph(changedText(r))
	paragraph(bot.LossText(r.Plan))
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

// whence says where something was said, with a link where there is one.
func (s *Surface) whence(c card, p approvals.Place) string {
	if p.Surface != "github" {
		return bot.SurfaceWords(p.Surface)
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

// changedText names what was not as it was agreed on.
func changedText(r *approvals.Request) string {
	if len(r.Changed) == 0 {
		return ""
	}
	return "🔁 **This is a new plan.** What was agreed on before no longer holds, since this has changed:\n\n" + bot.ChangedList(r)
}

// needsText says which rules ask for whom, and how far that is.
func needsText(r *approvals.Request) string {
	needs := bot.NeedsList(r)
	if needs == "" {
		return ""
	}
	head := "**Waits for:**"
	if r.State != approvals.StatePending {
		head = "**Needed:**"
	}
	return head + "\n\n" + needs
}

// decisionsText says who decided what, where and why.
func (s *Surface) decisionsText(c card) string {
	if len(c.r.Decisions) == 0 {
		return ""
	}
	return "**Decisions:**\n\n" + bot.DecisionsList(c.r, func(p approvals.Place) string { return s.whence(c, p) })
}

// answerText says what to type. The id keeps an answer from counting for
// another request than the one that was read.
func answerText(r *approvals.Request) string {
	text := fmt.Sprintf("**To agree**, comment\n\n%s\n\n%s says no, %s says more, %s withdraws it.",
		bot.Block("/approve "+r.ID, ""), bot.Code("/deny "+r.ID+" why not", 60), bot.Code("/explain "+r.ID, 60), bot.Code("/cancel "+r.ID, 60))
	if may := bot.GlassGroups(r); len(may) > 0 {
		text += fmt.Sprintf("\n\nIn an emergency %s may break the glass, for everybody to see: %s", bot.GroupNames(may), bot.Code("/approve "+r.ID+` --break-glass --reason "why"`, 100))
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
