package actions_test

import (
	"context"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

// Redis Cluster refuses a script whose keys are in two slots, and a script that
// touches a key that it did not name on another node.
func TestEverythingWorksOnRedisCluster(t *testing.T) {
	t.Parallel()
	h := harnessOn(t, redistest.StartCluster(t))
	h.app.Parts[1].With["host"] = "x"
	h.world.before["db"] = func(_ context.Context, _ actions.Step, sink func(actions.Event)) error {
		for range 600 { // more than a chunk of the log takes
			sink(actions.Event{Kind: actions.EventLog, Text: "a line"})
		}
		return nil
	}
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	if _, err := h.store.SetLock(h.ctx, shop42, &actions.Lock{By: "ana"}, actions.Record{}); err != nil {
		t.Error(err)
	}
	if _, err := h.store.SetLock(h.ctx, shop42, nil, actions.Record{}); err != nil {
		t.Error(err)
	}
	h.perform(actions.Order{Verb: actions.VerbExtend, TTL: time.Hour})
	l := h.lease()
	if err := l.Renew(h.ctx); err != nil {
		t.Error(err)
	}
	if err := l.Release(h.ctx); err != nil {
		t.Error(err)
	}
	h.perform(actions.Order{Verb: actions.VerbArchive})
	h.perform(actions.Order{Verb: actions.VerbRestore})
	run := h.perform(actions.Order{Verb: actions.VerbCleanup})
	if stored, err := h.store.Run(h.ctx, run.ID); err != nil || stored.State != actions.RunSucceeded {
		t.Errorf("run %+v, %v", stored, err)
	}
	if got := h.texts(run.ID); len(got) < 608 {
		t.Errorf("%d events", len(got))
	}
	if changes, err := h.store.Changes(h.ctx, "", 10*time.Second); err != nil || len(changes) == 0 {
		t.Errorf("changes %v, %v", changes, err)
	}
	fill(t, h.store, 20, "aa", "bb") // spread over the nodes
	if list, _, err := h.store.Environments(h.ctx, actions.EnvFilter{All: true, Limit: 100}); err != nil || len(list) != 41 {
		t.Errorf("%d environments, %v", len(list), err)
	}
	if err := h.store.VerifyAudit(h.ctx, shop42); err != nil {
		t.Error(err)
	}
}
