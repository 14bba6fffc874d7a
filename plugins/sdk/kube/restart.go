package kube

import (
	"crypto/sha256"
	"encoding/hex"

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
	// whenItRuns stands for the moment in a plan, which is the same whenever it is
	// made.
	whenItRuns = "(when it runs)"
)

// restartable are the kinds whose pods a change of their template replaces.
var restartable = map[string]bool{"Deployment.apps": true, "StatefulSet.apps": true, "DaemonSet.apps": true}

// restartPatch is the patch with which a step restarts a live object at a moment,
// nil for what it has restarted already and for what cannot be.
func restartPatch(step sdk.Step, moment string) func(*unstructured.Unstructured) map[string]any {
	sum := sha256.Sum256([]byte(step.ID))
	mark := hex.EncodeToString(sum[:16])
	return func(u *unstructured.Unstructured) map[string]any {
		if !restartable[GroupKind(u)] || u.GetAnnotations()[markRestart] == mark {
			return nil
		}
		return patchOf(map[string]any{markRestart: mark}, map[string]any{
			"template": map[string]any{"metadata": map[string]any{"annotations": map[string]any{restartedAt: moment}}},
		})
	}
}

// stays says why a restart leaves pods of u as they are, "" when it does not.
func stays(u *unstructured.Unstructured) string {
	kind := GroupKind(u)
	if paused, _, _ := unstructured.NestedBool(u.Object, "spec", "paused"); paused && kind == "Deployment.apps" {
		return "is paused: its pods are replaced when it goes on"
	}
	if strategy, _, _ := unstructured.NestedString(u.Object, "spec", "updateStrategy", "type"); strategy == "OnDelete" {
		return "replaces a pod only when somebody deletes it (OnDelete)"
	}
	if _, is := Asleep(u); is {
		return "is Asleep: it has no pods to restart"
	}
	if replicated[kind] && !restartable[kind] || kind == "Pod." {
		return "stays as it is: its pods cannot be replaced one after the other"
	}
	return ""
}

// podsWanted is how many pods a workload is to have.
func podsWanted(u *unstructured.Unstructured) int {
	if GroupKind(u) == "DaemonSet.apps" {
		return number(u, 0, "status", "desiredNumberScheduled")
	}
	return number(u, 1, "spec", "replicas")
}
