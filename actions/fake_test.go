package actions_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

// world is what the executors of a test work on: it keeps what they made, as a
// cluster would.
type world struct {
	mu     sync.Mutex
	made   map[string]string // "shop/pr-42/web" → the commit that runs there, or "archived"
	steps  []actions.Step    // in the order in which they began
	events []string          // "+web deploy" when a step begins, "-web deploy" when it ends
	before map[string]func(ctx context.Context, step actions.Step, sink func(actions.Event)) error
	health map[string]actions.Observation
	verbs  map[string][]actions.Verb
	inputs map[string]map[string]string
	// answers are the plans of parts that do not get the usual one.
	answers map[string]actions.PartPlan
	// registry adds inputs that are looked up anew for each plan, as an image's
	// digest is; nil adds none.
	registry func(s actions.Step) map[string]string
	binary   string
	panics   bool // instead of planning and observing
	plans    int
}

func newWorld() *world {
	return &world{
		made: map[string]string{}, before: map[string]func(context.Context, actions.Step, func(actions.Event)) error{},
		health: map[string]actions.Observation{}, verbs: map[string][]actions.Verb{}, inputs: map[string]map[string]string{}, binary: "b1",
		answers: map[string]actions.PartPlan{},
	}
}

func (w *world) Executor(_ context.Context, use string) (actions.Executor, error) {
	if use == "nowhere" {
		return nil, actions.Errorf("host", actions.CodeInvalid, "There is no executor nowhere; configure it under plugins.")
	}
	return &fake{w, use}, nil
}

type fake struct {
	w   *world
	use string
}

func (f *fake) Describe(context.Context) (actions.Description, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	verbs := f.w.verbs[f.use]
	if verbs == nil {
		verbs = []actions.Verb{actions.VerbDeploy, actions.VerbArchive, actions.VerbRestore, actions.VerbCleanup, actions.VerbRestart}
	}
	return actions.Description{Name: f.use, Verbs: verbs, Binary: f.w.binary}, nil
}

func (f *fake) Plan(_ context.Context, s actions.Step) (actions.PartPlan, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.plans++
	if f.w.panics {
		panic("boom")
	}
	if p, ok := f.w.answers[s.Part]; ok {
		return p, nil
	}
	p := actions.PartPlan{Summary: "make " + s.Part, Inputs: maps.Clone(f.w.inputs[s.Part]), Destructive: s.Verb == actions.VerbCleanup}
	if f.w.registry != nil {
		if p.Inputs == nil {
			p.Inputs = map[string]string{}
		}
		maps.Copy(p.Inputs, f.w.registry(s))
	}
	if !s.Brief {
		p.Diff = fmt.Sprintf("+%v", s.With)
	}
	return p, nil
}

func (f *fake) Run(ctx context.Context, s actions.Step, sink func(actions.Event)) (actions.Outputs, error) {
	key := s.Env.String() + "/" + s.Part
	f.w.mu.Lock()
	f.w.steps = append(f.w.steps, s)
	f.w.events = append(f.w.events, "+"+s.Part)
	before := f.w.before[s.Part]
	f.w.mu.Unlock()
	defer func() {
		f.w.mu.Lock()
		f.w.events = append(f.w.events, "-"+s.Part)
		f.w.mu.Unlock()
	}()
	if before != nil {
		if err := before(ctx, s, sink); err != nil {
			return nil, err
		}
	}
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	switch s.Verb {
	case actions.VerbCleanup:
		delete(f.w.made, key)
		return nil, nil
	case actions.VerbArchive:
		f.w.made[key] = "archived"
		return nil, nil
	}
	f.w.made[key] = s.Commit.SHA
	return actions.Outputs{"endpoint": s.Part + ".example.org"}, nil
}

func (f *fake) Observe(_ context.Context, s actions.Step) (actions.Observation, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if f.w.panics {
		panic("boom")
	}
	if o, ok := f.w.health[s.Part]; ok {
		return o, nil
	}
	if made := f.w.made[s.Env.String()+"/"+s.Part]; made == "" || made == "archived" {
		return actions.Observation{Health: actions.Absent}, nil
	}
	return actions.Observation{Health: actions.Healthy, Links: []actions.Link{{Name: s.Part, URL: "https://" + s.Part + ".example.org/"}}}, nil
}

// with runs fn on the world.
func (w *world) with(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

func (w *world) log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.events, " ")
}

// catalog is a list of apps.
type catalog []*actions.App

func (c catalog) Apps() []*actions.App { return c }
func (c catalog) App(name string) (*actions.App, error) {
	var known []string
	for _, a := range c {
		if a.Name == name {
			return a, nil
		}
		known = append(known, a.Name)
	}
	return nil, actions.Errorf("catalog", actions.CodeNotFound, "There is no app %q; there are %s.", name, strings.Join(known, ", "))
}

// repos are repositories in memory: refs and folders.
type repos struct {
	mu   sync.Mutex
	refs map[string]string // ref → SHA
	dirs map[string]string // SHA → folder
	held int
	down bool
	fork bool // every commit is a fork's
}

