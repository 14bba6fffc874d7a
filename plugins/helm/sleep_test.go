package helm

import (
	"bufio"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// sleepyChart has every kind that sleeps, and one that does not. The Deployment
// "scaled" leaves its replicas to an autoscaler, as charts do.
var sleepyChart = map[string]string{
	"Chart.yaml":  "apiVersion: v2\nname: sleepy\nversion: 1.0.0\n",
	"values.yaml": "env: {}\nimage: a:1\nwebs: 2\n",
	"templates/all.yaml": `
{{- define "pod" }}
  selector: {matchLabels: {app: {{ . }}}}
  template:
    metadata: {labels: {app: {{ . }}}}
    spec: {containers: [{name: c, image: "registry.example.org/a:1", resources: {requests: {cpu: 100m}}}]}
{{- end }}
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {image: "{{ .Values.image | replace ":" "-" }}"}}
spec:
  replicas: {{ .Values.webs }}
  {{- include "pod" "web" }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: scaled}
spec:
  {{- include "pod" "scaled" }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: scaled}
spec:
  minReplicas: 2
  maxReplicas: 5
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: scaled}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  podManagementPolicy: Parallel
  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete, whenDeleted: Retain}
  {{- include "pod" "db" }}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  {{- include "pod" "agent" }}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 2 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "registry.example.org/a:1"}]}}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: never}
spec:
  suspend: true
  schedule: "0 3 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "registry.example.org/a:1"}]}}}}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: queue}
spec: {scaleTargetRef: {name: web}}
`,
}

var scaledObjects = schema.GroupVersionResource{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledobjects"}

func dynamicClient(t *testing.T) dynamic.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return dynamic.NewForConfigOrDie(config)
}

// parse reads one object.
func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	objects, err := parseManifest(text)
	if err != nil || len(objects) != 1 {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	return objects[0]
}

// sleepy deploys the chart into a cluster that knows KEDA's kinds, and scales
// what an autoscaler would.
func sleepy(t *testing.T, x *Executor) sdk.Step {
	t.Helper()
	crd := parse(t, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: scaledobjects.keda.sh}
spec:
  group: keda.sh
  scope: Namespaced
  names: {kind: ScaledObject, listKind: ScaledObjectList, plural: scaledobjects, singular: scaledobject}
  versions: [{name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`)
	definitions := dynamicClient(t).Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if _, err := definitions.Create(t.Context(), crd, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	eventually(t, "KEDA's kind is served", func() bool {
		u, err := definitions.Get(t.Context(), crd.GetName(), metav1.GetOptions{})
		if err != nil {
			return false
		}
		c, ok := kube.ConditionOf(u, "Established")
		return ok && c.Status == "True"
	})
	dir := t.TempDir()
	write(t, dir, sleepyChart)
	step := preview(t, with("chart", dir))
	run(t, x, step)
	cs := client(t)
	patch := []byte(`{"spec":{"replicas":3}}`)
	if _, err := cs.AppsV1().Deployments(step.Namespace).Patch(t.Context(), "scaled", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	return step
}

// replicasOf are the replicas that the workloads of a sleepy release are to have.
func replicasOf(t *testing.T, namespace string) map[string]int {
	t.Helper()
	cs := client(t)
	out := map[string]int{}
	deployments, err := cs.AppsV1().Deployments(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range deployments.Items {
		out[d.Name] = int(*d.Spec.Replicas)
	}
	sets, err := cs.AppsV1().StatefulSets(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sets.Items {
		out[s.Name] = int(*s.Spec.Replicas)
	}
	return out
}

func same(got, want map[string]int) bool {
	for k, v := range want {
		if got[k] != v {
			return false
		}
	}
	return len(got) == len(want)
}

// marksLeft names the objects of the release that have a mark of sleep.
func marksLeft(t *testing.T, x *Executor, step sdk.Step) []string {
	t.Helper()
	s, err := readSettings(step)
	if err != nil {
		t.Fatal(err)
	}
	_, _, f, err := x.workloads(t.Context(), step, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, o := range f.Objects {
		if o.Live != nil && kube.Sleeps(o.Live) {
			out = append(out, kube.Title(o.Want))
		}
	}
	return out
}

func suspended(t *testing.T, namespace, name string) bool {
	t.Helper()
	job, err := client(t).BatchV1().CronJobs(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return *job.Spec.Suspend
}

func claimsOf(t *testing.T, namespace string) map[string]types.UID {
	t.Helper()
	list, err := client(t).CoreV1().PersistentVolumeClaims(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]types.UID{}
	for _, c := range list.Items {
		if c.DeletionTimestamp == nil {
			out[c.Name] = c.UID
		}
	}
	return out
}

func pausedReplicas(t *testing.T, namespace string) (string, bool) {
	t.Helper()
	u, err := dynamicClient(t).Resource(scaledObjects).Namespace(namespace).Get(t.Context(), "queue", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v, ok := u.GetAnnotations()["autoscaling.keda.sh/paused-replicas"]
	return v, ok
}

func TestSleepAndWake(t *testing.T) {
	t.Parallel()
	x, cs := New(Options{}), client(t)
	step := sleepy(t, x)
	awake := map[string]int{"web": 2, "scaled": 3, "db": 2}
	claims := claimsOf(t, step.Namespace)
	if len(claims) != 2 {
		t.Fatalf("claims %v", claims)
	}

	plan, err := x.Plan(t.Context(), verb(step, sdk.Sleep))
	if err != nil || plan.Destructive || len(plan.Resources) != 5 || plan.Cost != "gives back 700m CPU (7 pods)" {
		t.Errorf("plan %+v, %v", plan, err)
	}
	for _, s := range []string{"5 objects, 7 pods", "DaemonSet agent runs on"} {
		if !strings.Contains(plan.Summary, s) {
			t.Errorf("the summary lacks %q: %s", s, plan.Summary)
		}
	}
	if want := "/Deployment/scaled\n+metadata.annotations.berth.dev/replicas: 3\n-spec.replicas: 3\n+spec.replicas: 0\n"; !strings.Contains(plan.Diff, want) {
		t.Errorf("the diff lacks %q:\n%s", want, plan.Diff)
	}
	out := run(t, x, verb(step, sdk.Sleep))
	if !strings.Contains(out.Text(), "DaemonSet agent runs on") || !strings.Contains(out.Text(), "scaled Deployment scaled from 3 to 0") {
		t.Errorf("it did not say what it did:\n%s", out.Text())
	}
	if got := replicasOf(t, step.Namespace); !same(got, map[string]int{"web": 0, "scaled": 0, "db": 0}) {
		t.Errorf("asleep: %v", got)
	}
	if v, _ := pausedReplicas(t, step.Namespace); v != "0" || !suspended(t, step.Namespace, "nightly") {
		t.Errorf("what scales and what comes by the clock go on: %q", v)
	}
	pods, err := cs.CoreV1().Pods(step.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app in (web,scaled,db)"})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		if p.DeletionTimestamp == nil {
			t.Errorf("pod %s is still there", p.Name)
		}
	}
	o := observe(t, x, step)
	if o.Health != sdk.Healthy || o.Text != "asleep: 0 of 7 replicas" || len(o.Drift) > 0 {
		t.Errorf("asleep, it is seen as %+v", o)
	}
	// The cluster's own autoscaler leaves what has no replicas alone.
	eventually(t, "the autoscaler says that it is switched off", func() bool {
		hpa, err := cs.AutoscalingV2().HorizontalPodAutoscalers(step.Namespace).Get(t.Context(), "scaled", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range hpa.Status.Conditions {
			if c.Type == autoscalingv2.ScalingActive && c.Reason == "ScalingDisabled" {
				return true
			}
		}
		return false
	})
	run(t, x, verb(step, sdk.Sleep)) // asleep is success, and forgets nothing
	if again, err := x.Plan(t.Context(), verb(step, sdk.Sleep)); err != nil || len(again.Resources) > 0 || !strings.Contains(again.Summary, "nothing runs") {
		t.Errorf("plan %+v, %v", again, err)
	}
	if got := replicasOf(t, step.Namespace); got["scaled"] != 0 {
		t.Errorf("asleep: %v", got)
	}

	plan, err = x.Plan(t.Context(), verb(step, sdk.Wake))
	if err != nil || !strings.Contains(plan.Summary, "5 objects, 7 pods") || plan.Cost != "requests 700m CPU (7 pods)" {
		t.Errorf("plan %+v, %v", plan, err)
	}
	run(t, x, verb(step, sdk.Wake))
	if got := replicasOf(t, step.Namespace); !same(got, awake) {
		t.Errorf("awake: %v", got)
	}
	if _, paused := pausedReplicas(t, step.Namespace); paused || suspended(t, step.Namespace, "nightly") || !suspended(t, step.Namespace, "never") {
		t.Error("it is not exactly as it was")
	}
	set, err := cs.AppsV1().StatefulSets(step.Namespace).Get(t.Context(), "db", metav1.GetOptions{})
	if err != nil || set.Spec.PersistentVolumeClaimRetentionPolicy.WhenScaled != appsv1.DeletePersistentVolumeClaimRetentionPolicyType || set.Status.ReadyReplicas != 2 {
		t.Errorf("the StatefulSet is %+v, %v", set, err)
	}
	for name, uid := range claimsOf(t, step.Namespace) {
		if claims[name] != uid {
			t.Errorf("claim %s is not the one that was there", name)
		}
	}
	if o := observe(t, x, step); o.Health != sdk.Healthy || o.Text != "" || len(o.Drift) > 0 {
		t.Errorf("awake, it is seen as %+v", o)
	}
	if left := marksLeft(t, x, step); len(left) > 0 {
		t.Errorf("marks are left on %v", left)
	}
	run(t, x, verb(step, sdk.Wake))
	if got := replicasOf(t, step.Namespace); !same(got, awake) {
		t.Errorf("woken twice: %v", got)
	}
}

func TestADeployWakesWhatSleeps(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := sleepy(t, x)
	claims := claimsOf(t, step.Namespace)
	run(t, x, verb(step, sdk.Sleep))
	next := step
	next.ID, next.Set = step.ID+"-next", map[string]string{"image": "a:2"}
	run(t, x, next)
	if got := replicasOf(t, step.Namespace); !same(got, map[string]int{"web": 2, "scaled": 3, "db": 2}) {
		t.Errorf("awake: %v", got)
	}
	if _, paused := pausedReplicas(t, step.Namespace); paused || suspended(t, step.Namespace, "nightly") {
		t.Error("something sleeps on")
	}
	if left := marksLeft(t, x, step); len(left) > 0 {
		t.Errorf("marks are left on %v", left)
	}
	for name, uid := range claimsOf(t, step.Namespace) {
		if claims[name] != uid {
			t.Errorf("claim %s is not the one that was there", name)
		}
	}
	// What the chart says goes before what is remembered.
	run(t, x, verb(step, sdk.Sleep))
	next.ID, next.Set = step.ID+"-other", map[string]string{"webs": "1"}
	run(t, x, next)
	if got := replicasOf(t, step.Namespace); !same(got, map[string]int{"web": 1, "scaled": 3, "db": 2}) {
		t.Errorf("awake: %v", got)
	}
}

func TestSleepAndWakeGoOnAfterAKill(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := sleepy(t, x)
	for _, tt := range []struct {
		verb  sdk.Verb
		after string
		want  map[string]int
	}{
		{sdk.Sleep, "paused ScaledObject", map[string]int{"web": 0, "scaled": 0, "db": 0}},
		{sdk.Sleep, "scaled ", map[string]int{"web": 0, "scaled": 0, "db": 0}},
		{sdk.Wake, "ScaledObject queue goes on", map[string]int{"web": 2, "scaled": 3, "db": 2}},
		{sdk.Wake, "scaled ", map[string]int{"web": 2, "scaled": 3, "db": 2}},
	} {
		do := verb(step, tt.verb)
		cmd, lines := helperProcess(t, do)
		killAfter(t, cmd, lines, tt.after)
		run(t, x, do)
		if got := replicasOf(t, step.Namespace); !same(got, tt.want) {
			t.Errorf("%s, killed after %q: %v", tt.verb, tt.after, got)
		}
		if _, paused := pausedReplicas(t, step.Namespace); paused != (tt.verb == sdk.Sleep) {
			t.Errorf("%s, killed after %q: paused is %v", tt.verb, tt.after, paused)
		}
		back := verb(step, map[sdk.Verb]sdk.Verb{sdk.Sleep: sdk.Wake, sdk.Wake: sdk.Sleep}[tt.verb])
		if tt.after == "scaled " {
			continue // the next row begins from here
		}
		run(t, x, back)
	}
	if left := marksLeft(t, x, step); len(left) > 0 {
		t.Errorf("marks are left on %v", left)
	}
}

// killAfter kills the program once it has said something.
func killAfter(t *testing.T, cmd *exec.Cmd, lines *bufio.Scanner, said string) {
	t.Helper()
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), said) {
			_ = cmd.Process.Signal(syscall.SIGKILL)
			_ = cmd.Wait()
			return
		}
	}
	_ = cmd.Wait()
	t.Fatalf("it never said %q", said)
}

func TestWakeOfNothing(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := preview(t)
	run(t, x, verb(step, sdk.Sleep))
	_, err := fails(t, x, verb(step, sdk.Wake))
	fault(t, err, sdk.FaultInvalid, "deploy the environment first")
	_, err = fails(t, x, verb(step, sdk.Restart))
	fault(t, err, sdk.FaultInvalid, "deploy the environment first")
}

func TestWorkloadsOfOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	first, second := twins(t)
	makeNamespace(t, first.Namespace, nil)
	run(t, x, first)
	for _, v := range []sdk.Verb{sdk.Sleep, sdk.Wake, sdk.Restart} {
		_, err := fails(t, x, verb(second, v))
		fault(t, err, sdk.FaultInvalid, "environment a/b-c (part web)")
	}
}
