package actions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

const (
	anchorsKey  = "berth:{audit}:anchors"
	anchoredKey = "berth:{audit}:anchored"
)

var (
	pr1 = actions.Name{App: "shop", Env: "pr-1"}
	pr2 = actions.Name{App: "shop", Env: "pr-2"}
)

// books are audited changes of some environments on a real Redis, and the means
// to tamper with them as somebody does who can write to Redis.
type books struct {
	t     testing.TB
	ctx   context.Context
	rdb   redis.UniversalClient
	store *actions.Store
}

func newBooks(t testing.TB, rdb redis.UniversalClient, o actions.StoreOptions) *books {
	return &books{t: t, ctx: t.Context(), rdb: rdb, store: actions.NewStore(rdb, o)}
}

func (b *books) write(env actions.Name, n int) {
	b.t.Helper()
	for i := range n {
		if _, err := note(b.ctx, b.store, env, "w", actions.Record{Kind: "word.set", Actor: fmt.Sprint("actor ", i)}); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *books) anchor() actions.Anchored {
	b.t.Helper()
	a, err := b.store.Anchor(b.ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// verify verifies everything with a Store that has seen nothing.
func (b *books) verify() (actions.Verified, []actions.AuditBreak) {
	b.t.Helper()
	return verifyWith(b.t, actions.NewStore(b.rdb, actions.StoreOptions{}))
}

func verifyWith(t testing.TB, s *actions.Store) (actions.Verified, []actions.AuditBreak) {
	t.Helper()
	var breaks []actions.AuditBreak
	v, err := s.VerifyAll(t.Context(), "", func(b actions.AuditBreak) { breaks = append(breaks, b) })
	if err != nil {
		t.Fatal(err)
	}
	return v, breaks
}

func (b *books) list(key string) []string { return b.rdb.LRange(b.ctx, key, 0, -1).Val() }

func (b *books) rewrite(key string, texts []string) {
	b.rdb.Del(b.ctx, key)
	for _, text := range texts {
		b.rdb.RPush(b.ctx, key, text)
	}
}

// forge changes record seq of env and computes all later hashes and the head
// anew.
func (b *books) forge(env actions.Name, seq int) {
	b.t.Helper()
	texts := b.list(b.store.Key(env, "audit"))
	var r actions.Record
	prev := ""
	for i := range texts {
		r = actions.Record{}
		if err := json.Unmarshal([]byte(texts[i]), &r); err != nil {
			b.t.Fatal(err)
		}
		if r.Seq == int64(seq) {
			r.Actor = "forged"
		}
		if r.Seq > int64(seq) {
			r.Prev = prev
		}
		text, err := actions.Rehash(r)
		if err != nil {
			b.t.Fatal(err)
		}
		texts[i] = text
		_ = json.Unmarshal([]byte(text), &r)
		prev = r.Hash
	}
	b.rewrite(b.store.Key(env, "audit"), texts)
	b.rdb.Set(b.ctx, b.store.Key(env, "audit:head"), fmt.Sprint(r.Seq, " ", prev), 0)
}

// cutBack removes all but the first n records of env, and makes the head fit.
func (b *books) cutBack(env actions.Name, n int) {
	texts := b.list(b.store.Key(env, "audit"))[:n]
	var r actions.Record
	_ = json.Unmarshal([]byte(texts[n-1]), &r)
	b.rewrite(b.store.Key(env, "audit"), texts)
	b.rdb.Set(b.ctx, b.store.Key(env, "audit:head"), fmt.Sprint(n, " ", r.Hash), 0)
}

func TestWhatIsDoneToTheBooksIsFound(t *testing.T) {
	audit := func(b *books) string { return b.store.Key(pr1, "audit") }
	for name, c := range map[string]struct {
		tamper func(b *books)
		want   []string
	}{
		"nothing was done": {func(*books) {}, nil},
		"a record was removed from the middle": {func(b *books) {
			b.rdb.LRem(b.ctx, audit(b), 1, b.list(audit(b))[1])
		}, []string{"record 2 of the audit of shop/pr-1 is missing"}},
		"two records in a row were removed": {func(b *books) {
			all := b.list(audit(b))
			b.rewrite(audit(b), append(all[:1:1], all[3:]...))
		}, []string{"record 2 of the audit of shop/pr-1 is missing, and so are those after it up to record 3"}},
		"the newest record was removed": {func(b *books) {
			b.rdb.RPop(b.ctx, audit(b))
		}, []string{"record 7 of the audit of shop/pr-1 is missing"}},
		"the oldest record was removed": {func(b *books) {
			b.rdb.LPop(b.ctx, audit(b))
		}, []string{"record 1 of the audit of shop/pr-1 is missing"}},
		"a word of a record was changed": {func(b *books) {
			b.rdb.LSet(b.ctx, audit(b), 2, strings.Replace(b.list(audit(b))[2], "actor", "hacker", 1))
		}, []string{"record 3 of the audit of shop/pr-1 was changed"}},
		"two records were changed": {func(b *books) {
			for _, i := range []int64{1, 4} {
				b.rdb.LSet(b.ctx, audit(b), i, strings.Replace(b.list(audit(b))[i], "actor", "hacker", 1))
			}
		}, []string{"record 2 of the audit of shop/pr-1 was changed", "record 5 of the audit of shop/pr-1 was changed"}},
		"a member was added to a record": {func(b *books) {
			b.rdb.LSet(b.ctx, audit(b), 2, strings.Replace(b.list(audit(b))[2], "{", `{"note":"x",`, 1))
		}, []string{"record 3 of the audit of shop/pr-1 was changed"}},
		"a record was replaced by something else": {func(b *books) {
			b.rdb.LSet(b.ctx, audit(b), 2, "null")
		}, []string{"record 3 of the audit of shop/pr-1 was changed"}},
		"two records change places": {func(b *books) {
			all := b.list(audit(b))
			all[2], all[3] = all[3], all[2]
			b.rewrite(audit(b), all)
		}, []string{"record 3 of the audit of shop/pr-1 is out of order: it stands after record 4"}},
		"a record stands there twice": {func(b *books) {
			b.rdb.LInsertAfter(b.ctx, audit(b), b.list(audit(b))[1], b.list(audit(b))[1])
		}, []string{"record 3 of the audit of shop/pr-1 is out of order: another record 2 stands in its place"}},
		"a record that fits was added behind the head": {func(b *books) {
			all := b.list(audit(b))
			var last actions.Record
			_ = json.Unmarshal([]byte(all[6]), &last)
			last.Seq, last.Prev = 8, last.Hash
			text, _ := actions.Rehash(last)
			b.rdb.RPush(b.ctx, audit(b), text)
		}, []string{"record 8 of the audit of shop/pr-1 was added"}},
		"a record came from another chain": {func(b *books) {
			b.rdb.LSet(b.ctx, audit(b), 1, b.list(b.store.Key(pr2, "audit"))[1])
		}, []string{"record 2 of the audit of shop/pr-1 was changed"}},
		"the head was removed": {func(b *books) {
			b.rdb.Del(b.ctx, b.store.Key(pr1, "audit:head"))
		}, []string{"record 7 of the audit of shop/pr-1 has no head that vouches for it"}},
		"the head was written over": {func(b *books) {
			b.rdb.Set(b.ctx, b.store.Key(pr1, "audit:head"), "7 of nine", 0)
		}, []string{"record 7 of the audit of shop/pr-1 has no head that vouches for it"}},
		"the chain and its head were cut back": {func(b *books) {
			b.cutBack(pr1, 4)
		}, []string{"record 5 of the audit of shop/pr-1 is missing, and so are those after it up to record 6"}},
		"the chain was removed as a whole, with its head and its name": {func(b *books) {
			b.rdb.Del(b.ctx, audit(b))
			b.rdb.Del(b.ctx, b.store.Key(pr1, "audit:head"))
			b.rdb.ZRem(b.ctx, "berth:chains", "shop/pr-1")
		}, []string{"record 1 of the audit of shop/pr-1 is missing, and so are those after it up to record 6"}},
		"a record was forged and every later hash and the head computed anew": {func(b *books) {
			b.forge(pr1, 5)
		}, []string{"record 4 of the audit of shop/pr-1 or one after it up to 6 was changed, and every later hash was computed anew: an anchor vouches for another record 6"}},
		"a record was forged, its chain computed anew, and the forgery anchored": {func(b *books) {
			b.forge(pr1, 2)
			b.store = actions.NewStore(b.rdb, actions.StoreOptions{})
			b.anchor()
		}, []string{"record 1 of the audit of shop/pr-1 or one after it up to 3 was changed, and every later hash was computed anew: an anchor vouches for another record 3"}},
		"the chain was cut back, and that was anchored": {func(b *books) {
			b.cutBack(pr1, 4)
			b.store = actions.NewStore(b.rdb, actions.StoreOptions{})
			b.anchor()
		}, []string{"record 5 of the audit of shop/pr-1 is missing, and so are those after it up to record 6"}},
		"the oldest records were removed and a checkpoint made up": {func(b *books) {
			var r actions.Record
			_ = json.Unmarshal([]byte(b.list(audit(b))[1]), &r)
			b.rdb.LTrim(b.ctx, audit(b), 2, -1)
			b.rdb.Set(b.ctx, b.store.Key(pr1, "audit:cut"), "2 "+r.Hash, 0)
		}, []string{"record 1 of the audit of shop/pr-1 is missing, and so is all up to record 2: no anchor says that their time had come"}},
		"the checkpoint was written over": {func(b *books) {
			b.rdb.Set(b.ctx, b.store.Key(pr1, "audit:cut"), "x", 0)
		}, []string{"record 1 of the audit of shop/pr-1 cannot be looked at: the checkpoint that says where the chain begins was written over"}},
		"an anchor was removed": {func(b *books) {
			b.rdb.LRem(b.ctx, anchorsKey, 1, b.list(anchorsKey)[1])
		}, []string{"anchor 2 is missing"}},
		"an anchor was changed": {func(b *books) {
			b.rdb.LSet(b.ctx, anchorsKey, 0, strings.Replace(b.list(anchorsKey)[0], `"3 `, `"2 `, 1))
		}, []string{"anchor 1 was changed"}},
		"anchors change places": {func(b *books) {
			all := b.list(anchorsKey)
			slices.Reverse(all[:2])
			b.rewrite(anchorsKey, all)
		}, []string{"anchor 1 is out of order: it stands after record 2"}},
		"what is anchored of a chain was changed to fit a chain that was cut back": {func(b *books) {
			b.cutBack(pr1, 4)
			b.rdb.HSet(b.ctx, anchoredKey, "shop/pr-1", b.rdb.Get(b.ctx, b.store.Key(pr1, "audit:head")).Val())
		}, []string{"anchor 3 vouches for", "record 5 of the audit of shop/pr-1 is missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBooks(t, redistest.Client(t), actions.StoreOptions{})
			b.write(pr1, 3)
			b.write(pr2, 3)
			b.anchor()
			b.write(pr2, 1)
			b.anchor()
			b.write(pr1, 3)
			if a := b.anchor(); a.Seq != 3 {
				t.Fatalf("anchor %+v, want the third", a)
			}
			b.write(pr1, 1)
			c.tamper(b)
			v, breaks := b.verify()
			if len(breaks) != len(c.want) || v.Breaks != len(breaks) {
				t.Fatalf("%+v: breaks %+v, want %q", v, breaks, c.want)
			}
			for i, want := range c.want {
				if got := breaks[i].Error(); !strings.HasPrefix(got, want) {
					t.Errorf("break %q, want %q", got, want)
				}
			}
			if len(c.want) == 0 && (v.Chains != 2 || v.Records != 11 || v.Unanchored != 1 || v.Anchors != 3 || v.Anchor.Seq != 3) {
				t.Errorf("looked at %+v", v)
			}
			one := b.store.VerifyAudit(b.ctx, pr1)
			if touched := slices.ContainsFunc(breaks, func(b actions.AuditBreak) bool { return b.Env == pr1 }); touched && one == nil && !strings.Contains(name, "anchored") {
				t.Error("VerifyAudit of the chain itself found nothing")
			}
		})
	}
}

func TestBooksThatWereWrittenAnewAsAWholeAreFoundByWhoSawTheAnchor(t *testing.T) {
	var log bytes.Buffer
	rdb := redistest.Client(t)
	b := newBooks(t, rdb, actions.StoreOptions{Log: slog.New(slog.NewTextHandler(&log, nil))})
	b.write(pr1, 4)
	was := b.anchor()
	for _, key := range []string{anchorsKey, anchorsKey + ":head", anchoredKey} {
		rdb.Del(b.ctx, key)
	}
	b.forge(pr1, 2)
	forger := newBooks(t, rdb, actions.StoreOptions{})
	if a := forger.anchor(); a.Seq != was.Seq || a.Hash == was.Hash {
		t.Fatalf("the forger's anchor is %+v, the true one %+v", a, was)
	}
	if _, breaks := b.verify(); len(breaks) != 0 {
		t.Fatalf("nothing in Redis should show it: %+v", breaks)
	}
	if b.store.LatestAnchor() != was {
		t.Errorf("LatestAnchor = %+v, want %+v", b.store.LatestAnchor(), was)
	}
	_, breaks := verifyWith(t, b.store)
	if len(breaks) != 1 || !breaks[0].Anchor || breaks[0].Seq != 1 {
		t.Errorf("breaks %+v; want anchor 1", breaks)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	if err := b.store.AnchorTurn(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.store.Anchoring(ctx) // ends at once
	if !strings.Contains(log.String(), "not there any more") || !strings.Contains(log.String(), was.Hash) {
		t.Errorf("the log does not tell: %s", &log)
	}
}

func TestAnAnchorListsOnlyWhatMoved(t *testing.T) {
	b := newBooks(t, redistest.Client(t), actions.StoreOptions{})
	if a := b.anchor(); a != (actions.Anchored{}) {
		t.Errorf("an anchor of nothing: %+v", a)
	}
	for i := range 30 {
		b.write(actions.Name{App: "shop", Env: fmt.Sprint("pr-", i)}, 1)
	}
	first := b.anchor()
	b.write(pr2, 2)
	other := actions.NewStore(b.rdb, actions.StoreOptions{})
	second, err := other.Anchor(b.ctx)
	if err != nil || second.Seq != first.Seq+1 {
		t.Fatalf("second anchor %+v, %v", second, err)
	}
	if again := b.anchor(); again != second || b.store.LatestAnchor() != second {
		t.Errorf("an anchor though nothing moved: %+v", again)
	}
	texts := b.list(anchorsKey)
	var a actions.Anchor
	if err := json.Unmarshal([]byte(texts[len(texts)-1]), &a); err != nil || len(a.Heads) != 1 || !strings.HasPrefix(a.Heads["shop/pr-2"], "3 ") {
		t.Errorf("the second anchor is %+v, %v", a, err)
	}
	if _, breaks := b.verify(); len(breaks) != 0 {
		t.Errorf("breaks %+v", breaks)
	}
}

func TestReplicasMakeOneChainOfAnchors(t *testing.T) {
	t.Parallel()
	o := redistest.Options(t)
	var wg sync.WaitGroup
	var all []*books
	for range 4 {
		rdb := redis.NewClient(o)
		t.Cleanup(func() { _ = rdb.Close() })
		all = append(all, newBooks(t, rdb, actions.StoreOptions{}))
	}
	for i, b := range all {
		wg.Go(func() {
			for range 15 {
				b.write(actions.Name{App: "shop", Env: fmt.Sprint("pr-", i)}, 1)
				if _, err := b.store.Anchor(b.ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	v, breaks := all[0].verify()
	if len(breaks) != 0 || v.Records != 60 || v.Unanchored != 0 {
		t.Errorf("%+v, breaks %+v", v, breaks)
	}
}

func TestOneReplicaAnchorsAtATime(t *testing.T) {
	b := newBooks(t, redistest.Client(t), actions.StoreOptions{AnchorEvery: time.Hour})
	b.write(pr1, 1)
	if err := b.store.AnchorTurn(b.ctx); err != nil {
		t.Fatal(err)
	}
	was := b.store.LatestAnchor()
	b.write(pr1, 1)
	other := actions.NewStore(b.rdb, actions.StoreOptions{AnchorEvery: time.Hour})
	if err := other.AnchorTurn(b.ctx); err != nil || was.Seq != 1 || other.LatestAnchor() != was {
		t.Errorf("the other replica, whose turn it is not, saw %+v (%v); want %+v", other.LatestAnchor(), err, was)
	}
}

func TestAnchoringGoesOnWhileItRuns(t *testing.T) {
	t.Parallel()
	b := newBooks(t, redistest.Client(t), actions.StoreOptions{AnchorEvery: 10 * time.Millisecond})
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); b.store.Anchoring(ctx) }()
	tick, late := time.NewTicker(time.Millisecond), time.After(2*time.Minute)
	defer tick.Stop()
	for seq := int64(1); seq <= 3; seq++ {
		b.write(pr1, 1)
		for b.store.LatestAnchor().Seq < seq {
			select {
			case <-tick.C:
			case <-late:
				t.Fatal("no anchor was made")
			}
		}
	}
	cancel()
	<-ended
}
