package chat

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// RequestCard is the message that shows a request from its beginning to its end:
// who wants what where, what that would change, who has to agree and who has.
// When it has done something to an environment that is there, it shows that too.
func RequestCard(v View) bot.ChatMessage {
	r := v.Request
	if r.State == approvals.StateSucceeded && !r.DryRun && !v.Old && v.Environment != nil {
		return settledCard(v)
	}
	icon, title := headline(r)
	m := bot.ChatMessage{Tone: toneOf(r), Icon: icon, Title: v.Name.String() + " " + title, Fields: v.requestFields()}
	asked := v.asked()
	if commit := v.commit(r.Order.Commit); commit != "" && r.Order.Verb.TakesCommit() {
		asked += "\nCommit " + commit
	}
	if why := v.endText(); r.State.Ended() {
		m.Text = paragraphs(why, asked) // what became of it is what people look for
	} else {
		m.Text = paragraphs(asked, why)
	}
	if v.Old {
		m.Parts = v.decisionParts()
	} else {
		if r.State != approvals.StateSucceeded || r.DryRun {
			m.Loss = lossOf(r.Plan)
		}
		m.Parts = v.requestParts()
		m.Buttons = v.allowed(v.requestButtons())
	}
	m.Small = small(r)
	if r.Plan != nil {
		m.Whole = typed(bot.VerbDiff, r.ID) + " shows the whole plan, " + typed(bot.VerbExplain, r.ID) + " all rules and decisions."
	}
	return m
}

// headline says in an icon and a few words where a request is.
func headline(r *approvals.Request) (icon, title string) {
	its := "– its " + string(r.Order.Verb)
	switch {
	case r.DryRun && r.State == approvals.StatePlanning:
		return "📝", "– what its " + string(r.Order.Verb) + " would do is being found out"
	case r.DryRun && r.State == approvals.StateSucceeded:
		return "🔎", "– what its " + string(r.Order.Verb) + " would do"
	case r.DryRun && r.State == approvals.StateFailed:
		return "🔴", its + " could not be planned"
	}
	switch r.State {
	case approvals.StatePlanning:
		if r.Replans > 0 || r.Was != nil {
			return bot.RequestHeadline(r)
		}
		return bot.ActiveHeadline(r)
	case approvals.StateReleased, approvals.StateRunning:
		icon, title = bot.ActiveHeadline(r)
		if r.Stop != nil {
			icon, title = "🛑", its+" is being stopped"
		}
		if len(bot.BrokenRules(r)) > 0 {
			icon = "🚨"
		}
		return icon, title
	case approvals.StateSucceeded:
		if len(bot.BrokenRules(r)) > 0 {
			return "🚨", its + " is done, with broken glass"
		}
		return "✅", its + " is done"
	case approvals.StateFailed:
		return "🔴", its + " failed"
	case approvals.StateRefused:
		if len(r.Decisions) > 0 {
			return bot.RequestHeadline(r)
		}
		return "⛔", its + " was refused"
	case approvals.StateCancelled:
		if r.RunID != "" {
			return "🚫", its + " was stopped before it was done"
		}
	}
	return bot.RequestHeadline(r)
}

func toneOf(r *approvals.Request) bot.ChatTone {
	switch r.State {
	case approvals.StatePending:
		return bot.ChatWaiting
	case approvals.StateSucceeded:
		return bot.ChatGood
	case approvals.StateFailed, approvals.StateDenied, approvals.StateRefused:
		return bot.ChatBad
	case approvals.StateExpired:
		return bot.ChatWarning
	case approvals.StateSuperseded, approvals.StateCancelled:
		return bot.ChatOver
	default:
		if r.Stop != nil || len(bot.BrokenRules(r)) > 0 {
			return bot.ChatWarning
		}
		return bot.ChatWorking
	}
}

