package discord

import (
	"html"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"

	"github.com/berth-dev/berth/bot"
)

// github reads GitHub-flavoured Markdown, in which all of Berth's texts are.
var github = goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser()

// seam is put into what Discord would make a mention or a link of.
const seam = "\u200b"

// markdown turns GitHub's Markdown into Discord's. What stood there as text is
// text again, whatever Discord would read into it; links are those that were
// links. HTML is left out and what it encloses stays.
//
// Source: https://support.discord.com/hc/articles/210298617 and
// https://docs.discord.com/developers/reference#message-formatting
func markdown(s string) string {
	if s = bot.Plain(s); len(s) > maxMarkdown {
		return longMarkdown(s)
	}
	return understood(s)
}

// understood is markdown by way of a parser.
func understood(s string) string {
	source := []byte(s)
	root := github.Parse(text.NewReader(source), parser.WithContext(parser.NewContext()))
	w := &writer{source: source}
	return strings.Trim(tidy(localTimes(guard(w.blocks(root)))), "\n")
}

// tidy takes more than one empty line in a row away, which Discord would show,
// outside of blocks of code.
func tidy(s string) string {
	lines := strings.Split(s, "\n")
	kept := lines[:0]
	code, empty := false, true
	for _, line := range lines {
		if fenced(line) {
			code = !code
		}
		blank := strings.TrimSpace(line) == ""
		if !code && blank && empty {
			continue
		}
		empty = blank
		kept = append(kept, strings.TrimRight(line, " "))
	}
	return strings.Join(kept, "\n")
}

// fenced tells whether a line of Discord's Markdown as written here begins or
// ends a block of code.
func fenced(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " >"), fence) }

const fence = "```"

// writer writes a tree of Markdown in Discord's way.
type writer struct {
	source []byte
	depth  int // of blocks in blocks
}

// maxDepth is how deep lists and quotes stand in each other at most. What is
// deeper is not shown; nobody writes that to be read.
const maxDepth = 12

// blocks writes the children of n one below the other.
func (w *writer) blocks(n ast.Node) string {
	if w.depth >= maxDepth {
		return "…"
	}
	w.depth++
	defer func() { w.depth-- }()
	var pieces []string
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if piece := strings.Trim(w.block(c), "\n"); strings.TrimSpace(piece) != "" {
			pieces = append(pieces, piece)
		}
	}
	gap := "\n\n"
	if n.Kind() == ast.KindListItem {
		gap = "\n"
	}
	return strings.Join(pieces, gap)
}

func (w *writer) block(n ast.Node) string {
	switch n := n.(type) {
	case *ast.Heading:
		return w.heading(n)
	case *ast.CodeBlock:
		return codeBlock(w.lines(n), "")
	case *ast.FencedCodeBlock:
		return codeBlock(w.lines(n), string(n.Language(w.source)))
	case *ast.Blockquote:
		return indent(w.blocks(n), "> ", "> ")
	case *ast.List:
		return w.list(n)
	case *ast.ThematicBreak:
		return strings.Repeat("─", 20)
	case *ast.HTMLBlock:
		return w.htmlBlock(n)
	case *extast.Table:
		return w.table(n)
	case *ast.LinkReferenceDefinition:
		return ""
	}
	if n.FirstChild() != nil && n.FirstChild().Type() == ast.TypeBlock {
		return w.blocks(n)
	}
	return startOfLines(w.inline(n))
}

// heading is bold beyond the third level, which Discord knows no more. Its
// largest is too large beside a card's own title.
func (w *writer) heading(n *ast.Heading) string {
	line := strings.TrimSpace(strings.ReplaceAll(w.inline(n), "\n", " "))
	switch {
	case line == "":
		return ""
	case n.Level <= 2:
		return "## " + line
	case n.Level == 3:
		return "### " + line
	}
	return "**" + strings.ReplaceAll(line, "**", "") + "**"
}

