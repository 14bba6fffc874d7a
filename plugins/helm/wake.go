package helm

import (
	"context"
	"fmt"

	helmkube "helm.sh/helm/v3/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// wake brings back what sleep took away, and waits until it is ready. What
// scales is let loose before what it scales has replicas: KEDA would take them
// away again.
func (x *Executor) wake(ctx context.Context, step sdk.Step, out sdk.Events) error {
	s, err := looseSettings(step)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	ses, past, f, err := x.workloads(limited, step, s, out)
	if err != nil {
		return timedOut(limited, ctx, err)
	}
	if deployed(past) == nil {
		return ses.nothingDeployed()
	}
	for _, first := range []bool{true, false} {
		err := ses.cluster.AmendAll(limited, f.Dozing(first), kube.WakePatch, func(was, is *unstructured.Unstructured) {
			ses.kube.out.Log(kube.Woken(was, is))
		})
		if err != nil {
			return timedOut(limited, ctx, err)
		}
	}
	return timedOut(limited, ctx, ses.settled(limited, f))
}

// planWake says what wake would bring back.
func (x *Executor) planWake(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	plan, ses, f, err := x.planWorkloads(ctx, step, "wake", kube.WakePatch)
	if err != nil || ses == nil {
		return plan, err
	}
	if len(plan.Resources) == 0 {
		plan.Summary += ": it is awake"
		return plan, nil
	}
	var back []*unstructured.Unstructured
	pods := 0
	for _, o := range f.Objects {
		if o.Live == nil {
			continue
		}
		if had, is := kube.Asleep(o.Live); is {
			live := o.Live.DeepCopy()
			unstructured.RemoveNestedField(live.Object, "spec", "volumeClaimTemplates") // the claims are there
			_ = unstructured.SetNestedField(live.Object, int64(had), "spec", "replicas")
			back, pods = append(back, live), pods+had
		}
	}
	plan.Summary += fmt.Sprintf(": %s, %s", kube.Count(len(plan.Resources), "object"), kube.Count(pods, "pod"))
	if text := kube.NeedOf(back).String(); text != "" {
		plan.Cost = "requests " + text
	}
	return plan, nil
}

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
	for i, want := range wanted {
		live, ok := to[i].Object.(*unstructured.Unstructured)
		if !ok {
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
