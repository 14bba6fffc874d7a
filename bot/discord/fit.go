package discord

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/berth-dev/berth/bot"
)

// What Discord takes, in characters where nothing else is said.
// Sources: https://docs.discord.com/developers/resources/message#create-message,
// https://docs.discord.com/developers/resources/message#embed-object-embed-limits,
// https://docs.discord.com/developers/components/reference#button,
// https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-response-object-modal,
// https://docs.discord.com/developers/components/reference#text-input
const (
	maxContent    = 2000
	maxEmbeds     = 10
	maxEmbedsText = 6000 // titles, descriptions, fields and footers of all embeds of a message together
	maxEmbedTitle = 256
	maxEmbedText  = 4096
	maxFields     = 25
	maxFieldName  = 256
	maxFieldValue = 1024
	maxFooter     = 2048
	maxRows       = 5
	maxRow        = 5 // buttons
	maxLabel      = 80
	maxButtonURL  = 512
	maxThreadName = 100
	maxNonce      = 25
	maxCalls      = 100 // accounts or roles in allowed_mentions
	// maxFile is the largest attachment, in bytes; Discord takes 10 MiB, of a whole
	// request.
	// Source: https://docs.discord.com/developers/reference#uploading-files
	maxFile = 8 << 20
)

// size is how long Discord takes a text to be. Where it counts code points and
// where UTF-16 is not documented, and this is never less than either.
func size(s string) int {
	n := 0
	for _, r := range s {
		n += max(1, utf16.RuneLen(r))
	}
	return n
}

// clipLine is one line of plain text of at most most characters.
func clipLine(s string, most int) string {
	s = plainLine(bot.Plain(s))
	if size(s) <= most {
		return s
	}
	return strings.TrimSpace(headOf(s, most-1)) + "…"
}

// headOf is as much of the start of s as has at most most characters.
func headOf(s string, most int) string {
	n := 0
	for i, r := range s {
		if n += max(1, utf16.RuneLen(r)); n > most {
			return s[:i]
		}
	}
	return s
}

// tailOf is as much of the end of s as has at most most characters.
func tailOf(s string, most int) string {
	n := 0
	for i := len(s); i > 0; {
		r, width := utf8.DecodeLastRuneInString(s[:i])
		if n += max(1, utf16.RuneLen(r)); n > most {
			return s[i:]
		}
		i -= width
	}
	return s
}

// gap is how much of a text's room the lines around the notice may take, with
// what closes and opens a block of code there.
const gap = 40

// cut makes Discord's Markdown fit into most characters: its head and its tail
// stay, and notice stands between them. A block of code that is cut through is
// closed before the notice and opened again behind it.
func cut(s string, most int, notice string) (short string, whole bool) {
	if size(s) <= most {
		return s, true
	}
	room := most - size(notice) - gap
	if room < 2 {
		return headOf(notice, most), false
	}
	lines := strings.Split(s, "\n")
	head, language, open := headLines(lines, room*3/5)
	tail, inside := tailLines(lines[len(head):], room-size(strings.Join(head, "\n")), open)
	if open {
		head = append(head, fence)
	}
	if inside {
		tail = append([]string{fence + language}, tail...)
	}
	if len(head) == 0 {
		head = []string{literal(headOf(lines[0], room*3/5/2))}
	}
	if len(tail) == 0 {
		last := lines[len(lines)-1]
		tail = []string{literal(tailOf(last, room*2/5/2))}
	}
	short = strings.Join(head, "\n") + "\n" + notice + "\n" + strings.Join(tail, "\n")
	if size(short) > most { // the language's name is long, or all of it is one block's fences
		return headOf(notice, most), false
	}
	return short, false
}

// headLines are the first lines that fit, and whether a block of code, of which
// language, is open behind them.
func headLines(lines []string, room int) (head []string, language string, open bool) {
	for _, line := range lines {
		if room -= size(line) + 1; room < 0 {
			break
		}
		if fenced(line) {
			open = !open
			if open {
				language = strings.TrimPrefix(strings.TrimLeft(line, " >"), fence)
			}
		}
		head = append(head, line)
	}
	if open && fenced(head[len(head)-1]) {
		return head[:len(head)-1], "", false // nothing of the block would be seen
	}
	return head, language, open
}

// tailLines are the last of lines that fit, and whether they begin inside of a
// block of code. open tells whether lines do.
func tailLines(lines []string, room int, open bool) (tail []string, inside bool) {
	from := len(lines)
	for from > 0 {
		if room -= size(lines[from-1]) + 1; room < 0 {
			break
		}
		from--
	}
	inside = open
	for _, line := range lines[:from] {
		if fenced(line) {
			inside = !inside
		}
	}
	tail = lines[from:]
	if inside && len(tail) > 0 && fenced(tail[0]) {
		return tail[1:], false // it would open only to be closed
	}
	return tail, inside
}

// literal is a piece of a line of Discord's Markdown as plain text, since what
// is cut through may mean something else than the whole did.
func literal(s string) string {
	return escape(strings.ReplaceAll(unmarked(s), seam, ""))
}

// fileName is a name that an attachment may have.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, name)
	if name = strings.Trim(headOf(name, 100), ".-"); name == "" {
		return "text.txt"
	}
	return name
}

// attachment is a text as a file, its head and tail where it is too large.
func attachment(f *bot.ChatFile) *upload {
	content := f.Text
	if len(content) > maxFile {
		const half = maxFile/2 - 100
		head, tail := strings.ToValidUTF8(content[:half], ""), strings.ToValidUTF8(content[len(content)-half:], "")
		content = head + "\n\n[…] What was here is left out: the whole is larger than Discord takes.\n\n" + tail
	}
	if content == "" {
		content = "\n" // Discord takes no empty file
	}
	return &upload{name: fileName(f.Name), content: []byte(content)}
}
