package slack

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// apart stands where nothing is to be seen and something is to be kept apart:
	// Slack takes it for the end of a word.
	apart = "\u200b"
	fence = "```"
)

// looks are the marks that Slack makes bold, italic, struck and inline code of.
// There is no way to escape them, so that where one would count without being
// ours, a letter that looks the same stands in its place. In code none counts
// but the backtick.
// Source: https://docs.slack.dev/messaging/formatting-message-text
var looks = map[rune]rune{'*': '∗', '_': 'ˍ', '~': '∼', '`': 'ˋ'}

// marks are those of looks that may not stand as they are in a text.
type marks map[rune]bool

// marksIn finds them: those that the text itself uses, and those that stand at
// the edge of a word more than once, where two make a pair. A lone one, as in
// "*.yaml" or "~/.config", means nothing and stays.
func marksIn(text []textLine) marks {
	found := map[rune]int{}
	for _, l := range text {
		if l.code > 0 {
			found['`'] += 2
			continue
		}
		before := ' '
		for i, s := range l.spans {
			found['*'] += 2 * count(s.bold)
			found['_'] += 2 * count(s.italic)
			found['~'] += 2 * count(s.strike)
			found['`'] += 2 * count(s.inCode())
			if s.inCode() {
				before = 'x'
				continue
			}
			for j, r := range s.text {
				if looks[r] != 0 && atEdge(r, before, next(l.spans, i, s.text[j+utf8.RuneLen(r):])) {
					found[r]++
				}
				before = r
			}
		}
	}
	m := marks{}
	for r, n := range found {
		m[r] = n > 1
	}
	return m
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// inCode tells whether a span is written as code. A link is not: an address
// works where the code would show it.
func (s span) inCode() bool { return s.code && s.link == "" }

// next is the rune that follows: the first of rest, else of the spans after the
// i-th.
func next(spans []span, i int, rest string) rune {
	for {
		if rest != "" {
			r, _ := utf8.DecodeRuneInString(rest)
			return r
		}
		if i++; i >= len(spans) {
			return ' '
		}
		rest = spans[i].text
	}
}

// atEdge tells whether a mark between two runes could count. A backtick always
// could.
func atEdge(mark, before, after rune) bool {
	if mark == '`' {
		return true
	}
	return (!word(before) || !word(after)) && (!unicode.IsSpace(before) || !unicode.IsSpace(after))
}

func word(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// mrkdwn writes a text for Slack.
func mrkdwn(text []textLine, m marks) string {
	var b strings.Builder
	for i, l := range text {
		if i > 0 {
			b.WriteByte('\n')
		}
		if l.code > 0 && (i == 0 || text[i-1].code != l.code) {
			b.WriteString(fence + "\n")
		}
		b.WriteString(l.mrkdwn(m))
		if l.code > 0 && (i == len(text)-1 || text[i+1].code != l.code) {
			b.WriteString("\n" + fence)
		}
	}
	return b.String()
}

// mrkdwn writes one line. Blocks of code have their fences from the function of
// the same name.
func (l textLine) mrkdwn(m marks) string {
	var b strings.Builder
	if l.code > 0 {
		for _, s := range l.spans {
			b.WriteString(escape(s.text))
		}
		return strings.ReplaceAll(b.String(), "``", "`"+apart+"`") // three would be a fence
	}
	switch {
	case l.quote:
		b.WriteString("> ")
	case l.lead == "" && len(l.spans) > 0 && strings.HasPrefix(l.spans[0].text, ">"):
		b.WriteString(apart) // else it were a quotation
	}
	b.WriteString(l.lead)
	before := ' '
	for i, s := range l.spans {
		s.write(&b, m, before, next(l.spans, i, ""))
		if s.text != "" {
			before, _ = utf8.DecodeLastRuneInString(s.text)
			if s.marked() {
				before = 'x' // a mark of ours, beside which no other counts
			}
		}
	}
	return b.String()
}

// marked tells whether marks stand around a span.
func (s span) marked() bool { return s.bold || s.italic || s.strike || s.inCode() }

// write writes a span between the runes before and after it.
func (s span) write(b *strings.Builder, m marks, before, after rune) {
	text := strings.TrimSpace(s.text)
	if text == "" {
		b.WriteString(s.text)
		return
	}
	lead, tail, _ := strings.Cut(s.text, text) // spaces stand outside of the marks, or these do not count
	b.WriteString(lead)
	var around string
	for _, mark := range []struct {
		on   bool
		mark string
	}{{s.bold, "*"}, {s.italic, "_"}, {s.strike, "~"}, {s.inCode(), "`"}} {
		if mark.on {
			around += mark.mark
		}
	}
	if around != "" && lead == "" && !ends(before) {
		b.WriteString(apart)
	}
	b.WriteString(around)
	switch {
	case s.time != "":
		b.WriteString("<" + s.time + "|" + escape(text) + ">")
	case s.link != "":
		b.WriteString("<" + escape(s.link) + "|" + strings.ReplaceAll(literal(text, m, before, after), ":"+apart+"//", "://") + ">")
	case s.code:
		b.WriteString(escape(strings.ReplaceAll(text, "`", string(looks['`']))))
	default:
		b.WriteString(literal(text, m, edge(lead, around, before), edge(tail, around, after)))
	}
	b.WriteString(reverse(around))
	if around != "" && tail == "" && !ends(after) {
		b.WriteString(apart)
	}
	b.WriteString(tail)
}

// ends tells whether Slack takes a rune beside a mark for the end of a word.
func ends(r rune) bool {
	return unicode.IsSpace(r) || strings.ContainsRune(".,:;!?()[]{}\"'-–—·…", r)
}

// edge is what stands beside a span's text.
func edge(space, around string, beyond rune) rune {
	switch {
	case around != "":
		return '*'
	case space != "":
		return ' '
	}
	return beyond
}

func reverse(ascii string) string {
	b := []byte(ascii)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// literal is text that reads as it is: no markup, no emoji, no address that some
// client makes a link of all the same.
func literal(s string, m marks, before, after rune) string {
	var b strings.Builder
	b.Grow(len(s) + 8)
	for i, r := range s {
		rest := s[i+utf8.RuneLen(r):]
		following := after
		if rest != "" {
			following, _ = utf8.DecodeRuneInString(rest)
		}
		switch {
		case m[r] && atEdge(r, before, following):
			b.WriteRune(looks[r])
		case r == ':' && (shortcode(rest) || strings.HasPrefix(rest, "//")):
			b.WriteString(":" + apart)
		default:
			b.WriteRune(r)
		}
		before = r
	}
	return escape(b.String())
}

// shortcode tells whether what follows a colon makes an emoji of it: "smile:".
func shortcode(s string) bool {
	end := strings.IndexByte(s, ':')
	return end > 0 && end <= 100 && strings.IndexFunc(s[:end], func(r rune) bool {
		return !strings.ContainsRune("_+-'", r) && !word(r)
	}) < 0
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// escape keeps Slack from finding links, mentions and entities in s.
// Source: https://docs.slack.dev/messaging/formatting-message-text#escaping
func escape(s string) string { return escaper.Replace(s) }

// inWords is a text as people read it, without looks, for notifications and for
// those who have the screen read to them.
func inWords(text []textLine) string {
	var b strings.Builder
	for i, l := range text {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(l.lead)
		for _, s := range l.spans {
			b.WriteString(s.text)
		}
	}
	return b.String()
}
