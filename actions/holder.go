package actions

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// ReleaseDead gives back the lease of env for a holder that cannot do so itself,
// when dead says so of the holder's name, and tells whether it did. A holder
// that lives after all finds its lease lost, and is fenced by the next one's.
func (s *Store) ReleaseDead(ctx context.Context, env Name, dead func(holder string) bool) (bool, error) {
	const op = "lease.release_dead"
	value, err := s.rdb.Get(ctx, s.Key(env, leaseKey)).Result()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, redisError(op, err)
	}
	words := strings.SplitN(value, " ", 3) // token, nonce, holder
	if len(words) != 3 || !dead(words[2]) {
		return false, nil
	}
	freed, err := releaseScript.Run(ctx, s.rdb, []string{s.Key(env, leaseKey)}, value).Bool()
	if err != nil {
		return false, redisError(op, err)
	}
	return freed, nil
}
