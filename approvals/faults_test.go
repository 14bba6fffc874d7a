package approvals_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
)

// quick is a floor whose runs take the moment that they are given.
func quick(tb testing.TB, takes time.Duration) *floor {
	f := newFloor(tb)
	f.onRun = func(ctx context.Context, _ actions.RunRequest, _ int) (actions.RunState, error) {
		select {
		case <-time.After(takes):
			return actions.RunSucceeded, nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	return f
}

func TestRedisStopsAndComesBack(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		away func(*testing.T, *redistest.Server)
		back func(*testing.T, *redistest.Server)
	}{
		"restarted by an operator": {
			away: func(t *testing.T, s *redistest.Server) { s.Stop(t) },
			back: func(t *testing.T, s *redistest.Server) { s.Restart(t) },
		},
		"killed": {
			away: func(_ *testing.T, s *redistest.Server) { s.Kill() },
			back: func(t *testing.T, s *redistest.Server) { s.Restart(t) },
		},
		"hung": {
			away: func(t *testing.T, s *redistest.Server) { s.Pause(t) },
			back: func(t *testing.T, s *redistest.Server) { s.Resume(t) },
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			b := newBench(t, server.Client(t), approvals.Options{})
			f := quick(t, 50*time.Millisecond)
			b.work(approvals.WorkerOptions{Floor: f, Replica: "one", Concurrency: 4})
			var ids []string
			for n := range 20 {
				ids = append(ids, b.submit(actions.Name{App: "shop", Env: fmt.Sprintf("pr-%d", n)}, actions.VerbDeploy).ID)
			}
			b.untilState(ids[0], approvals.StateSucceeded)

			test.away(t, server)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			began := time.Now()
			_, created, err := b.Submit(ctx, approvals.Request{Order: actions.Order{Env: shop42, Verb: actions.VerbDeploy}, Requester: ana})
			wantCode(t, err, actions.CodeUnavailable)
			if created || !actions.Retryable(err) {
				t.Errorf("created %t, retry %t", created, actions.Retryable(err))
			}
			t.Logf("without Redis, Submit answers after %s", time.Since(began))
			test.back(t, server)

			for _, id := range ids {
				b.untilState(id, approvals.StateSucceeded)
			}
			b.submit(shop43, actions.VerbDeploy)
			b.untilIdle()
			for n := range 20 {
				env := actions.Name{App: "shop", Env: fmt.Sprintf("pr-%d", n)}
				if err := b.store.VerifyAudit(t.Context(), env); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestHintsThatAreLostAreFoundAgain(t *testing.T) {
	t.Parallel()
	tests := map[string]func(ctx context.Context, rdb redis.UniversalClient) error{
		"the whole queue": func(ctx context.Context, rdb redis.UniversalClient) error {
			return rdb.Del(ctx, approvals.ReadyKey, approvals.LaterKey).Err()
		},
		"what the worker has in hand": func(ctx context.Context, rdb redis.UniversalClient) error {
			return rdb.Del(ctx, approvals.HeldKey+"one", approvals.WorkersKey).Err()
		},
		"the queue and the index of active requests": func(ctx context.Context, rdb redis.UniversalClient) error {
			return rdb.Del(ctx, approvals.ReadyKey, approvals.LaterKey, approvals.ActiveIndexKey, "berth:sweep:deep").Err()
		},
	}
	for name, lose := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, redistest.Client(t), approvals.Options{})
			f, h := newFloor(t), newHeld()
			f.onRun = h.run
			b.work(approvals.WorkerOptions{Floor: f, Replica: "one"})
			runs := b.submit(shop42, actions.VerbDeploy)
			first := h.next(t)
			waits := b.untilState(b.submit(shop42, actions.VerbRestart).ID, approvals.StateReleased)
			if err := lose(t.Context(), b.rdb); err != nil {
				t.Fatal(err)
			}
			next := b.submit(shop43, actions.VerbDeploy)
			if req := h.next(t); req.RequestID != next.ID {
				t.Errorf("then began %+v", req)
			}
			h.finish(t, actions.RunSucceeded)
			h.finish(t, actions.RunSucceeded)
			b.untilState(runs.ID, approvals.StateSucceeded)
			h.finish(t, actions.RunSucceeded)
			b.untilState(waits.ID, approvals.StateSucceeded)
			b.untilState(next.ID, approvals.StateSucceeded)
			if n := f.runs(first.ID); n != 1 {
				t.Errorf("the run that went on all the while was begun %d times", n)
			}
		})
	}
}

func TestAWorkerThatDiedWithHintsInHand(t *testing.T) {
	t.Parallel()
	tests := map[string]func(ctx context.Context, rdb redis.UniversalClient) error{
		"is taken over from": func(context.Context, redis.UniversalClient) error { return nil },
		"and is forgotten is taken over from": func(ctx context.Context, rdb redis.UniversalClient) error {
			return rdb.ZRem(ctx, approvals.WorkersKey, "dead").Err()
		},
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, redistest.Client(t), approvals.Options{})
			r := b.submit(shop42, actions.VerbDeploy)
			for taken := false; !taken; {
				var err error
				if taken, err = b.TakeOne(t.Context(), "dead"); err != nil {
					t.Fatal(err)
				}
			}
			if err := spoil(t.Context(), b.rdb); err != nil {
				t.Fatal(err)
			}
			b.work(approvals.WorkerOptions{Floor: newFloor(t), Lease: time.Second})
			b.untilState(r.ID, approvals.StateSucceeded)
			b.untilIdle()
		})
	}
}

