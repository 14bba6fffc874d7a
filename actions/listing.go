package actions

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// envsKey names all environments that ever were, as "app/name", sorted by name. An
// entry is there before the record is; see index.go for those that live.
const envsKey = keyPrefix + "envs"

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
// "" after the last one. Records that cannot be read are left out; Unreadable tells
// of them. It returns CodeInvalid for a cursor that is not one.
func (s *Store) Environments(ctx context.Context, f EnvFilter) (items []*Environment, next string, err error) {
	const op, usual, most = "store.environments", 50, 500
	if f.Limit <= 0 {
		f.Limit = usual
	}
	f.Limit = min(f.Limit, most)
	if f.App != "" && !ValidName(f.App) {
		return nil, "", nil
	}
	if f.Cursor != "" {
		n, err := ParseName(f.Cursor)
		if err != nil || (f.App != "" && n.App != f.App) {
			return nil, "", Errorf(op, CodeInvalid, "%q is no cursor of this list; start again without one.", clip(f.Cursor))
		}
	}
	w, err := s.way(ctx, f)
	if err != nil {
		return nil, "", err
	}
	page := f.Limit + 1
	if !w.exact {
		page = most // many records are read for one that is wanted
	}
	for after := f.Cursor; ; {
		names, err := w.names(ctx, f.App, after, page)
		if err != nil {
			return nil, "", err
		}
		records, err := s.environments(ctx, names)
		if err != nil {
			return nil, "", err
		}
		for _, env := range records {
			if env == nil || !s.leads(ctx, w.attribute, env) || !f.wants(env) {
				continue
			}
			if len(items) == f.Limit {
				return items, items[f.Limit-1].Name.String(), nil
			}
			items = append(items, env)
		}
		if len(names) < page {
			return items, "", nil
		}
		after = names[len(names)-1]
	}
}

// leads tells whether the index is right to lead to env by an attribute, "" being
// none; if not, it is mended.
func (s *Store) leads(ctx context.Context, attribute string, env *Environment) bool {
	if attribute == "" || slices.Contains(attributes(env), attribute) {
		return true
	}
	s.mendLater(ctx, env)
	return false
}

// way is how the environments that a filter wants are found.
type way struct {
	attribute string // of the index that all of them have; "" when it is not used
	exact     bool   // what is found so is wanted, but for hints that are old
	names     func(ctx context.Context, app, after string, count int) ([]string, error)
}

// way finds the shortest one.
func (s *Store) way(ctx context.Context, f EnvFilter) (way, error) {
	all := way{names: s.allNames, exact: f.All && f.State == "" && f.Repo == "" && f.PullRequest == 0}
	if f.All || f.State == StateCleaned {
		return all, nil
	}
	indexed, err := s.indexed(ctx)
	if err != nil || !indexed {
		return all, err
	}
	w := way{exact: f.State == ""}
	switch repo := repoAttribute(f.Repo); {
	case f.PullRequest != 0 && repo == "":
		w.names = func(ctx context.Context, app, after string, count int) ([]string, error) {
			return s.pullNames(ctx, f.PullRequest, app, after, count)
		}
		return w, nil
	case f.PullRequest != 0:
		w.attribute = pullAttribute(f.PullRequest) + repo
	case repo != "":
		w.attribute = "r" + repo
	case f.State != "":
		w.attribute, w.exact = "s"+string(f.State), true
	default:
		w.attribute = "l"
	}
	w.names = func(ctx context.Context, app, after string, count int) ([]string, error) {
		return s.namesBy(ctx, indexKey, w.attribute+" ", app, after, count)
	}
	return w, nil
}

// allNames are the names of all environments that ever were.
func (s *Store) allNames(ctx context.Context, app, after string, count int) ([]string, error) {
	return s.namesBy(ctx, envsKey, "", app, after, count)
}

