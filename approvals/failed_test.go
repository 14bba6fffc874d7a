package approvals_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
)

func TestAFailedRequestIsListedAndRetried(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	f := newFloor(t)
	fails := true
	f.onRun = func(context.Context, actions.RunRequest, int) (actions.RunState, error) {
		if fails {
			fails = false
			return actions.RunFailed, nil
		}
		return actions.RunSucceeded, nil
	}
	b.work(approvals.WorkerOptions{Floor: f})
	failed := b.untilState(b.submit(shop42, actions.VerbDeploy).ID, approvals.StateFailed)
	list, _, err := b.List(t.Context(), approvals.Filter{State: approvals.StateFailed})
	if err != nil || len(list) != 1 || list[0].ID != failed.ID {
		t.Fatalf("the failed ones are %v, %v", list, err)
	}
	again, err := b.Retry(t.Context(), failed.ID, ben, approvals.Place{Surface: "cli"})
	if err != nil || again.ID == failed.ID || again.Requester.Actor != "ben" || again.Order.Verb != actions.VerbDeploy {
		t.Fatalf("retried as %+v, %v", again, err)
	}
	if by := again.Order; by.By != ben.Actor || by.Identity != ben.Identity {
		t.Errorf("it is %s's (%s) still", by.By, by.Identity)
	}
	if same, err := b.Retry(t.Context(), failed.ID, ben, approvals.Place{Surface: "cli"}); err != nil || same.ID != again.ID {
		t.Errorf("retried twice as %+v, %v", same, err)
	}
	b.untilState(again.ID, approvals.StateSucceeded)
	_, err = b.Retry(t.Context(), again.ID, ben, approvals.Place{})
	wantCode(t, err, actions.CodeConflict)
	_, err = b.Retry(t.Context(), "nope", ben, approvals.Place{})
	wantCode(t, err, actions.CodeNotFound)
	if active, err := b.Active(t.Context(), ""); err != nil || len(active) != 0 {
		t.Errorf("active are %v, %v", active, err)
	}
}

func TestActiveAreThoseOfAnAppThatHaveNotEnded(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	one := b.submit(shop42, actions.VerbDeploy)
	two := b.submit(shop43, actions.VerbDeploy)
	b.submit(actions.Name{App: "blog", Env: "pr-1"}, actions.VerbDeploy)
	active, err := b.Active(t.Context(), "shop")
	if err != nil || len(active) != 2 || active[0].ID != one.ID || active[1].ID != two.ID {
		t.Errorf("active are %v, %v", active, err)
	}
	if all, err := b.Active(t.Context(), ""); err != nil || len(all) != 3 {
		t.Errorf("of all apps %d are active, %v", len(all), err)
	}
}

func TestAFailedRequestIsRetriedOnceWhoeverAsks(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	f := newFloor(t)
	var fails atomic.Bool
	fails.Store(true)
	f.onRun = func(context.Context, actions.RunRequest, int) (actions.RunState, error) {
		if fails.Load() {
			return actions.RunFailed, nil
		}
		return actions.RunSucceeded, nil
	}
	first := b.submit(shop42, actions.VerbDeploy)
	stop := b.work(approvals.WorkerOptions{Floor: f})
	b.untilState(first.ID, approvals.StateFailed)
	stop() // what is made below stays where it is for now
	people := []approvals.Requester{ana, ben, ana, ben, {Actor: "cem", Identity: "github:cem"}}
	made := make([]*approvals.Request, len(people))
	var all sync.WaitGroup
	for i, by := range people {
		all.Go(func() {
			var err error
			if made[i], err = b.Retry(t.Context(), first.ID, by, approvals.Place{Surface: "cli"}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	again := made[0]
	for _, r := range made {
		if r.ID != again.ID || r.RetryOf != first.ID {
			t.Errorf("retried as %s of %s, and as %s", r.ID, r.RetryOf, again.ID)
		}
	}
	b.work(approvals.WorkerOptions{Floor: f})
	b.untilState(again.ID, approvals.StateFailed)
	_, err := b.Retry(t.Context(), first.ID, ana, approvals.Place{})
	wantCode(t, err, actions.CodeConflict)
	if text := actions.Message(err); !strings.Contains(text, "retry "+again.ID) {
		t.Errorf("it does not say what to retry: %s", text)
	}
	fails.Store(false)
	last, err := b.Retry(t.Context(), again.ID, ben, approvals.Place{})
	if err != nil {
		t.Fatal(err)
	}
	b.untilState(last.ID, approvals.StateSucceeded)
	if r, err := b.Retry(t.Context(), first.ID, ana, approvals.Place{}); err != nil || r.ID != last.ID {
		t.Errorf("the first one leads to %v, %v; want %s", r, err, last.ID)
	}
	if r, err := b.Get(t.Context(), first.ID); err != nil || r.RetriedAs != again.ID {
		t.Errorf("%+v, %v; want it retried as %s", r, err, again.ID)
	}
	list, _, err := b.List(t.Context(), approvals.Filter{State: approvals.StateFailed})
	if err != nil || len(list) != 2 || list[0].RetriedAs != last.ID || list[1].RetriedAs != again.ID {
		t.Errorf("those that failed are %v, %v", list, err)
	}
	if open, _, err := b.List(t.Context(), approvals.Filter{State: approvals.StateFailed, Open: true}); err != nil || len(open) != 0 {
		t.Errorf("those nobody looked after are %v, %v", open, err)
	}
}
