package kubernetes

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/berth-dev/berth/plugins/sdk"
)

// TestPlanChangesNothing compares everything in the namespace before and after
// plans, by resourceVersion.
func TestPlanChangesNothing(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": web + "---" + quiet})
	plan, err := x.Plan(t.Context(), step)
	if err != nil || len(plan.Resources) != 8 || plan.Destructive {
		t.Fatalf("the first plan is %+v, error %v", plan, err)
	}
	if got := versions(t, step.Namespace); got != "" {
		t.Errorf("a plan has made %s", got)
	}
	run(t, x, step)
	step.With = map[string]any{"manifests": strings.ReplaceAll(strings.Split(web, "---")[0], "shop:1", "shop:2") + "---" + strings.ReplaceAll(quiet, "c4nary-value", "c4nary-other")}
	eventually(t, "nothing moves by itself", func() bool {
		before := versions(t, step.Namespace)
		if plan, err = x.Plan(t.Context(), step); err != nil {
			t.Fatal(err)
		}
		cleanup := step
		cleanup.Verb = sdk.Cleanup
		if _, err := x.Plan(t.Context(), cleanup); err != nil {
			t.Fatal(err)
		}
		return versions(t, step.Namespace) == before
	})
	for _, want := range []string{"shop:2", "shop:1", "Service/web", "ConfigMap/settings", "color: blue"} {
		if !strings.Contains(plan.Diff, want) {
			t.Errorf("the diff does not have %q:\n%s", want, plan.Diff)
		}
	}
	if strings.Contains(plan.Diff, "c4nary") || strings.Contains(plan.Diff, "YzRuYXJ5") {
		t.Errorf("a secret is in the diff:\n%s", plan.Diff)
	}
	changes := map[sdk.Change]int{}
	for _, r := range plan.Resources {
		changes[r.Change]++
	}
	if changes[sdk.ChangeCreate] != 0 || changes[sdk.ChangeUpdate] != 2 || changes[sdk.ChangeDelete] != 2 {
		t.Errorf("the plan says %v: %v", plan.Summary, plan.Resources)
	}
}

// versions is what is in a namespace, with the version of each thing.
func versions(t *testing.T, namespace string) string {
	t.Helper()
	d := anyClient(t)
	var b strings.Builder
	for _, r := range []schema.GroupVersionResource{
		{Version: "v1", Resource: "configmaps"}, {Version: "v1", Resource: "secrets"}, {Version: "v1", Resource: "services"}, {Version: "v1", Resource: "pods"},
		{Version: "v1", Resource: "persistentvolumeclaims"}, {Group: "apps", Version: "v1", Resource: "deployments"}, {Group: "batch", Version: "v1", Resource: "jobs"},
	} {
		list, err := d.Resource(r).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list.Items {
			fmt.Fprintln(&b, o.GetKind(), o.GetName(), o.GetUID(), o.GetResourceVersion())
		}
	}
	return b.String()
}
