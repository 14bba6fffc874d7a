package helm

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

// twins are two environments whose names come out the same, in one namespace.
func twins(t *testing.T) (first, second sdk.Step) {
	first = preview(t, func(s *sdk.Step) { s.App, s.Env = "a", "b-c" })
	second = first
	second.ID, second.App, second.Env = first.ID+"-2", "a-b", "c"
	return first, second
}

func TestANamespaceOfAnotherEnvironmentIsLeftAlone(t *testing.T) {
	t.Parallel()
	x, cs := New(Options{}), client(t)
	first, second := twins(t)
	run(t, x, first)

	_, err := x.Plan(t.Context(), second)
	fault(t, err, sdk.FaultInvalid, "is that of environment a/b-c", "another `namespace`")
	_, err = fails(t, x, second)
	fault(t, err, sdk.FaultInvalid, "is that of environment a/b-c")
	second.With = map[string]any{"chart": second.With["chart"], "create_namespace": false, "release": "other"}
	_, err = fails(t, x, second)
	fault(t, err, sdk.FaultInvalid, "is that of environment a/b-c")

	delete(second.With, "release")
	out := run(t, x, verb(second, sdk.Cleanup))
	if !strings.Contains(out.all(), "stays: it is that of environment a/b-c (part web)") {
		t.Errorf("did not say why the release stays:\n%s", out.all())
	}
	seen, err := x.Observe(t.Context(), first)
	if err != nil || seen.Health != sdk.Healthy {
		t.Errorf("the first environment is %+v, %v", seen, err)
	}
	if seen, err = x.Observe(t.Context(), second); err != nil || seen.Health != sdk.Absent {
		t.Errorf("the second environment is %+v, %v", seen, err)
	}
	if ns, err := cs.CoreV1().Namespaces().Get(t.Context(), first.Namespace, metav1.GetOptions{}); err != nil || ns.DeletionTimestamp != nil {
		t.Errorf("the namespace: %+v, %v", ns, err)
	}
}

func TestReleasesOfASharedNamespaceStayApart(t *testing.T) {
	t.Parallel()
	x, cs := New(Options{}), client(t)
	first, second := twins(t)
	makeNamespace(t, first.Namespace, nil)
	first.With["values"] = map[string]any{"persistence": map[string]any{"enabled": true}}
	run(t, x, first)

	_, err := x.Plan(t.Context(), second)
	fault(t, err, sdk.FaultInvalid, `The release "a-b-c-web"`, "environment a/b-c (part web)", "another `release`")
	_, err = fails(t, x, second)
	fault(t, err, sdk.FaultInvalid, "environment a/b-c (part web)")
	plan, err := x.Plan(t.Context(), verb(second, sdk.Cleanup))
	if err != nil || plan.Destructive || plan.Diff != "" || !strings.Contains(plan.Summary, "it stays") {
		t.Errorf("the plan of a cleanup: %+v, %v", plan, err)
	}
	run(t, x, verb(second, sdk.Cleanup))
	if seen, err := x.Observe(t.Context(), first); err != nil || seen.Health != sdk.Healthy {
		t.Errorf("the first environment is %+v, %v", seen, err)
	}
	if claims, err := cs.CoreV1().PersistentVolumeClaims(first.Namespace).List(t.Context(), metav1.ListOptions{}); err != nil || len(claims.Items) != 1 {
		t.Errorf("claims: %v, %v", claims, err)
	}

	second.With = map[string]any{"chart": second.With["chart"], "release": "another"}
	run(t, x, second)
	run(t, x, verb(first, sdk.Cleanup))
	if seen, err := x.Observe(t.Context(), second); err != nil || seen.Health != sdk.Healthy {
		t.Errorf("the second environment is %+v, %v", seen, err)
	}
}
