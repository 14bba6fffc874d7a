package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

// world is a Reconciler on the real store and real requests, which nobody runs
// unless the test does. The clock is the test's.
type world struct {
	*Reconciler
	t        *testing.T
	rdb      redis.UniversalClient
	store    *actions.Store
	requests *approvals.Requests
	runner   *actions.Runner
	catalog  catalog
	things   *things
	pulls    *pulls
	told     *told
	eyes     *eyes

	mu    sync.Mutex
	clock time.Time
}

func newWorld(t *testing.T, change func(*Options)) *world {
	t.Helper()
	w := &world{t: t, rdb: redistest.Client(t), things: &things{made: map[string][]actions.Owned{}}, told: &told{}, clock: time.Now().UTC().Truncate(time.Second)}
	staging, eu := actions.Cluster{Name: "staging"}, actions.Cluster{Name: "eu"}
	w.catalog = catalog{{
		Name: "shop", Repo: "acme/shop", Cluster: staging, Clusters: []actions.Cluster{staging, eu},
		Parts: []actions.Part{{Name: "web", Use: "things"}},
	}}
	now := func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.clock
	}
	w.store = actions.NewStore(w.rdb, actions.StoreOptions{Now: now})
	w.requests = approvals.NewRequests(w.rdb, w.store, approvals.Options{Now: now})
	w.runner = actions.NewRunner(actions.RunnerOptions{Store: w.store, Catalog: w.catalog, Executors: w.things, Sources: sources{}, Now: now, MaxTries: 1})
	w.pulls = &pulls{w: w, closed: map[int]time.Time{}, fails: map[int]error{}}
	w.eyes = &eyes{see: map[actions.Name]map[string]actions.Observation{}}
	o := Options{
		Store: w.store, Requests: w.requests, Catalog: w.catalog, Executors: w.things, Runner: w.eyes, Pulls: w.pulls, Notifier: w.told,
		Redis: w.rdb, Now: now, InventoryWithin: 2 * time.Minute,
	}
	if change != nil {
		change(&o)
	}
	var err error
	w.Reconciler, err = New(o)
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func (w *world) sweep() Report {
	w.t.Helper()
	report, err := w.Sweep(w.t.Context())
	w.must(err)
	return report
}

// deploy makes an environment that runs.
func (w *world) deploy(name, cluster string) actions.Name {
	w.t.Helper()
	env, err := actions.ParseName("shop/" + name)
	w.must(err)
	order := actions.Order{Env: env, Verb: actions.VerbDeploy, PullRequest: env.PullRequest(), Cluster: cluster, By: "ana", Identity: "github:ana"}
	w.run(order)
	return env
}

func (w *world) run(order actions.Order) {
	w.t.Helper()
	plan, err := w.runner.Plan(w.t.Context(), order, true)
	w.must(err)
	lease, err := w.store.Acquire(w.t.Context(), order.Env, "test", time.Minute)
	w.must(err)
	id := strings.ToLower(ulid.Make().String())
	run, err := w.runner.Run(w.t.Context(), lease, actions.RunRequest{ID: id, RequestID: id, Order: plan.Order, Digest: plan.Digest})
	w.must(err)
	w.must(lease.Release(w.t.Context()))
	if run.State != actions.RunSucceeded {
		w.t.Fatalf("%s of %s: %s %s", order.Verb, order.Env, run.State, run.Error)
	}
}

