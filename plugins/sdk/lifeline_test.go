package sdk_test

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

func TestMain(m *testing.M) {
	h := sdk.Handshake()
	if os.Getenv(h.MagicCookieKey) == h.MagicCookieValue {
		sdk.Serve(runner(func(context.Context, sdk.Step, sdk.Events) error { return nil }))
		return
	}
	os.Exit(m.Run())
}

// TestProgramEndsWithItsHost takes away one sign of the host at a time, where
// neither the kernel nor a guard helps.
func TestProgramEndsWithItsHost(t *testing.T) {
	host := exec.CommandContext(t.Context(), "sleep", "3600") // stands for a host that is not the parent
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		env  []string
		sign func(stdin io.Closer, p *os.Process) error
	}{
		"standard input is closed": {
			[]string{sdk.EnvLifeline + "=stdin"},
			func(stdin io.Closer, _ *os.Process) error { return stdin.Close() },
		},
		"the host's process is gone": {
			[]string{sdk.EnvParent + "=" + strconv.Itoa(host.Process.Pid)},
			func(io.Closer, *os.Process) error {
				err := host.Process.Kill()
				_ = host.Wait()
				return err
			},
		},
		"SIGTERM arrives": {
			nil,
			func(_ io.Closer, p *os.Process) error { return p.Signal(syscall.SIGTERM) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			h := sdk.Handshake()
			temp, err := os.MkdirTemp("", "") // short enough for sockets, unlike t.TempDir()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(temp) })
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = slices.Concat(tt.env, []string{"TMPDIR=" + temp, h.MagicCookieKey + "=" + h.MagicCookieValue, "PLUGIN_PROTOCOL_VERSIONS=1"})
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || !strings.HasPrefix(line, "1|1|unix|") {
				t.Fatalf("it said %q: %v", line, err)
			}
			if err := tt.sign(stdin, cmd.Process); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			select {
			case err := <-ended:
				t.Log("it ended:", err)
			case <-time.After(2 * time.Minute):
				_ = cmd.Process.Kill()
				t.Error("it is still there")
			}
		})
	}
}
