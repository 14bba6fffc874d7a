package approvals

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
)

// luaRecord reads what scripts must know of a record without decoding all of it.
// Source: the members of Request, which encoding/json writes in their order.
const luaRecord = `
local function look(text)
	local state, revision = text:match('^{"id":"[^"]*","state":"(%l+)"'), text:match('"revision":(%d+)}$', -32)
	if state and revision then return state, tonumber(revision) end
	local r = cjson.decode(text)
	return r.state, r.revision
end
`

// beginScript makes a request running, and takes the lease of its environment,
// if it is the environment's only one and nobody holds the lease: the common
// case, in one step.
//
//	K[1]  the record
//	K[2]  the environment's lease
//	K[3]  the environment's counter of leases
//	K[4]  its plan
//	K[5]  the environment's active requests
//	A[1]  the revision that the record must have
//	A[2]  the state that it must have
//	A[3]  the record as it becomes
//	A[4]  its plan as it becomes; "" leaves it
//	A[5]  its id
//	A[6]  the mark of the lease
//	A[7]  how long the lease holds, in milliseconds
//	output  {"ok", token}, {"gone"}, {"changed", revision}, {"not allowed", state}, {"busy"}
var beginScript = actions.NewAnswering(3, luaRecord+actions.LuaLease+`
if not V[1] then return {'gone'} end
local state, revision = look(V[1])
if revision ~= tonumber(A[1]) then return {'changed', revision} end
if state ~= A[2] then return {'not allowed', state} end
if V[2] then return {'busy'} end
local standing = redis.call('ZRANGE', K[5], 0, 1)
if #standing ~= 1 or standing[1] ~= A[5] then return {'busy'} end
local token = take_lease(K[2], V[2], V[3], A[6], A[7])
if A[4] ~= '' then audit(K[1], A[3], K[3], token, K[4], A[4]) else audit(K[1], A[3], K[3], token) end
return {'ok', tonumber(token)}
`, `
local token = (V[2] or ''):match('^%d+')
if token and V[2] == token .. ' ' .. A[6] then return {'ok', tonumber(token)} end
return {'changed', 0} -- it was taken over since
`)

// endScript ends a running request and gives the lease of its environment back.
//
//	K[1]  the record
//	K[2]  the environment's counter of leases
//	K[3]  the environment's lease
//	K[4]  its plan
//	K[5]  the environment's active requests
//	A[1]  the revision that the record must have
//	A[2]  the record as it becomes
//	A[3]  its id
//	A[4]  the token of the writer's lease, which must be the latest
//	A[5]  how long the record is kept, in milliseconds
//	output  {"ok", how many requests of the environment are left}, else as moveScript
var endScript = actions.NewAnswering(2, luaRecord+`
if not V[1] then return {'gone'} end
local state, revision = look(V[1])
if revision ~= tonumber(A[1]) then return {'changed', revision} end
if state ~= 'running' then return {'not allowed', state} end
if V[2] and V[2] ~= A[4] then return {'fenced', V[2]} end
redis.call('SET', K[1], A[2], 'PX', A[5])
redis.call('PEXPIRE', K[4], A[5])
redis.call('ZREM', K[5], A[3])
redis.call('DEL', K[3]) -- nobody took a later one, so that it is the writer's
audit()
return {'ok', redis.call('ZCARD', K[5])}
`, `return {'ok', redis.call('ZCARD', K[5])}`)

