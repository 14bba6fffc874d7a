// Package reconcile compares, again and again, what Berth believes with what
// there is: pull requests as their platform has them, what executors see in
// clusters, and the records of environments. It makes up for lost webhooks, ends
// what hangs, shows drift and reports what nobody accounts for.
//
// It takes nothing away itself. What should go is asked for, as a request that
// passes policies like anyone's. And failing to see is never seeing nothing: an
// error keeps everything that it might concern.
package reconcile

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// What becomes of things that bear Berth's marks and that no environment
// accounts for.
const (
	OrphansReport  = "report"  // people are told, once
	OrphansCleanup = "cleanup" // and a cleanup is asked for
)

const (
	// DefaultEvery is how often a sweep is made.
	DefaultEvery = 10 * time.Minute
	// DefaultMaxDeletions is how many cleanups one sweep may ask for.
	DefaultMaxDeletions = 10
	// DefaultInventoryWithin is how long a cluster's inventory may take.
	DefaultInventoryWithin = 30 * time.Second
	// leaseTime is how long the leader's lease holds without being renewed.
	leaseTime = 30 * time.Second
	// stuckAfter is how long a record in a pending state is left alone before
	// somebody looks whether anything still works on it.
	stuckAfter = 2 * time.Minute
	// mendEvery is how often the hints by which environments are found are mended.
	mendEvery = time.Hour
	// askAgain is how long after the end of a cleanup that took nothing away it is
	// asked for anew.
	askAgain = 24 * time.Hour
)

// Store is what is known of environments. *actions.Store is one.
type Store interface {
	Environment(ctx context.Context, name actions.Name) (*actions.Environment, error)
	Environments(ctx context.Context, f actions.EnvFilter) ([]*actions.Environment, string, error)
	// Unreadable are the environments that lists leave out, by name, and why.
	Unreadable() map[string]error
	Acquire(ctx context.Context, env actions.Name, holder string, ttl time.Duration) (*actions.Lease, error)
	Key(env actions.Name, suffix string) string
	// Installation tells this Berth from others that use the same cluster.
	Installation(ctx context.Context) (string, error)
	// MendIndexes makes the hints by which environments are found agree with them.
	MendIndexes(ctx context.Context) error
	// Seen keeps what was seen of an environment's parts, where it changed.
	Seen(ctx context.Context, name actions.Name, seen map[string]actions.Observation) error
	// Adopt makes a record for things that have none, so that a cleanup can take
	// them away. It returns CodeConflict when there is an environment of that name.
	Adopt(ctx context.Context, name actions.Name, found []actions.Owned, rec actions.Record) (*actions.Environment, error)
}

// Requests are what is asked for. *approvals.Requests has them.
type Requests interface {
	Submit(ctx context.Context, r approvals.Request) (*approvals.Request, bool, error)
	List(ctx context.Context, f approvals.Filter) ([]*approvals.Request, string, error)
	Standing(ctx context.Context, env actions.Name) ([]*approvals.Request, error)
}

// Runner looks at environments, and ends what nobody works on any more.
// *actions.Runner does.
type Runner interface {
	Observe(ctx context.Context, name actions.Name) (map[string]actions.Observation, error)
	Settle(ctx context.Context, name actions.Name) (changed bool, err error)
}

// Pulls sees pull requests. *github.Surface does.
type Pulls interface {
	// Open lists the numbers of a repository's open pull requests. That one is
	// not among them proves nothing.
	Open(ctx context.Context, repo string) ([]int, error)
	// Closed looks at one pull request. It is closed only when the platform said
	// so of this very one, and since when. Whatever is no such answer is an error:
	// CodeNotFound when it is hidden or gone, else another.
	Closed(ctx context.Context, repo string, number int) (closed bool, at time.Time, err error)
	// CleanUp asks for the cleanup of env as the webhook of that closing would
	// have, under the same idempotency key, to which again is added unless it is
	// "". It returns nil when there is nothing to ask for.
	CleanUp(ctx context.Context, env actions.Name, repo string, number int, closed time.Time, again string) (*approvals.Request, error)
	// Replay fetches deliveries that never arrived, and tells how many there were.
	Replay(ctx context.Context) (int, error)
}

