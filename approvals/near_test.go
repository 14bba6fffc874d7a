package approvals_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
)

// stutter repeats each script that appends to an audit chain, as a client does
// that lost the reply, and gives the answer of the second time.
type stutter struct{ repeated atomic.Int64 }

func (s *stutter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *stutter) audits(cmd redis.Cmder) bool {
	args := cmd.Args()
	if cmd.Err() != nil || cmd.Name() != "evalsha" || len(args) < 4 {
		return false
	}
	key, _ := args[3].(string)
	return strings.HasSuffix(key, ":audit:head")
}

func (s *stutter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if s.audits(cmd) {
			s.repeated.Add(1)
			return next(ctx, cmd)
		}
		return err
	}
}

func (s *stutter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		again := slices.DeleteFunc(slices.Clone(cmds), func(cmd redis.Cmder) bool { return !s.audits(cmd) })
		if len(again) > 0 {
			s.repeated.Add(int64(len(again)))
			err = next(ctx, again)
		}
		return err
	}
}

func TestWhatAClientRepeatsHappensOnceAndIsAnswered(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	s := &stutter{}
	b := newBench(t, rdb, approvals.Options{})
	f := newFloor(t)
	b.work(approvals.WorkerOptions{Floor: f, Replica: "one"})
	b.untilState(b.submit(shop43, actions.VerbDeploy).ID, approvals.StateSucceeded) // the scripts are known
	rdb.AddHook(s)
	want := []string{"request.submitted", "request.released", "request.running", "request.succeeded"}
	for range 5 {
		r := b.untilState(b.submit(shop42, actions.VerbDeploy).ID, approvals.StateSucceeded)
		wantEqual(t, "audited", b.kinds(shop42, r.ID), want)
		if n := f.runs(r.RunID); n != 1 {
			t.Errorf("it ran %d times", n)
		}
	}
	if n := s.repeated.Load(); n < 15 {
		t.Errorf("%d scripts were repeated", n)
	}
}

func TestWhatIsRepeatedAfterSomebodyElseChangedTheEnvironmentIsAnswered(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	b := newBench(t, rdb, approvals.Options{})
	older := b.submit(shop42, actions.VerbRestart)
	s := &stutter{}
	rdb.AddHook(s)
	newer := b.submit(shop42, actions.VerbCleanup) // learns of older from the repeated script's answer
	if r := b.untilState(older.ID, approvals.StateSuperseded); r.Reason == "" {
		t.Errorf("%s superseded it without a word", newer.ID)
	}
	wantEqual(t, "audited", b.kinds(shop42, older.ID), []string{"request.submitted", "request.superseded"})
}

func TestARequestGoesStraightToAWorkerWhenNothingWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	f, h := newFloor(t), newHeld()
	f.onRun = h.run
	b.work(approvals.WorkerOptions{Floor: f, Replica: "one"})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !b.Near() {
		if _, err := b.store.Changes(ctx, "$", time.Millisecond); err != nil {
			t.Fatal("the worker has no room: ", err)
		}
	}
	r := b.submit(shop42, actions.VerbDeploy)
	h.next(t)
	hint := r.ID + " " + shop42.String()
	if held, err := b.rdb.SIsMember(ctx, approvals.HeldKey+"one", hint).Result(); err != nil || !held {
		t.Errorf("the queue does not know who holds it: %v", err)
	}
	if n, err := b.rdb.ZCard(ctx, approvals.ReadyKey).Result(); err != nil || n != 0 {
		t.Errorf("%d hints wait, %v", n, err)
	}
	h.finish(t, actions.RunSucceeded)
	b.untilState(r.ID, approvals.StateSucceeded)
}

func TestARequestWhoseProcessDiedAsItTookItIsTakenOver(t *testing.T) {
	t.Parallel()
	o := redistest.Options(t)
	one, two := newBench(t, newClient(t, o), approvals.Options{}), newBench(t, newClient(t, o), approvals.Options{})
	if err := one.Die(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	r := one.submit(shop42, actions.VerbDeploy)
	if n, err := two.rdb.ZCard(t.Context(), approvals.ReadyKey).Result(); err != nil || n != 0 {
		t.Errorf("%d hints wait, %v", n, err)
	}
	two.work(approvals.WorkerOptions{Floor: newFloor(t), Replica: "two", Lease: time.Second})
	two.untilState(r.ID, approvals.StateSucceeded)
}

func TestNothingBeginsWhileSomebodyHoldsTheEnvironment(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	f := newFloor(t)
	lease, err := b.store.Acquire(t.Context(), shop42, "somebody else", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	b.work(approvals.WorkerOptions{Floor: f, Replica: "one"})
	r := b.submit(shop42, actions.VerbDeploy) // the only one there, which begins in one step otherwise
	r = b.untilState(r.ID, approvals.StateReleased, approvals.StateRunning, approvals.StateSucceeded)
	if r.State != approvals.StateReleased {
		t.Fatalf("it is %s under somebody else's lease", r.State)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = b.untilState(r.ID, approvals.StateSucceeded)
	if n := f.runs(r.RunID); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

func TestWhoLostTheLeaseEndsNothing(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), newBench(t, redistest.Client(t), approvals.Options{})
	r := b.submit(shop42, actions.VerbDeploy)
	r, err := b.Move(ctx, r, approvals.StateReleased, nil)
	if err != nil {
		t.Fatal(err)
	}
	old, err := b.store.Acquire(ctx, shop42, "old", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = b.Move(ctx, r, approvals.StateRunning, old); err != nil {
		t.Fatal(err)
	}
	if err := b.rdb.Del(ctx, b.store.Key(shop42, "lease")).Err(); err != nil { // it ran out
		t.Fatal(err)
	}
	young, err := b.store.Acquire(ctx, shop42, "young", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.End(ctx, r, approvals.StateSucceeded, old)
	wantCode(t, err, actions.CodeFenced)
	if _, err := b.End(ctx, r, approvals.StateFailed, young); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "audited", b.kinds(shop42, r.ID), []string{"request.submitted", "request.released", "request.running", "request.failed"})
}
