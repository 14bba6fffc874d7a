package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Workloads are a part's objects that sleep, wake and restart work on: those for
// which Works holds. Each change is one patch of one object that also marks it,
// so that an interruption leaves some as they were, each of them whole, and the
// same verb goes on from there.
type Workloads struct {
	Wait // how to wait for pods afterwards
	*Sight
}

// Works tells whether the verbs on workloads have to do with u's kind.
func Works(u *unstructured.Unstructured) bool { return HasPods(u) || Dozes(u) || isBudget(u) }

func isBudget(u *unstructured.Unstructured) bool { return GroupKind(u) == "PodDisruptionBudget.policy" }

// Sleep takes the replicas away. What scales goes before what it scales, and each
// object remembers on itself what it was. A limit of 0 does not wait until the
// pods are gone.
func (w Workloads) Sleep(ctx context.Context, limit time.Duration) error {
	for _, line := range append(w.Sleepless(), w.budgets()...) {
		w.Out.Log(line)
	}
	return w.doze(ctx, SleepPatch, func(was, _ *unstructured.Unstructured) string { return slept(was) }, limit)
}

// Wake brings back what sleep took away, and waits until it is ready, unless
// limit is 0. What scales is let loose before what it scales has replicas: KEDA
// would take them away again.
func (w Workloads) Wake(ctx context.Context, limit time.Duration) error {
	return w.doze(ctx, WakePatch, Woken, limit)
}

func (w Workloads) doze(ctx context.Context, change Change, say func(was, is *unstructured.Unstructured) string, limit time.Duration) error {
	for _, first := range []bool{true, false} {
		err := w.Cluster.AmendAll(ctx, w.dozing(first), change, func(was, is *unstructured.Unstructured) { w.Out.Log(say(was, is)) })
		if err != nil {
			return err
		}
	}
	return w.settled(ctx, limit)
}

// Restart replaces the pods, as their workloads' own strategies say, and waits
// until they are ready, unless limit is 0. The same step restarts each workload
// once.
func (w Workloads) Restart(ctx context.Context, step sdk.Step, now time.Time, limit time.Duration) error {
	var all []*unstructured.Unstructured
	for _, live := range w.Live() {
		if note := stays(live); note != "" {
			w.Out.Log(Title(live) + " " + note)
		}
		all = append(all, live)
	}
	err := w.Cluster.AmendAll(ctx, all, restartPatch(step, now.UTC().Format(time.RFC3339)), func(was, _ *unstructured.Unstructured) {
		w.Out.Log("restarting " + Title(was))
	})
	if err != nil {
		return err
	}
	return w.settled(ctx, limit)
}

// settled waits until the objects that have pods are as they are to be.
func (w Workloads) settled(ctx context.Context, limit time.Duration) error {
	if limit == 0 {
		return nil
	}
	var objects []*unstructured.Unstructured
	for _, o := range w.Objects {
		if o.Live != nil && (Replicated(o.Want) || GroupKind(o.Want) == "DaemonSet.apps") {
			objects = append(objects, o.Want)
		}
	}
	w.Look = nil
	return w.Ready(ctx, objects, limit)
}

// PlanSleep adds to plan what Sleep would change. Its Summary begins with what is
// to sleep: "put release web to sleep".
func (w Workloads) PlanSleep(plan *sdk.Plan) {
	w.planChange(plan, SleepPatch)
	pods := 0
	var freed []*unstructured.Unstructured
	for _, live := range w.Live() {
		if SleepPatch(live) != nil && Replicated(live) {
			pods += Replicas(live)
			freed = append(freed, withoutClaims(live))
		}
	}
	if len(plan.Resources) == 0 {
		plan.Summary += ": nothing runs that could sleep"
	} else {
		plan.Summary += fmt.Sprintf(": %s, %s", Count(len(plan.Resources), "object"), Count(pods, "pod"))
	}
	if text := NeedOf(freed).String(); text != "" {
		plan.Cost = "gives back " + text
	}
	w.note(plan, append(w.Sleepless(), w.budgets()...))
}

// PlanWake adds to plan what Wake would change.
func (w Workloads) PlanWake(plan *sdk.Plan) {
	w.planChange(plan, WakePatch)
	if len(plan.Resources) == 0 {
		plan.Summary += ": it is awake"
		return
	}
	var back []*unstructured.Unstructured
	pods := 0
	for _, live := range w.Live() {
		if had, is := Asleep(live); is {
			awake := withoutClaims(live)
			_ = unstructured.SetNestedField(awake.Object, int64(had), "spec", "replicas")
			back, pods = append(back, awake), pods+had
		}
	}
	plan.Summary += fmt.Sprintf(": %s, %s", Count(len(plan.Resources), "object"), Count(pods, "pod"))
	if text := NeedOf(back).String(); text != "" {
		plan.Cost = "requests " + text
	}
}

// PlanRestart adds to plan what Restart would restart.
func (w Workloads) PlanRestart(plan *sdk.Plan, step sdk.Step) {
	w.planChange(plan, restartPatch(step, whenItRuns))
	pods := 0
	var notes []string
	for _, live := range w.Live() {
		if note := stays(live); note != "" {
			notes = append(notes, Title(live)+" "+note)
		} else if restartable[GroupKind(live)] {
			pods += podsWanted(live)
		}
	}
	plan.Summary += fmt.Sprintf(": %s, %s", Count(len(plan.Resources), "workload"), Count(pods, "pod"))
	w.note(plan, notes)
}

// planChange tells of each object that change has something for, with the lines
// that differ.
func (w Workloads) planChange(plan *sdk.Plan, change Change) {
	var b strings.Builder
	for _, live := range w.Live() {
		content := change(live)
		if content == nil {
			continue
		}
		plan.Resources = append(plan.Resources, sdk.Resource{Kind: live.GetKind(), Name: live.GetName(), Namespace: live.GetNamespace(), Change: sdk.ChangeUpdate})
		title := live.GetNamespace() + "/" + live.GetKind() + "/" + live.GetName()
		fmt.Fprintf(&b, "--- now/%s\n+++ planned/%s\n%s", title, title, patchLines(live.Object, content))
	}
	plan.Diff = w.Mask.Text(b.String())
}

func (w Workloads) note(plan *sdk.Plan, notes []string) {
	if len(notes) > 0 {
		plan.Summary += "; " + strings.Join(slices.Compact(notes), "; ")
	}
}

// withoutClaims is a copy of a workload without the claims that it would make:
// they stay, or are there.
func withoutClaims(live *unstructured.Unstructured) *unstructured.Unstructured {
	out := live.DeepCopy()
	unstructured.RemoveNestedField(out.Object, "spec", "volumeClaimTemplates")
	return out
}

// dozing are the live objects that can sleep: those that go first, or the rest.
func (f *Sight) dozing(first bool) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, live := range f.Live() {
		if d := dozers[GroupKind(live)]; d != nil && d.first == first {
			out = append(out, live)
		}
	}
	return out
}

// budgets has a sentence for each PodDisruptionBudget that would forbid evictions
// of the pods that go. A change of replicas asks no budget, so it is not in the
// way, and it is left as it is for when the pods are back.
// Source: https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-budgets
func (f *Sight) budgets() []string {
	var out []string
	for _, o := range f.Objects {
		if o.Live != nil && isBudget(o.Live) {
			out = append(out, Title(o.Live)+" stays as it is: it guards pods from evictions, not from being scaled down")
		}
	}
	return out
}
