package slack

import (
	"strings"
	"unicode"
)

// plainText is what somebody typed, from text as Slack sends it: "<…>" holds
// links and names that Slack found in it, and &, < and > are escaped. Each is
// undone once.
// Source: https://docs.slack.dev/messaging/formatting-message-text#retrieving-messages
func plainText(s string) string {
	if !strings.ContainsAny(s, "<&") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		open := strings.IndexByte(s, '<')
		if open < 0 {
			break
		}
		end := strings.IndexByte(s[open:], '>')
		if end < 0 {
			break
		}
		b.WriteString(unescape(s[:open]))
		b.WriteString(unescape(spelled(s[open+1 : open+end])))
		s = s[open+end+1:]
	}
	b.WriteString(unescape(s))
	return b.String()
}

// entities are the characters that Slack escapes, and no others.
// Source: https://docs.slack.dev/messaging/formatting-message-text#escaping
var entities = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">")

func unescape(s string) string { return entities.Replace(s) }

// spelled is what stood where Slack put a reference: a link as it was typed, an
// account or channel by its sign.
func spelled(ref string) string {
	target, label, labelled := strings.Cut(ref, "|")
	switch {
	case strings.HasPrefix(target, "@"), strings.HasPrefix(target, "#"):
		if labelled && label != "" {
			return target[:1] + strings.TrimPrefix(label, target[:1])
		}
		return target
	case strings.HasPrefix(target, "!"):
		if labelled && label != "" {
			return label
		}
		command, _, _ := strings.Cut(target[1:], "^")
		return "@" + command
	case labelled && (target == "http://"+label || target == "https://"+label || target == "mailto:"+label || target == "tel:"+label):
		return label
	}
	return target
}

// commandText is the command in what was typed, as the grammar takes it. Slack's
// clients make one dash of two where a flag begins, and people put commands
// between backticks; curly quotes are the grammar's to read.
func commandText(s string) string {
	s = strings.TrimSpace(s)
	for _, fence := range []string{"```", "`"} {
		if inner, ok := strings.CutPrefix(s, fence); ok {
			if inner, ok = strings.CutSuffix(inner, fence); ok && !strings.Contains(inner, "`") {
				s = strings.TrimSpace(inner)
			}
			break
		}
	}
	s = withoutCode(s)
	if !strings.ContainsAny(s, "—–") {
		return s
	}
	var (
		b      strings.Builder
		before = ' '
	)
	runes := []rune(s)
	for i, r := range runes {
		flag := (r == '—' || r == '–') && unicode.IsSpace(before) && i+1 < len(runes) && unicode.IsLetter(runes[i+1])
		before = r
		if flag {
			b.WriteString("--")
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// quotes are what may begin a text in which all is kept.
const quotes = "\"'“”„‟‘’‚‛«»"

// withoutCode takes words out of code that stand in it alone, as Berth writes
// names for people to copy, up to the first quote.
func withoutCode(s string) string {
	words, rest := s, ""
	if i := strings.IndexAny(s, quotes); i >= 0 {
		words, rest = s[:i], s[i:]
	}
	if !strings.Contains(words, "`") {
		return s
	}
	all := strings.Split(words, " ")
	for i, word := range all {
		if inner, ok := strings.CutPrefix(word, "`"); ok {
			if inner, ok = strings.CutSuffix(inner, "`"); ok && inner != "" && !strings.Contains(inner, "`") {
				all[i] = inner
			}
		}
	}
	return strings.Join(all, " ") + rest
}

// mentionText is the command in a message that mentions the account self (or,
// while that is not known, whichever it mentions first): what follows the
// mention, or what is before it when nothing follows.
func mentionText(text, self string) string {
	before, after, found := cutMention(text, self)
	if !found {
		before, after = "", text
	}
	line := commandText(plainText(after))
	if line == "" {
		line = commandText(plainText(before))
	}
	return withoutSlash(line)
}

// directText is the command in a direct message, which may begin with a mention
// although it needs none.
func directText(text, self string) string {
	text = strings.TrimSpace(text)
	if before, after, found := cutMention(text, self); found && self != "" && before == "" {
		text = after
	}
	return withoutSlash(commandText(plainText(text)))
}

// cutMention cuts text around its first mention of self.
func cutMention(text, self string) (before, after string, found bool) {
	for from := 0; ; {
		open := strings.Index(text[from:], "<@")
		if open < 0 {
			return "", "", false
		}
		open += from
		end := strings.IndexByte(text[open:], '>')
		if end < 0 {
			return "", "", false
		}
		end += open
		user, _, _ := strings.Cut(text[open+2:end], "|")
		if self == "" || user == self {
			return text[:open], strings.TrimLeft(text[end+1:], ":, \u00a0"), true
		}
		from = end + 1
	}
}

// withoutSlash takes off "/berth" or "berth", which people type where it is not
// needed.
func withoutSlash(line string) string {
	first, rest, _ := strings.Cut(line, " ")
	if strings.EqualFold(first, "/berth") || strings.EqualFold(first, "berth") {
		return strings.TrimSpace(rest)
	}
	return line
}

// oneLine is text of several lines, or with characters that nobody sees, as one
// line that the grammar takes.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), r == '\u2028', r == '\u2029':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u200b', r == '\ufeff', r >= 0xE0000 && r <= 0xE007F, r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}
