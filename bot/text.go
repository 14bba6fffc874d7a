package bot

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Join lists words the way that a sentence does: "a, b and c".
func Join(words []string, last string) string {
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + last + " " + words[len(words)-1]
}

// markdown are the characters that mean something in GitHub-flavoured
// Markdown anywhere in a line, or at its start.
const markdown = "\\`*_{}[]()<>#+-!|~@&:"

// Escape makes outside text safe to stand inside a line of GitHub-flavoured
// Markdown: it reads as it was written, on one line, and is no markup, link,
// mention, reference, table border or HTML. Text longer than most characters
// is cut with "…".
//
// A backslash keeps markup away, but GitHub finds mentions, issue references
// and bare links in text whose backslashes it has already taken off; a
// zero-width space inside them keeps those away too.
func Escape(s string, most int) string {
	s = clip(flat(s), most)
	var b strings.Builder
	b.Grow(len(s) + 16)
	before := ' '
	for i, r := range s {
		switch {
		case r == '@' || r == '#':
			b.WriteByte('\\')
			b.WriteRune(r)
			b.WriteRune('\u200b')
		case r == ':' && (strings.HasPrefix(s[i:], "://") || letter(before)):
			b.WriteString("\\:\u200b")
		case r == '.' && letter(before) && strings.HasSuffix(strings.ToLower(s[:i]), "www"):
			b.WriteString("\u200b.")
		case r == '-' && strings.HasSuffix(strings.ToUpper(s[:i]), "GH"):
			b.WriteString("\u200b-")
		case r == '.' && unicode.IsDigit(before) && strings.TrimLeft(s[:i], "0123456789") == "":
			b.WriteString("\\.") // "1. " at the start of a line is a list
		case strings.ContainsRune(markdown, r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
		before = r
	}
	return b.String()
}

func letter(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// Code makes outside text safe to stand as inline code.
func Code(s string, most int) string {
	s = clip(flat(s), most)
	if strings.TrimSpace(s) == "" {
		return ""
	}
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	s = strings.ReplaceAll(s, "|", "\\|") // a table's cell ends at it even in code
	if fence != "`" {
		return fence + " " + s + " " + fence
	}
	return fence + s + fence
}

// Block makes outside text a fenced block of code. language may be "".
func Block(s, language string) string {
	fence := "```"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	return fence + language + "\n" + strings.TrimRight(Plain(s), "\n") + "\n" + fence
}

// Plain takes control characters, escape sequences of terminals and
// characters that turn the direction of text out of s; line feeds and tabs
// stay. What is not valid UTF-8 is replaced.
func Plain(s string) string {
	clean := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 && c != '\n' && c != '\t' || c >= 0x7f {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == 0x1b:
			i += escapeLength(s[i:])
			continue
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
		case r == utf8.RuneError && size == 1:
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// escapeLength is how many bytes the escape sequence at the start of s has.
// Source: ECMA-48, 5.4 (CSI) and 8.3.89 (OSC and its terminator).
func escapeLength(s string) int {
	if len(s) < 2 {
		return len(s)
	}
	switch s[1] {
	case '[': // CSI: parameters and intermediates, then one final byte
		for i := 2; i < len(s); i++ {
			if s[i] >= 0x40 && s[i] <= 0x7e {
				return i + 1
			}
			if s[i] < 0x20 || s[i] > 0x3f {
				return i
			}
		}
		return len(s)
	case ']', 'P', 'X', '^', '_': // a string, up to BEL or ESC \ or the line's end
		for i := 2; i < len(s); i++ {
			switch {
			case s[i] == 0x07:
				return i + 1
			case s[i] == 0x1b && i+1 < len(s) && s[i+1] == '\\':
				return i + 2
			case s[i] == '\n':
				return i
			}
		}
		return len(s)
	default:
		if s[1] < 0x20 || s[1] > 0x7e {
			return 1
		}
		return 2
	}
}

// flat is s on one line, without control characters.
func flat(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, Plain(s)))
}

// Span writes how long d is in the one or two units that matter to a person:
// "3 days", "2 hours", "5 minutes", "less than a minute".
func Span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < time.Hour:
		return number(int(d/time.Minute), "minute")
	case d < 48*time.Hour:
		if minutes := int(d % time.Hour / time.Minute); minutes > 0 && d < 5*time.Hour {
			return number(int(d/time.Hour), "hour") + " " + number(minutes, "minute")
		}
		return number(int(d/time.Hour), "hour")
	default:
		return number(int(d/(24*time.Hour)), "day")
	}
}

// Short is the abbreviated form of a commit's SHA.
func Short(sha string) string {
	if len(sha) > 7 {
		return sha[:7]
	}
	return sha
}
