package command

import (
	"strings"

	"github.com/berth-dev/berth/bot"
)

// Lines are the commands in a comment, in order and without their "/": lines
// of their own that begin (after three spaces at most) with "/VERB". At most
// one more than bot.MaxCommands are returned, by which a surface sees that there
// are too many; the rest is not read.
//
// A line that people see as something else is no command: one in fenced or
// indented code, in a <pre>, in a quote (or carrying one on, as Markdown has
// it, with no empty line between) or in an HTML comment. Nor is the slash
// command of another bot: a word counts when it is one of our verbs, or so
// close to one that it must be a slip, which Parse then answers with a hint.
func Lines(markdown string) []string {
	var (
		found []string
		s     scanner
	)
	for len(markdown) > 0 && len(found) <= bot.MaxCommands {
		var line string
		line, markdown = cutLine(markdown)
		if !s.text(line, markdown) {
			continue
		}
		if command, ok := commandLine(line); ok {
			found = append(found, command)
		}
	}
	return found
}

// cutLine takes the first line off, ended by LF, CRLF or CR.
func cutLine(s string) (line, rest string) {
	i := strings.IndexAny(s, "\r\n")
	if i < 0 {
		return s, ""
	}
	if strings.HasPrefix(s[i:], "\r\n") {
		return s[:i], s[i+2:]
	}
	return s[:i], s[i+1:]
}

// commandLine is the command of a line, if it is one.
func commandLine(line string) (string, bool) {
	body := strings.TrimLeft(line, " ")
	if len(line)-len(body) > 3 || !strings.HasPrefix(body, "/") {
		return "", false
	}
	body = strings.TrimRight(body[1:], " \t")
	first := body
	if i := strings.IndexFunc(body, func(r rune) bool { return r == ' ' || r == '\t' || r == '\u00a0' }); i >= 0 {
		first = body[:i]
	}
	if strings.Contains(first, "/") {
		return "", false // a path
	}
	if _, ok := find(strings.ToLower(first)); ok {
		return body, true
	}
	return body, first != "" && Nearest(first) != ""
}

// scanner follows the blocks of Markdown as far as it takes to tell text from
// code, quotes and comments.
// Source: https://github.github.com/gfm/#leaf-blocks
type scanner struct {
	fence   string // the characters that opened the fenced code
	closer  string // what ends the HTML block: "-->", "</pre>"
	inQuote bool   // the line before was a quote's paragraph, which the next line carries on
	quoted  string // the characters that opened fenced code within a quote
	literal bool   // a "<!--" of this paragraph is known to begin no comment
}

// text tells whether line is seen as text of its own. rest is what follows it.
func (s *scanner) text(line, rest string) bool {
	body := strings.TrimLeft(line, " ")
	indent := len(line) - len(body)
	switch {
	case s.fence != "":
		if indent <= 3 && closesFence(body, s.fence) {
			s.fence = ""
		}
		return false
	case s.closer != "":
		if containsFold(body, s.closer) {
			s.closer = ""
		}
		return false
	case strings.TrimSpace(body) == "":
		s.inQuote, s.quoted, s.literal = false, "", false
		return false
	case indent <= 3 && strings.HasPrefix(body, ">"):
		s.quote(body)
		return false
	}
	s.quoted = ""
	if indent <= 3 {
		if fence := opensFence(body); fence != "" {
			s.fence, s.inQuote = fence, false
			return false
		}
		if closer := opensHTML(body); closer != "" {
			s.inQuote = false
			if !containsFold(body[1:], closer) {
				s.closer = closer
			}
			return false
		}
	}
	if s.inQuote {
		s.inQuote = !breaksParagraph(body, indent)
		return false
	}
	if !s.literal && opensComment(line) {
		if s.literal = !closedInParagraph(rest); !s.literal {
			s.closer = "-->"
		}
	}
	return true
}

