package kubernetes

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

// TestClaimsStayUntilCleanup is about data: a claim that the manifests do not have
// any more stays, and goes with the environment, as those of StatefulSets do.
func TestClaimsStayUntilCleanup(t *testing.T) {
	t.Parallel()
	set := `---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: c
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: postgres:16}]}}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]
`
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": quiet + set})
	makeNamespace(t, step.Namespace, nil)
	run(t, x, step)
	step.With = map[string]any{"manifests": cm}
	run(t, x, step)
	claims := client(t).CoreV1().PersistentVolumeClaims(step.Namespace)
	list, err := claims.List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 2 {
		t.Errorf("%d claims after they were taken out of the manifests, error %v", len(list.Items), err)
	}
	if text := run(t, x, step).Text(); !strings.Contains(text, "nothing has changed") {
		t.Errorf("the second time:\n%s", text)
	}
	cleanup := step
	cleanup.Verb = sdk.Cleanup
	plan, err := x.Plan(t.Context(), cleanup)
	if err != nil || !plan.Destructive || !strings.Contains(plan.Summary, "2 volume claims with data") {
		t.Errorf("the plan of the cleanup is %+v, error %v", plan, err)
	}
	run(t, x, step, sdk.Cleanup)
	if list, err = claims.List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 0 {
		t.Errorf("%d claims after a cleanup, error %v", len(list.Items), err)
	}
}
