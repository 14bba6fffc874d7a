package approvals_test

import (
	"context"
	"errors"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
)

func TestRequestsGoOnToTheirEndsAcrossAFailOver(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t)
	rdb := sentinel.Client()
	b := newBench(t, rdb, approvals.Options{})
	f, h := newFloor(t), newHeld()
	f.onRun = h.run
	b.work(approvals.WorkerOptions{Floor: f, Replica: "one", Lease: 10 * patience})
	runs := b.submit(shop42, actions.VerbDeploy)
	h.next(t)
	waits := b.submit(shop42, actions.VerbRestart)
	b.untilState(waits.ID, approvals.StateReleased)
	// What a master says before its replica has it can be lost with it; that is so
	// with every Redis that does not wait for its replicas.
	if n, err := rdb.Wait(t.Context(), 1, patience).Result(); err != nil || n != 1 {
		t.Fatalf("the replica has not all: %d, %v", n, err)
	}
	sentinel.KillMaster()

	// Asked again with the same id until the replica has taken over.
	id := "01m7xpv4h8q4h52fmqnz7aa3em"
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		_, _, err := b.Submit(ctx, approvals.Request{
			ID: id, Order: actions.Order{Env: shop43, Verb: actions.VerbDeploy, By: "ana"}, Requester: ana, Place: approvals.Place{Surface: "test"},
		})
		if err == nil {
			break
		}
		if !actions.Retryable(err) || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	h.next(t)
	for range 2 {
		h.finish(t, actions.RunSucceeded)
	}
	h.next(t) // the one that waited for its turn
	h.finish(t, actions.RunSucceeded)
	for _, id := range []string{runs.ID, waits.ID, id} {
		b.untilState(id, approvals.StateSucceeded)
	}
	b.kinds(shop42, runs.ID) // the chain is whole
	b.kinds(shop43, id)
	if n := len(f.began()); n != 3 {
		t.Errorf("%d runs began", n)
	}
}
