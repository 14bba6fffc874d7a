package kubernetes

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	clientkube "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-dev/berth/plugins/clustertest"
	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

func TestMain(m *testing.M) { os.Exit(clustertest.Main(m)) }

// admin is an administrator's way into the test cluster, without limits.
func admin(t testing.TB) *rest.Config {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a control plane")
	}
	c, err := clientcmd.BuildConfigFromFlags("", clustertest.Kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	c.QPS = -1
	return c
}

func client(t testing.TB) clientkube.Interface {
	t.Helper()
	cs, err := clientkube.NewForConfig(admin(t))
	if err != nil {
		t.Fatal(err)
	}
	return cs
}

func anyClient(t testing.TB) dynamic.Interface {
	t.Helper()
	d, err := dynamic.NewForConfig(admin(t))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var namespaceNames struct {
	sync.Mutex
	n int
}

// namespace is a name for a test's own namespace, which is deleted with it.
func namespace(t testing.TB) string {
	t.Helper()
	namespaceNames.Lock()
	namespaceNames.n++
	name := fmt.Sprintf("k%d-%d", os.Getpid(), namespaceNames.n)
	namespaceNames.Unlock()
	cs := client(t)
	t.Cleanup(func() { _ = cs.CoreV1().Namespaces().Delete(context.Background(), name, metav1.DeleteOptions{}) })
	return name
}

func makeNamespace(t testing.TB, name string, labels map[string]string) {
	t.Helper()
	_, err := client(t).CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// stepOf is a step of the test's own environment that deploys with.
func stepOf(t testing.TB, with map[string]any, change ...func(*sdk.Step)) sdk.Step {
	t.Helper()
	_ = admin(t)
	step := sdk.Step{
		ID: "01-" + t.Name(), App: "shop", Env: "pr-42", Part: "web", Verb: sdk.Deploy, With: with,
		Vars: map[string]string{"LOG_LEVEL": "debug"}, Commit: strings.Repeat("a1", 20), Installation: "test",
		Cluster: sdk.Cluster{Kubeconfig: clustertest.Kubeconfig(t)}, Namespace: namespace(t),
	}
	for _, c := range change {
		c(&step)
	}
	return step
}

// run runs a step that is to succeed.
func run(t testing.TB, x *Executor, step sdk.Step, verb ...sdk.Verb) *sdktest.Recorder {
	t.Helper()
	if len(verb) > 0 {
		step.Verb = verb[0]
	}
	out := sdktest.NewRecorder()
	if err := x.Run(t.Context(), step, out); err != nil {
		t.Fatalf("%s failed: %v\n%s", step.Verb, err, out.Text())
	}
	return out
}

// fails runs a step that is to fail with that fault and those words.
func fails(t testing.TB, x *Executor, step sdk.Step, fault sdk.Fault, words ...string) {
	t.Helper()
	out := sdktest.NewRecorder()
	err := x.Run(t.Context(), step, out)
	failedWith(t, err, fault, words...)
}

func failedWith(t testing.TB, err error, fault sdk.Fault, words ...string) {
	t.Helper()
	e, ok := err.(*sdk.Error) //nolint:errorlint // what executors return is not wrapped
	if !ok || e.Fault != fault {
		t.Fatalf("it failed with %v; want a fault %q", err, fault)
	}
	for _, w := range words {
		if !strings.Contains(e.Msg, w) {
			t.Errorf("the message does not say %q: %s", w, e.Msg)
		}
	}
}

func absent(t testing.TB, what string, err error) {
	t.Helper()
	if !apierrors.IsNotFound(err) {
		t.Errorf("%s is still there: %v", what, err)
	}
}

// eventually waits for what the cluster does by itself.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

// web is a Deployment with one pod, a Service and a ConfigMap.
const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: web, image: "ghcr.io/acme/shop:1", envFrom: [{configMapRef: {name: settings}}], resources: {requests: {cpu: 100m, memory: 64Mi}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {team: shop}}
data: {color: blue}
`

func configMap(name string, labels map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Data: map[string]string{"mine": "yes"}}
}
