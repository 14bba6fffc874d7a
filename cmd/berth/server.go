package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/approvals/people"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/command"
	"github.com/berth-dev/berth/bot/github"
	"github.com/berth-dev/berth/configs"
	"github.com/berth-dev/berth/plugins/host"
)

// server is a whole Berth: a value that a test can start on port 0.
type server struct {
	cfg      *configs.Config
	apps     *catalog
	log      *slog.Logger
	dir      *dataDir
	redis    redis.UniversalClient
	clock    *actions.Clock
	store    *actions.Store
	requests *approvals.Requests
	people   *people.People
	host     *host.Host
	worker   *approvals.Worker
	github   *github.Surface // nil without the section
	chats    chats
	api      *api.API
	itself   itself
	config   *inForce
	replica  string
	metrics  *prometheus.Registry

	addr     atomic.Value // string: where it listens, once it does
	stopping atomic.Bool
	checkup  checkup
	checks   struct {
		sync.Mutex
		last []bot.Check // of what is looked at in the background
	}
	closers []func() // in the order in which they were opened
}

// newServer puts the parts together. It reaches out to nothing but its own
// Redis: what does not answer yet is tried again later.
func newServer(ctx context.Context, path string, cfg *configs.Config, apps *catalog, values secrets, log *slog.Logger) (_ *server, err error) {
	s := &server{cfg: cfg, config: newInForce(path, cfg), apps: apps, log: log, metrics: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = openDataDir(cfg.Server.DataDir); err != nil {
		return nil, usageError(err)
	}
	s.closers = append(s.closers, s.dir.close)
	if err := s.openRedis(ctx); err != nil {
		return nil, err
	}
	if err := s.openHost(); err != nil { //nolint:contextcheck // plugins are stopped in order after the context has ended
		return nil, err
	}
	if s.replica, err = replicaID(s.dir); err != nil {
		return nil, err
	}
	s.openRecords(ctx)
	sources, err := s.openGitHub(values)
	if err != nil {
		return nil, err
	}
	runner := actions.NewRunner(actions.RunnerOptions{
		Store: s.store, Catalog: apps, Executors: s.host, Sources: sources, RequestEnded: s.ended, Now: s.clock.Now, Log: log,
	})
	s.worker = approvals.NewWorker(approvals.WorkerOptions{
		Requests: s.requests, Store: s.store, Floor: runner, Replica: s.replica, Limits: s.limits, Room: apps.room, Log: log,
	})
	service := bot.New(bot.Options{
		Catalog: apps, Store: s.store, Requests: s.requests, Observer: runner, Planner: runner, Access: s.access, People: s.people, Parse: command.Parse, Now: s.clock.Now, Log: log,
	})
	if err := s.openChats(values, service); err != nil {
		return nil, err
	}
	if s.github != nil {
		s.github.Attach(service)
	}
	if s.api, err = api.New(api.Options{
		Service: service, Tokens: apiTokens(cfg), Pins: s.people, Now: s.clock.Now, Version: version, Log: log,
	}); err != nil {
		return nil, usageError(err)
	}
	if err := s.openItself(cfg, runner); err != nil {
		return nil, err
	}
	if err := s.obey(cfg, apps); err != nil {
		return nil, err
	}
	s.checkup.redis, s.checkup.host, s.checkup.apps, s.checkup.log = s.redis, s.host, apps, log
	return s, nil
}

// openRecords makes all that keeps records in Redis.
func (s *server) openRecords(ctx context.Context) {
	cfg, log := s.cfg, s.log
	metrics := approvals.NewMetrics()
	s.metrics.MustRegister(metrics, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.clock = actions.NewClock(s.redis, nil, log)
	s.setClock(ctx)
	s.store = actions.NewStore(s.redis, actions.StoreOptions{Now: s.clock.Now, KeepAudit: time.Duration(cfg.Retention.Audit), Keep: s.apps.keep, Log: log})
	s.requests = approvals.NewRequests(s.redis, s.store, approvals.Options{
		Metrics: metrics, Now: s.clock.Now, Keep: time.Duration(cfg.Retention.Requests), Log: log,
	})
	s.people = people.New(people.Options{
		Redis: s.redis, Store: s.store, Actors: actorsOf(cfg), Tokens: tokensOf(cfg), Now: s.clock.Now, Log: log,
	})
}

// openGitHub makes the surface, if the config has one. It is where repositories
// are read, too.
func (s *server) openGitHub(values secrets) (actions.Sources, error) {
	if s.cfg.GitHub == nil {
		return nil, nil
	}
	opts := githubOptions(s.cfg, values, s.apps, s.log)
	opts.Redis, opts.Store, opts.Requests, opts.People = s.redis, s.store, s.requests, s.people
	opts.Lines, opts.DataDir, opts.Replica = command.Lines, s.dir.path, s.replica
	surface, err := github.New(opts)
	if err != nil {
		return nil, usageError(err)
	}
	s.github, s.checkup.github = surface, surface
	return surface, nil
}

// ended tells whether the request of a run has ended, so that nobody goes on with
// the run.
func (s *server) ended(ctx context.Context, _ actions.Name, id string) (bool, error) {
	r, err := s.requests.Get(ctx, id)
	if actions.CodeOf(err) == actions.CodeNotFound {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return r.State.Ended(), nil
}

// setClock sets the clock by Redis before anything is written, if Redis is there.
func (s *server) setClock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if err := s.clock.Sync(ctx); err != nil {
		s.log.DebugContext(ctx, "the clock is the machine's until Redis answers", "error", err)
	}
}

func (s *server) openRedis(ctx context.Context) error {
	if s.cfg.Redis != nil {
		client, err := dialRedis(s.cfg.Redis)
		if err != nil {
			return usageError(err)
		}
		s.redis = client
		s.closers = append(s.closers, func() { _ = client.Close() })
		return nil
	}
	own, err := startOwnRedis(ctx, s.dir, s.log)
	if err != nil {
		return err
	}
	s.redis, s.checkup.volatile = own.client, own.volatile
	s.closers = append(s.closers, own.stop)
	return nil
}

func (s *server) openHost() error {
	h, err := newHost(s.cfg, s.log)
	if err != nil {
		return err
	}
	s.host = h
	s.closers = append(s.closers, func() { closeHost(h, s.log) })
	return nil
}

// newHost makes the host of the plugins. It starts none yet.
func newHost(c *configs.Config, log *slog.Logger) (*host.Host, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("own path: %w", err)
	}
	plugins := map[string]host.Plugin{}
	for name, p := range c.Plugins {
		plugins[name] = host.Plugin{Path: p.Path, Args: p.Args, Env: p.Env, Settings: p.Settings, SHA256: p.SHA256}
	}
	return host.New(host.Options{Plugins: plugins, BinDir: filepath.Dir(self), Log: log}), nil
}

// closeHost stops the plugins.
func closeHost(h *host.Host, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	if err := h.Close(ctx); err != nil {
		log.Warn("plugins did not stop in order", "error", err)
	}
}

// close undoes what newServer opened, last first.
func (s *server) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

// routes is every path that Berth answers.
func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/", s.api)
	if s.github != nil {
		mux.Handle("/webhooks/github", s.github.Webhook())
	}
	if s.chats.slack != nil {
		mux.Handle("/slack/", s.chats.slack.Handler())
	}
	if s.chats.discord != nil {
		mux.Handle("/discord/", s.chats.discord.Handler())
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{}))
	mux.Handle("/", api.Unknown(mux))
	return mux
}

