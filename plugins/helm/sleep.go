package helm

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// sleep takes the replicas of the release away. What scales goes before what it
// scales, and each object remembers on itself what it was.
func (x *Executor) sleep(ctx context.Context, step sdk.Step, out sdk.Events) error {
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
		ses.kube.out.Log("there is no release " + s.Release + " in namespace " + ses.namespace + ": nothing has to sleep")
		return nil
	}
	for _, line := range f.Sleepless() {
		ses.kube.out.Log(line)
	}
	for _, first := range []bool{true, false} {
		err := ses.cluster.AmendAll(limited, f.Dozing(first), kube.SleepPatch, func(was, _ *unstructured.Unstructured) {
			ses.kube.out.Log(kube.Slept(was))
		})
		if err != nil {
			return timedOut(limited, ctx, err)
		}
	}
	return timedOut(limited, ctx, ses.settled(limited, f))
}

// planSleep says what sleep would take away.
func (x *Executor) planSleep(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	plan, ses, f, err := x.planWorkloads(ctx, step, "put to sleep", kube.SleepPatch)
	if err != nil || ses == nil {
		return plan, err
	}
	pods := 0
	var freed []*unstructured.Unstructured
	for _, o := range f.Objects {
		if o.Live == nil || kube.SleepPatch(o.Live) == nil || !kube.Replicated(o.Live) {
			continue
		}
		pods += kube.Replicas(o.Live)
		live := o.Live.DeepCopy()
		unstructured.RemoveNestedField(live.Object, "spec", "volumeClaimTemplates") // the claims stay
		freed = append(freed, live)
	}
	if len(plan.Resources) == 0 {
		plan.Summary += ": nothing runs that could sleep"
	} else {
		plan.Summary += fmt.Sprintf(": %s, %s", kube.Count(len(plan.Resources), "object"), kube.Count(pods, "pod"))
	}
	if text := kube.NeedOf(freed).String(); text != "" {
		plan.Cost = "gives back " + text
	}
	if awake := f.Sleepless(); len(awake) > 0 {
		plan.Summary += "; " + strings.Join(slices.Compact(awake), "; ")
	}
	return plan, nil
}
