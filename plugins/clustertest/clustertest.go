// Package clustertest gives tests a real Kubernetes control plane on loopback.
// One serves all tests of a package; each test takes a namespace of its own.
//
//	func TestMain(m *testing.M) { os.Exit(clustertest.Main(m)) }
//
//	func TestX(t *testing.T) {
//		kubeconfig := clustertest.Kubeconfig(t) // started by the first test that asks
//	}
package clustertest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long the control plane may take on a busy machine. It takes
// three to five seconds on an idle one.
const patience = 2 * time.Minute

// Cluster is a running control plane.
type Cluster struct {
	Kubeconfig string // path of an administrator's kubeconfig
	cmd        *exec.Cmd
	ended      chan struct{}
}

var shared = sync.OnceValues(func() (*Cluster, error) {
	wanted = true
	return Start(flags...)
})

// wanted is whether any test asked for the shared cluster.
var wanted bool

// flags are what the shared cluster is started with.
var flags []string

// Main runs the tests and then stops the shared cluster, which is started with
// those flags of devcluster's `up`.
func Main(m *testing.M, up ...string) int {
	flags = up
	code := m.Run()
	if wanted {
		if c, err := shared(); err == nil {
			c.Stop()
		}
	}
	return code
}

// Kubeconfig is the path of an administrator's kubeconfig of the shared
// cluster, which it starts if need be.
func Kubeconfig(tb testing.TB) string {
	tb.Helper()
	c, err := shared()
	if err != nil {
		tb.Fatal(err)
	}
	return c.Kubeconfig
}

// Start starts a control plane of the caller's own with those flags of devcluster's
// `up`, to be stopped by Stop. It ends with this process in any case.
func Start(up ...string) (*Cluster, error) {
	program, err := findProgram()
	if err != nil {
		return nil, err
	}
	c := &Cluster{ended: make(chan struct{})}
	var log bytes.Buffer
	c.cmd = exec.Command(program, append([]string{"up"}, up...)...)
	c.cmd.Stderr = &log
	c.cmd.SysProcAttr = attributes()
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("clustertest: %w", err)
	}
	started := make(chan error)
	go func() {
		// The kernel ends the child with the thread that started it: this one
		// is kept until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			<-c.ended
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("clustertest: %w", err)
	}
	ready := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if path, ok := strings.CutPrefix(lines.Text(), "KUBECONFIG="); ok {
				ready <- path
			}
		}
		_ = c.cmd.Wait() // how it ended is in its log
		close(c.ended)
	}()
	select {
	case c.Kubeconfig = <-ready:
		return c, nil
	case <-c.ended:
		return nil, fmt.Errorf("clustertest: the control plane ended:\n%s", log.String())
	case <-time.After(patience):
		c.Stop()
		return nil, fmt.Errorf("clustertest: the control plane is not ready after %v:\n%s", patience, log.String())
	}
}

// Stop ends the control plane and waits until it is gone.
func (c *Cluster) Stop() {
	if c.cmd.Process.Signal(syscall.SIGTERM) == nil {
		<-c.ended
	}
}

// findProgram is the program that `make` names in DEVCLUSTER, else the cached
// one, which is built if need be.
func findProgram() (string, error) {
	if path := os.Getenv("DEVCLUSTER"); path != "" {
		return path, nil
	}
	root, err := repository()
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "run", "-C", filepath.Join(root, "cmd", "devcluster"), "./build")
	build.Stderr = os.Stderr
	out, err := build.Output()
	if err != nil {
		return "", fmt.Errorf("clustertest: go run -C cmd/devcluster ./build: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// repository is the folder of Berth's go.mod, from the working directory up.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("clustertest: %w", err)
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(data, []byte("module github.com/berth-dev/berth\n")) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("clustertest: the tests do not run in Berth's repository; set DEVCLUSTER to the path of devcluster")
		}
		dir = parent
	}
}
