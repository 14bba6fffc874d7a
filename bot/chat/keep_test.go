package chat

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

func TestACardWhosePostWasNotHeardOfIsFoundAgain(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	h.slack.lost = func(string) error {
		return &actions.Error{Op: "board", Code: actions.CodeUnavailable, Msg: "It went away.", Retry: true}
	}
	if _, err := h.showRequest(t.Context(), inC1, r, ""); actions.CodeOf(err) != actions.CodeUnavailable {
		t.Fatalf("a lost answer: %v", err)
	}
	h.slack.lost = nil
	// Another process goes on, which knows nothing but what is stored.
	b := h.another(t, "b")
	if _, err := b.show(t.Context(), pr7); err != nil {
		t.Fatal(err)
	}
	if sent, err := b.showRequest(t.Context(), inC1, r, ""); err != nil || sent.ID != "m0" {
		t.Errorf("the card is %+v, %v", sent, err)
	}
	if cards := h.slack.inPlace(inC1); len(cards) != 1 {
		t.Errorf("%d cards stand, want 1", len(cards))
	}
	if calls := h.slack.called(); !slices.Equal(calls, []string{"slack:U2"}) {
		t.Errorf("called were %v, want ben, once", calls)
	}
}

func TestAWriterThatWasKilledKeepsNobodyWaitingForLong(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	if err := h.rdb.Set(t.Context(), keyWriting(cardID(inC1, r.ID)), "somebody", 300*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	h.card(t, inC1, r)
	if ttl := writeLease; ttl > 20*time.Second {
		t.Errorf("a writer that is gone would keep others waiting for %s", ttl)
	}
}

func TestTwoReplicasMakeOneCard(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	replicas := []*replica{h.replica, h.another(t, "b")}
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() {
			at := []bot.ChatPlace{inC1, inD1}[i%2]
			sent, err := replicas[i/2%2].showRequest(context.Background(), at, r, "")
			if err != nil || sent.ID == "" {
				t.Errorf("%d: %+v, %v", i, sent, err)
			}
			if _, err := replicas[i%2].show(context.Background(), pr7); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	group.Wait()
	h.decide(t, "approve "+r.ID)
	h.ended(t, r.ID)
	for range 6 {
		for _, one := range replicas {
			group.Go(func() {
				if _, err := one.show(context.Background(), pr7); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	for _, b := range []*board{h.slack, h.discord} {
		if n := len(b.messages); b == h.slack && n != 2 || b == h.discord && n != 1 { // Slack's has word to ana
			t.Errorf("%s has %d messages", b.name, n)
		}
	}
	calls := append(h.slack.called(), h.discord.called()...)
	slices.Sort(calls)
	if len(calls) != 2 || calls[0] != "slack:U1" && calls[0] != "discord:2" {
		t.Errorf("called were %v, want ben for the question and ana for the end", calls)
	}
}

func TestADeletedCard(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), bothOf)
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	h.slack.remove(h.card(t, inC1, r))
	h.look(t)
	if cards := h.slack.inPlace(inC1); len(cards) != 0 {
		t.Fatal("a card that says the same was written")
	}
	// There is something new to say, and people must decide still.
	h.decide(t, "approve "+r.ID)
	h.look(t)
	cards := h.slack.inPlace(inC1)
	if len(cards) != 1 || !slices.Contains(labels(cards[0].m), "Approve") {
		t.Fatalf("%d cards stand, want the question anew", len(cards))
	}
	// The second is deleted as well, and then it is over.
	k, _, err := h.loadCard(t.Context(), cardID(inC1, r.ID))
	if err != nil {
		t.Fatal(err)
	}
	h.slack.remove(k.slots[slotCard].Sent)
	h.decide(t, "deny "+r.ID)
	h.look(t)
	if cards := h.slack.inPlace(inC1); len(cards) != 0 {
		t.Errorf("what nobody must decide on was made anew: %+v", cards)
	}
	if n, err := h.rdb.Exists(t.Context(), keyCards("shop/pr-7")).Result(); err != nil || n != 0 {
		t.Errorf("it is not forgotten: %d, %v", n, err)
	}
	h.look(t)
	direct := h.slack.inPlace(bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: inC1.Workspace, User: "U1"})
	if len(direct) != 1 || !strings.Contains(direct[0].m.Title, "was denied") {
		t.Errorf("who asked is told the end by %+v", direct)
	}
}

// TestACardDeletedWhileItsRequestRuns has the end told to who asked, once: its
// card, of which Berth has learnt that it is gone before, cannot say it.
func TestACardDeletedWhileItsRequestRuns(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	release := h.world.Executor.Hold("web")
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	sent := h.card(t, inC1, r)
	h.decide(t, "approve "+r.ID)
	h.world.Await(r.ID, func(r *approvals.Request) bool { return r.State == approvals.StateRunning })
	h.slack.remove(sent)
	h.look(t)
	release()
	h.ended(t, r.ID)
	for range 3 {
		h.look(t)
	}
	direct := h.slack.inPlace(bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: inC1.Workspace, User: "U1"})
	if len(direct) != 1 || !strings.Contains(direct[0].m.Title, "is done") {
		t.Errorf("who asked is told the end by %+v", direct)
	}
	if n, err := h.rdb.Exists(t.Context(), keyCards("shop/pr-7")).Result(); err != nil || n != 0 {
		t.Errorf("the card is not forgotten: %d, %v", n, err)
	}
}

// TestAChannelThatBerthIsTakenOutOfWhileItsCardWaits has the end told to who
// asked all the same: nobody sees how the card stands any more.
func TestAChannelThatBerthIsTakenOutOfWhileItsCardWaits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		deleted bool // with its channel
		fails   string
		code    actions.Code
	}{
		"it may not write there any more": {fails: "edit", code: actions.CodeForbidden},
		"the channel is gone":             {deleted: true, fails: "post", code: actions.CodeNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHall(t)
			h.world.Govern(team(), bothOf)
			r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
			sent := h.card(t, inC1, r)
			if c.deleted {
				h.slack.remove(sent)
			}
			closed := true
			h.slack.fail = func(method string) error {
				if method == c.fails && closed {
					closed = false
					return actions.Errorf("board", c.code, "That channel is closed to Berth.")
				}
				return nil
			}
			h.decide(t, "approve "+r.ID)
			h.look(t)
			direct := bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: inC1.Workspace, User: "U1"}
			if closed || len(h.slack.inPlace(direct)) != 0 {
				t.Fatal("it was not written, or told what has not ended")
			}
			h.decide(t, "deny "+r.ID)
			for range 3 {
				h.look(t)
			}
			if told := h.slack.inPlace(direct); len(told) != 1 || !strings.Contains(told[0].m.Title, "was denied") {
				t.Errorf("who asked is told the end by %+v", told)
			}
			if n, err := h.rdb.Exists(t.Context(), keyCards("shop/pr-7")).Result(); err != nil || n != 0 {
				t.Errorf("the card is not forgotten: %d, %v", n, err)
			}
		})
	}
}

