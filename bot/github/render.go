package github

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

const (
	// maxPlan and maxLog are how much of a comment the plan and the log may
	// take, in bytes. Both and the rest stay below maxBody.
	maxPlan = 30_000
	maxLog  = 24_000
)

// render is the comment of an environment. It says the same for as long as
// nothing changes: times in it are absolute.
func (s *Surface) render(sc *scene) string {
	var b strings.Builder
	icon, title := headline(sc)
	fmt.Fprintf(&b, "%s\n### %s %s %s\n\n", stickyMarker(sc.name), icon, bot.Code(sc.name.String(), 100), title)
	if text := explain(sc); text != "" {
		b.WriteString(text + "\n\n")
	}
	b.WriteString(s.factsTable(sc))
	b.WriteString(partsTable(sc))
	b.WriteString(driftText(sc))
	if next := s.nextSteps(sc); next != "" {
		b.WriteString("**Next:** " + next + "\n")
	}
	b.WriteString(planSection(sc))
	b.WriteString(receiptsSection(sc))
	b.WriteString(s.logSection(sc))
	return fit(strings.TrimRight(b.String(), "\n") + "\n")
}

// headline says in an icon and a few words how it is.
func headline(sc *scene) (icon, title string) {
	if sc.underway() {
		return bot.ActiveHeadline(sc.latest)
	}
	return bot.EnvironmentHeadline(sc.env)
}

// explain says in a sentence or two what the headline cannot.
func explain(sc *scene) string {
	var text []string
	if sc.env != nil && !sc.underway() && !plain(sc.env) {
		text = append(text, "It "+bot.Sentence(sc.env)+".")
	}
	if r := sc.latest; r != nil && r.State.Ended() && r.State != approvals.StateSucceeded && !toldByEnvironment(sc) {
		end := fmt.Sprintf("The last request, %s, ended as **%s**", bot.Code("/"+r.Command, 200), r.State)
		if r.Reason != "" {
			first, _, _ := strings.Cut(strings.TrimSpace(r.Reason), "\n")
			end += ": " + prose(first, 600)
		} else {
			end += "."
		}
		text = append(text, end)
	}
	if sc.underway() && sc.latest.State == approvals.StatePending {
		if waits := bot.WaitsFor(sc.latest); waits != "" {
			text = append(text, "It waits for "+waits+".")
		}
	}
	if sc.env != nil && sc.env.Lock != nil {
		lock := fmt.Sprintf("🔒 Locked by %s since %s", bot.Escape(sc.env.Lock.By, 80), bot.Moment(sc.env.Lock.At))
		if sc.env.Lock.Reason != "" {
			lock += ": " + bot.Escape(sc.env.Lock.Reason, 200)
		}
		text = append(text, lock+".")
	}
	return strings.Join(text, "\n\n")
}

// plain tells whether headline and table say all there is to say of how an
// environment is.
func plain(env *actions.Environment) bool {
	return env.State == actions.StateRunning && (env.LastAction == nil || env.LastAction.State == actions.RunSucceeded)
}

// toldByEnvironment tells whether the environment's own record says how the
// latest request ended.
func toldByEnvironment(sc *scene) bool {
	return sc.env != nil && sc.env.LastAction != nil && sc.env.LastAction.RequestID == sc.latest.ID
}

func (s *Surface) factsTable(sc *scene) string {
	var rows []string
	row := func(name, value string) {
		if value != "" {
			rows = append(rows, "| "+name+" | "+value+" |")
		}
	}
	if sc.env != nil && sc.env.State != actions.StateCleaned {
		runs := s.commitLink(sc.repo, sc.env.Commit)
		if runs != "" && sc.env.Deployed > 0 {
			runs += fmt.Sprintf(" (revision %d)", sc.env.Deployed)
		}
		row("**Runs**", runs)
		s.componentRows(sc, row)
	}
	if r := sc.latest; sc.underway() && r.Order.Verb.TakesCommit() {
		row("**Deploying**", s.commitLink(sc.repo, r.Order.Commit))
	}
	if sc.env != nil && sc.env.State == actions.StateRunning {
		for i, l := range sc.env.Links {
			if i == 10 {
				break
			}
			name := "**Address**"
			if i > 0 {
				name = bot.Escape(l.Name, 60)
			}
			row(name, bot.Link(l))
		}
	}
	row("**Sleeps**", sleepText(sc))
	row("**Expires**", expiryText(sc))
	if r := sc.latest; r != nil {
		by := bot.Escape(r.Requester.Actor, 80)
		if r.Place.Message != "" || r.Place.Surface != "github" {
			by += ": " + bot.Code("/"+r.Command, 200)
		} else if r.Order.Reason != "" {
			by += " (" + bot.Escape(r.Order.Reason, 100) + ")"
		}
		row("**Asked for by**", by)
	}
	if len(rows) == 0 {
		return ""
	}
	// A table must have a head; the first row is it, for an empty one would show.
	rows = slices.Insert(rows, 1, "|:--|:--|")
	return strings.Join(rows, "\n") + "\n\n"
}

