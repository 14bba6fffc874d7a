package kubernetes

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

// working is a Deployment that an autoscaler scales and a budget guards, a
// StatefulSet with claims, a CronJob and a claim of its own.
const working = web + `
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {minReplicas: 2, maxReplicas: 4, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {maxUnavailable: 0, selector: {matchLabels: {app: web}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: uploads}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Delete}
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: example.org/db:1}]}}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec: {schedule: "0 0 1 1 *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: job, image: example.org/c:1}]}}}}}
`

func replicasOf(t *testing.T, step sdk.Step) (web, db int32, suspended bool) {
	t.Helper()
	cs := client(t)
	d, err := cs.AppsV1().Deployments(step.Namespace).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := cs.AppsV1().StatefulSets(step.Namespace).Get(t.Context(), "db", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := cs.BatchV1().CronJobs(step.Namespace).Get(t.Context(), "tick", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return *d.Spec.Replicas, *s.Spec.Replicas, *c.Spec.Suspend
}

// claimUIDs are the claims that there are, by name.
func claimUIDs(t *testing.T, step sdk.Step) map[string]types.UID {
	t.Helper()
	list, err := client(t).CoreV1().PersistentVolumeClaims(step.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]types.UID{}
	for _, c := range list.Items {
		out[c.Name] = c.UID
	}
	return out
}

// state is everything in a namespace that a step could change, with versions.
func state(t *testing.T, step sdk.Step) string {
	t.Helper()
	var b strings.Builder
	for _, of := range []schema.GroupVersionResource{
		{Group: "apps", Version: "v1", Resource: "deployments"}, {Group: "apps", Version: "v1", Resource: "statefulsets"}, {Group: "batch", Version: "v1", Resource: "cronjobs"},
		{Version: "v1", Resource: "services"}, {Version: "v1", Resource: "configmaps"}, {Version: "v1", Resource: "secrets"}, {Version: "v1", Resource: "persistentvolumeclaims"},
		{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}, {Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
	} {
		list, err := anyClient(t).Resource(of).Namespace(step.Namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list.Items {
			b.WriteString(of.Resource + "/" + o.GetName() + " " + string(o.GetUID()) + "\n")
			if of.Resource == "secrets" {
				b.WriteString(o.GetResourceVersion() + "\n")
			} else if spec, ok := o.Object["spec"].(map[string]any); ok {
				data, _ := (&unstructured.Unstructured{Object: map[string]any{"kind": "x", "spec": spec, "metadata": map[string]any{"annotations": o.Object["metadata"].(map[string]any)["annotations"]}}}).MarshalJSON()
				b.Write(append(data, '\n'))
			}
		}
	}
	return b.String()
}

func plan(t *testing.T, x *Executor, step sdk.Step, verb sdk.Verb) sdk.Plan {
	t.Helper()
	step.Verb = verb
	before := state(t, step)
	p, err := x.Plan(t.Context(), step)
	if err != nil {
		t.Fatal(err)
	}
	if after := state(t, step); after != before {
		t.Errorf("planning %s changed\n%s\ninto\n%s", verb, before, after)
	}
	return p
}

func TestSleepWakeAndRestart(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": working})
	if out := run(t, x, step, sdk.Sleep); !strings.Contains(out.Text(), "nothing has to sleep") {
		t.Errorf("nothing goes to sleep with %s", out.Text())
	}
	step.Verb = sdk.Wake
	fails(t, x, step, sdk.FaultInvalid, "deploy or restore")
	run(t, x, step, sdk.Deploy)
	claims := claimUIDs(t, step)
	scale := []byte(`{"spec":{"replicas":3}}`)
	if _, err := client(t).AppsV1().Deployments(step.Namespace).Patch(t.Context(), "web", types.MergePatchType, scale, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}

	if p := plan(t, x, step, sdk.Sleep); !strings.Contains(p.Summary, "3 objects, 5 pods") || !strings.Contains(p.Summary, "PodDisruptionBudget web stays as it is") || !strings.Contains(p.Cost, "300m CPU") {
		t.Errorf("the plan is %+v", p)
	}
	run(t, x, step, sdk.Sleep)
	if web, db, suspended := replicasOf(t, step); web != 0 || db != 0 || !suspended {
		t.Errorf("asleep there are %d and %d, suspended %v", web, db, suspended)
	}
	if _, err := client(t).PolicyV1().PodDisruptionBudgets(step.Namespace).Get(t.Context(), "web", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	before := state(t, step)
	run(t, x, step, sdk.Sleep)
	if after := state(t, step); after != before {
		t.Errorf("a second sleep changed\n%s\ninto\n%s", before, after)
	}
	o, err := x.Observe(t.Context(), step)
	if err != nil || o.Health != sdk.Healthy || !strings.Contains(o.Text, "asleep: 0 of 5 replicas") || len(o.Drift) > 0 {
		t.Errorf("asleep it is seen as %+v, %v", o, err)
	}
	run(t, x, step, sdk.Wake)
	if web, db, suspended := replicasOf(t, step); web != 3 || db != 2 || suspended {
		t.Errorf("awake there are %d and %d, suspended %v", web, db, suspended)
	}

	run(t, x, step, sdk.Sleep)
	run(t, x, step, sdk.Deploy) // of what has not changed
	if web, db, suspended := replicasOf(t, step); web != 3 || db != 2 || suspended {
		t.Errorf("deployed over the sleep there are %d and %d, suspended %v", web, db, suspended)
	}
	if now := claimUIDs(t, step); len(now) != 3 || now["data-db-1"] != claims["data-db-1"] || now["uploads"] != claims["uploads"] {
		t.Errorf("the claims were %v and are %v", claims, now)
	}

	step.ID += "-restart"
	plan(t, x, step, sdk.Restart)
	if out := run(t, x, step, sdk.Restart); !strings.Contains(out.Text(), "restarting Deployment web") {
		t.Error(out.Text())
	}
	if out := run(t, x, step, sdk.Restart); strings.Contains(out.Text(), "restarting") {
		t.Errorf("the same step restarts twice: %s", out.Text())
	}
	run(t, x, step, sdk.Cleanup)
	_, err = client(t).CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{})
	absent(t, "the namespace", err)
}

func TestArchiveAndRestore(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": working})
	cs := client(t)
	run(t, x, step, sdk.Deploy)
	claims := claimUIDs(t, step)
	for _, patch := range []struct {
		of   schema.GroupVersionResource
		name string
		with string
	}{
		{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, "web", `{"spec":{"replicas":3}}`},
		{schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}, "web", `{"spec":{"minReplicas":3,"maxReplicas":9}}`},
	} {
		if _, err := anyClient(t).Resource(patch.of).Namespace(step.Namespace).Patch(t.Context(), patch.name, types.MergePatchType, []byte(patch.with), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if p := plan(t, x, step, sdk.Archive); p.Destructive || !strings.Contains(p.Summary, "3 volume claims kept") || !strings.Contains(p.Cost, "gives back") {
		t.Errorf("the plan is %+v", p)
	}
	out := run(t, x, step, sdk.Archive)
	if len(out.Receipts) > 0 {
		t.Errorf("an archive that keeps claims has receipts: %v", out.Receipts)
	}
	pods, err := cs.CoreV1().Pods(step.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) > 0 {
		t.Errorf("archived there are %d pods, %v", len(pods.Items), err)
	}
	if now := claimUIDs(t, step); len(now) != 3 || now["data-db-1"] != claims["data-db-1"] {
		t.Errorf("archived, the claims were %v and are %v", claims, now)
	}
	if _, err := cs.CoreV1().ConfigMaps(step.Namespace).Get(t.Context(), "settings", metav1.GetOptions{}); err != nil {
		t.Errorf("a ConfigMap does not stay: %v", err)
	}
	before := state(t, step)
	run(t, x, step, sdk.Archive)
	if after := state(t, step); after != before {
		t.Errorf("a second archive changed\n%s\ninto\n%s", before, after)
	}
	if o, err := x.Observe(t.Context(), step); err != nil || o.Health != sdk.Absent || o.Text != "archived, with 3 volumes kept" || len(o.Drift) > 0 {
		t.Errorf("archived it is seen as %+v, %v", o, err)
	}

	step.AsWas, step.ID = true, step.ID+"-restore"
	if p := plan(t, x, step, sdk.Restore); !strings.Contains(p.Summary, "3 of 3 volumes found") {
		t.Errorf("the plan is %q", p.Summary)
	}
	run(t, x, step, sdk.Restore)
	if web, db, suspended := replicasOf(t, step); web != 3 || db != 2 || suspended {
		t.Errorf("restored there are %d and %d, suspended %v", web, db, suspended)
	}
	hpa, err := cs.AutoscalingV2().HorizontalPodAutoscalers(step.Namespace).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil || *hpa.Spec.MinReplicas != 3 || hpa.Spec.MaxReplicas != 9 {
		t.Errorf("the autoscaler is %v, %v", hpa, err)
	}
	if now := claimUIDs(t, step); now["data-db-1"] != claims["data-db-1"] || now["uploads"] != claims["uploads"] {
		t.Errorf("restored, the claims were %v and are %v", claims, now)
	}
	eventually(t, "it is seen as healthy", func() bool {
		o, err := x.Observe(t.Context(), step)
		return err == nil && o.Health == sdk.Healthy
	})
	run(t, x, step, sdk.Archive)
	if err := cs.CoreV1().PersistentVolumeClaims(step.Namespace).Delete(t.Context(), "data-db-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the claim is gone", func() bool { return claimUIDs(t, step)["data-db-1"] == "" })
	step.Verb = sdk.Restore
	fails(t, x, step, sdk.FaultInvalid, "2 of 3 volumes found", "data-db-1", "Nothing was done")
	run(t, x, step, sdk.Cleanup)
	_, err = cs.CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{})
	absent(t, "the namespace", err)
}

func TestLogsAndFacts(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": web})
	run(t, x, step, sdk.Deploy)
	var lines []sdk.LogLine
	eventually(t, "the pod is ready in its own words", func() bool {
		lines = nil
		err := x.Logs(t.Context(), step, sdk.LogQuery{Contains: "ready after"}, func(l sdk.LogLine) error { lines = append(lines, l); return nil })
		return err == nil && len(lines) == 1
	})
	if !strings.HasPrefix(lines[0].Source, "web-") || !strings.HasSuffix(lines[0].Source, "/web") {
		t.Errorf("the source is %q", lines[0].Source)
	}
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: "web-"},
		InvolvedObject: corev1.ObjectReference{Kind: "Deployment", Namespace: step.Namespace, Name: "web"},
		Type:           "Warning", Reason: "Tested", Message: "password=hunter22 was refused", LastTimestamp: metav1.Now(),
	}
	if _, err := client(t).CoreV1().Events(step.Namespace).Create(t.Context(), event, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	o, err := x.Observe(t.Context(), step)
	if err != nil || o.Health != sdk.Healthy {
		t.Fatalf("%+v, %v", o, err)
	}
	facts := ""
	for _, f := range o.Facts {
		facts += f.Name + ": " + f.Text + "\n"
	}
	if !strings.Contains(facts, "requests: 100m CPU and 64Mi memory (1 pod)") || !strings.Contains(facts, "Tested: password=***") {
		t.Errorf("the facts are\n%s", facts)
	}
	if err := client(t).CoreV1().Services(step.Namespace).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	if o, err := x.Observe(t.Context(), step); err != nil || len(o.Drift) != 1 || !strings.Contains(o.Drift[0], "Service web is missing") {
		t.Errorf("%+v, %v", o, err)
	}
}