// begin makes r, which is planning and was released by c, or is released and c is
// nil, running in one step, and returns it with its lease; nil when that takes
// more than one step, since others stand in its environment.
func (q *Requests) begin(ctx context.Context, r *Request, c *change, run change, lease *actions.Lease) (*Request, error) {
	const op = "requests.begin"
	env := r.Order.Env
	next, records := r, make([]actions.Record, 0, 2)
	if c != nil {
		next = q.changed(r, *c)
		records = append(records, c.record(next, r.State))
	}
	from := next.State
	next = q.changed(next, run)
	records = append(records, run.record(next, from))
	plan, err := planArgument(r.Plan, next.Plan)
	if err != nil {
		return nil, actions.Wrap(op, actions.CodeInternal, err, "The plan could not be stored.")
	}
	text, err := encode(next)
	if err != nil {
		return nil, actions.Wrap(op, actions.CodeInternal, err, "The request could not be stored.")
	}
	reply, err := q.store.ExecAll(ctx, env, actions.Execution{
		Script:  beginScript,
		Keys:    append(append([]string{q.recordKey(env, r.ID)}, lease.Keys()...), q.planKey(env, r.ID), q.activeKey(env)),
		Args:    []any{r.Revision, string(r.State), text, plan, r.ID, lease.Mark(), lease.TTL().Milliseconds()},
		Records: records,
	})
	if err != nil {
		return nil, err
	}
	words, _ := reply.([]any)
	if len(words) == 1 && words[0] == "busy" {
		return nil, nil
	}
	if err := moved(op, r, run.to, reply); err != nil {
		return nil, err
	}
	token, _ := words[len(words)-1].(int64)
	lease.Granted(token)
	if c != nil {
		c.tell(ctx, q, next)
	}
	return next, nil
}

// end makes c, which ends r, and gives its lease back in the same step. It returns
// whether others stand in the environment.
func (q *Requests) end(ctx context.Context, r *Request, c change) (*Request, bool, error) {
	const op = "requests.end"
	env := r.Order.Env
	next := q.changed(r, c)
	text, err := encode(next)
	if err != nil {
		return nil, false, actions.Wrap(op, actions.CodeInternal, err, "The request could not be stored.")
	}
	lease := c.lease.Keys()
	reply, err := q.store.ExecAll(ctx, env, actions.Execution{
		Script: endScript,
		Keys:   []string{q.recordKey(env, r.ID), lease[1], lease[0], q.planKey(env, r.ID), q.activeKey(env)},
		Args: []any{
			r.Revision, text, r.ID, strconv.FormatInt(c.lease.Token, 10), q.keep.Milliseconds(),
		},
		Records: []actions.Record{c.record(next, r.State)},
		Ahead:   failing(ctx, r, c),
	})
	if err != nil {
		return nil, false, err
	}
	if err := moved(op, r, c.to, reply); err != nil {
		return nil, false, err
	}
	q.forget(ctx, next)
	q.metrics.ended(next)
	words, _ := reply.([]any)
	left, _ := words[len(words)-1].(int64)
	return next, left > 0, nil
}

// beginNow runs r, which c releases (nil when it is released), if that takes one
// step only. began is false when it does not, and nothing has changed.
func (w *Worker) beginNow(work context.Context, r *Request, c *change, in *admitted) (s step, began bool, err error) {
	leave, seated := w.runs.enterSoon(w.room(r.Order), w.halt)
	if !seated {
		return step{}, false, nil
	}
	defer leave()
	asked := time.Now()
	lease := w.store.Offer(r.Order.Env, w.holder, w.lease)
	next, err := w.requests.begin(work, r, c, w.runChange(), lease)
	if next == nil || err != nil {
		return step{}, false, err
	}
	w.metrics.started(next)
	h := &held{Lease: lease, asked: asked, in: in}
	defer w.release(work, h)
	s, err = w.execute(work, next, h, 0)
	return s, true, err
}

// runChange makes a request running.
func (w *Worker) runChange() change {
	runID := w.requests.newID()
	return change{
		to: StateRunning, edit: func(r *Request) { r.RunID, r.Reason = runID, "" },
		why: map[string]string{"worker": w.replica},
	}
}

// indexCmds put r into the indexes.
func (q *Requests) indexCmds(ctx context.Context, r *Request) []redis.Cmder {
	m := member(r.ID, r.Order.Env)
	return []redis.Cmder{actions.NewMember(ctx, "zadd", indexKey, m), actions.NewMember(ctx, "zadd", activeIndexKey, m)}
}
