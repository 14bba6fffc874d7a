package actions_test

import (
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
)

func TestAdopt(t *testing.T) {
	t.Parallel()
	early := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	owned := []actions.Owned{
		{Env: shop42, Part: "web", Use: "helm", Kind: "Helm release", Name: "shop-pr-42-web", Namespace: "shop-pr-42", Cluster: "eu", CreatedAt: early.Add(time.Hour)},
		{Env: shop42, Use: "helm", Kind: "Namespace", Name: "old", Namespace: "old", Cluster: "eu", CreatedAt: early},
		{Env: shop42, Part: "web", Use: "other", Kind: "Job", Name: "later", Namespace: "x", Cluster: "eu", CreatedAt: early.Add(2 * time.Hour)},
	}
	t.Run("what has no record gets one that can be cleaned up", func(t *testing.T) {
		t.Parallel()
		h := newHarness(t)
		env, err := h.store.Adopt(h.ctx, shop42, owned, actions.Record{Actor: "reconcile", Surface: "reconcile"})
		if err != nil {
			t.Fatal(err)
		}
		if env.State != actions.StateFailure || env.Cluster != "eu" || env.Namespace != "old" || env.PullRequest != 42 || len(env.Parts) != 1 || env.Parts["web"].Use != "helm" {
			t.Errorf("environment %+v", env)
		}
		if err := actions.Allowed(shop42, h.env(), actions.VerbCleanup); err != nil {
			t.Errorf("it cannot be cleaned up: %v", err)
		}
		if items, _, err := h.store.Environments(h.ctx, actions.EnvFilter{}); err != nil || len(items) != 1 {
			t.Errorf("listed %+v, %v", items, err)
		}
		records, err := h.store.Audit(h.ctx, shop42, 0, 0)
		if err != nil || len(records) != 1 || records[0].Kind != "environment.adopted" || records[0].Actor != "reconcile" || records[0].Detail["things"] != "3" {
			t.Errorf("audit %+v, %v", records, err)
		}
		_, err = h.store.Adopt(h.ctx, shop42, owned, actions.Record{})
		wantCode(t, err, actions.CodeConflict)
	})
	t.Run("of one that was cleaned up, the record goes on", func(t *testing.T) {
		t.Parallel()
		h := newHarness(t)
		h.perform(actions.Order{Verb: actions.VerbDeploy})
		_, err := h.store.Adopt(h.ctx, shop42, owned, actions.Record{})
		wantCode(t, err, actions.CodeConflict)
		h.perform(actions.Order{Verb: actions.VerbCleanup})
		before := h.env()
		env, err := h.store.Adopt(h.ctx, shop42, owned, actions.Record{})
		if err != nil || env.Revision != before.Revision+1 || env.LastAction == nil || env.State != actions.StateFailure {
			t.Errorf("environment %+v, %v", env, err)
		}
	})
	t.Run("what does not belong together is refused", func(t *testing.T) {
		t.Parallel()
		h := newHarness(t)
		_, err := h.store.Adopt(h.ctx, shop42, nil, actions.Record{})
		wantCode(t, err, actions.CodeInvalid)
		_, err = h.store.Adopt(h.ctx, actions.Name{App: "shop", Env: "other"}, owned, actions.Record{})
		wantCode(t, err, actions.CodeInternal)
		two := append([]actions.Owned{{Env: shop42, Cluster: "us"}}, owned...)
		_, err = h.store.Adopt(h.ctx, shop42, two, actions.Record{})
		wantCode(t, err, actions.CodeConflict)
	})
}

func TestAllReplicasAreOneInstallation(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	ids := make(chan string)
	for range 8 {
		go func() {
			id, err := actions.NewStore(h.rdb, actions.StoreOptions{}).Installation(h.ctx)
			if err != nil {
				t.Error(err)
			}
			ids <- id
		}()
	}
	first := <-ids
	for range 7 {
		if id := <-ids; id != first || len(id) != 26 {
			t.Errorf("installations %q and %q", first, id)
		}
	}
	other, err := newHarness(t).store.Installation(t.Context())
	if err != nil || other == first {
		t.Errorf("another Redis has installation %q, %v", other, err)
	}
}
