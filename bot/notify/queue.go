package notify

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/bot"
)

// All keys share a hash tag, so that scripts may touch several of them on a
// Cluster: what is told to people is little.
const (
	keyPrefix = "berth:{notify}:"
	dueKey    = keyPrefix + "due"   // sorted set of targets, by when each is to be looked at
	heldKey   = keyPrefix + "held"  // hash of targets that a replica has in hand, to the token of its claim
	tokenKey  = keyPrefix + "token" // counts claims
	sizeKey   = keyPrefix + "size"  // how much waits for all targets
	asideKey  = keyPrefix + "aside" // list of what could not be told, the newest first

	// leaseTime is how long a replica has a target in hand at most: longer than
	// telling takes.
	leaseTime = time.Minute
	// keptAside is how much of what could not be told is kept.
	keptAside = 1000
	// keepState is how long the state of a target is kept that nobody changes.
	keepState = 2 * 24 * time.Hour
)

func toldKey(key string) string { return keyPrefix + "told:" + digest(key) }

// queueKey holds what waits for a target, by id and so by time; stateKey what is
// known of it: see state.
func queueKey(t Target) string { return keyPrefix + "queue:" + digest(t.String()) }
func stateKey(t Target) string { return keyPrefix + "state:" + digest(t.String()) }

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

// waiting is a notice that waits for a target.
type waiting struct {
	Notice bot.Notice `json:"notice"`
	At     time.Time  `json:"at"`               // when it was stored
	Digest bool       `json:"digest,omitempty"` // it stands for several
	Tries  int        `json:"tries,omitempty"`
	After  time.Time  `json:"after,omitzero"` // not before then

	id string
}

// enqueueScript stores a notice for each of its targets.
//
//	KEYS[1]     what tells that it was stored; expires
//	KEYS[2…4]   due, size and held
//	KEYS[5…]    queue and state of each target
//	ARGV[1]     now, in milliseconds
//	ARGV[2]     how long it is known, in milliseconds
//	ARGV[3, 4]  how much may wait for one target, and for all
//	ARGV[5, 6]  the id and the text
//	ARGV[7…]    the targets
//	output      1, or 0 when it was stored before. A call repeated by the client
//	            because the reply was lost gets the answer that it got
var enqueueScript = redis.NewScript(`
if not redis.call('SET', KEYS[1], ARGV[5], 'NX', 'PX', ARGV[2]) then
	return redis.call('GET', KEYS[1]) == ARGV[5] and 1 or 0
end
local size = tonumber(redis.call('GET', KEYS[3]) or '0')
for i = 7, #ARGV do
	local queue, state = KEYS[5 + 2 * (i - 7)], KEYS[6 + 2 * (i - 7)]
	if size >= tonumber(ARGV[4]) or redis.call('HLEN', queue) >= tonumber(ARGV[3]) then
		redis.call('HINCRBY', state, 'lost', 1)
	else
		redis.call('HSET', queue, ARGV[5], ARGV[6])
		size = redis.call('INCR', KEYS[3])
	end
	if redis.call('HEXISTS', KEYS[4], ARGV[i]) == 0 then
		local at = math.max(tonumber(ARGV[1]), tonumber(redis.call('HGET', state, 'ready') or '0'))
		local was = redis.call('ZSCORE', KEYS[2], ARGV[i])
		if not was or at < tonumber(was) then
			redis.call('ZADD', KEYS[2], string.format('%d', at), ARGV[i])
		end
	end
end
return 1
`)

// claimScript takes the target that is due the longest in hand.
//
//	KEYS     due, held, token
//	ARGV[1]  now, in milliseconds
//	ARGV[2]  until when it is in hand
//	output   {target, token}, or nothing
var claimScript = redis.NewScript(`
local target = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 1)[1]
if not target then return {} end
redis.call('ZADD', KEYS[1], ARGV[2], target)
local token = string.format('%d', redis.call('INCR', KEYS[3]))
redis.call('HSET', KEYS[2], target, token)
return {target, token}
`)

