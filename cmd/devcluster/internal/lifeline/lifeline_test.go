package lifeline

import (
	"bufio"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// childVar makes this test binary a child, which does what the value says.
const childVar = "LIFELINE_TEST_CHILD"

func TestMain(m *testing.M) {
	mode := os.Getenv(childVar)
	if mode == "" {
		os.Exit(m.Run())
	}
	if mode == "stubborn" {
		signal.Ignore(syscall.SIGTERM)
	}
	if !Attach() {
		os.Exit(2)
	}
	os.Stdout.WriteString("attached\n")
	select {}
}

// The parent lives on here, so no parent-death signal comes: the pipe alone ends
// the child, as it must where there are no such signals.
func TestAChildEndsWithItsLine(t *testing.T) {
	for name, mode := range map[string]string{
		"one that ends on SIGTERM":  "plain",
		"one that does not is made": "stubborn",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			line, err := New()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = []string{childVar + "=" + mode}
			line.Tie(cmd, syscall.SIGKILL)
			cmd.SysProcAttr = nil // see above; the test's thread may end, too
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			if s, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				t.Fatalf("it said %q, %v", s, err)
			}
			line.Close()
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			select {
			case <-ended:
			case <-time.After(grace + 2*time.Minute):
				t.Fatal("it still runs")
			}
		})
	}
}

func TestAProcessWithoutALineIsToldSo(t *testing.T) {
	for name, value := range map[string]string{"no number": "x", "standard error": "2", "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(envVar, value)
			if Attach() {
				t.Error("it attached")
			}
		})
	}
}
