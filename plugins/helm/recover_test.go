package helm

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-dev/berth/plugins/sdk"
)

// interrupt rewrites the last record of the release as an interruption leaves
// it.
func interrupt(t *testing.T, step sdk.Step, status release.Status, change ...func(*release.Release)) {
	t.Helper()
	store := storage.Init(driver.NewSecrets(client(t).CoreV1().Secrets(step.Namespace)))
	rel, err := store.Last("shop-pr-42-web")
	if err != nil {
		t.Fatal(err)
	}
	rel.Info.Status = status
	for _, c := range change {
		c(rel)
	}
	if err := store.Update(rel); err != nil {
		t.Fatal(err)
	}
}

func TestAnInterruptedReleaseIsTakenUp(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]release.Status{
		"while it was installed":   release.StatusPendingInstall,
		"while it was upgraded":    release.StatusPendingUpgrade,
		"while it was rolled back": release.StatusPendingRollback,
		"while it was uninstalled": release.StatusUninstalling,
		"after it was uninstalled": release.StatusUninstalled,
		"before its state was set": release.StatusUnknown,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := New(Options{})
			step := preview(t)
			run(t, x, step)
			if status == release.StatusPendingUpgrade || status == release.StatusPendingRollback {
				step.ID += "-2"
				run(t, x, step)
			}
			interrupt(t, step, status)
			step.ID += "-again"
			step.Set = map[string]string{"replicaCount": "2"}
			run(t, x, step)
			seen, err := x.Observe(t.Context(), step)
			if err != nil || seen.Health != sdk.Healthy {
				t.Errorf("it is %+v %v", seen, err)
			}
			interrupt(t, step, status)
			run(t, x, verb(step, sdk.Cleanup))
			if _, err := client(t).CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("the namespace is still there: %v", err)
			}
		})
	}
}

func TestWhatAFailedRevisionLeftGoesWithTheNextOne(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	good := preview(t)
	run(t, x, good)
	bad := good
	bad.ID += "-bad"
	bad.With = map[string]any{"chart": "../../charts/preview", "fail_fast": "500ms", "values": map[string]any{
		"podAnnotations": map[string]any{"devcluster/fail": "ImagePullBackOff"},
		"ingress":        map[string]any{"enabled": true, "host": "x.example.org"},
	}}
	fails(t, x, bad)
	ingresses := client(t).NetworkingV1().Ingresses(good.Namespace)
	if list, err := ingresses.List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 1 {
		t.Fatalf("the failed revision made no Ingress: %v", err)
	}
	good.ID += "-good"
	run(t, x, good)
	list, err := ingresses.List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) > 0 {
		t.Errorf("the failed revision's Ingress is still there: %v", err)
	}
	d, err := client(t).AppsV1().Deployments(good.Namespace).Get(t.Context(), "shop-pr-42-web", metav1.GetOptions{})
	if err != nil || d.Spec.Template.Annotations["devcluster/fail"] != "" {
		t.Errorf("the failed revision's annotation is still there: %v", err)
	}
}

func TestHooksRunAgainWhenAFirstInstallIsTriedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"Chart.yaml":          "apiVersion: v2\nname: hooked\nversion: 1.0.0\n",
		"values.yaml":         "fail: true\nenv: {}\n",
		"templates/a.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\ndata: {a: b}\n",
		"templates/hook.yaml": "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations: {helm.sh/hook: pre-install, helm.sh/hook-output-log-policy: hook-succeeded}\nspec:\n  backoffLimit: 0\n  template:\n    metadata:\n      annotations: {{ if .Values.fail }}{devcluster/fail: Error}{{ else }}{}{{ end }}\n    spec:\n      restartPolicy: Never\n      containers: [{name: migrate, image: busybox}]\n",
	})
	x := New(Options{})
	step := preview(t, with("chart", dir))
	_, err := fails(t, x, step)
	fault(t, err, sdk.FaultDownstream, "Job migrate did not succeed", "Last log lines")
	step.ID += "-2"
	step.With["values"] = map[string]any{"fail": false}
	out := run(t, x, step)
	if !strings.Contains(out.Text(), "creating Job migrate") {
		t.Errorf("the hook did not run:\n%s", out.Text())
	}
	run(t, x, verb(step, sdk.Cleanup))
	if jobs, err := client(t).BatchV1().Jobs(step.Namespace).List(t.Context(), metav1.ListOptions{}); err != nil || len(jobs.Items) > 0 {
		t.Errorf("the hook's Job is left: %v", err)
	}
}

