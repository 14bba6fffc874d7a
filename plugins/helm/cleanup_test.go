package helm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// receiptsOf are the receipts of a run as "Kind name", sorted.
func receiptsOf(out *sdktest.Recorder) []string {
	var all []string
	for _, r := range out.Receipts {
		all = append(all, r.Kind+" "+r.Name)
	}
	slices.Sort(all)
	return all
}

var cleanedChart = map[string]string{
	"Chart.yaml":  "apiVersion: v2\nname: cleaned\nversion: 1.0.0\n",
	"values.yaml": "env: {}\n",
	"templates/all.yaml": `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, image: "registry.example.org/a:1"}]}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: gone}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: hooked, annotations: {helm.sh/hook: pre-install}}
`,
}

func TestCleanupGivesAReceiptForEachThing(t *testing.T) {
	t.Parallel()
	x, cs := New(Options{}), client(t)
	dir := t.TempDir()
	write(t, dir, cleanedChart)
	step := preview(t, with("chart", dir))
	run(t, x, step)
	// What somebody took away before is not what this cleanup took.
	if err := cs.CoreV1().ConfigMaps(step.Namespace).Delete(t.Context(), "gone", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// A claim that only an archive knows of, and its record.
	claim, err := cs.CoreV1().PersistentVolumeClaims(step.Namespace).Create(t.Context(), claimSpec("old"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	labels := kube.StepOwner(step).Labels()
	labels[kube.LabelManagedBy] = kube.ManagedBy
	record := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: archivePrefix + "kept", Labels: labels},
		StringData: map[string]string{"archive.json": fmt.Sprintf(`{"claims":[{"name":"old","uid":%q}]}`, claim.UID)}}
	if _, err := cs.CoreV1().Secrets(step.Namespace).Create(t.Context(), record, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	plan, err := x.Plan(t.Context(), verb(step, sdk.Cleanup))
	if err != nil || !plan.Destructive || !strings.Contains(plan.Diff, "PersistentVolumeClaim/old") || !strings.Contains(plan.Diff, "Secret/"+archivePrefix+"kept") {
		t.Errorf("plan %+v, %v", plan, err)
	}

	out := run(t, x, verb(step, sdk.Cleanup))
	if said := out.Text(); strings.Contains(said, "is being made") || !strings.Contains(said, "is being deleted") {
		t.Errorf("of what goes it says\n%s", said)
	}
	want := []string{
		"Archive " + archivePrefix + "kept", "ConfigMap hooked", "ConfigMap settings", "Helm release shop-pr-42-web", "Namespace " + step.Namespace,
		"PersistentVolumeClaim data-db-0", "PersistentVolumeClaim old", "StatefulSet db",
	}
	if got := receiptsOf(out); !slices.Equal(got, want) {
		t.Errorf("receipts:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, r := range out.Receipts {
		data := slices.Contains([]string{"Archive", "Namespace", "PersistentVolumeClaim", "StatefulSet"}, r.Kind)
		if r.Change != sdk.ChangeDelete || r.Destructive != data || r.Namespace == "" && r.Kind != "Namespace" {
			t.Errorf("receipt %+v", r)
		}
	}
	if again := run(t, x, verb(step, sdk.Cleanup)); len(again.Receipts) > 0 {
		t.Errorf("nothing was left, and it gave receipts for %v", receiptsOf(again))
	}
}

func claimSpec(name string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: quantity("1Gi")}},
	}}
}

func TestACleanupThatFailedIsRunAgain(t *testing.T) {
	t.Parallel()
	x, cs := New(Options{}), client(t)
	dir := t.TempDir()
	write(t, dir, cleanedChart)
	step := preview(t, with("chart", dir))
	run(t, x, step)
	hold := []byte(`{"metadata":{"finalizers":["berth.example.org/held"]}}`)
	if _, err := cs.CoreV1().ConfigMaps(step.Namespace).Patch(t.Context(), "settings", types.MergePatchType, hold, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	clean := verb(step, sdk.Cleanup)
	clean.With = maps.Clone(step.With)
	clean.With["timeout"] = "20s"
	out, err := fails(t, x, clean)
	fault(t, err, sdk.FaultDownstream)
	if got := receiptsOf(out); slices.Contains(got, "ConfigMap settings") || !slices.Contains(got, "StatefulSet db") {
		t.Errorf("of the cleanup that failed: %v", got)
	}
	let := []byte(`{"metadata":{"finalizers":null}}`)
	if _, err := cs.CoreV1().ConfigMaps(step.Namespace).Patch(t.Context(), "settings", types.MergePatchType, let, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	clean.With["timeout"] = "5m"
	out = run(t, x, clean)
	got := receiptsOf(out)
	for _, want := range []string{"ConfigMap settings", "StatefulSet db", "PersistentVolumeClaim data-db-0", "Helm release shop-pr-42-web", "Namespace " + step.Namespace} {
		if !slices.Contains(got, want) {
			t.Errorf("the receipts lack %q: %v", want, got)
		}
	}
}

func TestCleanupOfWhatOnlyItsMarksTellOf(t *testing.T) {
	t.Parallel()
	x, cs := New(Options{}), client(t)
	step := preview(t, installation("01orphan"), with("release", "another-name"))
	run(t, x, step)
	orphan := verb(step, sdk.Cleanup)
	orphan.With, orphan.Commit, orphan.Vars = nil, "", nil
	plan, err := x.Plan(t.Context(), orphan)
	if err != nil || !strings.Contains(plan.Summary, "uninstall release another-name: 3 objects") {
		t.Errorf("plan %+v, %v", plan, err)
	}
	for _, part := range []string{"other", "", ""} { // not its part; the whole; nothing is left
		orphan.Part = part
		run(t, x, orphan)
		_, err := cs.CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{})
		if gone := apierrors.IsNotFound(err); gone != (part == "") {
			t.Errorf("after the cleanup of part %q: %v", part, err)
		}
	}
	if owned := inventory(t, x, step); len(owned) > 0 {
		t.Errorf("it still owns %+v", owned)
	}
	if seen := observe(t, x, orphan); seen.Health != sdk.Absent {
		t.Errorf("seen as %+v", seen)
	}
}

func TestACleanupThatWasKilledGoesOn(t *testing.T) {
	t.Parallel()
	x, cs := New(Options{}), client(t)
	dir := t.TempDir()
	write(t, dir, cleanedChart)
	step := preview(t, with("chart", dir))
	run(t, x, step)
	clean := verb(step, sdk.Cleanup)
	for _, said := range []string{"deleted StatefulSet db", "deleted PersistentVolumeClaim data-db-0", "deleted Helm release"} {
		cmd, lines := helperProcess(t, clean)
		killAfter(t, cmd, lines, said)
	}
	run(t, x, clean)
	if _, err := cs.CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the namespace is still there: %v", err)
	}
}
