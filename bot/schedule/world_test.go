package schedule

import (
	"context"
	"errors"
	"fmt"
	"os"
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
)

func TestMain(m *testing.M) {
	redis.SetLogger(mute{}) // it logs each connection that a test cuts
	os.Exit(redistest.Main(m))
}

// mute is a logger of the Redis client that logs nothing.
type mute struct{}

func (mute) Printf(context.Context, string, ...any) {}

// clockwork is a clock that goes on when somebody waits for it.
type clockwork struct {
	mu     sync.Mutex
	now    time.Time
	stopAt time.Time // when it stops whoever waits; zero for never
	off    context.CancelFunc
}

func (c *clockwork) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clockwork) Wait(_ context.Context, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until.After(c.now) {
		c.now = until
	}
	if !c.stopAt.IsZero() && c.now.After(c.stopAt) {
		c.off()
	}
}

func (c *clockwork) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// asked is a request that a scheduler made.
type asked struct {
	r  approvals.Request
	at time.Time
}

// world is what schedulers of a test work on: environments and requests kept in
// memory as the real ones keep them in Redis, whose rule about keys it has.
// Leases, fences and progress are in a real Redis.
type world struct {
	*actions.Store
	*clockwork
	rdb  redis.UniversalClient
	apps []*actions.App

	mu       sync.Mutex
	envs     map[actions.Name]*actions.Environment
	requests []asked
	ids      map[string]int // by key, then by id: the place among requests
	open     bool           // requests stay pending instead of ending at once
	notices  []bot.Notice
	heard    map[string]bool
	reads    int // of environments
	every    time.Duration
	onNotice func() // called with each notice, before it is told
}

func newTestWorld(tb testing.TB, now time.Time) *world {
	tb.Helper()
	w := &world{
		rdb: redistest.Client(tb), clockwork: &clockwork{now: now}, envs: map[actions.Name]*actions.Environment{}, ids: map[string]int{}, heard: map[string]bool{}, every: 5 * time.Minute,
		apps: []*actions.App{{Name: "blog"}, {Name: "shop", TTL: 72 * time.Hour}},
	}
	w.Store = actions.NewStore(w.rdb, actions.StoreOptions{})
	return w
}

