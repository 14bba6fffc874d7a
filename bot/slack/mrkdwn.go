package slack

import (
	"bufio"
	"bytes"
	"html"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	htmlwriter "github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"

	"github.com/berth-dev/berth/bot"
)

// maxMarkdown is how much Markdown is understood at once, in bytes: hostile text
// takes goldmark the square of its length. What is longer is a log or a
// difference, in blocks of code that are found without it; what stands between
// them and is longer still is shown as the lines that it has.
const maxMarkdown = 12 << 10

// maxPieces is how many pieces of that length a text has at most between its
// blocks of code; no message of Slack's holds as much.
const maxPieces = 4

// markdown reads GitHub's Markdown, as far as Berth's messages use it.
var markdown = goldmark.New(goldmark.WithExtensions(
	extension.Strikethrough, extension.Table, extension.TaskList,
	extension.NewLinkify(extension.WithLinkifyAllowedProtocols([]string{"http:", "https:"})),
)).Parser()

// textLine is a line of a text before it is written for Slack. A text is cut between
// lines and inside of spans, so that neither an escape nor a block of code is
// ever cut in two.
type textLine struct {
	lead  string // a bullet, or the space under one
	quote bool
	code  int  // of which block of code it is, from 1; 0 for none
	more  bool // it goes on with the line before
	spans []span
}

// span is text of one look. Its text is as people read it.
type span struct {
	text                       string
	bold, italic, strike, code bool
	link                       string // an address of the web, or ""
	time                       string // what Slack is to write in place of text, which is a time; or ""
}

// lines reads Markdown.
func lines(md string) []textLine {
	md = strings.Trim(bot.Plain(md), "\n")
	if strings.TrimSpace(md) == "" {
		return nil
	}
	r := &reader{}
	if len(md) <= maxMarkdown {
		r.understand(md)
	} else {
		r.long(md)
	}
	for len(r.lines) > 0 && r.lines[len(r.lines)-1].blank() {
		r.lines = r.lines[:len(r.lines)-1]
	}
	for i := range r.lines {
		r.lines[i].findTimes()
	}
	return r.lines
}

func (l textLine) blank() bool { return len(l.spans) == 0 && l.code == 0 && l.lead == "" }

// reader makes lines of what goldmark understood.
type reader struct {
	src    []byte
	lines  []textLine
	indent string // what stands before lines inside of lists
	bullet string // what stands before the next line in place of indent
	quote  bool
	fences int // how many blocks of code there were
	bold   bool
}

// understand reads all of a text's Markdown.
func (r *reader) understand(md string) {
	r.src = []byte(md)
	r.blocks(markdown.Parse(text.NewReader(r.src)), false)
}

// long reads a long text: its blocks of code, and what stands between them.
func (r *reader) long(md string) {
	var between, code strings.Builder
	opened := ""
	flush := func() {
		if md := strings.Trim(between.String(), "\n"); md != "" {
			r.gap()
			r.piecewise(md)
		}
		between.Reset()
	}
	for l := range strings.Lines(md) {
		ticks := l[:len(l)-len(strings.TrimLeft(l, "`"))]
		switch {
		case opened == "" && len(ticks) >= len(fence) && !strings.Contains(l[len(ticks):], "`"):
			flush()
			opened = ticks
		case opened != "" && len(ticks) >= len(opened) && strings.TrimSpace(l[len(ticks):]) == "":
			r.gap()
			r.literal(code.String())
			code.Reset()
			opened = ""
		case opened != "":
			code.WriteString(l)
		default:
			between.WriteString(l)
		}
	}
	if opened != "" { // nothing closes it: its end is the text's
		r.gap()
		r.literal(code.String())
	}
	flush()
}

// piecewise reads Markdown in pieces of whole lines, as far as that is quick.
func (r *reader) piecewise(md string) {
	for range maxPieces {
		at := len(md)
		if at > maxMarkdown {
			at = strings.LastIndexByte(md[:maxMarkdown], '\n') + 1
		}
		if at == 0 {
			break // one line of that length is no prose
		}
		r.understand(md[:at])
		if md = md[at:]; md == "" {
			return
		}
	}
	r.literal(bot.Unescape(md))
}

