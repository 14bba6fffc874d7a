package actions

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// anchorsKey is the chain of anchors, a list of JSON; its head and its
	// checkpoint are like those of the chains that it vouches for.
	anchorsKey     = keyPrefix + "{audit}:anchors"
	anchorsHeadKey = keyPrefix + "{audit}:anchors:head"
	anchorsCutKey  = keyPrefix + "{audit}:anchors:cut"
	// anchoredKey is a hash of all chains: what the anchors say of each at last.
	anchoredKey = keyPrefix + "{audit}:anchored"

	// maxAnchorHeads is how many chains one anchor lists at most, so that no
	// entry grows with the number of chains. More of them are more anchors.
	maxAnchorHeads = 1000
	// anchorTries bounds how often another replica may make an anchor first.
	anchorTries = 20
)

// Anchor vouches for all chains as they were at one moment. It lists those whose
// head moved since the anchor before it, and Root stands for all of them.
//
// Hash is SHA-256, in lower-case hex, over the anchor's JSON without its "hash"
// member, as that of a Record is. Root is SHA-256 over one line for each chain
// that ever had an anchor, sorted by bytes: its name, a space, what was listed
// for it last, and a line feed.
type Anchor struct {
	Seq  int64     `json:"seq"` // 1 for the first
	Time time.Time `json:"time"`
	// Heads are the chains that moved, by name ("shop/pr-42", "berth"): "SEQ HASH"
	// of the last record, followed by that of the last record that retention
	// removed, if any. "0" is a chain that is empty, which only tampering makes.
	Heads map[string]string `json:"heads"`
	// Broken are the chains among Heads in which the record that was anchored last
	// was no more: what was listed for them before.
	Broken map[string]string `json:"broken,omitempty"`
	Root   string            `json:"root"`
	Cut    string            `json:"cut,omitempty"` // "SEQ HASH" of the last anchor that retention may remove
	Prev   string            `json:"prev,omitempty"`
	Hash   string            `json:"hash,omitempty"`
}

func (a Anchor) anchored() Anchored { return Anchored{Seq: a.Seq, Hash: a.Hash, Time: a.Time} }

// sealed is a with its Hash, and its text.
func (a Anchor) sealed() (Anchor, []byte, error) {
	a.Hash = ""
	text, err := json.Marshal(a)
	if err != nil {
		return a, nil, Wrap("audit.anchor", CodeInternal, err, "An anchor could not be written.")
	}
	sum := sha256.Sum256(text)
	a.Hash = hex.EncodeToString(sum[:])
	return a, append(append(text[:len(text)-1], `,"hash":"`+a.Hash...), `"}`...), nil
}

// readAnchor reads a stored anchor, and tells whether it is as it was written.
func readAnchor(text string) (a Anchor, sound bool) {
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return Anchor{}, false
	}
	again, canonical, err := a.sealed()
	return a, err == nil && again.Hash == a.Hash && string(canonical) == text
}

// place is where a chain begins and ends: what an anchor lists for it.
type place struct{ head, cut mark }

func (p place) String() string {
	head := cmp.Or(p.head.String(), "0")
	if p.cut == (mark{}) {
		return head
	}
	return head + " " + p.cut.String()
}

// parsePlace reads what String wrote.
func parsePlace(text string) (p place, ok bool) {
	words := strings.Split(text, " ")
	if words[0] == "0" {
		words = append([]string{"", ""}, words[1:]...)
	}
	if len(words) == 1 || len(words) > 4 || len(words) == 3 {
		return p, false
	}
	head, cut := strings.TrimSpace(strings.Join(words[:2], " ")), strings.Join(words[2:], " ")
	var okHead, okCut bool
	p.head, okHead = parseMark(head)
	p.cut, okCut = parseMark(cut)
	return p, okHead && okCut
}

// anchorState is what the anchors say at one moment.
type anchorState struct {
	head  mark              // of the chain of anchors
	cut   mark              // the newest anchor's Cut
	heads map[string]string // what was listed last, by chain
}

