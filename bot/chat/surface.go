package chat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

const (
	// doers is how many events of each platform a replica does at once, and showers
	// how many things it shows. Neither keeps the other waiting, nor does a platform
	// that does not answer keep another.
	doers, showers = 48, 16
	// holdLease is how long what a replica does stays with it once it is killed: people
	// wait for it, and Redis may be away for some seconds.
	holdLease = 15 * time.Second
	// doTimeout bounds one try of an event, and showTimeout one look at what is
	// shown.
	doTimeout, showTimeout = 40 * time.Second, 40 * time.Second
)

// Surface is chat, as a place where Berth listens and speaks. It is safe for
// concurrent use.
type Surface struct {
	platforms map[string]Platform
	rdb       redis.UniversalClient
	service   Commands
	store     Records
	requests  Requests
	catalog   actions.Catalog
	people    approvals.People  // may be nil
	groups    map[string]Groups // of policies, by prefix
	refs      Refs              // may be nil
	rules     func(at bot.ChatPlace) Rules
	public    string    // without a slash at its end; may be empty
	repoURL   string    // where repositories are read; may be empty
	tails     bot.Tails // of runs that are shown
	replica   string
	agenda    *actions.Agenda            // what is to be shown: see showDue
	events    map[string]*actions.Agenda // what is to be done, by platform: see do
	takings   takings
	troubles  troubles
	kept      kept
	budget    *budget
	slowAfter time.Duration // see the constant; a test of something else has more of it
	now       func() time.Time
	log       *slog.Logger
}

// New makes a Surface. It speaks to nobody yet. It returns an error when what it
// cannot do without is missing.
func New(o Options) (*Surface, error) {
	s := &Surface{
		platforms: map[string]Platform{}, rdb: o.Redis, service: o.Service, store: o.Store, requests: o.Requests, catalog: o.Catalog,
		people: o.People, groups: o.Groups, refs: o.Refs, rules: o.Rules, public: strings.TrimRight(o.PublicURL, "/"), repoURL: o.RepoURL, replica: o.Replica,
		events: map[string]*actions.Agenda{}, budget: &budget{rdb: o.Redis, replica: o.Replica}, slowAfter: slowAfter,
		tails: bot.Tails{Lines: tailShown, Width: longestLine}, kept: kept{members: bot.Kept[bool]{For: keepGroup}}, now: o.Now, log: o.Log,
	}
	if o.Redis == nil || o.Service == nil || o.Store == nil || o.Requests == nil || o.Catalog == nil {
		return nil, errors.New("chat: Redis, Service, Store, Requests and Catalog are needed")
	}
	if o.Replica == "" {
		return nil, errors.New("chat: a replica needs a name")
	}
	if s.rules == nil {
		s.rules = func(bot.ChatPlace) Rules { return Rules{} }
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	agenda := func(prefix string, timeout time.Duration) *actions.Agenda {
		return actions.NewAgenda(actions.AgendaOptions{
			Redis: s.rdb, Prefix: prefix, Replica: s.replica, Lease: holdLease, Timeout: timeout, BackOffMost: 30 * time.Second, Now: s.now, Log: s.log,
		})
	}
	s.agenda = agenda(prefixShow, showTimeout)
	for _, p := range o.Platforms {
		name := p.Name()
		if s.platforms[name] != nil {
			return nil, errors.New("chat: two platforms are called " + name)
		}
		s.platforms[name], s.events[name] = p, agenda(prefixEvents+name+":", doTimeout)
	}
	return s, nil
}

// Run does what comes in and keeps cards up to date until ctx ends. It outlives
// the absence of Redis and of the platforms, and returns nil.
func (s *Surface) Run(ctx context.Context) error {
	var group sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(s.events)) {
		group.Go(func() {
			s.events[name].Run(ctx, doers, func(ctx context.Context, id string) (time.Duration, error) { return s.do(ctx, name, id) })
		})
	}
	group.Go(func() { s.agenda.Run(ctx, showers, s.showDue) })
	group.Go(func() { s.follow(ctx) })
	group.Go(func() { s.sweep(ctx) })
	group.Wait()
	return nil
}

// What is to be shown, by how it begins; what begins with none of these is an
// environment.
const (
	markNotice = "n:" // a notice, by the key that it is kept under
	markPage   = "p:" // somebody's page; all of them when nobody is named
)

// showDue shows one thing that is due.
func (s *Surface) showDue(ctx context.Context, member string) (again time.Duration, err error) {
	if id, ok := strings.CutPrefix(member, markNotice); ok {
		again, err = s.tellNotice(ctx, id)
	} else if who, ok := strings.CutPrefix(member, markPage); ok {
		err = s.showPages(ctx, who)
	} else if name, errName := actions.ParseName(member); errName != nil {
		s.log.WarnContext(ctx, "what is due is no environment", "what", member)
	} else {
		again, err = s.show(ctx, name)
	}
	if limited, ok := errors.AsType[*bot.Limited](err); ok {
		return max(limited.After, 50*time.Millisecond), nil
	}
	return again, err
}

// guarded is do, whose panic is an error: in a goroutine of our own it would end
// the process, and again in whichever goes on with the same thing.
func guarded(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return do()
}

// pagesAfter is how long after a change the pages that may show it are made
// anew, so that many changes are one.
const pagesAfter = 5 * time.Second

// follow marks environments that change. What it misses, the sweep finds.
func (s *Surface) follow(ctx context.Context) {
	s.store.FollowChanges(ctx, func(changes []actions.Change) error { return s.markChanged(ctx, changes) })
}

func (s *Surface) markChanged(ctx context.Context, changes []actions.Change) error {
	_, err := s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		done := map[actions.Name]bool{}
		for _, c := range changes {
			if !done[c.Env] {
				done[c.Env] = true
				s.agenda.Mark(ctx, pipe, c.Env.String(), s.now())
			}
		}
		s.agenda.Mark(ctx, pipe, markPage, s.now().Add(pagesAfter))
		return nil
	})
	s.agenda.Nudge()
	return err
}

// markNow has an environment shown at once. It is a hint alone, since changes are
// followed as well.
func (s *Surface) markNow(ctx context.Context, name actions.Name) {
	if err := s.agenda.Mark(ctx, s.rdb, name.String(), s.now()).Err(); err != nil {
		s.log.DebugContext(ctx, "an environment was not marked", "env", name.String(), "error", err)
		return
	}
	s.agenda.Nudge()
}

// sweepEvery is how often all that has cards is looked at, in one replica: what
// nobody told of is found then.
const sweepEvery = time.Minute

func (s *Surface) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.sweepOnce(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "cards could not be compared with what they show", "error", err)
		}
		_ = pause(ctx, sweepEvery/12) // the loop looks at ctx
	}
}

func (s *Surface) sweepOnce(ctx context.Context) error {
	mine, err := s.rdb.SetNX(ctx, keySweep, s.replica, sweepEvery-time.Second).Result()
	if err != nil || !mine {
		return err
	}
	names, err := s.rdb.SMembers(ctx, keyWatched).Result()
	if err != nil || len(names) == 0 {
		return err
	}
	_, err = s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, name := range names {
			s.agenda.Mark(ctx, pipe, name, s.now())
		}
		return nil
	})
	s.agenda.Nudge()
	return err
}
