package kubernetes

import (
	"fmt"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// definition is a custom resource of any content, with a status of its own.
func definition(group, version, kind, plural string) string {
	return fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %s.%s}
spec:
  group: %s
  scope: Namespaced
  names: {kind: %s, plural: %s, singular: %s}
  versions:
    - name: %s
      served: true
      storage: true
      subresources: {status: {}}
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`, plural, group, group, kind, plural, strings.ToLower(kind), version)
}

// define puts a definition into the cluster, by hand.
func define(t *testing.T, text string) {
	t.Helper()
	objects, err := parseManifests("x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	of := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	d := anyClient(t).Resource(of)
	if _, err := d.Apply(t.Context(), objects[0].GetName(), objects[0], metav1.ApplyOptions{FieldManager: "test"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the kind is established", func() bool {
		u, err := d.Get(t.Context(), objects[0].GetName(), metav1.GetOptions{})
		return err == nil && kube.Look(u).State == kube.Ready
	})
}

// setStatus is what a controller would do.
func setStatus(t *testing.T, of schema.GroupVersionResource, namespace, name, status string) error {
	t.Helper()
	_, err := anyClient(t).Resource(of).Namespace(namespace).Patch(t.Context(), name, types.MergePatchType, []byte(`{"status":`+status+`}`), metav1.PatchOptions{}, "status")
	return err
}

func TestAnArgoApplicationIsAPartLikeAnyOther(t *testing.T) {
	t.Parallel()
	define(t, definition("argoproj.io", "v1alpha1", "Application", "applications"))
	of := schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}
	argo := namespace(t)
	makeNamespace(t, argo, nil)
	app := fmt.Sprintf("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: shop, namespace: %s, annotations: {berth.dev/url: 'https://argo.example.org/shop'}}\nspec: {project: default}\n", argo)
	step := stepOf(t, map[string]any{"manifests": app})
	x := New(Options{})
	fails(t, x, step, sdk.FaultInvalid, "Application shop", argo, "allow")
	step.Settings = map[string]any{"allow": []any{map[string]any{"kind": "Application.argoproj.io", "namespace": argo}}}
	out := sdktest.NewRecorder()
	done := make(chan error, 1)
	go func() { done <- x.Run(t.Context(), step, out) }()
	eventually(t, "Berth waits for Argo CD", func() bool { return strings.Contains(out.Text(), "Argo CD has not looked at it yet") })
	_ = setStatus(t, of, argo, "shop", `{"sync":{"status":"OutOfSync"},"health":{"status":"Progressing"}}`)
	eventually(t, "Berth says what it waits for", func() bool { return strings.Contains(out.Text(), "is OutOfSync and Progressing") })
	_ = setStatus(t, of, argo, "shop", `{"sync":{"status":"Synced"},"health":{"status":"Healthy"}}`)
	if err := <-done; err != nil {
		t.Fatalf("%v\n%s", err, out.Text())
	}
	if out.Outputs["url"] != "https://argo.example.org/shop" {
		t.Errorf("the outputs are %v", out.Outputs)
	}
	// Another part waits for it, and makes nothing.
	other := step
	other.Part, other.With = "other", map[string]any{"wait": []any{map[string]any{
		"kind": "Application", "api_version": "argoproj.io/v1alpha1", "name": "shop", "namespace": argo, "ready": "object.status.health.status == 'Healthy'", "timeout": "2m",
	}}}
	run(t, x, other)
	run(t, x, other, sdk.Cleanup)
	run(t, x, step, sdk.Cleanup)
	_, err := anyClient(t).Resource(of).Namespace(argo).Get(t.Context(), "shop", metav1.GetOptions{})
	absent(t, "the Application in another namespace", err)
}

func TestADefinitionAndItsObjectsInOnePart(t *testing.T) {
	t.Parallel()
	group := fmt.Sprintf("t%d.example.org", os.Getpid())
	text := definition(group, "v1", "Database", "databases") + "---\napiVersion: " + group + "/v1\nkind: Database\nmetadata: {name: main}\nspec: {size: 1}\n"
	step := stepOf(t, map[string]any{"manifests": text, "ready": map[string]any{"Database": "object.status.phase == 'Up'"}, "timeout": "5m"})
	x := New(Options{})
	fails(t, x, step, sdk.FaultInvalid, "CustomResourceDefinition", "allow")
	step.Settings = map[string]any{"allow": []any{map[string]any{"kind": "CustomResourceDefinition"}}}
	if _, err := x.Plan(t.Context(), step); err != nil {
		t.Fatal(err)
	}
	of := schema.GroupVersionResource{Group: group, Version: "v1", Resource: "databases"}
	out := sdktest.NewRecorder()
	out.On = func(text string) {
		if strings.Contains(text, "object.status.phase") {
			_ = setStatus(t, of, step.Namespace, "main", `{"phase":"Up"}`)
		}
	}
	if err := x.Run(t.Context(), step, out); err != nil {
		t.Fatalf("%v\n%s", err, out.Text())
	}
	if text := run(t, x, step).Text(); !strings.Contains(text, "nothing has changed") {
		t.Errorf("the second time:\n%s", text)
	}
	// Something with a finalizer holds the cleanup, and is named with it.
	d := anyClient(t).Resource(of).Namespace(step.Namespace)
	if _, err := d.Patch(t.Context(), "main", types.MergePatchType, []byte(`{"metadata":{"finalizers":["example.org/hold"]}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	held := step
	held.Verb, held.With = sdk.Cleanup, map[string]any{"timeout": "20s"}
	fails(t, x, held, sdk.FaultDownstream, "Database main", "example.org/hold")
	if _, err := d.Patch(t.Context(), "main", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	run(t, x, step, sdk.Cleanup)
	_, err := d.Get(t.Context(), "main", metav1.GetOptions{})
	absent(t, "the Database", err)
}