// beginScript notes that a notice is about to be told.
//
//	KEYS     held, state
//	ARGV[1]  the target
//	ARGV[2]  the token
//	ARGV[3]  the notice's id
//	ARGV[4]  how long the state is kept, in milliseconds
//	output   how often it was begun without an end, this time included; 0 when
//	         the target is another's by now
var beginScript = redis.NewScript(`
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if redis.call('HGET', KEYS[2], 'hand') ~= ARGV[3] then
	redis.call('HSET', KEYS[2], 'hand', ARGV[3], 'hands', 0)
end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return redis.call('HINCRBY', KEYS[2], 'hands', 1)
`)

// finishScript gives a target back.
//
//	KEYS     due, held, size, queue, state
//	ARGV[1]  the target
//	ARGV[2]  the token
//	ARGV[3]  when it is due again, in milliseconds
//	ARGV[4]  before when it is not due, whatever comes
//	ARGV[5]  how much there was when it was looked at
//	ARGV[6]  how much of what was lost is told of
//	ARGV[7]  how long the state is kept, in milliseconds
//	ARGV[8]  how many fields of the state are set; names and values follow
//	then     how many notices are put, ids and texts; then the ids that leave
//	output   1, or 0 when the target is another's by now, and nothing changed.
//	         When nothing waits anywhere the size is set right, should it be wrong
var finishScript = redis.NewScript(`
local due, held, size, queue, state = unpack(KEYS)
if redis.call('HGET', held, ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', held, ARGV[1])
redis.call('HDEL', state, 'hand', 'hands')
redis.call('HSET', state, 'ready', ARGV[4])
if ARGV[6] ~= '0' then redis.call('HINCRBY', state, 'lost', '-' .. ARGV[6]) end
local came = redis.call('HLEN', queue) > tonumber(ARGV[5])
local at = 9
for _ = 1, tonumber(ARGV[8]) do
	redis.call('HSET', state, ARGV[at], ARGV[at + 1])
	at = at + 2
end
local put = tonumber(ARGV[at])
at = at + 1
for _ = 1, put do
	if redis.call('HSET', queue, ARGV[at], ARGV[at + 1]) == 1 then redis.call('INCR', size) end
	at = at + 2
end
for i = at, #ARGV do
	if redis.call('HDEL', queue, ARGV[i]) == 1 then redis.call('DECR', size) end
end
redis.call('PEXPIRE', state, ARGV[7])
if redis.call('HLEN', queue) == 0 and tonumber(redis.call('HGET', state, 'lost') or '0') <= 0 then
	redis.call('ZREM', due, ARGV[1])
	if redis.call('ZCARD', due) == 0 then redis.call('SET', size, 0) end
else
	local at = tonumber(ARGV[3])
	if came then at = math.min(at, tonumber(ARGV[4])) end
	redis.call('ZADD', due, string.format('%d', at), ARGV[1])
end
return 1
`)

// enqueue stores a notice for targets, and tells whether it was not stored before.
func (n *Notifier) enqueue(ctx context.Context, key string, text []byte, targets []Target) (bool, error) {
	now := n.now()
	keys := []string{toldKey(key), dueKey, sizeKey, heldKey}
	args := []any{now.UnixMilli(), rememberTold.Milliseconds(), mostWaiting, mostInAll, newID(now), text}
	for _, t := range targets {
		keys = append(keys, queueKey(t), stateKey(t))
		args = append(args, t.String())
	}
	return enqueueScript.Run(ctx, n.rdb, keys, args...).Bool()
}

// made counts the ids of this process.
var made atomic.Uint64

// newID sorts by time, and those of one process by their order.
func newID(now time.Time) string {
	return fmt.Sprintf("%013d-%08d-%s", now.UnixMilli(), made.Add(1)%1e8, rand.Text()[:10])
}

// state is what is known of a target besides what waits for it.
type state struct {
	lost  int                // notices that there was no room for
	bad   int                // failures in a row
	hand  string             // the notice that was begun and not ended
	hands int                // how often
	told  map[string][]int64 // event → when notices of it were told, in milliseconds, the oldest first
}

// claim is a target in hand.
type claim struct {
	target  Target
	token   string
	waiting []waiting // in the order in which they came
	spoilt  []string  // ids of what cannot be read
	state   state
}

