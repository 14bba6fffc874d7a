package helm

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// state is how far an object is.
type state int

const (
	waiting state = iota
	ready
	failed // it will not get ready without a change
)

// status is what is seen of an object. Text says why it is not ready, in words
// that follow its name: "1 of 2 pods ready".
type status struct {
	state       state
	text        string
	done, total int  // pods, where the object has some
	stuck       bool // waiting will most likely not help
}

// watched are the kinds whose readiness is waited for. Claims are not among
// them: a claim that a pod uses holds that pod up, and one that no pod uses may
// rightly stay unbound for ever.
var watched = map[string]bool{
	"Deployment.apps": true, "StatefulSet.apps": true, "DaemonSet.apps": true, "ReplicaSet.apps": true,
	"Job.batch": true, "Pod.": true, "Service.": true, "PersistentVolumeClaim.": false,
	"CustomResourceDefinition.apiextensions.k8s.io": true,
}

func groupKind(u *unstructured.Unstructured) string {
	gvk := u.GroupVersionKind()
	return gvk.Kind + "." + gvk.Group
}

// look tells how an object is, by the rules of `kubectl rollout status` and, in
// what those leave open, of Helm's --wait. Kinds that it does not know are
// ready once they exist.
func look(u *unstructured.Unstructured) status {
	if u.GetDeletionTimestamp() != nil {
		return status{text: "is being deleted"}
	}
	switch groupKind(u) {
	case "Deployment.apps":
		return lookDeployment(u)
	case "StatefulSet.apps":
		return lookStatefulSet(u)
	case "DaemonSet.apps":
		return lookDaemonSet(u)
	case "ReplicaSet.apps":
		want := number(u, 1, "spec", "replicas")
		return counted(number(u, 0, "status", "readyReplicas"), want, observed(u))
	case "Job.batch":
		return lookJob(u)
	case "Pod.":
		return lookPod(u)
	case "Service.":
		return lookService(u)
	case "CustomResourceDefinition.apiextensions.k8s.io":
		if c, ok := condition(u, "Established"); ok && c.status == "True" {
			return status{state: ready}
		}
		return status{text: "is not established yet"}
	case "PersistentVolumeClaim.":
		if phase, _, _ := unstructured.NestedString(u.Object, "status", "phase"); phase == "Lost" {
			return status{state: failed, text: "has lost its volume"}
		}
	}
	return status{state: ready}
}

func lookDeployment(u *unstructured.Unstructured) status {
	if paused, _, _ := unstructured.NestedBool(u.Object, "spec", "paused"); paused {
		return status{state: ready}
	}
	want := number(u, 1, "spec", "replicas")
	available := number(u, 0, "status", "availableReplicas")
	updated := number(u, 0, "status", "updatedReplicas")
	all := number(u, 0, "status", "replicas")
	if !observed(u) {
		return counted(0, want, false)
	}
	if c, ok := condition(u, "Progressing"); ok && c.reason == "ProgressDeadlineExceeded" {
		s := counted(min(available, updated), want, false)
		s.state, s.text = failed, s.text+", and it made no progress for longer than its progressDeadlineSeconds"
		return s
	}
	if c, ok := condition(u, "ReplicaFailure"); ok && c.status == "True" && available < want {
		s := counted(min(available, updated), want, false)
		s.text, s.stuck = s.text+", its pods cannot be made: "+clip(c.message, 300), true
		return s
	}
	if updated < want {
		return counted(min(available, updated), want, false)
	}
	if want == 0 {
		return goneBy(all)
	}
	if all > updated {
		s := counted(min(available, updated), want, false)
		s.text += fmt.Sprintf(", %s of the version before still there", count(all-updated, "pod"))
		return s
	}
	return counted(available, want, true)
}

func lookStatefulSet(u *unstructured.Unstructured) status {
	want := number(u, 1, "spec", "replicas")
	readyPods := number(u, 0, "status", "readyReplicas")
	if !observed(u) {
		return counted(0, want, false)
	}
	if strategy, _, _ := unstructured.NestedString(u.Object, "spec", "updateStrategy", "type"); strategy == "OnDelete" {
		return counted(readyPods, want, true)
	}
	if want == 0 {
		return goneBy(number(u, 0, "status", "replicas"))
	}
	partition := number(u, 0, "spec", "updateStrategy", "rollingUpdate", "partition")
	updated := number(u, 0, "status", "updatedReplicas")
	if updated < want-partition {
		return counted(min(readyPods, updated), want, false)
	}
	current, _, _ := unstructured.NestedString(u.Object, "status", "currentRevision")
	update, _, _ := unstructured.NestedString(u.Object, "status", "updateRevision")
	return counted(readyPods, want, partition > 0 || current == update)
}

