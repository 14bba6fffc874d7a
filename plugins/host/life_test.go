package host_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/plugins/host"
)

func TestCallCutOffByTheProgramsDeathMayBeRetried(t *testing.T) {
	h, x := start(t, options(&buffer{}, host.Plugin{}))
	_, err := x.Run(t.Context(), step("crash"), nil)
	if actions.CodeOf(err) != actions.CodeUnavailable || !actions.Retryable(err) || !strings.Contains(actions.Message(err), "executor test") {
		t.Fatalf("error %v", err)
	}
	waitFor(t, "the restart", func() bool { s := h.Checks(t.Context())[0]; return s.Up && s.Restarts == 1 })
	if _, err := x.Run(t.Context(), step("x"), nil); err != nil {
		t.Fatalf("after the restart: %v", err)
	}
}

func TestCallsWaitForARestart(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	o := options(&buffer{}, host.Plugin{Args: []string{"crash-at-start-once"}})
	_, x := start(t, o)
	if _, err := x.Run(t.Context(), step("x"), nil); err != nil {
		t.Fatal(err)
	}
}

func TestPlanIsAskedForAgainWhenTheProgramDiesUnderIt(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	h, x := start(t, options(&buffer{}, host.Plugin{}))
	plan, err := x.Plan(t.Context(), step("crash-once"))
	if err != nil || plan.Summary != "would crash-once" {
		t.Errorf("plan %+v, error %v", plan, err)
	}
	if s := h.Checks(t.Context())[0]; s.Restarts != 1 {
		t.Errorf("status %+v", s)
	}
}

func TestHungProgramIsRestarted(t *testing.T) {
	o := options(&buffer{}, host.Plugin{})
	o.HealthWait = time.Second
	h, x := start(t, o)
	_, err := x.Run(t.Context(), step("freeze"), nil)
	if actions.CodeOf(err) != actions.CodeUnavailable || !actions.Retryable(err) {
		t.Fatalf("error %v", err)
	}
	waitFor(t, "the restart", func() bool { return h.Checks(t.Context())[0].Restarts >= 1 }) // a busy machine may hold another one up
}

func TestCancelledRunIsHeardToItsEnd(t *testing.T) {
	h, x := start(t, options(&buffer{}, host.Plugin{}))
	for _, do := range []string{"wait", "wind-up"} {
		t.Run(do, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			s := step(do)
			s.ID, s.Part = do, do
			var said []string
			_, err := x.Run(ctx, s, func(e actions.Event) {
				said = append(said, e.Text)
				cancel()
			})
			if actions.CodeOf(err) != actions.CodeCancelled {
				t.Errorf("error %v", err)
			}
			if do == "wind-up" && !slices.Contains(said, "wound up") {
				t.Errorf("what it said at the end is lost: %q", said)
			}
		})
	}
	if s := h.Checks(t.Context())[0]; s.Restarts != 0 {
		t.Errorf("a program that listens was killed: %+v", s)
	}
}

func TestCancelledRunThatDoesNotListenIsKilled(t *testing.T) {
	o := options(&buffer{}, host.Plugin{})
	o.CancelGrace = 300 * time.Millisecond
	h, x := start(t, o)
	out, err := x.Run(t.Context(), step("child"), nil)
	if err != nil {
		t.Fatal(err)
	}
	// Another step of the same program, which has done nothing wrong.
	running, innocent := make(chan struct{}), make(chan error, 1)
	go func() {
		s := step("wait")
		s.ID, s.Part = "s2", "other"
		_, err := x.Run(context.WithoutCancel(t.Context()), s, func(actions.Event) { close(running) })
		innocent <- err
	}()
	<-running
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	_, err = x.Run(ctx, step("ignore-cancel"), func(actions.Event) { cancel() })
	if actions.CodeOf(err) != actions.CodeCancelled || time.Since(began) < o.CancelGrace {
		t.Errorf("after %s: error %v", time.Since(began), err)
	}
	for _, name := range []string{"pid", "child"} {
		if pid := atoi(t, out[name]); alive(pid) {
			t.Errorf("%s %d still works", name, pid)
		}
	}
	if err := <-innocent; actions.CodeOf(err) != actions.CodeUnavailable || !actions.Retryable(err) {
		t.Errorf("the other step: %v", err)
	}
	if _, err := x.Run(t.Context(), step("x"), nil); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	if s := h.Checks(t.Context())[0]; s.Restarts != 1 {
		t.Errorf("status %+v", s)
	}
}

func TestRunCancelledBeforeItBeganDoesNothing(t *testing.T) {
	_, x := start(t, options(&buffer{}, host.Plugin{}))
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		if _, err := x.Run(ctx, step("wait"), nil); actions.CodeOf(err) != actions.CodeCancelled {
			t.Fatalf("error %v", err)
		}
	}
}

