package chat

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// News is what an edit of a card would tell nobody: a message of its own, in the
// card's thread, that calls those whom it concerns. It is told once.
type News struct {
	Kind    string // what is told: "asked", "again", "escalated", "reminded", "glass", "end"
	Key     string // tells it from others of its kind
	Message bot.ChatMessage
	// Deciders, Bypassed and Requester say who is called: those who can decide
	// still, those whose word was not waited for, or who asked.
	Deciders, Bypassed, Requester bool
}

// NewsOf is all that is to be told of a request as it is now, in its order.
func NewsOf(v View) (all []News) {
	r := v.Request
	plan := shortHash(r.Digest)
	about := typed(r.Command)
	var stop []bot.ChatButton
	if !r.State.Ended() && r.Stop == nil {
		stop = append(stop, stopButton(r))
	}
	if broken := bot.BrokenRules(r); r.Glass != nil && r.Glass.Digest != "" && len(broken) > 0 {
		all = append(all, News{Kind: "glass", Key: strconv.FormatInt(r.Glass.At.UnixMilli(), 36), Bypassed: true, Message: bot.ChatMessage{
			Tone: bot.ChatBad, Icon: "🚨", Title: oneLine(r.Glass.By.Actor, 80) + " broke the glass",
			Text: fmt.Sprintf("%s runs without the yes that the %s for.\n\n**Why:** %s\n\nThis is in the audit. Who may do it, the rule's `break_glass` in Berth's config says.",
				about, bot.RulesAsk(broken), bot.Escape(r.Glass.Reason, 600)),
			Buttons: v.allowed(stop),
		}})
	}
	if r.State.Ended() {
		return append(all, endNews(v)...)
	}
	if r.State != approvals.StatePending {
		return all
	}
	decide := "The message above shows what it would change, and has the buttons."
	if !v.decidedHere() {
		decide = "The message above shows what it would change; this channel is not for deciding on it, so say it elsewhere: " + typed(bot.VerbApprove, r.ID) + "."
	}
	if len(r.Changed) > 0 {
		all = append(all, News{Kind: "again", Key: plan, Deciders: true, Requester: true, Message: bot.ChatMessage{
			Tone: bot.ChatWaiting, Icon: "🔁", Title: v.Name.String() + " – what was agreed on has changed",
			Text: fmt.Sprintf("%s asks again. Approvals that were given before do not count for the new plan.\n\n%s\n\n%s", about, bot.ChangedList(r), decide),
		}})
	} else {
		waits := bot.WaitsFor(r)
		if waits == "" {
			waits = "people to agree"
		}
		all = append(all, News{Kind: "asked", Key: "1", Deciders: true, Message: bot.ChatMessage{
			Tone: bot.ChatWaiting, Icon: "🕒", Title: v.Name.String() + " – its " + string(r.Order.Verb) + " waits for you",
			Text: fmt.Sprintf("%s by **%s** waits for %s%s. %s", about, bot.Escape(r.Requester.Actor, 80), waits, bot.UntilText(r), decide),
		}})
	}
	if r.Outcome == nil {
		return all
	}
	escalated, reminders := []string{}, 0
	for _, n := range bot.Lacking(r) {
		if n.Rule.Escalated && !slices.Contains(escalated, n.Rule.Rule) {
			escalated = append(escalated, n.Rule.Rule)
		}
	}
	for _, rule := range r.Outcome.Rules {
		reminders += rule.Reminders
	}
	if len(escalated) > 0 {
		all = append(all, News{Kind: "escalated", Key: plan + "-" + shortHash(strings.Join(escalated, "\n")), Deciders: true, Message: bot.ChatMessage{
			Tone: bot.ChatWaiting, Icon: "⏫", Title: v.Name.String() + " – more people may agree now",
			Text: fmt.Sprintf("%s has waited for so long that more people may agree now: it waits for %s. %s", about, bot.WaitsFor(r), decide),
		}})
	}
	if reminders > 0 {
		all = append(all, News{Kind: "reminded", Key: plan + "-" + strconv.Itoa(reminders), Deciders: true, Message: bot.ChatMessage{
			Tone: bot.ChatWaiting, Icon: "⏰", Title: v.Name.String() + " – its " + string(r.Order.Verb) + " still waits",
			Text: fmt.Sprintf("%s still waits for %s%s. %s", about, bot.WaitsFor(r), bot.UntilText(r), decide),
		}})
	}
	return all
}

// endNews tells who asked how it ended.
func endNews(v View) []News {
	r := v.Request
	n := News{Kind: "end", Key: "1", Requester: true}
	about := typed(r.Command)
	switch r.State {
	case approvals.StateSucceeded:
		if r.DryRun {
			n.Message = bot.ChatMessage{Tone: bot.ChatGood, Icon: "🔎", Title: v.Name.String() + " – the plan is made", Text: "The message above shows what " + about + " would do. Nothing was changed."}
			return []News{n}
		}
		n.Message = bot.ChatMessage{Tone: bot.ChatGood, Icon: "✅", Title: v.Name.String() + " – its " + string(r.Order.Verb) + " is done", Text: "You asked for " + about + "."}
		if env := v.Environment; env != nil && env.State == actions.StateRunning && !env.Sleeping {
			if u := webURL(env.URL); u != "" {
				n.Message.Text += " It is at <" + u + ">."
				n.Message.Buttons = []bot.ChatButton{{Label: "Open", URL: u, Style: bot.StylePrimary}}
			}
		}
		return []News{n}
	case approvals.StateSuperseded:
		return nil // whoever asked for the newer one sees it
	case approvals.StateCancelled:
		if r.Stop == nil || r.Stop.By.Identity == r.Requester.Identity {
			return nil // they know
		}
	}
	how := map[approvals.State]string{
		approvals.StateFailed: "failed", approvals.StateRefused: "was refused", approvals.StateDenied: "was denied",
		approvals.StateExpired: "waited too long for approval", approvals.StateCancelled: "was stopped",
	}[r.State]
	icon, _ := headline(r)
	n.Message = bot.ChatMessage{Tone: toneOf(r), Icon: icon, Title: v.Name.String() + " – its " + string(r.Order.Verb) + " " + how}
	text := []string{"You asked for " + about + "."}
	if r.Reason != "" {
		text = []string{reasonText(r.Reason), text[0]}
	}
	n.Message.Text = paragraphs(text...)
	var buttons []bot.ChatButton
	if r.State == approvals.StateFailed {
		n.Message.Whole = v.wholeLog(r)
		if r.RunID != "" {
			buttons = append(buttons, bot.ChatButton{Label: "Logs", Line: bot.VerbLogs + " " + r.ID, Show: true})
		}
		if r.RetriedAs == "" && !r.DryRun {
			buttons = append(buttons, bot.ChatButton{Label: "Retry", Line: bot.VerbRetry + " " + r.ID})
		}
	} else {
		buttons = append(buttons, bot.ChatButton{Label: "Why", Line: bot.VerbExplain + " " + r.ID, Show: true})
	}
	n.Message.Buttons = v.allowed(buttons)
	return []News{n}
}

// reasonText is a reason for people: its first line as a sentence, and what
// follows, such as a pod's last words, as it is.
func reasonText(reason string) string {
	first, rest, _ := strings.Cut(strings.TrimSpace(reason), "\n")
	text := bot.Prose(first, 1000)
	if rest = strings.Trim(rest, "\n"); rest != "" {
		text += "\n\n" + bot.Block(rest, "")
	}
	return text
}

// shortHash tells texts apart in a key.
func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}
