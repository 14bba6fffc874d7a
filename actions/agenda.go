package actions

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

// AgendaOptions are what an Agenda needs.
type AgendaOptions struct {
	Redis redis.UniversalClient
	// Prefix begins all keys of the agenda. It holds a hash tag, so that they are in
	// one slot of a Redis Cluster: "berth:{chat}:show:".
	Prefix string
	// Replica names this process, and the one that takes its place after a restart,
	// which then goes on at once with what it held; no two run under one name at
	// once. "" makes one up.
	Replica string
	// Lease is how long a member stays with a replica that is heard of no more; 0
	// means DefaultAgendaLease. Timeout is how long handling one may take; 0 means
	// DefaultAgendaTimeout.
	Lease, Timeout time.Duration
	// BackOff is how long after a failure a member is tried again, which each
	// further one doubles up to BackOffMost; 0 means DefaultAgendaBackOff and
	// DefaultAgendaBackOffMost.
	BackOff, BackOffMost time.Duration
	Now                  func() time.Time // when members are due; nil means time.Now
	Log                  *slog.Logger     // nil means none
}

// What AgendaOptions are where they say nothing.
const (
	DefaultAgendaLease       = 15 * time.Second
	DefaultAgendaTimeout     = 30 * time.Second
	DefaultAgendaBackOff     = 500 * time.Millisecond
	DefaultAgendaBackOffMost = time.Minute
)

const (
	// agendaIdle is how often what is due is looked for when nothing says so: other
	// replicas mark members as well.
	agendaIdle = time.Second
	// agendaLinger is how long handling that has begun may go on once the replica is
	// told to stop.
	agendaLinger = 5 * time.Second
	// agendaFarewell is how much longer it may take to give that back.
	agendaFarewell = 3 * time.Second
	// agendaMost bounds how many members are taken in one turn.
	agendaMost = 256
)

// Agenda is a list of members that are due to be looked at, in Redis. Any replica
// may take one, and no two handle the same one at once: taking it is its lease,
// which its replica renews. Who marks a member while it is handled has it handled
// once more. A replica that is killed is missed after the lease, or goes on
// itself when it is back before.
//
// One script does all of that. A replica calls it whenever it has something to
// say or may get something to do: to give back what is handled, to renew what is
// not, and to take as much as it has hands for, all in one round trip. What is
// handled between two calls costs no round trips of its own.
type Agenda struct {
	rdb                  redis.UniversalClient
	keys                 []string // see turnScript
	replica              string
	lease, timeout       time.Duration
	backOff, backOffMost time.Duration
	wake                 chan struct{} // holds one: something may be due
	now                  func() time.Time
	log                  *slog.Logger
}

// NewAgenda makes an Agenda. It does nothing by itself before Run.
func NewAgenda(o AgendaOptions) *Agenda {
	a := &Agenda{
		rdb: o.Redis, replica: cmp.Or(o.Replica, rand.Text()),
		lease: cmp.Or(o.Lease, DefaultAgendaLease), timeout: cmp.Or(o.Timeout, DefaultAgendaTimeout),
		backOff: cmp.Or(o.BackOff, DefaultAgendaBackOff), backOffMost: cmp.Or(o.BackOffMost, DefaultAgendaBackOffMost),
		wake: make(chan struct{}, 1), now: o.Now, log: o.Log,
	}
	a.keys = []string{o.Prefix + "due", o.Prefix + "held", o.Prefix + "holder", o.Prefix + "meanwhile", o.Prefix + "tries", o.Prefix + "turn:" + a.replica}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	return a
}

// Mark has member handled at the time given, or before. It is one command, which
// may be part of a transaction of rdb's; whoever calls it reads its error there,
// and calls Nudge when it is done.
func (a *Agenda) Mark(ctx context.Context, rdb redis.Cmdable, member string, at time.Time) *redis.IntCmd {
	return rdb.ZAddLT(ctx, a.keys[0], redis.Z{Score: float64(at.UnixMilli()), Member: member})
}

