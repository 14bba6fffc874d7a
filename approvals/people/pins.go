package people

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// pinScript remembers the number that a login had when it was first seen, and
// finds the login that the number had last.
//
//	KEYS[1]  numbers by login
//	KEYS[2]  logins by number, as they were last
//	ARGV[1]  the login
//	ARGV[2]  its number now
//	ARGV[3]  the number to give up for it, "" for none
//	output   {the number that is remembered, the login that this number had
//	         last, "" where that login is somebody else's by now}
var pinScript = redis.NewScript(`
local known = redis.call('HGET', KEYS[1], ARGV[1])
if not known or (ARGV[3] ~= '' and known == ARGV[3]) then
	redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
	known = ARGV[2]
end
if known ~= ARGV[2] then return {known, ''} end
local last = redis.call('HGET', KEYS[2], ARGV[2])
if last and redis.call('HGET', KEYS[1], last) == ARGV[2] then return {known, last} end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
return {known, ''}
`)

// Pin remembers which account (by its number, which never changes hands: of an
// OpenID Connect account, the issuer and `sub`) a login was when it was first
// seen. When another account shows up under a login
// to which the config or a link gives rights, it returns CodeForbidden and says
// what to do; a login that nothing is given to may change hands.
//
// An account that shows up under another login than before is the same person
// still: nobody decides twice, or on what they asked for, by a new name. The roles
// that the config gives to the login before are not the new one's; links are.
func (p *People) Pin(ctx context.Context, identity, number string) error {
	const op = "people.pin"
	id := Canonical(identity)
	if id == "" || strings.TrimSpace(number) == "" {
		return actions.Errorf(op, actions.CodeInvalid, "%q with the number %q is no account.", identity, number)
	}
	known, last, err := p.pin(ctx, id, number, "")
	if err != nil {
		return err
	}
	if known == number {
		return p.renamed(ctx, number, last, id)
	}
	is, was := " (number "+number+")", " (number "+known+")"
	if strings.HasPrefix(id, "oidc:") {
		is, was = "", "" // whose `sub` is what is nobody else's business
	}
	if p.named.Load().owners[id] != "" {
		return actions.Errorf(op, actions.CodeForbidden,
			"The account that is called %s now%s is not the one that Berth knows by that name%s, so nothing was done. "+
				"If it is the right person's, somebody who keeps Berth's config takes %s out of `actors`, lets it do something once, and puts it back.", id, is, was, id)
	}
	sets, err := p.read(ctx, []string{id})
	if err != nil {
		return err
	}
	if s := sets[id]; s.has(id) && !s.left(id) {
		return actions.Errorf(op, actions.CodeForbidden,
			"The account that is called %s now%s is not the one that was linked by that name%s, so nothing was done. Whoever linked it takes it away with `link remove %s`, typed from another of their accounts.",
			id, is, was, id)
	}
	if _, last, err = p.pin(ctx, id, number, known); err != nil {
		return err
	}
	return p.renamed(ctx, number, last, id)
}

func (p *People) pin(ctx context.Context, id, number, insteadOf string) (known, last string, err error) {
	answer, err := pinScript.Run(ctx, p.rdb, []string{p.key("pins"), p.key("pins:last")}, id, number, insteadOf).StringSlice()
	if err != nil {
		return "", "", redisError("people.pin", err)
	}
	if len(answer) != 2 {
		return "", "", actions.Errorf("people.pin", actions.CodeInternal, "Redis gave an unexpected answer.")
	}
	return answer[0], answer[1], nil
}

// renamed makes the account, which was called last when it was seen before and is
// called id now, one person under both names: the name before as one that was
// taken away. Names that the config gives to two people stay theirs.
func (p *People) renamed(ctx context.Context, number, last, id string) error {
	if last == "" || last == id {
		return nil
	}
	for range moveTries {
		sets, err := p.read(ctx, []string{last, id})
		if err != nil {
			return err
		}
		before, now := sets[last], sets[id]
		named := p.named.Load()
		if x, y := named.owner(last, before), named.owner(id, now); x != "" && y != "" && x != y {
			p.log.WarnContext(ctx, "an account has taken a name that the config gives to somebody else", "was", last, "is", id)
			return nil
		}
		var next set
		for _, s := range []set{before, {Accounts: []string{last}}, now, {Accounts: []string{id}}} {
			for _, account := range s.Accounts {
				if next.has(account) {
					continue
				}
				next.Accounts = append(next.Accounts, account)
				if at := max(unix(before.Left[account]), unix(now.Left[account])); at != 0 && account != id {
					next.mark(account, time.Unix(at, 0).UTC())
				}
			}
		}
		next.mark(last, p.now().UTC().Truncate(time.Second))
		rec := record("link.renamed", approvals.Requester{Actor: "berth"}, approvals.Place{}, map[string]string{"account": id, "was": last})
		word, err := p.write(ctx, next, sets, codeUse{}, rec)
		if err != nil {
			return err
		}
		if word == "ok" {
			// Only now, so that what failed before is done again.
			if err := p.rdb.HSet(ctx, p.key("pins:last"), number, id).Err(); err != nil {
				return redisError("people.pin", err)
			}
			return nil
		}
	}
	return busy("people.pin")
}
