package notify

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

// watching starts a notifier that watches w, and waits until it does.
func watching(t *testing.T, w *bottest.World, b *board, routes []Route) (stop func()) {
	t.Helper()
	n := New(Options{Redis: w.Redis, Routes: routes, Outlets: map[string]Outlet{"board": b}, Changes: w.Store, Requests: w.Requests})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
		ended <- context.Canceled
	}
	t.Cleanup(stop)
	await(t, func() bool { return w.Redis.Exists(ctx, cursorKey).Val() == 1 })
	return stop
}

// await looks until it is so.
func await(t *testing.T, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("it never is so")
		}
	}
}

func next(t *testing.T, b *board) bot.Notice {
	t.Helper()
	select {
	case p := <-b.came:
		return p.notice
	case <-time.After(patience):
		t.Fatal("nothing was told")
		return bot.Notice{}
	}
}

func TestWhatHappensIsToldToRoutesThatWantIt(t *testing.T) {
	w, b := bottest.New(t, redistest.Client(t)), newBoard()
	w.Work()
	watching(t, w, b, ops)
	deployed := w.Do("deploy shop/pr-1")
	if n := next(t, b); n.Event != bot.EventDeployed || n.Env.String() != "shop/pr-1" || !strings.Contains(n.Title, bot.Short(deployed.Order.Commit.SHA)) || n.Key != "environment.deployed:"+deployed.ID {
		t.Errorf("told %+v", n)
	}
	w.Do("cleanup shop/pr-1")
	if n := next(t, b); n.Event != bot.EventCleaned {
		t.Errorf("told %+v", n)
	}
	w.Executor.Fail("web", errors.New("no room for @everyone"))
	failed := w.Do("deploy shop/pr-2")
	if n := next(t, b); n.Event != bot.EventFailed || n.Severity != bot.SeverityError || n.Commands[0].Command != "logs "+failed.RunID || strings.Contains(n.Text, "@everyone") {
		t.Errorf("told %+v", n)
	}
}

func TestWhatWaitsAndBrokenGlassAreTold(t *testing.T) {
	w, b := bottest.New(t, redistest.Client(t)), newBoard()
	w.WorkBy(bottest.Approval{})
	watching(t, w, b, []Route{{Events: []string{"request.*"}, To: ops[0].To}})
	reply := w.Say("deploy shop/pr-1")
	n := next(t, b)
	if n.Event != bot.EventWaiting || n.Commands[0].Command != "approve "+reply.Request.ID || !strings.Contains(n.Text, "One person must agree.") {
		t.Errorf("told %+v", n)
	}
}

func TestARestartTellsNothingOldAndAFailoverMissesNothing(t *testing.T) {
	w, b := bottest.New(t, redistest.Client(t)), newBoard()
	w.Work()
	w.Do("deploy shop/pr-1") // before anybody watched
	stop := watching(t, w, b, ops)
	w.Do("deploy shop/pr-2")
	if n := next(t, b); n.Env.Env != "pr-2" {
		t.Fatalf("told %+v", n)
	}
	stop()
	w.Do("deploy shop/pr-3") // while nobody watches
	stop = watching(t, w, b, ops)
	if n := next(t, b); n.Env.Env != "pr-3" {
		t.Errorf("told %+v", n)
	}
	stop()
	other := []Route{{Events: []string{bot.EventDeployed}, To: []Target{{"board", "new"}}}}
	watching(t, w, b, other)
	w.Do("deploy shop/pr-4")
	if n := next(t, b); n.Env.Env != "pr-4" || len(b.came) != 0 {
		t.Errorf("a new route is told %+v first", n)
	}
}

func TestLostHintsAreMadeUpFor(t *testing.T) {
	w, b := bottest.New(t, redistest.Client(t)), newBoard()
	w.Work()
	stop := watching(t, w, b, ops)
	stop()
	w.Do("deploy shop/pr-1")
	head, err := w.Store.ChangesHead(t.Context())
	must(t, err)
	must(t, w.Redis.Set(t.Context(), cursorKey, head, 0).Err()) // as if the hint had never been
	watching(t, w, b, ops)
	if n := next(t, b); n.Env.Env != "pr-1" {
		t.Errorf("told %+v", n)
	}
}

