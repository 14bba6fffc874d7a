package actions

import (
	"context"
	"strings"

	"github.com/oklog/ulid/v2"
)

// installationKey holds what tells this Berth from all others.
const installationKey = keyPrefix + "installation"

// Installation tells this Berth, with all its replicas, from every other one: a
// ULID in lower case, made when it is first asked for. Executors mark what they
// make with it, so that no Berth takes another's for its own orphan.
func (s *Store) Installation(ctx context.Context) (string, error) {
	const op = "store.installation"
	if id := s.installation.Load(); id != nil {
		return *id, nil
	}
	mine := strings.ToLower(ulid.Make().String())
	if err := s.rdb.SetNX(ctx, installationKey, mine, 0).Err(); err != nil {
		return "", redisError(op, err)
	}
	id, err := s.rdb.Get(ctx, installationKey).Result()
	if err != nil {
		return "", redisError(op, err)
	}
	s.installation.Store(&id)
	return id, nil
}
