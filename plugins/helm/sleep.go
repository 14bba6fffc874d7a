package helm

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Annotations that remember, on an object that sleeps, what it was before. One
// patch writes the annotation and what it is about, so that an interruption
// never leaves one without the other.
const (
	markReplicas    = "berth.dev/replicas"     // of what has replicas: how many
	markWhenScaled  = "berth.dev/when-scaled"  // of a StatefulSet: its policy on claims of replicas that go
	markSuspend     = "berth.dev/suspend"      // of a CronJob
	markMinReplicas = "berth.dev/min-replicas" // of a HorizontalPodAutoscaler
	markPaused      = "berth.dev/paused"       // of KEDA's: the annotation that pauses, "none" when there was none
)

// Annotations that pause what KEDA scales.
// Source: https://keda.sh/docs/latest/concepts/scaling-deployments/#pausing-autoscaling
// and https://keda.sh/docs/latest/concepts/scaling-jobs/#pausing-autoscaling
const (
	kedaPausedReplicas = "autoscaling.keda.sh/paused-replicas"
	kedaPaused         = "autoscaling.keda.sh/paused"
)

const notPaused = "none"

// dozer is how objects of a kind are put to sleep and woken. Both give a merge
// patch, nil when there is nothing to do. wake is also told what a chart that is
// deployed over the sleep wants, which goes before what is remembered; nil when
// nothing is deployed.
type dozer struct {
	marks []string
	sleep func(live *unstructured.Unstructured) map[string]any
	wake  func(live, wanted *unstructured.Unstructured) map[string]any
	// drift are the paths that differ because of the sleep.
	drift []string
	// first tells that it goes before what it scales.
	first bool
}

// dozers are the kinds that sleep. A HorizontalPodAutoscaler needs nothing: one
// whose target has no replicas is switched off by its controller, and goes on
// when the target has some again. Only where it may itself scale to zero it
// would bring the target back, so it may not while it sleeps.
// Source: k8s.io/kubernetes/pkg/controller/podautoscaler, horizontal.go, reason ScalingDisabled.
var dozers = map[string]*dozer{
	"Deployment.apps":        workloadDozer,
	"StatefulSet.apps":       workloadDozer,
	"ReplicaSet.apps":        workloadDozer,
	"ReplicationController.": workloadDozer,
	"CronJob.batch": {
		marks: []string{markSuspend}, drift: []string{"spec.suspend"},
		sleep: sleepCronJob, wake: wakeCronJob,
	},
	"HorizontalPodAutoscaler.autoscaling": {
		marks: []string{markMinReplicas}, drift: []string{"spec.minReplicas"}, first: true,
		sleep: sleepAutoscaler, wake: wakeAutoscaler,
	},
	"ScaledObject.keda.sh": kedaDozer(kedaPausedReplicas, "0"),
	"ScaledJob.keda.sh":    kedaDozer(kedaPaused, "true"),
}

var workloadDozer = &dozer{
	marks: []string{markReplicas, markWhenScaled},
	drift: []string{"spec.replicas", "spec.persistentVolumeClaimRetentionPolicy.whenScaled"},
	sleep: sleepWorkload, wake: wakeWorkload,
}

// patchOf is a merge patch of annotations and, where there is one, a spec.
func patchOf(annotations, spec map[string]any) map[string]any {
	patch := map[string]any{"metadata": map[string]any{"annotations": annotations}}
	if len(spec) > 0 {
		patch["spec"] = spec
	}
	return patch
}

// whenScaled is a StatefulSet's policy on claims of replicas that go, "" for
// what has none.
func whenScaled(u *unstructured.Unstructured) string {
	policy, _, _ := unstructured.NestedString(u.Object, "spec", "persistentVolumeClaimRetentionPolicy", "whenScaled")
	return policy
}

// sleepWorkload takes the replicas away and remembers how many there were. Claims
// stay, also those that a StatefulSet would drop with its replicas.
func sleepWorkload(u *unstructured.Unstructured) map[string]any {
	n := number(u, 1, "spec", "replicas")
	if n == 0 {
		return nil // asleep, or without pods anyway
	}
	marks, spec := map[string]any{markReplicas: strconv.Itoa(n)}, map[string]any{"replicas": 0}
	if policy := whenScaled(u); policy == "Delete" {
		marks[markWhenScaled] = policy
		spec["persistentVolumeClaimRetentionPolicy"] = map[string]any{"whenScaled": "Retain"}
	}
	return patchOf(marks, spec)
}