// quote follows a line of a quote: the next line carries it on, without a ">"
// of its own, when this one leaves a paragraph open.
func (s *scanner) quote(body string) {
	for strings.HasPrefix(body, ">") {
		body = strings.TrimPrefix(body[1:], " ")
		if trimmed := strings.TrimLeft(body, " "); len(body)-len(trimmed) <= 3 {
			body = trimmed
		}
	}
	s.inQuote = false
	if s.quoted != "" {
		if closesFence(body, s.quoted) {
			s.quoted = ""
		}
		return
	}
	if s.quoted = opensFence(body); s.quoted != "" {
		return
	}
	indented := strings.HasPrefix(body, "    ") || strings.HasPrefix(body, "\t")
	s.inQuote = strings.TrimSpace(body) != "" && !indented && opensHTML(body) == "" && !breaksParagraph(body, 0)
}

// opensFence is the run of characters that opens fenced code, or "".
func opensFence(body string) string {
	for _, c := range []string{"`", "~"} {
		run := body[:len(body)-len(strings.TrimLeft(body, c))]
		if len(run) >= 3 && (c == "~" || !strings.Contains(body[len(run):], "`")) {
			return run
		}
	}
	return ""
}

func closesFence(body, fence string) bool {
	rest := strings.TrimLeft(body, fence[:1])
	return len(body)-len(rest) >= len(fence) && strings.TrimSpace(rest) == ""
}

// opensHTML is what ends the HTML block that body begins, for those whose
// content is not read as text, or "".
func opensHTML(body string) string {
	if strings.HasPrefix(body, "<!--") {
		return "-->"
	}
	for _, tag := range []string{"pre", "script", "style", "textarea"} {
		if len(body) > len(tag) && body[0] == '<' && strings.EqualFold(body[1:1+len(tag)], tag) {
			if after := body[1+len(tag):]; after == "" || strings.ContainsAny(after[:1], " \t>") {
				return "</" + tag + ">"
			}
		}
	}
	return ""
}

// opensComment tells whether a line of text has a "<!--" that the same line
// does not close.
func opensComment(line string) bool {
	line = withoutCode(line)
	open := strings.LastIndex(line, "<!--")
	return open >= 0 && !strings.Contains(line[open+4:], "-->")
}

// closedInParagraph tells whether a comment that is open ends before its
// paragraph does. One that does not is no comment.
func closedInParagraph(rest string) bool {
	for len(rest) > 0 {
		var next string
		next, rest = cutLine(rest)
		body := strings.TrimLeft(next, " ")
		if strings.TrimSpace(body) == "" {
			return false
		}
		if indent := len(next) - len(body); indent <= 3 {
			if body[0] == '>' || opensFence(body) != "" || opensHTML(body) != "" || breaksParagraph(body, indent) || listItem(body) {
				return false
			}
		}
		if strings.Contains(next, "-->") {
			return true
		}
	}
	return false
}

// withoutCode is a line without its inline code.
func withoutCode(line string) string {
	if !strings.Contains(line, "`") {
		return line
	}
	var b strings.Builder
	for {
		open := strings.IndexByte(line, '`')
		if open < 0 {
			b.WriteString(line)
			return b.String()
		}
		after := strings.TrimLeft(line[open:], "`")
		run := line[open : len(line)-len(after)]
		b.WriteString(line[:open])
		if end := strings.Index(after, run); end >= 0 {
			after = after[end+len(run):]
		}
		line = after
	}
}

// listItem tells whether a line begins an item of a list that can stand right
// after a paragraph.
func listItem(body string) bool {
	for _, marker := range []string{"- ", "* ", "+ ", "1. ", "1) "} {
		if rest, ok := strings.CutPrefix(body, marker); ok {
			return strings.TrimSpace(rest) != ""
		}
	}
	return false
}

// breaksParagraph tells whether a line ends the paragraph before it: a heading
// or a rule.
func breaksParagraph(body string, indent int) bool {
	if indent > 3 {
		return false
	}
	if hashes := len(body) - len(strings.TrimLeft(body, "#")); hashes >= 1 && hashes <= 6 {
		if after := body[hashes:]; after == "" || strings.ContainsAny(after[:1], " \t") {
			return true
		}
	}
	plain := strings.NewReplacer(" ", "", "\t", "").Replace(body)
	for _, c := range []string{"-", "_", "*"} {
		if len(plain) >= 3 && strings.Trim(plain, c) == "" {
			return true
		}
	}
	return false
}

// containsFold is strings.Contains without regard to case; sub is in lower
// case.
func containsFold(s, sub string) bool { return strings.Contains(strings.ToLower(s), sub) }
