package approvals

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
)

// submitScript stores a new request, unless its idempotency key or its id is
// known.
//
//	K[1]  the record
//	K[2]  what the idempotency key leads to
//	K[3]  the environment's requests
//	K[4]  the environment's active requests
//	A[1]  the id
//	A[2]  the record
//	A[3]  how long the key is known, in milliseconds; 0 when there is no key
//	A[4]  the first id of the time that is kept: lower ones leave K[3]; "" leaves them there
//	output  {"known", id}, or {"created", ids of the requests that were active before…}
var submitScript = actions.NewAnswering(2, `
if A[3] ~= '0' and V[2] then return {'known', V[2]} end
if V[1] then return {'known', A[1]} end
local out = redis.call('ZRANGE', K[4], 0, -1)
if A[3] ~= '0' then redis.call('SET', K[2], A[1], 'PX', A[3]) end
if A[4] ~= '' then redis.call('ZREMRANGEBYLEX', K[3], '-', '(' .. A[4]) end
redis.call('ZADD', K[3], 0, A[1])
redis.call('ZADD', K[4], seq(), A[1])
audit(K[1], A[2])
table.insert(out, 1, 'created')
return out
`, `
local out = {'created'}
for _, id in ipairs(redis.call('ZRANGE', K[4], 0, -1)) do
	if id == A[1] then break end
	out[#out + 1] = id
end
return out
`)

// trimEvery is after how many submissions, on average, one of them takes ids that
// are no longer kept out of its environment's list.
const trimEvery = 16

// Limits of what a request may carry, so that nobody fills Redis with one.
const (
	maxCommand = 4096 // bytes
	maxText    = 1024 // bytes, of each of the other texts
	maxSet     = 100  // values
	maxSetSize = 64 << 10
)

// Submit stores r as a new request, to be planned, and returns it with created
// true. When r.Key (which counts within one environment, for seven days) or r.ID
// is known, it changes nothing and returns the request that is there. An ID is
// given to r when it has none; state, plan and times are Submit's to set.
//
// A request that a newer one makes pointless is superseded at once; see
// supersedes for the rule.
//
// It returns CodeInvalid for a request that cannot be, and CodeUnavailable when
// it is not known whether r was stored: submit it again with the same Key or ID.
func (q *Requests) Submit(ctx context.Context, r Request) (*Request, bool, error) {
	const op = "requests.submit"
	if r.ID == "" {
		r.ID = q.newID()
	}
	if err := check(op, &r); err != nil {
		return nil, false, err
	}
	now := q.clock()
	r.State, r.Revision, r.CreatedAt, r.UpdatedAt, r.EndedAt = StatePlanning, 1, now, now, time.Time{}
	r.Digest, r.Plan, r.RunID, r.Reason, r.Code, r.Replans = "", nil, "", "", "", 0
	r.Decisions, r.Outcome, r.Changed, r.Stop, r.RetriedAs = nil, nil, nil, nil, ""
	if r.Glass != nil {
		r.Glass = &Glass{By: r.Requester, Reason: r.Glass.Reason, At: now}
	}
	if known, err := q.known(ctx, &r); known != nil || err != nil {
		return known, false, err
	}
	spare := q.queue.spare()
	reply, err := q.create(ctx, &r, spare)
	if spare != nil && (err != nil || reply[0] == "known") {
		spare.leave() // and if it was stored all the same, its worker finds that it holds it
	}
	if err != nil {
		return nil, false, err
	}
	if reply[0] == "known" {
		if spare != nil {
			q.queue.served(spare.replica, hintOf(&r))
		}
		if reply[1] != r.ID {
			q.withdraw(ctx, &r)
		}
		known, err := q.get(ctx, r.Order.Env, reply[1])
		return known, false, err
	}
	// It is stored, and so accepted: what follows is done by others if it is not
	// done here, and a caller that went away does not stop it.
	ctx = context.WithoutCancel(ctx)
	if spare == nil {
		q.enqueue(&r)
	} else if !spare.hand(&r) {
		q.enqueue(&r)
		q.queue.served(spare.replica, hintOf(&r))
	}
	q.supersedeBy(ctx, &r, reply[1:])
	return &r, true, nil
}