// take takes a target that is due in hand; nil when none is.
func (n *Notifier) take(ctx context.Context) (*claim, error) {
	now := n.now()
	got, err := claimScript.Run(ctx, n.rdb, []string{dueKey, heldKey, tokenKey}, now.UnixMilli(), now.Add(leaseTime).UnixMilli()).StringSlice()
	if err != nil || len(got) != 2 {
		return nil, err
	}
	c := &claim{target: parseTarget(got[0]), token: got[1]}
	var queue, known *redis.MapStringStringCmd
	_, err = n.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		queue, known = p.HGetAll(ctx, queueKey(c.target)), p.HGetAll(ctx, stateKey(c.target))
		return nil
	})
	if err != nil {
		return nil, err // the claim runs out
	}
	for id, text := range queue.Val() {
		w := waiting{}
		if err := json.Unmarshal([]byte(text), &w); err != nil {
			n.log.ErrorContext(ctx, "a notice cannot be read and is dropped", "outlet", c.target.Outlet, "channel", c.target.Channel, "error", err)
			c.spoilt = append(c.spoilt, id)
			continue
		}
		w.id = id
		c.waiting = append(c.waiting, w)
	}
	slices.SortFunc(c.waiting, func(a, b waiting) int { return strings.Compare(a.id, b.id) })
	c.state = readState(known.Val())
	return c, nil
}

const toldField = "told:" // begins the fields of state.told

func readState(fields map[string]string) state {
	number := func(name string) int { i, _ := strconv.Atoi(fields[name]); return max(i, 0) }
	s := state{lost: number("lost"), bad: number("bad"), hand: fields["hand"], hands: number("hands"), told: map[string][]int64{}}
	for name, text := range fields {
		event, ok := strings.CutPrefix(name, toldField)
		if !ok {
			continue
		}
		for word := range strings.FieldsSeq(text) {
			if at, err := strconv.ParseInt(word, 10, 64); err == nil {
				s.told[event] = append(s.told[event], at)
			}
		}
	}
	return s
}

// begin notes that w is about to be told. It returns how often that was begun
// without an end, this time included, and 0 when the target is another's by now.
func (n *Notifier) begin(ctx context.Context, c *claim, w waiting) (int, error) {
	return beginScript.Run(ctx, n.rdb, []string{heldKey, stateKey(c.target)}, c.target.String(), c.token, w.id, keepState.Milliseconds()).Int()
}

// end is how a claim ends.
type end struct {
	next  time.Time // when the target is due again
	ready time.Time // before when it is not, whatever comes
	lost  int       // of what was lost, what is told of
	set   map[string]string
	put   []waiting
	leave []string
}

// finish gives the target back. One that is another's by now is left to it.
func (n *Notifier) finish(ctx context.Context, c *claim, e end) error {
	args := []any{c.target.String(), c.token, e.next.UnixMilli(), e.ready.UnixMilli(), len(c.waiting) + len(c.spoilt), e.lost, keepState.Milliseconds(), len(e.set)}
	for name, value := range e.set {
		args = append(args, name, value)
	}
	args = append(args, len(e.put))
	for _, w := range e.put {
		text, err := json.Marshal(w)
		if err != nil {
			return err
		}
		args = append(args, w.id, text)
	}
	for _, id := range slices.Concat(c.spoilt, e.leave) {
		args = append(args, id)
	}
	keys := []string{dueKey, heldKey, sizeKey, queueKey(c.target), stateKey(c.target)}
	mine, err := finishScript.Run(ctx, n.rdb, keys, args...).Bool()
	if err == nil && !mine {
		n.log.InfoContext(ctx, "another replica has taken over what is told", "outlet", c.target.Outlet, "channel", c.target.Channel)
	}
	return err
}

// putAside keeps what could not be told for somebody to look at.
func (n *Notifier) putAside(ctx context.Context, t Target, w waiting, why error) error {
	text, err := json.Marshal(map[string]any{"outlet": t.Outlet, "channel": t.Channel, "notice": w.Notice, "error": why.Error(), "at": n.now().UTC()})
	if err != nil {
		return err
	}
	_, err = n.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.LPush(ctx, asideKey, text)
		p.LTrim(ctx, asideKey, 0, keptAside-1)
		return nil
	})
	return err
}
