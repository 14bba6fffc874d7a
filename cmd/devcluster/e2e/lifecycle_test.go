package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestARestartKeepsTheClusterAndItsKubeconfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := mustStart(t, "--data-dir", dir)
	kept := filepath.Join(t.TempDir(), "kubeconfig")
	data, err := os.ReadFile(first.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, data, 0o600); err != nil {
		t.Fatal(err)
	}
	mark := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "mark"}}
	if _, err := first.client.CoreV1().ConfigMaps("default").Create(t.Context(), mark, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	// Killed, it leaves no process, and the next instance takes over.
	pids := first.pids(t)
	first.signal(syscall.SIGKILL)
	second := mustStart(t, "--data-dir", dir)
	gone(t, pids)
	_, client, err := connect(kept)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "mark", metav1.GetOptions{}); err != nil {
		t.Errorf("with the kubeconfig from before: %v", err)
	}

	// Asked to stop, it leaves none either, and says that it did as asked.
	pids = second.pids(t)
	if code := second.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("after SIGTERM the exit code is %d: %s", code, second.stderr)
	}
	gone(t, pids)
	if _, err := os.Stat(filepath.Join(dir, "ready")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the ready file is still there (%v)", err)
	}
}

func TestATemporaryClusterLeavesNothing(t *testing.T) {
	t.Parallel()
	i := mustStart(t, "--quiet", "--nodes", "1")
	if got := i.stderr.String(); got != "" {
		t.Errorf("--quiet printed %q", got)
	}
	pids := i.pids(t)
	i.signal(syscall.SIGKILL)
	gone(t, pids)
	if _, err := os.Stat(filepath.Dir(i.kubeconfig)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory is still there (%v)", err)
	}
}

func TestADeadComponentIsNamed(t *testing.T) {
	t.Parallel()
	i := mustStart(t, "--nodes", "1")
	for _, pid := range i.pids(t)[1:] {
		args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(args), "\x00kube-scheduler\x00") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	<-i.exited
	if code := i.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("the exit code is %d", code)
	}
	if got := i.stderr.String(); !strings.Contains(got, "kube-scheduler ended (signal: killed)") || !strings.Contains(got, "Starting Kubernetes Scheduler") {
		t.Errorf("neither the component nor its log is in: %s", got)
	}
}

func TestASecondInstanceIsRefused(t *testing.T) {
	t.Parallel()
	dir := filepath.Dir(shared.kubeconfig)
	out, err := exec.Command(binary, "up", "--data-dir", dir).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("it ended with %v: %s", err, out)
	}
	want := fmt.Sprintf("in use by another devcluster (process %d", shared.cmd.Process.Pid)
	if !strings.Contains(string(out), want) {
		t.Errorf("%q is not in: %s", want, out)
	}
}

func TestWrongUsageIsExitCode2(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"no command":                      {},
		"an unknown command":              {"down"},
		"an unknown flag":                 {"up", "--bind", "0.0.0.0"},
		"an argument":                     {"up", "here"},
		"no nodes":                        {"up", "--nodes", "0"},
		"an ingress address that is none": {"up", "--ingress-address", "example.org"},
		"a component without its parent":  {"etcd", "--data-dir", t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 2 || len(out) == 0 {
				t.Errorf("it ended with %v: %s", err, out)
			}
		})
	}
}

func TestItListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	eventually(t, "the listening sockets are two, on loopback", func(context.Context) error {
		var found []string
		for _, pid := range shared.pids(t) {
			sockets, err := socketsOf(pid)
			if err != nil {
				return err
			}
			for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
				addrs, err := bound(fmt.Sprintf("/proc/%d/net/%s", pid, table), sockets)
				if err != nil {
					return err
				}
				for _, a := range addrs {
					if !a.IP.IsLoopback() {
						t.Errorf("process %d has %s %s", pid, table, a)
					}
					found = append(found, a.String())
				}
			}
		}
		if len(found) != 2 { // else the test looks at the wrong place
			return fmt.Errorf("found %v", found)
		}
		return nil
	})
}

// socketsOf returns the inodes of a process's sockets.
func socketsOf(pid int) (map[string]bool, error) {
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return nil, err
	}
	sockets := map[string]bool{}
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err != nil {
			continue // closed meanwhile
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			sockets[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return sockets, nil
}

// bound returns the local addresses of those of the sockets that the table has
// as listening (TCP) or unconnected (UDP).
func bound(table string, sockets map[string]bool) ([]*net.TCPAddr, error) {
	const (
		listening   = "0A" // TCP_LISTEN
		unconnected = "07" // TCP_CLOSE, which is what an unconnected UDP socket shows
	)
	f, err := os.Open(table)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	state := listening
	if strings.Contains(filepath.Base(table), "udp") {
		state = unconnected
	}
	var addrs []*net.TCPAddr
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != state || !sockets[fields[9]] {
			continue
		}
		var ip []byte
		var port int
		if _, err := fmt.Sscanf(strings.Replace(fields[1], ":", " ", 1), "%x %x", &ip, &port); err != nil {
			return nil, err
		}
		for i := 0; i+4 <= len(ip); i += 4 { // words in the host's order: little-endian here
			ip[i], ip[i+1], ip[i+2], ip[i+3] = ip[i+3], ip[i+2], ip[i+1], ip[i]
		}
		addrs = append(addrs, &net.TCPAddr{IP: ip, Port: port})
	}
	return addrs, nil
}
