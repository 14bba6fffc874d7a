package slack

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/berth-dev/berth/bot"
)

// written is Markdown as Slack gets it.
func written(md string) string {
	text := lines(md)
	return mrkdwn(text, marksIn(text))
}

func TestMarkdownForSlack(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"words stay":                             {"It is running.", "It is running."},
		"looks are Slack's":                      {"**a** *b* ~~c~~ `d`", "*a* _b_ ~c~ `d`"},
		"looks lie in each other":                {"***a***", "*_a_*"},
		"a bold half of a word is kept apart":    {"un**believ**able", "un\u200b*believ*\u200bable"},
		"a link is Slack's":                      {"[the plan](https://x.org/a?b=1&c=2)", "<https://x.org/a?b=1&amp;c=2|the plan>"},
		"a linked commit is a link":              {"[`abc1234`](https://x.org/c)", "<https://x.org/c|abc1234>"},
		"an address is a link":                   {"<https://x.org/>", "<https://x.org/|https://x.org/>"},
		"a bare address is a link":               {"see https://x.org/a.", "see <https://x.org/a|https://x.org/a>."},
		"an escaped address is none":             {bot.Escape("https://x.org", 100), "https:\u200b//x.org"},
		"an address of no web is text":           {"[a](javascript:alert(1)) [b](file:///etc)", "a b"},
		"an address cannot end its link early":   {"[a](https://x.org/%3E|<b>)", "<https://x.org/%3E%7C%3Cb%3E|a>"},
		"escapes are undone":                     {bot.Escape("a_b [x] | #1 @all <i>", 100), "a_b [x] | #1 @all &lt;i&gt;"},
		"entities are undone":                    {"a &lt; b &amp;&copy;", "a &lt; b &amp;©"},
		"nobody is called":                       {"<!channel> \\<@U1\\> `<!here>`", "&lt;!channel&gt; &lt;@U1&gt; `&lt;!here&gt;`"},
		"outside text makes nothing bold":        {bot.Escape("*a* and *b*", 100), "∗a∗ and ∗b∗"},
		"a lone star stays":                      {bot.Escape("no match for *.yaml in ~/x", 100), "no match for *.yaml in ~/x"},
		"names stay":                             {"LOG_LEVEL and DB_URL_", "LOG_LEVEL and DB_URL_"},
		"a star beside our own is none":          {"**a**: " + bot.Escape("*.yaml", 100), "*a*: ∗.yaml"},
		"no emoji are made":                      {bot.Escape("a:smile:b :+1: 12:30:45", 100), "a:\u200bsmile:b :\u200b+1: 12:\u200b30:45"},
		"code with a backtick":                   {bot.Code("a`b", 10), "`aˋb`"},
		"code with a border":                     {bot.Code("a|b", 10), "`a|b`"},
		"code with two backticks":                {"``` a``b ```", "`aˋˋb`"},
		"a heading is bold":                      {"### Plan\ntext", "*Plan*\ntext"},
		"a list":                                 {"- a\n- b\n  - c\n\nd", "• a\n• b\n\u2003\u2003◦ c\n\nd"},
		"a numbered list":                        {"3. a\n4. b", "3. a\n4. b"},
		"things to do":                           {"- [ ] a\n- [x] b", "• ☐ a\n• ☑ b"},
		"a quotation":                            {"> a\n> b\n\nc", "> a\n> b\n\nc"},
		"outside text makes no quotation":        {bot.Escape("> a", 10), "\u200b&gt; a"},
		"a block of code":                        {bot.Block("a < b\n\n*c*", "diff"), "```\na &lt; b\n\n*c*\n```"},
		"a block of code cannot be ended early":  {bot.Block("a\n```\n<!channel>", ""), "```\na\n`\u200b``\n&lt;!channel&gt;\n```"},
		"two blocks stay two":                    {"```\na\n```\n```\nb\n```", "```\na\n```\n\n```\nb\n```"},
		"what is folded away is unfolded":        {"<details><summary>Plan &amp; more</summary>\n\n**a**\n\n</details>", "*Plan &amp; more*\n\n*a*"},
		"comments are dropped":                   {"<!-- berth -->\na", "a"},
		"tags are dropped":                       {"a <b>c</b> d<br>e", "a c d\ne"},
		"a ruler":                                {"a\n\n---\n\nb", "a\n\n———\n\nb"},
		"breaks of lines stay":                   {"a\nb\\\nc", "a\nb\nc"},
		"a small table stands in columns":        {"| Name | State |\n|---|---|\n| shop/pr-1 | running |\n| `x` | **a\\|b** |", "```\nName       State\n──────────────────\nshop/pr-1  running\nx          a|b\n```"},
		"a table with links is a list":           {"| Name | At |\n|---|---|\n| a | <https://x.org> |\n| b | |", "• *a* · At: <https://x.org|https://x.org>\n• *b*"},
		"control characters go":                  {"a\x1b[31mb\u202ec\x00", "abc"},
		"nothing is nothing":                     {" \n\n ", ""},
		"a picture is a link":                    {"![alt](https://x.org/i.png)", "<https://x.org/i.png|alt>"},
		"an address with a password is text":     {"[a](https://u:p@x.org)", "a"},
		"backticks that close nothing are alike": {"a \\` b \\` c", "a ˋ b ˋ c"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := written(c.in); got != c.want {
				t.Errorf("want %q, got %q", c.want, got)
			}
		})
	}
}