func (r *repos) Resolve(_ context.Context, repo, ref string) (actions.Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return actions.Commit{}, &actions.Error{Op: "resolve", Code: actions.CodeUnavailable, Msg: "GitHub did not answer.", Retry: true}
	}
	sha, ok := r.refs[ref]
	if !ok {
		return actions.Commit{}, actions.Errorf("resolve", actions.CodeNotFound, "There is no %q in %s.", ref, repo)
	}
	return actions.Commit{SHA: sha, Message: "commit " + sha[:3], Fork: r.fork}, nil
}

func (r *repos) Fetch(_ context.Context, repo, sha string) (string, func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	dir, ok := r.dirs[sha]
	if !ok {
		return "", nil, actions.Errorf("fetch", actions.CodeNotFound, "There is no commit %s in %s.", sha, repo)
	}
	r.held++
	return dir, func() { r.mu.Lock(); r.held--; r.mu.Unlock() }, nil
}

const (
	shaA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	shaB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// harness is a Berth of one environment without its surfaces.
type harness struct {
	tb    testing.TB
	ctx   context.Context
	rdb   redis.UniversalClient
	store *actions.Store
	run   *actions.Runner
	world *world
	app   *actions.App
	repos *repos
	mu    sync.Mutex
	time  time.Time
}

func (h *harness) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.time
}

func (h *harness) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.time = h.time.Add(d)
}

func shop() *actions.App {
	return &actions.App{
		Name: "shop", Repo: "acme/shop", TTL: 72 * time.Hour, Cluster: actions.Cluster{Name: "staging", Context: "c"},
		Vars: map[string]string{"LEVEL": "debug"}, AllowSet: []string{"image.tag", "replicaCount"},
		Parts: []actions.Part{
			{Name: "db", Use: "aws", With: map[string]any{"size": 3, "on": true}},
			{Name: "web", Use: "helm", Needs: []string{"db"}, With: map[string]any{"host": "{{ .Outputs.db.endpoint }}", "tag": "{{ .ShortSHA }}"}},
			{Name: "url", Use: "dns", Needs: []string{"web"}, With: map[string]any{"name": "{{ .Name }}.shop"}},
		},
	}
}

func newHarness(tb testing.TB) *harness { return harnessOn(tb, redistest.Client(tb)) }

func harnessOn(tb testing.TB, rdb redis.UniversalClient) *harness {
	h := &harness{
		tb: tb, ctx: tb.Context(), rdb: rdb, world: newWorld(), app: shop(), time: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
		repos: &repos{refs: map[string]string{"": shaA, "main": shaA, "next": shaB, "refs/pull/42/head": shaA, shaB: shaB}, dirs: map[string]string{}},
	}
	h.store = actions.NewStore(rdb, actions.StoreOptions{Now: h.now})
	h.run = h.runner()
	return h
}

func (h *harness) runner() *actions.Runner {
	return actions.NewRunner(actions.RunnerOptions{
		Store: h.store, Catalog: catalog{h.app}, Executors: h.world, Sources: h.repos, Now: h.now,
		Pause: time.Millisecond, LongestPause: 2 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	})
}

// plan plans, and turns the plan into a released request.
func (h *harness) plan(o actions.Order) (actions.RunRequest, *actions.Plan) {
	h.tb.Helper()
	if o.Env.IsZero() {
		o.Env = shop42
	}
	if o.By == "" {
		o.By = "ana"
	}
	p, err := h.run.Plan(h.ctx, o, false)
	if err != nil {
		h.tb.Fatalf("Plan %s: %v", o.Verb, err)
	}
	id := strings.ToLower(ulid.Make().String())
	return actions.RunRequest{ID: id, RequestID: "req-" + id, Order: p.Order, Digest: p.Digest, Basis: p.Basis}, p
}

func (h *harness) lease() *actions.Lease {
	h.tb.Helper()
	l, err := h.store.Acquire(h.ctx, shop42, "tester", time.Minute)
	if err != nil {
		h.tb.Fatal(err)
	}
	return l
}

// perform plans and runs an order to its end.
func (h *harness) perform(o actions.Order) *actions.Run {
	h.tb.Helper()
	req, _ := h.plan(o)
	return h.performReq(h.ctx, req)
}

func (h *harness) performReq(ctx context.Context, req actions.RunRequest) *actions.Run {
	h.tb.Helper()
	l := h.lease()
	run, err := h.run.Run(ctx, l, req)
	if err != nil {
		h.tb.Fatalf("Run %s: %v", req.Order.Verb, err)
	}
	if err := l.Release(h.ctx); err != nil {
		h.tb.Fatal(err)
	}
	return run
}

func (h *harness) env() *actions.Environment {
	h.tb.Helper()
	e, err := h.store.Environment(h.ctx, shop42)
	if err != nil {
		h.tb.Fatal(err)
	}
	return e
}

// texts are the events of a run, each as "kind part state text".
func (h *harness) texts(runID string) []string {
	h.tb.Helper()
	events, err := h.store.Events(h.ctx, runID, "", 0, 0)
	if err != nil {
		h.tb.Fatal(err)
	}
	var out []string
	for _, e := range events {
		out = append(out, strings.Join(slices.DeleteFunc([]string{string(e.Kind), e.Part, e.State, e.Text}, func(s string) bool { return s == "" }), " "))
	}
	return out
}