func lookDaemonSet(u *unstructured.Unstructured) status {
	want := number(u, 0, "status", "desiredNumberScheduled")
	if !observed(u) {
		return counted(0, want, false)
	}
	available := number(u, 0, "status", "numberAvailable")
	if strategy, _, _ := unstructured.NestedString(u.Object, "spec", "updateStrategy", "type"); strategy == "OnDelete" {
		return counted(available, want, true)
	}
	if number(u, 0, "status", "updatedNumberScheduled") < want {
		return counted(available, want, false)
	}
	// As with Helm, nodes that may be missing during an update may be missing now.
	s := counted(available, want, true)
	if spare := maxUnavailable(u, want); s.state != ready && available >= want-spare {
		s.state = ready
	}
	return s
}

func maxUnavailable(u *unstructured.Unstructured, of int) int {
	v, found, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable")
	if !found {
		return 1 // the API's default
	}
	switch v := v.(type) {
	case int64:
		return int(v)
	case string:
		percent, err := strconv.Atoi(strings.TrimSuffix(v, "%"))
		if err == nil {
			return int(math.Ceil(float64(percent) * float64(of) / 100))
		}
	}
	return 0
}

func lookJob(u *unstructured.Unstructured) status {
	if suspended, _, _ := unstructured.NestedBool(u.Object, "spec", "suspend"); suspended {
		return status{state: ready}
	}
	if c, ok := condition(u, "Failed"); ok && c.status == "True" {
		return status{state: failed, text: strings.TrimSuffix("failed: "+clip(strings.Trim(c.reason+" "+c.message, " "), 200), ": ")}
	}
	want := number(u, 1, "spec", "completions")
	done := number(u, 0, "status", "succeeded")
	if c, ok := condition(u, "Complete"); ok && c.status == "True" {
		return status{state: ready, done: done, total: want}
	}
	return status{text: fmt.Sprintf("has not finished: %d of %d done", done, want), done: done, total: want}
}

func lookPod(u *unstructured.Unstructured) status {
	phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
	switch phase {
	case "Succeeded":
		return status{state: ready}
	case "Failed":
		return status{state: failed, text: "failed"}
	}
	if c, ok := condition(u, "Ready"); ok && c.status == "True" {
		return status{state: ready}
	}
	return status{text: "is not ready"}
}

func lookService(u *unstructured.Unstructured) status {
	kind, _, _ := unstructured.NestedString(u.Object, "spec", "type")
	external, _, _ := unstructured.NestedSlice(u.Object, "spec", "externalIPs")
	if kind != "LoadBalancer" || len(external) > 0 {
		return status{state: ready}
	}
	if ingress, _, _ := unstructured.NestedSlice(u.Object, "status", "loadBalancer", "ingress"); len(ingress) > 0 {
		return status{state: ready}
	}
	return status{text: "has no address from the load balancer yet"}
}

// goneBy is the status of a workload that is to have no pods and has that many.
func goneBy(there int) status {
	if there == 0 {
		return status{state: ready}
	}
	return status{text: count(there, "pod") + " still there"}
}

// counted is ready when all pods are and settled holds.
func counted(have, want int, settled bool) status {
	s := status{done: min(have, want), total: want, text: fmt.Sprintf("%d of %d pods ready", min(have, want), want)}
	if want == 1 {
		s.text = fmt.Sprintf("%d of 1 pod ready", min(have, want))
	}
	if settled && have >= want {
		s.state = ready
	}
	return s
}

// observed tells whether the object's controller has seen its last change.
func observed(u *unstructured.Unstructured) bool {
	seen, found, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	return found && seen >= u.GetGeneration()
}

type statusCondition struct{ status, reason, message string }

func condition(u *unstructured.Unstructured, kind string) (statusCondition, bool) {
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, item := range list {
		c, _ := item.(map[string]any)
		if c["type"] == kind {
			text := func(key string) string { s, _ := c[key].(string); return s }
			return statusCondition{text("status"), text("reason"), text("message")}, true
		}
	}
	return statusCondition{}, false
}

func number(u *unstructured.Unstructured, def int, path ...string) int {
	n, found, err := unstructured.NestedInt64(u.Object, path...)
	if !found || err != nil {
		return def
	}
	return int(n)
}
