package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/term"

	"github.com/berth-dev/berth/bot"
)

// withOutput adds -o to a command.
func withOutput(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringP("output", "o", "table", "table, json or yaml")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return cmd
}

// outputOf is the value of -o.
func outputOf(cmd *cobra.Command) (string, error) {
	f := cmd.Flags().Lookup("output")
	if f == nil {
		return "table", nil
	}
	switch v := f.Value.String(); v {
	case "table", "json", "yaml":
		return v, nil
	default:
		return "", usageError(fmt.Errorf("-o %q is not one of table, json, yaml", v))
	}
}

// show prints data as -o says; table prints it for people.
func show(cmd *cobra.Command, data any, table func(w io.Writer)) error {
	format, err := outputOf(cmd)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	switch format {
	case "table":
		table(&b)
	default:
		if err := encode(&b, format, data); err != nil {
			return err
		}
	}
	return emit(cmd.OutOrStdout(), b.String())
}

// encode writes data as JSON or YAML, with the API's names for its fields.
func encode(b *bytes.Buffer, format string, data any) error {
	lines := json.NewEncoder(b)
	lines.SetEscapeHTML(false)
	lines.SetIndent("", "  ")
	if err := lines.Encode(data); err != nil {
		return err
	}
	if format == "json" {
		return nil
	}
	// JSON is YAML, so it is read as such, which keeps the order of the fields,
	// and written again without JSON's style.
	var tree yaml.Node
	if err := yaml.Unmarshal(b.Bytes(), &tree); err != nil {
		return err
	}
	restyle(&tree)
	b.Reset()
	out := yaml.NewEncoder(b)
	out.SetIndent(2)
	return errors.Join(out.Encode(&tree), out.Close())
}

// restyle lets the encoder choose how each value is written. What was a text
// stays one: the encoder quotes those that would be read as something else.
func restyle(n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!str" {
		n.Style = 0
	}
	for _, child := range n.Content {
		restyle(child)
	}
}

// emit prints text. To a terminal nothing goes that could steer it.
func emit(w io.Writer, text string) error {
	if isTerminal(w) {
		text = bot.Plain(text)
	}
	_, err := io.WriteString(w, text)
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// table writes rows in columns. The first row is the heading.
func table(w io.Writer, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			row[i] = oneLine(cell)
			widths[i] = max(widths[i], width(row[i]))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-width(cell)+2))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// words writes the Markdown of an answer for a terminal: as it stands, but that
// tables are in columns.
func words(w io.Writer, markdown string) {
	var rows [][]string
	flush := func() {
		if len(rows) > 0 {
			table(w, rows)
		}
		rows = nil
	}
	code := false
	for line := range strings.Lines(markdown + "\n") {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			code = !code
		case code:
			fmt.Fprintln(w, "  "+bot.Plain(line))
		case strings.HasPrefix(line, "|---"):
		case strings.HasPrefix(line, "| ") && strings.HasSuffix(line, " |"):
			rows = append(rows, cells(line))
		default:
			flush()
			if link, ok := strings.CutPrefix(line, "<http"); ok {
				line = "http" + strings.TrimSuffix(link, ">")
			}
			fmt.Fprintln(w, bot.Plain(bot.Unescape(line)))
		}
	}
	flush()
}

// cells are the cells of a row of a table in Markdown. A "|" after a backslash
// is part of a cell.
func cells(row string) []string {
	row = strings.TrimSuffix(strings.TrimPrefix(row, "| "), " |")
	var out []string
	from := 0
	for i := 1; i < len(row); i++ {
		if row[i] == '|' && row[i-1] == ' ' && i > from {
			out = append(out, bot.Unescape(strings.TrimSpace(row[from:i])))
			from = i + 1
		}
	}
	return append(out, bot.Unescape(strings.TrimSpace(row[from:])))
}

// oneLine is outside text on one line, without what could steer a terminal.
func oneLine(s string) string {
	return strings.TrimSpace(strings.NewReplacer("\n", " ", "\t", " ").Replace(bot.Plain(s)))
}

// width is how many columns of a terminal s takes: two for a character of the
// scripts that are written in squares and for most pictures, none for marks
// that sit on others.
func width(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 || r >= 0xf900 && r <= 0xfaff ||
		r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 || r >= 0x1f300 && r <= 0x1faff || r >= 0x20000 && r <= 0x3fffd):
		return 2
	default:
		return 1
	}
}

// cut shortens s to at most columns.
func cut(s string, columns int) string {
	if width(s) <= columns {
		return s
	}
	n := 0
	for i, r := range s {
		if n += runeWidth(r); n > columns-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// until says how long it is until t.
func until(now time.Time, t *time.Time) string {
	switch {
	case t == nil:
		return "never"
	case !t.After(now):
		return "due"
	default:
		return "in " + bot.Span(t.Sub(now))
	}
}