// root is what Root of an anchor of heads must be.
func rootOf(heads map[string]string) string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(heads)) {
		_, _ = fmt.Fprintf(sum, "%s %s\n", name, heads[name]) // a hash takes all
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// anchorScript appends an anchor.
//
//	KEYS[1]  the head of the chain of anchors
//	KEYS[2]  the chain of anchors
//	KEYS[3]  what is anchored, by chain
//	ARGV[1]  the head that the anchor was made for; "" for the first anchor
//	ARGV[2]  the head that it makes
//	ARGV[3]  the anchor, JSON
//	ARGV[4]… the chains that it lists, each followed by what is listed
//	output   1, also when a repeated call finds its anchor there; 0 when another
//	         anchor came first
var anchorScript = redis.NewScript(`
local head = redis.call('GET', KEYS[1]) or ''
if head == ARGV[2] then return 1 end
if head ~= ARGV[1] then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[2])
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
return 1`)

// Anchor makes anchors for all chains whose head moved since they were anchored
// last, and returns the newest anchor there is, which is an older one when
// nothing moved. Any number of replicas may call it at once.
//
// A chain that does not hold any more what was anchored of it is listed as
// broken, and logged: the anchor keeps what it ought to hold.
func (s *Store) Anchor(ctx context.Context) (Anchored, error) {
	return s.anchor(ctx, nil, mark{})
}

// anchor is Anchor that also announces how far retention is going to cut chains,
// and, by to, the chain of anchors itself.
func (s *Store) anchor(ctx context.Context, cuts map[string]mark, to mark) (Anchored, error) {
	const op = "store.anchor"
	s.anchors.turn.Lock()
	defer s.anchors.turn.Unlock()
	for range anchorTries {
		st, err := s.anchorState(ctx)
		if err != nil {
			return Anchored{}, err
		}
		moved, broken, err := s.moved(ctx, st, cuts)
		if err != nil {
			return Anchored{}, err
		}
		cut := st.cut
		if to.seq > cut.seq {
			cut = to
		}
		if len(moved) == 0 && cut == st.cut {
			return s.newestAnchor(ctx)
		}
		made, ok, err := s.appendAnchors(ctx, st, moved, broken, cut)
		if err != nil {
			return Anchored{}, redisError(op, err)
		}
		if !ok {
			s.anchors.state = nil
			continue
		}
		for name, was := range broken {
			s.log.ErrorContext(ctx, "an audit chain does not hold what was anchored of it; verify the audit", "chain", name, "anchored", was, "holds", moved[name], "anchor", made.Seq)
		}
		s.saw(made)
		return made, nil
	}
	return Anchored{}, &Error{Op: op, Code: CodeConflict, Retry: true, Msg: "Other replicas anchor the audit all the time; try again in a moment."}
}

// appendAnchors writes as many anchors as moved needs. It returns false when
// another replica made one first.
func (s *Store) appendAnchors(ctx context.Context, st *anchorState, moved, broken map[string]string, cut mark) (made Anchored, ok bool, err error) {
	names := slices.Sorted(maps.Keys(moved))
	for more := true; more; {
		some := names[:min(len(names), maxAnchorHeads)]
		names = names[len(some):]
		more = len(names) > 0
		next := Anchor{Seq: st.head.seq + 1, Time: s.clock(), Heads: map[string]string{}, Cut: cut.String(), Prev: st.head.hash}
		args := []any{st.head.String(), "", ""}
		for _, name := range some {
			next.Heads[name], st.heads[name] = moved[name], moved[name]
			if was := broken[name]; was != "" {
				if next.Broken == nil {
					next.Broken = map[string]string{}
				}
				next.Broken[name] = was
			}
			args = append(args, name, moved[name])
		}
		next.Root = rootOf(st.heads)
		sealed, text, err := next.sealed()
		if err != nil {
			return made, false, err
		}
		head := mark{sealed.Seq, sealed.Hash}
		args[1], args[2] = head.String(), text
		s.anchors.state = nil // until it is known what Redis holds
		done, err := anchorScript.Run(ctx, s.rdb, []string{anchorsHeadKey, anchorsKey, anchoredKey}, args...).Bool()
		if err != nil || !done {
			return made, false, err
		}
		st.head, st.cut, made = head, cut, sealed.anchored()
		s.anchors.state = st
	}
	return made, true, nil
}

// anchorState reads what is anchored, unless it is known since the last time.
func (s *Store) anchorState(ctx context.Context) (*anchorState, error) {
	const op = "store.anchor"
	if st := s.anchors.state; st != nil {
		head, err := s.rdb.Get(ctx, anchorsHeadKey).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, redisError(op, err)
		}
		if head == st.head.String() {
			return st, nil
		}
	}
	st, err := s.readAnchorState(ctx)
	if err == nil {
		s.anchors.state = st
	}
	return st, err
}

func (s *Store) readAnchorState(ctx context.Context) (*anchorState, error) {
	const op = "store.anchor"
	var head, newest *redis.StringCmd
	var heads *redis.MapStringStringCmd
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		head, heads, newest = p.Get(ctx, anchorsHeadKey), p.HGetAll(ctx, anchoredKey), p.LIndex(ctx, anchorsKey, -1)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, redisError(op, err)
	}
	at, ok := parseMark(head.Val())
	if !ok {
		return nil, Wrap(op, CodeInternal, fmt.Errorf("head is %q", clip(head.Val())), "The head of the anchors cannot be read; somebody wrote over it.")
	}
	last, _ := readAnchor(newest.Val())
	cut, _ := parseMark(last.Cut)
	return &anchorState{head: at, cut: cut, heads: heads.Val()}, nil
}

// newestAnchor reads the anchor that was made last.
func (s *Store) newestAnchor(ctx context.Context) (Anchored, error) {
	text, err := s.rdb.LIndex(ctx, anchorsKey, -1).Result()
	if errors.Is(err, redis.Nil) {
		return Anchored{}, nil
	}
	if err != nil {
		return Anchored{}, redisError("store.anchor", err)
	}
	a, _ := readAnchor(text)
	made := a.anchored()
	s.saw(made)
	return made, nil
}
