package chat

import (
	"context"
	"slices"
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
	sent, err := h.showRequest(tb.Context(), at, r, "")
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
