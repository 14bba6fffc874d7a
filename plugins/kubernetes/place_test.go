package kubernetes

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

func TestObjectsWithOwnersAreRefused(t *testing.T) {
	t.Parallel()
	const of = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, ownerReferences: OWNERS}\n"
	x := New(Options{})
	for name, owners := range map[string]string{
		"one owner":               "[{apiVersion: v1, kind: Namespace, name: infra, uid: 6b1f}]",
		"an owner beyond a list":  "{apiVersion: v1, kind: Namespace, name: infra, uid: 6b1f}",
		"an owner that says none": "[{}]",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			step := stepOf(t, map[string]any{"manifests": strings.Replace(of, "OWNERS", owners, 1)})
			fails(t, x, step, sdk.FaultInvalid, "ConfigMap a has ownerReferences", "take them out")
			_, err := x.Plan(t.Context(), step)
			failedWith(t, err, sdk.FaultInvalid, "ConfigMap a has ownerReferences")
			_, err = client(t).CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{})
			absent(t, "the namespace of a part that is refused", err)
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		run(t, x, stepOf(t, map[string]any{"manifests": strings.Replace(of, "OWNERS", "[]", 1)}))
	})
}

func TestNamesOfSecretsAreToldAndTheirValuesAreNot(t *testing.T) {
	t.Parallel()
	const value = "hunter-two-zz9"
	x := New(Options{Getenv: func(name string) string { return map[string]string{"KX": value}[name] }})
	step := stepOf(t, map[string]any{
		"vars":    map[string]any{"secret": "shop-secrets"},
		"secrets": []any{map[string]any{"name": "database", "data": map[string]any{"password": map[string]any{"env": "KX"}}}},
		"jobs":    []any{map[string]any{"name": "migrate", "image": "ghcr.io/acme/shop:1", "env": map[string]any{"API_TOKEN": "given-as-text"}, "env_from": []any{map[string]any{"secret": "database"}}}},
	})
	made, err := x.Plan(t.Context(), step)
	if err != nil {
		t.Fatal(err)
	}
	said := run(t, x, step).Text()
	for _, name := range []string{"shop-secrets", "database"} {
		if !strings.Contains(said, "created Secret "+name) {
			t.Errorf("the log does not say that the Secret %s was made:\n%s", name, said)
		}
		if !strings.Contains(made.Diff, "name: "+name) {
			t.Errorf("the plan does not name the Secret %s:\n%s", name, made.Diff)
		}
	}
	for _, hidden := range []string{value, "given-as-text"} {
		if strings.Contains(made.Diff+said, hidden) {
			t.Errorf("%s can be read", hidden)
		}
	}
}

func TestManifestsCannotPassForTheNamespacesOwnObjects(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "\u0000shared": true}}`, "namespace": map[string]any{}})
	run(t, x, step)
	got, err := client(t).CoreV1().ConfigMaps(step.Namespace).Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil || got.Labels[kube.LabelPart] != step.Part || got.Labels[kube.LabelManagedBy] != "" {
		t.Errorf("it has the marks %v, not those of the part (%v)", got.Labels, err)
	}
	step.Settings, step.Namespace = map[string]any{"kinds": []any{"Deployment.apps"}}, namespace(t)
	fails(t, x, step, sdk.FaultInvalid, "ConfigMap a may not be applied", "`kinds`")
}

func TestWhatIsThereAlreadyIsHandedOverAsTheMessageSays(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {mine: yes it is}\n", "force": true})
	makeNamespace(t, step.Namespace, nil)
	maps := client(t).CoreV1().ConfigMaps(step.Namespace)
	if _, err := maps.Create(t.Context(), configMap("a", nil), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	err := x.Run(t.Context(), step, sdktest.NewRecorder())
	failedWith(t, err, sdk.FaultInvalid, "is there already", " -n "+step.Namespace+"`")
	_, command, _ := strings.Cut(err.Error(), "kubectl label configmaps a ")
	labels := map[string]string{}
	for _, word := range strings.Fields(command) {
		if name, value, is := strings.Cut(word, "="); is {
			labels[name] = value
		}
	}
	got, err := maps.Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got.Labels = labels
	if _, err := maps.Update(t.Context(), got, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	run(t, x, step)
}

func TestManifestsWithMarksOfBerthsOwnAreAsAnyOther(t *testing.T) {
	t.Parallel()
	marked := strings.Replace(web, "metadata: {name: web}", `metadata: {name: web, labels: {berth.dev/job: migrate, team: shop}, annotations: {berth.dev/replicas: "7", berth.dev/url: "https://shop.example.org"}}`, 1)
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": marked})
	run(t, x, step)
	if text := run(t, x, step).Text(); !strings.Contains(text, "nothing has changed") {
		t.Errorf("the second time, with nothing changed:\n%s", text)
	}
	deployments := client(t).AppsV1().Deployments(step.Namespace)
	got, err := deployments.Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil || got.Labels["team"] != "shop" || got.Labels[labelJob] != "" || got.Annotations[kube.AnnotationURL] == "" || got.Annotations["berth.dev/replicas"] != "" {
		t.Errorf("it has the labels %v and the annotations %v (%v)", got.Labels, got.Annotations, err)
	}
	run(t, x, step, sdk.Sleep)
	if got, err = deployments.Get(t.Context(), "web", metav1.GetOptions{}); err != nil || *got.Spec.Replicas != 0 {
		t.Errorf("it does not sleep: %v replicas (%v)", *got.Spec.Replicas, err)
	}
	run(t, x, step, sdk.Wake)
	if got, err = deployments.Get(t.Context(), "web", metav1.GetOptions{}); err != nil || *got.Spec.Replicas != 1 {
		t.Errorf("it woke with %v replicas (%v)", *got.Spec.Replicas, err)
	}
	step.With = map[string]any{"manifests": configMapManifest}
	run(t, x, step)
	_, err = deployments.Get(t.Context(), "web", metav1.GetOptions{})
	absent(t, "what the part does not have any more", err)
}

const configMapManifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, labels: {team: shop}}\ndata: {color: blue}\n"

func TestFieldsThatAKindDoesNotHaveAreToldAndNotTriedAgain(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	for name, c := range map[string]struct{ from, to, says string }{
		"a field that is not there":  {"replicas: 1", "replica: 1", ".spec.replica: field not declared in schema"},
		"a field of another type":    {"replicas: 1", "replicas: many", ".spec.replicas: expected numeric"},
		"a list that is none":        {"- {name: web, image", "  {name: web, image", ".spec.template.spec.containers: expected list"},
		"a list where a number goes": {"replicas: 1", "replicas: [1]", ".spec.replicas: expected numeric"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			step := stepOf(t, map[string]any{"manifests": strings.Replace(web, c.from, c.to, 1)})
			makeNamespace(t, step.Namespace, nil)
			_, err := x.Plan(t.Context(), step)
			failedWith(t, err, sdk.FaultInvalid, "does not take Deployment web", c.says)
			fails(t, x, step, sdk.FaultInvalid, "does not take Deployment web", c.says)
		})
	}
}
