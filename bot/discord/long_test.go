package discord

import (
	"strconv"
	"strings"
	"testing"

	"github.com/berth-dev/berth/bot"
)

func TestLongTexts(t *testing.T) {
	log := strings.Repeat("a line of the log <@1>\n", 2000)
	got := markdown("**What** it printed:\n\n" + bot.Block(log, "diff") + "\n\n**And** then:\n\n" + bot.Block("x", ""))
	want := "**What** it printed:\n\n```diff\n" + strings.TrimSpace(log) + "\n```\n\n**And** then:\n\n```\nx\n```"
	if got != want {
		t.Errorf("it begins with %.200q and ends with %q", got, got[len(got)-100:])
	}
	open := markdown(log + "```\n" + log)
	if names, links := markup(open); len(names)+len(links) > 0 || !strings.HasSuffix(open, "<@1>\n```") {
		t.Errorf("a block that nothing closes ends with %q, and has %.5q", open[len(open)-60:], names)
	}
}

// slow takes goldmark longest.
var slow = []string{"[", "> ", "![", "**a ", "_a", "[a](", "<a ", "1. ", "a\n- ", "`a``", "<!--", "[a]: b\n", "<http://x "}

func TestLongHostileTextNamesNobody(t *testing.T) {
	for _, c := range append(slow, hostile...) {
		long, _ := cut(markdown(strings.Repeat(c, 1<<19/len(c))), 4000, "[…]")
		if names, _ := markup(long); len(names) > 0 {
			t.Errorf("%q has %.3q", c, names)
		}
	}
}

// BenchmarkHostileText reads the longest text that is read.
func BenchmarkHostileText(b *testing.B) {
	for _, c := range append([]string{"a"}, slow...) {
		b.Run(strconv.Quote(c), func(b *testing.B) {
			for b.Loop() {
				cut(markdown(strings.Repeat(c, maxMarkdown/len(c))), 4000, "[…]")
			}
		})
	}
}
