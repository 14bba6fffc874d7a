package chat

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

const (
	// fileAbove is how long the differences of a plan are from which on they are
	// better read as a file, in bytes.
	fileAbove = 2500
	// maxFile is how much of them one file has.
	maxFile = 1 << 20
)

// ReplyMessage is what the one who typed c, or clicked on a button that stands
// for it, is answered. v has the environment that the answer is about and the
// request that goes with it, where it is about such.
func ReplyMessage(v View, c bot.Command, reply bot.Reply) bot.ChatMessage {
	m := bot.ChatMessage{Text: reply.Text}
	if words := c.Masked(); words != "" {
		m.Whole = "`berth " + strings.ReplaceAll(words, "`", "'") + "` in a terminal shows all of it."
	}
	switch reply.Tone {
	case bot.ToneAccepted:
		m.Icon, m.Tone, m.Whole = "👍", bot.ChatWorking, ""
		return m
	case bot.ToneRefused:
		m.Icon, m.Tone, m.Whole = "⛔", bot.ChatBad, ""
		if reply.Code == actions.CodeInvalid || reply.Code == actions.CodeNotFound {
			m.Icon, m.Tone = "❓", bot.ChatWarning
		}
		return m
	}
	switch {
	case c.Verb == bot.VerbHelp:
		m.Icon, m.Title, m.Whole = "⚓", "What Berth does", ""
		if c.Topic != "" {
			m.Title = "berth " + c.Topic
		}
	case reply.Environment != nil:
		card := EnvironmentCard(v)
		// The text says how the parts are at this moment, and not when they were last
		// looked at.
		card.Text, card.Parts, card.Whole = reply.Text, nil, m.Whole
		card.Fields = slices.DeleteFunc(card.Fields, func(f bot.ChatField) bool { return f.Name == fieldHealth })
		return card
	case len(reply.Environments) > 0:
		return listMessage(v, reply, m)
	case c.Verb == bot.VerbDiff && reply.Request != nil:
		return v.detailsMessage(m, reply.Request)
	}
	return m
}

// detailsMessage is all that the plan of r would change. Whoever has read it can
// decide right there.
func (v View) detailsMessage(m bot.ChatMessage, r *approvals.Request) bot.ChatMessage {
	v.Name = r.Order.Env
	m.File = planFile(r.Order.Env, r.Plan)
	if m.Loss = lossOf(r.Plan); m.Loss != nil {
		m.Loss.File = strings.ReplaceAll(r.Order.Env.String(), "/", "-") + "-loss.txt"
		// Loss says so, and stands before all else.
		first, rest, _ := strings.Cut(strings.Replace(m.Text, "**This takes data away.**\n\n", "", 1), "\n\n")
		m.Text, m.Parts = first, []bot.ChatSection{{Text: rest}}
	}
	if r.State != approvals.StatePending || r.DryRun {
		return m
	}
	m.Buttons = decideButtons(r)
	if lost := m.Loss.Len(); lost > 0 {
		m.Buttons = append(m.Buttons, readButton(r, lost))
	}
	m.Buttons = v.allowed(m.Buttons)
	return m
}

// acceptedText tells who asked for r that it is on its way. All else stands on its
// card, at that address.
func acceptedText(r *approvals.Request, card string) string {
	command := bot.Code(r.Command, 200)
	switch {
	case r.DryRun:
		return "Planning " + command + "; nothing will change. [Its card](" + card + ") shows the plan once it is made."
	case r.Glass != nil:
		return "On it: " + command + ", with broken glass: everybody reads why. [Its card](" + card + ") says how it goes."
	default:
		return "On it: " + command + ". [Its card](" + card + ") says how it goes."
	}
}

// listMessage shows environments line by line: a table is wider than what
// people read chat on.
func listMessage(v View, reply bot.Reply, m bot.ChatMessage) bot.ChatMessage {
	lines := make([]string, len(reply.Environments))
	for i, env := range reply.Environments {
		icon, _ := bot.EnvironmentHeadline(env)
		line := "- " + icon + " **" + bot.Escape(env.Name.String(), 100) + "** " + bot.StateText(env)
		if env.Commit.SHA != "" {
			line += " " + bot.Code(bot.Short(env.Commit.SHA), 40)
		}
		switch left := env.ExpiresAt.Sub(v.Now); {
		case env.Keep:
			line += ", stays"
		case !env.ExpiresAt.IsZero() && left > 0:
			line += ", expires in " + roughly(left)
		case !env.ExpiresAt.IsZero():
			line += ", its time is over"
		}
		if u := webURL(env.URL); u != "" && env.State == actions.StateRunning && !env.Sleeping {
			line += " – <" + u + ">"
		}
		lines[i] = line
	}
	m.Icon, m.Title = "📋", fmt.Sprintf("%d environments", len(lines))
	if len(lines) == 1 {
		m.Title = "1 environment"
	}
	_, note, _ := strings.Cut(reply.Text, "\n\n") // below the table that the lines stand for
	m.Text = paragraphs(strings.Join(lines, "\n"), note)
	return m
}

// planFile is all that a plan would change, where that is long; else nil.
func planFile(env actions.Name, plan *actions.Plan) *bot.ChatFile {
	if plan == nil {
		return nil
	}
	var b strings.Builder
	for _, p := range plan.Parts {
		if p.Diff == "" {
			continue
		}
		fmt.Fprintf(&b, "# %s (%s): %s\n%s\n", p.Part, p.Use, strings.Join(strings.Fields(p.Summary), " "), strings.TrimRight(p.Diff, "\n"))
	}
	if b.Len() <= fileAbove {
		return nil
	}
	text := bot.Plain(b.String())
	if len(text) > maxFile {
		const notice = "\n… the middle is left out: this was too long for a file; `berth diff` in a terminal shows all …\n"
		head := clip(text, maxFile*2/3)
		tail := text[len(text)-(maxFile-len(head)-len(notice)):]
		for tail != "" && tail[0]&0xc0 == 0x80 {
			tail = tail[1:]
		}
		text = head + notice + tail
	}
	return &bot.ChatFile{Name: strings.ReplaceAll(env.String(), "/", "-") + ".diff", Text: text}
}
