package github

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/github/githubtest"
)

// world is Berth with everything real but its grammar and its executors: Redis,
// requests, workers, runs and a GitHub that minds its API description.
type world struct {
	*githubtest.Server
	t        *testing.T
	rdb      redis.UniversalClient
	catalog  catalog
	store    *actions.Store
	requests *approvals.Requests
	runner   *actions.Runner
	executor *executor
	replicas []*replica
	pull     int
	root     string
}

type replica struct {
	surface *Surface
	web     *httptest.Server
	stop    func()
}

const bothRepo = "acme/shop"

type worldOptions struct {
	GitHub   githubtest.Options
	Redis    *redistest.Server
	Replicas int                // 0 means 1
	NoWorker bool               // nothing runs requests
	App      func(*actions.App) // changes the app
	Surface  func(*Options)     // changes each surface
	Policy   approvals.Policy   // nil lets everything run
}

func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	w := &world{Server: githubtest.Run(t, o.GitHub), t: t, executor: &executor{}, root: t.TempDir()}
	if o.Redis != nil {
		w.rdb = o.Redis.Client(t)
	} else {
		w.rdb = redistest.Client(t)
	}
	app := &actions.App{Name: "shop", Repo: bothRepo, TTL: 72 * time.Hour, AllowSet: []string{"image.tag"}, Parts: []actions.Part{{Name: "web", Use: "fake"}}}
	if o.App != nil {
		o.App(app)
	}
	w.catalog = catalog{app}
	w.people()
	log := slog.New(slog.NewTextHandler(logWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	w.store = actions.NewStore(w.rdb, actions.StoreOptions{Log: log})
	w.requests = approvals.NewRequests(w.rdb, w.store, approvals.Options{Log: log, Policy: o.Policy})
	for range max(1, o.Replicas) {
		w.addReplica(o, log)
	}
	w.runner = actions.NewRunner(actions.RunnerOptions{
		Store: w.store, Catalog: w.catalog, Executors: w.executor, Sources: w.replicas[0].surface, Log: log, Pause: time.Millisecond, MaxTries: 2,
	})
	if !o.NoWorker {
		worker := approvals.NewWorker(approvals.WorkerOptions{Requests: w.requests, Store: w.store, Floor: w.runner, Log: log, Grace: -1})
		w.background(func(ctx context.Context) { _ = worker.Run(ctx) })
	}
	w.must(w.SetWebhook(githubtest.Webhook{URL: w.replicas[0].web.URL + "/webhooks/github", Secret: testSecret}))
	return w
}

// people fills the stand-in with a repository, a fork and those who work there.
func (w *world) people() {
	files := fstest.MapFS{"charts/Chart.yaml": {Data: []byte("name: shop\n")}, "README.md": {Data: []byte("# Shop\n")}}
	w.must(w.AddRepo(githubtest.Repo{Name: bothRepo, Files: files}))
	w.must(w.AddUser(githubtest.User{Login: "ana", Roles: map[string]string{bothRepo: "write"}}))
	w.must(w.AddUser(githubtest.User{Login: "rob", Roles: map[string]string{bothRepo: "read"}}))
	w.must(w.AddUser(githubtest.User{Login: "eve"}))
	w.must(w.AddUser(githubtest.User{Login: "renovate[bot]", Type: "Bot", Roles: map[string]string{bothRepo: "write"}}))
	w.must(w.AddUser(githubtest.User{Login: "berth-bot", Roles: map[string]string{bothRepo: "admin"}}))
	w.must(w.AddToken(githubtest.Token{Value: "ghp_bot", User: "berth-bot", Scopes: []string{"repo"}}))
	n, err := w.OpenPullRequest(githubtest.PullRequest{
		Repo: bothRepo, Head: "topic", Title: "Two replicas", Author: "ana",
		Files: fstest.MapFS{"charts/Chart.yaml": {Data: []byte("name: shop2\n")}},
	})
	w.must(err)
	w.pull = n
}

func (w *world) addReplica(o worldOptions, log *slog.Logger) *replica {
	n := len(w.replicas)
	options := Options{
		WebhookSecret: []byte(testSecret), Token: "ghp_bot", APIURL: w.APIURL(), PublicURL: "https://berth.example.org",
		Redis: w.rdb, Store: w.store, Requests: w.requests, Catalog: w.catalog, Lines: testLines, DataDir: w.root,
		Replica: fmt.Sprintf("replica-%d", n), Log: log.With("replica", n),
	}
	if o.Surface != nil {
		o.Surface(&options)
	}
	s, err := New(options)
	w.must(err)
	s.Attach(bot.New(bot.Options{
		Catalog: w.catalog, Store: w.store, Requests: w.requests, Parse: testParse, Log: log,
	}))
	mux := http.NewServeMux()
	mux.Handle("/webhooks/github", s.Webhook())
	r := &replica{surface: s, web: httptest.NewServer(mux)}
	r.stop = w.background(func(ctx context.Context) {
		if err := s.Run(ctx); err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
	w.t.Cleanup(r.web.Close)
	w.replicas = append(w.replicas, r)
	return r
}

// background runs f until the test ends or stop is called, which waits for it.
func (w *world) background(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	stop = func() { cancel(); <-done }
	w.t.Cleanup(stop)
	return stop
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// until waits for a state of GitHub's. On time-out it shows the thread.
func (w *world) until(what string, condition func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	if err := w.WaitFor(ctx, condition); err != nil {
		w.t.Fatalf("waiting until %s: %v\n%s", what, err, w.thread())
	}
}

func (w *world) thread() string {
	var b strings.Builder
	for _, c := range w.Thread(bothRepo, w.pull).Comments {
		fmt.Fprintf(&b, "--- %s (%d edits, %v)\n%s\n", c.Author.Login, c.Edits, c.Reactions, c.Body)
	}
	for _, d := range w.Deployments(bothRepo) {
		fmt.Fprintf(&b, "--- deployment %s %s %v\n", d.Environment, d.State(), d.Statuses)
	}
	return b.String()
}

// say comments on the pull request and returns the comment's id.
func (w *world) say(login, text string) int64 {
	w.t.Helper()
	id, err := w.Comment(bothRepo, w.pull, login, text)
	w.must(err)
	return id
}

// reactions are those of the bot on a comment.
func (w *world) reactions(id int64) []string {
	var found []string
	for _, c := range w.Thread(bothRepo, w.pull).Comments {
		if c.ID == id {
			for _, r := range c.Reactions {
				found = append(found, r.Content)
			}
		}
	}
	return found
}

// ours are the bot's comments that begin with prefix.
func (w *world) ours(prefix string) (found []githubtest.Comment) {
	for _, c := range w.Thread(bothRepo, w.pull).Comments {
		if c.Author.Login == "berth-bot" && strings.HasPrefix(c.Body, prefix) {
			found = append(found, c)
		}
	}
	return found
}

func (w *world) sticky() string {
	if all := w.ours("<!-- berth:env=shop/pr-"); len(all) == 1 {
		return all[0].Body
	}
	return ""
}

// settled waits until nothing is due to be shown and no delivery waits.
func (w *world) settled() {
	w.t.Helper()
	w.must(w.Flush(w.t.Context()))
	for deadline := time.Now().Add(2 * time.Minute); ; pause(w.t.Context(), 20*time.Millisecond) {
		due, err := w.rdb.Eval(w.t.Context(), `return redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[2])`, []string{keyPrefix + "due", keyPrefix + "held"}).Int()
		w.must(err)
		if due == 0 && w.rdb.XLen(w.t.Context(), keyIntake).Val() == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("not settled: %v due", w.rdb.ZRangeWithScores(w.t.Context(), keyPrefix+"due", 0, -1).Val())
		}
	}
}

func (w *world) allRequests() []*approvals.Request {
	w.t.Helper()
	all, _, err := w.requests.List(w.t.Context(), approvals.Filter{Limit: 200})
	w.must(err)
	return all
}

type logWriter struct{ t *testing.T }

func (l logWriter) Write(p []byte) (int, error) {
	if testing.Verbose() {
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
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

func (c catalog) Apps() []*actions.App {
	return slices.SortedFunc(slices.Values(c), func(a, b *actions.App) int { return cmp.Compare(a.Name, b.Name) })
}

// executor deploys nothing, and fails or waits when told to.
type executor struct {
	mu   sync.Mutex
	fail *actions.Error
	hold chan struct{} // when set, Run waits for it to be closed
	runs []string
}

func (x *executor) set(fail *actions.Error, hold chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fail, x.hold = fail, hold
}

func (x *executor) Executor(context.Context, string) (actions.Executor, error) { return x, nil }

func (x *executor) Describe(context.Context) (actions.Description, error) {
	return actions.Description{Name: "fake", Version: "1", Verbs: []actions.Verb{actions.VerbDeploy, actions.VerbArchive, actions.VerbRestore, actions.VerbCleanup}}, nil
}

func (x *executor) Plan(_ context.Context, step actions.Step) (actions.PartPlan, error) {
	return actions.PartPlan{Part: step.Part, Use: "fake", Summary: "install it", Diff: "+ a new thing", Inputs: map[string]string{"commit": step.Commit.SHA}}, nil
}

func (x *executor) Run(ctx context.Context, step actions.Step, sink func(actions.Event)) (actions.Outputs, error) {
	x.mu.Lock()
	fail, hold := x.fail, x.hold
	x.runs = append(x.runs, string(step.Verb)+" "+step.Commit.SHA)
	x.mu.Unlock()
	sink(actions.Event{Kind: actions.EventLog, Part: step.Part, Text: "applying, says @ana"})
	sink(actions.Event{Kind: actions.EventProgress, Part: step.Part, Text: "1 of 2 pods ready", Done: 1, Total: 2})
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, actions.Wrap("fake.run", actions.CodeCancelled, ctx.Err(), "It was stopped.")
		}
	}
	if fail != nil {
		return nil, fail
	}
	return actions.Outputs{"url": "https://pr.example.org"}, nil
}

func (x *executor) Observe(context.Context, actions.Step) (actions.Observation, error) {
	return actions.Observation{Health: actions.Healthy, Links: []actions.Link{{Name: "web", URL: "https://pr.shop.example.org"}}}, nil
}

// testLines takes each line that begins with a slash.
func testLines(text string) (found []string) {
	for line := range strings.Lines(text) {
		if command, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "/"); ok {
			found = append(found, command)
		}
	}
	return found
}

// testParse reads "VERB [APP[/NAME]|ID] [--ref R] [--set K=V] [--dry-run]".
func testParse(line string) (bot.Command, error) {
	words := strings.Fields(line)
	c := bot.Command{Verb: words[0]}
	if c.Verb == "help" {
		c.Help = "This is the help."
	}
	known := []string{"status", "help", "diff", "cancel", "logs", "approve", "deny", "explain"}
	for _, v := range actions.Verbs() {
		known = append(known, string(v))
	}
	if !slices.Contains(known, c.Verb) {
		return c, actions.Errorf("parse", actions.CodeInvalid, "There is no command %q.", c.Verb)
	}
	for words = words[1:]; len(words) > 0; words = words[1:] {
		switch {
		case words[0] == "--dry-run":
			c.DryRun = true
		case words[0] == "--ref" && len(words) > 1:
			c.Ref, words = words[1], words[1:]
		case words[0] == "--set" && len(words) > 1:
			key, value, _ := strings.Cut(words[1], "=")
			c.Set, words = map[string]string{key: value}, words[1:]
		case len(words[0]) == 26:
			c.ID = words[0]
		case c.Verb == "deny":
			c.Reason, words = strings.Join(words, " "), words[:1]
		default:
			c.App, c.Env, _ = strings.Cut(words[0], "/")
		}
	}
	return c, nil
}
