package host_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/plugins/host"
	"github.com/berth-dev/berth/plugins/sdk"
)

// The test binary is three programs: the tests; the executor that they start
// (a host started it, as the cookie tells); and a host that they kill.
const (
	asHost = "BERTH_TEST_AS_HOST"
	asBare = "BERTH_TEST_AS_BARE"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asBare) != "":
		serveBare()
	case os.Getenv(sdk.Handshake().MagicCookieKey) != "":
		becomeExecutor(os.Args[1:])
	case os.Getenv(asHost) != "":
		beHost()
	default:
		os.Exit(m.Run())
	}
}

// becomeExecutor serves a testExecutor after the mischief that args ask for.
func becomeExecutor(args []string) {
	for _, a := range args {
		switch a {
		case "exit":
			fmt.Fprintln(os.Stderr, "cannot find my licence")
			os.Exit(3)
		case "babble":
			fmt.Println("hello, I am a program")
			os.Exit(0)
		case "silent":
			time.Sleep(time.Hour)
		case "deaf": // to SIGTERM, and to the end of the host
			sdk.Logger().Info("deaf")
			_ = os.Unsetenv(sdk.EnvLifeline)
			_ = os.Unsetenv(sdk.EnvParent)
		case "crash-at-start-once":
			marker := filepath.Join(os.Getenv("HOME"), "crashed")
			if _, err := os.Stat(marker); err != nil {
				_ = os.WriteFile(marker, nil, 0o600)
				os.Exit(4)
			}
		}
	}
	x := &testExecutor{args: args}
	switch {
	case slices.Contains(args, "inventory"):
		sdk.Serve(inventor{x})
	case slices.Contains(args, "talks"):
		sdk.Serve(talker{x})
	case slices.Contains(args, "plans-nothing"):
		sdk.Serve(blunt{x})
	}
	sdk.Serve(x)
}

// inventor is a testExecutor that lists what it owns, as the cluster's name says.
type inventor struct{ *testExecutor }

func (inventor) Inventory(_ context.Context, scope sdk.Scope) ([]sdk.Owned, error) {
	cluster, installation := scope.Cluster, scope.Installation
	one := sdk.Owned{App: "shop", Env: "pr-1", Part: "web", Kind: "Helm release", Name: installation, Namespace: "shop-pr-1", CreatedAt: time.Unix(7, 0)}
	switch cluster.Name {
	case "half":
		return []sdk.Owned{one}, sdk.Downstream("The second page did not come.").WithRetry()
	case "strange":
		return []sdk.Owned{one, {App: "../etc", Env: "x", Kind: "Namespace", Name: "n"}}, nil
	case "endless":
		one.Name = strings.Repeat("x", 1000)
	}
	return []sdk.Owned{one}, nil
}

// testExecutor does what a step's settings say.
type testExecutor struct{ args []string }

func (x *testExecutor) Describe() sdk.Description {
	d := sdk.Description{
		Name: "test", Version: "1.2.3", Verbs: []sdk.Verb{sdk.Deploy, sdk.Cleanup, sdk.Archive},
		Schema: map[string]any{
			"type":                 "object",
			"additionalProperties": false,
			"properties": map[string]any{
				"do":       map[string]any{"type": "string"},
				"text":     map[string]any{"type": "string"},
				"count":    map[string]any{"type": "integer", "minimum": 0},
				"size":     map[string]any{"enum": []any{"small", "large"}},
				"engine":   map[string]any{"type": "object", "required": []any{"class"}},
				"anything": true,
			},
		},
	}
	if slices.Contains(x.args, "inventory") {
		d.Schema["required"] = []any{"do"}
	}
	if slices.Contains(x.args, "settings") {
		d.SettingsSchema = settingsSchema()
	}
	for _, a := range x.args {
		if a == "bad-schema" {
			d.Schema = map[string]any{"type": "nonsense"}
		}
		if a == "bad-settings-schema" {
			d.SettingsSchema = map[string]any{"type": "nonsense"}
		}
		if a == "greedy-schema" {
			d.Schema = map[string]any{"$ref": "file:///etc/hostname"}
		}
	}
	return d
}

