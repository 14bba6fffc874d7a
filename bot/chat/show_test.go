package chat

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

// board is a platform of which answers get lost, and messages.
type board struct {
	*platform
	lost    func(method string) error // fails a call after it was done
	deleted map[string]bool           // by message; guarded by platform.mu
	calls   []string                  // those whom new messages called; guarded by platform.mu
}

func newBoard(name string) *board {
	return &board{platform: newPlatform(name), deleted: map[string]bool{}}
}

func (b *board) Post(ctx context.Context, at bot.ChatPlace, key string, m bot.ChatMessage) (bot.ChatSent, error) {
	sent, err := b.platform.Post(ctx, at, key, m)
	if err == nil {
		b.mu.Lock()
		b.calls = append(b.calls, m.Call...)
		b.mu.Unlock()
	}
	if err == nil && b.lost != nil {
		if err := b.lost("post"); err != nil {
			return bot.ChatSent{}, err
		}
	}
	return sent, err
}

func (b *board) Edit(ctx context.Context, sent bot.ChatSent, m bot.ChatMessage) error {
	b.mu.Lock()
	gone := b.deleted[sent.ID]
	b.mu.Unlock()
	if gone {
		return actions.Errorf("board.edit", actions.CodeNotFound, "The message is gone.")
	}
	return b.platform.Edit(ctx, sent, m)
}

func (b *board) remove(sent bot.ChatSent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deleted[sent.ID] = true
}

// inPlace are the messages that stand in a place, the oldest first.
func (b *board) inPlace(at bot.ChatPlace) (found []said) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, m := range b.messages {
		if m.place == at && !b.deleted[b.sent(i).ID] {
			found = append(found, *m)
		}
	}
	return found
}

// called are those whom messages called when they were made.
func (b *board) called() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

var (
	inC1 = bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: "T1", Channel: "C1"}
	inD1 = bot.ChatPlace{Platform: bot.PlatformDiscord, Workspace: "81", Channel: "82"}
)

// hall is a replica with a Slack and a Discord.
type hall struct {
	*replica
	slack, discord *board
	rdb            redis.UniversalClient
}

func newHall(tb testing.TB) *hall {
	tb.Helper()
	h := &hall{rdb: redistest.Client(tb), slack: newBoard(bot.PlatformSlack), discord: newBoard(bot.PlatformDiscord)}
	h.replica = h.another(tb, "a")
	return h
}

// another is one more replica at the same Slack and Discord.
func (h *hall) another(tb testing.TB, name string) *replica {
	return newReplica(tb, h.rdb, name, h.slack.platform, func(o *Options) { o.Platforms = []Platform{h.slack, h.discord} })
}

// ask makes a request as ana in Slack's C1.
func (h *hall) ask(tb testing.TB, line string) *approvals.Request {
	tb.Helper()
	reply := h.world.SayIn(bot.Input{
		Line: line, Actor: bot.Actor{ID: "actor:ana", Name: "ana", Identity: "slack:U1", Roles: []string{"deployer"}},
		Place: approvals.Place{Surface: bot.PlatformSlack, ID: inC1.ID(), Message: "1.1"},
	})
	if reply.Request == nil {
		tb.Fatalf("%q: %s", line, reply.Text)
	}
	return reply.Request
}

// bothOf is a rule for which ben's word alone does not do.
var bothOf = bottest.Rule{Name: "two agree", Approve: &bottest.Approve{Needs: []bottest.Need{{Count: 2, From: []string{"role:sre", "role:deployer"}}}}}

// decide is ben's word, in a terminal.
func (h *hall) decide(tb testing.TB, line string) {
	tb.Helper()
	reply := h.world.SayIn(bot.Input{
		Line: line, Actor: bot.Actor{ID: "actor:ben", Name: "ben", Identity: "slack:U2", Roles: []string{"sre"}}, Place: approvals.Place{Surface: "cli"},
	})
	if reply.Tone == bot.ToneRefused {
		tb.Fatalf("%q: %s", line, reply.Text)
	}
}

func (h *hall) pending(tb testing.TB, id string) *approvals.Request {
	tb.Helper()
	return h.world.Await(id, func(r *approvals.Request) bool { return r.State == approvals.StatePending })
}

func (h *hall) ended(tb testing.TB, id string) *approvals.Request {
	tb.Helper()
	return h.world.Await(id, func(r *approvals.Request) bool { return r.State.Ended() })
}

// card has a request's card stand in a place.
func (h *hall) card(tb testing.TB, at bot.ChatPlace, r *approvals.Request) bot.ChatSent {
	tb.Helper()
	sent, err := h.showRequest(tb.Context(), at, r)
	if err != nil {
		tb.Fatal(err)
	}
	return sent
}

// look shows an environment, again while it has to wait for little.
func (h *hall) look(tb testing.TB) (again time.Duration) {
	tb.Helper()
	again, err := h.show(tb.Context(), pr7)
	if err != nil {
		tb.Fatal(err)
	}
	return again
}

func labels(m bot.ChatMessage) (all []string) {
	for _, b := range m.Buttons {
		all = append(all, b.Label)
	}
	return all
}

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

func TestEachPersonIsCalledOnceForAQuestion(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	for range 3 {
		h.card(t, inC1, r)
		h.card(t, inD1, r)
		h.look(t)
	}
	if calls := append(h.slack.called(), h.discord.called()...); !slices.Equal(calls, []string{"slack:U2"}) {
		t.Errorf("called were %v, want ben, once", calls)
	}
}

