package schedule_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
	"github.com/berth-dev/berth/bot/schedule"
)

// ahead is a clock that somebody puts forward, and what was told by it.
type ahead struct {
	mu      sync.Mutex
	by      time.Duration
	notices map[string]bot.Notice
	looked  chan struct{} // filled when a scheduler has done all that is due
}

func (a *ahead) now() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Now().Add(a.by)
}

func (a *ahead) Notify(_ context.Context, n bot.Notice) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.notices[n.Key] = n
	return nil
}

func (a *ahead) told() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.notices)
}

// wait lets the scheduler look again as soon as somebody asks for it.
func (a *ahead) wait(ctx context.Context, _ time.Time) {
	select {
	case a.looked <- struct{}{}:
	case <-ctx.Done():
	}
}

// put puts the clock forward and returns when all that is due then is done.
func (a *ahead) put(by time.Duration) {
	a.mu.Lock()
	a.by = by
	a.mu.Unlock()
	for range 3 { // what was under way, what is due, and what became of that
		<-a.looked
	}
}

// TestLifetimesOfRealEnvironments runs the real store, requests, runner and
// worker under a scheduler whose clock is put forward.
func TestLifetimesOfRealEnvironments(t *testing.T) {
	tests := map[string]struct {
		say  string // after the second warning
		want actions.State
	}{
		"warned, then taken": {want: actions.StateCleaned},
		"extended":           {say: "extend shop/pr-1 --ttl 24h", want: actions.StateRunning},
		"kept":               {say: "extend shop/pr-1 --keep", want: actions.StateRunning},
		"locked":             {say: "lock shop/pr-1 --reason demo", want: actions.StateRunning},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := bottest.New(t, redistest.Client(t))
			w.Work()
			w.Do("deploy shop/pr-1")
			a := &ahead{notices: map[string]bot.Notice{}, looked: make(chan struct{})}
			s, err := schedule.New(schedule.Options{
				Store: w.Store, Requests: w.Requests, Catalog: w.Catalog, Redis: w.Redis, Notifier: a, Now: a.now, Wait: a.wait, Replica: "test",
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			defer func() {
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}()
			a.put(47 * time.Hour)
			if n := a.told(); n != 0 {
				t.Fatalf("%d notices two days before", n)
			}
			a.put(48*time.Hour + 10*time.Minute)
			if n := a.told(); n != 1 {
				t.Fatalf("%d notices a day before", n)
			}
			a.put(71*time.Hour + 5*time.Minute)
			if n := a.told(); n != 2 {
				t.Fatalf("%d notices an hour before", n)
			}
			if test.say != "" {
				if reply := w.Say(test.say); reply.Request != nil {
					w.Await(reply.Request.ID, func(r *approvals.Request) bool { return r.State.Ended() })
				}
			}
			a.put(72*time.Hour + 10*time.Minute)
			list, _, err := w.Requests.List(t.Context(), approvals.Filter{Env: actions.Name{App: "shop", Env: "pr-1"}})
			if err != nil {
				t.Fatal(err)
			}
			cleanups := 0
			for _, r := range list {
				if r.Order.Verb == actions.VerbCleanup {
					cleanups++
					r = w.Await(r.ID, func(r *approvals.Request) bool { return r.State.Ended() })
					if r.State != approvals.StateSucceeded || r.Place.Surface != "schedule" || r.Requester.Identity != "schedule:expiry" {
						t.Errorf("the cleanup is %+v", r)
					}
				}
			}
			env, err := w.Store.Environment(t.Context(), actions.Name{App: "shop", Env: "pr-1"})
			if err != nil || env.State != test.want || (cleanups == 1) != (test.want == actions.StateCleaned) {
				t.Errorf("after %d cleanups it is %+v, %v", cleanups, env, err)
			}
		})
	}
}
