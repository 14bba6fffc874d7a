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

// apart is put into what GitHub would make a mention, a reference or a link of,
// since it looks for those in text whose backslashes are gone already.
const apart = "\u200b"

// Escape makes outside text safe to stand inside a line of GitHub-flavoured
// Markdown: it reads as it was written, on one line, and is no markup, link,
// mention, reference, table border or HTML. Text longer than most characters
// is cut with "…".
func Escape(s string, most int) string {
	s = clip(flat(s), most)
	var b strings.Builder
	b.Grow(len(s) + 16)
	before := ' '
	for i, r := range s {
		after, _ := utf8.DecodeRuneInString(s[i+utf8.RuneLen(r):])
		switch {
		case strings.ContainsRune("\\`*[]<|~", r),
			i == 0 && strings.ContainsRune("-+>=", r),
			r == '_' && (!letter(before) || !letter(after)),
			r == '&' && (letter(after) || after == '#'),
			(r == '.' || r == ')') && i > 0 && strings.Trim(s[:i], "0123456789") == "": // "1. " begins a list
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '@' || r == '#',
			r == ':' && (strings.HasPrefix(s[i:], "://") || shortcode(s[i+1:])):
			b.WriteRune(r)
			b.WriteString(apart)
		case r == '.' && endsWithFold(s[:i], "www"), r == '-' && endsWithFold(s[:i], "gh"):
			b.WriteString(apart)
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
		before = r
	}
	return b.String()
}

// Prose is Escape for a message of ours that may quote outside text: what stands
// between two backticks, such as a command to type, stays code. Whoever puts a
// backtick into what is quoted has more or less of it shown as code, and no more.
func Prose(s string, most int) string {
	pieces := strings.Split(clip(flat(s), most), "`")
	var b strings.Builder
	for i, piece := range pieces {
		switch {
		case i%2 == 0 || i == len(pieces)-1:
			if i%2 == 1 {
				b.WriteString("\\`") // nothing closes it
			}
			text := strings.TrimSpace(piece)
			before, after, _ := strings.Cut(piece, text)
			b.WriteString(before + Escape(text, most) + after)
		case strings.TrimSpace(piece) == "":
			b.WriteString("\\`" + piece + "\\`")
		default:
			b.WriteString(Code(piece, most))
		}
	}
	return b.String()
}

// shortcode tells whether what follows a colon makes an emoji of it: "smile:".
func shortcode(s string) bool {
	end := strings.IndexByte(s, ':')
	return end > 0 && end < 50 && strings.IndexFunc(s[:end], func(r rune) bool {
		return r != '_' && r != '+' && r != '-' && !letter(r)
	}) < 0
}

func endsWithFold(s, end string) bool {
	return len(s) >= len(end) && strings.EqualFold(s[len(s)-len(end):], end)
}

// Unescape is a Reply's text for where there is no Markdown: what Escape did to
// outside text is undone, and the marks of bold text are left out. Code, tables
// and lists stay as they are, since they read well.
func Unescape(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		switch {
		case s[0] == '`':
			code := codeSpan(s)
			b.WriteString(code)
			s = s[len(code):]
		case s[0] == '\\' && len(s) > 1 && s[1] < utf8.RuneSelf && unicode.In(rune(s[1]), unicode.Punct, unicode.Symbol):
			b.WriteByte(s[1])
			s = s[2:]
		case strings.HasPrefix(s, apart):
			s = s[len(apart):]
		case strings.HasPrefix(s, "**"):
			s = s[2:]
		default:
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
	return b.String()
}

// codeSpan is the code at the start of s, with its backticks; those alone when
// nothing closes them.
func codeSpan(s string) string {
	after := strings.TrimLeft(s, "`")
	run := s[:len(s)-len(after)]
	if end := strings.Index(after, run); end >= 0 {
		return s[:len(run)+end+len(run)]
	}
	return run
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
		switch r {
		case '\n', '\t', '\u2028', '\u2029':
			return ' '
		case '\u200b':
			return -1
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
