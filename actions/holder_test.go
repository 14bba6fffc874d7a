package actions_test

import (
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

func TestReleaseDead(t *testing.T) {
	ctx := t.Context()
	env := actions.Name{App: "shop", Env: "pr-42"}
	s := actions.NewStore(redistest.Client(t), actions.StoreOptions{})
	release := func(dead string) bool {
		t.Helper()
		freed, err := s.ReleaseDead(ctx, env, func(holder string) bool { return holder == dead })
		if err != nil {
			t.Fatal(err)
		}
		return freed
	}
	if release("a b/1") {
		t.Error("a lease that nobody holds was given back")
	}
	lease, err := s.Acquire(ctx, env, "a b/1", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if release("a b/2") {
		t.Error("another holder's lease was given back")
	}
	if !release("a b/1") {
		t.Error("the dead holder's lease was not given back")
	}
	if err := lease.Renew(ctx); actions.CodeOf(err) != actions.CodeFenced {
		t.Errorf("the holder that was taken for dead renews its lease: %v", err)
	}
	if _, err := s.Acquire(ctx, env, "a b/2", time.Minute); err != nil {
		t.Errorf("the next holder: %v", err)
	}
}
