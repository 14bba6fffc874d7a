package cluster

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestALockIsHeldOnceAndFreedWithItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var inUse *InUseError
	if _, err := acquire(t.Context(), path); !errors.As(err, &inUse) || inUse.PID != os.Getpid() {
		t.Fatalf("a second one gave %v", err)
	}
	first.Close()
	second, err := acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}

// The holder that the file names is gone, but a component of it still ends.
func TestALockOfADeadHolderIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 1 << 30 // beyond the largest process id that Linux can be set to
	if err := os.WriteFile(path, []byte(strconv.Itoa(nobody)), 0o600); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { first.Close() })
	second, err := acquire(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}

func TestPortsAreKeptWhileTheyAreFree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ports.json")
	first, err := choosePorts(path)
	if err != nil {
		t.Fatal(err)
	}
	first.close()
	second, err := choosePorts(path)
	if err != nil {
		t.Fatal(err)
	}
	second.close()
	if first.APIServer != second.APIServer || first.Kubelet != second.Kubelet {
		t.Errorf("they were %d and %d, and are %d and %d", first.APIServer, first.Kubelet, second.APIServer, second.Kubelet)
	}

	taken, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(first.APIServer)))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	third, err := choosePorts(path)
	if err != nil {
		t.Fatal(err)
	}
	third.close()
	if third.APIServer == first.APIServer || third.Kubelet != first.Kubelet {
		t.Errorf("with %d taken they are %d and %d", first.APIServer, third.APIServer, third.Kubelet)
	}
}

func TestPortsOfABrokenFileAreAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ports.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := choosePorts(path); err == nil {
		t.Error("there is none")
	}
}

func TestHelpIsNoError(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if opts, code := parse([]string{"-h"}, &stdout, &stderr); opts != nil || code != 0 || stderr.Len() == 0 {
		t.Errorf("-h gave %v, %d and %q", opts, code, stderr.String())
	}
}
