package helm

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	if !strings.Contains(out.Text(), "stays: it is that of environment a/b-c (part web)") {
		t.Errorf("did not say why the release stays:\n%s", out.Text())
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

func TestAChartReachesIntoNoOtherEnvironment(t *testing.T) {
	t.Parallel()
	x, cs := New(Options{}), client(t)
	victim := preview(t, func(s *sdk.Step) { s.Env = "pr-1" })
	run(t, x, victim)
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: reach\nversion: 1.0.0\n", "values.yaml": "env: {}\n",
		"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\n",
	})
	step := preview(t, with("chart", dir), func(s *sdk.Step) { s.Env = "pr-2" })
	intruder := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: intruder\n  namespace: " + victim.Namespace + "\n"
	asHook := intruder + "  annotations: {helm.sh/hook: pre-upgrade}\n"
	refused := func(what string) {
		t.Helper()
		step.ID += "-x"
		_, err := fails(t, x, step)
		fault(t, err, sdk.FaultInvalid, `ConfigMap "intruder" into namespace "`+victim.Namespace+`"`, "environment shop/pr-1")
		if _, err := cs.CoreV1().ConfigMaps(victim.Namespace).Get(t.Context(), "intruder", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s: the intruder is there: %v", what, err)
		}
	}
	write(t, dir, map[string]string{"templates/b.yaml": intruder})
	refused("an install")
	write(t, dir, map[string]string{"templates/b.yaml": ""})
	run(t, x, step)
	write(t, dir, map[string]string{"templates/b.yaml": intruder})
	refused("an upgrade")
	write(t, dir, map[string]string{"templates/b.yaml": asHook})
	refused("a hook")
	run(t, x, verb(step, sdk.Cleanup))
}
