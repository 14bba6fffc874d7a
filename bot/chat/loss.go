package chat

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// maxLossText is how much of a part's summary is one line of a loss, in bytes;
// longer ones go on in another.
const maxLossText = 1000

// lossOf is what a plan takes away for good: the things that its executors name,
// by part and kind, and the parts that say only that they do. It is nil when
// nothing is lost.
func lossOf(plan *actions.Plan) *bot.ChatLoss {
	if plan == nil || !plan.Destructive {
		return nil
	}
	l := &bot.ChatLoss{Title: "⚠️ This takes data away"}
	things := 0
	for _, p := range plan.Parts {
		if !p.Destructive {
			continue
		}
		part := "**" + bot.Escape(p.Part, 60) + "** (" + bot.Escape(p.Use, 60) + ")"
		named := slices.DeleteFunc(slices.Clone(p.Resources), func(r actions.Resource) bool { return !r.Destructive })
		if len(named) == 0 {
			l.Groups = append(l.Groups, summarized(part, p.Summary))
			things++
			continue
		}
		things += len(named)
		at := map[string]int{} // the groups of this part, by kind
		for _, r := range named {
			i, known := at[r.Kind]
			if !known {
				i = len(l.Groups)
				at[r.Kind] = i
				l.Groups = append(l.Groups, bot.ChatLossGroup{Head: part + ", " + bot.Escape(r.Kind, 256)})
			}
			name := r.Name
			if r.Namespace != "" && r.Namespace != plan.Namespace {
				name = r.Namespace + "/" + name
			}
			l.Groups[i].Items = append(l.Groups[i].Items, nameText(name))
		}
		if p.ResourcesLeft > 0 && len(named) == len(p.Resources) {
			// Those that take data with them are named first: of what is left some may.
			l.Groups = append(l.Groups, bot.ChatLossGroup{Head: fmt.Sprintf("%s: perhaps some of %d more things, which it does not name", part, p.ResourcesLeft)})
		}
	}
	if len(l.Groups) == 0 {
		l.Groups, things = []bot.ChatLossGroup{{Head: bot.Escape(plan.Summary, maxLossText)}}, 1
		if strings.TrimSpace(plan.Summary) == "" {
			l.Groups[0].Head = "Its plan does not say which"
		}
	}
	if things > 1 {
		l.Title += fmt.Sprintf(": %d things", things)
	}
	return l
}

// nameText is the name of a thing as code.
func nameText(name string) string {
	if text := bot.Code(name, 600); text != "" {
		return text
	}
	return "one without a name"
}

// summarized is a part that does not name what it takes away.
func summarized(part, summary string) bot.ChatLossGroup {
	summary = strings.Join(strings.Fields(bot.Plain(summary)), " ")
	if len(summary) <= maxLossText {
		return bot.ChatLossGroup{Head: part + ": " + bot.Escape(summary, maxLossText)}
	}
	g := bot.ChatLossGroup{Head: part}
	for summary != "" {
		line := clip(summary, maxLossText)
		if space := strings.LastIndexByte(line, ' '); space > 0 && len(line) < len(summary) {
			line = line[:space+1]
		}
		if line == "" {
			break
		}
		summary = summary[len(line):]
		g.Items = append(g.Items, bot.Escape(line, maxLossText))
	}
	return g
}

// restOf are the parts of a plan that lossOf does not tell all of.
func restOf(plan *actions.Plan) []actions.PartPlan {
	return slices.DeleteFunc(slices.Clone(plan.Parts), func(p actions.PartPlan) bool {
		return plan.Destructive && p.Destructive && !slices.ContainsFunc(p.Resources, func(r actions.Resource) bool { return r.Destructive })
	})
}
