package actions

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// vouched is what anchors say of one chain.
type vouched struct {
	points []mark // in the order of seq
	cut    mark   // what retention removed at most
}

// vouchedNow is what the newest anchor that lists env says of it.
func (s *Store) vouchedNow(ctx context.Context, env Name) (vouched, error) {
	text, err := s.rdb.HGet(ctx, anchoredKey, ChainName(env)).Result()
	if errors.Is(err, redis.Nil) {
		return vouched{}, nil
	}
	if err != nil {
		return vouched{}, redisError("store.verify", err)
	}
	var by vouched
	by.add(text)
	by.sort()
	return by, nil
}

// add takes what an anchor lists for the chain. Later anchors come later.
func (v *vouched) add(text string) {
	p, ok := parsePlace(text)
	if !ok {
		return
	}
	for _, m := range []mark{p.cut, p.head} {
		if m != (mark{}) && !slices.Contains(v.points[max(0, len(v.points)-2):], m) {
			v.points = append(v.points, m)
		}
	}
	v.cut = p.cut
	if len(v.points) > maxPoints {
		// Every other one is enough: the chain joins all records between two.
		thin := v.points[:0]
		for i, m := range v.points {
			if i%2 == 0 || i >= len(v.points)-2 {
				thin = append(thin, m)
			}
		}
		v.points = thin
	}
}

// maxPoints bounds what is remembered of one chain while it is verified.
const maxPoints = 1024

func (v *vouched) sort() {
	slices.SortStableFunc(v.points, func(a, b mark) int { return cmp.Compare(a.seq, b.seq) })
}

// sentence is a break for people.
func sentence(b *AuditBreak) string {
	text := b.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// VerifyAudit checks the whole chain of env, as far as retention left it, and
// returns nil when every record is there, in order and unchanged, and is what
// the newest anchor vouches for. Else the error has CodeConflict and wraps an
// *AuditBreak that names the first record that is not. VerifyAll sees more.
func (s *Store) VerifyAudit(ctx context.Context, env Name) error {
	const op = "store.verify_audit"
	var first *AuditBreak
	by, err := s.vouchedNow(ctx, env)
	if err != nil {
		return err
	}
	_, err = s.verifyChain(ctx, env, by, func(b AuditBreak) {
		if first == nil || b.Seq < first.Seq {
			first = &b
		}
	})
	if err != nil {
		return err
	}
	if first != nil {
		return Wrap(op, CodeConflict, first, sentence(first))
	}
	return nil
}

// verifyTries bounds how often a chain is read anew because retention removed
// records while it was read.
const verifyTries = 5

// verified is what is known of one chain that was walked.
type verified struct {
	records int64
	fresh   int64 // records that no anchor vouches for yet
	first   int64 // the number of the first record that is kept
}

// verifyChain walks the chain of env, and tells what is wrong with it.
func (s *Store) verifyChain(ctx context.Context, env Name, by vouched, tell func(AuditBreak)) (verified, error) {
	for range verifyTries {
		var breaks []AuditBreak
		v, again, err := s.walk(ctx, env, by, func(b AuditBreak) { breaks = append(breaks, b) })
		if err != nil {
			return v, err
		}
		if again {
			continue
		}
		for _, b := range breaks {
			tell(b)
		}
		return v, nil
	}
	return verified{}, Errorf("store.verify", CodeConflict, "The audit of %s was cut too often while it was read; try again.", ChainName(env))
}

// walk is one try of verifyChain; again tells that the chain began elsewhere
// by the time its end was reached.
func (s *Store) walk(ctx context.Context, env Name, by vouched, tell func(AuditBreak)) (v verified, again bool, err error) {
	const op = "store.verify"
	var headCmd, cutCmd *redis.StringCmd
	_, err = s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		headCmd, cutCmd = p.Get(ctx, s.Key(env, auditHeadKey)), p.Get(ctx, s.Key(env, auditCutKey))
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) && !wrongType(err) {
		return v, false, redisError(op, err)
	}
	head, err := textOf(headCmd)
	if err != nil {
		return v, false, redisError(op, err)
	}
	cutText, err := textOf(cutCmd)
	if err != nil {
		return v, false, redisError(op, err)
	}
	cut, ok := parseMark(cutText)
	c := chainCheck{env: env, points: slices.Clone(by.points), tell: tell}
	if !ok {
		c.fault(1, "cannot be looked at: the checkpoint that says where the chain begins was written over")
		return v, false, nil
	}
	if cut.seq > by.cut.seq {
		now, err := s.vouchedNow(ctx, env) // retention may have come since
		if err != nil && !wrongType(err) { // what is wrong with the anchors is told of them
			return v, false, err
		}
		if err == nil {
			by = now
		}
		if cut.seq > by.cut.seq {
			c.fault(by.cut.seq+1, "is missing, and so is all up to record %d: no anchor says that their time had come", cut.seq)
		}
	}
	c.from(cut)
	end := int64(math.MaxInt64) // of what is looked at; a record that came later is another time's
	if at, ok := parseMark(head); ok {
		end = at.seq
	}
	for index := cut.seq; ; {
		texts, now, err := s.page(ctx, s.Key(env, auditKey), s.Key(env, auditCutKey), index, auditPage)
		if wrongType(err) {
			c.fault(c.next, "cannot be read, nor can any after it: the key %s holds no list", s.Key(env, auditKey))
			return v, false, nil
		}
		if err != nil {
			return v, false, err
		}
		if now != cut {
			return v, true, nil
		}
		for i, text := range texts {
			r, sound := readRecord([]byte(text))
			if c.next > end && sound && r.Seq > end && s.grew(ctx, s.Key(env, auditHeadKey), head) {
				texts = texts[:i]
				break
			}
			v.records++
			c.step(r, sound)
		}
		index += int64(len(texts))
		if len(texts) < auditPage {
			break
		}
	}
	c.end(head, true)
	v.first, v.fresh = cut.seq+1, c.fresh
	return v, false, nil
}

// grew tells whether a head is another than it was, so that a record behind it
// came since, rather than that somebody added it.
func (s *Store) grew(ctx context.Context, key, was string) bool {
	now, err := s.rdb.Get(ctx, key).Result()
	return err == nil && now != was
}
