package actions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"
)

// Verified is what was looked at.
type Verified struct {
	Chains     int      `json:"chains"`
	Records    int64    `json:"records"`
	Unanchored int64    `json:"unanchored"` // records that no anchor vouches for yet; only their chain does
	Anchors    int64    `json:"anchors"`
	Anchor     Anchored `json:"anchor"` // the newest one
	Breaks     int      `json:"breaks"`
}

// VerifyAll checks the anchors, and the chains of app against themselves and
// against the anchors; app "" means all chains, Berth's own among them. It tells
// each break that it finds, up to some of each chain, and goes on.
//
// It finds a record that was removed, changed, added or put elsewhere; a chain
// that was cut back or removed with its head; and one that was written anew
// with all its hashes, as long as an anchor that knew it is kept. When all
// anchors were written anew as well, this process finds it if it saw one of them;
// else the Anchored in a log, or another copy of it, shows it.
//
// A key that holds something else than Berth keeps under it is a break as well.
//
// The error says that it could not look: CodeUnavailable when Redis did not
// answer, and CodeNotFound when app has no chain, as one that was misspelt. A
// break is not an error.
func (s *Store) VerifyAll(ctx context.Context, app string, tell func(AuditBreak)) (Verified, error) {
	if app != "" && !ValidName(app) {
		return Verified{}, Errorf("store.verify", CodeInvalid, "%q is not the name of an app.", clip(app))
	}
	v, err := s.verify(ctx, func(n Name) bool { return app == "" || (n.App == app && n != BerthChain) }, tell)
	if err == nil && app != "" && v.Chains == 0 && v.Breaks == 0 {
		err = Errorf("store.verify", CodeNotFound, "There is no audit of %s: nothing was ever recorded of any environment of an app with this name. Look at the name again.", app)
	}
	return v, err
}

// VerifyChain is VerifyAll of one chain: that of an environment, or BerthChain.
// It returns CodeNotFound when env has no chain.
func (s *Store) VerifyChain(ctx context.Context, env Name, tell func(AuditBreak)) (Verified, error) {
	v, err := s.verify(ctx, func(n Name) bool { return n == env }, tell)
	if err == nil && env != BerthChain && v.Chains == 0 && v.Breaks == 0 {
		err = Errorf("store.verify", CodeNotFound, "There is no audit of %s: nothing was ever recorded of an environment with this name. Look at the name again.", env)
	}
	return v, err
}

func (s *Store) verify(ctx context.Context, wanted func(Name) bool, tell func(AuditBreak)) (Verified, error) {
	var v Verified
	count := func(b AuditBreak) { v.Breaks++; tell(b) }
	a, err := s.verifyAnchors(ctx, wanted, count)
	if err != nil {
		return v, err
	}
	v.Anchors, v.Anchor = a.count, a.newest.anchored()
	names, err := s.chainNames(ctx, &anchorState{heads: a.heads})
	if wrongType(err) {
		count(AuditBreak{Anchor: true, Seq: max(a.newest.Seq, 1), What: fmt.Sprintf("alone tells which chains there are: the key %s holds no sorted set", chainsKey)})
		names, err = slices.Collect(maps.Keys(a.heads)), nil
		names = slices.DeleteFunc(names, func(name string) bool { _, bad := ParseChain(name); return bad != nil })
	}
	if err != nil {
		return v, err
	}
	slices.Sort(names)
	for _, name := range names {
		env, _ := ParseChain(name)
		if !wanted(env) {
			continue
		}
		by := a.vouched[name]
		if by == nil {
			by = &vouched{}
			by.add(a.heads[name]) // no anchor that is kept lists it
		}
		by.sort()
		before := v.Breaks
		one, err := s.verifyChain(ctx, env, *by, count)
		if err != nil {
			return v, err
		}
		if b, noted := a.broken[name]; noted && v.Breaks == before {
			count(b)
		}
		v.Chains, v.Records, v.Unanchored = v.Chains+1, v.Records+one.records, v.Unanchored+one.fresh
	}
	return v, nil
}

// anchorsRead is what the chain of anchors says, as far as it is kept.
type anchorsRead struct {
	count   int64
	newest  Anchor
	heads   map[string]string     // what is anchored of each chain
	vouched map[string]*vouched   // of the chains that are wanted and that a kept anchor lists
	broken  map[string]AuditBreak // what anchors noted
	lost    bool                  // the key of heads holds something else; they are what the kept anchors list
}

// verifyAnchors walks the chain of anchors, and tells what is wrong with it.
func (s *Store) verifyAnchors(ctx context.Context, wanted func(Name) bool, tell func(AuditBreak)) (*anchorsRead, error) {
	for range verifyTries {
		var breaks []AuditBreak
		a, err := s.walkAnchors(ctx, wanted, func(b AuditBreak) { breaks = append(breaks, b) })
		if err != nil {
			return nil, err
		}
		if a == nil {
			continue // retention removed anchors while they were read
		}
		for _, b := range breaks {
			tell(b)
		}
		return a, nil
	}
	return nil, Errorf("store.verify", CodeConflict, "The anchors of the audit were cut too often while they were read; try again.")
}

