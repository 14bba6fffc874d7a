package actions

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/redis/go-redis/v9"
)

// Script is a Lua body that changes keys of one environment and appends the
// audit record of the change in the same atomic operation. Make it once, as a
// package variable: its hash is computed by NewScript.
type Script struct{ lua *redis.Script }

// scriptPrelude guards a body and appends its audit record.
//
//	KEYS[1]  head of the audit chain, "SEQ HASH" of the last record
//	KEYS[2]  the chain, a list of records; record n is at index n-1
//	KEYS[3]  where the body's result is kept for a moment
//	ARGV[1]  the head that the record was made for; "" for the first record
//	ARGV[2]  the head that the record makes
//	ARGV[3]  the record, JSON
//	ARGV[4]  how long the result is kept, in milliseconds
//	output   {"ok", 1 when the record was appended else 0, result of the body}
//	         {"moved", head} when another record came first; nothing changed
//
// A client repeats a script when a reply was lost, though the script had run.
// The record being in the chain shows that; the kept result is then the answer.
const scriptPrelude = `
local K, A = {}, {}
for i = 4, #KEYS do K[i - 3] = KEYS[i] end
for i = 5, #ARGV do A[i - 4] = ARGV[i] end
local head = redis.call('GET', KEYS[1]) or ''
if head ~= ARGV[1] then
	local kept = redis.call('GET', KEYS[3])
	if kept then return {'ok', 1, cjson.decode(kept).result} end
	return {'moved', head}
end
local audited = 0
local function audit()
	if audited == 1 then return end
	audited = 1
	redis.call('RPUSH', KEYS[2], ARGV[3])
	redis.call('SET', KEYS[1], ARGV[2])
end
local function body()
`

const scriptCoda = `
end
local result = body()
if type(result) == 'table' and result.err then return result end
if audited == 1 then
	redis.call('SET', KEYS[3], cjson.encode({result = result}), 'PX', ARGV[4])
end
return {'ok', audited, result}
`

// NewScript makes a Script of a Lua body. The body sees its keys as K[1]…, its
// arguments as A[1]…, all of one environment, and calls audit() exactly when it
// changes something. It returns nil, a string, a whole number below 2^53, or a
// list of those. Arguments are data: they are never part of the body's text.
func NewScript(body string) *Script {
	return &Script{lua: redis.NewScript(scriptPrelude + body + scriptCoda)}
}

const (
	// stripeCount bounds how many environments one process changes at once.
	stripeCount = 256
	// execTries bounds how often another replica may come first. Each time one
	// of them has made progress, so that many in a row mean a fault.
	execTries = 200
	// keepResult is longer than a client goes on repeating a lost command
	// (three times, with timeouts of some seconds each).
	keepResult = time.Minute
)

// stripe lets a process's own changes of an environment go one after another,
// rather than race for the head of its chain, and remembers where the head
// was. Two environments may share one; that costs time only.
type stripe struct {
	turn chan struct{}
	env  Name
	head string
}

// Exec runs sc on keys of env. rec is completed (Seq, Time when zero, Env,
// Prev, Hash) and is in the chain exactly if sc called audit(), by the same
// atomic operation that made sc's changes. It returns what sc's body returned.
//
// Errors: CodeUnavailable when Redis cannot be reached (the change may have
// been made or not), CodeInternal when the script itself is wrong.
func (s *Store) Exec(ctx context.Context, env Name, sc *Script, keys []string, args []any, rec Record) (any, error) {
	reply, err := s.exec(ctx, env, sc, keys, args, rec)
	if err != nil {
		return nil, err
	}
	if reply.audited {
		s.Touch(ctx, env, rec.RequestID, rec.RunID)
	}
	return reply.result, nil
}

// exec is Exec without the hint, which need not hold others up.
func (s *Store) exec(ctx context.Context, env Name, sc *Script, keys []string, args []any, rec Record) (execReply, error) {
	const op = "store.exec"
	st := &s.stripes[maphash.String(s.seed, env.String())%stripeCount]
	select {
	case st.turn <- struct{}{}:
	case <-ctx.Done():
		return execReply{}, redisError(op, ctx.Err())
	}
	defer func() { <-st.turn }()
	if st.env != env {
		head, err := s.rdb.Get(ctx, s.Key(env, auditHeadKey)).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return execReply{}, redisError(op, err)
		}
		st.env, st.head = env, head
	}
	rec.Env = env
	if rec.Time.IsZero() {
		rec.Time = s.clock()
	}
	for range execTries {
		made, err := rec.after(st.head)
		if err != nil {
			return execReply{}, err
		}
		if st.head == "" {
			if err := s.announceChain(ctx, env); err != nil {
				return execReply{}, redisError(op, err)
			}
		}
		reply, err := s.execOnce(ctx, env, sc, keys, args, st.head, made)
		if err != nil {
			return execReply{}, redisError(op, err)
		}
		if reply.moved {
			st.head = reply.head
			continue
		}
		if reply.audited {
			st.head = made.head()
		}
		return reply, nil
	}
	return execReply{}, &Error{Op: op, Code: CodeConflict, Retry: true,
		Msg: fmt.Sprintf("Too many changes of %s at once; try again in a moment.", env)}
}

// execReply is what scriptPrelude answers.
type execReply struct {
	moved, audited bool
	head           string
	result         any
}

func (s *Store) execOnce(ctx context.Context, env Name, sc *Script, keys []string, args []any, head string, rec Record) (execReply, error) {
	text, err := rec.canonical()
	if err != nil {
		return execReply{}, err
	}
	k := append([]string{s.Key(env, auditHeadKey), s.Key(env, auditKey), s.Key(env, "audit:reply:"+rec.Hash)}, keys...)
	a := append([]any{head, rec.head(), text, keepResult.Milliseconds()}, args...)
	reply, err := sc.lua.Run(ctx, s.rdb, k, a...).Slice()
	if err != nil {
		return execReply{}, err
	}
	if len(reply) > 1 && reply[0] == "moved" {
		now, _ := reply[1].(string)
		return execReply{moved: true, head: now}, nil
	}
	if len(reply) < 2 || reply[0] != "ok" {
		return execReply{}, fmt.Errorf("unexpected reply %v", reply)
	}
	out := execReply{audited: reply[1] == int64(1)}
	if len(reply) > 2 {
		out.result = reply[2]
	}
	return out, nil
}
