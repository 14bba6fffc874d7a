package discordtest

import (
	"fmt"
	"html"
	"html/template"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// markdown renders what Discord's clients render.
// Source: https://support.discord.com/hc/en-us/articles/210298617 and
// https://docs.discord.com/developers/reference#message-formatting
type markdown struct {
	name func(kind byte, id string) string // '@' accounts, '&' roles, '#' channels
	now  time.Time
}

// maxNesting bounds how deep styles stand in each other.
const maxNesting = 12

var (
	fence     = regexp.MustCompile("(?s)```(?:([A-Za-z0-9_+-]*)\n)?(.*?)```\n?")
	heading   = regexp.MustCompile(`^(#{1,3}) +(.+)$`)
	bullet    = regexp.MustCompile(`^( *)[-*] +(.*)$`)
	numberedL = regexp.MustCompile(`^( *)(\d{1,4})\. +(.*)$`)
	entity    = regexp.MustCompile(`^<(@!?|@&|#)(\d{1,20})>`)
	slashRef  = regexp.MustCompile(`^</([^:>]{1,100}):\d{1,20}>`)
	timeRef   = regexp.MustCompile(`^<t:(-?\d{1,13})(?::([tTdDfFR]))?>`)
	angled    = regexp.MustCompile(`^<(https?://[^\s<>]+)>`)
	// messageLink leads to a channel, or to a message in it; clients say which.
	messageLink = regexp.MustCompile(`^https://discord\.com/channels/(?:\d+|@me)/(\d+)(?:/(\d+))?$`)
	bareURL     = regexp.MustCompile(`^https?://[^\s<]+`)
)

// block renders a text of several lines.
func (m markdown) block(text string) template.HTML {
	var b strings.Builder
	for text != "" {
		at := fence.FindStringSubmatchIndex(text)
		if at == nil {
			m.lines(&b, text)
			break
		}
		m.lines(&b, strings.TrimSuffix(text[:at[0]], "\n"))
		lang := ""
		if at[2] >= 0 {
			lang = text[at[2]:at[3]]
		}
		m.code(&b, lang, text[at[4]:at[5]])
		text = text[at[1]:]
	}
	return template.HTML(b.String())
}

// inline renders one line, as titles are.
func (m markdown) inline(text string) template.HTML {
	var b strings.Builder
	m.span(&b, text, 0)
	return template.HTML(b.String())
}

// code writes a block of code; of a diff, its lines are coloured.
func (m markdown) code(b *strings.Builder, lang, text string) {
	b.WriteString("<pre><code>")
	for i, line := range strings.Split(strings.Trim(text, "\n"), "\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		class := ""
		if lang == "diff" && line != "" {
			class = map[byte]string{'+': "plus", '-': "minus", '@': "at"}[line[0]]
		}
		if class == "" {
			b.WriteString(html.EscapeString(line))
		} else {
			fmt.Fprintf(b, `<i class="%s">%s</i>`, class, html.EscapeString(line))
		}
	}
	b.WriteString("</code></pre>")
}

// lines writes what stands between blocks of code.
func (m markdown) lines(b *strings.Builder, text string) {
	if text == "" {
		return
	}
	all := strings.Split(text, "\n")
	pending := false // a line break is due before text that flows on
	for i := 0; i < len(all); i++ {
		line := all[i]
		if rest, ok := strings.CutPrefix(line, ">>> "); ok {
			b.WriteString("<blockquote>")
			m.lines(b, strings.Join(append([]string{rest}, all[i+1:]...), "\n"))
			b.WriteString("</blockquote>")
			return
		}
		if strings.HasPrefix(line, "> ") {
			var quoted []string
			for i < len(all) && strings.HasPrefix(all[i], "> ") {
				quoted = append(quoted, all[i][2:])
				i++
			}
			i--
			b.WriteString("<blockquote>")
			m.lines(b, strings.Join(quoted, "\n"))
			b.WriteString("</blockquote>")
			pending = false
			continue
		}
		if h := heading.FindStringSubmatch(line); h != nil {
			m.wrapped(b, fmt.Sprintf("h%d", len(h[1])+2), "", h[2])
			pending = false
			continue
		}
		if rest, ok := strings.CutPrefix(line, "-# "); ok {
			m.wrapped(b, "p", "sub", rest)
			pending = false
			continue
		}
		if l := bullet.FindStringSubmatch(line); l != nil {
			m.wrapped(b, "p", fmt.Sprintf("item deep%d", min(len(l[1])/2, 3)), l[2])
			pending = false
			continue
		}
		if l := numberedL.FindStringSubmatch(line); l != nil {
			fmt.Fprintf(b, `<p class="item number deep%d"><i>%s.</i>`, min(len(l[1])/2, 3), l[2])
			m.span(b, l[3], 0)
			b.WriteString("</p>")
			pending = false
			continue
		}
		if pending {
			b.WriteString("<br>")
		}
		m.span(b, line, 0)
		pending = true
	}
}

func (m markdown) wrapped(b *strings.Builder, tag, class, text string) {
	if class != "" {
		fmt.Fprintf(b, `<%s class="%s">`, tag, class)
	} else {
		fmt.Fprintf(b, "<%s>", tag)
	}
	m.span(b, text, 0)
	fmt.Fprintf(b, "</%s>", tag)
}

// styles are pairs of marks, longest first.
var styles = []struct{ mark, open, shut string }{
	{"***", "<b><em>", "</em></b>"}, {"**", "<b>", "</b>"}, {"__", "<u>", "</u>"}, {"~~", "<s>", "</s>"},
	{"||", `<span class="spoiler">`, "</span>"}, {"*", "<em>", "</em>"}, {"_", "<em>", "</em>"},
}

// span writes text with its styles, links and mentions.
func (m markdown) span(b *strings.Builder, text string, depth int) {
	for i := 0; i < len(text); {
		rest := text[i:]
		if n := m.token(b, text, i, depth); n > 0 {
			i += n
			continue
		}
		r, size := utf8.DecodeRuneInString(rest)
		if r == utf8.RuneError && size <= 1 {
			b.WriteRune(utf8.RuneError)
		} else {
			b.WriteString(html.EscapeString(rest[:size]))
		}
		i += size
	}
}

// token writes what begins at i, if that is more than a character, and returns
// its length.
func (m markdown) token(b *strings.Builder, text string, i, depth int) int {
	rest := text[i:]
	switch rest[0] {
	case '\\':
		if len(rest) > 1 && rest[1] < utf8.RuneSelf && (unicode.IsPunct(rune(rest[1])) || unicode.IsSymbol(rune(rest[1]))) {
			b.WriteString(html.EscapeString(rest[1:2]))
			return 2
		}
	case '`':
		run := len(rest) - len(strings.TrimLeft(rest, "`"))
		if end := strings.Index(rest[run:], rest[:run]); end > 0 {
			b.WriteString("<code>" + html.EscapeString(strings.TrimSpace(rest[run:run+end])) + "</code>")
			return run + end + run
		}
	case '<':
		return m.angle(b, rest)
	case '[':
		return m.masked(b, rest, depth)
	case 'h':
		link := bareURL.FindString(rest)
		if link == "" || i > 0 && isWord(text[i-1]) {
			return 0
		}
		link = strings.TrimRight(link, ".,:;!?\"'*_~|")
		if strings.HasSuffix(link, ")") && !strings.Contains(link, "(") {
			link = strings.TrimSuffix(link, ")")
		}
		text := html.EscapeString(link)
		if to := messageLink.FindStringSubmatch(link); to != nil {
			text = "#" + html.EscapeString(m.name('#', to[1])) + " › message"
		}
		writeLink(b, link, text)
		return len(link)
	case '@':
		for _, all := range []string{"@everyone", "@here"} {
			if strings.HasPrefix(rest, all) {
				b.WriteString(`<span class="mention">` + all + "</span>")
				return len(all)
			}
		}
	default:
		return m.styled(b, text, i, depth)
	}
	return 0
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf
}

// styled writes a text between two marks.
func (m markdown) styled(b *strings.Builder, text string, i, depth int) int {
	if depth >= maxNesting {
		return 0
	}
	rest := text[i:]
	for _, s := range styles {
		if !strings.HasPrefix(rest, s.mark) {
			continue
		}
		n := len(s.mark)
		if s.mark == "_" && i > 0 && isWord(text[i-1]) {
			return 0
		}
		end := closing(rest, s.mark)
		if end < 0 {
			continue
		}
		b.WriteString(s.open)
		m.span(b, rest[n:end], depth+1)
		b.WriteString(s.shut)
		return end + n
	}
	return 0
}

// closing finds the mark that ends what a mark began.
func closing(rest, mark string) int {
	n := len(mark)
	if len(rest) <= n || (n == 1 && rest[n] == ' ') {
		return -1
	}
	for j := n; j+n <= len(rest); j++ {
		switch {
		case rest[j] == '\\':
			j++
		case rest[j] == '`':
			run := len(rest[j:]) - len(strings.TrimLeft(rest[j:], "`"))
			if end := strings.Index(rest[j+run:], rest[j:j+run]); end >= 0 {
				j += run + end + run - 1
			}
		case strings.HasPrefix(rest[j:], mark) && j > n:
			if n == 1 && (j+1 < len(rest) && rest[j+1] == mark[0] || rest[j-1] == ' ' || rest[j-1] == mark[0]) {
				continue
			}
			if mark == "_" && j+1 < len(rest) && isWord(rest[j+1]) {
				continue
			}
			if mark == "**" && j+2 < len(rest) && rest[j+2] == '*' {
				continue // The end of an inner style comes first.
			}
			return j
		}
	}
	return -1
}

// masked writes [text](https://…). Text that looks like an address masks nothing.
func (m markdown) masked(b *strings.Builder, rest string, depth int) int {
	end, open := -1, 0
	for j := 0; j < len(rest); j++ {
		switch rest[j] {
		case '\\':
			j++
		case '[':
			open++
		case ']':
			if open--; open == 0 {
				end = j
			}
		}
		if end >= 0 {
			break
		}
	}
	if end < 2 || end+1 >= len(rest) || rest[end+1] != '(' || depth >= maxNesting {
		return 0
	}
	shut, open := -1, 0
	for j := end + 1; j < len(rest) && shut < 0; j++ {
		switch rest[j] {
		case '(':
			open++
		case ')':
			if open--; open == 0 {
				shut = j
			}
		case ' ', '\n':
			if !strings.Contains(rest[j:], "\"") {
				return 0
			}
		}
	}
	if shut < 0 {
		return 0
	}
	link, _, _ := strings.Cut(rest[end+2:shut], " ")
	link = strings.Trim(link, "<>")
	if !isWeb(link) || strings.Contains(rest[1:end], "://") {
		return 0
	}
	var inner strings.Builder
	m.span(&inner, rest[1:end], maxNesting-2)
	writeLink(b, link, inner.String())
	return shut + 1
}

func isWeb(link string) bool {
	u, err := url.Parse(link)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func writeLink(b *strings.Builder, link, inner string) {
	fmt.Fprintf(b, `<a href="%s" target="_blank" rel="noopener noreferrer" title="%s">%s</a>`, html.EscapeString(link), html.EscapeString(link), inner)
}

// angle writes mentions, times and addresses in angle brackets.
func (m markdown) angle(b *strings.Builder, rest string) int {
	if e := entity.FindStringSubmatch(rest); e != nil {
		kind := e[1][len(e[1])-1]
		if kind == '!' {
			kind = '@'
		}
		sign := "@"
		if kind == '#' {
			sign = "#"
		}
		fmt.Fprintf(b, `<span class="mention">%s%s</span>`, sign, html.EscapeString(m.name(kind, e[2])))
		return len(e[0])
	}
	if e := slashRef.FindStringSubmatch(rest); e != nil {
		fmt.Fprintf(b, `<span class="mention">/%s</span>`, html.EscapeString(e[1]))
		return len(e[0])
	}
	if e := timeRef.FindStringSubmatch(rest); e != nil {
		unix, err := strconv.ParseInt(e[1], 10, 64)
		if err != nil {
			return 0
		}
		t := time.Unix(unix, 0).UTC()
		fmt.Fprintf(b, `<span class="time" title="%s">%s</span>`, t.Format(time.RFC3339), html.EscapeString(tellTime(t, e[2], m.now)))
		return len(e[0])
	}
	if e := angled.FindStringSubmatch(rest); e != nil {
		writeLink(b, e[1], html.EscapeString(e[1]))
		return len(e[0])
	}
	return 0
}

// tellTime writes a time in one of Discord's styles, in UTC.
func tellTime(t time.Time, style string, now time.Time) string {
	switch style {
	case "t":
		return t.Format("15:04")
	case "T":
		return t.Format("15:04:05")
	case "d":
		return t.Format("02/01/2006")
	case "D":
		return t.Format("2 January 2006")
	case "F":
		return t.Format("Monday, 2 January 2006 15:04")
	case "R":
		return relative(t.Sub(now))
	}
	return t.Format("2 January 2006 15:04")
}

func relative(d time.Duration) string {
	ahead := d >= 0
	d = d.Abs()
	n, unit := int(d.Seconds()), "second"
	switch {
	case d >= 365*24*time.Hour:
		n, unit = int(d.Hours()/24/365), "year"
	case d >= 30*24*time.Hour:
		n, unit = int(d.Hours()/24/30), "month"
	case d >= 24*time.Hour:
		n, unit = int(d.Hours()/24), "day"
	case d >= time.Hour:
		n, unit = int(d.Hours()), "hour"
	case d >= time.Minute:
		n, unit = int(d.Minutes()), "minute"
	}
	if n != 1 {
		unit += "s"
	}
	if ahead {
		return fmt.Sprintf("in %d %s", n, unit)
	}
	return fmt.Sprintf("%d %s ago", n, unit)
}
