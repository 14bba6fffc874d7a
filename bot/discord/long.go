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
// if it is not long itself, and otherwise shown as it reads.
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
			add(strings.Trim(tidy(guard(startOfLines(escape(bot.Unescape(text))))), "\n"))
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
