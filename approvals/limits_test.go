package approvals_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
)

func TestNoMoreRunAtOnceThanALimitLetsInOverAllReplicas(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	const most, requests = 2, 8
	var mu sync.Mutex
	running, highest := 0, 0
	f := newFloor(t)
	f.onRun = func(context.Context, actions.RunRequest, int) (actions.RunState, error) {
		mu.Lock()
		running++
		highest = max(highest, running)
		mu.Unlock()
		_, _ = b.store.Changes(context.Background(), "$", 30*time.Millisecond) // takes a moment
		mu.Lock()
		running--
		mu.Unlock()
		return actions.RunSucceeded, nil
	}
	limits := func(actions.Order) []approvals.Limit {
		return []approvals.Limit{{Name: "cluster staging", Most: most}, {Name: "executor helm", Most: 100}, {Name: "none", Most: 0}}
	}
	b.work(approvals.WorkerOptions{Floor: f, Replica: "one", Limits: limits})
	b.work(approvals.WorkerOptions{Floor: f, Replica: "two", Limits: limits})
	var ids []string
	for n := range requests {
		ids = append(ids, b.submit(actions.Name{App: "shop", Env: fmt.Sprintf("pr-%d", n)}, actions.VerbDeploy).ID)
	}
	for _, id := range ids {
		b.untilState(id, approvals.StateSucceeded)
	}
	if highest > most || highest == 0 {
		t.Errorf("%d ran at once, at most %d may", highest, most)
	}
}

func TestALimitLetsOthersInAfterACrash(t *testing.T) {
	t.Parallel()
	o := redistest.Options(t)
	b := newBench(t, newClient(t, o), approvals.Options{})
	limits := func(actions.Order) []approvals.Limit { return []approvals.Limit{{Name: "cluster staging", Most: 1}} }
	f, h := newFloor(t), newHeld()
	f.onRun = h.run
	line := &wire{}
	rdb := line.client(o)
	t.Cleanup(func() { _ = rdb.Close() })
	newBench(t, rdb, approvals.Options{}).work(approvals.WorkerOptions{Floor: f, Replica: "one", Limits: limits, Lease: time.Second})
	first := b.submit(shop42, actions.VerbDeploy)
	h.next(t)
	line.sever()
	b.work(approvals.WorkerOptions{Floor: f, Replica: "two", Limits: limits, Lease: time.Second})
	second := b.submit(shop43, actions.VerbDeploy)
	h.next(t) // either is taken up
	h.finish(t, actions.RunSucceeded)
	h.next(t)
	h.finish(t, actions.RunSucceeded)
	b.untilState(first.ID, approvals.StateSucceeded)
	b.untilState(second.ID, approvals.StateSucceeded)
}

func TestAFloodOfOneAppDoesNotDelayAnother(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	for n := range 40 {
		b.submit(actions.Name{App: "flood", Env: fmt.Sprintf("pr-%d", n)}, actions.VerbRestart)
	}
	var scheduled []string
	for n := range 3 {
		scheduled = append(scheduled, b.submit(actions.Name{App: "blog", Env: fmt.Sprintf("pr-%d", n)}, actions.VerbRestart, func(r *approvals.Request) {
			r.Place.Surface = "schedule"
		}).ID)
	}
	one := b.submit(shop42, actions.VerbRestart)
	if err := b.Enqueued(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := newFloor(t)
	b.work(approvals.WorkerOptions{Floor: f, Concurrency: 1})
	b.untilState(scheduled[2], approvals.StateSucceeded)
	for place, id := range f.began() {
		if id == one.ID && place > 5 {
			t.Errorf("the other app's request began as number %d", place+1)
		}
		if id == scheduled[0] && place < 40 {
			t.Errorf("a scheduled one began as number %d, before those that a person waits for", place+1)
		}
	}
}

func TestAClusterThatDoesNotAnswerLeavesRoomForTheOthers(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	f := newFloor(t)
	hangs := make(chan struct{})
	f.onPlan = func(ctx context.Context, o actions.Order, _ int) error {
		if o.Env.App == "dead" {
			select {
			case <-hangs:
			case <-ctx.Done():
			}
		}
		return nil
	}
	b.work(approvals.WorkerOptions{Floor: f, Concurrency: 4, Room: func(o actions.Order) string { return o.Env.App }})
	var stuck []string
	for n := range 20 {
		stuck = append(stuck, b.submit(actions.Name{App: "dead", Env: fmt.Sprintf("pr-%d", n)}, actions.VerbDeploy).ID)
	}
	for n := range 5 {
		b.untilState(b.submit(actions.Name{App: "live", Env: fmt.Sprintf("pr-%d", n)}, actions.VerbDeploy).ID, approvals.StateSucceeded)
	}
	close(hangs)
	for _, id := range stuck {
		b.untilState(id, approvals.StateSucceeded)
	}
}