// scheduler is one replica. through is what it reaches Redis by; nil for w's own.
func (w *world) scheduler(tb testing.TB, through redis.UniversalClient, list ...Schedule) *Scheduler {
	tb.Helper()
	if through == nil {
		through = w.rdb
	}
	s, err := New(Options{
		Store: w, Requests: w, Catalog: w, Redis: through, Notifier: w, Schedules: list, PerSecond: 1000, Every: w.every,
		Now: w.Now, Wait: w.Wait, Replica: "test",
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// add puts running environments there, made long ago.
func (w *world) add(names ...string) {
	for _, text := range names {
		name, err := actions.ParseName(text)
		if err != nil {
			panic(err)
		}
		w.edit(name, func(env *actions.Environment) {
			env.State, env.CreatedAt = actions.StateRunning, w.Now().Add(-100*24*time.Hour)
			env.UsedAt = env.CreatedAt
		})
	}
}

func (w *world) edit(name actions.Name, edit func(*actions.Environment)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	env := &actions.Environment{Name: name}
	if old := w.envs[name]; old != nil {
		*env = *old
	}
	edit(env)
	w.envs[name] = env
}

func (w *world) App(name string) (*actions.App, error) {
	for _, app := range w.apps {
		if app.Name == name {
			return app, nil
		}
	}
	return nil, actions.Errorf("app", actions.CodeNotFound, "no")
}

func (w *world) Apps() []*actions.App { return w.apps }

func (w *world) sorted() []*actions.Environment {
	all := make([]*actions.Environment, 0, len(w.envs))
	for _, env := range w.envs {
		if env.State != actions.StateCleaned {
			all = append(all, env)
		}
	}
	slices.SortFunc(all, func(a, b *actions.Environment) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	return all
}

func (w *world) Environment(_ context.Context, name actions.Name) (*actions.Environment, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if env := w.envs[name]; env != nil {
		return env, nil
	}
	return nil, actions.Errorf("environment", actions.CodeNotFound, "no")
}

func (w *world) Environments(_ context.Context, f actions.EnvFilter) (items []*actions.Environment, next string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.App == "broken" {
		return nil, "", actions.Errorf("environments", actions.CodeInternal, "The record cannot be read.")
	}
	for _, env := range w.sorted() {
		switch {
		case f.App != "" && env.Name.App != f.App || env.Name.String() <= f.Cursor:
		case len(items) == f.Limit:
			return items, items[f.Limit-1].Name.String(), nil
		default:
			w.reads++
			items = append(items, env)
		}
	}
	return items, "", nil
}

func (w *world) Expiring(_ context.Context, from, until time.Time, limit int) ([]*actions.Environment, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var due []*actions.Environment
	for _, env := range w.sorted() {
		if !env.ExpiresAt.IsZero() && env.ExpiresAt.After(from) && !env.ExpiresAt.After(until) {
			due = append(due, env)
		}
	}
	slices.SortStableFunc(due, func(a, b *actions.Environment) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
	w.reads += min(len(due), limit)
	return due[:min(len(due), limit)], nil
}

func (w *world) Submit(_ context.Context, r approvals.Request) (*approvals.Request, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i, known := w.ids[r.Key]; known {
		return &w.requests[i].r, false, nil
	}
	r.ID = fmt.Sprintf("r%06d", len(w.requests))
	r.State = approvals.StateSucceeded
	if w.open {
		r.State = approvals.StatePending
	}
	w.ids[r.Key], w.ids[r.ID] = len(w.requests), len(w.requests)
	w.requests = append(w.requests, asked{r, w.Now()})
	return &r, true, nil
}

func (w *world) Standing(_ context.Context, env actions.Name) (all []*approvals.Request, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.requests {
		if a.r.Order.Env == env && !a.r.State.Ended() {
			all = append(all, &a.r)
		}
	}
	return all, nil
}

func (w *world) Get(_ context.Context, id string) (*approvals.Request, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i, known := w.ids[id]; known {
		r := w.requests[i].r
		return &r, nil
	}
	return nil, actions.Errorf("get", actions.CodeNotFound, "no")
}

func (w *world) Cancel(_ context.Context, id string, by approvals.Requester, reason string) (*approvals.Request, error) {
	return w.end(id, approvals.StateCancelled, "", by.Actor+": "+reason), nil
}

// end ends a request.
func (w *world) end(id string, state approvals.State, code actions.Code, reason string) *approvals.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &w.requests[w.ids[id]].r
	r.State, r.Code, r.Reason = state, code, reason
	return r
}

func (w *world) Notify(_ context.Context, n bot.Notice) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.onNotice != nil {
		w.onNotice()
	}
	if !w.heard[n.Key] {
		w.heard[n.Key] = true
		w.notices = append(w.notices, n)
	}
	return nil
}

// said are the notices of an event: "TIME TITLE".
func (w *world) said(event string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, n := range w.notices {
		if n.Event == event {
			all = append(all, n.At.Format("02 15:04")+" "+n.Title)
		}
	}
	return all
}

// made are the requests: "TIME COMMAND".
func (w *world) made() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, a := range w.requests {
		all = append(all, a.at.Format("02 15:04")+" "+a.r.Command)
	}
	return all
}

// lead makes a scheduler the leader, whoever believed to be it before.
func (w *world) lead(tb testing.TB) int64 {
	tb.Helper()
	w.rdb.Del(tb.Context(), w.Key(leaseName, "lease"))
	lease, err := w.Acquire(tb.Context(), leaseName, "test", time.Minute)
	if err != nil {
		tb.Fatal(err)
	}
	return lease.Token
}

// until lets a scheduler go on by its own clock until t.
func (w *world) until(tb testing.TB, s *Scheduler, token int64, t time.Time) {
	tb.Helper()
	for !w.Now().After(t) {
		next, err := s.turn(tb.Context(), token)
		if err != nil {
			tb.Fatal(err)
		}
		if next.After(t) {
			break
		}
		w.Wait(tb.Context(), next)
	}
	w.set(t)
}

// rest lets a scheduler do all that is due at the moment.
func (w *world) rest(tb testing.TB, s *Scheduler, token int64) {
	tb.Helper()
	s.followed = time.Time{}
	for {
		now := w.Now()
		next, err := s.turn(tb.Context(), token)
		if err != nil {
			tb.Fatal(err)
		}
		if next.After(now) {
			return
		}
	}
}

func wantLines(tb testing.TB, what string, got []string, want ...string) {
	tb.Helper()
	if !slices.Equal(got, want) {
		tb.Errorf("%s:\n  %s\nwant:\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// where is a condition written in Go.
type where func(env *actions.Environment, now time.Time) (bool, error)

func (f where) Match(env *actions.Environment, _ *actions.App, now time.Time) (bool, error) {
	return f(env, now)
}

// idle is true of what was not used for so long.
func idle(d time.Duration) Where {
	return where(func(env *actions.Environment, now time.Time) (bool, error) { return now.Sub(env.UsedAt) > d, nil })
}

var errKilled = errors.New("killed")

// mortal lets a client fail after so many commands, as a killed process does.
type mortal struct {
	mu   sync.Mutex
	left int // negative: it lives
}

func (m *mortal) spend(n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left < 0 {
		return nil
	}
	if m.left -= n; m.left < 0 {
		m.left = 0
		return errKilled
	}
	return nil
}

func (m *mortal) DialHook(next redis.DialHook) redis.DialHook { return next }

func (m *mortal) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := m.spend(1); err != nil {
			return err
		}
		err := next(ctx, cmd)
		if m.spend(1) != nil { // killed before the answer came
			return errKilled
		}
		return err
	}
}

func (m *mortal) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := m.spend(1); err != nil {
			return err
		}
		return next(ctx, cmds)
	}
}