// lines are those of a block as they stand in the source.
func (w *writer) lines(n ast.Node) string {
	var b strings.Builder
	for i := range n.Lines().Len() {
		line := n.Lines().At(i)
		b.Write(line.Value(w.source))
	}
	return b.String()
}

// codeBlock is a block of code. Nothing in it ends it.
func codeBlock(code, language string) string {
	code = strings.Trim(strings.ReplaceAll(code, "``", "`"+seam+"`"), "\n")
	if strings.TrimSpace(code) == "" {
		return ""
	}
	if strings.Trim(strings.ToLower(language), "abcdefghijklmnopqrstuvwxyz0123456789+#-") != "" {
		language = ""
	}
	return fence + language + "\n" + code + "\n" + fence
}

// htmlBlock keeps what HTML encloses: a summary reads as a line of its own.
func (w *writer) htmlBlock(n *ast.HTMLBlock) string {
	raw := w.lines(n)
	if n.HasClosure() {
		raw += string(n.ClosureLine.Value(w.source))
	}
	switch n.HTMLBlockType {
	case ast.HTMLBlockType1, ast.HTMLBlockType2, ast.HTMLBlockType3, ast.HTMLBlockType4, ast.HTMLBlockType5:
		return "" // scripts, styles, comments and declarations, which enclose nothing to read
	}
	content := strings.TrimSpace(html.UnescapeString(withoutTags(raw)))
	if content == "" {
		return ""
	}
	content = startOfLines(escape(content))
	if strings.Contains(strings.ToLower(raw), "<summary>") && !strings.Contains(content, "\n") {
		return "**" + content + "**"
	}
	return content
}

// withoutTags takes tags and comments out of HTML. A line break is one.
func withoutTags(s string) string {
	var b strings.Builder
	for {
		before, tag, found := strings.Cut(s, "<")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		end, size := strings.IndexByte(tag, '>'), 1
		if strings.HasPrefix(tag, "!--") {
			end, size = strings.Index(tag, "-->"), 3
		}
		if end < 0 {
			return b.String() // it never ends, and so neither does what it hides
		}
		if strings.HasPrefix(strings.ToLower(tag), "br") {
			b.WriteByte('\n')
		}
		s = tag[end+size:]
	}
}

// list writes a list; what is below an item is indented, as Discord wants it.
func (w *writer) list(n *ast.List) string {
	var items []string
	number := n.Start
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		mark, rest := "- ", "  "
		if n.IsOrdered() {
			mark, rest = strconv.Itoa(number)+". ", "   "
			number++
		}
		item := strings.Trim(w.blocks(c), "\n")
		if item == "" {
			continue
		}
		items = append(items, indent(item, mark, rest))
	}
	return strings.Join(items, "\n")
}

// indent puts first before the first line of s and rest before the others.
func indent(s, first, rest string) string {
	return first + strings.ReplaceAll(s, "\n", "\n"+rest)
}

// inline writes what stands in lines.
func (w *writer) inline(n ast.Node) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.Text:
			b.WriteString(escape(textOf(c, w.source)))
			if c.SoftLineBreak() || c.HardLineBreak() {
				b.WriteByte('\n')
			}
		case *ast.String:
			b.WriteString(escape(string(c.Value)))
		case *ast.CodeSpan:
			b.WriteString(codeSpan(w.code(c)))
		case *ast.Emphasis:
			mark := "*"
			if c.Level == 2 {
				mark = "**"
			}
			b.WriteString(around(mark, w.inline(c)))
		case *extast.Strikethrough:
			b.WriteString(around("~~", w.inline(c)))
		case *ast.Link:
			b.WriteString(link(w.inline(c), string(c.Destination)))
		case *ast.AutoLink:
			b.WriteString(link("", string(c.URL(w.source))))
		case *ast.Image:
			b.WriteString(link(w.inline(c), string(c.Destination)))
		case *extast.TaskCheckBox:
			if c.IsChecked {
				b.WriteString("☑ ")
			} else {
				b.WriteString("☐ ")
			}
		case *ast.RawHTML:
			if strings.HasPrefix(strings.ToLower(string(c.Segments.Value(w.source))), "<br") {
				b.WriteByte('\n')
			}
		default:
			b.WriteString(w.inline(c))
		}
	}
	return b.String()
}

