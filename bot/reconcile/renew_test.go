package reconcile

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

func TestWhatHasToBeRenewedIsAskedForOnceADayAndAsIsRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	env := w.deploy("pr-1", "")
	before, err := w.store.Environment(t.Context(), env)
	w.must(err)
	asked := func() (all []*approvals.Request) {
		t.Helper()
		all, _, err := w.requests.List(t.Context(), approvals.Filter{Env: env, Limit: 100})
		w.must(err)
		return all
	}
	day := w.now().Truncate(24 * time.Hour).Add(25 * time.Hour)
	w.later(day.Sub(w.now()))
	w.eyes.set(env, actions.Observation{Health: actions.Healthy})
	w.sweep()
	if n := len(asked()); n != 0 {
		t.Fatalf("%d requests for nothing", n)
	}
	w.eyes.set(env, actions.Observation{Health: actions.Healthy, Renew: "the certificate ends on 2026-12-02"})
	for range 3 {
		w.later(10 * time.Minute)
		w.sweep()
	}
	all := asked()
	if len(all) != 1 {
		t.Fatalf("%d requests in an hour, want 1", len(all))
	}
	r := all[0]
	if r.Order.Verb != actions.VerbDeploy || !r.Order.AsIs || r.Order.Ref != before.Commit.SHA || !r.Automatic() || !strings.Contains(r.Order.Reason, "the certificate ends on 2026-12-02") {
		t.Errorf("asked for %+v", r)
	}
	w.cancel(r.ID)
	w.later(10 * time.Minute)
	w.sweep()
	if n := len(asked()); n != 1 {
		t.Errorf("what was cancelled is asked for again the same day (%d requests)", n)
	}
	w.later(24 * time.Hour)
	w.sweep()
	if n := len(asked()); n != 2 {
		t.Errorf("%d requests the next day, want 2", n)
	}
	// A renewal is nobody's use: it must not let the environment live longer.
	order := r.Order
	w.run(order)
	after, err := w.store.Environment(t.Context(), env)
	w.must(err)
	if !after.UsedAt.Equal(before.UsedAt) || after.Commit.SHA != before.Commit.SHA || after.Ref != before.Ref {
		t.Errorf("a renewal counts as a use: %v, then %v (commit %s, then %s)", before.UsedAt, after.UsedAt, before.Commit.SHA, after.Commit.SHA)
	}
}

func TestWhatIsNotToChangeIsNotRenewed(t *testing.T) {
	t.Parallel()
	lock := func(w *world, env actions.Name) {
		_, err := w.store.SetLock(w.t.Context(), env, &actions.Lock{By: "ana", At: w.now()}, actions.Record{Kind: "environment.locked", Actor: "ana"})
		w.must(err)
	}
	tests := map[string]func(w *world, env actions.Name){
		"a locked environment": lock,
		"one of another tool": func(w *world, env actions.Name) {
			w.run(actions.Order{Env: env, Verb: actions.VerbCleanup, By: "ana"})
			app, err := w.catalog.App(env.App)
			w.must(err)
			_, err = w.store.Import(w.t.Context(), app, actions.Imported{Name: env, State: actions.StateRunning}, actions.Record{Actor: "ana"})
			w.must(err)
		},
		"one that somebody wants something of": func(w *world, env actions.Name) {
			_, _, err := w.requests.Submit(w.t.Context(), approvals.Request{
				Order: actions.Order{Env: env, Verb: actions.VerbRestart, By: "ana"}, Requester: approvals.Requester{Actor: "ana"}, Key: "restart",
			})
			w.must(err)
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			env := w.deploy("pr-1", "")
			prepare(w, env)
			w.eyes.set(env, actions.Observation{Health: actions.Healthy, Renew: "the certificate ends on 2026-12-02"})
			w.later(10 * time.Minute)
			w.sweep()
			all, _, err := w.requests.List(t.Context(), approvals.Filter{Env: env, Limit: 100})
			w.must(err)
			for _, r := range all {
				if r.Order.AsIs {
					t.Errorf("it is renewed: %+v", r.Order)
				}
			}
		})
	}
}

// A renewal that waits for an approval, or whose request failed, is not asked for
// again and again: one of a day is enough.
func TestARenewalThatComesToNothingIsAskedForOnceADay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	env := w.deploy("pr-1", "")
	w.later(w.now().Truncate(24 * time.Hour).Add(25 * time.Hour).Sub(w.now()))
	w.eyes.set(env, actions.Observation{Health: actions.Healthy, Renew: "the certificate ends on 2026-12-02"})
	count := func() int {
		t.Helper()
		all, _, err := w.requests.List(t.Context(), approvals.Filter{Env: env, Limit: 100})
		w.must(err)
		return len(all)
	}
	w.sweep()
	for range 4 { // it waits for days
		w.later(24 * time.Hour)
		w.sweep()
	}
	if n := count(); n != 1 {
		t.Errorf("%d requests while the first one stands, want 1", n)
	}
}
