package reconcile

import (
	"testing"

	"github.com/berth-dev/berth/actions"
)

// What is in no cluster is listed with every one of them. It is the environment's
// wherever that runs, and an orphan once.
func TestWhatIsInNoClusterIsNobodysLeftoverElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	env := w.deploy("pr-1", "eu")
	record := func(env actions.Name) actions.Owned {
		return actions.Owned{Env: env, Part: "web", Use: "things", Kind: "DNS record", Name: env.Env + ".example.org", Elsewhere: true}
	}
	for _, cluster := range []string{"staging", "eu"} {
		w.things.add(cluster, record(env))
	}
	if report := w.sweep(); report.Orphans != 0 {
		t.Errorf("a record of an environment in eu is an orphan: %+v", report)
	}
	for _, cluster := range []string{"staging", "eu"} {
		w.things.add(cluster, record(actions.Name{App: "shop", Env: "old"}))
		w.things.add(cluster, record(actions.Name{App: "bygone", Env: "old"}))
	}
	if report := w.sweep(); report.Orphans != 2 || len(w.told.notices) != 2 {
		t.Errorf("two orphans are told of so: %+v, %d notices", report, len(w.told.notices))
	}
}

// An app that has no part of an executor any more may have left something with
// it. Its cluster is not asked about with that executor, and others' are.
func TestWhatIsInNoClusterIsFoundThoughItsAppHasNoSuchPartAnyMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) {
		shop := o.Catalog.Apps()[0]
		o.Catalog = catalog{shop, {Name: "plain", Repo: "acme/plain", Cluster: actions.Cluster{Name: "west"}, Parts: []actions.Part{{Name: "web", Use: "others"}}}}
	})
	for _, cluster := range []string{"staging", "eu"} {
		w.things.add(cluster, actions.Owned{Env: actions.Name{App: "plain", Env: "old"}, Part: "url", Use: "things", Kind: "DNS record", Name: "old.example.org", Elsewhere: true})
	}
	if report := w.sweep(); report.Orphans != 1 || len(w.told.notices) != 1 {
		t.Errorf("one orphan is told of so: %+v, %d notices", report, len(w.told.notices))
	}
}
