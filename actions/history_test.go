package actions_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
)

func TestHistoryOutlivesTheRuns(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.app.Parts = h.app.Parts[:1]
	h.store = actions.NewStore(h.rdb, actions.StoreOptions{Now: h.now, Keep: func(app string) actions.Keep {
		if app != "shop" {
			t.Errorf("asked for %q", app)
		}
		return actions.Keep{Runs: 2, Logs: time.Hour}
	}})
	h.run = h.runner()
	first := h.perform(actions.Order{Verb: actions.VerbDeploy, Reason: "a try"})
	for range 3 {
		h.pass(time.Minute)
		h.perform(actions.Order{Verb: actions.VerbRestart})
	}
	entries, err := h.store.History(h.ctx, shop42, 0)
	if err != nil || len(entries) != 4 {
		t.Fatalf("history %+v, %v", entries, err)
	}
	for i, e := range entries {
		if want := i < 2; e.Kept != want {
			t.Errorf("entry %d: kept %v, want %v", i, e.Kept, want)
		}
	}
	last := entries[3]
	if last.RunID != first.ID || last.RequestID != first.RequestID || last.Verb != actions.VerbDeploy || last.State != actions.RunSucceeded || last.By != "ana" ||
		last.Commit.SHA != shaA || last.Commit.Message != "commit aaa" || !last.StartedAt.Equal(first.StartedAt) || !last.EndedAt.Equal(first.EndedAt) {
		t.Errorf("the first deploy is %+v, its run %+v", last, first)
	}
	if two, err := h.store.History(h.ctx, shop42, 2); err != nil || len(two) != 2 || two[0].RunID != entries[0].RunID {
		t.Errorf("the newest two: %+v, %v", two, err)
	}
	if none, err := h.store.History(h.ctx, actions.Name{App: "shop", Env: "none"}, 0); err != nil || len(none) != 0 {
		t.Errorf("of none: %+v, %v", none, err)
	}
	if ttl := h.rdb.TTL(h.ctx, h.store.Key(shop42, "events:"+entries[0].RunID)).Val(); ttl <= 0 || ttl > time.Hour {
		t.Errorf("the log is kept for %v", ttl)
	}
}

func TestHistoryTellsOfFailuresAndIsBounded(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	end := func(i int) {
		run := &actions.Run{ID: fmt.Sprintf("run%d", i), Order: actions.Order{Env: shop42, Verb: actions.VerbDeploy}, State: actions.RunFailed,
			Error: strings.Repeat("é", 1000), StartedAt: h.now(), EndedAt: h.now().Add(1500 * time.Millisecond)}
		if err := actions.PutRun(h.ctx, h.store, run); err != nil {
			t.Fatal(err)
		}
	}
	for i := range actions.HistoryKept + 3 {
		end(i)
	}
	entries, err := h.store.History(h.ctx, shop42, 10_000)
	if err != nil || len(entries) != actions.HistoryKept || entries[0].RunID != fmt.Sprint("run", actions.HistoryKept+2) {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	if e := entries[0]; e.State != actions.RunFailed || len(e.Error) > 300 || !strings.HasSuffix(e.Error, "…") || e.EndedAt.Sub(e.StartedAt) != 1500*time.Millisecond {
		t.Errorf("entry %+v", e)
	}
	if err := h.rdb.LSet(h.ctx, h.store.Key(shop42, "history"), 1, "\x00 no line").Err(); err != nil {
		t.Fatal(err)
	}
	if entries, err = h.store.History(h.ctx, shop42, 3); err != nil || len(entries) != 2 {
		t.Errorf("beside a line that cannot be read: %+v, %v", entries, err)
	}
}

func TestARunUnderWayIsNoHistory(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	run := &actions.Run{ID: "run1", Order: actions.Order{Env: shop42, Verb: actions.VerbDeploy}, State: actions.RunRunning, StartedAt: h.now()}
	if err := actions.PutRun(h.ctx, h.store, run); err != nil {
		t.Fatal(err)
	}
	if entries, err := h.store.History(h.ctx, shop42, 0); err != nil || len(entries) != 0 {
		t.Errorf("history %+v, %v", entries, err)
	}
}
