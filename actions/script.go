package actions

import (
	"context"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Script is a Lua body that changes keys of one environment and appends the
// audit record of the change in the same atomic operation. Make it once, as a
// package variable: its hash is computed by NewScript.
type Script struct{ lua *Lua }

// scriptPrelude guards a body and appends its audit records.
//
//	KEYS[1]  head of the audit chain, "SEQ HASH" of the last record
//	KEYS[2]  the chain, a list of records; record n is at index n-1
//	KEYS[3]  where the body's result is kept for a moment, for this process
//	ARGV[1]  the head that the records were made for; "" for the first record
//	ARGV[2]  the head that the records make
//	ARGV[3]  how long the result is kept, in milliseconds
//	ARGV[4]  how many records there are; they follow, JSON each
//	output   {"ok", 1 when the records were appended else 0, result of the body}
//	         {"moved", head} when another record came first; nothing changed
//
// A client repeats a script when a reply was lost, though the script had run: its
// last record is then where its number says, and the script answers from what was
// kept, or from what it finds (see NewAnswering).
const scriptPrelude = `
local V = redis.call('MGET', KEYS[1]%s)
local head, last = table.remove(V, 1) or '', ARGV[4 + ARGV[4]]
local repeated = false
if head ~= ARGV[1] then
	local at = tonumber(head:match('^%%d+') or '0')
	if at == 0 or redis.call('LINDEX', KEYS[2], tonumber(ARGV[2]:match('^%%d+')) - at - 1) ~= last then return {'moved', head} end
	repeated = true
end
local K, A, audited = {unpack(KEYS, 4)}, {unpack(ARGV, 5 + ARGV[4])}, 0
local function seq() return ARGV[2]:match('^%%d+') end
local function audit(...)
	if audited == 1 then return end
	audited = 1
	redis.call('RPUSH', KEYS[2], unpack(ARGV, 5, 4 + ARGV[4]))
	redis.call('MSET', KEYS[1], ARGV[2], ...)
end
`

// scriptKept runs a body whose result is kept.
const scriptKept = `
if repeated then
	local kept = redis.call('GET', KEYS[3])
	if kept and kept:sub(1, #ARGV[2] + 1) == ARGV[2] .. '\n' then
		return {'ok', 1, cjson.decode(kept:sub(#ARGV[2] + 2)).result}
	end
	return {'moved', head}
end
local function body()
%s
end
local result = body()
if type(result) == 'table' and result.err then return result end
if audited == 1 then
	redis.call('SET', KEYS[3], ARGV[2] .. '\n' .. cjson.encode({result = result}), 'PX', ARGV[3])
end
return {'ok', audited, result}
`

// scriptAnswering runs a body whose result can be told from what it left.
const scriptAnswering = `
local function again()
%s
end
if repeated then return {'ok', 1, again()} end
local function body()
%s
end
local result = body()
return {'ok', audited, result}
`

// NewScript makes a Script of a Lua body. The body sees its keys as K[1]…, its
// arguments as A[1]…, all of one environment, and calls audit() exactly when it
// changes something. seq() is the number that the last record gets, which goes up
// with each change. It returns nil, a string, a whole number below 2^53, or a
// list of those. Arguments are data: they are never part of the body's text.
func NewScript(body string) *Script {
	return newScript(0, fmt.Sprintf(scriptKept, body))
}

// NewAnswering makes a Script that keeps no result, for those that run often.
// again is Lua that gives the result of a body that has run, when its reply was
// lost, from what the keys hold since. The body, and again, find the values of
// the first reads keys, strings or false, in V[1]…, and audit(key, value, …) sets
// keys together with the chain's head: each call of Redis that a script makes
// costs more than what it does.
func NewAnswering(reads int, body, again string) *Script {
	return newScript(reads, fmt.Sprintf(scriptAnswering, again, body))
}

func newScript(reads int, rest string) *Script {
	var more strings.Builder
	for i := range reads {
		fmt.Fprintf(&more, ", KEYS[%d]", 4+i)
	}
	return &Script{lua: NewLua(fmt.Sprintf(scriptPrelude, more.String()) + rest)}
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
// rather than race for the head of its chain, and remembers where the heads
// were. Two environments may share one; that costs time only.
type stripe struct {
	turn  chan struct{}
	heads map[Name]string
}

// stripeHeads bounds how many heads a stripe remembers.
const stripeHeads = 128

// remember keeps the head of env, and forgets some other's when that is too many.
func (st *stripe) remember(env Name, head string) {
	if st.heads == nil {
		st.heads = make(map[Name]string)
	}
	if _, known := st.heads[env]; !known && len(st.heads) >= stripeHeads {
		for other := range st.heads {
			delete(st.heads, other)
			break
		}
	}
	st.heads[env] = head
}

// Exec runs sc on keys of env. rec is completed (Seq, Time when zero, Env,
// Prev, Hash) and is in the chain exactly if sc called audit(), by the same
// atomic operation that made sc's changes. It returns what sc's body returned.
//
// Errors: CodeUnavailable when Redis cannot be reached (the change may have
// been made or not), CodeInternal when the script itself is wrong.
func (s *Store) Exec(ctx context.Context, env Name, sc *Script, keys []string, args []any, rec Record) (any, error) {
	return s.ExecAll(ctx, env, Execution{Script: sc, Keys: keys, Args: args, Records: []Record{rec}})
}

// Execution is one atomic change of an environment.
type Execution struct {
	Script *Script
	Keys   []string
	Args   []any
	// Records are appended together if the script calls audit(), at least one.
	Records []Record
	// Ahead are commands on other keys that must have been carried out before the
	// script, as those of an index that leads to what it makes.
	Ahead []redis.Cmder
}

// ExecAll is Exec of several steps at once, each of which has its record.
func (s *Store) ExecAll(ctx context.Context, env Name, x Execution) (any, error) {
	reply, err := s.exec(ctx, env, x)
	if err != nil {
		return nil, err
	}
	if reply.audited {
		rec := x.Records[len(x.Records)-1]
		s.Touch(ctx, env, rec.RequestID, rec.RunID)
	}
	return reply.result, nil
}

// exec is ExecAll without the hint.
func (s *Store) exec(ctx context.Context, env Name, x Execution) (execReply, error) {
	const op = "store.exec"
	st := &s.stripes[maphash.String(s.seed, env.String())%stripeCount]
	select {
	case st.turn <- struct{}{}:
	case <-ctx.Done():
		return execReply{}, redisError(op, ctx.Err())
	}
	defer func() { <-st.turn }()
	head := st.heads[env] // one that is not remembered may be "", and if not, Redis says so
	for range execTries {
		if head == "" {
			x.Ahead = append(x.Ahead, NewMember(ctx, "zadd", chainsKey, env.String()))
		}
		made, texts, err := s.seal(env, head, x.Records)
		if err != nil {
			return execReply{}, err
		}
		reply, err := s.execOnce(ctx, env, x, head, made, texts)
		if err != nil {
			return execReply{}, redisError(op, err)
		}
		x.Ahead = nil
		if reply.moved {
			head = reply.head
			st.remember(env, head)
			continue
		}
		if reply.audited {
			head = made
		}
		st.remember(env, head)
		return reply, nil
	}
	return execReply{}, &Error{Op: op, Code: CodeConflict, Retry: true,
		Msg: fmt.Sprintf("Too many changes of %s at once; try again in a moment.", env)}
}

// seal completes records as those that follow head, and returns the head that
// they make and their texts.
func (s *Store) seal(env Name, head string, records []Record) (string, []any, error) {
	texts := make([]any, len(records))
	for i, rec := range records {
		rec.Env = env
		if rec.Time.IsZero() {
			rec.Time = s.clock()
		}
		made, text, err := rec.seal(head)
		if err != nil {
			return "", nil, err
		}
		head, texts[i] = made.head(), text
	}
	return head, texts, nil
}

// execReply is what scriptPrelude answers.
type execReply struct {
	moved, audited bool
	head           string
	result         any
}

func (s *Store) execOnce(ctx context.Context, env Name, x Execution, head, made string, texts []any) (execReply, error) {
	k := append([]string{s.Key(env, auditHeadKey), s.Key(env, auditKey), s.Key(env, "audit:reply:"+s.process)}, x.Keys...)
	a := make([]any, 0, 4+len(texts)+len(x.Args))
	a = append(a, head, made, keepResult.Milliseconds(), len(texts))
	a = append(append(a, texts...), x.Args...)
	answer, err := s.pipe.Eval(ctx, x.Script.lua, k, a, x.Ahead...)
	if err != nil {
		return execReply{}, err
	}
	reply, _ := answer.([]any)
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