func TestCleanupTakesTheClaimsOfStatefulSets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"Chart.yaml":       "apiVersion: v2\nname: db\nversion: 1.0.0\n",
		"values.yaml":      "env: {}\n",
		"templates/a.yaml": "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  serviceName: db\n  replicas: 2\n  podManagementPolicy: Parallel\n  selector: {matchLabels: {app: db}}\n  template:\n    metadata: {labels: {app: db}}\n    spec: {terminationGracePeriodSeconds: 0, containers: [{name: db, image: postgres, volumeMounts: [{name: data, mountPath: /data}]}]}\n  volumeClaimTemplates:\n    - metadata: {name: data}\n      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n",
	})
	x := New(Options{})
	step := preview(t, with("chart", dir))
	makeNamespace(t, step.Namespace, nil)
	claims := client(t).CoreV1().PersistentVolumeClaims(step.Namespace)
	other := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data-db-x"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
	}}
	other.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: quantity("1Gi")}
	if _, err := claims.Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	out := run(t, x, step)
	if !strings.Contains(out.Text(), "of 2 pods ready") {
		t.Errorf("did not wait for the StatefulSet:\n%s", out.Text())
	}
	if list, err := claims.List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 3 {
		t.Fatalf("claims: %v %v", list, err)
	}
	run(t, x, verb(step, sdk.Cleanup))
	list, err := claims.List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 || list.Items[0].Name != "data-db-x" {
		t.Errorf("claims that are left: %v %v", list.Items, err)
	}
}

func TestCleanupOfAKindThatIsGone(t *testing.T) {
	t.Parallel()
	group := namespace(t) + ".example.org"
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"Chart.yaml":       "apiVersion: v2\nname: gizmo\nversion: 1.0.0\n",
		"values.yaml":      "env: {}\n",
		"crds/gizmo.yaml":  "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gizmos." + group + "}\nspec:\n  group: " + group + "\n  scope: Namespaced\n  names: {kind: Gizmo, plural: gizmos}\n  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]\n",
		"templates/a.yaml": "apiVersion: " + group + "/v1\nkind: Gizmo\nmetadata: {name: g}\nspec: {size: 3}\n",
		"templates/b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\n",
	})
	x := New(Options{})
	step := preview(t, with("chart", dir))
	run(t, x, step)
	if o := observe(t, x, step); o.Health != sdk.Healthy || len(o.Drift) > 0 {
		t.Errorf("with its kind: %+v", o)
	}
	config, err := clientcmd.BuildConfigFromFlags("", step.Cluster.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	crds := dyn.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if err := crds.Delete(t.Context(), "gizmos."+group, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the definition is gone", func() bool {
		_, err := crds.Get(t.Context(), "gizmos."+group, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	fresh := New(Options{})
	eventually(t, "the API server forgets the kind", func() bool {
		_, err := fresh.Plan(t.Context(), verb(step, sdk.Cleanup))
		return err == nil && strings.Contains(observe(t, New(Options{}), step).Text, "Gizmo g: is missing: the cluster does not know its kind any more")
	})
	run(t, New(Options{}), verb(step, sdk.Cleanup))
	if _, err := client(t).CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the namespace is still there: %v", err)
	}
}

// TestKilledInMidDeploy kills the process that deploys, as hard as can be, and
// lets another do the same step.
func TestKilledInMidDeploy(t *testing.T) {
	t.Parallel()
	step := preview(t, podAnnotation("devcluster/ready-after", "3s"))
	cmd, lines := helperProcess(t, step)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "0 of 1 pod ready") {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	s, err := client(t).CoreV1().Secrets(step.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "owner=helm"})
	if err != nil || len(s.Items) != 1 || s.Items[0].Labels["status"] != "pending-install" {
		t.Fatalf("the kill came at a wrong moment: %v %v", s.Items, err)
	}
	out := run(t, New(Options{}), step)
	if !strings.Contains(out.Text(), "going on from there") {
		t.Errorf("did not say what happened:\n%s", out.Text())
	}
}

// marshal is a step for another process.
func marshal(t *testing.T, step sdk.Step) *bytes.Reader {
	t.Helper()
	data, err := json.Marshal(step)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(data)
}