// TestACardThatAnotherMovesMeanwhile is not tried again where it may not stand,
// and by that given up.
func TestACardThatAnotherMovesMeanwhile(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	k := &card{id: cardID(inC1, r.ID), env: r.Order.Env, request: r.ID, asked: inC1, place: inC1, slots: map[string]written{}, told: map[string]string{}}
	if err := h.openCard(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	other := *k
	direct := bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: inC1.Workspace, User: "U1"}
	if err := h.moveCard(t.Context(), &other, direct); err != nil {
		t.Fatal(err)
	}
	if _, err := h.put(t.Context(), k, draft{slot: slotCard, at: inC1, message: bot.ChatMessage{Title: "x"}}); !errors.Is(err, errBusy) || k.place != direct || len(h.slack.messages) != 0 {
		t.Errorf("%v at %+v, %d messages", err, k.place, len(h.slack.messages))
	}
	if sent := h.card(t, inC1, r); sent.Place.User != "U1" {
		t.Errorf("it stands at %+v", sent.Place)
	}
}

func TestAChannelThatBerthMayNotWriteIn(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	closed := true
	forbid := func(method string) error {
		if method == "post" && closed {
			closed = false
			return actions.Errorf("board", actions.CodeForbidden, "Berth is not in this channel.")
		}
		return nil
	}
	h.slack.fail = forbid
	sent := h.card(t, inC1, r)
	if sent.Place.User != "U1" || sent.Place.Workspace != "T1" || len(h.slack.inPlace(inC1)) != 0 {
		t.Errorf("the card stands at %+v", sent.Place)
	}
	if again := h.card(t, inC1, r); again.ID != sent.ID {
		t.Errorf("asked for again it is %s, was %s", again.ID, sent.ID)
	}
	h.decide(t, "deny "+r.ID+` --reason "no"`)
	h.look(t)
	if m := h.slack.messages[0].m; !strings.HasSuffix(m.Title, "was denied") {
		t.Errorf("the card says %q", m.Title)
	}
	if calls := h.slack.called(); !slices.Equal(calls, []string{"slack:U1"}) {
		t.Errorf("called were %v, want ana for the end", calls)
	}
	// It could not call ben, so that another card does.
	other := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	closed = true
	h.card(t, inC1, other)
	h.card(t, inD1, other)
	if calls := h.discord.called(); !slices.Equal(calls, []string{"discord:2"}) {
		t.Errorf("called in Discord were %v, want ben", calls)
	}
	// Where nobody asked, nobody gets it instead.
	closed = true
	if _, err := h.showRequest(t.Context(), bot.ChatPlace{Platform: bot.PlatformSlack, Channel: "C9"}, r, ""); actions.CodeOf(err) != actions.CodeForbidden {
		t.Errorf("in a channel that a route names: %v", err)
	}
	// Who asked has no account there.
	closed = true
	h.discord.fail = forbid
	other = h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	if _, err := h.showRequest(t.Context(), inD1, other, ""); actions.CodeOf(err) != actions.CodeForbidden {
		t.Errorf("with nobody to send it to: %v", err)
	}
}
