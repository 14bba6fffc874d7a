package approvals

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
)

// The queue. All of its keys have one hash tag, so that a script can move a hint
// from one to another.
const (
	readyKey   = "berth:{queue}:ready"   // sorted set of hints that want a worker, by their turn
	laterKey   = "berth:{queue}:later"   // sorted set of hints, by when they are due (Unix milliseconds, of Redis)
	turnsKey   = "berth:{queue}:turns"   // hash: the last turn that was given out, by flow; "" is the turn that was taken last
	triesKey   = "berth:{queue}:tries"   // hash: how often it was tried in vain, by hint; only of those in laterKey
	bellKey    = "berth:{queue}:bell"    // list with an element when there may be something to take
	workersKey = "berth:{queue}:workers" // sorted set of replicas, by when they were last seen (Unix milliseconds, of Redis)
	heldKey    = "berth:{queue}:held:"   // + replica: set of the hints in its hands
	farthest   = 5 * time.Minute         // a hint of a request that a worker should see to is not due later than this
	automatics = 50                      // so many turns of what a person waits for go before one of what nobody does
	mostMoved  = 500                     // hints that one script moves
)

// hint says that a request wants attention. The record says which.
type hint struct {
	env   actions.Name
	id    string
	auto  bool // nobody waits for it: a schedule's, or made by Berth itself
	tries int  // how often the same thing was tried in vain
}

// hintOf is the hint for r.
func hintOf(r *Request) hint {
	return hint{env: r.Order.Env, id: r.ID, auto: r.Automatic()}
}

// String is the hint as it stands in the queue: "ID app/name", and " auto" behind
// it where nobody waits. Equal hints are one.
func (h hint) String() string {
	text := member(h.id, h.env)
	if h.auto {
		text += " auto"
	}
	return text
}

// queue brings hints to workers: at least once, to one of them at a time. Each
// request has one hint at most that nobody has taken, however often it is put
// in. Turns are given out by start-time fair queueing: the flows (an app's
// requests of one kind) take turns, however many hints each has, and a flow that
// nobody waits for gets a turn for every 50 of another.
// Source: Goyal, Vin, Cheng: Start-time Fair Queueing, SIGCOMM 1996.
type queue struct {
	pipe *actions.Pipe
	rdb  redis.UniversalClient
	log  *slog.Logger

	mu      sync.Mutex
	waiting []any // hints that enqueue is to put in
	putting bool

	near atomic.Pointer[near] // a worker of this process
	open atomic.Bool          // nothing waits here, as far as this process can tell
}

func newQueue(rdb redis.UniversalClient, pipe *actions.Pipe, log *slog.Logger) *queue {
	return &queue{rdb: rdb, pipe: pipe, log: log}
}

// luaQueue is what the scripts of the queue share. KEYS are queueKeys.
var luaQueue = `
local ready, later, turns, tries, bell, workers = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local function now()
	local t = redis.call('TIME')
	return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
local function ring()
	if redis.call('LLEN', bell) == 0 then redis.call('RPUSH', bell, '1') end
end
local taken, given = nil, {}
local function put(m)
	if not taken then taken = tonumber(redis.call('HGET', turns, '') or '0') end
	local app, kind = m:match('^%S+ ([^/ ]+)/%S+(.*)$')
	local flow, cost = (app or '') .. (kind or ''), 1
	if kind == ' auto' then cost = ` + strconv.Itoa(automatics) + ` end
	local turn = math.max(taken, given[flow] or tonumber(redis.call('HGET', turns, flow) or '0')) + cost
	if redis.call('ZADD', ready, 'NX', string.format('%.17g', turn), m) == 1 then given[flow] = turn end
end
local function noted() -- after the last put
	for flow, turn in pairs(given) do redis.call('HSET', turns, flow, string.format('%.17g', turn)) end
end
`

var queueKeys = []string{readyKey, laterKey, turnsKey, triesKey, bellKey, workersKey}