// create runs submitScript and returns its words. holder, unless it is nil, has
// the new request in its hands.
func (q *Requests) create(ctx context.Context, r *Request, holder *near) ([]string, error) {
	const op = "requests.submit"
	text, err := encode(r)
	if err != nil {
		return nil, actions.Wrap(op, actions.CodeInternal, err, "The request could not be stored.")
	}
	keep := int64(0)
	if r.Key != "" {
		keep = keepKeys.Milliseconds()
	}
	if r.RetryOf != "" {
		keep = q.keep.Milliseconds() // not shorter than the failed request can be read
	}
	oldest := ""
	if rand.N(trimEvery) == 0 { //nolint:gosec // it spreads work; nobody gains by guessing it
		oldest = firstID(q.clock().Add(-q.keep))
	}
	env := r.Order.Env
	ahead := q.indexCmds(ctx, r)
	if holder != nil {
		ahead = append(ahead, holder.holds(ctx, hintOf(r)))
	}
	reply, err := q.store.ExecAll(ctx, env, actions.Execution{
		Script: submitScript,
		Keys:   []string{q.recordKey(env, r.ID), q.keyKey(r), q.listKey(env), q.activeKey(env)},
		Args:   []any{r.ID, text, keep, oldest},
		Records: []actions.Record{{
			Kind: "request.submitted", Actor: r.Requester.Actor, Identity: r.Requester.Identity, Surface: r.Place.Surface,
			Address: r.Place.Address, RequestID: r.ID, Time: r.CreatedAt,
			Detail: submitted(r),
		}},
		// An index entry that leads nowhere is harmless, and a record that nothing
		// leads to would be lost.
		Ahead: ahead,
	})
	if err != nil {
		return nil, err
	}
	parts, _ := reply.([]any)
	words := make([]string, len(parts))
	for i, part := range parts {
		words[i], _ = part.(string)
	}
	if len(words) == 0 || (words[0] == "known" && len(words) != 2) {
		return nil, actions.Errorf(op, actions.CodeInternal, "Redis gave an unexpected answer.")
	}
	return words, nil
}

// submitted is the detail of the audit record of a new request.
func submitted(r *Request) map[string]string {
	detail := map[string]string{"verb": string(r.Order.Verb), "command": r.Command, "to": string(StatePlanning)}
	if r.Glass != nil {
		detail["break_glass"] = r.Glass.Reason
	}
	return detail
}

// known is the request that r's key leads to already, nil when there is none.
// The script asks again; this saves those that come late the rest.
func (q *Requests) known(ctx context.Context, r *Request) (*Request, error) {
	if r.Key == "" {
		return nil, nil
	}
	id, err := q.rdb.Get(ctx, q.keyKey(r)).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, redisError("requests.submit", err)
	}
	return q.get(ctx, r.Order.Env, id)
}

// withdraw takes a request that was not stored out of the indexes.
func (q *Requests) withdraw(ctx context.Context, r *Request) {
	ctx = context.WithoutCancel(ctx)
	_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ZRem(ctx, indexKey, member(r.ID, r.Order.Env))
		p.ZRem(ctx, activeIndexKey, member(r.ID, r.Order.Env))
		return nil
	})
	if err != nil {
		q.log.WarnContext(ctx, "an index entry that leads nowhere stays for now", "request_id", r.ID, "error", err)
	}
}

// enqueue adds a hint that r wants attention. The sweeper does it when this fails.
func (q *Requests) enqueue(r *Request) { q.queue.enqueue(hintOf(r)) }

// supersedes tells whether newer, which came after older, makes it pointless as
// long as older has not begun to run: a deploy takes the place of an earlier
// deploy, be it the same commit asked for twice, and a cleanup that of anything
// earlier, since nothing would be left of it. Other verbs are each done in turn.
// A dry run changes nothing, so that it neither takes a place nor loses one.
func supersedes(newer, older *Request) bool {
	if newer.DryRun || older.DryRun || newer.State.Ended() || !older.State.Waiting() {
		return false
	}
	return newer.Order.Verb == actions.VerbCleanup ||
		(newer.Order.Verb == actions.VerbDeploy && older.Order.Verb == actions.VerbDeploy)
}

