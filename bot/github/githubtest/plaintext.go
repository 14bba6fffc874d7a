package githubtest

import (
	"fmt"
	"regexp"
	"strings"

	emojiast "github.com/yuin/goldmark-emoji/ast"
	"github.com/yuin/goldmark/ast"
	east "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

// renderText lays Markdown out in lines of at most width columns.
func renderText(source string, width int) []row {
	src := []byte(strings.ReplaceAll(source, "\r\n", "\n"))
	p := &plain{src: src}
	doc := markdown().Parser().Parse(text.NewReader(src))
	p.blocks(doc, max(width, 10))
	for len(p.rows) > 0 && len(p.rows[len(p.rows)-1]) == 0 {
		p.rows = p.rows[:len(p.rows)-1]
	}
	return p.rows
}

// plain collects the lines of a document.
type plain struct {
	src  []byte
	rows []row
	bare bool // links are their words alone, without where they lead
}

func (p *plain) add(rows ...row) { p.rows = append(p.rows, rows...) }

// gap leaves one line free before what follows, if there is anything above.
func (p *plain) gap() {
	if n := len(p.rows); n > 0 && len(p.rows[n-1]) > 0 {
		p.add(row{})
	}
}

// blocks lays out what is below parent. What is folded away on a page is left
// out, but for its summary.
func (p *plain) blocks(parent ast.Node, width int) {
	folded := 0
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		raw := ""
		if block, ok := n.(*ast.HTMLBlock); ok {
			raw = htmlComment.ReplaceAllString(p.source(block), "")
		}
		if folded == 0 {
			p.block(n, width)
		}
		if opened := htmlDetails.FindAllString(raw, -1); folded > 0 || len(opened) > 0 && !htmlOpen.MatchString(raw) {
			folded = max(0, folded+len(opened)-strings.Count(strings.ToLower(raw), "</details>"))
		}
	}
}

// source is the text of a block of raw HTML.
func (p *plain) source(n *ast.HTMLBlock) string {
	var b strings.Builder
	for i := range n.Lines().Len() {
		at := n.Lines().At(i)
		b.Write(at.Value(p.src))
	}
	if n.HasClosure() {
		b.Write(n.ClosureLine.Value(p.src))
	}
	return b.String()
}

// nested lays blocks out on their own and puts a prefix before each line; the
// first line may have another one.
func (p *plain) nested(n ast.Node, width int, first, other span) {
	inner := &plain{src: p.src}
	inner.blocks(n, max(8, width-columns(first.text)))
	for i, r := range inner.rows {
		prefix := other
		if i == 0 {
			prefix = first
		}
		p.add(append(row{prefix}, r...))
	}
}

func (p *plain) block(n ast.Node, width int) {
	switch n := n.(type) {
	case *ast.Heading:
		p.gap()
		p.add(wrapWords(p.inline(n, bold), width)...)
	case *ast.Paragraph:
		p.gap()
		p.add(wrapWords(p.inline(n), width)...)
	case *ast.TextBlock:
		p.add(wrapWords(p.inline(n), width)...)
	case *ast.FencedCodeBlock, *ast.CodeBlock:
		p.gap()
		p.code(n, width)
	case *ast.Blockquote:
		p.gap()
		bar := span{text: "┃ ", codes: []string{dim}}
		p.nested(n, width, bar, bar)
	case *ast.List:
		p.list(n, width)
	case *ast.ThematicBreak:
		p.gap()
		p.add(row{{text: strings.Repeat("─", width), codes: []string{dim}}})
	case *ast.HTMLBlock:
		p.html(n, width)
	case *east.Table:
		p.gap()
		p.table(n, width)
	default:
		p.blocks(n, width)
	}
}

func (p *plain) list(n *ast.List, width int) {
	if _, inside := n.Parent().(*ast.ListItem); !inside {
		p.gap()
	}
	number := n.Start
	for item := n.FirstChild(); item != nil; item = item.NextSibling() {
		bullet := "• "
		if first := item.FirstChild(); first != nil && first.FirstChild() != nil && first.FirstChild().Kind() == east.KindTaskCheckBox {
			bullet = "" // The box is bullet enough.
		}
		if n.IsOrdered() {
			bullet = fmt.Sprintf("%d. ", number)
			number++
		}
		p.nested(item, width, span{text: bullet, codes: []string{dim}}, span{text: strings.Repeat(" ", columns(bullet))})
	}
}

// code keeps lines as they are; one that is too long is cut, visibly.
func (p *plain) code(n ast.Node, width int) {
	lines := n.Lines()
	for i := range lines.Len() {
		at := lines.At(i)
		line := strings.ReplaceAll(strings.TrimRight(string(at.Value(p.src)), "\n"), "\t", "    ")
		p.add(append(row{{text: "  "}}, clip([]span{{text: clean(line), codes: []string{cyan}}}, width-2)...))
	}
}

var (
	htmlComment = regexp.MustCompile(`(?s)<!--.*?-->`)
	htmlSummary = regexp.MustCompile(`(?is)<summary[^>]*>(.*?)</summary>`)
	htmlDetails = regexp.MustCompile(`(?i)<details\b[^>]*>`)
	htmlOpen    = regexp.MustCompile(`(?i)<details\s[^>]*\bopen\b`)
	htmlFold    = regexp.MustCompile(`(?is)<details\b[^>]*>\s*(<summary\b[^>]*>.*?</summary>).*?</details>`)
	htmlTag     = regexp.MustCompile(`(?s)<[^>]*>`)
	htmlUnseen  = regexp.MustCompile(`(?is)<(script|style)\b.*?(</(script|style)>|$)`)
)

