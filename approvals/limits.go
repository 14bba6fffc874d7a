package approvals

import (
	"context"
	"time"

	"github.com/berth-dev/berth/actions"
)

// Limit bounds how many runs go on at once, over all replicas, of those that it is
// about.
type Limit struct {
	Name string // "cluster staging", "executor helm": those of one name count together
	Most int    // at least 1
}

// Limits tells which limits an order falls under: of the cluster that it is for,
// of each executor that it uses. It is asked right before each run; nil means no
// limits.
type Limits func(order actions.Order) []Limit

// limitKey + a limit's name is a sorted set of the runs under it, by when they
// count no more unless they show that they go on (Unix milliseconds, of Redis).
const limitKey = "berth:{queue}:limit:"

// enterScript lets a run in under all of its limits, or none.
//
//	ARGV[1]   the run
//	ARGV[2]   how long it counts without a sign of life, in milliseconds
//	ARGV[3…]  name of a limit, how many it lets in, …
//	output    "" when it is in, else the name of a limit that is reached
var enterScript = actions.NewLua(luaQueue + `
local at = now()
for i = 3, #ARGV, 2 do
	local key = '` + limitKey + `' .. ARGV[i]
	redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', at))
	if not redis.call('ZSCORE', key, ARGV[1]) and redis.call('ZCARD', key) >= tonumber(ARGV[i + 1]) then return ARGV[i] end
end
for i = 3, #ARGV, 2 do
	local key = '` + limitKey + `' .. ARGV[i]
	redis.call('ZADD', key, string.format('%.0f', at + tonumber(ARGV[2])), ARGV[1])
	redis.call('PEXPIRE', key, ARGV[2] * 2)
end
return ''
`)

// exitScript counts a run no more, and has those looked at that wait for its place.
//
//	ARGV[1]   the run
//	ARGV[2…]  names of limits
var exitScript = actions.NewLua(luaQueue + `
for i = 2, #ARGV do
	redis.call('ZREM', '` + limitKey + `' .. ARGV[i], ARGV[1])
	local waits = '` + limitKey + `' .. ARGV[i] .. ':waits'
	for _, m in ipairs(redis.call('ZPOPMIN', waits, 1)) do
		if m:find(' ', 1, true) then
			put(m)
			redis.call('ZREM', later, m)
			ring()
		end
	end
end
noted()
`)

// awaitScript has a hint called when a place under a limit is free.
//
//	ARGV[1]  the limit's name
//	ARGV[2]  the hint
var awaitScript = actions.NewLua(luaQueue + `
local waits = '` + limitKey + `' .. ARGV[1] .. ':waits'
redis.call('ZADD', waits, 'NX', string.format('%.0f', now()), ARGV[2])
redis.call('PEXPIRE', waits, 3600000)
`)

// enter lets run in under limits for ttl. It returns the name of one that is
// reached, and has h called then when there is room; "" means that it is in.
func (q *queue) enter(ctx context.Context, h hint, run string, limits []Limit, ttl time.Duration) (string, error) {
	args := []any{run, ttl.Milliseconds()}
	for _, l := range limits {
		args = append(args, l.Name, l.Most)
	}
	reply, err := q.pipe.Eval(ctx, enterScript, queueKeys, args)
	if err != nil {
		return "", redisError("queue.enter", err)
	}
	full, _ := reply.(string)
	if full == "" {
		return "", nil
	}
	_, err = q.pipe.Eval(ctx, awaitScript, queueKeys, []any{full, h.String()})
	return full, redisError("queue.enter", err)
}

// exit counts run no more.
func (q *queue) exit(ctx context.Context, run string, limits []Limit) error {
	args := []any{run}
	for _, l := range limits {
		args = append(args, l.Name)
	}
	_, err := q.pipe.Eval(ctx, exitScript, queueKeys, args)
	return redisError("queue.exit", err)
}

// admitted are the limits that a run counts under, to be given back by dismiss.
// The run counts by its request's id, so that one that is taken over counts once.
type admitted struct {
	id     string
	limits []Limit
}

// admit lets r in under its limits. full is the name of one that is reached: then
// r waits, and is called when there is room.
func (w *Worker) admit(ctx context.Context, r *Request) (in *admitted, full string, err error) {
	if in = w.placesOf(r); len(in.limits) == 0 {
		return in, "", nil
	}
	full, err = w.queue.enter(ctx, hintOf(r), r.ID, in.limits, w.limitTTL())
	return in, full, err
}

// placesOf are the places that r takes while it runs.
func (w *Worker) placesOf(r *Request) *admitted {
	in := &admitted{id: r.ID}
	if w.limits == nil {
		return in
	}
	for _, l := range w.limits(r.Order) {
		if l.Most > 0 {
			in.limits = append(in.limits, l)
		}
	}
	return in
}

// limitTTL is how long a run counts without a sign of life: longer than its lease,
// so that nobody takes its place while it may still go on.
func (w *Worker) limitTTL() time.Duration { return 2 * w.lease }

// stay shows that what was admitted goes on.
func (w *Worker) stay(ctx context.Context, in *admitted) {
	if len(in.limits) == 0 {
		return
	}
	unbounded := make([]Limit, len(in.limits))
	for i, l := range in.limits {
		unbounded[i] = Limit{Name: l.Name, Most: 1 << 30} // it runs, whatever the limit is
	}
	if _, err := w.queue.enter(ctx, hint{}, in.id, unbounded, w.limitTTL()); err != nil && ctx.Err() == nil {
		w.log.WarnContext(ctx, "a run did not show that it counts under its limits", "request_id", in.id, "error", err)
	}
}

// dismiss gives the places of in to others.
func (w *Worker) dismiss(work context.Context, in *admitted) {
	if len(in.limits) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(work), stopWithin)
	defer cancel()
	if err := w.queue.exit(ctx, in.id, in.limits); err != nil {
		w.log.WarnContext(ctx, "a run counts under its limits for a while yet", "request_id", in.id, "error", err)
	}
}