// supersedeBy ends the requests among ids that newer takes the place of. What is
// not done here, because Redis went away, a worker does before it runs one.
func (q *Requests) supersedeBy(ctx context.Context, newer *Request, ids []string) {
	older, err := q.load(ctx, "requests.supersede", newer.Order.Env, ids)
	if err != nil {
		q.log.WarnContext(ctx, "older requests were not superseded yet", "request_id", newer.ID, "error", err)
		return
	}
	for _, r := range older {
		for range moveTries {
			if r == nil || !supersedes(newer, r) {
				break
			}
			_, err := q.supersede(ctx, r, newer)
			if err == nil {
				break
			}
			if actions.CodeOf(err) != actions.CodeConflict {
				q.log.WarnContext(ctx, "an older request was not superseded yet", "request_id", r.ID, "error", err)
				break
			}
			if r, err = q.get(ctx, newer.Order.Env, r.ID); err != nil {
				r = nil
			}
		}
	}
}

// supersede ends r in favour of newer.
func (q *Requests) supersede(ctx context.Context, r, newer *Request) (*Request, error) {
	return q.move(ctx, r, change{
		to: StateSuperseded, by: newer.Requester, place: newer.Place,
		edit: func(r *Request) {
			r.Reason = fmt.Sprintf("%s asked for a newer %s of %s, request %s.", newer.Requester.Actor, newer.Order.Verb, r.Order.Env, newer.ID)
		},
		why: map[string]string{"newer": newer.ID},
	})
}

// check says why r cannot be a request.
func check(op string, r *Request) error {
	invalid := func(format string, args ...any) error {
		return actions.Errorf(op, actions.CodeInvalid, format, args...)
	}
	if !validID(r.ID) {
		return invalid("The id of a request must be a ULID in lower case.")
	}
	if _, err := actions.ParseName(r.Order.Env.String()); err != nil {
		return err
	}
	if _, err := actions.ParseVerb(string(r.Order.Verb)); err != nil {
		return err
	}
	if r.Requester.Actor == "" {
		return invalid("A request needs somebody who makes it.")
	}
	if r.Glass != nil && strings.TrimSpace(r.Glass.Reason) == "" {
		return invalid("Breaking the glass needs a reason, which everybody will read.")
	}
	if len(r.Command) > maxCommand {
		return invalid("The command is longer than %d bytes.", maxCommand)
	}
	o := &r.Order
	for _, member := range [...]struct{ name, text string }{
		{"actor", r.Requester.Actor}, {"identity", r.Requester.Identity}, {"surface", r.Place.Surface}, {"place", r.Place.ID},
		{"message", r.Place.Message}, {"address", r.Place.Address}, {"ref", o.Ref}, {"reason", o.Reason}, {"requester", o.By},
		{"reason of breaking the glass", glassReason(r)},
	} {
		if len(member.text) > maxText {
			return invalid("The %s of the request is longer than %d bytes.", member.name, maxText)
		}
	}
	size := 0
	for k, v := range o.Set {
		size += len(k) + len(v)
	}
	if len(o.Set) > maxSet || size > maxSetSize {
		return invalid("A request may set %d values of %d bytes in all.", maxSet, maxSetSize)
	}
	return nil
}

func glassReason(r *Request) string {
	if r.Glass == nil {
		return ""
	}
	return r.Glass.Reason
}

// keyKey is where r's idempotency key leads to its id. Keys come from outside
// and may be long or private, so that only their hash is a name.
func (q *Requests) keyKey(r *Request) string {
	sum := sha256.Sum256([]byte(r.Key))
	return q.store.Key(r.Order.Env, "key:"+hex.EncodeToString(sum[:]))
}

// firstID is the lowest id of the time t.
func firstID(t time.Time) string {
	var u ulid.ULID
	if ms := t.UnixMilli(); ms > 0 {
		_ = u.SetTime(uint64(ms)) // fails after the year 10889 only
	}
	return strings.ToLower(u.String())
}
