package actions_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

// aged are books of a Store whose clock the test moves, and which keeps records
// for ten days.
func aged(t testing.TB) (b *books, now *time.Time) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	b = newBooks(t, redistest.Client(t), actions.StoreOptions{Now: func() time.Time { return at }, KeepAudit: 10 * 24 * time.Hour})
	return b, &at
}

func (b *books) retain() int64 {
	b.t.Helper()
	n, err := b.store.Retain(b.ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b *books) sound() actions.Verified {
	b.t.Helper()
	v, breaks := b.verify()
	if len(breaks) != 0 {
		b.t.Errorf("breaks %+v", breaks)
	}
	return v
}

func TestOldRecordsLeaveAndTheRestVerifies(t *testing.T) {
	b, now := aged(t)
	b.write(pr1, 5)
	b.write(pr2, 2)
	*now = now.Add(6 * 24 * time.Hour)
	b.anchor()
	b.write(pr1, 3)
	*now = now.Add(5 * 24 * time.Hour)
	if n := b.retain(); n != 7 {
		t.Errorf("%d records left, want 7", n)
	}
	if n := b.retain(); n != 0 {
		t.Errorf("%d records left the second time", n)
	}
	if v := b.sound(); v.Chains != 2 || v.Records != 3 || v.Unanchored != 0 {
		t.Errorf("%+v", v)
	}
	if err := b.store.VerifyAudit(b.ctx, pr1); err != nil {
		t.Error(err)
	}
	b.write(pr1, 2)
	b.write(pr2, 1)
	for after, want := range map[int64]string{0: "[6 7 8 9 10]", 3: "[6 7 8 9 10]", 5: "[6 7 8 9 10]", 7: "[8 9 10]", 10: "[]", math.MaxInt64: "[]", math.MinInt64: "[6 7 8 9 10]"} {
		records, err := b.store.Audit(b.ctx, pr1, after, 0)
		var seqs []int64
		for _, r := range records {
			seqs = append(seqs, r.Seq)
		}
		if err != nil || fmt.Sprint(seqs) != want {
			t.Errorf("records after %d are %v, %v; want %s", after, seqs, err, want)
		}
	}
	if page, err := b.store.Audit(b.ctx, pr1, 2, 2); err != nil || len(page) != 2 || page[0].Seq != 6 {
		t.Errorf("a page that begins among what left is %+v, %v", page, err)
	}
	all, err := b.store.Audit(b.ctx, pr2, 0, 0)
	if err != nil || len(all) != 1 || all[0].Seq != 3 {
		t.Errorf("an emptied chain goes on with %+v, %v", all, err)
	}
	*now = now.Add(20 * 24 * time.Hour)
	if n := b.retain(); n != 6 {
		t.Errorf("%d records left, want 6", n)
	}
	if v := b.sound(); v.Records != 0 || v.Anchors != 3 {
		t.Errorf("%+v; want no record and three anchors: of the newest records, of what left, and of the anchors that left", v)
	}
	b.write(pr1, 1)
	b.anchor()
	b.sound()
}

func TestRetentionThatStoppedHalfwayIsSoundAndGoesOn(t *testing.T) {
	b, now := aged(t)
	b.write(pr1, 4)
	*now = now.Add(11 * 24 * time.Hour)
	b.write(pr1, 1)
	key := b.store.Key(pr1, "audit")
	before := b.list(key)
	b.retain()
	b.rewrite(key, before) // as if the process had ended after the anchor
	b.rdb.Del(b.ctx, key+":cut")
	b.sound()
	if n := b.retain(); n != 4 {
		t.Errorf("%d records left, want 4", n)
	}
	b.sound()
}

func TestRecordsAreKeptForEverUnlessSomebodyWantsThemToLeave(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	b := newBooks(t, redistest.Client(t), actions.StoreOptions{Now: func() time.Time { return at }})
	b.write(pr1, 2)
	at = at.Add(24 * 365 * 20 * time.Hour)
	if err := b.store.AnchorTurn(b.ctx); err != nil {
		t.Fatal(err)
	}
	if n := b.retain(); n != 0 || b.sound().Records != 2 {
		t.Errorf("%d records left", n)
	}
}

func TestTheLoopRemovesOldRecords(t *testing.T) {
	b, now := aged(t)
	b.write(pr1, 2)
	*now = now.Add(11 * 24 * time.Hour)
	if err := b.store.AnchorTurn(b.ctx); err != nil {
		t.Fatal(err)
	}
	if v := b.sound(); v.Records != 0 {
		t.Errorf("%+v", v)
	}
}

func TestRetentionTamperingShows(t *testing.T) {
	for name, c := range map[string]struct {
		tamper func(b *books)
		want   string
	}{
		"what is left was removed with its head and checkpoint": {func(b *books) {
			for _, key := range []string{"audit", "audit:head", "audit:cut"} {
				b.rdb.Del(b.ctx, b.store.Key(pr1, key))
			}
		}, "record 1 of the audit of shop/pr-1 is missing, and so are those after it up to record 6"},
		"the checkpoint was moved on, and the records that it passes removed": {func(b *books) {
			var r actions.Record
			_ = json.Unmarshal([]byte(b.list(b.store.Key(pr1, "audit"))[0]), &r)
			b.rdb.LPop(b.ctx, b.store.Key(pr1, "audit"))
			b.rdb.Set(b.ctx, b.store.Key(pr1, "audit:cut"), fmt.Sprint(r.Seq, " ", r.Hash), 0)
		}, "record 5 of the audit of shop/pr-1 is missing, and so is all up to record 5"},
		"the checkpoint's hash was changed": {func(b *books) {
			b.rdb.Set(b.ctx, b.store.Key(pr1, "audit:cut"), "4 "+strings.Repeat("a", 64), 0)
		}, "record 4 of the audit of shop/pr-1 was changed: the checkpoint"},
		"the checkpoint was removed": {func(b *books) {
			b.rdb.Del(b.ctx, b.store.Key(pr1, "audit:cut"))
		}, "record 1 of the audit of shop/pr-1 is missing, and so are those after it up to record 4"},
		"the oldest anchors were removed with a checkpoint made up": {func(b *books) {
			var a actions.Anchor
			_ = json.Unmarshal([]byte(b.list(anchorsKey)[0]), &a)
			b.rdb.LPop(b.ctx, anchorsKey)
			b.rdb.Set(b.ctx, anchorsKey+":cut", fmt.Sprint(a.Seq, " ", a.Hash), 0)
		}, "anchor 2 is missing, and so is all up to 2: no anchor says that their time had come"},
	} {
		t.Run(name, func(t *testing.T) {
			b, now := aged(t)
			b.write(pr1, 4)
			b.anchor()
			*now = now.Add(11 * 24 * time.Hour)
			b.write(pr1, 2)
			if n := b.retain(); n != 4 {
				t.Fatalf("%d records left", n)
			}
			b.sound()
			c.tamper(b)
			_, breaks := b.verify()
			if len(breaks) == 0 || !strings.HasPrefix(breaks[0].Error(), c.want) {
				t.Errorf("breaks %+v, want %q first", breaks, c.want)
			}
		})
	}
}

func TestAChainThatDoesNotVerifyIsKeptAsEvidence(t *testing.T) {
	b, now := aged(t)
	b.write(pr1, 4)
	b.write(pr2, 2)
	b.anchor()
	key := b.store.Key(pr1, "audit")
	b.rdb.LSet(b.ctx, key, 2, strings.Replace(b.list(key)[2], "actor", "hacker", 1))
	*now = now.Add(11 * 24 * time.Hour)
	if n := b.retain(); n != 2 || len(b.list(key)) != 4 {
		t.Errorf("%d records left, and %d of the changed chain are kept", n, len(b.list(key)))
	}
	if _, breaks := b.verify(); len(breaks) != 1 || breaks[0].Seq != 3 {
		t.Errorf("breaks %+v", breaks)
	}
}

func TestAnchorsAndRetentionWorkOnRedisCluster(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	b := newBooks(t, redistest.StartCluster(t), actions.StoreOptions{Now: func() time.Time { return at }, KeepAudit: 10 * 24 * time.Hour})
	for i := range 12 { // spread over the nodes
		b.write(actions.Name{App: "shop", Env: fmt.Sprint("pr-", i)}, 3)
	}
	if err := b.store.Note(b.ctx, actions.Record{Kind: "config.loaded"}); err != nil {
		t.Fatal(err)
	}
	if err := b.store.Refused(b.ctx, pr1, actions.Record{}); err != nil {
		t.Fatal(err)
	}
	b.anchor()
	if v := b.sound(); v.Chains != 13 || v.Records != 38 || v.Unanchored != 0 {
		t.Errorf("%+v", v)
	}
	at = at.Add(11 * 24 * time.Hour)
	b.write(pr1, 1)
	if err := b.store.AnchorTurn(b.ctx); err != nil {
		t.Fatal(err)
	}
	if v := b.sound(); v.Records != 1 {
		t.Errorf("%+v", v)
	}
	b.forge(pr1, 5) // the one that is left
	b.rdb.Del(b.ctx, b.store.Key(pr2, "audit"), b.store.Key(pr2, "audit:head"), b.store.Key(pr2, "audit:cut"))
	_, breaks := b.verify()
	if len(breaks) != 2 || breaks[0].Env != pr1 || breaks[1].Env != pr2 {
		t.Errorf("breaks %+v", breaks)
	}
}

// Who verifies while records come, anchors are made and records leave must not
// be told of breaks that are none.
func TestVerifyingAmongWritersRaisesNoFalseAlarm(t *testing.T) {
	t.Parallel()
	o := redistest.Options(t)
	open := func(keep time.Duration) *books {
		rdb := redis.NewClient(o)
		t.Cleanup(func() { _ = rdb.Close() })
		return newBooks(t, rdb, actions.StoreOptions{KeepAudit: keep})
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	going := func(do func() error) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := do(); err != nil && !actions.Retryable(err) {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 3 {
		w := open(0)
		going(func() error {
			w.write(actions.Name{App: "shop", Env: fmt.Sprint("pr-", i%2)}, 3)
			return nil
		})
	}
	for range 2 {
		k := open(50 * time.Millisecond)
		going(func() error { _, err := k.store.Anchor(k.ctx); return err })
		going(func() error { _, err := k.store.Retain(k.ctx); return err })
	}
	v := open(0)
	for range 60 {
		if _, breaks := v.verify(); len(breaks) != 0 {
			t.Errorf("breaks %+v", breaks)
		}
		if err := v.store.VerifyAudit(v.ctx, actions.Name{App: "shop", Env: "pr-1"}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestALossThatAnAnchorNotedIsToldAsLongAsTheAnchorIsKept(t *testing.T) {
	b, now := aged(t)
	b.write(pr1, 6)
	b.anchor()
	*now = now.Add(9 * 24 * time.Hour)
	b.cutBack(pr1, 4)
	b.store = actions.NewStore(b.rdb, actions.StoreOptions{Now: func() time.Time { return *now }, KeepAudit: 10 * 24 * time.Hour})
	b.anchor()
	*now = now.Add(2 * 24 * time.Hour)
	b.retain()
	if n := len(b.list(anchorsKey)); n != 3 {
		t.Fatalf("%d anchors are kept; want three, without the one that knew six records", n)
	}
	_, breaks := b.verify()
	if want := "record 6 of the audit of shop/pr-1 was not there any more when anchor 2 was made at 2026-01-11T03:04:05Z, though an anchor before it vouches for it"; len(breaks) != 1 || breaks[0].Error() != want {
		t.Errorf("breaks %+v, want %q", breaks, want)
	}
	*now = now.Add(20 * 24 * time.Hour)
	b.write(pr1, 1)
	b.anchor()
	b.retain()
	*now = now.Add(11 * 24 * time.Hour)
	b.retain()
	b.sound()
}
