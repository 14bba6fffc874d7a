package approvals

import (
	"context"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
)

// Filter says which requests List returns. What is zero filters nothing.
type Filter struct {
	Env    actions.Name
	App    string
	State  State
	Open   bool   // without those that failed and were retried
	Cursor string // where the page before ended; "" begins with the newest
	Limit  int    // at most 200; 0 means 50
}

const (
	defaultPage = 50
	largestPage = 200
	// mostScanned is how many requests one call looks at for those that the
	// filter lets through. A page may therefore have fewer than Limit, or none,
	// and still say where the next begins.
	mostScanned = 2000
)

// List returns a page of requests, the newest first and without their plans,
// and where the next page begins, "" when there is none. Requests are listed for
// as long as they are kept. It returns CodeInvalid for a cursor that List did
// not return.
func (q *Requests) List(ctx context.Context, f Filter) ([]*Request, string, error) {
	const op = "requests.list"
	if f.Cursor != "" && !validID(f.Cursor) {
		return nil, "", actions.Errorf(op, actions.CodeInvalid, "That cursor is not one of Berth's; leave it out to begin with the newest.")
	}
	if f.Limit <= 0 {
		f.Limit = defaultPage
	}
	f.Limit = min(f.Limit, largestPage)
	source := q.source(f)
	var page []*Request
	for scanned := 0; scanned < mostScanned; {
		// One more than fits, to know whether there is a next page.
		batch := max(f.Limit+1-len(page), defaultPage)
		entries, err := source.read(ctx, q.rdb, f.Cursor, batch)
		if err != nil {
			return nil, "", redisError(op, err)
		}
		found, err := q.loadAll(ctx, op, entries)
		if err != nil {
			return nil, "", err
		}
		if err := q.noteRetries(ctx, op, found); err != nil {
			return nil, "", err
		}
		for i, r := range found {
			if r != nil && f.matches(r) {
				if len(page) == f.Limit {
					return page, f.Cursor, nil
				}
				page = append(page, r)
			}
			f.Cursor = entries[i].id
		}
		scanned += len(entries)
		if len(entries) < batch {
			return page, "", nil
		}
	}
	return page, f.Cursor, nil
}

func (f Filter) matches(r *Request) bool {
	return (f.Env.IsZero() || f.Env == r.Order.Env) && (f.App == "" || f.App == r.Order.Env.App) && (f.State == "" || f.State == r.State) && (!f.Open || r.RetriedAs == "")
}

// source is the sorted set that a list is read from.
type source struct {
	key string
	env actions.Name // of all its members, when they are ids alone
	app string       // skip the others, when they say their environment
}

// source is the shortest set that has all that f lets through.
func (q *Requests) source(f Filter) source {
	active := f.State != "" && !f.State.Ended()
	switch {
	case !f.Env.IsZero():
		return source{key: q.listKey(f.Env), env: f.Env}
	case active:
		return source{key: activeIndexKey, app: f.App}
	case f.State == StateFailed:
		return source{key: failedIndexKey, app: f.App}
	default:
		return source{key: indexKey, app: f.App}
	}
}

// entry is one request as an index has it. One of another app than the list's
// has no env: its record is not read.
type entry struct {
	id  string
	env actions.Name
}

// read returns up to limit entries that come after cursor, the newest first.
func (s source) read(ctx context.Context, rdb redis.UniversalClient, cursor string, limit int) ([]entry, error) {
	most := "+"
	if cursor != "" {
		most = "(" + cursor // "ID app/name" sorts after "ID", and so is not above it
	}
	members, err := rdb.ZRevRangeByLex(ctx, s.key, &redis.ZRangeBy{Min: "-", Max: most, Count: int64(limit)}).Result()
	if err != nil {
		return nil, err
	}
	entries := make([]entry, len(members))
	for i, m := range members {
		entries[i] = parseMember(m)
		if !s.env.IsZero() {
			entries[i].env = s.env
		}
		if s.app != "" && entries[i].env.App != s.app {
			entries[i].env = actions.Name{}
		}
	}
	return entries, nil
}

// parseMember reads what member wrote.
func parseMember(m string) entry {
	id, name, _ := strings.Cut(m, " ")
	env, err := actions.ParseName(name)
	if err != nil {
		return entry{id: id}
	}
	return entry{id: id, env: env}
}

// loadAll reads the records of entries, in their order; what has no record is nil.
func (q *Requests) loadAll(ctx context.Context, op string, entries []entry) ([]*Request, error) {
	found := make([]*Request, len(entries))
	for chunk := range slices.Chunk(indices(entries), 500) {
		texts := make([]*redis.StringCmd, len(chunk))
		_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for n, i := range chunk {
				texts[n] = p.Get(ctx, q.recordKey(entries[i].env, entries[i].id))
			}
			return nil
		})
		if err != nil && !isNil(err) {
			return nil, redisError(op, err)
		}
		for n, i := range chunk {
			text, err := texts[n].Result()
			if isNil(err) {
				continue
			}
			if err != nil {
				return nil, redisError(op, err)
			}
			if found[i], err = decode(op, text); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// indices are the places in entries whose environment is known.
func indices(entries []entry) []int {
	var places []int
	for i := range entries {
		if !entries[i].env.IsZero() {
			places = append(places, i)
		}
	}
	return places
}