func (x *testExecutor) Plan(_ context.Context, step sdk.Step) (sdk.Plan, error) {
	if step.With["do"] == "crash-once" {
		marker := filepath.Join(os.Getenv("HOME"), "crashed")
		if _, err := os.Stat(marker); err != nil {
			_ = os.WriteFile(marker, nil, 0o600)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	inputs := map[string]string{"count": fmt.Sprintf("%T %v", step.With["count"], step.With["count"])}
	if agreed, ok := step.Agreed["image a:1"]; ok {
		inputs["image a:1"] = agreed
	}
	return sdk.Plan{Summary: "would " + fmt.Sprint(step.With["do"]), Diff: "+a", Destructive: step.Verb == sdk.Cleanup, Inputs: inputs,
		Cost: "requests 1 CPU", Resources: []sdk.Resource{{Kind: "Pod", Name: "a", Change: sdk.ChangeCreate}, {Kind: "Volume", Name: "v", Namespace: "n", Change: sdk.ChangeDelete, Destructive: true}}}, nil
}

func (x *testExecutor) Observe(_ context.Context, step sdk.Step) (sdk.Observation, error) {
	return sdk.Observation{Health: sdk.Degraded, Text: "so so", Links: []sdk.Link{{Name: "app", URL: "http://" + step.Env}}, Drift: []string{"one"}}, nil
}

func (x *testExecutor) Run(ctx context.Context, step sdk.Step, out sdk.Events) error {
	text, _ := step.With["text"].(string)
	switch step.With["do"] {
	case "env":
		for _, e := range os.Environ() {
			name, _, _ := strings.Cut(e, "=")
			out.Output(name, e)
		}
		if dir, err := os.Getwd(); err == nil {
			out.Output("cwd", dir)
		}
		out.Output("pid", strconv.Itoa(os.Getpid()))
		out.Output("ppid", strconv.Itoa(os.Getppid()))
	case "crash":
		out.Log("about to crash")
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "panic":
		panic("on purpose: " + text)
	case "wait":
		out.Progress("waiting", 1, 2)
		<-ctx.Done()
		return ctx.Err()
	case "wind-up":
		out.Progress("waiting", 1, 2)
		<-ctx.Done()
		time.Sleep(50 * time.Millisecond) // the work that is left to do
		out.Log("wound up")
		return ctx.Err()
	case "ignore-cancel":
		out.Progress("ignoring", 0, 0)
		time.Sleep(time.Hour)
	case "freeze": // the whole program, health checks included
		out.Log("about to freeze")
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		<-ctx.Done()
	case "log":
		sdk.Logger().Warn("from the logger "+text, "key", "value "+text)
		fmt.Println("printed " + text)
		fmt.Fprintln(os.Stderr, strings.Repeat("x", 1<<20)+"\nprinted after")
		_, _ = os.NewFile(2, "stderr").WriteString(`{"@message": 5, "@level": {}}` + "\nraw " + text + "\n")
		for i := range 1000 {
			out.Log(fmt.Sprintf("line %d", i))
		}
		out.Log(strings.Repeat("y", 1<<20))
		out.Log("secret " + text)
		out.Log("not \xff text")
	case "child":
		if slices.Contains(x.args, "deaf") {
			signal.Ignore(syscall.SIGTERM)
		}
		// a child process that outlives its parent and holds its pipes
		cmd := exec.Command("/bin/sleep", "3600") // It is to outlive the call.
		cmd.Stdout, cmd.Stderr = os.NewFile(1, "stdout"), os.NewFile(2, "stderr")
		if err := cmd.Start(); err != nil {
			return sdk.Internal("no child: %w", err)
		}
		out.Output("child", strconv.Itoa(cmd.Process.Pid))
		out.Output("pid", strconv.Itoa(os.Getpid()))
	case "fail":
		switch text {
		case "invalid":
			return sdk.Invalid("the chart is not there")
		case "downstream":
			return sdk.Downstream("the cluster refused: %w", io.ErrUnexpectedEOF).WithRetryAfter(3 * time.Second)
		case "internal":
			return sdk.Internal("a bug")
		}
		return io.ErrNoProgress
	case "outputs":
		out.Output("endpoint", "db."+step.Namespace)
		out.Output("from", step.Outputs["db"]["endpoint"])
		out.Output("agreed", step.Agreed["chart"])
		out.Output("cluster", step.Cluster.Name)
	case "settings":
		out.Output("region", fmt.Sprint(step.Settings["region"]))
		out.Output("size", fmt.Sprintf("%T %v", step.Settings["size"], step.Settings["size"]))
	}
	return nil
}

// beHost hosts the executor with the arguments that the environment holds,
// tells its process id and that of a child of it, and waits to be killed.
func beHost() {
	h := host.New(options(io.Discard, host.Plugin{Args: strings.Fields(os.Getenv(asHost))}))
	x, err := h.Executor(context.Background(), "test")
	if err == nil {
		var out actions.Outputs
		if out, err = x.Run(context.Background(), step("child"), nil); err == nil {
			fmt.Println(out["pid"], out["child"])
			select {}
		}
	}
	fmt.Println("failed:", err)
	os.Exit(1)
}

// patience bounds what only a hang makes long: a busy machine starts and asks this
// binary ten times as slowly as an idle one.
const patience = 2 * time.Minute

// options are a Host's for one executor, which is this binary.
func options(log io.Writer, p host.Plugin) host.Options {
	self, err := os.Executable()
	if err != nil {
		panic(err) // A test binary that does not know itself cannot test.
	}
	if p.Path == "" {
		p.Path = self
	}
	return host.Options{
		Plugins:    map[string]host.Plugin{"test": p},
		Log:        slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		BackoffMin: 10 * time.Millisecond, BackoffMax: 200 * time.Millisecond,
		HealthEvery: 100 * time.Millisecond, HealthWait: patience,
		StartTimeout: patience, RestartWait: patience, CancelGrace: patience,
	}
}

// start makes a Host that ends with the test, and the executor of it.
func start(t testing.TB, o host.Options) (*host.Host, actions.Executor) {
	t.Helper()
	h := host.New(o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second) // what still runs then is cut off
		defer cancel()
		_ = h.Close(ctx)
	})
	x, err := h.Executor(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	return h, x
}

func step(do string, with ...any) actions.Step {
	s := actions.Step{ID: "s1", Env: actions.Name{App: "shop", Env: "pr-42"}, Part: "web", Verb: actions.VerbDeploy, With: map[string]any{"do": do}}
	for i := 0; i < len(with); i += 2 {
		s.With[with[i].(string)] = with[i+1]
	}
	return s
}

// waitFor waits for an event in another process, which cannot be waited for in
// a better way.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// alive tells whether the process exists and is more than a zombie.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil { // it is gone by now, or this system has no /proc
		_, noProc := os.Stat("/proc/self/stat")
		return noProc != nil
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
