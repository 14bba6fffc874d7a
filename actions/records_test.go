package actions_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

// fill stores n environments of each app, every third one cleaned up.
func fill(tb testing.TB, s *actions.Store, n int, apps ...string) {
	tb.Helper()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				for _, app := range apps {
					env := &actions.Environment{Name: actions.Name{App: app, Env: fmt.Sprintf("env-%05d", i)}, State: actions.StateRunning}
					if i%3 == 2 {
						env.State = actions.StateCleaned
					}
					if err := actions.Put(tb.Context(), s, env); err != nil {
						tb.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestEnvironmentsArePaged(t *testing.T) {
	t.Parallel()
	s := actions.NewStore(redistest.Client(t), actions.StoreOptions{})
	fill(t, s, 30, "shop", "shop-a", "zoo")
	tests := map[string]struct {
		filter actions.EnvFilter
		want   int
	}{
		"all that live":           {actions.EnvFilter{Limit: 7}, 60},
		"all of them":             {actions.EnvFilter{Limit: 7, All: true}, 90},
		"of one app":              {actions.EnvFilter{Limit: 7, App: "shop"}, 20},
		"of an app with a dash":   {actions.EnvFilter{Limit: 20, App: "shop-a"}, 20},
		"of no app":               {actions.EnvFilter{App: "none"}, 0},
		"of what is no name":      {actions.EnvFilter{App: "{}"}, 0},
		"the cleaned ones":        {actions.EnvFilter{Limit: 4, State: actions.StateCleaned}, 30},
		"the running ones of zoo": {actions.EnvFilter{Limit: 4, State: actions.StateRunning, App: "zoo"}, 20},
		"in a state of none":      {actions.EnvFilter{State: actions.StateFailure}, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, last, got := tc.filter, "", 0
			for {
				items, next, err := s.Environments(t.Context(), f)
				if err != nil {
					t.Fatal(err)
				}
				if f.Limit > 0 && len(items) > f.Limit {
					t.Fatalf("a page of %d", len(items))
				}
				for _, e := range items {
					if name := e.Name.String(); name <= last {
						t.Fatalf("%s after %s", name, last)
					}
					last = e.Name.String()
					got++
				}
				if next == "" {
					break
				}
				f.Cursor = next
			}
			if got != tc.want {
				t.Errorf("%d environments, want %d", got, tc.want)
			}
		})
	}
	for _, cursor := range []string{"x", "[zoo", "zoo/aa/bb", "zoo/env-00001"} {
		_, _, err := s.Environments(t.Context(), actions.EnvFilter{App: "shop", Cursor: cursor})
		wantCode(t, err, actions.CodeInvalid)
	}
}

func BenchmarkListOf10000(b *testing.B) {
	s := actions.NewStore(redistest.Client(b), actions.StoreOptions{})
	fill(b, s, 10_000, "shop")
	for b.Loop() {
		if _, _, err := s.Environments(b.Context(), actions.EnvFilter{Cursor: "shop/env-05000"}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestLocks(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	lock := func(by, reason string) (*actions.Environment, error) {
		return h.store.SetLock(h.ctx, shop42, &actions.Lock{By: by, Reason: reason}, actions.Record{Actor: by})
	}
	_, err := lock("ana", "")
	wantCode(t, err, actions.CodeNotFound)
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	if env, err := lock("ana", "demo"); err != nil || env.Lock.By != "ana" || !env.Lock.At.Equal(h.now()) {
		t.Fatalf("lock: %+v, %v", env, err)
	}
	if _, err := lock("ana", "demo"); err != nil {
		t.Errorf("the same lock again: %v", err)
	}
	_, err = lock("ben", "")
	wantCode(t, err, actions.CodeConflict)
	before, _ := h.store.Audit(h.ctx, shop42, 0, 0)
	for range 2 {
		if env, err := h.store.SetLock(h.ctx, shop42, nil, actions.Record{Actor: "ben"}); err != nil || env.Lock != nil {
			t.Errorf("unlock: %+v, %v", env, err)
		}
	}
	after, _ := h.store.Audit(h.ctx, shop42, 0, 0)
	if len(after) != len(before)+1 || after[len(after)-1].Kind != "environment.unlocked" || after[len(after)-1].Actor != "ben" || after[len(after)-1].Detail["locked_by"] != "ana" {
		t.Errorf("audit %+v", after[len(before):])
	}
}

func TestOldRunsAreForgotten(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.app.Parts = h.app.Parts[:1]
	first := h.perform(actions.Order{Verb: actions.VerbDeploy})
	for range actions.RunsKept {
		h.pass(time.Minute)
		h.perform(actions.Order{Verb: actions.VerbRestart})
	}
	runs, err := h.store.Runs(h.ctx, shop42, 0)
	if err != nil || len(runs) != actions.RunsKept || !runs[0].StartedAt.Equal(h.now()) {
		t.Errorf("%d runs, %v", len(runs), err)
	}
	_, err = h.store.Run(h.ctx, first.ID)
	wantCode(t, err, actions.CodeNotFound)
	left := h.rdb.Keys(h.ctx, "*"+first.ID+"*").Val()
	if len(left) != 0 {
		t.Errorf("keys left: %v", left)
	}
	if ttl := h.rdb.TTL(h.ctx, h.store.Key(shop42, "events:"+runs[0].ID)).Val(); ttl < 29*24*time.Hour {
		t.Errorf("its events live for %v", ttl)
	}
}

// Whatever the order of acquiring, losing and writing: a write succeeds only
// while no later lease was taken, and each success is one revision.
func TestFencingInterleaved(t *testing.T) {
	rdb := redistest.Client(t)
	ctx := t.Context()
	rapid.Check(t, func(rt *rapid.T) {
		rdb.FlushDB(ctx)
		s := actions.NewStore(rdb, actions.StoreOptions{})
		if err := actions.Put(ctx, s, &actions.Environment{Name: shop42, State: actions.StateRunning}); err != nil {
			rt.Fatal(err)
		}
		type writer struct {
			lease *actions.Lease
			env   *actions.Environment // as it last read it
		}
		var writers []*writer
		revision, newest := int64(1), int64(0)
		rt.Repeat(map[string]func(*rapid.T){
			"take over": func(rt *rapid.T) {
				rdb.Del(ctx, s.Key(shop42, "lease"))
				l, err := s.Acquire(ctx, shop42, "w", time.Hour)
				if err != nil {
					rt.Fatal(err)
				}
				env, err := s.Environment(ctx, shop42)
				if err != nil {
					rt.Fatal(err)
				}
				newest, writers = l.Token, append(writers, &writer{l, env})
			},
			"write": func(rt *rapid.T) {
				if len(writers) == 0 {
					rt.Skip()
				}
				w := writers[rapid.IntRange(0, len(writers)-1).Draw(rt, "writer")]
				stale := w.env.Revision != revision
				err := actions.PutFenced(ctx, s, w.env, w.lease)
				switch {
				case w.lease.Token != newest:
					wantCode(t, err, actions.CodeFenced)
				case stale:
					wantCode(t, err, actions.CodeConflict)
					w.env, _ = s.Environment(ctx, shop42)
				default:
					if err != nil {
						rt.Fatal(err)
					}
					revision++
				}
			},
			"somebody locks": func(rt *rapid.T) {
				env, err := s.Environment(ctx, shop42)
				if err != nil {
					rt.Fatal(err)
				}
				var lock *actions.Lock
				if env.Lock == nil {
					lock = &actions.Lock{By: "ana"}
				}
				if _, err := s.SetLock(ctx, shop42, lock, actions.Record{}); err != nil {
					rt.Fatal(err)
				}
				revision++
			},
			"": func(rt *rapid.T) {
				env, err := s.Environment(ctx, shop42)
				if err != nil || env.Revision != revision || env.Fence > newest {
					rt.Fatalf("record %+v, %v; want revision %d", env, err, revision)
				}
			},
		})
		if err := s.VerifyAudit(ctx, shop42); err != nil {
			rt.Fatal(err)
		}
	})
}

func TestRedisThatIsGoneIsSaidSo(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	s := actions.NewStore(rdb, actions.StoreOptions{})
	ctx := t.Context()
	calls := map[string]func() error{
		"environment":  func() error { _, err := s.Environment(ctx, shop42); return err },
		"environments": func() error { _, _, err := s.Environments(ctx, actions.EnvFilter{}); return err },
		"run":          func() error { _, err := s.Run(ctx, "x"); return err },
		"runs":         func() error { _, err := s.Runs(ctx, shop42, 1); return err },
		"events":       func() error { _, err := s.Events(ctx, "x", "", 1, time.Minute); return err },
		"changes":      func() error { _, err := s.Changes(ctx, "", time.Minute); return err },
		"acquire":      func() error { _, err := s.Acquire(ctx, shop42, "x", time.Minute); return err },
		"audit":        func() error { _, err := s.Audit(ctx, shop42, 0, 1); return err },
		"verify":       func() error { return s.VerifyAudit(ctx, shop42) },
		"lock":         func() error { _, err := s.SetLock(ctx, shop42, nil, actions.Record{}); return err },
		"exec":         func() error { _, err := note(ctx, s, shop42, "x", actions.Record{}); return err },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := call()
			wantCode(t, err, actions.CodeUnavailable)
			if !actions.Retryable(err) {
				t.Error("it cannot be tried again")
			}
		})
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	_, err := s.Environment(stopped, shop42)
	wantCode(t, err, actions.CodeCancelled)
}
