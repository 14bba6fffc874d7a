package discord

import (
	"strings"

	"github.com/mattn/go-runewidth"
	extast "github.com/yuin/goldmark/extension/ast"

	"github.com/yuin/goldmark/ast"
)

// maxTable is how wide a table may be as a block of code, in columns: what an
// embed shows on a desktop without breaking lines.
const maxTable = 56

// table writes a table, which Discord has none of: as a block of code with
// aligned columns where that is narrow and nothing in it is to be clicked on,
// and otherwise row by row, in words.
func (w *writer) table(n *extast.Table) string {
	var head []string
	var rows [][]string
	links := false
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		var cells []string
		for cell := c.FirstChild(); cell != nil; cell = cell.NextSibling() {
			content := plainLine(w.inline(cell))
			links = links || hasLink(cell)
			cells = append(cells, content)
		}
		if c.Kind() == extast.KindTableHeader {
			head = cells
		} else {
			rows = append(rows, cells)
		}
	}
	if !links {
		if block, ok := aligned(head, rows); ok {
			return block
		}
	}
	return rowByRow(head, rows)
}

func hasLink(n ast.Node) bool {
	found := false
	_ = ast.Walk(n, func(n ast.Node, _ bool) (ast.WalkStatus, error) { // which fails only where the function does
		switch n.Kind() {
		case ast.KindLink, ast.KindAutoLink, ast.KindImage:
			found = true
		}
		return ast.WalkContinue, nil
	})
	return found
}

// aligned is a table as a block of code. It is false for one that is too wide.
func aligned(head []string, rows [][]string) (string, bool) {
	all := append([][]string{head}, rows...)
	var widths []int
	for r, row := range all {
		plain := make([]string, len(row))
		for i, cell := range row {
			plain[i] = unmarked(cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], runewidth.StringWidth(plain[i]))
		}
		all[r] = plain
	}
	total := 2 * (len(widths) - 1)
	for _, width := range widths {
		total += width
	}
	if total > maxTable {
		return "", false
	}
	lines := make([]string, 0, len(all)+1)
	for r, row := range all {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell + strings.Repeat(" ", widths[i]-runewidth.StringWidth(cell)+2))
		}
		line := strings.TrimRight(b.String(), " ")
		if r > 0 || line != "" {
			lines = append(lines, line)
		}
		if r == 0 && line != "" {
			lines = append(lines, strings.Repeat("─", total))
		}
	}
	return codeBlock(strings.Join(lines, "\n"), ""), true
}

// rowByRow is a table as a list: the first cell is what a row is about. A cell
// whose column's name helps to understand it has that before it.
func rowByRow(head []string, rows [][]string) string {
	lines := make([]string, 0, len(rows))
	for _, row := range rows {
		var facts []string
		first := ""
		for i, cell := range row {
			switch {
			case cell == "":
			case i == 0:
				first = around("**", cell)
			case i < len(head) && head[i] != "":
				facts = append(facts, head[i]+": "+cell)
			default:
				facts = append(facts, cell)
			}
		}
		if first != "" {
			facts = append([]string{first}, facts...)
		}
		if len(facts) > 0 {
			lines = append(lines, "- "+strings.Join(facts, " · "))
		}
	}
	return strings.Join(lines, "\n")
}
