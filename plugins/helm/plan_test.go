package helm

import (
	"maps"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

func plan(t *testing.T, x *Executor, step sdk.Step) sdk.Plan {
	t.Helper()
	p, err := x.Plan(t.Context(), step)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlanShowsWhatDeployWouldChange(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := preview(t)

	p := plan(t, x, step)
	if p.Summary != "install chart preview 0.1.0: 3 objects" || p.Destructive || !strings.Contains(p.Diff, "+kind: Deployment") {
		t.Errorf("before an install: %+v", p)
	}
	if ns, _ := client(t).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + step.Namespace}); len(ns.Items) > 0 {
		t.Error("planning made the namespace")
	}
	run(t, x, step)
	if p := plan(t, x, step); p.Summary != "upgrade to chart preview 0.1.0: no changes" || p.Diff != "" {
		t.Errorf("nothing changed: %+v", p)
	}

	step.Set = map[string]string{"replicaCount": "2"}
	step.With["values"] = map[string]any{"serviceAccount": map[string]any{"create": false}, "ingress": map[string]any{"enabled": true, "host": "a.example.org"}}
	p = plan(t, x, step)
	if p.Summary != "upgrade to chart preview 0.1.0: 1 changed, 1 added, 1 removed" {
		t.Errorf("summary: %s", p.Summary)
	}
	for _, line := range []string{"-  replicas: 1", "+  replicas: 2", "--- installed/Deployment/shop-pr-42-web", "+++ /dev/null", "+kind: Ingress"} {
		if !strings.Contains(p.Diff, line) {
			t.Errorf("the diff lacks %q:\n%s", line, p.Diff)
		}
	}
}

func TestPlanInputsAreOfTheContentAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"Chart.yaml":       "apiVersion: v2\nname: chance\nversion: 1.0.0\n",
		"values.yaml":      "env: {}\na: 1\n",
		"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {x: {{ randAlphaNum 9 | quote }}}\n",
	})
	x := New(Options{})
	step := preview(t, with("chart", dir))
	first, second := plan(t, x, step), plan(t, New(Options{}), step)
	if !maps.Equal(first.Inputs, second.Inputs) || first.Diff == second.Diff {
		t.Errorf("chance reached the inputs, or did not reach the diff:\n%v\n%v", first, second)
	}
	brief := step
	// A brief plan that checks what was agreed on needs no cluster.
	brief.Brief, brief.Cluster.Kubeconfig, brief.Agreed = true, "/none/such", first.Inputs
	if p := plan(t, x, brief); !maps.Equal(p.Inputs, first.Inputs) || p.Diff != "" {
		t.Errorf("the brief plan differs: %v", p)
	}
	for name, change := range map[string]func(*sdk.Step){
		"a value":    with("values", map[string]any{"a": 2}),
		"a variable": func(s *sdk.Step) { s.Vars = map[string]string{"LOG_LEVEL": "info"} },
		"a set":      func(s *sdk.Step) { s.Set = map[string]string{"a": "2"} },
		"the chart": func(*sdk.Step) {
			write(t, dir, map[string]string{"templates/b.yaml": "# nothing\n"})
		},
	} {
		other := brief
		other.With = maps.Clone(step.With)
		change(&other)
		if maps.Equal(plan(t, x, other).Inputs, first.Inputs) {
			t.Errorf("%s does not change the inputs", name)
		}
	}
}

func TestAChartThatChangedSinceThePlanIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"Chart.yaml":       "apiVersion: v2\nname: moving\nversion: 1.0.0\n",
		"values.yaml":      "env: {}\n",
		"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {x: one}\n",
	})
	x := New(Options{})
	step := preview(t, with("chart", dir))
	step.Agreed = plan(t, x, step).Inputs
	run(t, x, step)
	write(t, dir, map[string]string{"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {x: two}\n"})
	step.ID += "-2"
	_, err := fails(t, x, step)
	fault(t, err, sdk.FaultInvalid, "The chart changed after the plan was agreed on", "moving 1.0.0 sha256:", "Ask for the deploy again")
	step.Agreed = plan(t, x, step).Inputs
	run(t, x, step)
}

func TestPlanMasksSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"Chart.yaml":       "apiVersion: v2\nname: s\nversion: 1.0.0\n",
		"values.yaml":      "password: old-s3cret\nother: same-s3cret\nenv: {}\n",
		"templates/a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {p: {{ .Values.password }}, same: {{ .Values.other }}}\n",
		"templates/b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  url: postgres://app:{{ .Values.password }}@db/x\n  API_TOKEN: t0k3n-{{ .Values.password }}\n  plain: {{ .Values.password | upper }}\n  copied: x{{ .Values.password }}x\n",
	})
	x := New(Options{})
	step := preview(t, with("chart", dir))
	run(t, x, step)
	step.With["values"] = map[string]any{"password": "new-s3cret"}
	p := plan(t, x, step)
	for _, secret := range []string{"old-s3cret", "new-s3cret", "same-s3cret", "t0k3n"} {
		if strings.Contains(p.Diff, secret) {
			t.Errorf("%s is in the diff:\n%s", secret, p.Diff)
		}
	}
	if !strings.Contains(p.Diff, "-  p: '*** (") && !strings.Contains(p.Diff, "-  p: '***") && !strings.Contains(p.Diff, "-  p: \"***") && !strings.Contains(p.Diff, "-  p: ***") {
		t.Errorf("the diff does not show that the secret changes:\n%s", p.Diff)
	}
	if strings.Contains(p.Diff, "-  same:") {
		t.Errorf("an unchanged secret looks changed:\n%s", p.Diff)
	}
	if p.Summary != "upgrade to chart s 1.0.0: 2 changed" {
		t.Errorf("summary: %s", p.Summary)
	}
}

func TestPlanSaysWhenDataGoes(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := preview(t, with("values", map[string]any{"persistence": map[string]any{"enabled": true}}))
	run(t, x, step)
	step.With["values"] = map[string]any{}
	if p := plan(t, x, step); !p.Destructive {
		t.Errorf("a claim goes: %+v", p)
	}
	if p := plan(t, x, verb(preview(t), sdk.Cleanup)); p.Destructive || !strings.Contains(p.Summary, "it is not there") {
		t.Errorf("nothing is there: %+v", p)
	}
}
