package chat

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

func TestADecisionElsewhereShowsOnAllCards(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	h.run(t)
	hold := h.world.Executor.Hold("web")
	r := h.ask(t, "deploy shop/pr-7")
	h.card(t, inC1, r)
	h.card(t, inD1, r)
	for _, b := range []*board{h.slack, h.discord} {
		b.until(t, "the question on "+b.name, func() bool { return b.messages[0].m.Tone == bot.ChatWaiting })
	}
	h.decide(t, "approve "+r.ID)
	for _, b := range []*board{h.slack, h.discord} {
		b.until(t, "the run on "+b.name, func() bool {
			m := b.messages[0].m
			return m.Tone == bot.ChatWorking && !slices.Contains(labels(m), "Approve") && strings.Contains(partsOf(m), "**ben** agreed in a terminal")
		})
		b.until(t, "its progress in the thread on "+b.name, func() bool {
			return slices.ContainsFunc(b.messages, func(m *said) bool {
				return m.place.Thread == "m0" && strings.Contains(m.m.Text, "🔵 **web** (memory): deploy running")
			})
		})
	}
	hold()
	h.ended(t, r.ID)
	for _, b := range []*board{h.slack, h.discord} {
		b.until(t, "the end on "+b.name, func() bool {
			m := b.messages[0].m
			return m.Title == "shop/pr-7 is running" && slices.Equal(labels(m), []string{"Open", "Extend by 24 h", "Sleep", "Archive", "Logs", "Redeploy", "Clean up"})
		})
		b.until(t, "the end of the progress on "+b.name, func() bool {
			return slices.ContainsFunc(b.messages, func(m *said) bool { return m.m.Title == "The deploy of shop/pr-7 is done" })
		})
	}
	h.slack.until(t, "word to ana", func() bool {
		return slices.ContainsFunc(h.slack.messages, func(m *said) bool {
			return m.place.Thread == "m0" && m.m.Title == "shop/pr-7 – its deploy is done" && slices.Equal(m.m.Call, []string{"slack:U1"})
		})
	})
	if calls := h.discord.called(); slices.Contains(calls, "discord:1") {
		t.Errorf("ana was told in Discord of what she asked for in Slack: %v", calls)
	}
}

func partsOf(m bot.ChatMessage) string {
	var b strings.Builder
	for _, p := range m.Parts {
		b.WriteString(p.Title + "\n" + p.Text + "\n")
	}
	return b.String()
}

func TestALimitedPlatformGetsEverythingOnceLater(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	limited := true
	h.slack.fail = func(method string) error {
		if limited && method != "find" {
			return &bot.Limited{After: time.Millisecond}
		}
		return nil
	}
	_, err := h.showRequest(t.Context(), inC1, r, "")
	if l, ok := errors.AsType[*bot.Limited](err); !ok || l.After <= 0 {
		t.Fatalf("a limited card: %v", err)
	}
	if again := h.look(t); again <= 0 {
		t.Error("nobody comes again")
	}
	limited = false
	for range 3 {
		for again := h.look(t); again > 0 && again < time.Second; again = h.look(t) {
			time.Sleep(again)
		}
	}
	if n, calls := len(h.slack.messages), h.slack.called(); n != 1 || !slices.Equal(calls, []string{"slack:U2"}) {
		t.Errorf("%d messages, which call %v", n, calls)
	}
}

// Whatever people wait for is shown at once; details wait for their turn.
func TestDetailsAreHeldBackButDecisionsAndEndsAreNot(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.slack.limits.EditEvery = time.Hour
	h.world.Govern(team(), bothOf)
	r := h.ask(t, "deploy shop/pr-7")
	h.card(t, inC1, r)
	says := func(edits int, words string) {
		t.Helper()
		m := h.slack.messages[0]
		whole := m.m.Title
		for _, part := range m.m.Parts {
			whole += "\n" + part.Title
		}
		if m.edits != edits || !strings.Contains(whole, words) {
			t.Errorf("after %d edits it says %q, want %q after %d", m.edits, whole, words, edits)
		}
	}
	r = h.pending(t, r.ID)
	h.look(t)
	edits := h.slack.messages[0].edits // none when it was planned before the card was made
	says(edits, "waits for approval")
	h.decide(t, "approve "+r.ID)
	h.look(t)
	says(edits+1, "Approvals: 1 of 2")

	k, known, err := h.loadCard(t.Context(), cardID(inC1, r.ID))
	if !known || err != nil {
		t.Fatal(known, err)
	}
	w := k.slots[slotCard]
	detail := draft{slot: slotCard, at: inC1, message: bot.ChatMessage{Title: "a detail"}, apart: time.Hour, stage: w.Stage}
	if again, err := h.put(t.Context(), k, detail); err != nil || again < 50*time.Minute || again > time.Hour {
		t.Errorf("a detail is to be written in %s: %v", again, err)
	}
	says(edits+1, "Approvals: 1 of 2")
	w.At = w.At.Add(72 * time.Hour) // by a clock that is ahead
	if err := h.saveSlot(t.Context(), k, slotCard, w); err != nil {
		t.Fatal(err)
	}
	if again, err := h.put(t.Context(), k, detail); err != nil || again > time.Hour {
		t.Errorf("a detail is to be written in %s: %v", again, err)
	}

	h.decide(t, "deny "+r.ID)
	h.look(t)
	if m := h.slack.messages[0]; m.edits != edits+2 || !strings.HasSuffix(m.m.Title, "was denied") {
		t.Errorf("after %d edits it says %q", m.edits, m.m.Title)
	}
}

