package chat

import (
	"fmt"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// tailShown is how many lines of its log a run that failed is shown with, and
// lastShown how many one that goes on.
const (
	tailShown = 25
	lastShown = 4
	// longestLine is how much of a line of a log is shown, in characters.
	longestLine = 500
)

// stepIcons are the states of a step in one sign.
var stepIcons = map[actions.StepState]string{
	actions.StepWaiting: "⚪", actions.StepRunning: "🔵", actions.StepDone: "🟢", actions.StepFailed: "🔴", actions.StepSkipped: "⚫", actions.StepCancelled: "⚫",
}

// ProgressMessage says how far the run of a request is: step by step while it
// goes on, and with the end of its log when it did not succeed.
func ProgressMessage(v View) bot.ChatMessage {
	r, run := v.Request, v.Run
	m := bot.ChatMessage{Small: small(r)}
	its := "The " + string(run.Order.Verb) + " of " + v.Name.String()
	switch run.State {
	case actions.RunSucceeded:
		m.Tone, m.Icon, m.Title = bot.ChatGood, "🟢", its+" is done"
	case actions.RunFailed:
		m.Tone, m.Icon, m.Title = bot.ChatBad, "🔴", its+" failed"
	case actions.RunCancelled:
		m.Tone, m.Icon, m.Title = bot.ChatOver, "⚫", its+" was stopped"
	default:
		m.Tone, m.Icon, m.Title = bot.ChatWorking, "🚧", its+" is under way"
		if run.Error != "" {
			m.Tone, m.Title = bot.ChatWarning, its+" takes back what it did"
		}
	}
	if run.Attempt > 1 {
		m.Small += " · another worker took it over"
	}
	text := []string{v.stepsText()}
	if run.Error != "" {
		first, _, _ := strings.Cut(strings.TrimSpace(run.Error), "\n")
		text = append(text, bot.Escape(first, 600))
	}
	m.Text = paragraphs(text...)
	shown := 0
	switch run.State {
	case actions.RunRunning:
		shown = lastShown
	case actions.RunFailed, actions.RunCancelled:
		shown = tailShown
	}
	if lines := v.Log[max(0, len(v.Log)-shown):]; shown > 0 && len(lines) > 0 {
		title := fmt.Sprintf("The last %d of %d lines of its log", len(lines), v.LogLines)
		if v.LogLines <= len(lines) {
			title = "Its log"
		}
		m.Parts = append(m.Parts, bot.ChatSection{Title: title, Text: bot.Block(strings.Join(lines, "\n"), "")})
	}
	m.Whole = v.wholeLog(r)
	m.Buttons = v.allowed([]bot.ChatButton{{Label: "Logs", Line: bot.VerbLogs + " " + r.ID, Show: true}})
	return m
}

// stepsText is what the run does, one line a part.
func (v View) stepsText() string {
	return bot.Listed(v.Run.Steps, func(step actions.StepRecord) string {
		verb := string(step.Verb)
		if step.Undo {
			verb = "undo"
		}
		line := fmt.Sprintf("%s **%s** (%s): %s %s", stepIcons[step.State], bot.Escape(step.Part, 60), bot.Escape(step.Use, 60), verb, stepWords(step))
		text := step.Error
		if step.State == actions.StepRunning && v.Progress[step.Part] != "" {
			text = v.Progress[step.Part]
		}
		if first, _, _ := strings.Cut(strings.TrimSpace(text), "\n"); first != "" {
			line += " – " + bot.Escape(first, 300)
		}
		return line
	})
}

// stepWords is the state of a step, with how long it took.
func stepWords(step actions.StepRecord) string {
	text := bot.Escape(string(step.State), 40)
	if step.State == actions.StepDone && !step.EndedAt.IsZero() && !step.StartedAt.IsZero() {
		text += " in " + bot.Span(step.EndedAt.Sub(step.StartedAt))
	}
	if step.Tries > 1 {
		text += fmt.Sprintf(" (try %d)", step.Tries)
	}
	return text
}