// namesBy are up to count names of an app's environments, "" being all apps, that
// come after a name in a sorted set whose entries have a prefix before the name.
func (s *Store) namesBy(ctx context.Context, key, prefix, app, after string, count int) ([]string, error) {
	by := &redis.ZRangeBy{Min: "-", Max: "+", Count: int64(count)}
	switch {
	case app != "":
		by.Min, by.Max = "["+prefix+app+"/", "("+prefix+app+"0" // "0" follows "/"
	case prefix != "":
		by.Min, by.Max = "["+prefix, "("+prefix+"\xff"
	}
	if after != "" {
		by.Min = "(" + prefix + after
	}
	members, err := s.rdb.ZRangeByLex(ctx, key, by).Result()
	if err != nil {
		return nil, redisError("store.environments", err)
	}
	for i, m := range members {
		members[i] = strings.TrimPrefix(m, prefix)
	}
	return members, nil
}

// pullNames is namesBy for the pull requests of that number in all repositories.
// There are as many as there are repositories, so that all are read.
func (s *Store) pullNames(ctx context.Context, number int, app, after string, count int) ([]string, error) {
	prefix := pullAttribute(number)
	members, err := s.rdb.ZRangeByLex(ctx, indexKey, &redis.ZRangeBy{Min: "[" + prefix, Max: "(" + prefix + "\xff"}).Result()
	if err != nil {
		return nil, redisError("store.environments", err)
	}
	var names []string
	for _, m := range members {
		_, name, _ := strings.Cut(m, " ")
		if name > after && (app == "" || strings.HasPrefix(name, app+"/")) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return names[:min(len(names), count)], nil
}

// Expiring lists up to limit (at most 500, which is also what 0 means) environments
// whose time is over after from and at until at the latest, the soonest first. It
// costs as much as there are of them. Like Environments it leaves out what cannot be
// read.
func (s *Store) Expiring(ctx context.Context, from, until time.Time, limit int) ([]*Environment, error) {
	const op, most = "store.expiring", 500
	if limit <= 0 || limit > most {
		limit = most
	}
	indexed, err := s.indexed(ctx)
	if err != nil {
		return nil, err
	}
	var due []*Environment
	if !indexed {
		due, err = s.expiringOfAll(ctx, from, until)
	} else {
		by := &redis.ZRangeBy{Min: "[" + expiryAttribute(from), Max: "(" + expiryAttribute(until.Add(time.Millisecond)), Count: int64(limit)}
		for more := true; more && len(due) < limit; {
			var members []string
			if members, err = s.rdb.ZRangeByLex(ctx, indexKey, by).Result(); err != nil {
				return nil, redisError(op, err)
			}
			more = len(members) == limit
			if more {
				by.Min = "(" + members[len(members)-1]
			}
			var found []*Environment
			if found, err = s.dueOf(ctx, members, from, until); err != nil {
				break
			}
			due = append(due, found...)
		}
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(due, sooner)
	return due[:min(len(due), limit)], nil
}

// dueOf are those of the environments that the index leads to that are due.
func (s *Store) dueOf(ctx context.Context, members []string, from, until time.Time) ([]*Environment, error) {
	told, names := make([]string, len(members)), make([]string, len(members))
	for i, m := range members {
		told[i], names[i], _ = strings.Cut(m, " ")
	}
	records, err := s.environments(ctx, names)
	if err != nil {
		return nil, err
	}
	var due []*Environment
	for i, env := range records {
		// One that an old hint leads to has a hint that is right as well.
		if env != nil && s.leads(ctx, told[i], env) && env.expires(from, until) {
			due = append(due, env)
		}
	}
	return due, nil
}

// expiringOfAll goes through all environments.
func (s *Store) expiringOfAll(ctx context.Context, from, until time.Time) ([]*Environment, error) {
	var due []*Environment
	for cursor := ""; ; {
		page, next, err := s.Environments(ctx, EnvFilter{Cursor: cursor, Limit: indexPage})
		if err != nil {
			return nil, err
		}
		for _, env := range page {
			if env.expires(from, until) {
				due = append(due, env)
			}
		}
		if cursor = next; cursor == "" {
			return due, nil
		}
	}
}

// expires tells whether the environment's time is over after from and at until at
// the latest.
func (e *Environment) expires(from, until time.Time) bool {
	return e.State != StateCleaned && !e.ExpiresAt.IsZero() && e.ExpiresAt.After(from) && !e.ExpiresAt.After(until)
}

// sooner orders environments by when their time is over.
func sooner(a, b *Environment) int {
	if c := a.ExpiresAt.Compare(b.ExpiresAt); c != 0 {
		return c
	}
	return strings.Compare(a.Name.String(), b.Name.String())
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
