package command_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/command"
)

func TestLines(t *testing.T) {
	for name, c := range map[string]struct {
		markdown string
		want     []string
	}{
		"a comment that is one command":                    {"/deploy", []string{"deploy"}},
		"a command with flags":                             {"/deploy --ref abc", []string{"deploy --ref abc"}},
		"a command after words":                            {"Looks good!\n/deploy", []string{"deploy"}},
		"several commands":                                 {"/deploy\nthen\n/status\n", []string{"deploy", "status"}},
		"lines that end as Windows has it":                 {"hi\r\n\r\n/deploy\r\n", []string{"deploy"}},
		"three spaces before it":                           {"   /deploy  ", []string{"deploy"}},
		"a capital letter":                                 {"/Deploy", []string{"Deploy"}},
		"a slip":                                           {"/deplpy", []string{"deplpy"}},
		"a command after a quote and a gap":                {"> what now?\n\n/deploy", []string{"deploy"}},
		"a command after quoted code":                      {"> ```\n> x\n/deploy", []string{"deploy"}},
		"a command after a quoted heading":                 {"> # x\n/deploy", []string{"deploy"}},
		"a command after code":                             {"```\nx\n```\n/deploy", []string{"deploy"}},
		"a command after a comment on one line":            {"<!-- x -->\n/deploy", []string{"deploy"}},
		"a command after a comment that never was":         {"a <!-- x\n\n/deploy", []string{"deploy"}},
		"a command after a comment as code":                {"`<!--`\n/deploy\n-->", []string{"deploy"}},
		"a command after code in a list":                   {"- a\n  ```\n  x\n  ```\n/deploy", []string{"deploy"}},
		"the first five and one that shows there are more": {strings.Repeat("/status\n", 9), []string{"status", "status", "status", "status", "status", "status"}},

		"nothing":                           {"", nil},
		"only spaces":                       {" \n\t\n", nil},
		"words":                             {"Please deploy this", nil},
		"a command in a sentence":           {"Please /deploy", nil},
		"a command as inline code":          {"`/deploy`", nil},
		"an indented one":                   {"    /deploy", nil},
		"one after a tab":                   {"\t/deploy", nil},
		"a fenced one":                      {"```\n/deploy\n```", nil},
		"one fenced with tildes":            {"~~~sh\n/deploy\n~~~", nil},
		"one in a longer fence":             {"````\n```\n/deploy\n```\n````", nil},
		"one in a fence that never closes":  {"```\n/deploy", nil},
		"one in a fence closed by tildes":   {"```\n~~~\n/deploy", nil},
		"a quoted one":                      {"> /deploy", nil},
		"a quoted one without a space":      {">/deploy", nil},
		"a quote in a quote":                {"> > /deploy", nil},
		"one that carries a quote on":       {"> earlier\n/deploy", nil},
		"one in a comment":                  {"<!--\n/deploy\n-->", nil},
		"one in a comment with gaps":        {"<!--\n\n/deploy\n\n-->", nil},
		"one in a comment within a line":    {"hi <!-- x\n/deploy\n-->", nil},
		"one in a comment that never ends":  {"<!--\n/deploy", nil},
		"one in a <pre>":                    {"<pre>\n/deploy\n</pre>", nil},
		"another bot's":                     {"/label bug", nil},
		"another bot's that begins as ours": {"/approve-me-later", nil},
		"another bot's that is near nothing": {
			"/lgtm\n/hold\n/retest\n/test all\n/assign @ana\n/cc @ben\n/ok-to-test\n/close\n/reopen\n/merge\n/rebase\n/kind bug\n/cherry-pick v1", nil},
		"a path":       {"/deploy/now\n/etc/hosts\n/", nil},
		"two slashes":  {"//deploy", nil},
		"a list item":  {"- /deploy", nil},
		"a bare slash": {"/ deploy", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := command.Lines(c.markdown); !slices.Equal(got, c.want) {
				t.Errorf("want %q, got %q", c.want, got)
			}
		})
	}
}

// TestLinesReadAsMarkdownDoes compares with a whole Markdown parser: what Lines
// takes as a command is text there, outside of quotes and comments.
func TestLinesReadAsMarkdownDoes(t *testing.T) {
	pieces := []string{
		"/deploy", "/deploy", "/deploy", "   /deploy", "    /deploy", "words", "", "", "> quoted", "> > twice", ">", "> ```", "> # head",
		"```", "````", "~~~", "```go", "<!-- all -->", "<!--", "-->", "see <!-- it", "`<!--`", "# head", "---", "- item", "<pre>", "</pre>", "    code", "> /deploy",
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 15000 {
		lines := make([]string, 1+random.IntN(7))
		for i := range lines {
			lines[i] = pieces[random.IntN(len(pieces))]
		}
		markdown := strings.Join(lines, "\n") + "\n"
		got, want := len(command.Lines(markdown)), min(rendered(markdown), bot.MaxCommands+1)
		if got > want || got < want && !unsure(markdown) {
			t.Fatalf("%d commands, where a parser sees %d:\n%s", got, want, markdown)
		}
	}
}

// unsure tells whether a comment has constructs in which Lines, when in doubt,
// reads less than a full parser: HTML that Markdown ends in odd places.
func unsure(markdown string) bool {
	return strings.Contains(markdown, "<") || strings.Contains(markdown, "- item")
}

// rendered counts the lines "/deploy" that goldmark shows as text.
func rendered(markdown string) (count int) {
	source := []byte(markdown)
	root := goldmark.DefaultParser().Parse(text.NewReader(source))
	_ = ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n.Kind() {
		case ast.KindBlockquote:
			return ast.WalkSkipChildren, nil
		case ast.KindText:
			segment := n.(*ast.Text).Segment
			begin := segment.Start
			for begin > 0 && source[begin-1] == ' ' {
				begin--
			}
			if segment.Start-begin <= 3 && (begin == 0 || source[begin-1] == '\n') && string(segment.Value(source)) == "/deploy" {
				count++
			}
		}
		return ast.WalkContinue, nil
	})
	return count
}

func FuzzLines(f *testing.F) {
	f.Add("/deploy\n> /deploy\n```\n/deploy\n```\n<!-- /deploy -->\n\n    /deploy")
	f.Add("> a\n/deploy\n\n/status `x` <!-- \n/logs -->")
	f.Fuzz(func(t *testing.T, markdown string) {
		lines := command.Lines(markdown)
		if len(lines) > bot.MaxCommands+1 {
			t.Fatalf("%d lines", len(lines))
		}
		for _, line := range lines {
			if !strings.Contains(markdown, "/"+line) || strings.ContainsAny(line, "\r\n") {
				t.Fatalf("%q is no line of %q", line, markdown)
			}
			_, _ = command.Parse(line)
		}
	})
}

// BenchmarkHostileComments reads comments of GitHub's greatest length.
func BenchmarkHostileComments(b *testing.B) {
	for name, piece := range map[string]string{
		"prose": "a word and ", "comments that never end": "x <!--\n", "inline code": "`a", "quotes": ">", "fences": "```\n", "slashes": "/\n", "near misses": "/deplox/\n", "backticks": "` `` ``` ",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				command.Lines(strings.Repeat(piece, 65536/len(piece)))
			}
		})
	}
}
