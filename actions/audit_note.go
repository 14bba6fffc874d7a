package actions

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// noteScript appends a record and changes nothing else.
var noteScript = NewScript(`audit() return 1`)

// Note appends rec to BerthChain: it tells of what belongs to no environment.
// What rec says of Seq, Env, Prev and Hash is overwritten.
func (s *Store) Note(ctx context.Context, rec Record) error {
	_, err := s.Exec(ctx, BerthChain, noteScript, nil, nil, rec)
	return err
}

const (
	// KindRefused is the kind of the records that Refused makes.
	KindRefused = "command.refused"
	// refusalsKept is how many refusals a chain takes within refusalWindow, so
	// that a stranger who goes on asking does not fill it.
	refusalsKept  = 10
	refusalWindow = time.Minute
)

// refusedScript appends the record of a refusal, unless there were many just now.
//
//	K[1]  how many there were; it expires
//	K[2]  how many were left out since the last record
//	A[1]  how many are recorded
//	A[2]  within this time, in milliseconds
//	A[3]  how many the record says were left out
//	output  1, or 0 when it was left out
var refusedScript = NewScript(`
local n = redis.call('INCR', K[1])
if n == 1 then redis.call('PEXPIRE', K[1], A[2]) end
if n > tonumber(A[1]) then
	redis.call('INCR', K[2])
	return 0
end
audit()
if tonumber(A[3]) > 0 and redis.call('DECRBY', K[2], A[3]) <= 0 then redis.call('DEL', K[2]) end
return 1`)

// Refused records that a command about env was refused, as KindRefused unless rec
// says another. Of rec, whoever asked, where, and Detail (the command, the reason) are used. A chain
// takes ten of them a minute; the next one that is recorded says in Detail's
// "left_out" how many were not. What is refused of an environment that has no
// chain is recorded in BerthChain, with the name in Detail's "environment":
// names that were never made must not become chains.
func (s *Store) Refused(ctx context.Context, env Name, rec Record) error {
	const op = "store.refused"
	rec.Detail = maps.Clone(rec.Detail)
	if rec.Kind == "" {
		rec.Kind = KindRefused
	}
	if rec.Detail == nil {
		rec.Detail = map[string]string{}
	}
	if env != BerthChain {
		known, err := s.rdb.Exists(ctx, s.Key(env, auditHeadKey)).Result()
		if err != nil {
			return redisError(op, err)
		}
		if known == 0 {
			rec.Detail["environment"] = env.String()
			env = BerthChain
		}
	}
	count, leftOut := s.Key(env, "refused"), s.Key(env, "refused:left_out")
	n, err := s.rdb.Get(ctx, count).Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return redisError(op, err)
	}
	if n >= refusalsKept {
		// The script would say the same, at the price of a record's making. A
		// window that ends just now loses one refusal, and its count stays right.
		return redisError(op, s.rdb.Incr(ctx, leftOut).Err())
	}
	missed, err := s.rdb.Get(ctx, leftOut).Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return redisError(op, err)
	}
	if missed > 0 {
		rec.Detail["left_out"] = strconv.FormatInt(missed, 10)
	}
	_, err = s.Exec(ctx, env, refusedScript, []string{count, leftOut}, []any{refusalsKept, refusalWindow.Milliseconds(), missed}, rec)
	return err
}