// putScript puts hints in.
//
//	ARGV  the hints
var putScript = actions.NewLua(luaQueue + `
for i = 1, #ARGV do put(ARGV[i]) end
noted()
redis.call('ZREM', later, unpack(ARGV))
ring()
`)

// takeScript gives hints to a replica.
//
//	ARGV[1]  the replica
//	ARGV[2]  how many at most
//	output   hint, how often it was tried, hint, …
var takeScript = actions.NewLua(luaQueue + `
local got = redis.call('ZPOPMIN', ready, ARGV[2])
redis.call('DEL', bell)
local out, hints, mine = {}, {}, '` + heldKey + `' .. ARGV[1]
if #got == 0 then return out end
local counted = redis.call('EXISTS', tries) == 1
for i = 1, #got, 2 do
	hints[#hints + 1] = got[i]
	out[i], out[i + 1] = got[i], '0'
	if counted then
		out[i + 1] = redis.call('HGET', tries, got[i]) or '0'
		redis.call('HDEL', tries, got[i])
	end
end
redis.call('SADD', mine, unpack(hints))
redis.call('ZADD', workers, string.format('%.0f', now()), ARGV[1])
if redis.call('ZCARD', ready) == 0 then
	redis.call('DEL', turns) -- nobody waits, so that all are even
else
	redis.call('HSET', turns, '', got[#got])
	ring()
end
return out
`)

// delayScript has a hint looked at after a while, unless it is due earlier anyhow.
//
//	ARGV[1]  the hint
//	ARGV[2]  after so many milliseconds
//	ARGV[3]  how often it was tried
var delayScript = actions.NewLua(luaQueue + `
local due = now() + tonumber(ARGV[2])
local known = redis.call('ZSCORE', later, ARGV[1])
if not known or tonumber(known) > due then redis.call('ZADD', later, string.format('%.0f', due), ARGV[1]) end
if ARGV[3] ~= '0' then redis.call('HSET', tries, ARGV[1], ARGV[3]) end
`)

// dueScript puts in what has become due, and what is in the hands of replicas
// that were not seen for a while.
//
//	ARGV[1]  how many hints at most
//	ARGV[2]  a replica must have been seen within so many milliseconds
//	output   {how many were due, how many were taken from replicas}
var dueScript = actions.NewLua(luaQueue + `
local at = now()
local due = redis.call('ZRANGEBYSCORE', later, '-inf', string.format('%.0f', at), 'LIMIT', 0, ARGV[1])
for _, m in ipairs(due) do
	put(m)
	redis.call('ZREM', later, m)
end
local freed = 0
for _, replica in ipairs(redis.call('ZRANGEBYSCORE', workers, '-inf', string.format('%.0f', at - tonumber(ARGV[2])))) do
	local held = redis.call('SPOP', '` + heldKey + `' .. replica, ARGV[1])
	for _, m in ipairs(held) do put(m) end
	freed = freed + #held
	if #held == 0 then redis.call('ZREM', workers, replica) end
end
noted()
if redis.call('ZCARD', ready) > 0 then ring() end
return {#due, freed}
`)

// seenScript shows that a replica lives.
//
//	ARGV[1]  the replica
var seenScript = actions.NewLua(luaQueue + `
redis.call('ZADD', workers, string.format('%.0f', now()), ARGV[1])
redis.call('EXPIRE', '` + heldKey + `' .. ARGV[1], 86400) -- for when the replica is forgotten before it comes back
`)

// adoptScript puts in what a replica has in its hands.
//
//	ARGV[1]  the replica
var adoptScript = actions.NewLua(luaQueue + `
local held = redis.call('SPOP', '` + heldKey + `' .. ARGV[1], ` + strconv.Itoa(mostMoved) + `)
for _, m in ipairs(held) do put(m) end
noted()
if #held > 0 then ring() end
return #held
`)