func TestLongTexts(t *testing.T) {
	log := strings.Repeat("a line of the log\n", 2000)
	got := written("**What** it printed:\n\n" + bot.Block(log, "text") + "\n\n**And** then:\n\n" + bot.Block("x", ""))
	want := "*What* it printed:\n\n```\n" + strings.TrimSpace(log) + "\n```\n\n*And* then:\n\n```\nx\n```"
	if got != want {
		t.Errorf("it begins with %.200q and ends with %q", got, got[len(got)-100:])
	}
	if got := written(log + "```\n" + log); !strings.HasSuffix(got, "log\n```") || strings.Count(got, "```") != 2 {
		t.Errorf("a block that nothing closes ends with %q", got[len(got)-60:])
	}
}

// BenchmarkHostileText reads the longest text that is read, of what takes goldmark
// longest.
func BenchmarkHostileText(b *testing.B) {
	for _, c := range []string{"a", "[", "> ", "![", "**a ", "_a", "[a](", "<a ", "1. ", "a\n- ", "`a``", "<!--", "[a]: b\n"} {
		b.Run(strconv.Quote(c), func(b *testing.B) {
			for b.Loop() {
				lines(strings.Repeat(c, maxMarkdown/len(c)))
			}
		})
	}
}

// ours are the links that a text may hold: nothing else has a "<" in it.
var ours = regexp.MustCompile(`<https?://[^\s<>|]+\|[^<>\n]+>`)

// holds fails when Slack could find in s what Berth did not put there.
func holds(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Fatalf("%q is not valid", s)
	}
	rest := ours.ReplaceAllString(s, "")
	if strings.Contains(rest, "<") {
		t.Fatalf("%q holds markup that is not ours", s)
	}
	if strings.Count(rest, fence)%2 != 0 {
		t.Fatalf("%q has a block of code without an end", s)
	}
	for i, piece := range strings.Split(rest, "&") {
		if i > 0 && !strings.HasPrefix(piece, "amp;") && !strings.HasPrefix(piece, "lt;") && !strings.HasPrefix(piece, "gt;") {
			t.Fatalf("%q has half an entity", s)
		}
	}
}

// read is what people read of a text that Slack gets: without the looks.
func read(s string) string {
	s = regexp.MustCompile(`<https?://[^\s<>|]+\|([^<>\n]+)>`).ReplaceAllString(s, "$1")
	s = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">").Replace(s)
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("*_~`\u200b\u2003 \n\t", r) {
			return -1
		}
		for _, look := range looks {
			if r == look {
				return -1
			}
		}
		return r
	}, s)
}

func FuzzMarkdown(f *testing.F) {
	for _, seed := range []string{
		"**a** `b` <!channel> [x](https://y.org/|)", "- a\n  - b\n\n```\nc\n", "| a | b |\n|--|--|\n| c | <@U1> |", "> > a\n> ```\n> b", "<details><summary>a</summary>",
		"&lt;!here&gt;", "[a](<https://x.org/>>)", "``` ` ```", "*a**b*", "1. a\n   > b\n\n       c", "www.x.org me@x.org https://x.org/<b>|c", "![a](https://b)", "|\n|-|", "<br>\\", "\x1b]0;a\x07",
		"[<!channel>](https://x.org)", "https://x.org/`a`*b*", "* * *\n- - -\n+", "[a\nb](https://x.org)",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, md string) {
		text := lines(md)
		m := marksIn(text)
		whole := mrkdwn(text, m)
		holds(t, whole)
		if n := width(whole); n > size(text) {
			t.Fatalf("%q takes %d characters, and %d were counted", whole, n, size(text))
		}
		for _, most := range []int{150, 600, 3000} {
			short, left := fit(text, most)
			s := mrkdwn(short, m)
			holds(t, s)
			if width(s) > most {
				t.Fatalf("%q takes %d characters of %d", s, width(s), most)
			}
			if !left && s != whole {
				t.Fatalf("%q became %q, and nothing said so", whole, s)
			}
		}
		for _, c := range chunks(text, 300) {
			s := mrkdwn(c, m)
			holds(t, s)
			if width(s) > 300 {
				t.Fatalf("%q takes %d characters", s, width(s))
			}
		}
	})
}

// FuzzOutsideText holds that what was escaped reads in Slack as it was written.
func FuzzOutsideText(f *testing.F) {
	for _, seed := range []string{"*a* _b_ ~c~ `d` <@U1> &amp; <!channel>", "https://x.org|y", "> a", ":smile:", "a\u200bb", "- a", "1. b", "```"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, md := range []string{bot.Escape(s, 1000), bot.Code(s, 1000), bot.Block(s, "")} {
			got := written(md)
			holds(t, got)
			flat := strings.Join(strings.Fields(bot.Plain(s)), "")
			if r := []rune(flat); len(r) > 500 {
				return
			}
			if want := read(escape(flat)); read(got) != want && strings.TrimSpace(md) != "" {
				t.Fatalf("%q, as %q, reads %q, not %q", md, got, read(got), want)
			}
			if ours.MatchString(got) {
				t.Fatalf("%q became the link %q", md, got)
			}
		}
	})
}