// html shows the words of raw HTML; a fold's summary gets an arrow. What a page
// would not show is left out.
func (p *plain) html(n *ast.HTMLBlock, width int) {
	raw := htmlUnseen.ReplaceAllString(htmlComment.ReplaceAllString(p.source(n), ""), "")
	if htmlOpen.MatchString(raw) {
		raw = htmlSummary.ReplaceAllString(raw, "\n▾ $1\n")
	} else {
		// A fold that begins and ends in the one block hides its words here.
		raw = htmlFold.ReplaceAllString(raw, "$1")
		raw = htmlSummary.ReplaceAllString(raw, "\n▸ $1\n")
	}
	for line := range strings.SplitSeq(htmlTag.ReplaceAllString(raw, ""), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			p.gap()
			p.add(wrapWords([]span{{text: clean(line), codes: []string{bold}}}, width)...)
		}
	}
}

// table aligns columns. Where it does not fit, links lose where they lead to;
// what does not fit then either is cut at the right. A heading without words is
// left out, as nobody would miss it.
func (p *plain) table(n *east.Table, width int) {
	cells, widths := p.cells(n)
	if sum(widths) > width {
		p.bare = true
		cells, widths = p.cells(n)
		p.bare = false
	}
	for i, list := range cells {
		head := i == 0
		if head && wordless(list) {
			continue
		}
		var out row
		for c, r := range list {
			if c > 0 {
				out = append(out, span{text: "  "})
			}
			pad := span{text: strings.Repeat(" ", widths[c]-r.width())}
			switch {
			case c < len(n.Alignments) && n.Alignments[c] == east.AlignRight:
				out = append(append(out, pad), r...)
			case c == len(list)-1:
				out = append(out, r...) // nothing stands to the right of it
			default:
				out = append(append(out, r...), pad)
			}
		}
		p.add(clip(out, width))
		if head {
			p.add(row{{text: strings.Repeat("─", min(width, sum(widths))), codes: []string{dim}}})
		}
	}
}

// cells are the cells of a table, line by line, and the widths of its columns.
func (p *plain) cells(n *east.Table) (cells [][]row, widths []int) {
	for line := n.FirstChild(); line != nil; line = line.NextSibling() {
		var codes []string
		if _, head := line.(*east.TableHeader); head {
			codes = []string{bold}
		}
		var list []row
		for cell := line.FirstChild(); cell != nil; cell = cell.NextSibling() {
			r := row(p.inline(cell, codes...))
			if len(list) == len(widths) {
				widths = append(widths, 0)
			}
			widths[len(list)] = max(widths[len(list)], r.width())
			list = append(list, r)
		}
		cells = append(cells, list)
	}
	return cells, widths
}

// sum is the width of a table whose columns have these widths.
func sum(widths []int) int {
	total := max(0, 2*(len(widths)-1))
	for _, w := range widths {
		total += w
	}
	return total
}

func wordless(cells []row) bool {
	for _, r := range cells {
		if strings.TrimSpace(r.draw(false)) != "" {
			return false
		}
	}
	return true
}

// inline collects the spans of a block's text; codes are what surrounds it.
func (p *plain) inline(parent ast.Node, codes ...string) []span {
	var out []span
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		more := func(code string) []string { return append(append([]string(nil), codes...), code) }
		switch n := n.(type) {
		case *ast.Text:
			out = append(out, span{text: clean(string(n.Value(p.src))), codes: codes})
			if n.SoftLineBreak() || n.HardLineBreak() {
				out = append(out, span{text: "\n"})
			}
		case *ast.String:
			out = append(out, span{text: clean(string(n.Value)), codes: codes})
		case *ast.CodeSpan:
			out = append(out, p.inline(n, more(cyan)...)...)
		case *ast.Emphasis:
			code := italic
			if n.Level == 2 {
				code = bold
			}
			out = append(out, p.inline(n, more(code)...)...)
		case *east.Strikethrough:
			out = append(out, p.inline(n, more(struck)...)...)
		case *ast.AutoLink:
			out = append(out, span{text: clean(string(n.Label(p.src))), codes: more(under)})
		case *ast.Link:
			label := p.inline(n, more(under)...)
			out = append(out, label...)
			if to := string(n.Destination); len(label) == 0 || !p.bare && row(label).draw(false) != to {
				out = append(out, span{text: " (" + clean(to) + ")", codes: more(dim)})
			}
		case *ast.Image:
			out = append(out, span{text: "[image: " + row(p.inline(n)).draw(false) + "]", codes: more(dim)})
		case *east.TaskCheckBox:
			box := "☐ "
			if n.IsChecked {
				box = "☑ "
			}
			out = append(out, span{text: box, codes: codes})
		case *emojiast.Emoji:
			out = append(out, span{text: string(n.Value.Unicode), codes: codes})
		case *ast.RawHTML:
			if tag := string(n.Segments.Value(p.src)); strings.HasPrefix(tag, "<br") {
				out = append(out, span{text: "\n"})
			}
		default:
			out = append(out, p.inline(n, codes...)...)
		}
	}
	return out
}