// Options are what a Reconciler works with. Store, Requests, Catalog, Redis and
// Notifier are needed; what else is nil is left out of sweeps.
type Options struct {
	Store     Store
	Requests  Requests
	Catalog   actions.Catalog
	Executors actions.Executors
	Runner    Runner
	Pulls     Pulls
	Notifier  bot.Notifier
	Redis     redis.UniversalClient
	// Clusters are those that the configuration names, besides the apps' own: one
	// that no app uses any more may hold what was left there. It is asked at each
	// sweep; nil means none.
	Clusters func() []actions.Cluster

	Every           time.Duration // between sweeps; 0 means DefaultEvery
	MaxDeletions    int           // cleanups that one sweep may ask for; 0 means DefaultMaxDeletions, less means none
	Orphans         string        // OrphansReport, which also "" means, or OrphansCleanup
	InventoryWithin time.Duration // of one cluster; 0 means DefaultInventoryWithin
	ObserveMost     int           // environments of one cluster that a sweep looks at; 0 means 100

	Replica string           // "" makes one up
	Now     func() time.Time // nil means time.Now
	Log     *slog.Logger     // nil means none
}

// Reconciler makes sweeps. Many replicas may have one; one sweeps at a time.
type Reconciler struct {
	o     Options
	state *state
	now   func() time.Time
	log   *slog.Logger
}

// New makes a Reconciler. It returns an error for options that cannot be.
func New(o Options) (*Reconciler, error) {
	switch o.Orphans {
	case "":
		o.Orphans = OrphansReport
	case OrphansReport, OrphansCleanup:
	default:
		return nil, errors.New("reconcile: orphans is neither report nor cleanup")
	}
	if o.Every <= 0 {
		o.Every = DefaultEvery
	}
	if o.MaxDeletions == 0 {
		o.MaxDeletions = DefaultMaxDeletions
	}
	if o.InventoryWithin <= 0 {
		o.InventoryWithin = DefaultInventoryWithin
	}
	if o.ObserveMost <= 0 {
		o.ObserveMost = 100
	}
	if o.Replica == "" {
		o.Replica = strings.ToLower(rand.Text()[:10])
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Reconciler{o: o, now: o.Now, log: o.Log, state: &state{
		rdb: o.Redis, key: o.Store.Key(leaderName, "state"), sights: o.Store.Key(leaderName, "sights"),
	}}, nil
}

// leaderName is what the leader's lease is of. No environment can be called so.
var leaderName = actions.Name{App: "@reconcile", Env: "sweep"}

// Run makes a sweep whenever one is due, if no other replica does, until ctx
// ends. It outlives Redis' absence and returns nil.
func (r *Reconciler) Run(ctx context.Context) error {
	// Looking often what is due costs one read; a leader that died is replaced
	// within a quarter of the time between sweeps.
	ticker := time.NewTicker(min(max(r.o.Every/4, time.Second), 30*time.Second))
	defer ticker.Stop()
	for {
		if due, err := r.due(ctx); err == nil && due {
			if report, err := r.Sweep(ctx); err != nil && ctx.Err() == nil && actions.CodeOf(err) != actions.CodeConflict {
				r.log.WarnContext(ctx, "a sweep ended early; the next one goes on", "error", err)
			} else if err == nil {
				r.log.InfoContext(ctx, "a sweep has ended", report.args()...)
			}
		} else if err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "it cannot be seen when the last sweep was", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// due tells whether the last sweep of any replica is long enough ago.
func (r *Reconciler) due(ctx context.Context) (bool, error) {
	last, err := r.state.last(ctx)
	return err == nil && !r.now().Before(last.Add(r.o.Every)), err
}

// Report is what one sweep found and did.
type Report struct {
	Environments int      // that were compared
	Replayed     int      // deliveries that had not arrived
	Closed       int      // environments whose pull request was seen to be closed
	Settled      int      // environments that hung
	Orphans      int      // environments' worth of things that nobody accounts for
	Observed     int      // environments that were looked at
	Drifted      int      // of which something is not as deployed any more
	Asked        []string // environments whose cleanup was asked for
	Stopped      []string // environments whose cleanup was due and was not asked for
	Unseen       []string // what could not be seen: "acme/shop", "cluster eu"
}

func (p Report) args() []any {
	return []any{
		"environments", p.Environments, "replayed", p.Replayed, "closed", p.Closed, "settled", p.Settled, "orphans", p.Orphans,
		"observed", p.Observed, "drifted", p.Drifted, "asked", p.Asked, "stopped", p.Stopped, "unseen", p.Unseen,
	}
}
