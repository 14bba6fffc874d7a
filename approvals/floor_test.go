package approvals_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
)

// floor is an approvals.Floor that keeps in memory what a cluster would keep. It
// notices when two runs of one environment go on at once.
type floor struct {
	tb testing.TB

	mu      sync.Mutex
	planned map[actions.Name]int
	ran     map[string]int // by run id: how often Run was called
	order   []string       // request ids as they began
	busy    map[actions.Name]string

	overlaps atomic.Int64

	onPlan func(ctx context.Context, order actions.Order, n int) error // n is 1 for the first of an environment
	onRun  func(ctx context.Context, req actions.RunRequest, n int) (actions.RunState, error)
}

func newFloor(tb testing.TB) *floor {
	return &floor{tb: tb, planned: map[actions.Name]int{}, ran: map[string]int{}, busy: map[actions.Name]string{}}
}

func (f *floor) Plan(ctx context.Context, order actions.Order, _ bool) (*actions.Plan, error) {
	f.mu.Lock()
	f.planned[order.Env]++
	n := f.planned[order.Env]
	f.mu.Unlock()
	if f.onPlan != nil {
		if err := f.onPlan(ctx, order, n); err != nil {
			return nil, err
		}
	}
	order.Commit = actions.Commit{SHA: fmt.Sprintf("%040d", n)}
	return &actions.Plan{Digest: fmt.Sprintf("digest-%d", n), Order: order, Summary: "one part"}, nil
}

func (f *floor) Run(ctx context.Context, lease *actions.Lease, req actions.RunRequest) (*actions.Run, error) {
	env := req.Order.Env
	f.mu.Lock()
	f.ran[req.ID]++
	n := f.ran[req.ID]
	f.order = append(f.order, req.RequestID)
	if other, ok := f.busy[env]; ok || lease.Env != env {
		f.overlaps.Add(1)
		f.tb.Errorf("run %s of %s begins under lease %+v while %q runs", req.ID, env, lease, other)
	}
	f.busy[env] = req.ID
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.busy, env)
		f.mu.Unlock()
	}()
	state := actions.RunSucceeded
	if f.onRun != nil {
		var err error
		if state, err = f.onRun(ctx, req, n); err != nil {
			return nil, err
		}
	}
	run := &actions.Run{ID: req.ID, RequestID: req.RequestID, Order: req.Order, Digest: req.Digest, State: state, Attempt: n}
	if state == actions.RunFailed {
		run.Error, run.Code = "The pods of web are not ready.", actions.CodeDownstream
	}
	return run, nil
}

func (f *floor) began() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.order...)
}

func (f *floor) runs(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ran[id]
}

// held is an onRun that tells begun of each run and lets it go on when it is
// sent how it ends, or is told to stop.
type held struct {
	begun chan actions.RunRequest
	end   chan actions.RunState
}

func newHeld() *held {
	return &held{begun: make(chan actions.RunRequest, 100), end: make(chan actions.RunState)}
}

func (h *held) run(ctx context.Context, req actions.RunRequest, _ int) (actions.RunState, error) {
	h.begun <- req
	select {
	case state := <-h.end:
		return state, nil
	case <-ctx.Done():
		cause := context.Cause(ctx)
		if actions.CodeOf(cause) == actions.CodeCancelled {
			return actions.RunCancelled, nil
		}
		return "", cause
	}
}

// next is the next run that begins.
func (h *held) next(tb testing.TB) actions.RunRequest {
	tb.Helper()
	select {
	case req := <-h.begun:
		return req
	case <-time.After(patience):
		tb.Fatal("no run begins")
		return actions.RunRequest{}
	}
}

// finish lets the run that has begun end.
func (h *held) finish(tb testing.TB, state actions.RunState) {
	tb.Helper()
	select {
	case h.end <- state:
	case <-time.After(patience):
		tb.Error("no run waits for its end")
	}
}
