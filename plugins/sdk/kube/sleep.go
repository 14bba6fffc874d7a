package kube

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// replicated are the kinds whose pods spec.replicas counts.
var replicated = map[string]bool{"Deployment.apps": true, "StatefulSet.apps": true, "ReplicaSet.apps": true, "ReplicationController.": true}

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
		return nil // Asleep, or without pods anyway
	}
	marks, spec := map[string]any{markReplicas: strconv.Itoa(n)}, map[string]any{"replicas": 0}
	if policy := whenScaled(u); policy == "Delete" {
		marks[markWhenScaled] = policy
		spec["persistentVolumeClaimRetentionPolicy"] = map[string]any{"whenScaled": "Retain"}
	}
	return patchOf(marks, spec)
}

// Asleep tells whether Berth took the replicas of u away, and how many it had.
// One that has some again is awake, whoever woke it.
func Asleep(u *unstructured.Unstructured) (had int, is bool) {
	had, err := strconv.Atoi(u.GetAnnotations()[markReplicas])
	if err != nil || had < 0 || !replicated[GroupKind(u)] || number(u, 1, "spec", "replicas") != 0 {
		return 0, false
	}
	return had, true
}

func wakeWorkload(u, wanted *unstructured.Unstructured) map[string]any {
	marks, spec := unmark(u, markReplicas, markWhenScaled), map[string]any{}
	if marks == nil {
		return nil
	}
	if had, is := Asleep(u); is && !states(wanted, "spec", "replicas") {
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

// SleepPatch is the patch that puts a live object to sleep, nil for none.
func SleepPatch(u *unstructured.Unstructured) map[string]any {
	if d := dozers[GroupKind(u)]; d != nil {
		return d.sleep(u)
	}
	return nil
}

// WakePatch is the patch that wakes a live object, nil for none.
func WakePatch(u *unstructured.Unstructured) map[string]any { return WakePatchFor(u, nil) }

// WakePatchFor is WakePatch for an object that was just deployed as wanted: what
// wanted says goes before what the sleep remembers.
func WakePatchFor(u, wanted *unstructured.Unstructured) map[string]any {
	if d := dozers[GroupKind(u)]; d != nil {
		return d.wake(u, wanted)
	}
	return nil
}

// Sleeps tells whether u bears the mark of a sleep.
func Sleeps(u *unstructured.Unstructured) bool {
	d := dozers[GroupKind(u)]
	return d != nil && unmark(u, d.marks...) != nil
}

// Dozes tells whether objects of u's kind can be put to sleep.
func Dozes(u *unstructured.Unstructured) bool { return dozers[GroupKind(u)] != nil }

// SparesClaims tells whether u is a StatefulSet that sleeps and would drop the
// claims of the replicas that went, did the sleep not keep it from that.
func SparesClaims(u *unstructured.Unstructured) bool {
	return GroupKind(u) == "StatefulSet.apps" && u.GetAnnotations()[markWhenScaled] != ""
}

// Replicated tells whether spec.replicas counts the pods of u's kind.
func Replicated(u *unstructured.Unstructured) bool { return replicated[GroupKind(u)] }

// HasPods tells whether objects of u's kind have pods, or are one.
func HasPods(u *unstructured.Unstructured) bool {
	switch GroupKind(u) {
	case "DaemonSet.apps", "Pod.", "Job.batch":
		return true
	}
	return Replicated(u)
}

// Replicas is how many replicas a live object is to have: one where it says
// nothing.
func Replicas(u *unstructured.Unstructured) int { return number(u, 1, "spec", "replicas") }

// slept says what sleep did to an object.
func slept(was *unstructured.Unstructured) string {
	title := was.GetKind() + " " + was.GetName()
	switch {
	case replicated[GroupKind(was)]:
		return fmt.Sprintf("scaled %s from %d to 0", title, number(was, 1, "spec", "replicas"))
	case GroupKind(was) == "CronJob.batch":
		return "suspended " + title
	}
	return "paused " + title
}

// Sleepless has a sentence for each object that runs on while the release sleeps.
func (f *Sight) Sleepless() []string {
	var out []string
	for _, o := range f.Objects {
		if o.Live == nil {
			continue
		}
		switch GroupKind(o.Live) {
		case "DaemonSet.apps":
			out = append(out, Title(o.Want)+" runs on: a DaemonSet has no replicas to take away")
		case "Pod.":
			out = append(out, Title(o.Want)+" runs on: nothing would make it again")
		case "Job.batch":
			if o.Status.State == Waiting {
				out = append(out, Title(o.Want)+" runs on until it has finished")
			}
		}
	}
	return out
}

// Woken says what wake did to an object.
func Woken(was, is *unstructured.Unstructured) string {
	title := is.GetKind() + " " + is.GetName()
	if !replicated[GroupKind(is)] {
		return title + " goes on"
	}
	if before, now := number(was, 1, "spec", "replicas"), number(is, 1, "spec", "replicas"); before != now {
		return fmt.Sprintf("scaled %s from %d to %d", title, before, now)
	}
	return title + " is awake already"
}

// Slumber is how much of a release sleeps.
type Slumber struct {
	had     int // replicas that were taken away
	running int // replicas that are there
	objects int // that are Asleep, of any kind
}

// Slumber tells how much of what was seen sleeps.
func (f *Sight) Slumber() Slumber {
	var r Slumber
	for _, o := range f.Objects {
		if o.Live == nil {
			continue
		}
		d := dozers[GroupKind(o.Live)]
		if d == nil {
			continue
		}
		had, is := Asleep(o.Live)
		if !is && replicated[GroupKind(o.Live)] {
			r.running += number(o.Live, 1, "spec", "replicas")
			continue
		}
		r.had += had
		if Sleeps(o.Live) {
			r.objects++
		}
	}
	return r
}

// String is "asleep: 0 of 2 replicas", "" when nothing sleeps.
func (r Slumber) String() string {
	switch {
	case r.objects == 0:
		return ""
	case r.running == 0:
		return fmt.Sprintf("asleep: 0 of %s", Count(r.had, "replica"))
	}
	return fmt.Sprintf("partly Asleep: %d of %s", r.running, Count(r.had+r.running, "replica"))
}