// blocks reads the blocks in n, one below the other; apart from each other
// unless they are tight.
func (r *reader) blocks(n ast.Node, tight bool) {
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		before := c.PreviousSibling()
		if before != nil && !tight && before.Kind() != ast.KindHeading && (c.Kind() != ast.KindList || before.Kind() != ast.KindParagraph) {
			r.gap()
		}
		r.block(c)
	}
}

// gap leaves a line free, unless the last one is.
func (r *reader) gap() {
	if len(r.lines) > 0 && !r.lines[len(r.lines)-1].blank() {
		r.lines = append(r.lines, textLine{quote: r.quote})
	}
}

func (r *reader) block(n ast.Node) {
	switch n := n.(type) {
	case *ast.Paragraph, *ast.TextBlock:
		r.begin()
		r.inline(n, span{bold: r.bold})
	case *ast.Heading:
		r.begin()
		r.inline(n, span{bold: true})
	case *ast.ThematicBreak:
		r.begin()
		r.put(span{text: "———"})
	case *ast.CodeBlock, *ast.FencedCodeBlock:
		r.literal(string(n.Lines().Value(r.src)))
	case *ast.HTMLBlock:
		r.html(n)
	case *ast.Blockquote:
		outer := r.quote
		r.quote = true
		r.blocks(n, false)
		r.quote = outer
	case *ast.List:
		r.list(n)
	case *extast.Table:
		r.table(n)
	default:
		r.blocks(n, false)
	}
}

// begin starts a line.
func (r *reader) begin() {
	lead := r.indent
	if r.bullet != "" {
		lead, r.bullet = r.bullet, ""
	}
	r.lines = append(r.lines, textLine{lead: lead, quote: r.quote})
}

// put writes on the last line. A line feed in s begins another one.
func (r *reader) put(s span) {
	for i, piece := range strings.Split(s.text, "\n") {
		if i > 0 {
			r.begin()
		}
		if piece == "" {
			continue
		}
		last := &r.lines[len(r.lines)-1]
		if i == 0 && len(last.spans) > 0 {
			if before := &last.spans[len(last.spans)-1]; before.alike(s) {
				before.text += piece
				continue
			}
		}
		s.text = piece
		last.spans = append(last.spans, s)
	}
}

// alike tells whether two spans look the same, and may be one.
func (s span) alike(o span) bool {
	return s.bold == o.bold && s.italic == o.italic && s.strike == o.strike && s.code == o.code && s.link == o.link && s.time == o.time
}

// literal makes lines of code.
func (r *reader) literal(code string) {
	r.fences++
	r.bullet = ""
	for l := range strings.SplitSeq(strings.TrimRight(code, "\n"), "\n") {
		made := textLine{code: r.fences}
		if l != "" {
			made.spans = []span{{text: l}}
		}
		r.lines = append(r.lines, made)
	}
}

const (
	// maxIndent is how deep lists stand below each other to the eye.
	maxIndent = 6
	// step is how far a list is indented below another: by spaces that are not run
	// together.
	step = "\u2003\u2003"
)

func (r *reader) list(n *ast.List) {
	outer := r.indent
	number := n.Start
	depth := width(outer) / width(step)
	for item := n.FirstChild(); item != nil; item = item.NextSibling() {
		bullet := []string{"• ", "◦ ", "▪ "}[depth%3]
		if n.IsOrdered() {
			bullet = strconv.Itoa(number) + ". "
			number++
		}
		if !n.IsTight && item.PreviousSibling() != nil {
			r.gap()
		}
		r.bullet = outer + bullet
		if depth < maxIndent {
			r.indent = outer + step
		}
		r.blocks(item, n.IsTight)
		if r.bullet != "" { // there was nothing in it
			r.begin()
		}
		r.indent = outer
	}
}

// inline reads what stands in n, in the looks of s and its own.
func (r *reader) inline(n ast.Node, s span) {
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		r.inlineOne(c, s)
	}
}