func (s *Surface) commitLink(repo string, c actions.Commit) string {
	if !fullSHA.MatchString(c.SHA) {
		return ""
	}
	text := fmt.Sprintf("[`%s`](%s/%s/commit/%s)", bot.Short(c.SHA), s.client.web(), repo, c.SHA)
	if c.Message != "" {
		text += " " + bot.Escape(c.Message, 120)
	}
	return text
}

// stepIcons are the states of a step in one sign.
var stepIcons = map[actions.StepState]string{
	actions.StepWaiting: "⚪", actions.StepRunning: "🔵", actions.StepDone: "🟢", actions.StepFailed: "🔴", actions.StepSkipped: "⚫", actions.StepCancelled: "⚫",
}

// partsTable shows the parts by the steps of the run that is under way, else as
// they were left.
func partsTable(sc *scene) string {
	type line struct{ part, use, state, text string }
	var lines []line
	switch {
	case sc.run != nil && sc.run.State == actions.RunRunning:
		for _, step := range sc.run.Steps {
			text := step.Error
			if step.State == actions.StepRunning {
				text = sc.log.Progress[step.Part]
			}
			lines = append(lines, line{step.Part, step.Use, string(step.State), text})
		}
	case sc.env != nil && sc.env.State != actions.StateCleaned:
		for _, name := range bot.PartNames(sc.app, sc.env) {
			p, ok := sc.env.Parts[name]
			if !ok {
				continue
			}
			text := string(p.Health)
			if p.Text != "" {
				text = strings.TrimPrefix(text+": "+p.Text, ": ")
			}
			lines = append(lines, line{name, p.Use, p.State, text})
		}
	}
	if len(lines) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("| Part | By | State | |\n|---|---|---|---|\n")
	for _, l := range lines {
		first, _, _ := strings.Cut(strings.TrimSpace(l.text), "\n")
		icon := stepIcons[actions.StepState(l.state)]
		fmt.Fprintf(&b, "| %s | %s | %s %s | %s |\n", bot.Escape(l.part, 60), bot.Escape(l.use, 60), icon, bot.Escape(l.state, 40), bot.Escape(first, 300))
	}
	return b.String() + "\n"
}

// typed is a command as it is typed on the environment's pull request, where
// the target can be left out, or half of it.
func (s *Surface) typed(repo string, number int, name actions.Name, verb string, flags ...string) string {
	words := []string{"/" + verb}
	switch {
	case name.Env != actions.PullRequestName(number):
		words = append(words, name.String())
	case len(s.appsOf(repo)) != 1:
		words = append(words, name.App)
	}
	return bot.Code(strings.Join(append(words, flags...), " "), 100)
}

// nextSteps says what can be typed now.
func (s *Surface) nextSteps(sc *scene) string {
	code := func(verb string, flags ...string) string { return s.typed(sc.repo, sc.number, sc.name, verb, flags...) }
	deploy, cleanup, logs := code("deploy"), code("cleanup"), code("logs")
	switch {
	case sc.underway() && sc.latest.State == approvals.StatePending:
		ask := "the question is in a comment of its own"
		if sc.card != "" {
			ask = "[the question](" + sc.card + ") is in a comment of its own"
		}
		return bot.Code("/approve "+sc.latest.ID, 60) + " agrees, " + bot.Code("/deny "+sc.latest.ID, 60) + " says no; " + ask + ". " + bot.Code("/cancel "+sc.latest.ID, 60) + " withdraws it."
	case sc.underway():
		return bot.Code("/cancel "+sc.latest.ID, 60) + " stops it, " + code("status") + " looks closer."
	case sc.env == nil:
		return deploy + " tries again."
	}
	switch sc.env.State {
	case actions.StateRunning:
		if last := sc.env.LastAction; last != nil && last.State == actions.RunFailed {
			return logs + " shows what happened, " + deploy + " tries again, " + cleanup + " takes it away."
		}
		if sc.env.Sleeping {
			return code("wake") + " brings it back as it was, " + deploy + " updates it, " + cleanup + " takes it away."
		}
		return deploy + " updates it, " + code("extend", "--ttl 24h") + " keeps it longer, " + cleanup + " takes it away."
	case actions.StateFailure:
		return logs + " shows what happened, " + deploy + " tries again, " + cleanup + " takes it away."
	case actions.StateArchived:
		return code("restore") + " brings it back, " + cleanup + " takes it away for good."
	case actions.StateCleaned:
		return deploy + " makes it anew."
	default:
		return code("status") + " looks closer."
	}
}

