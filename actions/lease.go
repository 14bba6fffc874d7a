package actions

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	leaseKey = "lease"
	tokenKey = "lease:token" // counts the leases of an environment; never expires
)

// Lease is the right to change an environment for a while. Its Token is greater
// than that of every earlier lease of the environment: writes carry it, and are
// refused with CodeFenced once somebody got a later one. Time runs in Redis, so
// that no client's clock matters.
type Lease struct {
	Env    Name
	Holder string
	Token  int64

	store *Store
	value string // what the key holds as long as the lease is ours
	ttl   time.Duration
}

// LuaLease is a function for the Scripts that take a lease together with other
// changes of its environment.
//
//	take_lease(lease, held, counted, mark, ttl)  the token as a text, nil when
//	                                             somebody holds the lease
//
// held and counted are what the keys of Offer hold, or false. The caller writes
// the token to the second.
const LuaLease = `
local function take_lease(lease, held, counted, mark, ttl)
	if held then return nil end
	local token = string.format('%d', (tonumber(counted or '0')) + 1)
	redis.call('SET', lease, token .. ' ' .. mark, 'PX', ttl)
	return token
end
`

// Offer is a lease that nobody has yet: for a Script that takes it by LuaLease,
// with Keys, Mark and TTL. Granted makes it a lease.
func (s *Store) Offer(env Name, holder string, ttl time.Duration) *Lease {
	return &Lease{Env: env, Holder: holder, store: s, value: rand.Text() + " " + holder, ttl: ttl}
}

// Granted tells an offered lease the token that the Script got for it.
func (l *Lease) Granted(token int64) {
	l.Token, l.value = token, fmt.Sprintf("%d %s", token, l.value)
}

// Keys are where the lease is and where tokens are counted.
func (l *Lease) Keys() []string {
	return []string{l.store.Key(l.Env, leaseKey), l.store.Key(l.Env, tokenKey)}
}

// Mark tells an offered lease from all others.
func (l *Lease) Mark() string { return l.value }

// TTL is how long the lease holds without being renewed.
func (l *Lease) TTL() time.Duration { return l.ttl }

// acquireScript takes a lease that nobody holds.
//
//	KEYS[1]  the lease
//	KEYS[2]  the counter of tokens
//	ARGV[1]  what tells this call from all others: "NONCE HOLDER"
//	ARGV[2]  how long it holds, in milliseconds
//	output   {token, ""}; {0, holder} when it is held. A call repeated by the
//	         client because the reply was lost gets the token that it got
var acquireScript = redis.NewScript(`
local now = redis.call('GET', KEYS[1])
if now then
	local token, rest = now:match('^(%d+) (.*)$')
	if rest == ARGV[1] then return {tonumber(token), ''} end
	return {0, (rest or now):match('^%S+ (.*)$') or now}
end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], string.format('%d', token) .. ' ' .. ARGV[1], 'PX', ARGV[2])
return {token, ''}
`)

// renewScript lets a lease that is still held hold from now on.
//
//	KEYS[1]  the lease
//	ARGV[1]  what it must hold
//	ARGV[2]  how long it holds, in milliseconds
//	output   1, or 0 when it is lost
var renewScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`)

// releaseScript gives a lease back.
//
//	KEYS[1]  the lease
//	ARGV[1]  what it must hold
//	output   1, or 0 when it was not ours any more
var releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`)

// Acquire takes the lease of env for ttl. It returns CodeConflict, naming the
// holder, when somebody has it, be it the same holder.
func (s *Store) Acquire(ctx context.Context, env Name, holder string, ttl time.Duration) (*Lease, error) {
	const op = "lease.acquire"
	if ttl < time.Millisecond {
		return nil, Errorf(op, CodeInternal, "A lease must hold for a millisecond at least.")
	}
	mark := rand.Text() + " " + holder
	reply, err := acquireScript.Run(ctx, s.rdb, []string{s.Key(env, leaseKey), s.Key(env, tokenKey)}, mark, ttl.Milliseconds()).Slice()
	if err != nil {
		return nil, redisError(op, err)
	}
	if len(reply) != 2 {
		return nil, Errorf(op, CodeInternal, "Redis gave an unexpected answer.")
	}
	token, _ := reply[0].(int64)
	if token == 0 {
		other, _ := reply[1].(string)
		return nil, Errorf(op, CodeConflict, "Another action works on %s now (held by %s); try again when it has ended.", env, clip(strings.ToValidUTF8(other, "?")))
	}
	return &Lease{Env: env, Holder: holder, Token: token, store: s, value: fmt.Sprintf("%d %s", token, mark), ttl: ttl}, nil
}

// Renew makes the lease hold for its full time from now on. It returns
// CodeFenced when the lease ran out or is another's: the holder must stop.
func (l *Lease) Renew(ctx context.Context) error {
	const op = "lease.renew"
	kept, err := renewScript.Run(ctx, l.store.rdb, []string{l.store.Key(l.Env, leaseKey)}, l.value, l.ttl.Milliseconds()).Bool()
	if err != nil {
		return redisError(op, err)
	}
	if !kept {
		return fenced(op, l.Env)
	}
	return nil
}

// Release gives the lease back, so that others need not wait until it runs out.
// One that is lost already is success.
func (l *Lease) Release(ctx context.Context) error {
	err := releaseScript.Run(ctx, l.store.rdb, []string{l.store.Key(l.Env, leaseKey)}, l.value).Err()
	return redisError("lease.release", err)
}

// fenced says that the writer's lease is lost.
func fenced(op string, env Name) error {
	return Errorf(op, CodeFenced, "Another worker has taken %s over; this one stops.", env)
}
