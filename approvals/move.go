package approvals

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
)

// moveScript changes the record of a request, if the record is the one that the
// change was made for and the state machine allows it.
//
//	K[1]  the record
//	K[2]  the environment's counter of leases
//	K[3]  its plan
//	K[4]  the environment's active requests
//	A[1]  the revision that the record must have
//	A[2]  the state that it gets
//	A[3]  the record as it becomes
//	A[4]  its plan as it becomes; "" leaves it, "-" takes it away
//	A[5]  its id
//	A[6]  the token of the writer's lease, which must be the latest; "" when the change needs no lease
//	A[7]  "1" when it ends with this change
//	A[8]  how long it is kept then, in milliseconds
//	output  {"ok"}, {"gone"}, {"changed", revision}, {"not allowed", state}, {"fenced", latest token}
var moveScript = actions.NewAnswering(2, luaRecord+`
if not V[1] then return {'gone'} end
local state, revision = look(V[1])
if revision ~= tonumber(A[1]) then return {'changed', revision} end
if not string.find('`+luaMoves()+`', '|' .. state .. '>' .. A[2] .. '|', 1, true) then return {'not allowed', state} end
if A[6] ~= '' and V[2] and V[2] ~= A[6] then return {'fenced', V[2]} end
if A[4] ~= '' and A[4] ~= '-' then audit(K[1], A[3], K[3], A[4]) else audit(K[1], A[3]) end
if A[4] == '-' then redis.call('DEL', K[3]) end
if A[7] == '1' then
	redis.call('ZREM', K[4], A[5])
	redis.call('PEXPIRE', K[1], A[8])
	redis.call('PEXPIRE', K[3], A[8])
end
return {'ok'}
`, `return {'ok'}`)

// change is one change of a request's record.
type change struct {
	to    State
	edit  func(r *Request)  // what changes besides state, times and revision
	by    Requester         // "" means Berth itself
	place Place             // where it was asked for
	lease *actions.Lease    // of the environment, for changes that only its holder may make
	kind  string            // of the audit record; "" means "request." and the new state
	why   map[string]string // detail of the audit record
}

// move makes c of r and returns what r became; r itself stays as it was. It
// returns CodeConflict when the record is no longer the one in r, or c is not a
// move that its state allows, and CodeFenced when c.lease is lost.
func (q *Requests) move(ctx context.Context, r *Request, c change) (*Request, error) {
	const op = "requests.move"
	next, ends := q.changed(r, c), c.to.Ended()
	plan, err := planArgument(r.Plan, next.Plan)
	if err != nil {
		return nil, actions.Wrap(op, actions.CodeInternal, err, "The plan could not be stored.")
	}
	text, err := encode(next)
	if err != nil {
		return nil, actions.Wrap(op, actions.CodeInternal, err, "The request could not be stored.")
	}
	token := ""
	if c.lease != nil {
		token = strconv.FormatInt(c.lease.Token, 10)
	}
	env := r.Order.Env
	reply, err := q.store.ExecAll(ctx, env, actions.Execution{
		Script:  moveScript,
		Keys:    []string{q.recordKey(env, r.ID), q.store.Key(env, "lease:token"), q.planKey(env, r.ID), q.activeKey(env)},
		Args:    []any{r.Revision, string(c.to), text, plan, r.ID, token, flag(ends), q.keep.Milliseconds()},
		Records: []actions.Record{c.record(next, r.State)},
		Ahead:   failing(ctx, r, c),
	})
	if err != nil {
		return nil, err
	}
	if err := moved(op, r, c.to, reply); err != nil {
		return nil, err
	}
	if ends {
		q.forget(ctx, next)
		q.metrics.ended(next)
	}
	c.tell(ctx, q, next)
	return next, nil
}

// tell says loudly, once c is made, that rules were set aside by it.
func (c change) tell(ctx context.Context, q *Requests, r *Request) {
	if c.kind == kindGlass {
		q.metrics.glass.Inc()
		q.log.WarnContext(ctx, "the glass is broken: rules are set aside", "request_id", r.ID, "env", r.Order.Env.String(), "actor", r.Glass.By.Actor, "reason", r.Glass.Reason)
	}
}

// changed is what c makes of r.
func (q *Requests) changed(r *Request, c change) *Request {
	next := *r
	next.State, next.UpdatedAt, next.Revision = c.to, q.clock(), r.Revision+1
	if c.edit != nil {
		c.edit(&next)
	}
	if c.to.Ended() {
		next.EndedAt = next.UpdatedAt
	}
	return &next
}

// record is the audit record of c.
func (c change) record(next *Request, from State) actions.Record {
	rec := actions.Record{
		Kind: c.kind, Actor: c.by.Actor, Identity: c.by.Identity, Surface: c.place.Surface, Address: c.place.Address,
		RequestID: next.ID, RunID: next.RunID, Digest: next.Digest, Time: next.UpdatedAt,
		Detail: map[string]string{"from": string(from), "to": string(c.to)},
	}
	if rec.Kind == "" {
		rec.Kind = "request." + string(c.to)
	}
	if rec.Actor == "" {
		rec.Actor = system
	}
	if next.Reason != "" {
		rec.Detail["reason"] = next.Reason
	}
	maps.Copy(rec.Detail, c.why)
	return rec
}

// moved reads moveScript's answer.
func moved(op string, r *Request, to State, reply any) error {
	words, _ := reply.([]any)
	if len(words) == 0 {
		return actions.Errorf(op, actions.CodeInternal, "Redis gave an unexpected answer.")
	}
	switch words[0] {
	case "ok":
		return nil
	case "gone":
		return notFound(op, r.ID)
	case "fenced":
		return actions.Errorf(op, actions.CodeFenced, "Another worker has taken %s over; this one stops.", r.Order.Env)
	case "changed":
		return &actions.Error{Op: op, Code: actions.CodeConflict, Retry: true,
			Msg: fmt.Sprintf("Request %s was changed by somebody else in the same moment; look at it again.", r.ID)}
	default:
		return actions.Errorf(op, actions.CodeConflict, "Request %s is %s and cannot become %s.", r.ID, r.State, to)
	}
}

// failing puts a request that c lets fail into the index of those.
func failing(ctx context.Context, r *Request, c change) []redis.Cmder {
	if c.to != StateFailed {
		return nil
	}
	return []redis.Cmder{actions.NewMember(ctx, "zadd", failedIndexKey, member(r.ID, r.Order.Env))}
}

// forget takes an ended request out of the index of active ones. A failure costs
// the sweeper a look.
func (q *Requests) forget(ctx context.Context, r *Request) {
	ctx = context.WithoutCancel(ctx)
	gone := actions.NewMember(ctx, "zrem", activeIndexKey, member(r.ID, r.Order.Env))
	q.store.Pipe().Later([]redis.Cmder{gone}, func(err error) {
		q.log.WarnContext(ctx, "an ended request stays in the index of active ones for now", "request_id", r.ID, "error", err)
	})
}

// planArgument is what moveScript is to do with the plan.
func planArgument(was, is *actions.Plan) (string, error) {
	if is == was {
		return "", nil
	}
	if is == nil {
		return "-", nil
	}
	text, err := json.Marshal(is)
	return string(text), err
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// member is how a request stands in an index.
func member(id string, env actions.Name) string { return id + " " + env.String() }
