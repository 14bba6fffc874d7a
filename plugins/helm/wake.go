package helm

import (
	helmkube "helm.sh/helm/v3/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// Whatever is deployed over a release that sleeps wakes it: by what the chart
// says, else by what is remembered. A StatefulSet that drops the claims of
// replicas that go is woken before, since the chart may put that policy back
// while there are no replicas; everything else after, so that pods of the version
// before are not started first.

// wakeBefore wakes StatefulSets whose claims are in danger.
func (k *kubeClient) wakeBefore(to helmkube.ResourceList) error {
	for _, r := range to {
		if r.Mapping.GroupVersionKind.GroupKind().String() != "StatefulSet.apps" {
			continue
		}
		live, err := resource.NewHelper(r.Client, r.Mapping).Get(r.Namespace, r.Name)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		u, ok := live.(*unstructured.Unstructured)
		if !ok || !kube.SparesClaims(u) {
			continue
		}
		is, err := k.cluster.Amend(k.ctx, u, kube.WakePatch)
		if err != nil {
			return err
		}
		if is != nil {
			k.out.Log(kube.Woken(u, is))
		}
	}
	return nil
}

// wanted are the objects of to that can sleep, as the chart wants them, by their
// place in the list: an update puts what is there in their stead.
func wantedOf(to helmkube.ResourceList) map[int]*unstructured.Unstructured {
	out := map[int]*unstructured.Unstructured{}
	for i, r := range to {
		if u, ok := r.Object.(*unstructured.Unstructured); ok && kube.Dozes(u) {
			out[i] = u.DeepCopy()
		}
	}
	return out
}

// wakeAfter wakes what is left, after an update to what is wanted.
func (k *kubeClient) wakeAfter(to helmkube.ResourceList, wanted map[int]*unstructured.Unstructured) error {
	for i, r := range to {
		want := wanted[i]
		live, ok := r.Object.(*unstructured.Unstructured)
		if want == nil || !ok {
			continue
		}
		was := live
		is, err := k.cluster.Amend(k.ctx, live, func(u *unstructured.Unstructured) map[string]any {
			was = u
			return kube.WakePatchFor(u, want)
		})
		if err != nil {
			return err
		}
		if is != nil && is != was {
			k.out.Log(want.GetKind() + " " + want.GetName() + " does not sleep any more")
		}
	}
	return nil
}
