package host

import (
	"context"
	"unicode/utf8"

	"github.com/berth-dev/berth/actions"
	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
)

// Bounds on an inventory; the first is far above what one cluster holds.
const (
	maxOwned = 200_000
	maxName  = 256 // bytes of each of an entry's texts
)

// owned is what an inventory says. One entry that cannot be whole spoils it.
func (i *instance) owned(op string, r *executorv1.InventoryResponse) ([]actions.Owned, error) {
	if n := len(r.GetOwned()); n > maxOwned {
		return nil, actions.Errorf(op, actions.CodeInternal, "The executor %s claims to own %d things; Berth takes %d at most.", i.name, n, maxOwned)
	}
	all := make([]actions.Owned, 0, len(r.GetOwned()))
	for _, w := range r.GetOwned() {
		o := actions.Owned{
			Env: actions.Name{App: w.GetApp(), Env: w.GetEnvironment()}, Part: w.GetPart(), Use: i.name,
			Kind: w.GetKind(), Name: w.GetName(), Namespace: w.GetNamespace(), Elsewhere: w.GetElsewhere(),
		}
		if w.GetCreatedAt() != nil {
			o.CreatedAt = w.GetCreatedAt().AsTime()
		}
		bad := !actions.ValidName(o.Env.App) || !actions.ValidName(o.Env.Env) || o.Name == "" || o.Kind == ""
		for _, text := range []string{o.Part, o.Kind, o.Name, o.Namespace} {
			bad = bad || len(text) > maxName || !utf8.ValidString(text)
		}
		if bad {
			return nil, actions.Errorf(op, actions.CodeInternal, "The executor %s lists something with a name that is none: %q of %q. That is a fault of the executor.",
				i.name, clip(i.output.clean(o.Kind+" "+o.Name), 100), clip(i.output.clean(w.GetApp()+"/"+w.GetEnvironment()), 100))
		}
		all = append(all, o)
	}
	return all, nil
}

// Inventory lists what the installation owns in cluster, by what the executor
// finds. It returns CodeInvalid for an executor that cannot do that, and
// CodeInternal for an answer that cannot be relied on: half a list is worse than
// none.
func (x *executor) Inventory(ctx context.Context, cluster actions.Cluster, installation string) (owned []actions.Owned, err error) {
	op := x.k.name + ".inventory"
	err = x.look(ctx, op, func(inst *instance, inner context.Context) error {
		if !inst.description.Inventories {
			return actions.Errorf(op, actions.CodeInvalid, "The executor %s cannot list what it owns.", x.k.name)
		}
		r, err := inst.calls.Inventory(inner, &executorv1.InventoryRequest{Cluster: clusterToWire(cluster), Installation: installation, Settings: inst.settings})
		if err != nil {
			return x.fail(ctx, op, inst, err)
		}
		owned, err = inst.owned(op, r)
		return err
	})
	return owned, err
}
