package helm

import (
	"context"
	"sync"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/berth-dev/berth/plugins/sdk"
)

// ledger sees to it that a step gives one receipt for each thing that it takes
// away, once the thing is gone, and none for what was not there.
type ledger struct {
	mu     sync.Mutex
	absent map[string]bool // was not there when the step began
	told   map[string]bool
}

func newLedger() *ledger { return &ledger{absent: map[string]bool{}, told: map[string]bool{}} }

// receipt tells that r is gone, the first time.
func (l *ledger) receipt(out sdk.Events, r sdk.Resource) {
	r.Change = sdk.ChangeDelete
	key := r.Kind + "/" + r.Namespace + "/" + r.Name
	l.mu.Lock()
	known := l.absent[key] || l.told[key]
	l.told[key] = true
	l.mu.Unlock()
	if !known {
		out.Receipt(r)
	}
}

// gone is called when something that was deleted is gone. Steps that take away
// only for a while have no ledger.
func (k *kubeClient) gone(r *resource.Info) {
	if k.ledger != nil {
		k.ledger.receipt(k.out, takenAway(object{map[string]any{
			"apiVersion": r.Mapping.GroupVersionKind.GroupVersion().String(), "kind": r.Mapping.GroupVersionKind.Kind,
			"metadata": map[string]any{"name": r.Name, "namespace": r.Namespace},
		}}))
	}
}

func takenAway(o object) sdk.Resource {
	return sdk.Resource{Kind: o.kind(), Name: o.name(), Namespace: o.namespace(), Destructive: takesData(o)}
}

// notePresent notes which objects of the release are not there. Where an earlier
// try was interrupted it is that try which took them away: they get their
// receipts now, since it may not have come to that.
func (s *session) notePresent(ctx context.Context, past []*release.Release) error {
	rel := last(past)
	f, err := s.look(ctx, manifestOf(rel))
	if err != nil {
		return err
	}
	again := rel.Info.Status == release.StatusUninstalling || rel.Info.Status == release.StatusUninstalled
	for _, o := range f.objects {
		if o.live != nil || o.want.kept() {
			continue
		}
		r := takenAway(o.want)
		if r.Namespace == "" && !clusterWide[r.Kind] {
			r.Namespace = s.namespace
		}
		if again {
			s.kube.ledger.receipt(s.kube.out, r)
			continue
		}
		s.kube.ledger.mu.Lock()
		s.kube.ledger.absent[r.Kind+"/"+r.Namespace+"/"+r.Name] = true
		s.kube.ledger.mu.Unlock()
	}
	return nil
}
