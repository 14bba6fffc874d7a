package discord

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// escape makes text read in Discord as it is: no markup, mention, emoji, time
// or link. What begins lines is left to startOfLines.
//
// A backslash takes the meaning of the character that follows it, also of those
// that begin a mention: "\<@1>" is shown as "<@1>". What Discord finds in text
// without such a character, its bare links and @everyone, is broken up by a
// character that is not seen.
func escape(s string) string {
	if !strings.ContainsAny(s, "\\*_~`|<>[]:@#-") && !strings.Contains(s, "www.") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i, r := range s {
		after := s[i+utf8.RuneLen(r):]
		if r == utf8.RuneError {
			after = s[min(i+1, len(s)):]
		}
		switch {
		case strings.ContainsRune("\\*_~`|<>[]", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == ':' && strings.HasPrefix(after, "//"):
			b.WriteRune(r)
			b.WriteString(seam)
		case r == ':' && emojiName(after):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '@':
			b.WriteRune(r)
			if next, _ := utf8.DecodeRuneInString(after); unicode.IsLetter(next) {
				b.WriteString(seam)
			}
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// emojiName tells whether what follows a colon makes an emoji of it: "smile:".
func emojiName(s string) bool {
	end := strings.IndexByte(s, ':')
	return end > 0 && strings.IndexFunc(s[:end], func(r rune) bool {
		return r != '_' && r != '+' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) < 0
}

// startOfLines escapes what Discord would read at the start of a line as a
// heading, a list or small letters, in what is escaped otherwise.
func startOfLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		text := strings.TrimLeft(line, " \t"+seam)
		lead := line[:len(line)-len(text)]
		switch {
		case text == "":
			continue
		case strings.ContainsRune("#-+", rune(text[0])), strings.HasPrefix(text, "•"):
			lines[i] = lead + `\` + text
			continue
		}
		if digits := strings.TrimLeft(text, "0123456789"); digits != text && strings.HasPrefix(digits, ". ") {
			lines[i] = lead + text[:len(text)-len(digits)] + `\` + digits
		}
	}
	return strings.Join(lines, "\n")
}

// unmarked is Discord's Markdown as plain text, for where there is no markup: a
// footer, the name of a thread.
func unmarked(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		rest := s[i:]
		switch {
		case rest[0] == '\\' && len(rest) > 1:
			_, n := utf8.DecodeRuneInString(rest[1:])
			b.WriteString(rest[1 : 1+n])
			i += 1 + n
		case rest[0] == '`':
			ticks := len(rest) - len(strings.TrimLeft(rest, "`"))
			if end := strings.Index(rest[ticks:], rest[:ticks]); end >= 0 {
				b.WriteString(strings.TrimSpace(rest[ticks : ticks+end]))
				i += ticks + end + ticks
				continue
			}
			i += ticks
		case strings.HasPrefix(rest, "**"), strings.HasPrefix(rest, "~~"):
			i += 2
		case rest[0] == '*':
			i++
		case rest[0] == '[':
			label, after, isLink := strings.Cut(rest[1:], "](<")
			if end := strings.Index(after, ">)"); isLink && end >= 0 && !strings.Contains(label, "[") {
				b.WriteString(unmarked(label))
				i += 1 + len(label) + len("](<") + end + len(">)")
				continue
			}
			b.WriteByte('[')
			i++
		case rest[0] == '<':
			if words, n := spelled(rest); n > 0 {
				b.WriteString(words)
				i += n
				continue
			}
			if end := strings.IndexByte(rest, '>'); end > 0 && strings.HasPrefix(rest, "<http") {
				b.WriteString(rest[1:end])
				i += end + 1
				continue
			}
			b.WriteByte('<')
			i++
		default:
			_, n := utf8.DecodeRuneInString(rest)
			b.WriteString(rest[:n])
			i += n
		}
	}
	return b.String()
}

// plainLine is text on one line, trimmed.
func plainLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}

// guard breaks up what is escaped piece by piece and would be a mention or a
// link once the pieces stand side by side. Code, and links in angle brackets,
// stay as they are.
func guard(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := 0; i < len(s); {
		rest := s[i:]
		n := 1
		switch {
		case rest[0] == '\\' && len(rest) > 1:
			_, n = utf8.DecodeRuneInString(rest[1:])
			n++
		case rest[0] == '`':
			n = codeLength(rest)
		case strings.HasPrefix(rest, "<http://"), strings.HasPrefix(rest, "<https://"):
			n = strings.IndexAny(rest, "> \n") + 1
			if n == 0 || rest[n-1] != '>' {
				b.WriteByte('\\')
				n = 1
			}
		case rest[0] == '<':
			b.WriteByte('\\')
		case strings.HasPrefix(rest, "://"):
			b.WriteString(":" + seam)
			i++
			continue
		case rest[0] == ':' && emojiName(rest[1:]):
			b.WriteByte('\\')
		case rest[0] == '@':
			b.WriteByte('@')
			if next, _ := utf8.DecodeRuneInString(rest[1:]); unicode.IsLetter(next) {
				b.WriteString(seam)
			}
			i++
			continue
		}
		b.WriteString(rest[:n])
		i += n
	}
	return b.String()
}

// codeLength is how many bytes the code at the start of s has, with its
// backticks; those alone where nothing closes them.
func codeLength(s string) int {
	ticks := len(s) - len(strings.TrimLeft(s, "`"))
	for at := ticks; at < len(s); {
		next := strings.IndexByte(s[at:], '`')
		if next < 0 {
			return ticks
		}
		at += next
		run := len(s[at:]) - len(strings.TrimLeft(s[at:], "`"))
		if run == ticks {
			return at + run
		}
		at += run
	}
	return ticks
}