// around marks text unless there is none, or marks in it would end it.
func around(mark, s string) string {
	trimmed := strings.TrimSpace(s)
	if trimmed == "" || strings.HasPrefix(trimmed, mark[:1]) || strings.HasSuffix(trimmed, mark[:1]) {
		return s
	}
	before, after, _ := strings.Cut(s, trimmed)
	return before + mark + trimmed + mark + after
}

// textOf is what a piece of text reads, without the source's backslashes and
// entities.
func textOf(t *ast.Text, source []byte) string {
	s := string(t.Value(source))
	if t.IsRaw() {
		return s
	}
	return unescape(s)
}

// unescape resolves backslashes and entities of Markdown.
func unescape(s string) string {
	if !strings.ContainsAny(s, "\\&") {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		if s[0] == '\\' && len(s) > 1 && s[1] < 0x80 && unicode.In(rune(s[1]), unicode.Punct, unicode.Symbol) {
			b.WriteByte(s[1])
			s = s[2:]
			continue
		}
		next := strings.IndexByte(s[1:], '\\') + 1
		if next == 0 {
			next = len(s)
		}
		b.WriteString(html.UnescapeString(s[:next]))
		s = s[next:]
	}
	return bot.Plain(b.String())
}

func (w *writer) code(n *ast.CodeSpan) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if t, ok := c.(*ast.Text); ok {
			b.Write(t.Value(w.source))
		}
	}
	return strings.ReplaceAll(strings.ReplaceAll(b.String(), "\n", " "), `\|`, "|") // a table's cell has it so
}

// codeSpan is inline code.
func codeSpan(code string) string {
	if code = strings.TrimSpace(code); code == "" {
		return ""
	}
	if !strings.Contains(code, "`") {
		return "`" + code + "`"
	}
	code = strings.ReplaceAll(code, "``", "`"+seam+"`")
	code = strings.ReplaceAll(code, "``", "`"+seam+"`") // of three there are two pairs
	return "`` " + code + " ``"
}

// link is a link that Berth made. label may be empty.
func link(label, to string) string {
	address := webAddress(to)
	plain := strings.TrimSpace(strings.ReplaceAll(label, "\n", " "))
	if address == "" {
		if plain == "" {
			return escape(to)
		}
		return plain
	}
	if plain == "" || unmarked(plain) == to || strings.Contains(strings.ReplaceAll(plain, seam, ""), "://") {
		return "<" + address + ">"
	}
	if strings.HasPrefix(plain, "<") || strings.Contains(plain, "](") {
		return plain // a link in a link: the inner one is it
	}
	return "[" + plain + "](<" + address + ">)"
}

// webAddress is an address to click on, "" for what is none: only the web is
// linked to.
func webAddress(s string) string {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.IndexFunc(u.Host, notInHost) >= 0 {
		return ""
	}
	var b strings.Builder
	for _, r := range u.String() {
		switch {
		case r <= ' ', strings.ContainsRune("<>()[]`|*\\\"", r), unicode.IsSpace(r), unicode.Is(unicode.C, r):
			b.WriteString(url.PathEscape(string(r)))
		default:
			b.WriteRune(r)
		}
	}
	address := b.String()
	if strings.ContainsAny(address, "()*") { // which PathEscape leaves
		address = strings.NewReplacer("(", "%28", ")", "%29", "*", "%2A").Replace(address)
	}
	if size(address) > maxAddress {
		return ""
	}
	return address
}

// notInHost tells of a character that no host's name or port has.
func notInHost(r rune) bool {
	return r != '.' && r != '-' && r != '_' && r != ':' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
}

// maxAddress is the longest address that is linked to, in characters.
const maxAddress = 2000
