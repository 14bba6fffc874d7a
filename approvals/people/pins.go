package people

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
)

// pinScript remembers the number that a login had when it was first seen.
//
//	KEYS[1]  numbers by login
//	ARGV[1]  the login
//	ARGV[2]  its number now
//	ARGV[3]  the number to give up for it, "" for none
//	output   the number that is remembered
var pinScript = redis.NewScript(`
local known = redis.call('HGET', KEYS[1], ARGV[1])
if not known or (ARGV[3] ~= '' and known == ARGV[3]) then
	redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
	return ARGV[2]
end
return known
`)

// Pin remembers which account (by its number, which never changes hands) a
// login was when it was first seen. When another account shows up under a login
// to which the config or a link gives rights, it returns CodeForbidden and says
// what to do; a login that nothing is given to may change hands.
func (p *People) Pin(ctx context.Context, identity, number string) error {
	const op = "people.pin"
	id := Canonical(identity)
	if id == "" || strings.TrimSpace(number) == "" {
		return actions.Errorf(op, actions.CodeInvalid, "%q with the number %q is no account.", identity, number)
	}
	known, err := p.pin(ctx, id, number, "")
	if err != nil || known == number {
		return err
	}
	if p.named.Load().owners[id] != "" {
		return actions.Errorf(op, actions.CodeForbidden,
			"The account that is called %s now (number %s) is not the one that Berth knows by that name (number %s), so nothing was done. "+
				"If it is the right person's, somebody who keeps Berth's config takes %s out of `actors`, lets it do something once, and puts it back.", id, number, known, id)
	}
	sets, err := p.read(ctx, []string{id})
	if err != nil {
		return err
	}
	if s := sets[id]; s.has(id) && !s.left(id) {
		return actions.Errorf(op, actions.CodeForbidden,
			"The account that is called %s now (number %s) is not the one that was linked by that name (number %s), so nothing was done. Whoever linked it takes it away with `link remove %s`, typed from another of their accounts.",
			id, number, known, id)
	}
	_, err = p.pin(ctx, id, number, known)
	return err
}

func (p *People) pin(ctx context.Context, id, number, insteadOf string) (string, error) {
	known, err := pinScript.Run(ctx, p.rdb, []string{p.key("pins")}, id, number, insteadOf).Text()
	if err != nil {
		return "", redisError("people.pin", err)
	}
	return known, nil
}