// lostScript finds requests whose hint is nowhere in the queue.
//
//	ARGV[1]   milliseconds: one that is due later than this counts as lost
//	ARGV[2…]  the requests, "ID app/name"
//	output    those whose hint is lost
var lostScript = actions.NewLua(luaQueue + `
local out, limit = {}, now() + tonumber(ARGV[1])
local replicas = redis.call('ZRANGE', workers, 0, -1)
for i = 2, #ARGV do
	local found = false
	for _, m in ipairs({ARGV[i], ARGV[i] .. ' auto'}) do
		found = found or redis.call('ZSCORE', ready, m)
		if not found then
			local due = redis.call('ZSCORE', later, m)
			found = due and tonumber(due) <= limit
		end
		for _, replica in ipairs(replicas) do
			found = found or redis.call('SISMEMBER', '` + heldKey + `' .. replica, m) == 1
		end
	end
	if not found then out[#out + 1] = ARGV[i] end
end
return out
`)

// add makes hints due now.
func (q *queue) add(ctx context.Context, hints ...hint) error {
	args := make([]any, len(hints))
	for i, h := range hints {
		args[i] = h.String()
	}
	_, err := q.pipe.Eval(ctx, putScript, queueKeys, args)
	return err
}

// enqueue is add that nobody waits for. A failure is logged: the sweeper finds
// what has no hint. Hints that come at one moment share a script.
func (q *queue) enqueue(h hint) {
	q.open.Store(false)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, h.String())
	if !q.putting {
		q.putting = true
		go q.putAll()
	}
}

