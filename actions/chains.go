package actions

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// chainsKey names all environments that have an audit chain, sorted by name. An
// entry is there before the first record is, so that no chain is out of sight;
// one without a chain does no harm.
const chainsKey = keyPrefix + "chains"

// BerthChain names the chain of what belongs to no environment: accounts that
// were linked, configurations that were loaded, refusals of what never was. No
// environment can have that name.
var BerthChain = Name{App: "berth"}

// ParseChain reads the name of a chain: "berth", or an environment's app/name.
func ParseChain(s string) (Name, error) {
	if s == ChainName(BerthChain) {
		return BerthChain, nil
	}
	return ParseName(s)
}

// ChainName is what ParseChain reads.
func ChainName(n Name) string {
	if n.Env == "" {
		return n.App
	}
	return n.String()
}

// Chains lists up to limit environments that have audit records, sorted by name
// and after the given one; the zero Name is before all. app is "" for those of
// every app, and BerthChain is among those, in its place in the order of names.
// Environments that were asked for and never made are listed as well.
func (s *Store) Chains(ctx context.Context, app string, after Name, limit int) ([]Name, error) {
	from, to := "-", "+"
	if app != "" {
		if !ValidName(app) {
			return nil, nil
		}
		from, to = "("+app+"/", "("+app+"0" // "0" follows "/"
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
		if name := chainOf(m); !name.IsZero() {
			names = append(names, name)
		}
	}
	return names, nil
}

// chainOf reads an entry of chainsKey; the zero Name is for one that is none.
func chainOf(member string) Name {
	if member == BerthChain.String() {
		return BerthChain
	}
	name, err := ParseName(member)
	if err != nil {
		return Name{}
	}
	return name
}
