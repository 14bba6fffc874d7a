package helm

import (
	"context"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// gone is called when something that was deleted is gone. Steps that take away
// only for a while have no receipts.
func (k *kubeClient) gone(u *unstructured.Unstructured) { k.receipts.Gone(k.out, takenAway(u)) }

func takenAway(o *unstructured.Unstructured) sdk.Resource {
	return sdk.Resource{Kind: o.GetKind(), Name: o.GetName(), Namespace: o.GetNamespace(), Destructive: kube.TakesData(o)}
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
	for _, o := range f.Objects {
		if o.Live != nil || kept(o.Want) {
			continue
		}
		r := takenAway(o.Want)
		if r.Namespace == "" && !kube.ClusterWide(r.Kind) {
			r.Namespace = s.namespace
		}
		if again {
			s.kube.receipts.Gone(s.kube.out, r)
			continue
		}
		s.kube.receipts.Absent(r)
	}
	return nil
}
