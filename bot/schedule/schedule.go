// Package schedule does what comes again by itself: it finds the environments
// that a tick of a schedule is about, and those whose time is over, warns of what
// is to be taken away, and submits requests. It executes nothing: what it asks
// for goes through the same policies as anyone's wish.
//
// One replica leads, by a fenced lease. How far each schedule has come is kept in
// Redis with the fence, and each request carries a key made of the schedule, the
// tick and the environment, so that a tick is neither lost nor done twice, be the
// leader killed in the middle of it or two believe that they lead.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// Expiry is the name of the schedule that is always there: it takes away what
// has outlived its lifetime.
const Expiry = "expiry"

// Surface is the surface of the places that schedules' requests come from.
const Surface = "schedule"

// CatchUp says what becomes of ticks that passed while no replica ran.
type CatchUp string

// What can become of them.
const (
	CatchUpOne  CatchUp = "one"  // the last of them is done when Berth is back; what "" means
	CatchUpNone CatchUp = "none" // they are left out
)

// DefaultWarn is how long before something is taken away people are warned,
// unless the config says otherwise.
func DefaultWarn() []time.Duration { return []time.Duration{24 * time.Hour, time.Hour} }

// MaxWarn is the longest time ahead that people can be warned: what comes later
// cannot be told, since nothing expires later than actions.MaxTTL from now.
const MaxWarn = actions.MaxTTL

// Where tells which environments a schedule is about; *policy.Where is one. An
// error means that it is not known, and the environment is left alone.
type Where interface {
	Match(env *actions.Environment, app *actions.App, now time.Time) (bool, error)
}

// Schedule is an action that comes again.
type Schedule struct {
	Name     string // 2 to 40 of a-z, 0-9 and "-"; not "expiry"
	Cron     string // five fields; see Cron
	TimeZone string // IANA name; "" means UTC
	Verb     actions.Verb
	Where    Where    // nil means every environment of Apps
	Apps     []string // none means all
	CatchUp  CatchUp
	// Warn is how long before an archive or cleanup people are warned; none means
	// DefaultWarn. Other verbs are not warned of.
	Warn   []time.Duration
	Reason string // for people; "" means a sentence that names the schedule
}

// Store keeps environments and leases; *actions.Store is one.
type Store interface {
	Acquire(ctx context.Context, env actions.Name, holder string, ttl time.Duration) (*actions.Lease, error)
	Key(env actions.Name, suffix string) string
	Environment(ctx context.Context, name actions.Name) (*actions.Environment, error)
	Environments(ctx context.Context, f actions.EnvFilter) (items []*actions.Environment, next string, err error)
	// Expiring lists those whose ExpiresAt is in (from, until], the soonest first.
	Expiring(ctx context.Context, from, until time.Time, limit int) ([]*actions.Environment, error)
}

// Requests keeps requests; *approvals.Requests is one.
type Requests interface {
	Submit(ctx context.Context, r approvals.Request) (*approvals.Request, bool, error)
	Standing(ctx context.Context, env actions.Name) ([]*approvals.Request, error)
	Get(ctx context.Context, id string) (*approvals.Request, error)
	Cancel(ctx context.Context, id string, by approvals.Requester, reason string) (*approvals.Request, error)
}

// Options are what a Scheduler is made of. The first five are needed.
type Options struct {
	Store    Store
	Requests Requests
	Catalog  actions.Catalog
	Redis    redis.UniversalClient
	Notifier bot.Notifier

	Schedules []Schedule
	Warn      []time.Duration // before a lifetime ends; none means DefaultWarn
	Replica   string          // names this process in the lease, for operators
	PerSecond int             // requests submitted in a second at most; 0 means 20
	Lease     time.Duration   // how long a leader that died holds the others up; 0 means 15 seconds
	Every     time.Duration   // how often lifetimes are looked at; 0 means 10 seconds

	Now func() time.Time // nil means time.Now; replicas must agree on it, as actions.Clock does
	// Wait returns at that time by Now, or when ctx ends. nil means a timer.
	Wait func(ctx context.Context, until time.Time)
	Log  *slog.Logger // nil means none
}

const (
	defaultPerSecond = 20
	defaultLease     = 15 * time.Second
	defaultEvery     = 10 * time.Second
)

// Scheduler does what schedules say. It may be used from many goroutines.
type Scheduler struct {
	o         Options
	log       *slog.Logger
	keys      keys
	schedules atomic.Pointer[[]*plan]
	expiry    *plan
	pace      pace

	// What follows is the leader's alone, and is lost with it.
	followed time.Time // when requests that were made were last looked at
	next     string    // after which of them the next look goes on
	expired  time.Time // from where environments are read whose time is over
	pruned   time.Time // when notes were last looked for that are about nothing
}

