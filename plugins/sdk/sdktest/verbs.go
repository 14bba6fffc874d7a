package sdktest

import (
	"context"
	"maps"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
	"github.com/berth-dev/berth/plugins/sdk"
)

// twice runs a step two times and checks that the second is as good as the
// first.
func (b *bench) twice(t *testing.T, v sdk.Verb) {
	t.Helper()
	s := wire(t, b.do(v))
	first, err := b.client.run(b.context(t), s, nil)
	if err != nil {
		t.Fatalf("%s: %v", v, err)
	}
	before := b.snapshot(t)
	second, err := b.client.run(b.context(t), s, nil)
	if err != nil {
		t.Fatalf("%s of what is already so: %v", v, err)
	}
	if !maps.Equal(first, second) {
		t.Errorf("the second %s has other outputs: %v, then %v", v, first, second)
	}
	if after := b.snapshot(t); after != before {
		t.Errorf("the second %s, of the same step, changed the world again: %s", v, difference(before, after))
	}
}

func (b *bench) deploy(t *testing.T) {
	b.twice(t, sdk.Deploy)
	b.deployed = true
}

func (b *bench) archive(t *testing.T) {
	if !b.can(sdk.Archive) || !b.can(sdk.Restore) {
		t.Skip("the executor does not archive and restore")
	}
	b.twice(t, sdk.Archive)
	if b.about.GetPlans() {
		b.planOne(t, sdk.Restore)
	}
	b.twice(t, sdk.Restore)
	b.healthy(t)
}

// others are the verbs that an executor may leave out.
func (b *bench) others(t *testing.T) {
	some := false
	for _, v := range []sdk.Verb{sdk.Rollback, sdk.Restart, sdk.Sleep, sdk.Wake} {
		if !b.can(v) || v == sdk.Sleep && !b.can(sdk.Wake) {
			continue
		}
		some = true
		b.twice(t, v)
		if v != sdk.Sleep {
			b.healthy(t)
		}
	}
	if !some {
		t.Skip("the executor has none of these verbs")
	}
}

func (b *bench) cleanup(t *testing.T) {
	b.twice(t, sdk.Cleanup)
	b.deployed = false
}

// cancel stops the slow step in both ways: by the end of its call, and by Cancel.
func (b *bench) cancel(t *testing.T) {
	if b.Slow == nil {
		t.Skip("the suite has no slow step")
	}
	b.client.forget()
	ctx, cancel := context.WithCancel(b.context(t))
	defer cancel()
	// A step that tells nothing is stopped after a moment in which it begins.
	timer := time.AfterFunc(500*time.Millisecond, cancel)
	defer timer.Stop()
	_, err := b.client.run(ctx, wire(t, *b.Slow), cancel)
	if ctx.Err() == nil {
		t.Fatalf("the slow step ended by itself: %v", err)
	}
	if !b.client.ended(t, b.CancelWithin) {
		t.Fatalf("Run still goes on %s after it was cancelled", b.CancelWithin)
	}
	b.askedToStop(t)
	// The next step of the part begins only when the cancelled one has ended.
	s := *b.Slow
	s.Verb, s.ID = sdk.Cleanup, s.ID+"-cleanup"
	if _, err := b.client.run(b.context(t), wire(t, s), nil); err != nil {
		t.Errorf("cleanup after a step that was stopped: %v", err)
	}
}

// askedToStop runs the slow step again, with a call that stays open, and asks for
// its end.
func (b *bench) askedToStop(t *testing.T) {
	t.Helper()
	ctx, giveUp := context.WithCancel(b.context(t))
	defer giveUp()
	slow := *b.Slow
	slow.ID += "-again" // the one that was cancelled may still be known by its own
	step := wire(t, slow)
	ended := make(chan error, 1)
	go func() {
		_, err := b.client.run(ctx, step, nil)
		ended <- err
	}()
	var lacking bool
	if !within(b.CancelWithin, func() bool {
		r, err := b.client.Cancel(ctx, &executorv1.CancelRequest{StepId: slow.ID})
		lacking = status.Code(err) == codes.Unimplemented
		return r.GetFound() || lacking
	}) {
		t.Errorf("Cancel does not know the step %q, which runs", slow.ID)
	}
	if lacking {
		t.Log("the executor lacks Cancel: Berth ends the call instead, and does not hear the last words of a step")
		giveUp()
	}
	select {
	case err := <-ended:
		if !lacking && status.Code(err) != codes.Canceled {
			t.Errorf("a step that was asked to stop ends with %v, want the status CANCELLED", err)
		}
	case <-time.After(b.CancelWithin):
		t.Errorf("a step still goes on %s after it was asked to stop", b.CancelWithin)
		giveUp()
		<-ended
	}
}
