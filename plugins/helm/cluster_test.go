package helm

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-dev/berth/plugins/clustertest"
	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

func TestMain(m *testing.M) { os.Exit(clustertest.Main(m, "--ingress-address", "127.0.0.1")) }

// kubeconfig is the path of the tests' cluster's; each test has a namespace of its
// own in it.
func kubeconfig(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a control plane")
	}
	return clustertest.Kubeconfig(t)
}

// client is a client of the test cluster.
func client(t testing.TB) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	cs, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return cs
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
	name := fmt.Sprintf("t%d-%d", os.Getpid(), namespaceNames.n)
	namespaceNames.Unlock()
	cs := client(t)
	t.Cleanup(func() {
		_ = cs.CoreV1().Namespaces().Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	return name
}

func makeNamespace(t testing.TB, name string, labels map[string]string) {
	t.Helper()
	_, err := client(t).CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// preview is a step that deploys charts/preview; change may alter it. Its
// images are left alone: no test asks a registry outside of this machine.
func preview(t testing.TB, change ...func(*sdk.Step)) sdk.Step {
	t.Helper()
	step := sdk.Step{
		ID: "01-" + t.Name(), App: "shop", Env: "pr-42", Part: "web", Verb: sdk.Deploy,
		With:      map[string]any{"chart": "../../charts/preview", "timeout": "5m", "pin_images": false},
		Vars:      map[string]string{"LOG_LEVEL": "debug"},
		Commit:    strings.Repeat("a1", 20),
		Cluster:   sdk.Cluster{Kubeconfig: kubeconfig(t)},
		Namespace: namespace(t),
	}
	for _, c := range change {
		c(&step)
	}
	return step
}

// with sets a setting of a step.
func with(key string, value any) func(*sdk.Step) {
	return func(s *sdk.Step) { s.With[key] = value }
}

// run runs a step that is to succeed.
func run(t testing.TB, x *Executor, step sdk.Step) *sdktest.Recorder {
	t.Helper()
	out := sdktest.NewRecorder()
	if err := x.Run(t.Context(), step, out); err != nil {
		t.Fatalf("%s failed: %v\n%s", step.Verb, err, out.Text())
	}
	return out
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