func (r *reader) inlineOne(n ast.Node, s span) {
	switch n := n.(type) {
	case *ast.Text:
		s.text = r.plain(n.Segment.Value(r.src))
		r.put(s)
		if n.HardLineBreak() || n.SoftLineBreak() {
			s.text = "\n"
			r.put(s)
		}
	case *ast.String:
		s.text = r.plain(n.Value)
		r.put(s)
	case *ast.CodeSpan:
		s.text, s.code = r.raw(n), true
		r.put(s)
	case *ast.Emphasis:
		if n.Level > 1 {
			s.bold = true
		} else {
			s.italic = true
		}
		r.inline(n, s)
	case *extast.Strikethrough:
		s.strike = true
		r.inline(n, s)
	case *ast.Link:
		s.link = webAddress(r.plain(n.Destination))
		r.inline(n, s)
	case *ast.Image:
		s.link = webAddress(r.plain(n.Destination))
		r.inline(n, s)
	case *ast.AutoLink:
		s.text = string(n.Label(r.src))
		if n.AutoLinkType == ast.AutoLinkURL {
			s.link = webAddress(string(n.URL(r.src)))
		}
		r.put(s)
	case *extast.TaskCheckBox:
		s.text = "☐ "
		if n.IsChecked {
			s.text = "☑ "
		}
		r.put(s)
	case *ast.RawHTML:
		if lineBreak.Match(n.Segments.Value(r.src)) {
			s.text = "\n"
			r.put(s)
		}
	default:
		r.inline(n, s)
	}
}

// raw is the text of inline code, on one line. What bot.Code does for the sake of
// tables is undone.
func (r *reader) raw(n ast.Node) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if t, ok := c.(*ast.Text); ok {
			b.Write(t.Segment.Value(r.src))
		}
	}
	return strings.NewReplacer("\n", " ", "\\|", "|").Replace(b.String())
}

// plain is text without Markdown's escapes and entities. The marks that keep
// GitHub from making links of it are taken out: here nothing does.
func (r *reader) plain(b []byte) string {
	if !bytes.ContainsAny(b, "&\\\u200b") {
		return string(b) // as most is; what Plain does was done to all of it
	}
	var out bytes.Buffer
	w := bufio.NewWriterSize(&out, 256)
	htmlwriter.DefaultWriter.Write(w, b)
	_ = w.Flush() // into memory
	return bot.Plain(strings.ReplaceAll(html.UnescapeString(out.String()), "\u200b", ""))
}

var (
	lineBreak = regexp.MustCompile(`(?i)^<br\s*/?>$`)
	comment   = regexp.MustCompile(`(?s)<!--.*?(-->|$)`)
	summary   = regexp.MustCompile(`(?is)<summary[^>]*>(.*?)</summary>`)
	tag       = regexp.MustCompile(`(?s)</?[a-zA-Z][^>]*>`)
)

// html keeps the text of HTML. What folds a text away has its summary above it.
func (r *reader) html(n *ast.HTMLBlock) {
	raw := string(n.Lines().Value(r.src))
	if n.HasClosure() {
		raw += string(n.ClosureLine.Value(r.src))
	}
	raw = comment.ReplaceAllString(raw, "")
	strip := func(s string) string {
		return bot.Plain(strings.TrimSpace(html.UnescapeString(tag.ReplaceAllString(s, ""))))
	}
	if found := summary.FindStringSubmatchIndex(raw); found != nil {
		if before := strip(raw[:found[0]]); before != "" {
			r.begin()
			r.put(span{text: before})
		}
		r.begin()
		r.put(span{text: strip(raw[found[2]:found[3]]), bold: true})
		raw = raw[found[1]:]
	}
	if rest := strip(raw); rest != "" {
		r.begin()
		r.put(span{text: rest})
	}
}

// maxLink is how long an address may be that text is made a link to; longer
// ones would leave no room for anything else.
const maxLink = 1000

// webAddress is u as Slack's links take it, or "" when it is no address of the
// web.
func webAddress(u string) string {
	parsed, err := url.Parse(strings.TrimSpace(u))
	if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Host == "" || parsed.User != nil {
		return ""
	}
	s := parsed.String()
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return ""
	}
	s = strings.NewReplacer("|", "%7C", "<", "%3C", ">", "%3E", `"`, "%22", "`", "%60", "\\", "%5C", "^", "%5E", "*", "%2A", "~", "%7E").Replace(s)
	if len(s) > maxLink {
		return ""
	}
	return s
}
