package githubtest

import (
	"bytes"
	"html/template"
	"regexp"
	"sync"

	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	emoji "github.com/yuin/goldmark-emoji"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"
)

// markdown reads what GitHub's comments may hold: tables, task lists, bare
// links, strike-through, emoji by name, and HTML, which policy cleans.
var markdown = sync.OnceValue(func() goldmark.Markdown {
	return goldmark.New(
		goldmark.WithExtensions(
			extension.Linkify, extension.Strikethrough, extension.TaskList, emoji.Emoji,
			extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute)),
		),
		goldmark.WithRendererOptions(html.WithHardWraps(), html.WithUnsafe()),
	)
})

// policy is what GitHub lets through, near enough: no scripts, no styles, no
// forms but the boxes of a task list.
var policy = sync.OnceValue(func() *bluemonday.Policy {
	p := bluemonday.UGCPolicy()
	p.AllowElements("details", "summary", "kbd", "sub", "sup", "ins", "picture")
	p.AllowAttrs("open").OnElements("details")
	p.AllowAttrs("class").Matching(regexp.MustCompile(`^language-[\w-]+$`)).OnElements("code")
	p.AllowAttrs("type").Matching(regexp.MustCompile(`^checkbox$`)).OnElements("input")
	p.AllowAttrs("checked", "disabled").OnElements("input")
	p.AllowAttrs("align").Matching(regexp.MustCompile(`^(left|right|center)$`)).OnElements("td", "th", "p", "div")
	p.AddTargetBlankToFullyQualifiedLinks(true)
	return p
})

// renderHTML makes a comment's body fit for a page.
func renderHTML(source string) template.HTML {
	var buf bytes.Buffer
	if err := markdown().Convert([]byte(source), &buf); err != nil {
		return template.HTML("<pre>" + template.HTMLEscapeString(source) + "</pre>")
	}
	return template.HTML(policy().SanitizeBytes(buf.Bytes())) // Sanitized just now.
}