func TestNobodyIsCalledWhereTheyCannotRead(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	direct := inC1
	direct.Channel = "D1"
	h.card(t, direct, r)
	h.card(t, bot.ChatPlace{Platform: bot.PlatformSlack, User: "U1"}, r)
	h.look(t)
	if calls := h.slack.called(); len(calls) != 0 {
		t.Errorf("called in ana's direct messages were %v", calls)
	}
	h.card(t, inC1, r)
	if calls := h.slack.called(); !slices.Equal(calls, []string{"slack:U2"}) {
		t.Errorf("called in the channel were %v", calls)
	}
}

func TestWhoIsCalled(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.People.Reload(append(team(), bottest.Actor{Name: "eve", Roles: []string{"sre"}, Identities: []string{"slack:T2.U9", "github:eve"}}), nil)
	r := &approvals.Request{Requester: approvals.Requester{Identity: "slack:U1"}}
	said := &approvals.Request{Requester: r.Requester, Decisions: []approvals.Decision{{By: approvals.Requester{Identity: "discord:2"}}}}
	for what, tt := range map[string]struct {
		at     bot.ChatPlace
		r      *approvals.Request
		groups []string
		want   string
	}{
		"a role by the accounts that its people have there":    {inC1, r, []string{"role:sre"}, "slack:U2"},
		"a role on the other platform":                         {inD1, r, []string{"role:sre"}, "discord:2"},
		"one who has said something, wherever":                 {inC1, said, []string{"role:sre"}, ""},
		"an actor by name":                                     {inC1, r, []string{"actor:ben"}, "slack:U2"},
		"not who asked":                                        {inC1, r, []string{"actor:ana", "role:deployer"}, ""},
		"an account of that workspace, and those of the first": {bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: "T2", Channel: "C9"}, r, []string{"role:sre"}, "slack:U2 slack:T2.U9"},
		"groups of the platform itself":                        {inC1, r, []string{"slack-group:S1", "slack-group:T1.S2", "slack-group:T2.S3", "discord-role:81/1"}, "slack-group:S1 slack-group:T1.S2"},
		"roles of the guild itself":                            {inD1, r, []string{"slack-group:S1", "discord-role:81/1", "discord-role:7/1"}, "discord-role:81/1"},
		"nobody by what only GitHub knows":                     {inC1, r, []string{"github-team:acme/ops", "codeowners"}, ""},
	} {
		var names []string
		if err := h.callable(t.Context(), tt.at, tt.r, tt.groups, func(name, _ string) { names = append(names, name) }); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s: %q, want %q", what, got, tt.want)
		}
	}
}

func TestACardWhosePostWasNotHeardOfIsFoundAgain(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	h.slack.lost = func(string) error {
		return &actions.Error{Op: "board", Code: actions.CodeUnavailable, Msg: "It went away.", Retry: true}
	}
	if _, err := h.showRequest(t.Context(), inC1, r); actions.CodeOf(err) != actions.CodeUnavailable {
		t.Fatalf("a lost answer: %v", err)
	}
	h.slack.lost = nil
	// Another process goes on, which knows nothing but what is stored.
	b := h.another(t, "b")
	if _, err := b.show(t.Context(), pr7); err != nil {
		t.Fatal(err)
	}
	if sent, err := b.showRequest(t.Context(), inC1, r); err != nil || sent.ID != "m0" {
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
			sent, err := replicas[i/2%2].showRequest(context.Background(), at, r)
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
	if _, err := h.showRequest(t.Context(), bot.ChatPlace{Platform: bot.PlatformSlack, Channel: "C9"}, r); actions.CodeOf(err) != actions.CodeForbidden {
		t.Errorf("in a channel that a route names: %v", err)
	}
	// Who asked has no account there.
	closed = true
	h.discord.fail = forbid
	other = h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	if _, err := h.showRequest(t.Context(), inD1, other); actions.CodeOf(err) != actions.CodeForbidden {
		t.Errorf("with nobody to send it to: %v", err)
	}
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
	_, err := h.showRequest(t.Context(), inC1, r)
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
		if whole := m.m.Title + " " + m.m.Fields[0].Text; m.edits != edits || !strings.Contains(whole, words) {
			t.Errorf("after %d edits it says %q, want %q after %d", m.edits, whole, words, edits)
		}
	}
	r = h.pending(t, r.ID)
	h.look(t)
	edits := h.slack.messages[0].edits // none when it was planned before the card was made
	says(edits, "waits for approval")
	h.decide(t, "approve "+r.ID)
	h.look(t)
	says(edits+1, "1 of 2")

	k, known, err := h.loadCard(t.Context(), cardID(inC1, r.ID))
	if !known || err != nil {
		t.Fatal(known, err)
	}
	w := k.slots[slotCard]
	detail := draft{slot: slotCard, at: inC1, message: bot.ChatMessage{Title: "a detail"}, apart: time.Hour, stage: w.Stage}
	if again, err := h.put(t.Context(), k, detail); err != nil || again < 50*time.Minute || again > time.Hour {
		t.Errorf("a detail is to be written in %s: %v", again, err)
	}
	says(edits+1, "1 of 2")
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
