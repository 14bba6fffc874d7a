package kube

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/berth-dev/berth/plugins/sdk"
)

// heldBy is what the namespace's controller says of why it is still there, "" while
// it says nothing.
// Source: k8s.io/api/core/v1, NamespaceConditionType.
func heldBy(ns *corev1.Namespace) string {
	var why []string
	for _, kind := range []corev1.NamespaceConditionType{
		corev1.NamespaceFinalizersRemaining, corev1.NamespaceContentRemaining,
		corev1.NamespaceDeletionContentFailure, corev1.NamespaceDeletionDiscoveryFailure, corev1.NamespaceDeletionGVParsingFailure,
	} {
		for _, c := range ns.Status.Conditions {
			if c.Type == kind && c.Status == corev1.ConditionTrue {
				why = append(why, heldWords(c))
			}
		}
	}
	return strings.Join(why, "; ")
}

// heldWords takes the beginning off that a condition's message always has.
func heldWords(c corev1.NamespaceCondition) string {
	text := strings.Join(strings.Fields(c.Message), " ")
	for begins, short := range map[string]string{
		"Some content in the namespace has finalizers remaining: ": "finalizers: ",
		"Some resources are remaining: ":                           "what is left: ",
	} {
		if rest, ok := strings.CutPrefix(text, begins); ok {
			text = short + rest
		}
	}
	return Clip(strings.TrimSuffix(text, "."), 300)
}

// stuck is the error of a namespace that was not gone in time: it names what holds
// it, down to the objects and their finalizers as far as Berth may look. It works
// when ctx has ended.
func (n Namespace) stuck(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askLimit)
	defer cancel()
	name := n.Step.Namespace
	msg := fmt.Sprintf("The namespace %q was not gone in time", name)
	if ns, err := n.Cluster.clientset.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{}); err == nil {
		if why := heldBy(ns); why != "" {
			msg += ": it is held by " + why
		}
		if own := ns.Finalizers; len(own) > 0 {
			msg += "; by its own finalizers " + Clip(strings.Join(own, ", "), 200)
		}
	}
	holding, err := n.each(ctx, func(kind schema.GroupResource, o *metav1.PartialObjectMetadata) string {
		if o.DeletionTimestamp == nil || len(o.Finalizers) == 0 {
			return ""
		}
		return kind.String() + "/" + o.Name + " waits for " + strings.Join(o.Finalizers, ", ")
	})
	const most = 5
	if all := len(holding); all > most {
		holding = append(holding[:most], fmt.Sprintf("and %d more", all-most))
	}
	if err == nil && len(holding) > 0 {
		msg += ": " + Clip(strings.Join(holding, "; "), 600)
	}
	return sdk.Downstream("%s. See that what the finalizers are for is done, by the controllers that set them, or take them off where those are gone; then try again. `kubectl describe namespace %s` says more.", msg, name).WithRetry()
}
