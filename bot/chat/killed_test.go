package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/bot"
)

// errDead is what everything answers a process that was killed.
var errDead = errors.New("this process is dead")

// doomed is a process that is killed after so many things that it did to Redis
// and to the platform, each of which it may have done without hearing of it.
type doomed struct {
	mu    sync.Mutex
	steps int
	left  int
}

// step is one more thing done. It is false when the process is killed before it,
// and last when right after it.
func (m *doomed) step() (alive, last bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps++
	m.left--
	return m.left >= 0, m.left == 0
}

// DialHook, ProcessHook and ProcessPipelineHook make m a hook of Redis.
func (m *doomed) DialHook(next redis.DialHook) redis.DialHook { return next }

func (m *doomed) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		alive, last := m.step()
		if !alive {
			cmd.SetErr(errDead)
			return errDead
		}
		err := next(ctx, cmd)
		if last {
			cmd.SetErr(errDead)
			return errDead
		}
		return err
	}
}

func (m *doomed) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		alive, last := m.step()
		if alive {
			err := next(ctx, cmds)
			if !last {
				return err
			}
		}
		for _, cmd := range cmds {
			cmd.SetErr(errDead)
		}
		return errDead
	}
}

// doomedBoard is a platform as a process that can be killed has it.
type doomedBoard struct {
	*board
	m *doomed
}

func (b doomedBoard) Post(ctx context.Context, at bot.ChatPlace, key string, m bot.ChatMessage) (bot.ChatSent, error) {
	alive, last := b.m.step()
	if !alive {
		return bot.ChatSent{}, errDead
	}
	sent, err := b.board.Post(ctx, at, key, m)
	if last {
		return bot.ChatSent{}, errDead
	}
	return sent, err
}

func (b doomedBoard) Edit(ctx context.Context, sent bot.ChatSent, m bot.ChatMessage) error {
	if alive, _ := b.m.step(); !alive {
		return errDead
	}
	return b.board.Edit(ctx, sent, m)
}

// TestAProcessThatIsKilledAnywhereLeavesNothingUndoneAndNothingTwice kills one
// process after each thing that it does for a card, has another go on, and looks
// at what stands in chat.
func TestAProcessThatIsKilledAnywhereLeavesNothingUndoneAndNothingTwice(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	for _, late := range []bool{false, true} {
		n := 1
		for killedAfter(t, h, &doomed{left: n}, late) {
			n++
		}
		if n < 20 {
			t.Errorf("it did %d things only", n)
		}
	}
}

// killedAfter is one round, and tells whether the process did as much as that
// before it was done. The other one goes on while people must decide still, or
// late, when somebody said no.
func killedAfter(t *testing.T, h *hall, m *doomed, late bool) (killed bool) {
	t.Helper()
	n := m.left
	ctx := context.Background()
	for _, key := range h.rdb.Keys(ctx, keyPrefix+"*").Val() {
		h.rdb.Del(ctx, key)
	}
	for _, b := range []*board{h.slack, h.discord} {
		b.mu.Lock()
		b.messages, b.calls = nil, nil
		b.mu.Unlock()
	}
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	client := redis.NewClient(h.rdb.(*redis.Client).Options())
	defer client.Close()
	dying := h.another(t, "dying")
	client.AddHook(m)
	dying.rdb, dying.budget.rdb = client, client
	dying.platforms = map[string]Platform{bot.PlatformSlack: doomedBoard{h.slack, m}, bot.PlatformDiscord: doomedBoard{h.discord, m}}
	_, _ = dying.showRequest(ctx, inC1, r, "") // it may be dead
	_, _ = dying.show(ctx, pr7)
	// Another goes on, once the dead one's leases are over.
	goOn := func() {
		for _, key := range h.rdb.Keys(ctx, keyPrefix+"writing:*").Val() {
			h.rdb.Del(ctx, key)
		}
		if _, err := h.showRequest(ctx, inC1, r, ""); err != nil {
			t.Fatalf("killed after %d: %v", n, err)
		}
		h.look(t)
	}
	if !late {
		goOn()
		if calls := h.slack.called(); !slices.Equal(calls, []string{"slack:U2"}) {
			t.Errorf("killed after %d, called for the question were %v", n, calls)
		}
	}
	h.decide(t, fmt.Sprintf("deny %s --reason %q", r.ID, "no"))
	h.ended(t, r.ID)
	_, _ = dying.show(ctx, pr7)
	killed = m.steps >= n

	goOn()
	goOn()
	cards := h.slack.inPlace(inC1)
	if len(cards) != 1 || !strings.HasSuffix(cards[0].m.Title, "was denied") {
		t.Fatalf("killed after %d: the cards are %+v", n, cards)
	}
	calls := h.slack.called()
	ana, ben := 0, 0
	for _, c := range calls {
		switch c {
		case "slack:U1":
			ana++
		case "slack:U2":
			ben++
		}
	}
	// Who died before the question stood has called nobody: it is over then.
	if ana != 1 || ben > 1 || len(calls) != ana+ben {
		t.Errorf("killed after %d: called were %v", n, calls)
	}
	if open, err := h.rdb.SMembers(ctx, keyWatched).Result(); err != nil || len(open) != 0 && !slices.Contains(open, pr7.String()) {
		t.Errorf("killed after %d: watched is %v, %v", n, open, err)
	}
	if k, _, err := h.loadCard(ctx, cardID(inC1, r.ID)); err != nil || !k.final {
		t.Errorf("killed after %d: the card is not final: %v", n, err)
	}
	return killed
}
