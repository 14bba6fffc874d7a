package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

const (
	// envsKey names all environments and liveKey those that are not cleaned up,
	// as "app/name", sorted by name. They are hints: written before the record
	// is, so that none is missing.
	envsKey = keyPrefix + "envs"
	liveKey = keyPrefix + "envs:live"
)

// EnvFilter says which environments are wanted.
type EnvFilter struct {
	App   string // "" means of every app
	State State  // "" means in every state but Cleaned
	All   bool   // the cleaned ones too
	// PullRequest and Repo are of the app's own repository or of a component's:
	// with both, the environments that are built from that pull request. 0 and ""
	// mean any; case does not matter in Repo.
	PullRequest int
	Repo        string
	Cursor      string // from the call before; "" means from the start
	Limit       int    // 1 to 500; 0 means 50
}

// Environments lists records sorted by name, and the cursor of the next page,
// "" after the last one. It returns CodeInvalid for a cursor that is not one.
func (s *Store) Environments(ctx context.Context, f EnvFilter) (items []*Environment, next string, err error) {
	const op, usual, most = "store.environments", 50, 500
	if f.Limit <= 0 {
		f.Limit = usual
	}
	f.Limit = min(f.Limit, most)
	key, from, to := liveKey, "-", "+"
	if f.All || f.State == StateCleaned {
		key = envsKey
	}
	if f.App != "" {
		if !ValidName(f.App) {
			return nil, "", nil
		}
		from, to = "["+f.App+"/", "("+f.App+"0" // "0" follows "/"
	}
	if f.Cursor != "" {
		n, err := ParseName(f.Cursor)
		if err != nil || (f.App != "" && n.App != f.App) {
			return nil, "", Errorf(op, CodeInvalid, "%q is no cursor of this list; start again without one.", clip(f.Cursor))
		}
		from = "(" + f.Cursor
	}
	// With a filter by state many records are read for one that is wanted, so
	// that pages of records are larger than pages of results.
	page := int64(f.Limit + 1)
	if f.State != "" || f.PullRequest != 0 || f.Repo != "" {
		page = most
	}
	for {
		members, err := s.rdb.ZRangeByLex(ctx, key, &redis.ZRangeBy{Min: from, Max: to, Count: page}).Result()
		if err != nil {
			return nil, "", redisError(op, err)
		}
		records, err := s.environments(ctx, members)
		if err != nil {
			return nil, "", err
		}
		for i, env := range records {
			if env == nil || !f.wants(env) {
				continue
			}
			if len(items) == f.Limit {
				return items, items[f.Limit-1].Name.String(), nil
			}
			items = append(items, records[i])
		}
		if int64(len(members)) < page {
			return items, "", nil
		}
		from = "(" + members[len(members)-1]
	}
}

func (f EnvFilter) wants(env *Environment) bool {
	if !f.built(env) {
		return false
	}
	if f.State != "" {
		return env.State == f.State
	}
	return f.All || env.State != StateCleaned
}

// built tells whether env is built from what f wants.
func (f EnvFilter) built(env *Environment) bool {
	from := func(repo string, number int) bool {
		return (f.Repo == "" || strings.EqualFold(repo, f.Repo)) && (f.PullRequest == 0 || number == f.PullRequest)
	}
	if (f.Repo == "" && f.PullRequest == 0) || from(env.Repo, env.PullRequest) {
		return true
	}
	for _, c := range env.Components {
		if from(c.Repo, c.PullRequest) {
			return true
		}
	}
	return false
}

// environments reads records by their names, in one go. One that is not there
// is nil.
func (s *Store) environments(ctx context.Context, members []string) ([]*Environment, error) {
	const op = "store.environments"
	gets := make([]*redis.StringCmd, len(members))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, m := range members {
			app, env, _ := strings.Cut(m, "/")
			gets[i] = p.Get(ctx, s.Key(Name{App: app, Env: env}, envKey))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, redisError(op, err)
	}
	list := make([]*Environment, len(members))
	for i, get := range gets {
		text, err := get.Bytes()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return nil, redisError(op, err)
		}
		if err := json.Unmarshal(text, &list[i]); err != nil {
			return nil, Wrap(op, CodeInternal, err, fmt.Sprintf("The record of %s cannot be read.", members[i]))
		}
	}
	return list, nil
}

// list writes the hints by which an environment is found. They come before its
// record: one that leads nowhere is passed over, one that is not there hides it.
func (s *Store) list(ctx context.Context, name Name, live bool) error {
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		member := redis.Z{Member: name.String()}
		p.ZAdd(ctx, envsKey, member)
		if live {
			p.ZAdd(ctx, liveKey, member)
		} else {
			p.ZRem(ctx, liveKey, name.String())
		}
		return nil
	})
	return redisError("store.list", err)
}
