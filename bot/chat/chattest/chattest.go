// Package chattest has every card and message of chat in every state, so that
// what renders them for a platform is tried on all of them: on what people see
// each day, and on what somebody hostile would have them see.
package chattest

import (
	"cmp"
	"slices"

	"github.com/berth-dev/berth/bot"
)

// Card is a message by what it is: "request waiting for two groups".
type Card struct {
	Name    string
	Message bot.ChatMessage
}

// Cards are all of them, sorted by name. Names are of lower case letters, digits,
// spaces and commas, and no two are the same.
func Cards() []Card {
	var all []Card
	for _, some := range []func(add func(string, bot.ChatMessage)){requests, environments, told, answers, hostile, losses} {
		some(func(name string, m bot.ChatMessage) { all = append(all, Card{name, m}) })
	}
	slices.SortFunc(all, func(a, b Card) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Page is a page that is somebody's own, with everything on it.
func Page() bot.ChatPage {
	page := bot.ChatPage{Text: "Type `/berth deploy app/name` in any channel, or `/berth help`."}
	for _, c := range Cards() {
		switch c.Name {
		case "request waiting for two groups", "request that takes data away":
			page.Waiting = append(page.Waiting, c.Message)
		case "environment running", "environment sleeping", "environment archived", "environment locked":
			page.Mine = append(page.Mine, c.Message)
		}
	}
	return page
}
