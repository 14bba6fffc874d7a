package sdktest

import (
	"fmt"
	"testing"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
	"github.com/berth-dev/berth/plugins/sdk"
)

// inventoryOf is what of the suite's environment an installation is told to own.
func (b *bench) inventoryOf(t *testing.T, installation string) (mine []*executorv1.Owned) {
	t.Helper()
	r, err := b.client.Inventory(b.context(t), &executorv1.InventoryRequest{
		Cluster: wireCluster(b.Step.Cluster), Installation: installation, Settings: object(t, b.Step.Settings),
	})
	if b.client.note("the error of Inventory", err) != nil {
		t.Fatalf("Inventory: %v", err)
	}
	told := map[string]bool{}
	for _, o := range r.GetOwned() {
		b.seen.text("Inventory", o.GetApp(), o.GetEnvironment(), o.GetPart(), o.GetKind(), o.GetName(), o.GetNamespace())
		if o.GetApp() != b.Step.App || o.GetEnvironment() != b.Step.Env {
			continue // another test's
		}
		if o.GetKind() == "" || o.GetName() == "" {
			t.Errorf("Inventory lists something without a kind or a name: %v", o)
		}
		key := fmt.Sprint(o.GetPart(), " ", o.GetKind(), " ", o.GetNamespace(), "/", o.GetName())
		if told[key] {
			t.Errorf("Inventory lists %s twice", key)
		}
		told[key] = true
		mine = append(mine, o)
	}
	return mine
}

func (b *bench) inventory(t *testing.T) {
	if !b.about.GetInventories() {
		t.Skip("the executor does not list what it owns")
	}
	b.unchanged(t, func() {
		found := false
		for _, o := range b.inventoryOf(t, b.Step.Installation) {
			if part := o.GetPart(); part != "" && part != b.Step.Part {
				t.Errorf("Inventory says that %s %s belongs to the part %q, which is not deployed", o.GetKind(), o.GetName(), part)
			}
			found = true
		}
		if !found {
			t.Errorf("Inventory lists nothing of %s/%s, which is deployed", b.Step.App, b.Step.Env)
		}
		for _, o := range b.inventoryOf(t, b.Step.Installation+"-another") {
			t.Errorf("Inventory says that another installation owns %s %s, which Berth would take away for it", o.GetKind(), o.GetName())
		}
	})
}

// othersKeepOff has another installation of Berth, with the same app and environment,
// clean up: what is not marked as its own it must leave alone.
func (b *bench) othersKeepOff(t *testing.T) {
	if !b.about.GetInventories() {
		t.Skip("the executor marks nothing as owned")
	}
	s := b.do(sdk.Cleanup)
	s.Installation += "-another"
	s.ID += "-another"
	before := lines(b.listOwned(t))
	b.unchanged(t, func() {
		if _, err := b.client.run(b.context(t), wire(t, s), nil); err != nil {
			b.refused(t, "Cleanup by another installation", err)
		}
	})
	if after := lines(b.listOwned(t)); after != before {
		t.Errorf("another installation's cleanup took what is not its own: %s", difference(before, after))
	}
}

func (b *bench) check(t *testing.T) {
	if !b.about.GetChecks() {
		t.Skip("the executor has nothing to check")
	}
	b.unchanged(t, func() {
		r, err := b.client.Check(b.context(t), &executorv1.CheckRequest{
			Cluster: wireCluster(b.Step.Cluster), Settings: object(t, b.Step.Settings),
			Installation: b.Step.Installation, Namespace: b.Step.Namespace,
		})
		if b.client.note("the error of Check", err) != nil {
			t.Fatalf("Check: %v", err)
		}
		if len(r.GetFindings()) == 0 {
			t.Error("Check has looked at nothing")
		}
		for _, f := range r.GetFindings() {
			b.seen.text("Check", f.GetName(), f.GetDetail(), f.GetFix(), f.GetPaste())
			switch {
			case !oneLine(f.GetName()):
				t.Errorf("Check does not name in a line what it looked at: %v", f)
			case !f.GetOk() && (f.GetDetail() == "" || f.GetFix() == ""):
				t.Errorf("Check finds fault with %q and does not say what it found and what to do: %v", f.GetName(), f)
			case !f.GetOk():
				t.Errorf("Check finds fault with what the suite works with: %s: %s", f.GetName(), f.GetDetail())
			}
		}
	})
}