func TestTheNewestCardOfAChannelHasTheButtons(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Work()
	first := h.ended(t, h.ask(t, "deploy shop/pr-7").ID)
	h.card(t, inC1, first)
	h.card(t, inD1, first)
	h.look(t)
	if got := labels(h.slack.inPlace(inC1)[0].m); !slices.Contains(got, "Archive") {
		t.Fatalf("the first card has %v", got)
	}
	second := h.ended(t, h.ask(t, "archive shop/pr-7").ID)
	h.card(t, inC1, second)
	h.look(t)
	cards := h.slack.inPlace(inC1)
	if len(cards) != 2 || len(cards[0].m.Buttons) != 0 || !slices.Equal(labels(cards[1].m), []string{"Restore", "Logs", "Clean up"}) {
		t.Errorf("the cards have %v and %v", labels(cards[0].m), labels(cards[1].m))
	}
	if m := h.discord.inPlace(inD1)[0].m; m.Title != "shop/pr-7 is archived" || !slices.Contains(labels(m), "Restore") {
		t.Errorf("where no newer card stands it says %q with %v", m.Title, labels(m))
	}
	third := h.ended(t, h.ask(t, "cleanup shop/pr-7").ID)
	h.card(t, inC1, third)
	h.look(t)
	for _, m := range append(h.slack.inPlace(inC1), h.discord.inPlace(inD1)...) {
		if len(m.m.Buttons) != 0 {
			t.Errorf("nothing is there any more, and %q has %v", m.m.Title, labels(m.m))
		}
	}
	if n, err := h.rdb.SCard(t.Context(), keyWatched).Result(); err != nil {
		t.Fatal(err)
	} else if h.look(t); n != 1 {
		t.Errorf("%d environments are watched", n)
	}
	if n, err := h.rdb.SCard(t.Context(), keyWatched).Result(); err != nil || n != 0 {
		t.Errorf("%d environments are watched still, %v", n, err)
	}
}

func TestAFailureIsToldWithTheEndOfItsLog(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Work()
	h.world.Executor.Fail("web", actions.Errorf("memory", actions.CodeInvalid, "Pod web-1 cannot pull its image."))
	r := h.ended(t, h.ask(t, "deploy shop/pr-7").ID)
	h.card(t, inC1, r)
	h.look(t)
	card := h.slack.inPlace(inC1)
	if len(card) != 1 || card[0].m.Tone != bot.ChatBad || !slices.Equal(labels(card[0].m), []string{"Logs", "Retry"}) || !slices.Equal(card[0].m.Call, []string{"slack:U1"}) {
		t.Fatalf("the card is %+v", card)
	}
	thread := inC1
	thread.Thread = "m0"
	told := h.slack.inPlace(thread)
	if len(told) != 1 || told[0].m.Title != "The deploy of shop/pr-7 failed" || !strings.Contains(partsOf(told[0].m), "begin deploy") || !strings.Contains(told[0].m.Whole, "/api/v1/runs/"+r.RunID) {
		t.Errorf("the thread has %+v", told)
	}
}

func TestOneSlowPlatformKeepsNoOtherWaiting(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	h.card(t, inC1, r)
	h.card(t, inD1, r)
	h.decide(t, "deny "+r.ID)
	gate := make(chan struct{})
	h.slack.fail = func(method string) error {
		if method == "edit" {
			<-gate
		}
		return nil
	}
	done := make(chan error, 1)
	go func() { _, err := h.show(context.Background(), pr7); done <- err }()
	h.discord.until(t, "the end in Discord", func() bool { return strings.HasSuffix(h.discord.messages[0].m.Title, "was denied") })
	close(gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
