package slack

import (
	"strings"

	"github.com/yuin/goldmark/ast"
	extast "github.com/yuin/goldmark/extension/ast"
)

// maxTable is how many characters wide a table may be to stand in columns;
// wider ones would break in Slack's window.
const maxTable = 84

// table shows a table in columns, as a block of code, or else, where it is too
// wide or holds links, as a line for each row.
func (r *reader) table(n *extast.Table) {
	rows, links := r.cells(n)
	if len(rows) == 0 || len(rows[0]) == 0 {
		return
	}
	widths := make([]int, len(rows[0]))
	total := 2 * (len(widths) - 1)
	for i := range widths {
		for _, row := range rows {
			widths[i] = max(widths[i], width(row[i].text()))
		}
		total += widths[i]
	}
	if links || total > maxTable {
		r.rows(rows)
		return
	}
	var b strings.Builder
	for i, row := range rows {
		var l strings.Builder
		for j, c := range row {
			text := c.text()
			l.WriteString(text + strings.Repeat(" ", widths[j]-width(text)+2))
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
		if i == 0 {
			b.WriteString(strings.Repeat("─", total) + "\n")
		}
	}
	r.literal(b.String())
}

// cell is what stands in one place of a table.
type cell []span

// text is what there is to read in c.
func (c cell) text() string {
	var b strings.Builder
	for _, s := range c {
		b.WriteString(s.text)
	}
	return strings.TrimSpace(b.String())
}

// cells reads the rows of a table, all of one length, and tells whether there
// are links in them.
func (r *reader) cells(n *extast.Table) (rows [][]cell, links bool) {
	columns := 0
	for row := n.FirstChild(); row != nil; row = row.NextSibling() {
		var made []cell
		for c := row.FirstChild(); c != nil; c = c.NextSibling() {
			found := r.cell(c)
			for _, s := range found {
				links = links || s.link != ""
			}
			made = append(made, found)
		}
		columns = max(columns, len(made))
		rows = append(rows, made)
	}
	for i := range rows {
		for len(rows[i]) < columns {
			rows[i] = append(rows[i], nil)
		}
	}
	return rows, links
}

// cell reads one cell, on one line.
func (r *reader) cell(n ast.Node) cell {
	inner := &reader{src: r.src}
	inner.begin()
	inner.inline(n, span{})
	var c cell
	for i, l := range inner.lines {
		if i > 0 {
			c = append(c, span{text: " "})
		}
		c = append(c, l.spans...)
	}
	return c
}

// rows shows a table as a line for each row: what stands first in bold, and the
// others after the names of their columns.
func (r *reader) rows(rows [][]cell) {
	head := rows[0]
	for _, row := range rows[1:] {
		r.begin()
		last := &r.lines[len(r.lines)-1]
		last.lead += "• "
		for i, c := range row {
			text := c.text()
			if text == "" {
				continue
			}
			if len(last.spans) > 0 {
				last.spans = append(last.spans, span{text: " · "})
			}
			if name := head[i].text(); i > 0 && name != "" {
				last.spans = append(last.spans, span{text: name + ": "})
			}
			for _, s := range c {
				s.bold = s.bold || i == 0
				last.spans = append(last.spans, s)
			}
		}
	}
	if len(rows) == 1 { // nothing but its head
		r.begin()
		for i, c := range head {
			if i > 0 {
				r.put(span{text: " · "})
			}
			r.put(span{text: c.text(), bold: true})
		}
	}
}
