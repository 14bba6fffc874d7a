package chat

import (
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

func TestANoticeIsToldOnceInItsChannel(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.run(t)
	b := h.another(t, "b")
	n := bot.Notice{
		Event: bot.EventExpiring, Severity: bot.SeverityWarning, Env: pr7, Key: "expiring:1", Title: "shop/pr-7 expires in 4 hours", Text: "It will be cleaned up then.",
		Commands: []bot.Suggestion{{Label: "Extend by 24 hours", Command: "extend shop/pr-7 --ttl 24h"}},
	}
	for range 3 {
		for _, s := range []*Surface{h.Surface, b.Surface} {
			for _, channel := range []string{"C1", "T1/C1"} {
				if err := s.Outlet(bot.PlatformSlack).Tell(t.Context(), channel, n); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	h.slack.until(t, "the notice", func() bool { return len(h.slack.messages) > 0 })
	other := n
	other.Key = "expiring:2"
	if err := h.Outlet(bot.PlatformSlack).Tell(t.Context(), "C1", other); err != nil {
		t.Fatal(err)
	}
	h.slack.until(t, "another notice", func() bool { return len(h.slack.messages) > 1 })
	if got := h.slack.messages[0].m; len(h.slack.messages) != 2 || got.Title != n.Title || !slices.Equal(labels(got), []string{"Extend by 24 hours"}) {
		t.Errorf("%d messages, the first %+v", len(h.slack.messages), got)
	}
	for what, err := range map[string]error{
		"no channel":    h.Outlet(bot.PlatformSlack).Tell(t.Context(), "", n),
		"a person":      h.Outlet(bot.PlatformSlack).Tell(t.Context(), "@ana", n),
		"no key":        h.Outlet(bot.PlatformSlack).Tell(t.Context(), "C1", bot.Notice{}),
		"not connected": h.Outlet("mattermost").Tell(t.Context(), "C1", n),
	} {
		if actions.CodeOf(err) != actions.CodeInvalid {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestANoticeOfARequestThatWaitsIsItsCard(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	h.run(t)
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	h.card(t, inC1, r)
	n := bot.Notice{Event: bot.EventWaiting, Severity: bot.SeverityWarning, Env: pr7, Request: r.ID, Key: "request.waiting:" + r.ID, Title: "shop/pr-7: deploy waits"}
	for outlet, channel := range map[string]string{bot.PlatformSlack: "C1", bot.PlatformDiscord: "82"} {
		if err := h.Outlet(outlet).Tell(t.Context(), channel, n); err != nil {
			t.Fatal(err)
		}
	}
	h.discord.until(t, "the card", func() bool { return len(h.discord.messages) > 0 })
	if m := h.discord.messages[0].m; !slices.Contains(labels(m), "Approve") {
		t.Errorf("the notice is %+v", m)
	}
	h.decide(t, "deny "+r.ID)
	h.discord.until(t, "its end", func() bool { return strings.HasSuffix(h.discord.messages[0].m.Title, "was denied") })
	if cards := h.slack.inPlace(inC1); len(cards) != 1 {
		t.Errorf("%d cards stand where one stood already", len(cards))
	}
}