// asleep tells whether Berth took the replicas of u away, and how many it had.
// One that has some again is awake, whoever woke it.
func asleep(u *unstructured.Unstructured) (had int, is bool) {
	had, err := strconv.Atoi(u.GetAnnotations()[markReplicas])
	if err != nil || had < 0 || !replicated[groupKind(u)] || number(u, 1, "spec", "replicas") != 0 {
		return 0, false
	}
	return had, true
}

func wakeWorkload(u, wanted *unstructured.Unstructured) map[string]any {
	marks, spec := unmark(u, markReplicas, markWhenScaled), map[string]any{}
	if marks == nil {
		return nil
	}
	if had, is := asleep(u); is && !states(wanted, "spec", "replicas") {
		spec["replicas"] = had
	}
	policy := u.GetAnnotations()[markWhenScaled]
	if policy != "" && whenScaled(u) == "Retain" && !states(wanted, "spec", "persistentVolumeClaimRetentionPolicy", "whenScaled") {
		spec["persistentVolumeClaimRetentionPolicy"] = map[string]any{"whenScaled": policy}
	}
	return patchOf(marks, spec)
}

func sleepCronJob(u *unstructured.Unstructured) map[string]any {
	if suspended, _, _ := unstructured.NestedBool(u.Object, "spec", "suspend"); suspended {
		return nil
	}
	return patchOf(map[string]any{markSuspend: "false"}, map[string]any{"suspend": true})
}

func wakeCronJob(u, wanted *unstructured.Unstructured) map[string]any {
	marks := unmark(u, markSuspend)
	if marks == nil {
		return nil
	}
	if states(wanted, "spec", "suspend") {
		return patchOf(marks, nil)
	}
	return patchOf(marks, map[string]any{"suspend": false})
}

func sleepAutoscaler(u *unstructured.Unstructured) map[string]any {
	if number(u, 1, "spec", "minReplicas") > 0 {
		return nil
	}
	return patchOf(map[string]any{markMinReplicas: "0"}, map[string]any{"minReplicas": 1})
}

func wakeAutoscaler(u, wanted *unstructured.Unstructured) map[string]any {
	marks := unmark(u, markMinReplicas)
	if marks == nil {
		return nil
	}
	if states(wanted, "spec", "minReplicas") {
		return patchOf(marks, nil)
	}
	return patchOf(marks, map[string]any{"minReplicas": 0})
}

// kedaDozer pauses what KEDA scales by an annotation, and puts back the one that
// was there.
func kedaDozer(annotation, paused string) *dozer {
	return &dozer{
		marks: []string{markPaused}, drift: []string{"metadata.annotations." + annotation}, first: true,
		sleep: func(u *unstructured.Unstructured) map[string]any {
			now, has := u.GetAnnotations()[annotation]
			if has && now == paused {
				return nil
			}
			before := notPaused
			if has {
				before = "=" + now
			}
			return patchOf(map[string]any{markPaused: before, annotation: paused}, nil)
		},
		wake: func(u, wanted *unstructured.Unstructured) map[string]any {
			marks := unmark(u, markPaused)
			if marks == nil {
				return nil
			}
			if now := u.GetAnnotations()[annotation]; now == paused && !states(wanted, "metadata", "annotations", annotation) {
				marks[annotation] = nil
				if before, was := strings.CutPrefix(u.GetAnnotations()[markPaused], "="); was {
					marks[annotation] = before
				}
			}
			return patchOf(marks, nil)
		},
	}
}

// unmark are the annotations of a patch that takes marks away, nil when u has
// none of them.
func unmark(u *unstructured.Unstructured, marks ...string) map[string]any {
	var gone map[string]any
	for _, m := range marks {
		if _, has := u.GetAnnotations()[m]; has {
			if gone == nil {
				gone = map[string]any{}
			}
			gone[m] = nil
		}
	}
	return gone
}

// states tells whether what a chart wants says something of its own there.
func states(wanted *unstructured.Unstructured, path ...string) bool {
	if wanted == nil {
		return false
	}
	_, has, _ := unstructured.NestedFieldNoCopy(wanted.Object, path...)
	return has
}