func planSection(sc *scene) string {
	r := sc.latest
	if r == nil || r.Plan == nil || r.State == approvals.StateSucceeded || r.State == approvals.StatePending {
		return "" // while it waits for decisions its card shows the plan
	}
	// What stands on the summary's line is HTML, where Markdown's escapes mean
	// nothing, so that nothing of others may stand there.
	return "\n<details><summary>Plan</summary>\n\n" + cutPlan(r.Plan) + "\n\n</details>\n"
}

// cutPlan is a plan that fits: long differences lose their middles.
func cutPlan(plan *actions.Plan) string {
	if text := bot.PlanText(plan); len(text) <= maxPlan {
		return text
	}
	short := *plan
	short.Parts = append([]actions.PartPlan(nil), plan.Parts...)
	for i := range short.Parts {
		short.Parts[i].Diff = middleCut(short.Parts[i].Diff, maxPlan/2/len(short.Parts))
	}
	text := bot.PlanText(&short)
	if len(text) > maxPlan {
		text = bot.Escape(plan.Summary, 600) // hundreds of parts
	}
	return text + "\n\nIt is too long to be shown whole here; `berth diff` in a terminal shows all of it."
}

// tailLines is how many lines of a run's log a comment shows, and tailWidth how
// much of each, in characters.
const (
	tailLines = 60
	tailWidth = 1000
)

func (s *Surface) logSection(sc *scene) string {
	if sc.run == nil || sc.log.Total == 0 {
		return ""
	}
	lines := sc.log.Last(tailLines)
	summary := fmt.Sprintf("Log of the %s", sc.run.Order.Verb)
	if left := sc.log.Total - len(lines); left > 0 {
		summary += fmt.Sprintf(", its last %d of %d lines", len(lines), sc.log.Total)
	}
	text := strings.Join(lines, "\n")
	cut := middleCut(text, maxLog)
	var b strings.Builder
	b.WriteString("\n<details><summary>" + summary + "</summary>\n\n" + bot.Block(cut, "text") + "\n")
	if sc.log.Total > len(lines) || cut != text {
		whole := "`berth logs " + sc.name.String() + "` in a terminal"
		if u := s.logURL(sc.run.ID); u != "" {
			whole = "<" + u + ">"
		}
		b.WriteString("\nThe whole log: " + whole + "\n")
	}
	return b.String() + "\n</details>\n"
}

// logURL is where a run's log is read; "" when there is no such place.
func (s *Surface) logURL(runID string) string {
	if s.public == "" || runID == "" {
		return ""
	}
	return webURL(s.public + "/api/v1/runs/" + url.PathEscape(runID) + "/events")
}

// webURL is u when GitHub takes it for an address, else "".
func webURL(u string) string {
	parsed, err := url.Parse(u)
	if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Host == "" || strings.ContainsAny(u, " <>\"\n") {
		return ""
	}
	return u
}

// middleCut cuts whole lines out of the middle of a long text, and says so.
func middleCut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	lines := strings.Split(text, "\n")
	head, size := 0, 0
	for head < len(lines) && size+len(lines[head])+1 <= most/3 {
		size += len(lines[head]) + 1
		head++
	}
	tail := len(lines)
	for tail > head && size+len(lines[tail-1])+1 <= most-40 {
		size += len(lines[tail-1]) + 1
		tail--
	}
	kept := append([]string(nil), lines[:head]...)
	kept = append(kept, fmt.Sprintf("… %d lines left out …", tail-head))
	return strings.Join(append(kept, lines[tail:]...), "\n")
}