func TestInventory(t *testing.T) {
	_, x := start(t, options(&buffer{}, host.Plugin{Args: []string{"inventory"}}))
	d, err := x.Describe(t.Context())
	if err != nil || !d.Inventories {
		t.Fatalf("description %+v, error %v", d, err)
	}
	list := x.(actions.Inventory)
	got, err := list.Inventory(t.Context(), actions.Cluster{Name: "staging"}, "01abc")
	want := actions.Owned{Env: actions.Name{App: "shop", Env: "pr-1"}, Part: "web", Use: "test", Kind: "Helm release", Name: "01abc", Namespace: "shop-pr-1", CreatedAt: time.Unix(7, 0).UTC()}
	if err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("inventory %+v, error %v", got, err)
	}
	for cluster, code := range map[string]actions.Code{"half": actions.CodeDownstream, "strange": actions.CodeInternal, "endless": actions.CodeInternal} {
		if got, err := list.Inventory(t.Context(), actions.Cluster{Name: cluster}, "01abc"); actions.CodeOf(err) != code || got != nil {
			t.Errorf("%s: inventory %v, error %v", cluster, got, err)
		}
	}
	// What is found so is cleaned up without its settings, which are not known.
	found := step("")
	for verb, code := range map[actions.Verb]actions.Code{actions.VerbCleanup: "", actions.VerbDeploy: actions.CodeInvalid} {
		found.Verb, found.With = verb, nil
		if _, err := x.Run(t.Context(), found, nil); actions.CodeOf(err) != code {
			t.Errorf("%s without settings: %v", verb, err)
		}
	}
	_, x = start(t, options(&buffer{}, host.Plugin{}))
	if _, err := x.(actions.Inventory).Inventory(t.Context(), actions.Cluster{}, ""); actions.CodeOf(err) != actions.CodeInvalid {
		t.Errorf("one that cannot: %v", err)
	}
}

func TestConcurrentCallsShareOneProcess(t *testing.T) {
	_, x := start(t, options(&buffer{}, host.Plugin{}))
	var wg sync.WaitGroup
	pids := make([]string, 32)
	for i := range pids {
		wg.Go(func() {
			s := step("env")
			s.Part = fmt.Sprintf("part-%d", i)
			out, err := x.Run(t.Context(), s, nil)
			if err != nil {
				t.Error(err)
				return
			}
			pids[i] = out["pid"]
		})
	}
	wg.Wait()
	for _, pid := range pids {
		if pid != pids[0] || pid == "" {
			t.Fatalf("pids %v", pids)
		}
	}
}

func TestCloseWaitsForCallsAndThenCancelsThem(t *testing.T) {
	h, x := start(t, options(&buffer{}, host.Plugin{}))
	running, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := x.Run(context.Background(), step("wait"), func(actions.Event) { close(running) })
		ended <- err
	}()
	<-running
	pid := h.Checks(t.Context())[0].PID
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := h.Close(ctx); err == nil {
		t.Error("Close says that nothing had to be cancelled")
	}
	if err := <-ended; actions.CodeOf(err) != actions.CodeUnavailable || !actions.Retryable(err) {
		t.Errorf("the call that was cut off: %v", err)
	}
	if alive(pid) {
		t.Error("the program is still there")
	}
	if _, err := x.Run(t.Context(), step("x"), nil); actions.CodeOf(err) != actions.CodeUnavailable {
		t.Errorf("after Close: %v", err)
	}
}

func TestCloseEndsProgramsThatDoNotWantTo(t *testing.T) {
	o := options(&buffer{}, host.Plugin{Args: []string{"deaf"}})
	o.StopGrace = 200 * time.Millisecond
	h, x := start(t, o)
	out, err := x.Run(t.Context(), step("child"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pid", "child"} {
		if pid := atoi(t, out[name]); alive(pid) {
			t.Errorf("%s %d is still there", name, pid)
		}
	}
}

func TestNothingOutlivesAHostThatIsKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, arg := range map[string]string{
		"an executor that behaves":      "none",
		"an executor deaf to all signs": "deaf",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), self)
			temp, err := os.MkdirTemp("", "") // short enough for sockets, unlike t.TempDir()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(temp) })
			cmd.Env = append(os.Environ(), asHost+"="+arg, "TMPDIR="+temp)
			cmd.Stderr = os.Stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil {
				t.Fatalf("the host said %q: %v", line, err)
			}
			var executor, child int
			if _, err := fmt.Sscan(line, &executor, &child); err != nil {
				t.Fatalf("the host said %q", line)
			}
			if !alive(executor) || !alive(child) {
				t.Fatal("they are gone before the host is")
			}
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			waitFor(t, "the executor's end", func() bool { return !alive(executor) })
			waitFor(t, "the end of its child", func() bool { return !alive(child) })
			waitFor(t, "the removal of the sockets", func() bool {
				left, err := os.ReadDir(temp)
				return err == nil && len(left) == 0
			})
		})
	}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatalf("%q is no number", s)
	}
	return n
}
