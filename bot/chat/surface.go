package chat

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
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
	people    approvals.People // may be nil
	refs      Refs             // may be nil
	rules     func(at bot.ChatPlace) Rules
	public    string // without a slash at its end; may be empty
	repoURL   string // may be empty
	tails     tails  // of runs that are shown
	replica   string
	agenda    *actions.Agenda // what is to be shown: see show
	now       func() time.Time
	log       *slog.Logger
}

// New makes a Surface. It speaks to nobody yet.
func New(o Options) (*Surface, error) {
	s := &Surface{
		platforms: map[string]Platform{}, rdb: o.Redis, service: o.Service, store: o.Store, requests: o.Requests, catalog: o.Catalog,
		people: o.People, refs: o.Refs, rules: o.Rules, public: strings.TrimSuffix(o.PublicURL, "/"), repoURL: strings.TrimSuffix(o.RepoURL, "/"), replica: o.Replica, now: o.Now, log: o.Log,
	}
	for _, p := range o.Platforms {
		s.platforms[p.Name()] = p
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.agenda = actions.NewAgenda(actions.AgendaOptions{Redis: o.Redis, Prefix: keyPrefix + "show:", Replica: o.Replica, Now: s.now, Log: s.log})
	return s, nil
}

// Run does what comes in and keeps cards up to date until ctx ends.
func (s *Surface) Run(ctx context.Context) error { return errors.New("chat: not yet") }
