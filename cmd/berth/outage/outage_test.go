// Package outage holds what becomes of environments while GitHub is not itself:
// the real surface and the real sweeps, on a clock of the test's.
package outage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/github"
	"github.com/berth-dev/berth/bot/github/githubtest"
	"github.com/berth-dev/berth/bot/reconcile"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

const repo = "acme/shop"

// world is Berth and a GitHub that can be broken.
type world struct {
	*githubtest.Server
	t        *testing.T
	store    *actions.Store
	requests *approvals.Requests
	sweeper  *reconcile.Reconciler
	things   *things

	mu    sync.Mutex
	clock time.Time
	told  map[string][]bot.Notice // by event, each key once
	keys  map[string]bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: time.Now(), told: map[string][]bot.Notice{}, keys: map[string]bool{}, things: &things{made: map[actions.Name]bool{}}}
	w.Server = githubtest.Run(t, githubtest.Options{})
	rdb := redistest.Client(t)
	app := &actions.App{Name: "shop", Repo: repo, Cluster: actions.Cluster{Name: "staging"}, Parts: []actions.Part{{Name: "web", Use: "things"}}}
	w.must(w.AddRepo(githubtest.Repo{Name: repo, Files: fstest.MapFS{"README.md": {Data: []byte("# Shop\n")}}}))
	w.must(w.AddUser(githubtest.User{Login: "ana", Roles: map[string]string{repo: "write"}}))
	w.must(w.AddUser(githubtest.User{Login: "berth-bot", Roles: map[string]string{repo: "admin"}}))
	w.must(w.AddToken(githubtest.Token{Value: "ghp_bot", User: "berth-bot", Scopes: []string{"repo"}}))
	w.store = actions.NewStore(rdb, actions.StoreOptions{Now: w.now})
	w.requests = approvals.NewRequests(rdb, w.store, approvals.Options{Now: w.now})
	surface, err := github.New(github.Options{
		WebhookSecret: []byte("s"), Token: "ghp_bot", APIURL: w.APIURL(), Redis: rdb, Store: w.store, Requests: w.requests, Catalog: catalog{app}, DataDir: t.TempDir(), Now: w.now,
	})
	w.must(err)
	runner := actions.NewRunner(actions.RunnerOptions{Store: w.store, Catalog: catalog{app}, Executors: w.things, Sources: surface, Now: w.now, MaxTries: 1})
	worker := approvals.NewWorker(approvals.WorkerOptions{Requests: w.requests, Store: w.store, Floor: runner, Grace: -1})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the worker ended: %v", err)
		}
	})
	w.sweeper, err = reconcile.New(reconcile.Options{
		Store: w.store, Requests: w.requests, Catalog: catalog{app}, Executors: w.things, Runner: runner, Pulls: surface, Notifier: w, Redis: rdb,
		Orphans: reconcile.OrphansCleanup, Now: w.now, Log: slog.New(slog.DiscardHandler),
	})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// Notify keeps what people are told.
func (w *world) Notify(_ context.Context, n bot.Notice) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.keys[n.Key] {
		w.keys[n.Key] = true
		w.told[n.Event] = append(w.told[n.Event], n)
	}
	return nil
}

// deploy opens a pull request and deploys it.
func (w *world) deploy(branch string) (number int) {
	w.t.Helper()
	number, err := w.OpenPullRequest(githubtest.PullRequest{Repo: repo, Head: branch, Title: branch, Author: "ana", Files: fstest.MapFS{branch: {Data: []byte("x")}}})
	w.must(err)
	name := actions.Name{App: "shop", Env: actions.PullRequestName(number)}
	_, _, err = w.requests.Submit(w.t.Context(), approvals.Request{
		Order: actions.Order{Env: name, Verb: actions.VerbDeploy, PullRequest: number, By: "ana"}, Command: "deploy " + name.String(),
		Requester: approvals.Requester{Actor: "ana", Identity: "github:ana"}, Place: approvals.Place{Surface: "cli"},
	})
	w.must(err)
	w.await(name, actions.StateRunning)
	return number
}

// await waits until an environment is in a state.
func (w *world) await(name actions.Name, want actions.State) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	after := "0"
	for {
		env, err := w.store.Environment(ctx, name)
		if err == nil && env.State == want {
			return
		}
		if err != nil && actions.CodeOf(err) != actions.CodeNotFound {
			w.t.Fatalf("%s is not %s: %v", name, want, err)
		}
		changes, err := w.store.Changes(ctx, after, time.Second)
		if err != nil {
			w.t.Fatalf("%s did not become %s: %v", name, want, err)
		}
		if len(changes) > 0 {
			after = changes[len(changes)-1].ID
		}
	}
}