// stage tells apart what people wait to see on a card from mere details: where
// the request is, what was decided, and what became of the environment.
func (v View) stage() string {
	r := v.Request
	words := []string{string(r.State), clip(r.Digest, digestLength), strconv.Itoa(len(r.Decisions)), strconv.FormatBool(r.Stop != nil), strconv.FormatBool(r.Glass != nil)}
	if v.Old {
		return strings.Join(append(words, "old"), " ")
	}
	if env := v.Environment; env != nil && settled(r) {
		words = append(words, string(env.State), strconv.FormatBool(env.Sleeping), strconv.FormatBool(env.Lock != nil))
		if v.UnderWay != nil {
			words = append(words, v.UnderWay.ID, string(v.UnderWay.State))
		}
	}
	return strings.Join(words, " ")
}

// asked says who wants what, and where they said so.
func (v View) asked() string {
	r := v.Request
	command, by := typed(r.Command), bot.Escape(r.Requester.Actor, 80)
	var b strings.Builder
	switch {
	case r.Place.Surface == "schedule":
		fmt.Fprintf(&b, "%s is asked for by the schedule %s", command, bot.Code(r.Place.ID, 80))
	case r.Automatic() && r.Requester.Identity == "" && r.Place.Surface != "github":
		fmt.Fprintf(&b, "Berth itself asks for %s", command)
	case r.Automatic() && by != "":
		fmt.Fprintf(&b, "%s is to run for **%s**, %s", command, by, v.whence(r.Place))
	case r.Automatic():
		fmt.Fprintf(&b, "%s is to run, %s", command, v.whence(r.Place))
	default:
		fmt.Fprintf(&b, "**%s** asked for %s %s", by, command, v.whence(r.Place))
	}
	if r.RetryOf != "" {
		b.WriteString(", after request " + bot.Code(r.RetryOf, 40) + " failed")
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
	return b.String()
}

// endText says why the request is where it is, where that is not listed.
func (v View) endText() string {
	r := v.Request
	var text []string
	if why := bot.EndText(r); why != "" {
		text = append(text, why)
	}
	switch {
	case r.State == approvals.StateFailed && r.Left != "":
		text = append(text, bot.Prose(actions.Whereabouts(r.Left), 1000))
	case r.Stop != nil && !r.State.Ended():
		stop := "**" + bot.Escape(r.Stop.By.Actor, 80) + "** asked to stop it, which takes a moment"
		if r.Stop.Reason != "" {
			stop += ": " + bot.Escape(r.Stop.Reason, 300)
		}
		text = append(text, stop)
	case r.State == approvals.StateReleased:
		text = append(text, "Nothing stands against it; it runs as soon as what was asked for before it has ended.")
	case r.State == approvals.StateSucceeded && r.DryRun:
		text = append(text, "Nothing was changed.")
	}
	if r.RetriedAs != "" {
		text = append(text, "It was asked for anew as request "+bot.Code(r.RetriedAs, 40)+".")
	}
	return paragraphs(text...)
}

// requestFields are the short facts of a request.
func (v View) requestFields() (fields []bot.ChatField) {
	r := v.Request
	add := func(name, text string) {
		if text != "" {
			fields = append(fields, bot.ChatField{Name: name, Text: text})
		}
	}
	if r.State == approvals.StatePending {
		if until := bot.Until(r); !until.IsZero() {
			fields = append(fields, bot.ChatField{Name: "Decide by", At: until.UTC()})
		}
	}
	if r.Plan != nil && !r.State.Ended() {
		add("Where", where(r.Order.Placed, r.Plan.Namespace))
	}
	return fields
}

// where is a cluster and a namespace in words.
func where(cluster, namespace string) string {
	var words []string
	if cluster != "" {
		words = append(words, "cluster "+bot.Code(cluster, 80))
	}
	if namespace != "" {
		words = append(words, "namespace "+bot.Code(namespace, 80))
	}
	return strings.Join(words, ", ")
}

// needsTitle is "Approvals: 1 of 3", over who is still needed.
func needsTitle(r *approvals.Request) string {
	have, want := 0, 0
	for _, n := range bot.Needs(r) {
		want += n.Group.Count
		have += max(0, n.Group.Count-n.Group.Missing)
	}
	return fmt.Sprintf("Approvals: %d of %d", have, want)
}

// requestParts are the longer facts of a request.
func (v View) requestParts() (parts []bot.ChatSection) {
	r := v.Request
	add := func(title, text string) {
		if text != "" {
			parts = append(parts, bot.ChatSection{Title: title, Text: text})
		}
	}
	add("", bot.GlassText(r))
	if changed := bot.ChangedList(r); changed != "" {
		add("🔁 This is a new plan", "What was agreed on before no longer holds, since this has changed:\n\n"+changed)
	}
	add(v.planTitle(), planText(r.Plan))
	switch r.State {
	case approvals.StatePending:
		add(needsTitle(r), bot.NeedsListBy(r, bot.Until(r)))
	case approvals.StateExpired:
		add(needsTitle(r), bot.NeedsList(r))
	}
	return append(parts, v.decisionParts()...)
}

// decisionParts say who agreed and who did not, where, and why. A card never
// loses them, however old it is.
func (v View) decisionParts() []bot.ChatSection {
	if text := bot.DecisionsList(v.Request, v.whence); text != "" {
		return []bot.ChatSection{{Title: "Decisions", Text: text}}
	}
	return nil
}

// planTitle heads what a plan says, by whether it came to that, and whether what it
// takes away was said before it.
func (v View) planTitle() string {
	r := v.Request
	what := "What it"
	if (r.State != approvals.StateSucceeded || r.DryRun) && r.Plan != nil && len(restOf(r.Plan)) < len(r.Plan.Parts) {
		what = "What else it"
	}
	switch {
	case r.State == approvals.StateSucceeded && !r.DryRun:
		return what + " changed"
	case r.State == approvals.StateRunning || r.State == approvals.StateReleased:
		return what + " changes"
	case r.State == approvals.StateFailed && r.RunID != "" || r.State == approvals.StateCancelled && r.RunID != "":
		return what + " was to change"
	case r.State.Ended() && !r.DryRun:
		return what + " would have changed"
	default:
		return what + " would change"
	}
}

// planText is what a plan says of each part, without its differences, and without
// the parts of which lossOf has said it.
func planText(plan *actions.Plan) string {
	if plan == nil {
		return ""
	}
	if len(plan.Parts) == 0 {
		return bot.Escape(plan.Summary, 600)
	}
	return bot.Listed(restOf(plan), func(p actions.PartPlan) string {
		text := fmt.Sprintf("**%s** (%s): %s", bot.Escape(p.Part, 60), bot.Escape(p.Use, 60), bot.Escape(p.Summary, 300))
		if p.Added+p.Removed > 0 {
			text += fmt.Sprintf(" (+%d −%d)", p.Added, p.Removed)
		}
		if p.Cost != "" {
			text += "; " + bot.Escape(p.Cost, 200)
		}
		if p.Provisional {
			text += "; it uses what another part has yet to tell, so this can still change"
		}
		return text
	})
}

// requestButtons are what can be done with a request where it is.
func (v View) requestButtons() (all []bot.ChatButton) {
	r := v.Request
	digest, lost := clip(r.Digest, digestLength), lossOf(r.Plan).Len()
	details := bot.ChatButton{Label: "Details", Line: bot.VerbDiff + " " + r.ID, Show: true}
	switch r.State {
	case approvals.StatePlanning:
		return []bot.ChatButton{cancelButton(r)}
	case approvals.StatePending:
		all = decideButtons(r)
		if lost > 0 {
			details.When = bot.WhenWhole
			all = append([]bot.ChatButton{readButton(r, lost)}, all...)
		}
		all = append(all, details, cancelButton(r))
		if len(bot.GlassGroups(r)) > 0 {
			glass := bot.ChatButton{
				Label: "Break glass", Line: bot.VerbApprove + " " + r.ID + " --break-glass", Style: bot.StyleDanger, Digest: digest,
				Reason: "Why can this not wait? Everybody reads it, and it stays in the audit.",
			}
			if lost > 0 {
				glass.When = bot.WhenWhole
			}
			all = append(all, glass)
		}
		return all
	case approvals.StateReleased:
		return []bot.ChatButton{details, cancelButton(r)}
	case approvals.StateRunning:
		all = []bot.ChatButton{details, {Label: "Logs", Line: bot.VerbLogs + " " + r.ID, Show: true}}
		if r.Stop == nil {
			all = append(all, cancelButton(r))
		}
		return all
	case approvals.StateSucceeded:
		if r.DryRun {
			return []bot.ChatButton{details}
		}
	case approvals.StateFailed:
		if r.RunID != "" {
			all = append(all, bot.ChatButton{Label: "Logs", Line: bot.VerbLogs + " " + r.ID, Show: true})
		}
		if r.RetriedAs == "" && !r.DryRun {
			all = append(all, bot.ChatButton{Label: "Retry", Line: bot.VerbRetry + " " + r.ID})
		}
		return all
	}
	return nil
}

// decideButtons say yes and no. A yes to what cannot be brought back is asked for
// twice, and only where all of that is to be seen.
func decideButtons(r *approvals.Request) []bot.ChatButton {
	digest := clip(r.Digest, digestLength)
	yes := bot.ChatButton{Label: "Approve", Line: bot.VerbApprove + " " + r.ID, Style: bot.StylePrimary, Digest: digest}
	if lost := lossOf(r.Plan).Len(); lost > 0 {
		yes.When = bot.WhenWhole
		yes.Confirm = "The " + string(r.Order.Verb) + " of " + r.Order.Env.String() + " takes away data that nobody can bring back. Do you agree to it?"
	}
	return []bot.ChatButton{yes, {Label: "Deny", Line: bot.VerbDeny + " " + r.ID, Style: bot.StyleDanger, Digest: digest, Reason: "Why not?"}}
}

// readButton stands in place of the yes where a message shows only some of what
// would be lost: it leads to where all of it is, and the yes with it.
func readButton(r *approvals.Request, lost int) bot.ChatButton {
	label := "Read it all, then decide"
	if lost > 1 {
		label = fmt.Sprintf("Read all %d, then decide", lost)
	}
	return bot.ChatButton{Label: label, Line: bot.VerbDiff + " " + r.ID, Show: true, Style: bot.StylePrimary, When: bot.WhenCut}
}

// cancelButton withdraws a request, or stops it.
func cancelButton(r *approvals.Request) bot.ChatButton {
	b := bot.ChatButton{Label: "Cancel", Line: bot.VerbCancel + " " + r.ID, Confirm: "Withdraw the " + string(r.Order.Verb) + " of " + r.Order.Env.String() + "?"}
	if r.State == approvals.StateRunning {
		b.Confirm = "Stop the " + string(r.Order.Verb) + " of " + r.Order.Env.String() + "? What it has done until then stays as it is."
	}
	return b
}

// stopButton is cancelButton for who did not ask for the request, and would not
// have it.
func stopButton(r *approvals.Request) bot.ChatButton {
	b := cancelButton(r)
	b.Label, b.Style = "Stop it", bot.StyleDanger
	return b
}

// small is what identifies a request, in small letters.
func small(r *approvals.Request) string {
	text := "Request " + bot.Code(r.ID, 40)
	if r.Digest != "" {
		text += " · plan " + bot.Code(clip(r.Digest, 12), 20)
	}
	if !r.CreatedAt.IsZero() {
		text += " · " + bot.Moment(r.CreatedAt)
	}
	return text
}

// paragraphs puts texts below each other, leaving out the empty ones.
func paragraphs(texts ...string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(texts), func(t string) bool { return t == "" }), "\n\n")
}

// soonest is the shorter of two waits, of which 0 is none.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}
