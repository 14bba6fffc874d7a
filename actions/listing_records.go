package actions

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"runtime"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// environments reads records by their names. One that is not there is nil, and so
// is one that cannot be read: it must not hide the others, nor keep what they need
// from being done. Unreadable tells of those.
//
// Redis answers and answers are made sense of side by side, in a few shares: while
// Redis works on one, another is made sense of.
func (s *Store) environments(ctx context.Context, members []string) ([]*Environment, error) {
	const least, most = 32, 4
	list, failed := make([]*Environment, len(members)), make([]error, len(members))
	shares := max(min(most, runtime.GOMAXPROCS(0), len(members)/least), 1)
	all := make([]error, shares)
	var done sync.WaitGroup
	for i := range shares {
		from, to := i*len(members)/shares, (i+1)*len(members)/shares
		share := func() { all[i] = s.share(ctx, members[from:to], list[from:to], failed[from:to]) }
		if i == shares-1 {
			share()
		} else {
			done.Go(share)
		}
	}
	done.Wait()
	for _, err := range all {
		if err != nil {
			return nil, err
		}
	}
	for i, m := range members {
		s.lostRecords.note(ctx, s.log, m, failed[i])
	}
	return list, nil
}

// share reads records by their names into a list of as many, and into failed why
// one of them cannot be read.
func (s *Store) share(ctx context.Context, members []string, list []*Environment, failed []error) error {
	const op = "store.environments"
	if len(members) == 0 {
		return nil
	}
	texts, err := s.texts(ctx, members)
	if err != nil {
		return err
	}
	var r environmentReader
	for i, text := range texts {
		switch err, refused := text.(error); {
		case !refused:
			list[i], failed[i] = r.named(op, members[i], text.(string))
		case !errors.Is(err, redis.Nil):
			if failed[i] = redisError(op, err); CodeOf(failed[i]) != CodeInternal {
				return failed[i]
			}
		}
	}
	return nil
}

// texts are records as they are stored, each a string or the error for it. Where
// all keys are on one node, one command for all of them takes Redis and the client
// half of what a command for each does.
func (s *Store) texts(ctx context.Context, members []string) ([]any, error) {
	texts, keys := make([]any, len(members)), make([]string, len(members))
	for i, m := range members {
		app, env, _ := strings.Cut(m, "/")
		keys[i] = s.Key(Name{App: app, Env: env}, envKey)
	}
	if s.pipe.Ordered() {
		var err error
		if texts, err = s.rdb.MGet(ctx, keys...).Result(); err != nil {
			return nil, redisError("store.environments", err)
		}
	}
	// To the one command a key that is no text is as good as none; the other tells.
	gets := map[int]*redis.StringCmd{}
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, text := range texts {
			if text == nil {
				gets[i] = p.Get(ctx, keys[i])
			}
		}
		return nil
	})
	// What Redis says of one key is no matter of the others.
	if err = redisError("store.environments", err); err != nil && CodeOf(err) != CodeInternal {
		return nil, err
	}
	for i, get := range gets {
		if texts[i] = get.Val(); get.Err() != nil {
			texts[i] = get.Err()
		}
	}
	return texts, nil
}

// lostRecords are the environments whose records cannot be read, as far as lists
// have come upon them.
type lostRecords struct {
	mu  sync.Mutex
	all map[string]error
}

// note takes down how the last reading of a record went. What is new is logged.
func (u *lostRecords) note(ctx context.Context, log *slog.Logger, name string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err == nil {
		delete(u.all, name)
		return
	}
	if u.all[name] == nil {
		log.ErrorContext(ctx, "the record of an environment cannot be read; it is left out of lists, and nothing is done to it unasked", "env", name, "error", err)
	}
	if u.all == nil {
		u.all = map[string]error{}
	}
	u.all[name] = err
}

// Unreadable are the environments that this process left out of a list, since
// their records cannot be read, and why.
func (s *Store) Unreadable() map[string]error {
	s.lostRecords.mu.Lock()
	defer s.lostRecords.mu.Unlock()
	return maps.Clone(s.lostRecords.all)
}
