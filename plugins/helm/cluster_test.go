package helm

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-dev/berth/plugins/sdk"
)

// devcluster is one control plane for the tests of this package; each test has
// a namespace of its own. It is started by the first test that needs it.
var devcluster struct {
	once       sync.Once
	cmd        *exec.Cmd
	dir        string
	kubeconfig string
	err        error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if c := devcluster.cmd; c != nil {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	}
	if devcluster.dir != "" {
		_ = os.RemoveAll(devcluster.dir)
	}
	os.Exit(code)
}

// kubeconfig is the path of a cluster's, which BERTH_TEST_KUBECONFIG may name.
func kubeconfig(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a control plane")
	}
	devcluster.once.Do(startCluster)
	if devcluster.err != nil {
		t.Fatal(devcluster.err)
	}
	return devcluster.kubeconfig
}

func startCluster() {
	d := &devcluster
	if d.kubeconfig = os.Getenv("BERTH_TEST_KUBECONFIG"); d.kubeconfig != "" {
		return
	}
	build := exec.Command("go", "run", "-C", "../../cmd/devcluster", "./build")
	build.Stderr = os.Stderr
	binary, err := build.Output()
	if err != nil {
		d.err = fmt.Errorf("building devcluster: %w", err)
		return
	}
	if d.dir, d.err = os.MkdirTemp("", "berth-helm-test-"); d.err != nil {
		return
	}
	d.cmd = exec.Command(strings.TrimSpace(string(binary)), "up", "--quiet", "--data-dir", d.dir, "--ingress-address", "127.0.0.1")
	d.cmd.Stderr = os.Stderr
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		d.err = err
		return
	}
	if d.err = d.cmd.Start(); d.err != nil {
		return
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if path, ok := strings.CutPrefix(lines.Text(), "KUBECONFIG="); ok {
			d.kubeconfig = path
			return
		}
	}
	d.err = fmt.Errorf("devcluster ended before it was ready")
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
		With:      map[string]any{"chart": "../../charts/preview", "timeout": "60s", "pin_images": false},
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

// recorder keeps what a run tells.
type recorder struct {
	mu       sync.Mutex
	logs     []string
	progress []string
	outputs  map[string]string
	receipts []sdk.Resource
	on       func(text string) // told of each progress
}

func newRecorder() *recorder { return &recorder{outputs: map[string]string{}} }

func (r *recorder) Log(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, line)
}

func (r *recorder) Progress(text string, _, _ int) {
	r.mu.Lock()
	r.progress = append(r.progress, text)
	on := r.on
	r.mu.Unlock()
	if on != nil {
		on(text)
	}
}

func (r *recorder) Output(key, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outputs[key] = value
}

func (r *recorder) Receipt(of sdk.Resource) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.receipts = append(r.receipts, of)
}

func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(append(append([]string{}, r.logs...), r.progress...), "\n")
}

// run runs a step that is to succeed.
func run(t testing.TB, x *Executor, step sdk.Step) *recorder {
	t.Helper()
	out := newRecorder()
	if err := x.Run(t.Context(), step, out); err != nil {
		t.Fatalf("%s failed: %v\n%s", step.Verb, err, out.all())
	}
	return out
}

// eventually waits for what the cluster does by itself.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
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