func TestTwoReplicasWatchAndOneTells(t *testing.T) {
	w, b := bottest.New(t, redistest.Client(t)), newBoard()
	w.Work()
	stop := watching(t, w, b, ops)
	watching(t, w, b, ops)
	w.Do("deploy shop/pr-1")
	next(t, b)
	stop()
	w.Do("deploy shop/pr-2")
	if n := next(t, b); n.Env.Env != "pr-2" || len(b.came) != 0 {
		t.Errorf("told %+v and %d more", n, len(b.came))
	}
}

func TestWhatThereIsToTellOfARequest(t *testing.T) {
	env := actions.Name{App: "shop", Env: "pr-1"}
	order := actions.Order{Env: env, Verb: actions.VerbDeploy, Commit: actions.Commit{SHA: strings.Repeat("ab", 20)}}
	with := func(verb actions.Verb) actions.Order { o := order; o.Verb = verb; return o }
	at := time.Date(2026, 11, 18, 10, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		request approvals.Request
		want    []string
	}{
		"one that is planned":            {request: approvals.Request{State: approvals.StatePlanning, Order: order}},
		"one that waits for people":      {request: approvals.Request{State: approvals.StatePending, Order: order}, want: []string{bot.EventWaiting}},
		"one that broke the glass":       {request: approvals.Request{State: approvals.StateRunning, Order: order, Glass: &approvals.Glass{At: at}}, want: []string{bot.EventGlass}},
		"one that broke it and failed":   {request: approvals.Request{State: approvals.StateFailed, Order: order, Glass: &approvals.Glass{At: at}}, want: []string{bot.EventGlass, bot.EventFailed}},
		"a deploy":                       {request: approvals.Request{State: approvals.StateSucceeded, Order: order}, want: []string{bot.EventDeployed}},
		"a restore":                      {request: approvals.Request{State: approvals.StateSucceeded, Order: with(actions.VerbRestore)}, want: []string{bot.EventDeployed}},
		"a rollback":                     {request: approvals.Request{State: approvals.StateSucceeded, Order: with(actions.VerbRollback)}, want: []string{bot.EventDeployed}},
		"an archive":                     {request: approvals.Request{State: approvals.StateSucceeded, Order: with(actions.VerbArchive)}, want: []string{bot.EventArchived}},
		"a cleanup":                      {request: approvals.Request{State: approvals.StateSucceeded, Order: with(actions.VerbCleanup)}, want: []string{bot.EventCleaned}},
		"a restart is nobody's business": {request: approvals.Request{State: approvals.StateSucceeded, Order: with(actions.VerbRestart)}},
		"a simulated deploy":             {request: approvals.Request{State: approvals.StateSucceeded, Order: order, DryRun: true}},
		"one that was refused":           {request: approvals.Request{State: approvals.StateRefused, Order: order}},
		"one that was withdrawn":         {request: approvals.Request{State: approvals.StateCancelled, Order: order}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.request.ID, test.request.UpdatedAt = "01jd3m6tq8c5x0v9b7n2k4h1wz", at
			test.request.Reason, test.request.Requester.Actor = "<!-- --> @everyone **x**", "a\nb @all"
			var got []string
			for _, n := range noticesOf(&test.request) {
				got = append(got, n.Event)
				if !n.At.Equal(at) || n.Key == "" || !strings.HasPrefix(n.Title, "shop/pr-1") || strings.Contains(n.Text, "@everyone") || strings.Contains(n.Text, "@all") || strings.Contains(n.Text, "<!--") && !strings.Contains(n.Text, `\<!--`) {
					t.Errorf("notice %+v", n)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("events %q, want %q", got, test.want)
			}
		})
	}
}

func TestWithoutARouteThatWantsItNothingIsRead(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	n := New(Options{Redis: w.Redis, Routes: []Route{{Events: []string{"reconcile.*"}, To: ops[0].To}}, Outlets: map[string]Outlet{"board": newBoard()}, Changes: w.Store, Requests: nil})
	if wait, err := (&watcher{Notifier: n}).look(t.Context()); err != nil || wait == 0 {
		t.Errorf("waits %v, %v", wait, err)
	}
	if w.Redis.Exists(t.Context(), cursorKey).Val() != 0 {
		t.Error("it follows what happens")
	}
}