func TestEntriesThatSayNothingAreDropped(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	for _, m := range []string{
		"", "x", "a b c d", "../../x shop/pr-42", "01m7xpv4h8q4h52fmqnz7aa3em shop", "01m7xpv4h8q4h52fmqnz7aa3em shop/pr-42 fast",
		"01m7xpv4h8q4h52fmqnz7aa3em shop/pr-42", "01m7xpv4h8q4h52fmqnz7aa3em shop/pr-42 auto", // no such request
	} {
		if err := b.rdb.ZAdd(t.Context(), approvals.ReadyKey, redis.Z{Member: m}).Err(); err != nil {
			t.Fatal(err)
		}
		if err := b.rdb.ZAdd(t.Context(), approvals.LaterKey, redis.Z{Member: m}).Err(); err != nil {
			t.Fatal(err)
		}
		if err := b.rdb.ZAdd(t.Context(), approvals.ActiveIndexKey, redis.Z{Member: m}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	b.work(approvals.WorkerOptions{Floor: newFloor(t)})
	b.untilState(b.submit(shop42, actions.VerbDeploy).ID, approvals.StateSucceeded)
	b.untilIdle()
}

// TestTheInProcessRedis holds for the Redis that Berth starts where none is
// configured and redis-server is not installed.
func TestTheInProcessRedis(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	b := newBench(t, rdb, approvals.Options{})
	f, h := newFloor(t), newHeld()
	f.onRun = h.run
	stop := b.work(approvals.WorkerOptions{Floor: f, Replica: "one"})
	r := b.submit(shop42, actions.VerbDeploy)
	first := h.next(t)
	waits := b.untilState(b.submit(shop42, actions.VerbRestart).ID, approvals.StateReleased)
	stop()
	b.work(approvals.WorkerOptions{Floor: f, Replica: "one"})
	if again := h.next(t); again.ID != first.ID {
		t.Errorf("run %s went on as %s", first.ID, again.ID)
	}
	h.finish(t, actions.RunSucceeded)
	b.untilState(r.ID, approvals.StateSucceeded)
	h.next(t)
	if _, err := b.Cancel(t.Context(), waits.ID, ben, ""); err != nil {
		t.Fatal(err)
	}
	b.untilState(waits.ID, approvals.StateCancelled)
	list, _, err := b.List(t.Context(), approvals.Filter{App: "shop", Limit: 1})
	if err != nil || len(list) != 1 || list[0].ID != waits.ID {
		t.Errorf("the newest is %v, %v", list, err)
	}
	b.untilIdle()
}

func TestCluster(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.StartCluster(t), approvals.Options{})
	f := quick(t, time.Millisecond)
	stop := b.work(approvals.WorkerOptions{Floor: f, Replica: "one"})
	b.work(approvals.WorkerOptions{Floor: f, Replica: "two"})
	var ids []string
	for n := range 30 {
		env := actions.Name{App: "shop", Env: fmt.Sprintf("pr-%d", n%10)}
		ids = append(ids, b.submit(env, actions.VerbRestart, func(r *approvals.Request) { r.Key = fmt.Sprint(n) }).ID)
	}
	stop()
	for _, id := range ids {
		b.untilState(id, approvals.StateSucceeded)
	}
	list, _, err := b.List(t.Context(), approvals.Filter{Limit: 200})
	if err != nil || len(list) != len(ids) {
		t.Errorf("the list has %d requests, %v", len(list), err)
	}
	slices.Reverse(ids)
	for n, r := range list {
		if r.ID != ids[n] {
			t.Errorf("place %d of the list has %s, want %s", n, r.ID, ids[n])
		}
	}
	// The index of active requests is made anew from all of the nodes.
	b.until(b.submit(shop42, actions.VerbDeploy).ID, "succeeded", func(r *approvals.Request) bool { return r.State == approvals.StateSucceeded })
	b.untilIdle()
	for n := range 10 {
		if err := b.store.VerifyAudit(t.Context(), actions.Name{App: "shop", Env: fmt.Sprintf("pr-%d", n)}); err != nil {
			t.Error(err)
		}
	}
}

// before is a hook of a Redis client that does something once, right before the
// first script on a key.
type before struct {
	key  string
	once sync.Once
	do   func()
}

func (b *before) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *before) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		b.look(cmd)
		return next(ctx, cmd)
	}
}

