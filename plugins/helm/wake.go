package helm

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/berth-dev/berth/plugins/sdk"
)

// wakePatch is the patch that wakes a live object, nil for none.
func wakePatch(u *unstructured.Unstructured) map[string]any {
	if d := dozers[groupKind(u)]; d != nil {
		return d.wake(u, nil)
	}
	return nil
}

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
		err := ses.kube.amendAll(limited, f.dozing(first), wakePatch, func(was, is *unstructured.Unstructured) {
			ses.kube.out.Log(woken(was, is))
		})
		if err != nil {
			return timedOut(limited, ctx, err)
		}
	}
	return timedOut(limited, ctx, ses.settled(limited, f))
}

// woken says what wake did to an object.
func woken(was, is *unstructured.Unstructured) string {
	title := is.GetKind() + " " + is.GetName()
	if !replicated[groupKind(is)] {
		return title + " goes on"
	}
	if before, now := number(was, 1, "spec", "replicas"), number(is, 1, "spec", "replicas"); before != now {
		return fmt.Sprintf("scaled %s from %d to %d", title, before, now)
	}
	return title + " is awake already"
}

// planWake says what wake would bring back.
func (x *Executor) planWake(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	plan, ses, f, err := x.planWorkloads(ctx, step, "wake", wakePatch)
	if err != nil || ses == nil {
		return plan, err
	}
	if len(plan.Resources) == 0 {
		plan.Summary += ": it is awake"
		return plan, nil
	}
	var back []object
	pods := 0
	for _, o := range f.objects {
		if o.live == nil {
			continue
		}
		if had, is := asleep(o.live); is {
			live := object{o.live.DeepCopy().Object}
			unstructured.RemoveNestedField(live.content, "spec", "volumeClaimTemplates") // the claims are there
			_ = unstructured.SetNestedField(live.content, int64(had), "spec", "replicas")
			back, pods = append(back, live), pods+had
		}
	}
	plan.Summary += fmt.Sprintf(": %s, %s", count(len(plan.Resources), "object"), count(pods, "pod"))
	if text := needOf(back).String(); text != "" {
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
func (k *kubeClient) wakeBefore(to kube.ResourceList) error {
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
		if !ok || u.GetAnnotations()[markWhenScaled] == "" {
			continue
		}
		is, err := k.amend(k.ctx, u, wakePatch)
		if err != nil {
			return err
		}
		if is != nil {
			k.out.Log(woken(u, is))
		}
	}
	return nil
}

// wanted are the objects of to that can sleep, as the chart wants them, by their
// place in the list: an update puts what is there in their stead.
func wantedOf(to kube.ResourceList) map[int]*unstructured.Unstructured {
	out := map[int]*unstructured.Unstructured{}
	for i, r := range to {
		if u, ok := r.Object.(*unstructured.Unstructured); ok && dozers[groupKind(u)] != nil {
			out[i] = u.DeepCopy()
		}
	}
	return out
}

// wakeAfter wakes what is left, after an update to what is wanted.
func (k *kubeClient) wakeAfter(to kube.ResourceList, wanted map[int]*unstructured.Unstructured) error {
	for i, want := range wanted {
		live, ok := to[i].Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		d := dozers[groupKind(want)]
		was := live
		is, err := k.amend(k.ctx, live, func(u *unstructured.Unstructured) map[string]any {
			was = u
			return d.wake(u, want)
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
