package helm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// restart replaces the pods of the release, as its workloads' own strategies
// say, and waits until they are ready. The same step restarts each workload once.
func (x *Executor) restart(ctx context.Context, step sdk.Step, out sdk.Events) error {
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
	var all []*unstructured.Unstructured
	for _, o := range f.Objects {
		if o.Live == nil {
			continue
		}
		if note := kube.Stays(o.Live); note != "" {
			ses.kube.out.Log(kube.Title(o.Want) + " " + note)
		}
		all = append(all, o.Live)
	}
	err = ses.cluster.AmendAll(limited, all, kube.RestartPatch(step, time.Now()), func(was, _ *unstructured.Unstructured) {
		ses.kube.out.Log("restarting " + was.GetKind() + " " + was.GetName())
	})
	if err != nil {
		return timedOut(limited, ctx, err)
	}
	return timedOut(limited, ctx, ses.settled(limited, f))
}

// planRestart says what restart would restart.
func (x *Executor) planRestart(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	plan, ses, f, err := x.planWorkloads(ctx, step, "restart", kube.RestartPatch(step, time.Now()))
	if err != nil || ses == nil {
		return plan, err
	}
	pods := 0
	var notes []string
	for _, o := range f.Objects {
		if o.Live == nil {
			continue
		}
		if note := kube.Stays(o.Live); note != "" {
			notes = append(notes, kube.Title(o.Want)+" "+note)
		} else if kube.Restartable(o.Live) {
			pods += kube.PodsWanted(o.Live)
		}
	}
	plan.Summary += fmt.Sprintf(": %s, %s", kube.Count(len(plan.Resources), "workload"), kube.Count(pods, "pod"))
	if len(notes) > 0 {
		plan.Summary += "; " + strings.Join(slices.Compact(notes), "; ")
	}
	return plan, nil
}