// Nudge has this replica look at once for what is due.
func (a *Agenda) Nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// turnScript is a replica's turn: it gives back, renews and takes members.
//
// When a member is due is counted in the replicas' time, and how long it is held
// in Redis' own, so that no replica's clock can end a lease early.
//
//	KEYS  1 what is due: a sorted set of members by when, in ms
//	      2 what is held: a sorted set of members by until when, in ms of Redis' time
//	      3 by whom: a hash of members to tokens, "TURN REPLICA"
//	      4 what was marked while it was held, and when that is due: a hash
//	      5 how often each failed in a row: a hash
//	      6 the replica's last turn
//	ARGV  1 now in ms, 2 how long a lease is in ms, 3 how many to take, 4 the replica,
//	      5 the turn, a word that is new each time, 6 "1" when the replica has just begun: what one of its
//	      name held is free, 7 and 8 the first and the longest back-off in ms,
//	      9 how many are given back, then of each: member, token, when it is due again in ms
//	      ("" never, "+" after the back-off), then of each that is renewed: member, token
//	→     1 when the next is due in ms, "" when nothing is, 2 the members that are taken,
//	      3 those that could not be renewed, since they are another's
var turnScript = redis.NewScript(`
local due, held, holder, meanwhile, tries = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local now, most, token = tonumber(ARGV[1]), tonumber(ARGV[3]), ARGV[5] .. ' ' .. ARGV[4]
local clock = redis.call('TIME')
local expired = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ends = expired + tonumber(ARGV[2])

local function free(member, at)
	redis.call('ZREM', held, member)
	redis.call('HDEL', holder, member)
	local marked = redis.call('HGET', meanwhile, member)
	if marked then
		redis.call('HDEL', meanwhile, member)
		if not at or tonumber(marked) < at then at = tonumber(marked) end
	end
	if at then redis.call('ZADD', due, 'LT', at, member) end
end

if ARGV[6] == '1' then
	local all = redis.call('HGETALL', holder)
	for j = 1, #all, 2 do
		local theirs = all[j + 1]
		if theirs ~= token and string.sub(theirs, (string.find(theirs, ' ', 1, true) or 0) + 1) == ARGV[4] then free(all[j], now) end
	end
end

local i = 10
for _ = 1, tonumber(ARGV[9]) do
	local member, at = ARGV[i], ARGV[i + 2]
	if redis.call('HGET', holder, member) == ARGV[i + 1] then
		if at == '+' then
			local n = redis.call('HINCRBY', tries, member, 1)
			at = now + math.min(tonumber(ARGV[8]), tonumber(ARGV[7]) * 2 ^ math.min(n - 1, 30))
		else
			redis.call('HDEL', tries, member)
			at = tonumber(at)
		end
		free(member, at)
	end
	i = i + 3
end

local lost = {}
while i < #ARGV do
	if redis.call('HGET', holder, ARGV[i]) == ARGV[i + 1] then
		redis.call('ZADD', held, ends, ARGV[i])
	else
		lost[#lost + 1] = ARGV[i]
	end
	i = i + 2
end

for _, member in ipairs(redis.call('ZRANGE', held, '-inf', expired, 'BYSCORE', 'LIMIT', 0, 100)) do free(member, now) end

local taken = {}
if redis.call('GET', KEYS[6]) == ARGV[5] then
	-- The answer to this turn was lost: it is given again.
	local all = redis.call('HGETALL', holder)
	for j = 1, #all, 2 do
		if all[j + 1] == token then
			taken[#taken + 1] = all[j]
			redis.call('ZADD', held, ends, all[j])
		end
	end
else
	while #taken < most do
		local first = redis.call('ZRANGE', due, '-inf', now, 'BYSCORE', 'LIMIT', 0, most - #taken, 'WITHSCORES')
		if #first == 0 then break end
		for j = 1, #first, 2 do
			local member, at = first[j], first[j + 1]
			redis.call('ZREM', due, member)
			if redis.call('HSETNX', holder, member, token) == 1 then
				redis.call('ZADD', held, ends, member)
				taken[#taken + 1] = member
			else
				local marked = redis.call('HGET', meanwhile, member)
				if not marked or tonumber(at) < tonumber(marked) then redis.call('HSET', meanwhile, member, at) end
			end
		end
	end
	-- A turn that takes nothing can be taken again, and writes nothing.
	if #taken > 0 then redis.call('SET', KEYS[6], ARGV[5], 'PX', 600000) end
end

local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
return {first[2] or '', taken, lost}`)
