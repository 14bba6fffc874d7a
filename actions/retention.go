package actions

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// retainAtOnce is how many chains are cut for one anchor.
	retainAtOnce = 500
	// anchorsAtOnce is how many old anchors must have come together before they
	// are removed for themselves, since their removal takes an anchor as well.
	anchorsAtOnce = 60
)

// cutScript removes the oldest records of a chain and keeps a checkpoint.
//
//	KEYS[1]  the chain
//	KEYS[2]  its checkpoint
//	ARGV[1]  the checkpoint that it must have; "" for none
//	ARGV[2]  the checkpoint that it gets
//	ARGV[3]  how many records leave
//	output   1, or 0 when somebody else has cut it
var cutScript = redis.NewScript(`
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then return 0 end
redis.call('LTRIM', KEYS[1], ARGV[3], -1)
redis.call('SET', KEYS[2], ARGV[2])
return 1`)

// Retain removes the records that are older than StoreOptions.KeepAudit, the
// oldest of each chain first, and returns how many. What is left stays
// verifiable: a checkpoint holds the number and the hash of the last record that
// left, and an anchor that was made before vouches for it. Only what is anchored
// leaves. A chain that does not verify is left as it is, as evidence.
func (s *Store) Retain(ctx context.Context) (removed int64, err error) {
	if s.keep <= 0 {
		return 0, nil
	}
	if _, err := s.Anchor(ctx); err != nil {
		return 0, err
	}
	before := s.clock().Add(-s.keep)
	st, err := s.readAnchorState(ctx)
	if err != nil {
		return 0, err
	}
	names, err := s.chainNames(ctx, st)
	if err != nil {
		return 0, err
	}
	for len(names) > 0 {
		some := names[:min(len(names), retainAtOnce)]
		names = names[len(some):]
		n, err := s.retainSome(ctx, st, some, before)
		removed += n
		if err != nil {
			return removed, err
		}
	}
	return removed, s.retainAnchors(ctx, before, removed > 0)
}

// cut is what leaves a chain: the records after from, up to to.
type cut struct {
	env      Name
	from, to mark
}

// retainSome cuts some chains.
func (s *Store) retainSome(ctx context.Context, st *anchorState, names []string, before time.Time) (removed int64, err error) {
	oldest, err := s.eachChain(ctx, names, func(p redis.Pipeliner, env Name) { p.LIndex(ctx, s.Key(env, auditKey), 0) })
	if err != nil {
		return 0, err
	}
	var cuts []cut
	announced := map[string]mark{}
	for i, name := range names {
		r, sound := readRecord([]byte(oldest[i]))
		p, ok := parsePlace(st.heads[name])
		if !sound || !ok || !r.Time.Before(before) {
			continue
		}
		c, err := s.cutOf(ctx, r.Env, p, before)
		if err != nil {
			return 0, err
		}
		if c.to.seq > c.from.seq {
			cuts = append(cuts, c)
			announced[name] = c.to
		}
	}
	if len(cuts) == 0 {
		return 0, nil
	}
	if _, err := s.anchor(ctx, announced, mark{}); err != nil {
		return 0, err
	}
	for _, c := range cuts {
		done, err := cutScript.Run(ctx, s.rdb, []string{s.Key(c.env, auditKey), s.Key(c.env, auditCutKey)},
			c.from.String(), c.to.String(), c.to.seq-c.from.seq).Bool()
		if err != nil {
			return removed, redisError("store.retain", err)
		}
		if done {
			removed += c.to.seq - c.from.seq
		}
	}
	return removed, nil
}

// cutOf finds how far a chain can be cut: to the last of its oldest records that
// are all from before, and no further than what is anchored.
func (s *Store) cutOf(ctx context.Context, env Name, anchored place, before time.Time) (cut, error) {
	at := cut{env: env}
	check := chainCheck{env: env, points: []mark{anchored.head}, tell: func(AuditBreak) {}}
	for first := true; ; first = false {
		texts, now, err := s.page(ctx, s.Key(env, auditKey), s.Key(env, auditCutKey), at.to.seq, auditPage)
		if err != nil {
			return cut{}, err
		}
		if first {
			at.from, at.to = now, now
			check.from(now)
		}
		if now != at.from {
			return cut{}, nil // somebody else cuts it now
		}
		for _, text := range texts {
			r, sound := readRecord([]byte(text))
			if sound && (!r.Time.Before(before) || r.Seq > anchored.head.seq) {
				return at, nil
			}
			if check.step(r, sound); check.breaks > 0 || len(check.gaps) > 0 || check.forged != (mark{}) {
				s.log.ErrorContext(ctx, "old records of an audit chain are kept, since it does not verify", "chain", ChainName(env), "record", check.next)
				return cut{}, nil
			}
			at.to = mark{r.Seq, r.Hash}
		}
		if len(texts) < auditPage {
			return at, nil
		}
	}
}

// retainAnchors removes old anchors, all but the newest one, like the records.
func (s *Store) retainAnchors(ctx context.Context, before time.Time, few bool) error {
	var from, to mark
	for first := true; ; first = false {
		texts, now, err := s.page(ctx, anchorsKey, anchorsCutKey, to.seq, anchorPage)
		if err != nil {
			return err
		}
		if first {
			from, to = now, now
		}
		if now != from {
			return nil
		}
		done := len(texts) < anchorPage
		for _, text := range texts {
			a, sound := readAnchor(text)
			if !sound || a.Seq != to.seq+1 || a.Prev != to.hash || !a.Time.Before(before) {
				done = true
				break
			}
			to = mark{a.Seq, a.Hash}
		}
		if done {
			break
		}
	}
	if to.seq == from.seq || (!few && to.seq-from.seq < anchorsAtOnce) {
		return nil
	}
	made, err := s.anchor(ctx, nil, to) // it is newer than all that leave
	if err != nil || made.Seq <= to.seq {
		return err
	}
	err = cutScript.Run(ctx, s.rdb, []string{anchorsKey, anchorsCutKey}, from.String(), to.String(), to.seq-from.seq).Err()
	return redisError("store.retain", err)
}