// plan is a Schedule that was checked.
type plan struct {
	Schedule
	cron   *Cron           // nil for lifetimes
	warn   []time.Duration // the longest first; empty for what takes nothing away
	taking bool
}

// New makes a Scheduler. Its error says what is wrong with which schedule.
func New(o Options) (*Scheduler, error) {
	if o.Store == nil || o.Requests == nil || o.Catalog == nil || o.Redis == nil || o.Notifier == nil {
		return nil, errors.New("schedule: Store, Requests, Catalog, Redis and Notifier are needed")
	}
	if o.PerSecond <= 0 {
		o.PerSecond = defaultPerSecond
	}
	if o.Lease <= 0 {
		o.Lease = defaultLease
	}
	if o.Every <= 0 {
		o.Every = defaultEvery
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Wait == nil {
		o.Wait = func(ctx context.Context, until time.Time) { sleep(ctx, until.Sub(o.Now())) }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	warn, err := warnings(o.Warn)
	if err != nil {
		return nil, fmt.Errorf("lifetimes: %w", err)
	}
	s := &Scheduler{o: o, log: o.Log, keys: keysOf(o.Store), expired: time.Unix(0, 0)}
	s.expiry = &plan{Schedule: Schedule{Name: Expiry}, warn: warn, taking: true}
	return s, s.Replace(o.Schedules)
}

// Replace takes other schedules from now on. What is removed is forgotten; one
// with another cron, time zone or verb begins anew from now; the others go on.
// When one of them is wrong it changes nothing, and its error says which.
func (s *Scheduler) Replace(list []Schedule) error {
	plans := make([]*plan, 0, len(list))
	seen := map[string]bool{}
	for _, one := range list {
		p, err := check(one)
		if err == nil && seen[one.Name] {
			err = errors.New("there are two of that name")
		}
		if err != nil {
			return fmt.Errorf("schedule %s: %w", one.Name, err)
		}
		seen[one.Name] = true
		plans = append(plans, p)
	}
	s.schedules.Store(&plans)
	return nil
}

// check says what is wrong with a schedule that was not read by package configs.
func check(one Schedule) (*plan, error) {
	if !actions.ValidName(one.Name) || one.Name == Expiry {
		return nil, fmt.Errorf("%q cannot be its name: use 2 to 40 of a-z, 0-9 and \"-\", and not %q, which is that of lifetimes", one.Name, Expiry)
	}
	cron, err := ParseCron(one.Cron, one.TimeZone)
	if err != nil {
		return nil, err
	}
	switch one.Verb {
	case actions.VerbCleanup, actions.VerbArchive, actions.VerbSleep, actions.VerbWake, actions.VerbRestart:
	default: // the others need somebody who says of what
		return nil, fmt.Errorf("%q is nothing that a schedule does", one.Verb)
	}
	if one.CatchUp != "" && one.CatchUp != CatchUpOne && one.CatchUp != CatchUpNone {
		return nil, fmt.Errorf("catch_up is %q or %q, not %q", CatchUpOne, CatchUpNone, one.CatchUp)
	}
	p := &plan{Schedule: one, cron: cron, taking: one.Verb == actions.VerbCleanup || one.Verb == actions.VerbArchive}
	if p.taking {
		p.warn, err = warnings(one.Warn)
	}
	return p, err
}

// warnings are checked and sorted, the longest first.
func warnings(given []time.Duration) ([]time.Duration, error) {
	if len(given) == 0 {
		given = DefaultWarn()
	}
	out := slices.Clone(given)
	for _, w := range out {
		if w < time.Minute || w > MaxWarn {
			return nil, fmt.Errorf("a warning comes between a minute and %s ahead, not %s", length(MaxWarn), w)
		}
	}
	slices.SortFunc(out, func(a, b time.Duration) int { return int(b - a) })
	return slices.Compact(out), nil
}

// least is how long before it is taken somebody must have been told at least.
func (p *plan) least() time.Duration { return p.warn[len(p.warn)-1] }

// identity is what the plan begins anew with when it changes.
func (p *plan) identity() string {
	if p.cron == nil {
		return Expiry
	}
	return fmt.Sprintf("%s %s", p.cron, p.Verb)
}

// requester is who a plan's requests are made by.
func (p *plan) requester() approvals.Requester {
	return approvals.Requester{Actor: actorPrefix + p.Name, Identity: "schedule:" + p.Name}
}

// actorPrefix begins the names of schedules where people's names stand.
const actorPrefix = "schedule/"

// now is the time, in UTC.
func (s *Scheduler) now() time.Time { return s.o.Now().UTC().Round(0) }

// sleep returns after d, or when ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// slept tells whether a schedule, and no person, put env to sleep.
func slept(env *actions.Environment) bool {
	return env.Sleeping && strings.HasPrefix(env.SleptBy, actorPrefix)
}