func (b *before) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			b.look(cmd)
		}
		return next(ctx, cmds)
	}
}

func (b *before) look(cmd redis.Cmder) {
	if args := cmd.Args(); strings.HasPrefix(cmd.Name(), "eval") && len(args) > 3 && args[3] == b.key {
		b.once.Do(b.do)
	}
}

func TestAHintThatAWrongClockDelayedIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	r := b.submit(shop42, actions.VerbDeploy)
	hint := redis.Z{Score: float64(time.Now().Add(24 * time.Hour).UnixMilli()), Member: r.ID + " " + shop42.String()}
	if err := b.rdb.ZAdd(t.Context(), approvals.LaterKey, hint).Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.rdb.Del(t.Context(), approvals.ReadyKey).Err(); err != nil {
		t.Fatal(err)
	}
	b.work(approvals.WorkerOptions{Floor: quick(t, 0), Replica: "one"})
	b.untilState(r.ID, approvals.StateSucceeded)
}

func TestARunThatEndsWhileItIsTakenOverIsNotRunAgain(t *testing.T) {
	t.Parallel()
	o := redistest.Options(t)
	one := newBench(t, newClient(t, o), approvals.Options{})
	f, h := newFloor(t), newHeld()
	f.onRun = h.run
	stop := one.work(approvals.WorkerOptions{Floor: f, Replica: "one"})
	r := one.submit(shop42, actions.VerbDeploy)
	run := h.next(t)

	rdb := newClient(t, o)
	ended := make(chan struct{})
	rdb.AddHook(&before{key: one.store.Key(shop42, "lease"), do: func() {
		h.finish(t, actions.RunSucceeded)
		one.untilState(r.ID, approvals.StateSucceeded)
		stop() // the lease is given back
		close(ended)
	}})
	newBench(t, rdb, approvals.Options{}).work(approvals.WorkerOptions{Floor: f, Replica: "two"})
	hint := redis.Z{Member: r.ID + " " + shop42.String()}
	for sent := false; !sent; { // until "two" is the one that gets it
		if err := one.rdb.ZAdd(t.Context(), approvals.ReadyKey, hint).Err(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
			sent = true
		case <-time.After(50 * time.Millisecond):
		}
	}
	one.untilIdle()
	if n := f.runs(run.ID); n != 1 {
		t.Errorf("it was run %d times", n)
	}
}
