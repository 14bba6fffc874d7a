package chat

import (
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// No button leads to what would be refused where the card stands.
func TestAButtonIsThereWhereItsCommandIsAllowed(t *testing.T) {
	t.Parallel()
	buttons := []bot.ChatButton{{Label: "Open", URL: "https://pr-7.example.org"}, {Label: "Approve", Line: "approve 01"}, {Label: "Logs", Line: "logs 01"}}
	tests := map[string]struct {
		rules Rules
		want  []string
	}{
		"a channel for everything":          {Rules{}, []string{"Open", "Approve", "Logs"}},
		"a channel of the app":              {Rules{Apps: []string{"blog", "shop"}}, []string{"Open", "Approve", "Logs"}},
		"a channel of another app":          {Rules{Apps: []string{"blog"}}, []string{"Open"}},
		"a channel for looking":             {Rules{Verbs: []string{bot.VerbLogs}}, []string{"Open", "Logs"}},
		"a channel for looking at others":   {Rules{Apps: []string{"blog"}, Verbs: []string{bot.VerbLogs}}, []string{"Open"}},
		"a channel for nothing that we do":  {Rules{Verbs: []string{bot.VerbList}}, []string{"Open"}},
		"a channel for what they lead to":   {Rules{Verbs: []string{bot.VerbLogs, bot.VerbApprove}}, []string{"Open", "Approve", "Logs"}},
		"a channel that guests may look at": {Rules{Guests: []string{bot.RoleViewer}}, []string{"Open", "Approve", "Logs"}},
	}
	for name, tt := range tests {
		v := View{Name: pr7, Rules: tt.rules}
		var got []string
		for _, b := range v.allowed(slices.Clone(buttons)) {
			got = append(got, b.Label)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s has %v, want %v", name, got, tt.want)
		}
		v.Request = &approvals.Request{ID: "01", State: approvals.StatePending, Command: "deploy shop/pr-7"}
		if news := NewsOf(v); strings.Contains(news[0].Message.Text, "has the buttons") != slices.Contains(tt.want, "Approve") {
			t.Errorf("%s is told %q", name, news[0].Message.Text)
		}
	}
}
