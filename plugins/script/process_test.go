package script

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// stepVariable makes this test binary an executor that does a single step.
const stepVariable = "BERTH_TEST_RUN_STEP"

func init() {
	if os.Getenv(stepVariable) == "" {
		return
	}
	Keep()
	var step sdk.Step
	if err := json.Unmarshal([]byte(os.Getenv(stepVariable)), &step); err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	if err := New(Options{Getenv: os.Getenv}).Run(context.Background(), step, &heard{line: func(l string) { fmt.Println(l) }}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// alive tells whether a process is there and not a zombie.
func alive(t *testing.T, pid int) bool {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	return !strings.HasPrefix(string(data[strings.LastIndexByte(string(data), ')')+2:]), "Z")
}

// pids waits for a file to which a script wrote the numbers of n processes.
func (w *world) pids(name string, n int) []int {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		data, _ := os.ReadFile(filepath.Join(w.state, name))
		var out []int
		for _, field := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(field); err == nil {
				out = append(out, pid)
			}
		}
		if len(out) >= n && strings.HasSuffix(string(data), "\n") {
			return out
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("the script did not write %d process ids: %q", n, data)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *world) allGone(pids []int) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for _, pid := range pids {
		for alive(w.t, pid) {
			if time.Now().After(deadline) {
				w.t.Fatalf("process %d of a script still runs", pid)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// spread starts processes in every way to get away from a process group, all of
// them deaf to SIGTERM, and then hangs.
const spread = `
trap '' TERM HUP
echo $$ >>$STATE/pids
(trap '' TERM; while :; do sleep 0.05; done) & echo $! >>$STATE/pids
setsid bash -c 'trap "" TERM; echo $$ >>$STATE/pids; while :; do sleep 0.05; done' &
setsid bash -c 'setsid bash -c "trap \"\" TERM; echo \$\$ >>\$STATE/pids; exec 1>&- 2>&-; while :; do sleep 0.05; done" & disown; exit 0' &
setsid env -i /bin/bash -c "trap '' TERM; echo \$\$ >>$STATE/pids; while :; do sleep 0.05; done" </dev/null &
`

func TestAScriptIsStoppedWithAllThatItStarted(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		stop func(cancel func())
		with map[string]any
		want string
	}{
		"when the step is cancelled":           {stop: func(cancel func()) { cancel() }},
		"when it takes longer than it may":     {with: map[string]any{"timeout": "12s"}, want: "longer than 12s"}, // enough for a busy machine to start them all
		"when one of its own time limits ends": {with: map[string]any{"timeouts": map[string]any{"deploy": "12s"}}, want: "longer than 12s"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- w.x.Run(ctx, w.runs(spread+"while :; do sleep 0.05; done", test.with), &heard{}) }()
			pids := w.pids("pids", 5)
			if test.stop != nil {
				test.stop(cancel)
			}
			select {
			case err := <-done:
				if test.want == "" && !errors.Is(err, context.Canceled) {
					t.Errorf("the step ends with %v", err)
				}
				if test.want != "" && !strings.Contains(fault(t, err, sdk.FaultDownstream).Msg, test.want) {
					t.Error(err)
				}
			case <-time.After(patience):
				t.Fatal("the step does not end")
			}
			for _, pid := range pids { // gone when Run returns, not some time later
				if alive(t, pid) {
					t.Errorf("process %d is left", pid)
				}
			}
		})
	}
}

func TestWhatAScriptLeavesBehindEndsWithIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.must(w.runs(spread+"until [ $(wc -l <$STATE/pids) -ge 5 ]; do sleep 0.1; done", nil))
	w.allGone(w.pids("pids", 5))
	if !strings.Contains(h.text(), "that it had left running") {
		t.Errorf("nobody is told: %s", h.text())
	}
}

// TestWhoElseHoldsTheOutputHoldsNobodyUp has a program that is no child of the
// script's keep its output open, as a terminal multiplexer does that was handed it.
func TestWhoElseHoldsTheOutputHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	done := make(chan error, 1)
	s := w.runs(`echo $$ >$STATE/pids; until [ -e $STATE/held ]; do sleep 0.02; done; echo over`, nil)
	h := &heard{}
	go func() { done <- w.x.Run(t.Context(), s, h) }()
	held, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/1", w.pids("pids", 1)[0]), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	w.put("held", "")
	select {
	case err := <-done:
		if err != nil || !strings.Contains(h.text(), "over") {
			t.Errorf("%v, log %s", err, h.text())
		}
	case <-time.After(patience):
		t.Fatal("the step waits for an output that others hold")
	}
}

func TestATermIsHeardBeforeTheKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	h := &heard{}
	go func() {
		done <- w.x.Run(ctx, w.runs(`trap 'echo tidied; echo once >>$STATE/tidied' TERM; echo $$ >$STATE/pids; until [ -e $STATE/tidied ]; do sleep 0.05; done; sleep 0.3`, map[string]any{"grace": maxGrace.String()}), h)
	}()
	pids := w.pids("pids", 1)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !w.has("tidied") || !strings.Contains(h.text(), "tidied") {
		t.Errorf("%v, log %s", err, h.text())
	}
	if told, _ := os.ReadFile(filepath.Join(w.state, "tidied")); string(told) != "once\n" {
		t.Errorf("the script hears SIGTERM more than once: %q", told)
	}
	w.allGone(pids)
}

// executor starts this binary as one that does step.
func executor(t *testing.T, step sdk.Step) *exec.Cmd {
	t.Helper()
	data, err := json.Marshal(step)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), stepVariable+"="+string(data))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestNoScriptOutlivesAnExecutorThatIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.runs(`[ ! -e $STATE/second ] || { cat $STATE/pids | while read p; do kill -0 $p 2>/dev/null && echo "$p" >>$STATE/beside; done; exit 0; }`+spread+"while :; do sleep 0.05; done", nil)
	cmd := executor(t, s)
	pids := w.pids("pids", 5)
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // as the host does
	_ = cmd.Wait()
	// The step is run again at once, and finds none of the first try beside it.
	w.put("second", "")
	w.must(s)
	if w.has("beside") {
		t.Error("a script of the first try ran beside that of the second")
	}
	w.allGone(pids)
	if left, _ := os.ReadDir(filepath.Join(w.data, "work")); len(left) > 0 {
		t.Errorf("working directories are left: %v", left)
	}
}

func TestACreateThatWasCutOffIsRunAgainAsOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-r", here(t, "octopod")+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	slow := "#!/bin/sh\n. \"$(dirname \"$0\")/lib.sh\"\necho half >\"$data\"; touch \"$up\"; [ -e \"$STATE/second\" ] || { echo $$ >\"$STATE/pids\"; sleep 60; }\n"
	if err := os.WriteFile(filepath.Join(dir, "create"), []byte(slow), 0o755); err != nil {
		t.Fatal(err)
	}
	s := w.step(sdk.Deploy, map[string]any{"dir": dir})
	cmd := executor(t, s)
	pids := w.pids("pids", 1)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	w.calls()
	w.put("second", "")
	w.must(s)
	if got := names(w.calls()); !strings.Contains(got, " create ") {
		t.Errorf("a create that was cut off is followed by %s", got)
	}
	w.allGone(pids)
}

func TestAKeeperThatIsKilledLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.runs(`echo $PPID >$STATE/keeper; echo $$ >>$STATE/pids; (trap '' TERM; while :; do sleep 0.05; done) & echo $! >>$STATE/pids
setsid bash -c 'trap "" TERM; echo $$ >>$STATE/pids; while :; do sleep 0.05; done' & while :; do sleep 0.05; done`, nil)
	cmd := executor(t, s)
	pids := w.pids("pids", 3)
	_ = syscall.Kill(w.pids("keeper", 1)[0], syscall.SIGKILL)
	if err := cmd.Wait(); err == nil {
		t.Error("the step succeeds without its keeper")
	}
	w.allGone(pids)
}

func TestAnyAmountOfOutputTakesLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it prints two gigabytes")
	}
	w := newWorld(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("canary-in-the-coal-mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, sh := range map[string]string{
		"lines without end":          `yes "a line with $TOKEN in it" | head -n ` + manyLines + `; echo; echo "the end, $TOKEN"`,
		"a line without end":         `head -c ` + manyBytes + ` /dev/zero | tr '\0' 'x'; echo; echo "the end, $TOKEN"`,
		"zero bytes and broken text": `head -c 100000000 /dev/zero; printf 'a\0b\377\n'; echo "the end, $TOKEN" >&2`,
	} {
		s := w.runs(sh, map[string]any{"vars": []any{"TOKEN"}})
		s.Secrets = map[string]sdk.SecretRef{"TOKEN": {Name: "token", File: secret}}
		stop, peak := make(chan struct{}), make(chan uint64)
		go func() {
			var most uint64
			for {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
				select {
				case <-stop:
					peak <- most
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		}()
		h := w.must(s)
		close(stop)
		if most := <-peak; most > 64<<20 {
			t.Errorf("%s takes %d MiB of memory", what, most>>20)
		}
		total := 0
		for _, line := range h.logs {
			total += len(line)
			if len(line) > maxLine+200 || strings.ContainsRune(line, 0) {
				t.Errorf("%s: a line of %d bytes", what, len(line))
			}
			if strings.Contains(line, "canary") {
				t.Errorf("%s: the secret is told: %.200s", what, line)
			}
		}
		if len(h.logs) > headLines+tailLines+10 || total > 2<<20 || !strings.Contains(h.text(), "left out") && what != "zero bytes and broken text" || !strings.Contains(h.text(), "the end, ***") {
			t.Errorf("%s: %d lines, %d bytes, the last %.300q", what, len(h.logs), total, h.logs[len(h.logs)-1])
		}
	}
}

// TestALineThatBreaksOffShowsNoPartOfASecret is about a script that is killed while
// it prints: of its last line any part may have been read.
func TestALineThatBreaksOffShowsNoPartOfASecret(t *testing.T) {
	t.Parallel()
	const secret, long = "canary-in-the-coal-mine", "-----BEGIN KEY-----"
	m := &mask{}
	m.add(secret)
	m.add(long)
	for text, want := range map[string]string{
		"with canary-in-the-coal-mine":               "with ***",
		"with canary-in-the-coal-min":                "with ***",
		"with cana":                                  "with ***",
		"with can":                                   "with can", // so little of it is in other texts by chance
		"with \x1b[31mcanary-i":                      "with ***",
		"canary-in-the-coal-minecanary-in":           "******",
		"-----BEGIN KEY-----":                        "***",
		"with canary-in-th\n":                        "with canary-in-th", // which is all that was printed
		strings.Repeat("x", maxLine-6) + "canary-in": strings.Repeat("x", maxLine-6) + "*** … (3 bytes left out)",
	} {
		eachLine(strings.NewReader(text), maxLine+m.room(), func(l rawLine) {
			if got := (&teller{mask: m}).shown(l); got != want {
				t.Errorf("%.100q is shown as %.100q, want %.100q", text, got, want)
			}
		})
	}
}

func TestLinesAreBounded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":              "",
		"a\nb":          "a|b|",
		"a\n\nb\n":      "a||b|",
		"12345678\nx\n": "12345+3|x|",
		"123456789":     "12345+4|",
		"\n":            "|",
	} {
		got := ""
		eachLine(bufio.NewReader(strings.NewReader(text)), 5, func(l rawLine) {
			got += string(l.text)
			if l.cut > 0 {
				got += fmt.Sprintf("+%d", l.cut)
			}
			got += "|"
		})
		if got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}
