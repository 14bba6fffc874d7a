package approvals_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
)

// TestMoves writes down what the state machine lets happen, and asks the script
// in Redis of every pair of states.
func TestMoves(t *testing.T) {
	t.Parallel()
	const (
		planning, pending, released, running = approvals.StatePlanning, approvals.StatePending, approvals.StateReleased, approvals.StateRunning
		succeeded, failed, refused           = approvals.StateSucceeded, approvals.StateFailed, approvals.StateRefused
		superseded, cancelled                = approvals.StateSuperseded, approvals.StateCancelled
	)
	allowed := map[approvals.State][]approvals.State{
		planning: {pending, released, succeeded, failed, refused, superseded, cancelled},
		pending:  {pending, released, refused, approvals.StateDenied, approvals.StateExpired, superseded, cancelled},
		released: {running, pending, refused, approvals.StateDenied, approvals.StateExpired, superseded, cancelled},
		running:  {running, planning, succeeded, failed, cancelled},
	}
	b := newBench(t, redistest.Client(t), approvals.Options{})
	for n, from := range approvals.States() {
		if from.Ended() != (allowed[from] == nil) {
			t.Errorf("%s ended: %t", from, from.Ended())
		}
		for m, to := range approvals.States() {
			env := actions.Name{App: "shop", Env: fmt.Sprintf("e%d-%d", n, m)}
			r := b.submit(env, actions.VerbDeploy)
			r = b.force(r, from)
			want := slices.Contains(allowed[from], to)
			if from.CanMove(to) != want {
				t.Errorf("from %s to %s: %t", from, to, !want)
			}
			next, err := b.Move(t.Context(), r, to, nil)
			now, errGet := b.Get(t.Context(), r.ID)
			if errGet != nil {
				t.Fatal(errGet)
			}
			kinds := b.kinds(env, r.ID)
			if !want {
				wantCode(t, err, actions.CodeConflict)
				wantEqual(t, fmt.Sprintf("audit of a move from %s to %s that is not allowed", from, to), kinds, []string{"request.submitted"})
				if now.State != from || now.Revision != r.Revision {
					t.Errorf("a move from %s to %s, not allowed, left %+v", from, to, now)
				}
				continue
			}
			if err != nil {
				t.Fatalf("from %s to %s: %v", from, to, err)
			}
			wantEqual(t, fmt.Sprintf("audit of a move from %s to %s", from, to), kinds, []string{"request.submitted", "request." + string(to)})
			if now.State != to || now.Revision != r.Revision+1 || next.State != to || now.EndedAt.IsZero() == to.Ended() {
				t.Errorf("a move from %s to %s left %+v", from, to, now)
			}
			if active := b.active(env); (len(active) == 0) != to.Ended() {
				t.Errorf("after a move from %s to %s the active requests are %v", from, to, active)
			}
		}
	}
}

func TestAMoveThatWasMadeForAnOlderRecordIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	r := b.submit(shop42, actions.VerbDeploy)
	if _, err := b.Move(t.Context(), r, approvals.StateReleased, nil); err != nil {
		t.Fatal(err)
	}
	_, err := b.Move(t.Context(), r, approvals.StateCancelled, nil)
	wantCode(t, err, actions.CodeConflict)
	wantEqual(t, "audit", b.kinds(shop42, r.ID), []string{"request.submitted", "request.released"})
}

func TestAMoveUnderAnOldLeaseIsFenced(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	r := b.force(b.submit(shop42, actions.VerbDeploy), approvals.StateReleased)
	old, err := b.store.Acquire(t.Context(), shop42, "old", patience)
	if err != nil {
		t.Fatal(err)
	}
	r, err = b.Move(t.Context(), r, approvals.StateRunning, old)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	young, err := b.store.Acquire(t.Context(), shop42, "young", patience)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Move(t.Context(), r, approvals.StateFailed, old)
	wantCode(t, err, actions.CodeFenced)
	if _, err = b.Move(t.Context(), r, approvals.StateSucceeded, young); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "audit", b.kinds(shop42, r.ID), []string{"request.submitted", "request.running", "request.succeeded"})
}

// force writes a state into a record past the state machine.
func (b *bench) force(r *approvals.Request, state approvals.State) *approvals.Request {
	b.tb.Helper()
	forced := *r
	forced.State = state
	if err := b.Force(b.tb.Context(), &forced); err != nil {
		b.tb.Fatal(err)
	}
	return &forced
}

// active are the ids of an environment's requests that have not ended.
func (b *bench) active(env actions.Name) []string {
	b.tb.Helper()
	ids, err := b.rdb.ZRange(b.tb.Context(), b.store.Key(env, "requests:active"), 0, -1).Result()
	if err != nil {
		b.tb.Fatal(err)
	}
	return ids
}

func TestNobodyPretendsToBeBerth(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		r    approvals.Request
		want bool
	}{
		"what Berth itself asks for":           {approvals.Request{Requester: approvals.Requester{Actor: "berth"}, Place: approvals.Place{Surface: "api"}}, true},
		"what a schedule asks for":             {approvals.Request{Requester: approvals.Requester{Actor: "ana"}, Place: approvals.Place{Surface: "schedule"}}, true},
		"a pull request that was closed":       {approvals.Request{Requester: approvals.Requester{Actor: "ana", Identity: "github:ana"}, Place: approvals.Place{Surface: "github", ID: "acme/shop#1"}}, true},
		"somebody who is called berth":         {approvals.Request{Requester: approvals.Requester{Actor: "berth", Identity: "github:berth"}, Place: approvals.Place{Surface: "github", ID: "acme/shop#1", Message: "7"}}, false},
		"a token of an actor of the same name": {approvals.Request{Requester: approvals.Requester{Actor: "berth", Identity: "token:berth"}, Place: approvals.Place{Surface: "api"}}, false},
	} {
		if got := tt.r.Automatic(); got != tt.want {
			t.Errorf("%s: automatic is %v", name, got)
		}
	}
}