func (w *world) sweep() reconcile.Report {
	w.t.Helper()
	report, err := w.sweeper.Sweep(w.t.Context())
	w.must(err)
	return report
}

// cleanups are the environments whose cleanup was asked for.
func (w *world) cleanups() (names []string) {
	w.t.Helper()
	all, _, err := w.requests.List(w.t.Context(), approvals.Filter{Limit: 200})
	w.must(err)
	for _, r := range all {
		if r.Order.Verb == actions.VerbCleanup {
			names = append(names, r.Order.Env.String())
		}
	}
	return names
}

// Two hours without GitHub: an hour in which every call fails, and one in which
// lists are empty and everything else is not found. A pull request is closed
// meanwhile, and its webhook is lost.
func TestATwoHourOutageOfGitHubTakesNothingAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	numbers := []int{w.deploy("one"), w.deploy("two"), w.deploy("three")}
	if report := w.sweep(); report.Environments != 3 || report.Closed != 0 {
		t.Fatalf("before: %+v", report)
	}
	w.Break(githubtest.OutageErrors)
	w.must(w.ClosePullRequest(repo, numbers[1], "ana"))
	w.must(w.pushMore(numbers[2]))
	for i := range 12 {
		if i == 6 {
			w.Break(githubtest.OutageEmpty)
		}
		w.later(10 * time.Minute)
		if report := w.sweep(); len(report.Asked) != 0 || report.Closed != 0 {
			t.Fatalf("after %d minutes: %+v", 10*(i+1), report)
		}
	}
	if asked := w.cleanups(); len(asked) != 0 {
		t.Fatalf("cleanups were asked for: %v", asked)
	}
	for _, n := range numbers {
		w.await(actions.Name{App: "shop", Env: actions.PullRequestName(n)}, actions.StateRunning)
	}
	if n := len(w.told[bot.EventUnreachable]); n != 1 {
		t.Errorf("people were told %d times that GitHub cannot be seen: %+v", n, w.told[bot.EventUnreachable])
	}
	w.Heal()
	w.later(10 * time.Minute)
	want := []string{fmt.Sprintf("shop/pr-%d", numbers[1])}
	if report := w.sweep(); !slices.Equal(report.Asked, want) {
		t.Fatalf("afterwards: %+v", report)
	}
	w.await(actions.Name{App: "shop", Env: actions.PullRequestName(numbers[1])}, actions.StateCleaned)
	w.later(10 * time.Minute)
	w.sweep()
	if asked := w.cleanups(); !slices.Equal(asked, want) {
		t.Errorf("cleanups were asked for: %v", asked)
	}
	for _, n := range []int{numbers[0], numbers[2]} {
		w.await(actions.Name{App: "shop", Env: actions.PullRequestName(n)}, actions.StateRunning)
	}
}

// pushMore leaves a pull request open, with something new in its branch.
func (w *world) pushMore(number int) error {
	_, err := w.PushToPullRequest(repo, number, githubtest.Commit{Message: "More", Author: "ana", Files: fstest.MapFS{"more": {Data: []byte("y")}}})
	return err
}

// things is an executor that keeps what it makes in memory.
type things struct {
	mu   sync.Mutex
	made map[actions.Name]bool
}

func (x *things) Executor(context.Context, string) (actions.Executor, error) { return x, nil }

func (x *things) Describe(context.Context) (actions.Description, error) {
	return actions.Description{Name: "things", Version: "1", Verbs: []actions.Verb{actions.VerbDeploy, actions.VerbCleanup}, Inventories: true}, nil
}

func (x *things) Plan(_ context.Context, step actions.Step) (actions.PartPlan, error) {
	return actions.PartPlan{Part: step.Part, Use: "things", Summary: "make it"}, nil
}

func (x *things) Run(_ context.Context, step actions.Step, _ func(actions.Event)) (actions.Outputs, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.made[step.Env] = step.Verb == actions.VerbDeploy
	return nil, nil
}

func (x *things) Observe(context.Context, actions.Step) (actions.Observation, error) {
	return actions.Observation{Health: actions.Healthy}, nil
}

func (x *things) Inventory(context.Context, actions.Cluster, string) (owned []actions.Owned, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for env, there := range x.made {
		if there {
			owned = append(owned, actions.Owned{Env: env, Part: "web", Use: "things", Kind: "Thing", Name: "web"})
		}
	}
	return owned, nil
}

type catalog []*actions.App

func (c catalog) App(name string) (*actions.App, error) {
	for _, a := range c {
		if a.Name == name {
			return a, nil
		}
	}
	return nil, actions.Errorf("catalog", actions.CodeNotFound, "There is no app %q.", name)
}

func (c catalog) Apps() []*actions.App { return c }
