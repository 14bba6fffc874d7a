package actions

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// moved are the chains that are not as st has them, and those among them that do
// not hold any more what st says: what it says of them.
func (s *Store) moved(ctx context.Context, st *anchorState, cuts map[string]mark) (moved, broken map[string]string, err error) {
	names, err := s.chainNames(ctx, st)
	if err != nil {
		return nil, nil, err
	}
	moved, broken = map[string]string{}, map[string]string{}
	for some := range slices.Chunk(names, 500) {
		if err := s.compare(ctx, st, some, cuts, moved, broken); err != nil {
			return nil, nil, err
		}
	}
	return moved, broken, nil
}

// chainNames are all chains that there are or that were anchored.
func (s *Store) chainNames(ctx context.Context, st *anchorState) ([]string, error) {
	members, err := s.rdb.ZRange(ctx, chainsKey, 0, -1).Result()
	if err != nil {
		return nil, redisError("store.anchor", err)
	}
	names := make([]string, 0, len(members))
	known := make(map[string]bool, len(members))
	for _, m := range members {
		if name := chainOf(m); !name.IsZero() {
			names = append(names, ChainName(name))
			known[ChainName(name)] = true
		}
	}
	for name := range st.heads {
		if _, err := ParseChain(name); err == nil && !known[name] {
			names = append(names, name)
		}
	}
	return names, nil
}

// compare looks at some chains. Their heads are enough for those that did not
// move; of the others, the record that was anchored last is looked for.
func (s *Store) compare(ctx context.Context, st *anchorState, names []string, cuts map[string]mark, moved, broken map[string]string) error {
	const op = "store.anchor"
	heads, err := s.eachChain(ctx, names, func(p redis.Pipeliner, env Name) { p.Get(ctx, s.Key(env, auditHeadKey)) })
	if err != nil {
		return err
	}
	var look []string
	for i, name := range names {
		was, _ := parsePlace(st.heads[name])
		now, ok := parseMark(heads[i])
		if !ok {
			s.log.ErrorContext(ctx, "the head of an audit chain cannot be read; verify the audit", "chain", name)
			continue
		}
		cut := was.cut
		if to := cuts[name]; to.seq > cut.seq { // never back behind what another replica announced
			cut = to
		}
		if now == was.head && cut == was.cut {
			continue
		}
		moved[name] = place{head: now, cut: cut}.String()
		if was.head != (mark{}) {
			look = append(look, name)
		}
	}
	if len(look) == 0 {
		return nil
	}
	// Retention never goes beyond what is anchored, so that the record is there or
	// is the checkpoint itself.
	for _, name := range look {
		env, _ := ParseChain(name)
		was, _ := parsePlace(st.heads[name])
		texts, cut, err := s.page(ctx, s.Key(env, auditKey), s.Key(env, auditCutKey), was.head.seq-1, 1)
		if wrongType(err) { // the others are anchored all the same
			broken[name] = st.heads[name]
			continue
		}
		if err != nil {
			return err
		}
		if cut == was.head {
			continue
		}
		var r Record
		if len(texts) == 1 {
			r, _ = readRecord([]byte(texts[0]))
		}
		if cut.seq >= was.head.seq || r.Seq != was.head.seq || r.Hash != was.head.hash {
			broken[name] = st.heads[name]
		}
	}
	return redisError(op, ctx.Err())
}

// unreadable stands for what is under a chain's key and is no text: somebody put
// something else there.
const unreadable = "?"

// eachChain sends one command for each chain and returns the texts that they
// gave, "" for none.
func (s *Store) eachChain(ctx context.Context, names []string, send func(p redis.Pipeliner, env Name)) ([]string, error) {
	const op = "store.chains"
	commands, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, name := range names {
			env, _ := ParseChain(name)
			send(p, env)
		}
		return nil
	})
	if len(commands) != len(names) {
		return nil, redisError(op, err)
	}
	texts := make([]string, len(names))
	for i, c := range commands {
		text, ok := c.(*redis.StringCmd)
		if !ok {
			return nil, Errorf(op, CodeInternal, "Redis gave an unexpected answer.")
		}
		err := text.Err()
		if asked, refused := errors.AsType[redis.Error](err); refused && !errors.Is(err, redis.Nil) && !passing(asked.Error()) {
			texts[i] = unreadable
			continue
		}
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, redisError(op, err)
		}
		texts[i] = text.Val()
	}
	return texts, nil
}

// wrongType tells whether Redis refused because a key holds another kind of value
// than Berth keeps under it. Only somebody else can have put it there.
// Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
func wrongType(err error) bool {
	asked, refused := errors.AsType[redis.Error](err)
	return refused && strings.Contains(asked.Error(), "WRONGTYPE") // a script's failure begins with other words in Redis 6
}

// textOf is what c read, "" for nothing and unreadable for what is no text.
func textOf(c *redis.StringCmd) (string, error) {
	text, err := c.Result()
	switch {
	case wrongType(err):
		return unreadable, nil
	case errors.Is(err, redis.Nil):
		return "", nil
	}
	return text, err
}
