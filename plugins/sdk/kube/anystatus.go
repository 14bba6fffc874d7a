package kube

import (
	"strings"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"
)

// Own tells whether u's kind is one of Kubernetes itself, as far as this client
// knows them, and not of a custom resource.
func Own(u *unstructured.Unstructured) bool { return scheme.Scheme.Recognizes(u.GroupVersionKind()) }

// LookAny is Look, and for custom resources what kstatus makes of their conditions
// Ready, Reconciling and Stalled and of the generation that their controller has
// seen. One that has none of those is ready once it exists.
// Source: https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus
func LookAny(u *unstructured.Unstructured) Status {
	if Ruled(u) || Own(u) || u.GetDeletionTimestamp() != nil {
		return Look(u)
	}
	found, err := kstatus.Compute(u)
	if err != nil {
		return Status{Text: "cannot be understood: " + Clip(OneLine(err), 200)}
	}
	text := Clip(strings.Trim(strings.Join(strings.Fields(found.Message), " "), ". "), 300)
	if c, ok := ConditionOf(u, "Ready"); ok && c.Status == "False" && c.Reason != "" && !strings.Contains(text, c.Reason) {
		text = strings.Trim(c.Reason+": "+text, ": ")
	}
	switch found.Status {
	case kstatus.CurrentStatus:
		return Status{State: Ready}
	case kstatus.FailedStatus:
		return Status{State: Failed, Text: "failed: " + text}
	}
	return Status{Text: "is not ready: " + text}
}
