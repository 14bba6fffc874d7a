package kube

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// State is how far an object is.
type State int

// The states. Failed will not get ready without a change.
const (
	Waiting State = iota
	Ready
	Failed
)

// Status is what is seen of an object.
type Status struct {
	State       State
	Text        string // why it is not ready, in words that follow its name: "1 of 2 pods ready"
	Done, Total int    // pods, where the object has some
	Stuck       bool   // waiting will most likely not help
}

// watched are the kinds whose readiness is waited for. Claims are not among
// them: a claim that a pod uses holds that pod up, and one that no pod uses may
// rightly stay unbound for ever.
var watched = map[string]bool{
	"Deployment.apps": true, "StatefulSet.apps": true, "DaemonSet.apps": true, "ReplicaSet.apps": true,
	"Job.batch": true, "Pod.": true, "Service.": true, "PersistentVolumeClaim.": false,
	"CustomResourceDefinition.apiextensions.k8s.io": true,
}

// Ruled tells whether there is a rule for the readiness of u's kind, so that it is
// waited for. Other kinds are ready once they exist.
func Ruled(u *unstructured.Unstructured) bool { return watched[GroupKind(u)] }

// Look tells how an object is, by the rules of `kubectl rollout status` and, in
// what those leave open, of Helm's --wait. Kinds that it does not know are
// ready once they exist; LookAny knows more.
func Look(u *unstructured.Unstructured) Status {
	if u.GetDeletionTimestamp() != nil {
		return Status{Text: "is being deleted"}
	}
	switch GroupKind(u) {
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
		if c, ok := ConditionOf(u, "Established"); ok && c.Status == "True" {
			return Status{State: Ready}
		}
		return Status{Text: "is not established yet"}
	case "PersistentVolumeClaim.":
		if phase, _, _ := unstructured.NestedString(u.Object, "status", "phase"); phase == "Lost" {
			return Status{State: Failed, Text: "has lost its volume"}
		}
	}
	return Status{State: Ready}
}

func lookDeployment(u *unstructured.Unstructured) Status {
	if paused, _, _ := unstructured.NestedBool(u.Object, "spec", "paused"); paused {
		return Status{State: Ready}
	}
	want := number(u, 1, "spec", "replicas")
	available := number(u, 0, "status", "availableReplicas")
	updated := number(u, 0, "status", "updatedReplicas")
	all := number(u, 0, "status", "replicas")
	if !observed(u) {
		return counted(0, want, false)
	}
	if c, ok := ConditionOf(u, "Progressing"); ok && c.Reason == "ProgressDeadlineExceeded" {
		s := counted(min(available, updated), want, false)
		s.State, s.Text = Failed, s.Text+", and it made no progress for longer than its progressDeadlineSeconds"
		return s
	}
	if c, ok := ConditionOf(u, "ReplicaFailure"); ok && c.Status == "True" && available < want {
		s := counted(min(available, updated), want, false)
		s.Text, s.Stuck = s.Text+", its pods cannot be made: "+Clip(c.Message, 300), true
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
		s.Text += fmt.Sprintf(", %s of the version before still there", Count(all-updated, "pod"))
		return s
	}
	return counted(available, want, true)
}

func lookStatefulSet(u *unstructured.Unstructured) Status {
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

func lookDaemonSet(u *unstructured.Unstructured) Status {
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
	if spare := maxUnavailable(u, want); s.State != Ready && available >= want-spare {
		s.State = Ready
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

func lookJob(u *unstructured.Unstructured) Status {
	if suspended, _, _ := unstructured.NestedBool(u.Object, "spec", "suspend"); suspended {
		return Status{State: Ready}
	}
	if c, ok := ConditionOf(u, "Failed"); ok && c.Status == "True" {
		return Status{State: Failed, Text: strings.TrimSuffix("failed: "+Clip(strings.Trim(c.Reason+" "+c.Message, " "), 200), ": ")}
	}
	want := number(u, 1, "spec", "completions")
	done := number(u, 0, "status", "succeeded")
	if c, ok := ConditionOf(u, "Complete"); ok && c.Status == "True" {
		return Status{State: Ready, Done: done, Total: want}
	}
	return Status{Text: fmt.Sprintf("has not finished: %d of %d done", done, want), Done: done, Total: want}
}

func lookPod(u *unstructured.Unstructured) Status {
	phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
	switch phase {
	case "Succeeded":
		return Status{State: Ready}
	case "Failed":
		return Status{State: Failed, Text: "failed"}
	}
	if c, ok := ConditionOf(u, "Ready"); ok && c.Status == "True" {
		return Status{State: Ready}
	}
	return Status{Text: "is not ready"}
}

func lookService(u *unstructured.Unstructured) Status {
	kind, _, _ := unstructured.NestedString(u.Object, "spec", "type")
	external, _, _ := unstructured.NestedSlice(u.Object, "spec", "externalIPs")
	if kind != "LoadBalancer" || len(external) > 0 {
		return Status{State: Ready}
	}
	if ingress, _, _ := unstructured.NestedSlice(u.Object, "status", "loadBalancer", "ingress"); len(ingress) > 0 {
		return Status{State: Ready}
	}
	return Status{Text: "has no address from the load balancer yet"}
}

// goneBy is the status of a workload that is to have no pods and has that many.
func goneBy(there int) Status {
	if there == 0 {
		return Status{State: Ready}
	}
	return Status{Text: Count(there, "pod") + " still there"}
}

// counted is ready when all pods are and settled holds.
func counted(have, want int, settled bool) Status {
	s := Status{Done: min(have, want), Total: want, Text: fmt.Sprintf("%d of %d pods ready", min(have, want), want)}
	if want == 1 {
		s.Text = fmt.Sprintf("%d of 1 pod ready", min(have, want))
	}
	if settled && have >= want {
		s.State = Ready
	}
	return s
}

// observed tells whether the object's controller has seen its last change.
func observed(u *unstructured.Unstructured) bool {
	seen, found, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	return found && seen >= u.GetGeneration()
}

// Condition is one of an object's status.conditions.
type Condition struct{ Status, Reason, Message string }

// ConditionOf is the condition of that type, if u has it.
func ConditionOf(u *unstructured.Unstructured, kind string) (Condition, bool) {
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, item := range list {
		c, _ := item.(map[string]any)
		if c["type"] == kind {
			text := func(key string) string { s, _ := c[key].(string); return s }
			return Condition{text("status"), text("reason"), text("message")}, true
		}
	}
	return Condition{}, false
}

func number(u *unstructured.Unstructured, def int, path ...string) int {
	n, found, err := unstructured.NestedInt64(u.Object, path...)
	if !found || err != nil {
		return def
	}
	return int(n)
}
