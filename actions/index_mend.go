package actions

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// indexPage is how many records are read at once when all are gone through.
const indexPage = 500

// indexed tells whether the index leads to all records. It does from the start,
// but for records that an earlier version has left: then it is made, beside
// what asks, which until then goes through all records.
func (s *Store) indexed(ctx context.Context) (bool, error) {
	if s.complete.Load() {
		return true, nil
	}
	err := s.rdb.Get(ctx, indexedKey).Err()
	if err == nil {
		s.complete.Store(true)
		return true, nil
	}
	if !errors.Is(err, redis.Nil) {
		return false, redisError("store.indexed", err)
	}
	if s.mending.CompareAndSwap(false, true) {
		go func() {
			defer s.mending.Store(false)
			if err := s.MendIndexes(context.WithoutCancel(ctx)); err != nil {
				s.log.WarnContext(ctx, "the index of environments is not made yet; lists take longer", "error", err)
			}
		}()
	}
	return false, nil
}

// MendIndexes goes through all records and sees to it that the index leads to each
// of them by what it says, and by nothing else. It is for what a crash of Redis
// itself takes away; all else mends itself. It can run at any time and as often as
// one likes; it costs one reading of all records.
func (s *Store) MendIndexes(ctx context.Context) error {
	const op = "store.mend_indexes"
	for from := "-"; ; {
		members, err := s.rdb.ZRangeByLex(ctx, envsKey, &redis.ZRangeBy{Min: from, Max: "+", Count: indexPage}).Result()
		if err != nil {
			return redisError(op, err)
		}
		if err := s.mendSome(ctx, members); err != nil {
			return err
		}
		if len(members) < indexPage {
			break
		}
		from = "(" + members[len(members)-1]
	}
	if err := s.rdb.Set(ctx, indexedKey, 1, 0).Err(); err != nil {
		return redisError(op, err)
	}
	s.complete.Store(true)
	return nil
}

// mendSome mends what leads to some environments.
func (s *Store) mendSome(ctx context.Context, members []string) error {
	const op = "store.mend_indexes"
	if len(members) == 0 {
		return nil
	}
	records, err := s.environments(ctx, members)
	if err != nil {
		return err
	}
	hints, err := s.rdb.HMGet(ctx, hintsKey, members...).Result()
	if err != nil {
		return redisError(op, err)
	}
	var scores []*redis.FloatCmd
	var wrong []redis.Cmder
	var found [][]string
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, env := range records {
			if env == nil {
				continue
			}
			all := attributes(env)
			text, _ := hints[i].(string)
			if !settledAs(text, all) {
				wrong = append(wrong, s.mendings(ctx, env)...)
				continue
			}
			for _, a := range all {
				scores = append(scores, p.ZScore(ctx, indexKey, a+" "+members[i]))
				found = append(found, []string{a, members[i]})
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return redisError(op, err)
	}
	for i, score := range scores {
		if errors.Is(score.Err(), redis.Nil) {
			wrong = append(wrong, redis.NewIntCmd(ctx, "zadd", indexKey, 0, strings.Join(found[i], " ")))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, cmd := range wrong {
			_ = p.Process(ctx, cmd)
		}
		return nil
	})
	return redisError(op, err)
}

// settledAs tells whether the hints of an environment are these alone.
func settledAs(text string, attributes []string) bool {
	if text == "" {
		return len(attributes) == 0
	}
	var hints [][]any
	if json.Unmarshal([]byte(text), &hints) != nil || len(hints) != 1 || len(hints[0]) != len(attributes)+2 || hints[0][1] != float64(1) {
		return false
	}
	for i, a := range attributes {
		if hints[0][i+2] != a {
			return false
		}
	}
	return true
}

// mendings are the commands that make the index lead to env by what it says, and
// by nothing that it said before. It is proposed again since settling does nothing
// where a later revision was settled, which Redis has lost of the record alone.
func (s *Store) mendings(ctx context.Context, env *Environment) []redis.Cmder {
	all := attributes(env)
	return []redis.Cmder{
		indexing(ctx, proposeScript, env.Name, env.Revision, all),
		indexing(ctx, settleScript, env.Name, env.Revision, all),
	}
}

// mendLater takes an environment out of where a reader came upon it in vain.
func (s *Store) mendLater(ctx context.Context, env *Environment) {
	ctx = context.WithoutCancel(ctx)
	s.pipe.Later(s.mendings(ctx, env), func(err error) {
		s.log.DebugContext(ctx, "an environment is listed where it is no more", "env", env.Name.String(), "error", err)
	})
}
