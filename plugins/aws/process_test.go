package aws

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// TestTheProgramConforms runs the suite on the program itself, started as Berth
// starts it.
func TestTheProgramConforms(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "berth-aws")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/berth-aws").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const token, rotated = "c0nf0rmance t<o>ken", "an0ther t0k&n"
	file := filepath.Join(t.TempDir(), "token")
	write := func(value string) {
		if err := os.WriteFile(file, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(token)
	w := newWorld(t, awstest.Options{Polls: 1})
	settings := w.settings()
	settings["poll"] = "2ms"
	sdktest.Run(t, sdktest.Suite{
		Command: []string{binary},
		Env: []string{
			"AWS_ACCESS_KEY_ID=" + awstest.Key, "AWS_SECRET_ACCESS_KEY=" + awstest.Secret, "AWS_EC2_METADATA_DISABLED=true",
		},
		Secrets: []string{awstest.Secret, token, rotated},
		Rotate:  func(*testing.T) { write(rotated) },
		Step: sdk.Step{Settings: settings, With: map[string]any{
			"rds":    map[string]any{"engine": "postgres"},
			"secret": map[string]any{"secrets": map[string]any{"token": map[string]any{"file": file}}},
		}},
		Slow:     &sdk.Step{With: map[string]any{"rds": map[string]any{"engine": "postgres"}}, Settings: neverReady(t)},
		Snapshot: func(*testing.T) string { w.Settle(); return w.Dump() },
		Owned:    func(*testing.T) []string { return w.Owned() },
	})
}

// neverReady are the settings for an AWS where a database is being made for ever,
// and is gone as soon as it is deleted.
func neverReady(t *testing.T) map[string]any {
	w := newWorld(t, awstest.Options{Polls: 1 << 30})
	settings := w.settings()
	settings["poll"] = "20ms"
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-t.Context().Done():
				return
			case <-tick.C:
			}
			if slices.ContainsFunc(w.Calls(), func(c awstest.Call) bool { return c.Operation == "DeleteDBInstance" }) {
				w.Settle()
			}
		}
	}()
	return settings
}

// TestTheProgramIsSmallWhileItIdles tells what an idle executor takes, and holds
// it to a bound that a library which is linked by mistake would break.
func TestTheProgramIsSmallWhileItIdles(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "berth-aws")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/berth-aws").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Env = []string{sdk.Handshake().MagicCookieKey + "=" + sdk.Handshake().MagicCookieValue, fmt.Sprintf("PLUGIN_PROTOCOL_VERSIONS=%d", sdk.ProtocolVersion)}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line := make([]byte, 1024)
	if n, err := out.Read(line); err != nil || !bytes.Contains(line[:n], []byte("|grpc")) {
		t.Fatalf("it says %q, %v", line[:n], err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Skip("there is no /proc")
	}
	for _, row := range strings.Split(string(status), "\n") {
		fields := strings.Fields(row)
		if len(fields) < 2 || fields[0] != "VmRSS:" {
			continue
		}
		kib, err := strconv.Atoi(fields[1])
		if err != nil {
			t.Fatal(err)
		}
		const most = 80 << 10
		t.Logf("the program has %d MiB, and an idle process takes %d MiB", info.Size()>>20, kib>>10)
		if kib > most {
			t.Errorf("it takes %d KiB while it idles; want %d at most", kib, most)
		}
	}
}
