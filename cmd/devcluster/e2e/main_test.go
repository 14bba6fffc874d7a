// Package e2e runs the devcluster binary as its users do.
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// startTimeout is generous: the machine may be compiling at the same time.
const startTimeout = 3 * time.Minute

var (
	binary string    // the devcluster binary
	shared *instance // a cluster for all tests that only use one
)

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	if err := statSources(); err != nil {
		return 1, err
	}
	build := exec.Command("go", "run", "./build")
	build.Dir, build.Stderr = "..", os.Stderr
	out, err := build.Output()
	if err != nil {
		return 1, fmt.Errorf("building: %w", err)
	}
	binary = strings.TrimSpace(string(out))

	dir, err := os.MkdirTemp("", "devcluster-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if shared, err = start("--data-dir", dir, "--ingress-address", "127.0.0.1"); err != nil {
		return 1, err
	}
	defer shared.signal(syscall.SIGTERM)
	return m.Run(), nil
}

// statSources looks at the binary's sources, so that go test does not take a
// result out of its cache when they have changed: it knows only of files that
// the test process itself has looked at.
func statSources() error {
	return filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			_, err = os.Stat(path)
		}
		return err
	})
}

// instance is a running `devcluster up`.
type instance struct {
	cmd        *exec.Cmd
	stderr     *buffer
	kubeconfig string
	config     *rest.Config
	client     kubernetes.Interface
	exited     chan struct{}
}

// start runs `devcluster up` and returns once it is ready.
func start(args ...string) (*instance, error) {
	i := &instance{stderr: &buffer{}, exited: make(chan struct{})}
	stdout := &buffer{line: make(chan string, 16)}
	i.cmd = exec.Command(binary, append([]string{"up"}, args...)...)
	i.cmd.Stdout, i.cmd.Stderr = stdout, i.stderr
	if err := i.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = i.cmd.Wait(); close(i.exited) }()
	select {
	case line := <-stdout.line:
		path, ok := strings.CutPrefix(line, "KUBECONFIG=")
		if !ok {
			i.signal(syscall.SIGTERM)
			return nil, fmt.Errorf("the first line on stdout is %q", line)
		}
		i.kubeconfig = path
	case <-i.exited:
		return nil, fmt.Errorf("it ended with code %d: %s", i.cmd.ProcessState.ExitCode(), i.stderr)
	case <-time.After(startTimeout):
		i.signal(syscall.SIGKILL)
		return nil, fmt.Errorf("it was not ready after %s: %s", startTimeout, i.stderr)
	}
	var err error
	if i.config, i.client, err = connect(i.kubeconfig); err != nil {
		i.signal(syscall.SIGTERM)
		return nil, err
	}
	return i, nil
}

func connect(kubeconfig string) (*rest.Config, kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	config.QPS = -1 // no limit
	client, err := kubernetes.NewForConfig(config)
	return config, client, err
}

// mustStart is start for a cluster of the test's own.
func mustStart(t *testing.T, args ...string) *instance {
	t.Helper()
	i, err := start(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.signal(syscall.SIGKILL) })
	return i
}

// signal sends sig, waits for the process to end and returns its exit code.
func (i *instance) signal(sig syscall.Signal) int {
	_ = i.cmd.Process.Signal(sig)
	<-i.exited
	return i.cmd.ProcessState.ExitCode()
}

// pids are the process and its children.
func (i *instance) pids(t *testing.T) []int {
	t.Helper()
	pids := []int{i.cmd.Process.Pid}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tasks {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range strings.Fields(string(data)) {
			var pid int
			if _, err := fmt.Sscan(s, &pid); err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	if len(pids) != 6 {
		t.Fatalf("the cluster has %d processes, want 6: %v", len(pids), pids)
	}
	return pids
}

// gone waits until none of the processes exists.
func gone(t *testing.T, pids []int) {
	t.Helper()
	eventually(t, "all processes end", func(context.Context) error {
		for _, pid := range pids {
			if syscall.Kill(pid, 0) == nil {
				return fmt.Errorf("process %d still runs", pid)
			}
		}
		return nil
	})
}

// eventually fails the test if f does not succeed within two minutes.
func eventually(t *testing.T, what string, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// buffer collects output, and sends each whole line to line if there is one.
type buffer struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	sent int
	line chan string
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Write(p)
	for b.line != nil {
		text, _, whole := bytes.Cut(b.buf.Bytes()[b.sent:], []byte("\n"))
		if !whole {
			break
		}
		b.sent += len(text) + 1
		b.line <- string(text)
	}
	return len(p), nil
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
