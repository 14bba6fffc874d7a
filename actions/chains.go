package actions

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// chainsKey names all environments that have an audit chain, sorted by name. An
// entry is there before the first record is, so that no chain is out of sight;
// one without a chain does no harm.
const chainsKey = keyPrefix + "chains"

// Chains lists up to limit environments that have audit records, sorted by name
// and after the given one; the zero Name is before all. app is "" for those of
// every app. Environments that were asked for and never made are among them.
func (s *Store) Chains(ctx context.Context, app string, after Name, limit int) ([]Name, error) {
	from, to := "-", "+"
	if app != "" {
		if !ValidName(app) {
			return nil, nil
		}
		from, to = "["+app+"/", "("+app+"0" // "0" follows "/"
	}
	if !after.IsZero() {
		from = "(" + after.String()
	}
	members, err := s.rdb.ZRangeByLex(ctx, chainsKey, &redis.ZRangeBy{Min: from, Max: to, Count: int64(limit)}).Result()
	if err != nil {
		return nil, redisError("store.chains", err)
	}
	var names []Name
	for _, m := range members {
		if name, err := ParseName(m); err == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

// announceChain puts env among those that have a chain.
func (s *Store) announceChain(ctx context.Context, env Name) error {
	return s.rdb.ZAdd(ctx, chainsKey, redis.Z{Member: env.String()}).Err()
}
