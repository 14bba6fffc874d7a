package notify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

// patience bounds each thing that a test waits for.
const patience = 2 * time.Minute

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 18, 10, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// post is what an outlet was told.
type post struct {
	channel string
	notice  bot.Notice
}

// board is an outlet that keeps what it is told, and fails when it is to.
type board struct {
	mu    sync.Mutex
	posts []post
	fails func(n bot.Notice) error
	came  chan post
}

func newBoard() *board { return &board{came: make(chan post, 10_000)} }

func (b *board) Tell(_ context.Context, channel string, n bot.Notice) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails != nil {
		if err := b.fails(n); err != nil {
			return err
		}
	}
	b.posts = append(b.posts, post{channel, n})
	b.came <- post{channel, n}
	return nil
}

func (b *board) fail(f func(n bot.Notice) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fails = f
}

// titles are what was told since it was last asked.
func (b *board) titles() (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.posts {
		all = append(all, p.notice.Title)
	}
	b.posts = nil
	return all
}

var errAway = errors.New("nobody answers")

// ops is a route of everything to a board.
var ops = []Route{{To: []Target{{Outlet: "board", Channel: "ops"}}}}

func newNotifier(t *testing.T, rdb redis.UniversalClient, clock *clock, b *board, routes []Route) *Notifier {
	t.Helper()
	return New(Options{Redis: rdb, Routes: routes, Now: clock.Now, Outlets: map[string]Outlet{"board": b}})
}

// drain does all that is due now.
func drain(t *testing.T, n *Notifier) {
	t.Helper()
	for range 10_000 {
		c, err := n.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c == nil {
			return
		}
		n.work(t.Context(), c)
	}
	t.Fatal("it never ends")
}

// over lets time pass second by second, and does what is due.
func over(t *testing.T, n *Notifier, c *clock, d, step time.Duration) {
	t.Helper()
	for end := c.Now().Add(d); c.Now().Before(end); c.add(step) {
		drain(t, n)
	}
	drain(t, n)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func stopped(i int) bot.Notice {
	return bot.Notice{Event: bot.EventStopped, Severity: bot.SeverityError, Key: fmt.Sprintf("stopped-%d", i), Title: fmt.Sprintf("sweep %d was stopped", i)}
}

func expiring(env string) bot.Notice {
	return bot.Notice{
		Event: bot.EventExpiring, Severity: bot.SeverityWarning, Env: actions.Name{App: "shop", Env: env}, Key: "expiring-" + env, Title: env + " expires",
		Commands: []bot.Suggestion{{Label: "Extend by 24 hours", Command: "extend shop/" + env + " --ttl 24h"}},
	}
}
