package chat

import (
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// severityIcons are what a notice begins with, and severityTones its colours.
var (
	severityIcons = map[bot.Severity]string{bot.SeverityInfo: "ℹ️", bot.SeverityWarning: "⚠️", bot.SeverityError: "🚨"}
	severityTones = map[bot.Severity]bot.ChatTone{bot.SeverityInfo: bot.ChatPlain, bot.SeverityWarning: bot.ChatWarning, bot.SeverityError: bot.ChatBad}
)

// NoticeMessage is what people are told without having asked, with what they can
// do about it as buttons.
func NoticeMessage(v View, n bot.Notice) bot.ChatMessage {
	m := bot.ChatMessage{
		Tone: severityTones[n.Severity], Icon: severityIcons[n.Severity], Title: oneLine(n.Title, 1000),
		Text: strings.TrimSpace(n.Text),
	}
	if !n.At.IsZero() {
		m.Small = bot.Moment(n.At)
	}
	for _, c := range n.Commands {
		if b, ok := suggested(c); ok {
			m.Buttons = append(m.Buttons, b)
		}
	}
	m.Buttons = v.allowed(m.Buttons)
	return m
}

// suggested is a command of a notice as a button. A decision is none: the notice
// does not show the plan that it would be about, and the request's card does.
func suggested(c bot.Suggestion) (bot.ChatButton, bool) {
	line := strings.TrimSpace(c.Command)
	verb, target, _ := strings.Cut(line, " ")
	b := bot.ChatButton{Label: oneLine(c.Label, 80), Line: line}
	switch verb {
	case "", bot.VerbApprove, bot.VerbDeny:
		return b, false
	case bot.VerbLogs, bot.VerbExplain, bot.VerbDiff, bot.VerbHistory, bot.VerbStatus:
		b.Show = true
	case string(actions.VerbCleanup):
		b.Style, b.Confirm = bot.StyleDanger, "Clean up "+oneLine(target, 150)+"? Everything of it goes, its data too."
	case string(actions.VerbArchive):
		b.Confirm = "Archive " + oneLine(target, 150) + "?"
	}
	return b, true
}
