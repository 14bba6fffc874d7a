package bot

import (
	"fmt"
	"strings"
)

// ChatLoss is what somebody has to have read before they agree: what would be
// lost for good, thing by thing. A surface shows it right below the message's
// text, and whole: all else in the message gives way first. Where not even that
// makes it fit, its first things stand there, with how many more there are.
type ChatLoss struct {
	Title  string // plain text
	Groups []ChatLossGroup
	// File names a file with all of it, "shop-pr-42-loss.txt", for a platform that has
	// files and no room; "" when there is to be none.
	File string `json:",omitempty"`
}

// ChatLossGroup are things of one kind.
type ChatLossGroup struct {
	Head  string   // Markdown, on one line: what they are; without Things it is one itself
	Items []string // Markdown, each on one line
}

// Len is how many things there are. None are there of nil.
func (l *ChatLoss) Len() int {
	if l == nil {
		return 0
	}
	n := 0
	for _, g := range l.Groups {
		n += max(1, len(g.Items))
	}
	return n
}

// ChatLossLine is one line of a loss, as it stands below its title.
type ChatLossLine struct {
	Text  string // Markdown
	Depth int    // 0, or 1 for what is listed below a group's Head
}

// Lines are the first most things, and what heads them.
func (l *ChatLoss) Lines(most int) (lines []ChatLossLine) {
	for _, g := range l.Groups {
		if most <= 0 {
			break
		}
		switch len(g.Items) {
		case 0:
			lines = append(lines, ChatLossLine{Text: g.Head})
			most--
		case 1:
			lines = append(lines, ChatLossLine{Text: g.Head + ": " + g.Items[0]})
			most--
		default:
			lines = append(lines, ChatLossLine{Text: g.Head + ":"})
			for _, item := range g.Items[:min(len(g.Items), most)] {
				lines = append(lines, ChatLossLine{Text: item, Depth: 1})
			}
			most -= len(g.Items)
		}
	}
	return lines
}

// More says how many things there are besides the first most; "" when there are
// none.
func (l *ChatLoss) More(most int) string {
	if more := l.Len() - most; more > 0 {
		return fmt.Sprintf("… and %d more, for which there is no room here", more)
	}
	return ""
}

// Markdown is the title, Lines and More.
func (l *ChatLoss) Markdown(most int) string {
	var b strings.Builder
	b.WriteString("**" + Escape(l.Title, 150) + "**\n")
	for _, line := range l.Lines(most) {
		b.WriteString("\n" + strings.Repeat("  ", line.Depth) + "- " + line.Text)
	}
	if more := l.More(most); more != "" {
		b.WriteString("\n\n**" + more + "**")
	}
	return b.String()
}

// Fit is how many of its things fit, from the first on, and whether those are
// all. Fewer things never need more room than more do.
func (l *ChatLoss) Fit(fits func(most int) bool) (most int, whole bool) {
	all := l.Len()
	good, bad := 0, 1
	// Each step looks at twice as many, so that of a list that is far too long only
	// the beginning is ever written.
	for bad < all && fits(bad) {
		good, bad = bad, min(2*bad, all)
	}
	if bad == all && fits(all) {
		return all, true
	}
	for bad-good > 1 {
		if middle := (good + bad) / 2; fits(middle) {
			good = middle
		} else {
			bad = middle
		}
	}
	return good, false
}

// Plain is all of it for a file.
func (l *ChatLoss) Plain() string {
	var b strings.Builder
	b.WriteString(l.Title + "\n")
	for _, g := range l.Groups {
		b.WriteString("\n" + Unescape(g.Head) + "\n")
		for _, item := range g.Items {
			b.WriteString("  " + Unescape(item) + "\n")
		}
	}
	return Plain(b.String())
}
