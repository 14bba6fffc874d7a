// Package bottest runs Berth's core for tests of what stands on it: the real
// store, requests, runner and worker on a Redis that the test brings, with
// executors that keep their parts in memory and a repository of fixed commits.
package bottest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/approvals/people"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/command"
)

// patience bounds each thing that a test waits for.
const patience = 2 * time.Minute

// World is a whole core.
type World struct {
	Redis    redis.UniversalClient
	Store    *actions.Store
	Requests *approvals.Requests
	Runner   *actions.Runner
	Service  *bot.Service
	People   *people.People
	Catalog  Catalog
	Executor *Executor
	Commits  *Commits
	Access   bot.Access // what the core tells of who can do what

	tb testing.TB
}

// New makes a world of these apps; without any, of Shop's. No worker runs yet.
func New(tb testing.TB, rdb redis.UniversalClient, apps ...*actions.App) *World {
	tb.Helper()
	if len(apps) == 0 {
		apps = []*actions.App{Shop()}
	}
	slices.SortFunc(apps, func(a, b *actions.App) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	w := &World{tb: tb, Redis: rdb, Catalog: Catalog(apps), Executor: newExecutor(), Commits: newCommits(tb), Access: bot.Access{People: []bot.AccessPerson{}}}
	w.Store = actions.NewStore(rdb, actions.StoreOptions{})
	w.Requests = approvals.NewRequests(rdb, w.Store, approvals.Options{})
	w.Runner = actions.NewRunner(actions.RunnerOptions{
		Store: w.Store, Catalog: w.Catalog, Executors: w.Executor, Sources: w.Commits, MaxTries: 1, Pause: time.Millisecond,
	})
	w.People = people.New(people.Options{Redis: rdb, Store: w.Store})
	w.Service = bot.New(bot.Options{
		Catalog: w.Catalog, Store: w.Store, Requests: w.Requests, Observer: w.Runner, Planner: w.Runner, People: w.People, Parse: command.Parse,
		Access: func(context.Context) (*bot.Access, error) { return &w.Access, nil },
	})
	return w
}

// Shop is an app of two parts, the second of which needs the first.
func Shop() *actions.App {
	return &actions.App{
		Name: "shop", Repo: "acme/shop", TTL: 72 * time.Hour, AllowSet: []string{"image.tag", "replicaCount"},
		Parts: []actions.Part{{Name: "db", Use: "memory"}, {Name: "web", Use: "memory", Needs: []string{"db"}}},
	}
}

// Work starts a worker that lets everything run. It ends with the test.
func (w *World) Work() { w.WorkBy(approvals.ReleaseAtOnce{}) }

// WorkBy starts a worker that asks a policy. It ends with the test.
func (w *World) WorkBy(policy approvals.Policy) {
	w.Requests.SetPolicy(policy)
	worker := approvals.NewWorker(approvals.WorkerOptions{
		Requests: w.Requests, Store: w.Store, Floor: w.Runner, Lease: 5 * time.Second, Grace: -1,
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	w.tb.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			w.tb.Errorf("the worker ended: %v", err)
		}
	})
}

// Approval is the policy that one person must agree.
type Approval struct{}

// Evaluate releases what somebody has approved.
func (Approval) Evaluate(_ context.Context, r *approvals.Request) (approvals.Outcome, error) {
	for _, d := range r.Decisions {
		if d.Verdict == approvals.Approve {
			return approvals.Outcome{Effect: approvals.EffectRelease}, nil
		}
	}
	return approvals.Outcome{Effect: approvals.EffectApprove, Reason: "One person must agree."}, nil
}

// Ana is somebody who may do everything.
func Ana() bot.Actor {
	return bot.Actor{Name: "ana", Identity: "token:ana", Roles: []string{"deployer"}}
}

// Say runs a line as ana in a terminal.
func (w *World) Say(line string) bot.Reply {
	w.tb.Helper()
	return w.SayIn(bot.Input{Line: line, Actor: Ana(), Place: approvals.Place{Surface: "cli"}})
}

// SayIn runs an input, which must be answered.
func (w *World) SayIn(in bot.Input) bot.Reply {
	w.tb.Helper()
	reply, err := w.Service.Execute(context.Background(), in)
	if err != nil {
		w.tb.Fatalf("%q: %v", in.Line, err)
	}
	return reply
}

// Do runs a line that must be accepted and waits for its request to end.
func (w *World) Do(line string) *approvals.Request {
	w.tb.Helper()
	reply := w.Say(line)
	if reply.Tone != bot.ToneAccepted {
		w.tb.Fatalf("%q was not accepted: %s", line, reply.Text)
	}
	return w.Await(reply.Request.ID, func(r *approvals.Request) bool { return r.State.Ended() })
}

// Await waits until a request is as wanted.
func (w *World) Await(id string, is func(*approvals.Request) bool) *approvals.Request {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	after, err := w.Store.ChangesHead(ctx)
	if err != nil {
		w.tb.Fatal(err)
	}
	for {
		r, err := w.Requests.Get(ctx, id)
		if err != nil {
			w.tb.Fatalf("request %s did not become what was waited for: %v", id, err)
		}
		if is(r) {
			return r
		}
		changes, err := w.Store.Changes(ctx, after, time.Second)
		if err != nil {
			w.tb.Fatalf("request %s is %s (%s) and did not become what was waited for: %v", id, r.State, r.Reason, err)
		}
		if len(changes) > 0 {
			after = changes[len(changes)-1].ID
		}
	}
}

// Catalog is a fixed catalog, sorted by name.
type Catalog []*actions.App

// App finds an app.
func (c Catalog) App(name string) (*actions.App, error) {
	for _, app := range c {
		if app.Name == name {
			return app, nil
		}
	}
	return nil, actions.Errorf("catalog.app", actions.CodeNotFound, "There is no app %q.", name)
}

// Apps are all of them.
func (c Catalog) Apps() []*actions.App { return c }

// The commits of every repository of a world.
const (
	MainSHA  = "1111111111111111111111111111111111111111" // of the default branch, "main"
	PullSHA  = "4242424242424242424242424242424242424242" // of every pull request's head
	OtherSHA = "0123456789abcdef0123456789abcdef01234567"
)

// Commits is a repository that has three commits whatever its name.
type Commits struct{ dir string }

func newCommits(tb testing.TB) *Commits { return &Commits{dir: tb.TempDir()} }

// Resolve finds a commit.
func (c *Commits) Resolve(_ context.Context, repo, ref string) (actions.Commit, error) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	switch {
	case ref == "" || ref == "main" || ref == MainSHA:
		return actions.Commit{SHA: MainSHA, Message: "Begin", Author: "ben", Time: at}, nil
	case len(ref) > 10 && ref[:10] == "refs/pull/" || ref == PullSHA:
		return actions.Commit{SHA: PullSHA, Message: "Add a <b>coupon</b> @everyone", Author: "ana", Time: at}, nil
	case ref == "other" || ref == OtherSHA || ref == OtherSHA[:7]:
		return actions.Commit{SHA: OtherSHA, Message: "Try something else", Author: "ana", Time: at}, nil
	default:
		return actions.Commit{}, actions.Errorf("commits.resolve", actions.CodeNotFound, "There is no %q in %s.", ref, repo)
	}
}

// Fetch gives an empty folder.
func (c *Commits) Fetch(context.Context, string, string) (string, func(), error) {
	return c.dir, func() {}, nil
}
