package discord

import (
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/bot"
)

func TestMarkdown(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"bold, italics and code stay":                     {"**a** *b* `c` ~~d~~", "**a** *b* `c` ~~d~~"},
		"underscores of a name are no italics":            {"a_b_c and \\_x\\_", `a\_b\_c and \_x\_`},
		"a line break stays one":                          {"one\ntwo", "one\ntwo"},
		"paragraphs are apart":                            {"one\n\n\n\ntwo", "one\n\ntwo"},
		"a link is masked":                                {"[the log](https://x.org/a_b)", "[the log](<https://x.org/a_b>)"},
		"a link as its own address shows no preview":      {"<https://x.org/a?b=c&d=e>", "<https://x.org/a?b=c&d=e>"},
		"a link that is not the web's is its words":       {"[the log](javascript:alert)", "the log"},
		"a link's label cannot pretend another address":   {"[https://good.org](https://evil.org)", "<https://evil.org>"},
		"an address cannot leave its link":                {"[a](<https://x.org/)](y> \"t\")", "[a](<https://x.org/%29%5D%28y>)"},
		"headings are at most of the second size":         {"# a\n## b\n### c\n#### d", "## a\n\n## b\n\n### c\n\n**d**"},
		"lists stay, and those in them are indented":      {"- a\n  - b\n- c\n\n3. x\n4. y", "- a\n  - b\n- c\n\n3. x\n4. y"},
		"boxes to tick":                                   {"- [x] a\n- [ ] b", "- ☑ a\n- ☐ b"},
		"a quote":                                         {"> a\n> b", "> a\n> b"},
		"a block of code":                                 {"```diff\n-a\n+b\n```", "```diff\n-a\n+b\n```"},
		"a block of code cannot end early":                {"````\n```\n<@1>\n````", "```\n`\u200b``\n<@1>\n```"},
		"code with backticks":                             {"``a`b``", "`` a`b ``"},
		"details are text":                                {"<details><summary>The log</summary>\n\nline\n\n</details>", "**The log**\n\nline"},
		"comments are not seen":                           {"a\n\n<!-- berth -->\n\nb<!-- c -->", "a\n\nb"},
		"a mention of an account is text":                 {`\<@123>`, `\<@123\>`},
		"everyone is text":                                {"@everyone @here", "@\u200beveryone @\u200bhere"},
		"an emoji of a server is text":                    {`\<:a:1> :smile:`, `\<\:a:1\> \:smile:`},
		"an address in outside text is no link":           {bot.Escape("see https://evil.org", 100), "see https:\u200b//evil.org"},
		"pieces do not make a link together":              {"http:<b></b>//evil.org @<i></i>everyone", "http:\u200b//evil.org @\u200beveryone"},
		"what outside text starts a line with is text":    {"\\# a\n\\- b\n1\\. c\n\\> d\n\\-# e", "\\# a\n\\- b\n1\\. c\n\\> d\n\\-# e"},
		"spoilers are text":                               {`\|\|x\|\|`, `\|\|x\|\|`},
		"a narrow table is aligned":                       {"| part | by |\n|---|---|\n| db | aws |\n| web | `helm` |", "```\npart  by\n──────────\ndb    aws\nweb   helm\n```"},
		"a table with links is a list":                    {"| name | at |\n|---|---|\n| a | <https://x.org> |", "- **a** · at: <https://x.org>"},
		"a bar in a cell is text":                         {"| a |\n|---|\n| `x\\|y` |", "```\na\n───\nx|y\n```"},
		"entities are what they stand for, and no markup": {"&lt;@1&gt; &#42;a&#42;", `\<@1\> \*a\*`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := markdown(tt.in); got != tt.want {
				t.Errorf("%q\n gives %q\n  want %q", tt.in, got, tt.want)
			}
		})
	}
}

// What outside text may hold that Discord would act on.
var hostile = []string{
	"<@123>", "<@!123>", "<@&123>", "<#123>", "</deploy:123>", "<:a:123>", "<a:b:123>", "<t:1700000000:R>", "<id:customize>", "@everyone", "@here",
	":smile:", ":+1:", "https://evil.example/x", "http://evil.example", "discord://x", "[a](https://evil.example)", "[a](<https://evil.example>)",
	"<https://evil.example>", "||x||", "**x**", "__x__", "`x`", "```x```", "\n# x", "\n-# x", "\n> x", "\n>>> x", "\n- x", "\n1. x", "\\", "\\\\", "<!--", "-->",
	"<b>", "&lt;@123&gt;", "&#64;everyone", "\u202e", "\u200b", "| a | b |", "~~~", "www.evil.example", "\x1b[31m", "\x00", "\xff", "`", "``", "```", "\n", "<", ">", "[", "](", "@", ":",
}

func FuzzEscapedTextIsOnlyText(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, s)
		f.Add("a "+s, s+" b")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, in := range []string{
			bot.Escape(a, 300) + bot.Escape(b, 300),
			"**" + bot.Escape(a, 300) + "** " + bot.Code(b, 300),
			"| a | b |\n|---|---|\n| " + bot.Escape(a, 300) + " | " + bot.Code(b, 300) + " |",
			bot.Block(a, "") + "\n\n" + bot.Escape(b, 300),
			"- " + bot.Escape(a, 300) + "\n- " + bot.Escape(b, 300),
		} {
			out := markdown(in)
			names, links := markup(out)
			if len(names) > 0 || len(links) > 0 {
				t.Errorf("%q\n gives %q\n with %q %q", in, out, names, links)
			}
			for _, most := range []int{60, 100, 300} {
				short, _ := cut(out, most, "[…]")
				if names, links := markup(short); len(names) > 0 || len(links) > 0 || long(short) > most {
					t.Errorf("%q\n cut to %d: %q\n with %q %q", out, most, short, names, links)
				}
			}
		}
	})
}

func FuzzMarkdownMakesNoMentions(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Add(strings.Join(hostile, " "))
	f.Add(strings.Join(hostile, ""))
	f.Fuzz(func(t *testing.T, s string) {
		out := markdown(s)
		names, links := markup(out)
		if len(names) > 0 {
			t.Errorf("%q\n gives %q\n with %q", s, out, names)
		}
		if i := slices.IndexFunc(links, func(l string) bool { return webAddress(l) == "" }); i >= 0 {
			t.Errorf("%q links to %q", s, links[i])
		}
		if size(out) != long(out) {
			t.Errorf("size %d, not %d, of %q", size(out), long(out), out)
		}
	})
}