// cleanups are the ids of the cleanups that were asked for, the newest first.
func (w *world) cleanups(env actions.Name) (ids []string) {
	w.t.Helper()
	all, _, err := w.requests.List(w.t.Context(), approvals.Filter{Env: env, Limit: 100})
	w.must(err)
	for _, r := range all {
		if r.Order.Verb == actions.VerbCleanup {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

func (w *world) cancel(id string) {
	w.t.Helper()
	_, err := w.requests.Cancel(w.t.Context(), id, approvals.Requester{Actor: "ana"}, "not now")
	w.must(err)
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

type sources struct{}

func (sources) Resolve(context.Context, string, string) (actions.Commit, error) {
	return actions.Commit{SHA: strings.Repeat("a", 40), Message: "A change"}, nil
}

func (sources) Fetch(context.Context, string, string) (string, func(), error) {
	return os.TempDir(), func() {}, nil
}

// things is an executor that keeps what it makes in clusters of its own.
type things struct {
	mu    sync.Mutex
	made  map[string][]actions.Owned // by cluster
	fails map[string]error           // inventories, by cluster
	hangs map[string]bool            // inventories that never answer
}

func (x *things) Executor(context.Context, string) (actions.Executor, error) { return x, nil }

func (x *things) Describe(context.Context) (actions.Description, error) {
	return actions.Description{Name: "things", Version: "1", Verbs: []actions.Verb{actions.VerbDeploy, actions.VerbCleanup}, Inventories: true}, nil
}

func (x *things) Plan(_ context.Context, step actions.Step) (actions.PartPlan, error) {
	return actions.PartPlan{Part: step.Part, Use: "things", Summary: "make it"}, nil
}

func (x *things) Run(_ context.Context, step actions.Step, _ func(actions.Event)) (actions.Outputs, error) {
	x.remove(step.Cluster.Name, step.Env)
	if step.Verb == actions.VerbDeploy {
		x.add(step.Cluster.Name, actions.Owned{Env: step.Env, Part: step.Part, Use: "things", Kind: "Thing", Name: "web", Namespace: step.Namespace})
	}
	return nil, nil
}

func (x *things) Observe(context.Context, actions.Step) (actions.Observation, error) {
	return actions.Observation{Health: actions.Healthy}, nil
}

func (x *things) Inventory(ctx context.Context, cluster actions.Cluster, installation string) ([]actions.Owned, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if installation == "" {
		return nil, fmt.Errorf("whose?")
	}
	if x.hangs[cluster.Name] {
		x.mu.Unlock()
		<-ctx.Done()
		x.mu.Lock()
		return nil, ctx.Err()
	}
	return slices.Clone(x.made[cluster.Name]), x.fails[cluster.Name]
}

func (x *things) add(cluster string, o actions.Owned) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.made[cluster] = append(x.made[cluster], o)
}

func (x *things) remove(cluster string, env actions.Name) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.made[cluster] = slices.DeleteFunc(x.made[cluster], func(o actions.Owned) bool { return o.Env == env })
}

func (x *things) fail(cluster string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fails = map[string]error{cluster: err}
}

// pulls is a platform for pull requests that remembers which are closed.
type pulls struct {
	w       *world
	mu      sync.Mutex
	closed  map[int]time.Time
	open    []int
	fails   map[int]error
	listErr error
	looks   int
}

func (p *pulls) Open(context.Context, string) ([]int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.open), p.listErr
}

func (p *pulls) Closed(_ context.Context, _ string, number int) (bool, time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks++
	at, closed := p.closed[number]
	return closed, at, p.fails[number]
}

func (p *pulls) CleanUp(ctx context.Context, env actions.Name, repo string, number int, closed time.Time, again string) (*approvals.Request, error) {
	r, _, err := p.w.requests.Submit(ctx, approvals.Request{
		Order: actions.Order{Env: env, Verb: actions.VerbCleanup, PullRequest: number, By: "berth"}, Command: "cleanup " + env.String(),
		Requester: approvals.Requester{Actor: "berth"}, Place: approvals.Place{Surface: "github", ID: fmt.Sprintf("%s#%d", repo, number)},
		Key: fmt.Sprintf("closed:%d:%d:%s", number, closed.Unix(), again),
	})
	return r, err
}

func (p *pulls) Replay(context.Context) (int, error) { return 0, nil }

func (p *pulls) close(number int, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed[number] = at
}

// told keeps what people were told, once by each key.
type told struct {
	mu      sync.Mutex
	notices []bot.Notice
	keys    map[string]bool
}

func (n *told) Notify(_ context.Context, notice bot.Notice) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.keys == nil {
		n.keys = map[string]bool{}
	}
	if notice.Key == "" {
		return fmt.Errorf("a notice without a key: %+v", notice)
	}
	if !n.keys[notice.Key] {
		n.keys[notice.Key] = true
		n.notices = append(n.notices, notice)
	}
	return nil
}

// of are the notices of an event.
func (n *told) of(event string) (found []bot.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, notice := range n.notices {
		if notice.Event == event {
			found = append(found, notice)
		}
	}
	return found
}

// eyes sees of environments what the test says, and nothing of others.
type eyes struct {
	mu      sync.Mutex
	see     map[actions.Name]map[string]actions.Observation
	looked  []actions.Name
	settled []actions.Name
	slow    map[actions.Name]bool
}

func (e *eyes) Observe(ctx context.Context, name actions.Name) (map[string]actions.Observation, error) {
	e.mu.Lock()
	e.looked = append(e.looked, name)
	seen, slow := e.see[name], e.slow[name]
	e.mu.Unlock()
	if slow {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	out := map[string]actions.Observation{"web": {Health: actions.Unknown}}
	for part, o := range seen {
		out[part] = o
	}
	return out, nil
}

func (e *eyes) Settle(_ context.Context, name actions.Name) (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settled = append(e.settled, name)
	return true, nil
}

func (e *eyes) set(name actions.Name, o actions.Observation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.see[name] = map[string]actions.Observation{"web": o}
}

func names(envs []actions.Name) []string {
	out := make([]string, len(envs))
	for i, e := range envs {
		out[i] = e.String()
	}
	slices.SortFunc(out, cmp.Compare[string])
	return out
}
