package chattest

import (
	"fmt"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/chat"
)

// Losing is a request whose plan takes things with such names away.
func Losing(names []string) *approvals.Request {
	r := waiting()
	r.Command, r.Order.Verb, r.Order.Reason = "cleanup shop/pr-7", actions.VerbCleanup, "the demo is over"
	r.Plan.Destructive, r.Plan.Parts[1].Destructive = true, true
	r.Plan.Parts[1].Summary = fmt.Sprintf("uninstall release web: 9 objects, and %d volume claims with data", len(names))
	for _, name := range names {
		r.Plan.Parts[1].Resources = append(r.Plan.Parts[1].Resources, actions.Resource{
			Kind: "PersistentVolumeClaim", Name: name, Namespace: r.Plan.Namespace, Change: actions.ResourceDelete, Destructive: true,
		})
	}
	return r
}

// LongNames are names as long as Kubernetes lets them be. Each begins with
// "begin-N-" and ends with "-end-N", and holds evil between.
func LongNames(n int, evil string) []string {
	const longest = 253
	names := make([]string, n)
	for i := range names {
		head, tail := fmt.Sprintf("begin-%d-", i), fmt.Sprintf("-end-%d", i)
		middle := []rune(strings.Repeat(evil, longest/len(evil)+1))
		for len(head)+len(string(middle))+len(tail) > longest {
			middle = middle[:len(middle)-1]
		}
		names[i] = head + string(middle) + tail
	}
	return names
}

// losses are cards of what takes more or less away, and what is answered to those
// who would read all of it.
func losses(add func(string, bot.ChatMessage)) {
	for what, names := range map[string][]string{
		"1 thing with a long name": LongNames(1, "a"), "20 things with long names": LongNames(20, "a"), "300 things with long names": LongNames(300, "a"),
		"20 things with hostile names": LongNames(20, Hostile), "300 things with hostile names": LongNames(300, Hostile),
	} {
		r := Losing(names)
		add("request that takes away "+what, chat.RequestCard(view(r, running())))
		if len(names) > 1 {
			add("answer of details of "+what, Details(r))
		}
	}
}

// Details are what somebody is answered who would read all of a request's plan.
func Details(r *approvals.Request) bot.ChatMessage {
	return chat.ReplyMessage(view(nil, nil), bot.Command{Verb: bot.VerbDiff, ID: r.ID}, bot.Reply{
		Tone: bot.ToneInfo, Request: r, Text: "What " + bot.Code(r.Command, 100) + " changes (request `" + r.ID + "`):\n\n" + bot.PlanText(r.Plan),
	})
}
