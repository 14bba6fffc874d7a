package helm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// restartedAt is the annotation of a pod template by which `kubectl rollout
	// restart` makes its pods anew.
	// Source: k8s.io/kubectl/pkg/polymorphichelpers, objectrestarter.go.
	restartedAt = "kubectl.kubernetes.io/restartedAt"
	// markRestart, on a workload, tells which step restarted it last.
	markRestart = "berth.dev/restart"
)

// restartable are the kinds whose pods a change of their template replaces.
var restartable = map[string]bool{"Deployment.apps": true, "StatefulSet.apps": true, "DaemonSet.apps": true}

// restartPatch is the patch with which a step restarts a live object, nil for
// what it has restarted already and for what cannot be.
func restartPatch(step sdk.Step, now time.Time) func(*unstructured.Unstructured) map[string]any {
	sum := sha256.Sum256([]byte(step.ID))
	mark := hex.EncodeToString(sum[:16])
	return func(u *unstructured.Unstructured) map[string]any {
		if !restartable[groupKind(u)] || u.GetAnnotations()[markRestart] == mark {
			return nil
		}
		return patchOf(map[string]any{markRestart: mark}, map[string]any{
			"template": map[string]any{"metadata": map[string]any{"annotations": map[string]any{restartedAt: now.UTC().Format(time.RFC3339)}}},
		})
	}
}

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
	for _, o := range f.objects {
		if o.live == nil {
			continue
		}
		if note := stays(o.live); note != "" {
			ses.kube.out.Log(o.want.title() + " " + note)
		}
		all = append(all, o.live)
	}
	err = ses.kube.amendAll(limited, all, restartPatch(step, time.Now()), func(was, _ *unstructured.Unstructured) {
		ses.kube.out.Log("restarting " + was.GetKind() + " " + was.GetName())
	})
	if err != nil {
		return timedOut(limited, ctx, err)
	}
	return timedOut(limited, ctx, ses.settled(limited, f))
}

// stays says why a restart leaves pods of u as they are, "" when it does not.
func stays(u *unstructured.Unstructured) string {
	kind := groupKind(u)
	if paused, _, _ := unstructured.NestedBool(u.Object, "spec", "paused"); paused && kind == "Deployment.apps" {
		return "is paused: its pods are replaced when it goes on"
	}
	if strategy, _, _ := unstructured.NestedString(u.Object, "spec", "updateStrategy", "type"); strategy == "OnDelete" {
		return "replaces a pod only when somebody deletes it (OnDelete)"
	}
	if _, is := asleep(u); is {
		return "is asleep: it has no pods to restart"
	}
	if replicated[kind] && !restartable[kind] || kind == "Pod." {
		return "stays as it is: its pods cannot be replaced one after the other"
	}
	return ""
}

// podsWanted is how many pods a workload is to have.
func podsWanted(u *unstructured.Unstructured) int {
	if groupKind(u) == "DaemonSet.apps" {
		return number(u, 0, "status", "desiredNumberScheduled")
	}
	return number(u, 1, "spec", "replicas")
}

// planRestart says what restart would restart.
func (x *Executor) planRestart(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	plan, ses, f, err := x.planWorkloads(ctx, step, "restart", restartPatch(step, time.Now()))
	if err != nil || ses == nil {
		return plan, err
	}
	pods := 0
	var notes []string
	for _, o := range f.objects {
		if o.live == nil {
			continue
		}
		if note := stays(o.live); note != "" {
			notes = append(notes, o.want.title()+" "+note)
		} else if restartable[groupKind(o.live)] {
			pods += podsWanted(o.live)
		}
	}
	plan.Summary += fmt.Sprintf(": %s, %s", count(len(plan.Resources), "workload"), count(pods, "pod"))
	if len(notes) > 0 {
		plan.Summary += "; " + strings.Join(slices.Compact(notes), "; ")
	}
	return plan, nil
}
