package helm

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// fault checks that err is one for people, and returns it.
func fault(t *testing.T, err error, want sdk.Fault, says ...string) *sdk.Error {
	t.Helper()
	e, ok := errors.AsType[*sdk.Error](err)
	if !ok {
		t.Fatalf("got %v (%T), want an error for people", err, err)
	}
	if e.Fault != want {
		t.Errorf("fault is %q, want %q: %s", e.Fault, want, e.Msg)
	}
	for _, s := range says {
		if !strings.Contains(e.Msg, s) {
			t.Errorf("the message lacks %q:\n%s", s, e.Msg)
		}
	}
	return e
}

func TestDeployInstallsUpgradesAndDoesNothingTwice(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := preview(t)
	cs := client(t)

	out := run(t, x, step)
	if out.Outputs["revision"] != "1" || out.Outputs["release"] != "shop-pr-42-web" || out.Outputs["namespace"] != step.Namespace {
		t.Errorf("outputs are %v", out.Outputs)
	}
	if want := "shop-pr-42-web." + step.Namespace + ".svc"; out.Outputs["service"] != want {
		t.Errorf("service is %q, want %q", out.Outputs["service"], want)
	}
	d, err := cs.AppsV1().Deployments(step.Namespace).Get(t.Context(), "shop-pr-42-web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Status.AvailableReplicas != 1 {
		t.Errorf("returned before the pod was ready: %+v", d.Status)
	}
	if env := d.Spec.Template.Spec.Containers[0].Env; len(env) != 1 || env[0].Name != "LOG_LEVEL" || env[0].Value != "debug" {
		t.Errorf("the app's variables did not arrive: %v", env)
	}
	ns, err := cs.CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{})
	if err != nil || ns.Labels[kube.LabelApp] != "shop" || ns.Labels[kube.LabelEnvironment] != "pr-42" {
		t.Errorf("the namespace is not marked: %v %v", ns.Labels, err)
	}

	if again := run(t, x, step); again.Outputs["revision"] != "1" {
		t.Errorf("the same step made revision %s", again.Outputs["revision"])
	}

	step.ID += "-next"
	step.Set = map[string]string{"replicaCount": "3", "image.tag": "1234567"}
	up := run(t, x, step)
	if up.Outputs["revision"] != "2" {
		t.Errorf("the upgrade is revision %s", up.Outputs["revision"])
	}
	if !strings.Contains(up.Text(), "of 3 pods ready") {
		t.Errorf("did not tell what it waits for:\n%s", up.Text())
	}
	d, err = cs.AppsV1().Deployments(step.Namespace).Get(t.Context(), "shop-pr-42-web", metav1.GetOptions{})
	if err != nil || *d.Spec.Replicas != 3 || d.Status.AvailableReplicas != 3 || !strings.HasSuffix(d.Spec.Template.Spec.Containers[0].Image, ":1234567") {
		t.Errorf("not upgraded: %v %+v", err, d.Spec)
	}
}

func TestCleanupTakesEverythingAndNothingElse(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := preview(t, with("values", map[string]any{"persistence": map[string]any{"enabled": true}}))
	cs := client(t)
	run(t, x, step)

	plan, err := x.Plan(t.Context(), verb(step, sdk.Cleanup))
	if err != nil || !plan.Destructive || !strings.Contains(plan.Diff, "PersistentVolumeClaim/") {
		t.Errorf("the plan does not say that data goes: %+v %v", plan, err)
	}
	out := run(t, x, verb(step, sdk.Cleanup))
	_, err = cs.CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the namespace is still there: %v\n%s", err, out.Text())
	}
	run(t, x, verb(step, sdk.Cleanup)) // already gone is success
}

func TestCleanupLeavesANamespaceOfOthers(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := preview(t)
	cs := client(t)
	makeNamespace(t, step.Namespace, nil)
	run(t, x, step)
	out := run(t, x, verb(step, sdk.Cleanup))
	if _, err := cs.CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{}); err != nil {
		t.Errorf("took a namespace that it did not make: %v", err)
	}
	if !strings.Contains(out.Text(), "did not make it") {
		t.Errorf("did not say why:\n%s", out.Text())
	}
	d, err := cs.AppsV1().Deployments(step.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(d.Items) > 0 {
		t.Errorf("left %v %v", d.Items, err)
	}
	s, err := cs.CoreV1().Secrets(step.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "owner=helm"})
	if err != nil || len(s.Items) > 0 {
		t.Errorf("left records of the release: %v", err)
	}
}

func TestCleanupLeavesANamespaceThatOtherPartsUse(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	web := preview(t)
	api := web
	api.Part, api.ID = "api", web.ID+"-api"
	run(t, x, web)
	run(t, x, api)
	out := run(t, x, verb(web, sdk.Cleanup))
	if !strings.Contains(out.Text(), "there are still") {
		t.Errorf("did not say why the namespace stays:\n%s", out.Text())
	}
	seen, err := x.Observe(t.Context(), api)
	if err != nil || seen.Health != sdk.Healthy {
		t.Errorf("the other part is %+v %v", seen, err)
	}
	run(t, x, verb(api, sdk.Cleanup))
	if _, err := client(t).CoreV1().Namespaces().Get(t.Context(), web.Namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the last part left the namespace: %v", err)
	}
}

func verb(step sdk.Step, v sdk.Verb) sdk.Step {
	step.Verb = v
	step.ID += "-" + string(v)
	return step
}
