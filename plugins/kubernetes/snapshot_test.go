package kubernetes

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// snapshots brings the API of snapshots to the tests' cluster, and takes those of
// namespace for as long as the test lasts, as a storage's controller does.
func snapshots(t *testing.T, namespace string) {
	t.Helper()
	var crd map[string]any
	err := yaml.Unmarshal([]byte(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: volumesnapshots.snapshot.storage.k8s.io, annotations: {api-approved.kubernetes.io: "unapproved, for a test"}}
spec:
  group: snapshot.storage.k8s.io
  scope: Namespaced
  names: {plural: volumesnapshots, singular: volumesnapshot, kind: VolumeSnapshot, listKind: VolumeSnapshotList}
  versions: [{name: v1, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`), &crd)
	if err != nil {
		t.Fatal(err)
	}
	objects := anyClient(t)
	definitions := objects.Resource(kindOf{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}.gvr())
	if _, err := definitions.Create(t.Context(), &unstructured.Unstructured{Object: crd}, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	of := objects.Resource(snapshotKind.gvr()).Namespace(namespace)
	eventually(t, "snapshots are served", func() bool {
		_, err := of.List(t.Context(), metav1.ListOptions{})
		return err == nil
	})
	w, err := of.Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	go func() {
		for e := range w.ResultChan() {
			u, ok := e.Object.(*unstructured.Unstructured)
			if !ok || e.Type != "ADDED" {
				continue
			}
			_, _ = of.Patch(context.Background(), u.GetName(), types.MergePatchType, []byte(`{"status":{"readyToUse":true}}`), metav1.PatchOptions{}, "status")
		}
	}()
}

func TestAnArchiveInSnapshots(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": working, "on_archive": "snapshot"})
	run(t, x, step, sdk.Deploy)
	snapshots(t, step.Namespace)
	of := anyClient(t).Resource(snapshotKind.gvr()).Namespace(step.Namespace)
	names := func() map[string]string {
		list, err := of.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, u := range list.Items {
			claim, _, _ := unstructured.NestedString(u.Object, "spec", "source", "persistentVolumeClaimName")
			out[claim] = u.GetName()
		}
		return out
	}
	claims := claimUIDs(t, step)
	if p := plan(t, x, step, sdk.Archive); !strings.Contains(p.Summary, "3 volume claims kept as snapshots") || !strings.Contains(p.Diff, "+ VolumeSnapshot/"+snapshotName("uploads", claims["uploads"])) {
		t.Errorf("the plan is %+v", p)
	}
	out := run(t, x, step, sdk.Archive)
	if now := claimUIDs(t, step); len(now) > 0 || len(names()) != 3 {
		t.Errorf("archived there are the claims %v and the snapshots %v", now, names())
	}
	if len(out.Receipts) != 3 || out.Receipts[0].Kind != "PersistentVolumeClaim" {
		t.Errorf("the receipts are %v", out.Receipts)
	}
	if o, err := x.Observe(t.Context(), step); err != nil || o.Text != "archived, with 3 volumes kept" {
		t.Errorf("it is seen as %+v, %v", o, err)
	}
	taken := names()
	if out := run(t, x, step, sdk.Archive); len(out.Receipts) > 0 || len(names()) != 3 {
		t.Errorf("a second archive gave %v, and there are %v", out.Receipts, names())
	}

	step.AsWas, step.ID = true, step.ID+"-restore"
	made := map[string]string{}
	run(t, x, step, sdk.Restore)
	list, err := client(t).CoreV1().PersistentVolumeClaims(step.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list.Items {
		if c.Spec.DataSource == nil || c.Spec.DataSource.Kind != "VolumeSnapshot" {
			t.Errorf("%s has no snapshot for its source", c.Name)
			continue
		}
		made[c.Name] = c.Spec.DataSource.Name
		if c.Status.Phase == corev1.ClaimLost {
			t.Errorf("%s is lost", c.Name)
		}
	}
	if len(made) != 3 || made["uploads"] != taken["uploads"] || made["data-db-0"] != taken["data-db-0"] {
		t.Errorf("claims are made from %v, want %v", made, taken)
	}
	if left := names(); len(left) > 0 {
		t.Errorf("restored, the snapshots %v are still there", left)
	}
	if web, db, _ := replicasOf(t, step); web != 1 && web != 2 || db != 2 {
		t.Errorf("restored there are %d and %d", web, db)
	}

	run(t, x, step, sdk.Archive)
	if len(names()) != 3 {
		t.Errorf("archived again there are the snapshots %v", names())
	}
	run(t, x, step, sdk.Cleanup)
	if left := names(); len(left) > 0 {
		t.Errorf("cleaned up, the snapshots %v are still there", left)
	}
	_, err = client(t).CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{})
	absent(t, "the namespace", err)
}

func TestASnapshotThatIsInterruptedTakesNoClaimAway(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": working, "on_archive": "snapshot"})
	run(t, x, step, sdk.Deploy)
	snapshots(t, step.Namespace)
	claims := claimUIDs(t, step)
	step.Verb = sdk.Archive
	for n := int64(1); ; n++ {
		// Each try ends at another line that it says.
		ctx, cancel := context.WithCancel(t.Context())
		out, said := sdktest.NewRecorder(), atomic.Int64{}
		out.On = func(string) {
			if said.Add(1) == n {
				cancel()
			}
		}
		err := x.Run(ctx, step, out)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("cut off at line %d: %v", n, err)
		}
		for name, uid := range claims {
			if claimUIDs(t, step)[name] == uid {
				continue
			}
			u, err := anyClient(t).Resource(snapshotKind.gvr()).Namespace(step.Namespace).Get(t.Context(), snapshotName(name, uid), metav1.GetOptions{})
			if err != nil || lookSnapshot(u).State != kube.Ready {
				t.Fatalf("cut off at line %d, the claim %s is gone without a snapshot: %v", n, name, err)
			}
		}
	}
	step.AsWas, step.ID = true, step.ID+"-restore"
	run(t, x, step, sdk.Restore)
	if now := claimUIDs(t, step); len(now) != 3 {
		t.Errorf("restored there are the claims %v", now)
	}
	run(t, x, step, sdk.Cleanup)
}