// sleepPatch is the patch that puts a live object to sleep, nil for none.
func sleepPatch(u *unstructured.Unstructured) map[string]any {
	if d := dozers[groupKind(u)]; d != nil {
		return d.sleep(u)
	}
	return nil
}

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
	for _, line := range f.sleepless() {
		ses.kube.out.Log(line)
	}
	for _, first := range []bool{true, false} {
		err := ses.kube.amendAll(limited, f.dozing(first), sleepPatch, func(was, _ *unstructured.Unstructured) {
			ses.kube.out.Log(slept(was))
		})
		if err != nil {
			return timedOut(limited, ctx, err)
		}
	}
	return timedOut(limited, ctx, ses.settled(limited, f))
}

// slept says what sleep did to an object.
func slept(was *unstructured.Unstructured) string {
	title := was.GetKind() + " " + was.GetName()
	switch {
	case replicated[groupKind(was)]:
		return fmt.Sprintf("scaled %s from %d to 0", title, number(was, 1, "spec", "replicas"))
	case groupKind(was) == "CronJob.batch":
		return "suspended " + title
	}
	return "paused " + title
}

// dozing are the live objects that can sleep: those that go first, or the rest.
func (f *sight) dozing(first bool) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, o := range f.objects {
		if o.live == nil {
			continue
		}
		if d := dozers[groupKind(o.live)]; d != nil && d.first == first {
			out = append(out, o.live)
		}
	}
	return out
}

// sleepless has a sentence for each object that runs on while the release sleeps.
func (f *sight) sleepless() []string {
	var out []string
	for _, o := range f.objects {
		if o.live == nil {
			continue
		}
		switch groupKind(o.live) {
		case "DaemonSet.apps":
			out = append(out, o.want.title()+" runs on: a DaemonSet has no replicas to take away")
		case "Pod.":
			out = append(out, o.want.title()+" runs on: nothing would make it again")
		case "Job.batch":
			if o.status.state == waiting {
				out = append(out, o.want.title()+" runs on until it has finished")
			}
		}
	}
	return out
}

// planSleep says what sleep would take away.
func (x *Executor) planSleep(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	plan, ses, f, err := x.planWorkloads(ctx, step, "put to sleep", sleepPatch)
	if err != nil || ses == nil {
		return plan, err
	}
	pods := 0
	var freed []object
	for _, o := range f.objects {
		if o.live == nil || sleepPatch(o.live) == nil || !replicated[groupKind(o.live)] {
			continue
		}
		pods += number(o.live, 1, "spec", "replicas")
		live := object{o.live.DeepCopy().Object}
		unstructured.RemoveNestedField(live.content, "spec", "volumeClaimTemplates") // the claims stay
		freed = append(freed, live)
	}
	if len(plan.Resources) == 0 {
		plan.Summary += ": nothing runs that could sleep"
	} else {
		plan.Summary += fmt.Sprintf(": %s, %s", count(len(plan.Resources), "object"), count(pods, "pod"))
	}
	if text := needOf(freed).String(); text != "" {
		plan.Cost = "gives back " + text
	}
	if awake := f.sleepless(); len(awake) > 0 {
		plan.Summary += "; " + strings.Join(slices.Compact(awake), "; ")
	}
	return plan, nil
}

// slumber is how much of a release sleeps.
type slumber struct {
	had     int // replicas that were taken away
	running int // replicas that are there
	objects int // that are asleep, of any kind
}

func (f *sight) slumber() slumber {
	var r slumber
	for _, o := range f.objects {
		if o.live == nil {
			continue
		}
		d := dozers[groupKind(o.live)]
		if d == nil {
			continue
		}
		had, is := asleep(o.live)
		if !is && replicated[groupKind(o.live)] {
			r.running += number(o.live, 1, "spec", "replicas")
			continue
		}
		r.had += had
		if unmark(o.live, d.marks...) != nil {
			r.objects++
		}
	}
	return r
}

// String is "asleep: 0 of 2 replicas", "" when nothing sleeps.
func (r slumber) String() string {
	switch {
	case r.objects == 0:
		return ""
	case r.running == 0:
		return fmt.Sprintf("asleep: 0 of %s", count(r.had, "replica"))
	}
	return fmt.Sprintf("partly asleep: %d of %s", r.running, count(r.had+r.running, "replica"))
}
