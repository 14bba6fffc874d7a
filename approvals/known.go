package approvals

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
)

// claimKey + the hash of an idempotency key leads to the hash of what came with
// it first.
const claimKey = "berth:claim:"

// Known is the request of env that key leads to already, without an error nil
// when there is none. Whoever checks a wish before it submits it asks this
// first, since what was accepted once stays accepted.
func (q *Requests) Known(ctx context.Context, env actions.Name, key string) (*Request, error) {
	return q.known(ctx, &Request{Key: key, Order: actions.Order{Env: env}})
}

// Claim binds key to content for as long as requests know their keys, and tells
// whether it is bound to that and not to something else. Submit knows a key
// within one environment; this is for callers who promise more.
func (q *Requests) Claim(ctx context.Context, key, content string) (bool, error) {
	const op = "requests.claim"
	owner, want := sha256.Sum256([]byte(key)), sha256.Sum256([]byte(content))
	name, text := claimKey+hex.EncodeToString(owner[:]), hex.EncodeToString(want[:])
	for range 2 { // the second time if the claim of somebody else ran out in between
		set, err := q.rdb.SetNX(ctx, name, text, keepKeys).Result()
		if err != nil {
			return false, redisError(op, err)
		}
		if set {
			return true, nil
		}
		got, err := q.rdb.Get(ctx, name).Result()
		if err == nil {
			return got == text, nil
		}
		if !errors.Is(err, redis.Nil) {
			return false, redisError(op, err)
		}
	}
	return false, actions.Errorf(op, actions.CodeConflict, "The idempotency key could not be kept; send the same again.")
}

// Chosen is what key was bound to by Choose, and whether it was.
func (q *Requests) Chosen(ctx context.Context, env actions.Name, key string) (choice string, known bool, err error) {
	choice, err = q.rdb.Get(ctx, q.chosenKey(env, key)).Result()
	if errors.Is(err, redis.Nil) {
		return "", false, nil
	}
	if err != nil {
		return "", false, redisError("requests.chosen", err)
	}
	return choice, true, nil
}

// Choose binds key, within env, to what a command that names nothing itself is
// about, for as long as requests know their keys, and returns what it is bound
// to: the first choice stands. With it a command that arrives again is about
// the same thing, whatever has happened since.
func (q *Requests) Choose(ctx context.Context, env actions.Name, key, choice string) (string, error) {
	const op = "requests.choose"
	for range 2 { // the second time if an earlier choice ran out in between
		set, err := q.rdb.SetNX(ctx, q.chosenKey(env, key), choice, keepKeys).Result()
		if err != nil {
			return "", redisError(op, err)
		}
		if set {
			return choice, nil
		}
		if first, known, err := q.Chosen(ctx, env, key); known || err != nil {
			return first, err
		}
	}
	return "", actions.Errorf(op, actions.CodeConflict, "The idempotency key could not be kept; send the same again.")
}

func (q *Requests) chosenKey(env actions.Name, key string) string {
	sum := sha256.Sum256([]byte(key))
	return q.store.Key(env, "chosen:"+hex.EncodeToString(sum[:]))
}