// apiTokens copies the tokens out of the config.
func apiTokens(c *configs.Config) []api.Token {
	out := make([]api.Token, len(c.Tokens))
	for i, t := range c.Tokens {
		out[i] = api.Token{Actor: t.Actor, SHA256: t.SHA256, Roles: t.Roles}
	}
	return out
}

// apiIssuers copies the issuers out of the config.
func apiIssuers(c *configs.Config) []api.Issuer {
	out := make([]api.Issuer, len(c.OIDC))
	for i, o := range c.OIDC {
		out[i] = api.Issuer{URL: o.Issuer, Audience: o.Audience, Claim: o.Claim, Domains: o.Domains}
	}
	return out
}

// limits are how many runs may go on at once beside that of an order: in its
// cluster, and by each executor that its app uses.
func (s *server) limits(order actions.Order) []approvals.Limit {
	app, err := s.apps.App(order.Env.App)
	if err != nil {
		return nil
	}
	cfg := s.config.now()
	var out []approvals.Limit
	add := func(name string, most int) {
		if most > 0 && !slices.ContainsFunc(out, func(l approvals.Limit) bool { return l.Name == name }) {
			out = append(out, approvals.Limit{Name: name, Most: most})
		}
	}
	cluster := clusterOf(order, app)
	add("cluster "+cluster, cfg.Clusters[cluster].Limit)
	for _, part := range app.Parts {
		add("executor "+part.Use, cfg.Plugins[part.Use].Limit)
	}
	return out
}

// actorsOf copies the people out of the config.
func actorsOf(c *configs.Config) []people.Actor {
	out := make([]people.Actor, len(c.Actors))
	for i, a := range c.Actors {
		out[i] = people.Actor{Name: a.Name, Roles: a.Roles, Identities: a.Identities}
	}
	return out
}

// tokensOf says whose the tokens are.
func tokensOf(c *configs.Config) []people.Token {
	out := make([]people.Token, len(c.Tokens))
	for i, t := range c.Tokens {
		out[i] = people.Token{Actor: t.Actor, Roles: t.Roles}
	}
	return out
}

// replicaID is the stable name of the process that uses this data directory.
// It tells a restarted replica which leases were its own.
func replicaID(dir *dataDir) (string, error) {
	path := dir.join("replica")
	if b, err := os.ReadFile(path); err == nil && len(b) == ulid.EncodedSize { //nolint:gosec // a file of our own in the data directory
		return string(b), nil
	}
	id := ulid.Make().String()
	if err := os.WriteFile(path, []byte(id), 0o600); err != nil {
		return "", fmt.Errorf("server.data_dir: %w", err)
	}
	return id, nil
}
