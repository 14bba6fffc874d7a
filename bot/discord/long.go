package discord

import (
	"strings"

	"github.com/berth-dev/berth/bot"
)

// maxMarkdown is how much Markdown is understood at once, in bytes: hostile text
// takes goldmark the square of its length.
const maxMarkdown = 12 << 10

// longMarkdown is markdown for what is long: a log or a difference, in blocks of
// code that are found without a parser. What stands between them is understood
// if it is not long itself. Of what is, the first and the last lines are, which
// are all that a message has room for, and the others are shown as they read.
func longMarkdown(s string) string {
	var pieces []string
	var between, code strings.Builder
	ticks, language := "", ""
	add := func(piece string) {
		if piece != "" {
			pieces = append(pieces, piece)
		}
	}
	flush := func() {
		if text := between.String(); len(text) <= maxMarkdown {
			add(understood(text))
		} else {
			head, middle, tail := ends(text)
			add(understood(head))
			add(strings.Trim(tidy(guard(startOfLines(escape(bot.Unescape(middle))))), "\n"))
			add(understood(tail))
		}
		between.Reset()
	}
	for line := range strings.Lines(s) {
		run := line[:len(line)-len(strings.TrimLeft(line, "`"))]
		info := strings.TrimSpace(line[len(run):])
		switch {
		case ticks == "" && len(run) >= len(fence) && !strings.Contains(info, "`"):
			flush()
			ticks, language = run, info
		case ticks != "" && len(run) >= len(ticks) && info == "":
			add(codeBlock(code.String(), language))
			code.Reset()
			ticks = ""
		case ticks != "":
			code.WriteString(line)
		default:
			between.WriteString(line)
		}
	}
	if ticks != "" { // nothing closes it: its end is the text's
		add(codeBlock(code.String(), language))
	}
	flush()
	return strings.Join(pieces, "\n\n")
}

// ends are the first and last lines of a long text, each as much as is
// understood in a moment, and what is between them.
func ends(s string) (head, middle, tail string) {
	const most = maxMarkdown / 2
	first := strings.LastIndexByte(s[:most], '\n') + 1
	last := len(s)
	if at := strings.IndexByte(s[len(s)-most:], '\n'); at >= 0 {
		last = len(s) - most + at + 1
	}
	return s[:first], s[first:last], s[last:]
}
