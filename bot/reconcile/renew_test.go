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
	if r.Order.Verb != actions.VerbDeploy || r.Order.Ref != before.Commit.SHA || !r.Automatic() || !strings.Contains(r.Order.Reason, "the certificate ends on 2026-12-02") {
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
	if !after.UsedAt.Equal(before.UsedAt) || after.Commit.SHA != before.Commit.SHA {
		t.Errorf("a renewal counts as a use: %v, then %v (commit %s, then %s)", before.UsedAt, after.UsedAt, before.Commit.SHA, after.Commit.SHA)
	}
}
