package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/bottest"
)

// withRedis runs the tests with a Redis to share.
type withRedis struct{ m *testing.M }

func (w withRedis) Run() int { return redistest.Main(w.m) }

func TestMain(m *testing.M) {
	testscript.Main(withRedis{m}, map[string]func(){
		"berth": main,
	})
}

// TestClient runs the client commands as processes against a real API, with a
// core of its own for each script. Only the executors are not real.
func TestClient(t *testing.T) {
	worlds := &worlds{byDir: map[string]*clientWorld{}}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Setup:               worlds.setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"scrub":   scrub,
			"hold":    worlds.command(func(w *clientWorld, args []string) { w.release = w.Executor.Hold(args[0]) }),
			"release": worlds.command(func(w *clientWorld, _ []string) { w.release() }),
			"fail": worlds.command(func(w *clientWorld, args []string) {
				w.Executor.Fail(args[0], actions.Errorf("memory.run", actions.CodeDownstream, "%s", args[1]))
			}),
			"drift":    worlds.command(func(w *clientWorld, args []string) { w.Executor.Drift(args[0], args[1:]...) }),
			"heal":     worlds.command(func(w *clientWorld, args []string) { w.Executor.Fail(args[0], nil) }),
			"approval": worlds.command(func(w *clientWorld, _ []string) { w.WorkBy(bottest.Approval{}) }),
			"govern":   worlds.command(func(w *clientWorld, _ []string) { w.Govern(crew, cleanupNeedsSRE) }),
			"print": worlds.command(func(w *clientWorld, args []string) {
				w.Executor.Print(args[0], actions.LogLine{Time: time.Unix(1_772_366_400, 0).UTC(), Source: args[1], Text: strings.NewReplacer(`\e`, "\x1b", `\t`, "\t").Replace(args[2])})
			}),
			"follows": follows,
			"tamper":  tamper,
			"capture": capture,
			"work":    worlds.command(func(w *clientWorld, _ []string) { w.Work() }),
		},
	})
}

// crew and cleanupNeedsSRE are whom and what a governed script goes by.
var (
	crew = []bottest.Actor{
		{Name: "ana", Roles: []string{"sre"}, Identities: []string{"token:ana", "github:ana"}},
		{Name: "ben", Roles: []string{"sre"}, Identities: []string{"token:ben"}},
		{Name: "cid", Roles: []string{"deployer"}, Identities: []string{"token:cid"}},
		{Name: "lea", Roles: []string{"lead"}, Identities: []string{"token:lea"}},
	}
	cleanupNeedsSRE = bottest.Rule{
		Name: "cleanup-needs-sre", When: `request.verb == "cleanup"`, BreakGlass: []string{"role:lead"},
		Approve: &bottest.Approve{Needs: []bottest.Need{{Count: 1, From: []string{"role:sre"}}}, NotRequester: true},
	}
)

// tamper writes over an actor in an export: tamper FILE.
func tamper(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	text, err := os.ReadFile(path)
	ts.Check(err)
	ts.Check(os.WriteFile(path, bytes.Replace(text, []byte(`"actor":"ben"`), []byte(`"actor":"eve"`), 1), 0o600))
}

// clientWorld is what one script has to itself.
type clientWorld struct {
	*bottest.World
	release func()
}

type worlds struct {
	mu    sync.Mutex
	byDir map[string]*clientWorld
}

func (w *worlds) setup(env *testscript.Env) error {
	tb := env.T().(testing.TB) // it is the *testing.T of the script, in a wrapper
	world := &clientWorld{World: bottest.New(tb, redistest.Client(tb))}
	sum := func(token string) string {
		h := sha256.Sum256([]byte(token))
		return hex.EncodeToString(h[:])
	}
	handler, err := api.New(api.Options{Service: world.Service, Tokens: []api.Token{
		{Actor: "ana", SHA256: sum("ana-token"), Roles: []string{"deployer"}},
		{Actor: "eve", SHA256: sum("eve-token"), Roles: []string{"viewer"}},
		{Actor: "ben", SHA256: sum("ben-token")}, // its roles are the person's
		{Actor: "cid", SHA256: sum("cid-token")},
		{Actor: "lea", SHA256: sum("lea-token")},
	}, Issuers: []api.Issuer{{URL: "http://127.0.0.1:1", Audience: "berth"}}})
	if err != nil {
		return err
	}
	server := httptest.NewServer(handler)
	env.Defer(server.Close)
	env.Setenv("BERTH_SERVER", server.URL)
	env.Setenv("SERVER", server.URL)
	env.Setenv("BERTH_TOKEN", "ana-token")
	env.Setenv("XDG_CONFIG_HOME", env.WorkDir+"/config")
	env.Setenv("TZ", "UTC")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.byDir[env.WorkDir] = world
	return nil
}

// command makes a script's command of what is done to its world.
func (w *worlds) command(do func(*clientWorld, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		w.mu.Lock()
		world := w.byDir[ts.Getenv("WORK")]
		w.mu.Unlock()
		do(world, args)
	}
}

// exits runs a program that must end with a code: exits 4 berth deploy …
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT]…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got, err := 0, ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// follows runs a program that does not end, until it has printed so many lines,
// and then interrupts it, which has to be no failure: follows N PROGRAM [ARGUMENT]…
func follows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: follows N PROGRAM [ARGUMENT]…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	program, err := exec.LookPath(args[1])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args[2:]...)
	for _, name := range []string{"BERTH_SERVER", "BERTH_TOKEN", "XDG_CONFIG_HOME", "TZ", "HOME", "PATH"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	var got bytes.Buffer
	lines := bufio.NewReader(out)
	for range want {
		line, err := lines.ReadString('\n')
		got.WriteString(line)
		if err != nil {
			_ = cmd.Wait()
			ts.Fatalf("it ended after %q: %v: %s", &got, err, &said)
		}
	}
	ts.Check(cmd.Process.Signal(os.Interrupt))
	rest, _ := io.ReadAll(lines)
	if err := cmd.Wait(); err != nil || len(rest) > 0 || said.Len() > 0 {
		ts.Fatalf("it ended with %v, and says %q after %q: %s", err, rest, &got, &said)
	}
	ts.Check(os.WriteFile(ts.MkAbs("followed"), got.Bytes(), 0o600))
}

// capture sets a variable to the first id in the last output: capture NAME stdout.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], regexp.MustCompile(`\b[0-7][0-9a-hjkmnp-tv-z]{25}\b`).FindString(ts.ReadFile(args[1])))
}

var changing = regexp.MustCompile(`\b[0-7][0-9a-hjkmnp-tv-z]{25}\b|\d{4}-\d\d-\d\d \d\d:\d\d UTC|\b\d\d:\d\d:\d\d\b|http://127\.0\.0\.1:\d+|after \d+s`)

// scrub writes the last output to a file, with what differs each time replaced:
// scrub stdout FILE.
func scrub(ts *testscript.TestScript, _ bool, args []string) {
	text := changing.ReplaceAllStringFunc(ts.ReadFile(args[0]), func(s string) string {
		switch {
		case len(s) == 26:
			return "ID"
		case len(s) == 8:
			return "CLOCK"
		case s[0] == 'h':
			return "SERVER"
		case s[0] == 'a':
			return "after a while"
		default:
			return "TIME"
		}
	})
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}