// putAll puts in what waits until nothing does.
func (q *queue) putAll() {
	for {
		q.mu.Lock()
		n := min(len(q.waiting), mostMoved)
		batch := q.waiting[:n:n]
		q.waiting = q.waiting[n:]
		if n == 0 {
			q.putting, q.waiting = false, nil
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		if _, err := q.pipe.Eval(context.Background(), putScript, queueKeys, batch); err != nil {
			q.log.Warn("hints were not queued; the sweeper will see to them", "count", n, "error", err)
		}
	}
}

// delay makes h due after d.
func (q *queue) delay(ctx context.Context, h hint, d time.Duration) error {
	_, err := q.pipe.Eval(ctx, delayScript, queueKeys, []any{h.String(), max(d, 0).Milliseconds(), h.tries})
	return err
}

// take gives up to count hints to replica.
func (q *queue) take(ctx context.Context, replica string, count int) ([]hint, error) {
	reply, err := q.pipe.Eval(ctx, takeScript, queueKeys, []any{replica, count})
	if err != nil {
		return nil, err
	}
	words, _ := reply.([]any)
	hints := make([]hint, 0, len(words)/2)
	for i := 0; i+1 < len(words); i += 2 {
		text, _ := words[i].(string)
		tries, _ := words[i+1].(string)
		h, ok := parseHint(text)
		if !ok { // somebody wrote into the queue
			q.log.WarnContext(ctx, "an entry of the queue says nothing and is dropped")
			if err := q.done(ctx, replica, text); err != nil {
				return hints, err
			}
			continue
		}
		h.tries, _ = strconv.Atoi(tries)
		hints = append(hints, h)
	}
	return hints, nil
}

// wait returns when there may be something to take, or after block.
func (q *queue) wait(ctx context.Context, block time.Duration) error {
	// The client's own BLPop knows whole seconds only.
	pop := redis.NewStringSliceCmd(ctx, "blpop", bellKey, strconv.FormatFloat(block.Seconds(), 'f', 3, 64))
	err := q.rdb.Process(ctx, pop)
	if isNil(err) {
		return nil
	}
	return err
}

// done takes a hint out of replica's hands.
func (q *queue) done(ctx context.Context, replica, hint string) error {
	return q.pipe.Do(ctx, redis.NewIntCmd(ctx, "srem", heldKey+replica, hint))
}

// served is done that nobody waits for. When it fails, the replica finds the hint
// in its hands later.
func (q *queue) served(replica string, h hint) {
	ctx := context.Background()
	q.pipe.Later([]redis.Cmder{actions.NewMember(ctx, "srem", heldKey+replica, h.String())}, nil)
}

// seen shows that replica lives, so that what is in its hands stays there.
func (q *queue) seen(ctx context.Context, replica string) error {
	_, err := q.pipe.Eval(ctx, seenScript, queueKeys, []any{replica})
	return err
}

// moveDue puts in what has become due, and what is in the hands of replicas that
// were not seen for idle. It returns how many the latter are.
func (q *queue) moveDue(ctx context.Context, idle time.Duration) (int64, error) {
	for {
		reply, err := q.pipe.Eval(ctx, dueScript, queueKeys, []any{mostMoved, idle.Milliseconds()})
		if err != nil {
			return 0, err
		}
		words, _ := reply.([]any)
		if len(words) != 2 {
			return 0, errors.New("unexpected reply of the queue")
		}
		due, _ := words[0].(int64)
		freed, _ := words[1].(int64)
		if due < mostMoved {
			return freed, nil
		}
	}
}

// heldBy are the hints that replica has in its hands.
func (q *queue) heldBy(ctx context.Context, replica string) ([]hint, error) {
	texts, err := q.rdb.SMembers(ctx, heldKey+replica).Result()
	if err != nil {
		return nil, err
	}
	var hints []hint
	for _, text := range texts {
		if h, ok := parseHint(text); ok {
			hints = append(hints, h)
		}
	}
	return hints, nil
}

// adopt puts in again what replica has in its hands.
func (q *queue) adopt(ctx context.Context, replica string) error {
	for {
		reply, err := q.pipe.Eval(ctx, adoptScript, queueKeys, []any{replica})
		if n, _ := reply.(int64); err != nil || n < mostMoved {
			return err
		}
	}
}

// lost returns which of the requests, "ID app/name", have a hint nowhere in the
// queue, or one that is due much later.
func (q *queue) lost(ctx context.Context, requests []string) (map[string]bool, error) {
	args := make([]any, 1, 1+len(requests))
	args[0] = farthest.Milliseconds()
	for _, r := range requests {
		args = append(args, r)
	}
	reply, err := q.pipe.Eval(ctx, lostScript, queueKeys, args)
	if err != nil {
		return nil, err
	}
	words, _ := reply.([]any)
	lost := make(map[string]bool, len(words))
	for _, word := range words {
		text, _ := word.(string)
		lost[text] = true
	}
	return lost, nil
}

// depth is how many hints there are: for workers to take, and for later.
func (q *queue) depth(ctx context.Context) (int64, int64, error) {
	ready, later := redis.NewIntCmd(ctx, "zcard", readyKey), redis.NewIntCmd(ctx, "zcard", laterKey)
	err := q.pipe.Do(ctx, ready, later)
	return ready.Val(), later.Val(), err
}

// parseHint reads what String wrote.
func parseHint(text string) (hint, bool) {
	words := strings.Split(text, " ")
	if len(words) < 2 || len(words) > 3 || len(words) == 3 && words[2] != "auto" || !validID(words[0]) {
		return hint{}, false
	}
	env, err := actions.ParseName(words[1])
	return hint{env: env, id: words[0], auto: len(words) == 3}, err == nil
}

func isNil(err error) bool { return errors.Is(err, redis.Nil) }

// backoff is how long to wait after the n-th failure in a row, n from 0: first,
// then twice as long each time up to most, less a random part of up to half, so
// that those who failed together do not come back together.
func backoff(n int, first, most time.Duration) time.Duration {
	d := most
	if n < 30 && first<<n < most {
		d = first << n
	}
	return d - rand.N(d/2+1) //nolint:gosec // it spreads load; nobody gains by guessing it
}
