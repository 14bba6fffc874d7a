package actions_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

func wantCode(tb testing.TB, err error, want actions.Code) {
	tb.Helper()
	if got := actions.CodeOf(err); got != want {
		tb.Fatalf("error %v has code %q, want %q", err, got, want)
	}
}

func TestLeases(t *testing.T) {
	ctx := t.Context()
	s := actions.NewStore(redistest.Client(t), actions.StoreOptions{})
	a, err := s.Acquire(ctx, shop42, "worker a", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Acquire(ctx, shop42, "worker b", time.Minute)
	wantCode(t, err, actions.CodeConflict)
	if want := fmt.Sprintf("Another action works on %s now (held by worker a); try again when it has ended.", shop42); actions.Message(err) != want {
		t.Errorf("message is %q", actions.Message(err))
	}
	if err := a.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.Release(ctx); err != nil {
		t.Fatal(err)
	}
	wantCode(t, a.Renew(ctx), actions.CodeFenced)
	b, err := s.Acquire(ctx, shop42, "worker b", time.Minute)
	if err != nil || b.Token <= a.Token {
		t.Fatalf("second lease %+v, %v; want a greater token than %d", b, err, a.Token)
	}
	if err := a.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.Renew(ctx); err != nil {
		t.Errorf("a lost lease, released, took the new one with it: %v", err)
	}
	if other, err := s.Acquire(ctx, actions.Name{App: "shop", Env: "pr-43"}, "worker a", time.Minute); err != nil || other.Token != 1 {
		t.Errorf("another environment: %+v, %v", other, err)
	}
}

func TestALeaseThatIsNotRenewedRunsOut(t *testing.T) {
	t.Parallel()
	s := actions.NewStore(redistest.Client(t), actions.StoreOptions{})
	a, err := s.Acquire(t.Context(), shop42, "a", 30*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		b, err := s.Acquire(ctx, shop42, "b", time.Minute)
		if err == nil {
			if b.Token != a.Token+1 {
				t.Errorf("token %d after %d", b.Token, a.Token)
			}
			wantCode(t, a.Renew(ctx), actions.CodeFenced)
			return
		}
		wantCode(t, err, actions.CodeConflict)
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the lease never ran out")
		}
	}
}

// At most one of many interleaved holders has the lease, and tokens only grow.
func TestLeasesInterleaved(t *testing.T) {
	rdb := redistest.Client(t)
	ctx := t.Context()
	rapid.Check(t, func(rt *rapid.T) {
		rdb.FlushDB(ctx)
		s := actions.NewStore(rdb, actions.StoreOptions{})
		var leases []*actions.Lease
		held, last := -1, int64(0)
		rt.Repeat(map[string]func(*rapid.T){
			"acquire": func(rt *rapid.T) {
				l, err := s.Acquire(ctx, shop42, "w", time.Hour)
				if held >= 0 {
					if actions.CodeOf(err) != actions.CodeConflict {
						rt.Fatalf("acquired while held: %v", err)
					}
					return
				}
				if err != nil || l.Token <= last {
					rt.Fatalf("lease %+v, %v after token %d", l, err, last)
				}
				last, held, leases = l.Token, len(leases), append(leases, l)
			},
			"expire": func(*rapid.T) {
				rdb.Del(ctx, s.Key(shop42, "lease"))
				held = -1
			},
			"renew": func(rt *rapid.T) {
				if len(leases) == 0 {
					rt.Skip()
				}
				i := rapid.IntRange(0, len(leases)-1).Draw(rt, "lease")
				err := leases[i].Renew(ctx)
				if (err == nil) != (i == held) {
					rt.Fatalf("renewing lease %d, while %d is held: %v", i, held, err)
				}
			},
			"release": func(rt *rapid.T) {
				if len(leases) == 0 {
					rt.Skip()
				}
				i := rapid.IntRange(0, len(leases)-1).Draw(rt, "lease")
				if err := leases[i].Release(ctx); err != nil {
					rt.Fatal(err)
				}
				if i == held {
					held = -1
				}
			},
		})
	})
}
