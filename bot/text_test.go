package bot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"

	"github.com/berth-dev/berth/bot"
)

func TestEscape(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"plain words stay":           {"Pod web-1 failed: exit code 1.", "Pod web-1 failed: exit code 1."},
		"names stay":                 {"shop/pr-42 LOG_LEVEL nginx:v2", "shop/pr-42 LOG_LEVEL nginx:v2"},
		"nobody is called":           {"@everyone", "@\u200beveryone"},
		"nothing is referred to":     {"see #1 and GH-2", "see #\u200b1 and GH\u200b-2"},
		"nothing is linked":          {"http://x www.x.org", "http:\u200b//x www\u200b.x.org"},
		"no emoji":                   {"a :smile: b", "a :\u200bsmile: b"},
		"no markup":                  {"*a* _b_ `c` ~d~ [e](f)", "\\*a\\* \\_b\\_ \\`c\\` \\~d\\~ \\[e\\](f)"},
		"no HTML":                    {"<b>&amp;", "\\<b>\\&amp;"},
		"no border":                  {"a|b", "a\\|b"},
		"no list":                    {"- a", "\\- a"},
		"no numbered list":           {"1. a", "1\\. a"},
		"one line":                   {"a\nb\r\nc", "a b c"},
		"no escape sequence":         {"a\x1b[31mb\x1b]0;title\x07c", "abc"},
		"no turning of direction":    {"a\u202eb", "ab"},
		"long text is cut, and says": {strings.Repeat("x", 200), strings.Repeat("x", 100) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := bot.Escape(c.in, 100); got != c.want {
				t.Errorf("want %q, got %q", c.want, got)
			}
		})
	}
}

// FuzzEscape holds that what is escaped reads as it was written: a Markdown
// parser finds a paragraph of nothing but text in it.
func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"*a* _b_ `c` <d> [e](f)", "- a", "1) a", "# a", "> a", "a\\*b", "&lt; ~~x~~ |", "===", "http://a.b", "___", "    a", "`", "\\"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		escaped := bot.Escape(s, 1000)
		root := goldmark.New(goldmark.WithExtensions(extension.Strikethrough, extension.Table)).Parser().Parse(text.NewReader([]byte("x\n\n" + escaped + "\n")))
		_ = ast.Walk(root, func(n ast.Node, _ bool) (ast.WalkStatus, error) {
			switch n.Kind() {
			case ast.KindDocument, ast.KindParagraph, ast.KindText:
			default:
				t.Fatalf("%q, escaped as %q, is a %s", s, escaped, n.Kind())
			}
			return ast.WalkContinue, nil
		})
		if strings.Contains(escaped, "\n") {
			t.Fatalf("%q has lines", escaped)
		}
		if again := bot.Escape(bot.Unescape(escaped), 1000); again != escaped {
			t.Fatalf("%q became %q and then %q", s, escaped, again)
		}
	})
}

func FuzzPlain(f *testing.F) {
	f.Add("a\x1b[31mb\x1b]0;t\x07c\u202e\x00\xff\x9b31m")
	f.Fuzz(func(t *testing.T, s string) {
		got := bot.Plain(s)
		for _, r := range got {
			if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
				t.Fatalf("%q keeps %q in %q", s, r, got)
			}
		}
		if bot.Plain(got) != got {
			t.Fatalf("%q is not plain", got)
		}
	})
}

func TestSpan(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"less than a minute": 30 * time.Second, "1 minute": time.Minute, "59 minutes": 59 * time.Minute, "1 hour": time.Hour,
		"2 hours 30 minutes": 150 * time.Minute, "47 hours": 47 * time.Hour, "3 days": 72*time.Hour + time.Minute,
	} {
		if got := bot.Span(d); got != want {
			t.Errorf("want %s, got %s", want, got)
		}
	}
}