func (s *Store) walkAnchors(ctx context.Context, wanted func(Name) bool, tell func(AuditBreak)) (*anchorsRead, error) {
	a, head, cutText, err := s.beginAnchors(ctx)
	if err != nil {
		return nil, err
	}
	c := chainCheck{anchor: true, tell: tell}
	if cutText == unreadable {
		c.fault(1, "cannot be looked at, nor can any after it: the key %s, which says where the anchors begin, holds no text", anchorsCutKey)
		return a, nil
	}
	cut, _ := parseMark(cutText)
	end, _ := parseMark(head)
	if seen := s.LatestAnchor(); seen.Seq > 0 {
		c.points = []mark{{seen.Seq, seen.Hash}}
	}
	c.from(cut)
	replayed := map[string]string{}
	for index := cut.seq; ; {
		texts, now, err := s.page(ctx, anchorsKey, anchorsCutKey, index, anchorPage)
		if wrongType(err) {
			c.fault(c.next, "cannot be read, nor can any after it: the key %s holds no list", anchorsKey)
			return a, nil
		}
		if err != nil {
			return nil, err
		}
		if now != cut {
			return nil, nil
		}
		for i, text := range texts {
			made, sound := readAnchor(text)
			if sound && made.Seq > end.seq && c.next > end.seq && s.grew(ctx, anchorsHeadKey, head) {
				texts = texts[:i] // it was made since
				break
			}
			a.count++
			c.step(Record{Seq: made.Seq, Prev: made.Prev, Hash: made.Hash}, sound)
			if sound {
				a.take(made, wanted, replayed)
			}
		}
		index += int64(len(texts))
		if len(texts) < anchorPage {
			break
		}
	}
	c.end(head, true)
	if a.lost {
		c.fault(max(a.newest.Seq, 1), "does not vouch for what is stored as anchored: the key %s holds no hash", anchoredKey)
		maps.Copy(a.heads, replayed)
	}
	a.settle(&c, cut, replayed)
	return a, nil
}

// beginAnchors reads at one moment what is anchored, and where the chain of
// anchors ends and begins; unreadable is an end that is no text.
func (s *Store) beginAnchors(ctx context.Context) (a *anchorsRead, head, cut string, err error) {
	const op = "store.verify"
	var headCmd, cutCmd *redis.StringCmd
	var heads *redis.MapStringStringCmd
	_, err = s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		headCmd, cutCmd, heads = p.Get(ctx, anchorsHeadKey), p.Get(ctx, anchorsCutKey), p.HGetAll(ctx, anchoredKey)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) && !wrongType(err) {
		return nil, "", "", redisError(op, err)
	}
	if head, err = textOf(headCmd); err != nil {
		return nil, "", "", redisError(op, err)
	}
	if cut, err = textOf(cutCmd); err != nil {
		return nil, "", "", redisError(op, err)
	}
	a = &anchorsRead{heads: heads.Val(), vouched: map[string]*vouched{}, broken: map[string]AuditBreak{}}
	switch err := heads.Err(); {
	case wrongType(err):
		a.heads, a.lost = map[string]string{}, true
	case err != nil:
		return nil, "", "", redisError(op, err)
	}
	return a, head, cut, nil
}

// anchorPage is how many anchors are read at once. One may be of 200 kB.
const anchorPage = 100

// take adds what one anchor says.
func (a *anchorsRead) take(made Anchor, wanted func(Name) bool, replayed map[string]string) {
	a.newest = made
	for name, text := range made.Heads {
		replayed[name] = text
		env, err := ParseChain(name)
		if err != nil || !wanted(env) {
			continue
		}
		if a.vouched[name] == nil {
			a.vouched[name] = &vouched{}
		}
		a.vouched[name].add(text)
		if was, broken := made.Broken[name]; broken {
			p, _ := parsePlace(was)
			a.broken[name] = AuditBreak{Env: env, Seq: p.head.seq,
				What: fmt.Sprintf("was not there any more when anchor %d was made at %s, though an anchor before it vouches for it", made.Seq, made.Time.Format("2006-01-02T15:04:05Z"))}
		}
	}
}

// settle compares what is stored as anchored with what the anchors say, and the
// checkpoint with what they allow. What the anchors say is what counts.
func (a *anchorsRead) settle(c *chainCheck, cut mark, replayed map[string]string) {
	may, _ := parseMark(a.newest.Cut)
	switch {
	case a.count == 0 && len(a.heads) == 0:
		return
	case cut.seq > may.seq:
		c.fault(may.seq+1, "is missing, and so is all up to %d: no anchor says that their time had come", cut.seq)
	case cut.seq == may.seq && cut != may:
		c.fault(cut.seq, "was changed: the checkpoint that stands for it and all before it is not what was anchored")
	}
	if a.lost || rootOf(a.heads) == a.newest.Root {
		return
	}
	told := false
	for name, text := range replayed {
		if a.heads[name] != text {
			c.fault(max(a.newest.Seq, 1), "vouches for %q of %s, and %q is stored as anchored", text, name, a.heads[name])
			a.heads[name], told = text, true
		}
	}
	if !told || rootOf(a.heads) != a.newest.Root {
		c.fault(max(a.newest.Seq, 1), "does not vouch for what is stored as anchored: an entry was changed, added or removed")
	}
}
