package script

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// listing is what the scripts keep, without how often they were called.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.Name() == "calls" || e.Name() == "token" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e.Name()+" "+string(data))
	}
	return out
}

// suites are the parts on which every executor's suite is run.
func suites(t *testing.T, state, data string) map[string]sdktest.Suite {
	const token, other = "t0k<en> by & ref", "an0ther t0k&n"
	file := filepath.Join(state, "token")
	rotate := func(value string) {
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rotate(token)
	hang := filepath.Join(t.TempDir(), "hang")
	if err := os.WriteFile(hang, []byte("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.05; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	settings := map[string]any{"data_dir": data}
	env := map[string]any{"STATE": state}
	program := here(t, "run/program")
	slow := &sdk.Step{With: map[string]any{"contract": "run", "deploy": []any{hang}, "cleanup": []any{"true"}, "grace": "500ms"}}
	secrets := map[string]sdk.SecretRef{"TOKEN": {Name: "token", File: file}}
	common := sdktest.Suite{
		Slow: slow, Secrets: []string{token, other}, Rotate: func(*testing.T) { rotate(other) },
		Snapshot: func(t *testing.T) string { return strings.Join(listing(t, state), "\n") },
		Owned:    func(t *testing.T) []string { return listing(t, state) },
		InvalidSettings: map[string]map[string]any{
			"an unknown one": {"data_dri": "x"}, "a number": {"data_dir": int64(5)}, "a name that is none": {"env": map[string]any{"A=B": "x"}},
		},
	}
	run, octopod := common, common
	run.Step = sdk.Step{Settings: settings, Secrets: secrets, With: map[string]any{
		"contract": "run", "env": env, "vars": []any{"TOKEN"}, "deploy": []any{program, "go"}, "archive": []any{program, "go"}, "cleanup": []any{program, "go"},
		"check": []any{program, "check"}, "plan": []any{program, "plan"}, "poll": "10ms",
	}}
	run.Invalid = map[string]map[string]any{
		"no contract":           {},
		"an unknown contract":   {"contract": "v3"},
		"no cleanup":            {"contract": "run", "deploy": []any{program}},
		"a shell's line":        {"contract": "run", "deploy": "rm -rf /", "cleanup": []any{program}},
		"no such program":       {"contract": "run", "deploy": []any{"/none/such"}, "cleanup": []any{program}},
		"a file that is no one": {"contract": "run", "deploy": []any{file}, "cleanup": []any{program}},
		"a key of Octopod's":    {"contract": "run", "deploy": []any{program}, "cleanup": []any{program}, "project": "x"},
		"a time that is none":   {"contract": "run", "deploy": []any{program}, "cleanup": []any{program}, "timeout": "soon"},
		"a variable of its own": {"contract": "run", "deploy": []any{program}, "cleanup": []any{program}, "env": map[string]any{"BERTH_APP": "x"}},
	}
	with := map[string]any{
		"contract": "v2", "dir": here(t, "octopod"), "project": "acme", "base_domain": "example.org", "env": env, "vars": []any{"TOKEN"}, "plan_asks": true,
		"overrides": map[string]any{"app": map[string]any{"LOG_LEVEL": "debug", "PASSWORD": map[string]any{"file": file}}}, "poll": "10ms",
	}
	changed := func(key string, value any) map[string]any {
		m := map[string]any{}
		for k, v := range with {
			m[k] = v
		}
		m[key] = value
		return m
	}
	octopod.Step = sdk.Step{Settings: settings, Secrets: secrets, With: with}
	octopod.Owned = func(t *testing.T) []string { return listing(t, state) }
	octopod.Invalid = map[string]map[string]any{
		"no folder":                 {"contract": "v2", "project": "x", "base_domain": "y"},
		"a folder that is not":      changed("dir", "/none/such"),
		"a path that was not there": changed("dir", "repo:ops"),
		"no project":                changed("project", ""),
		"a folder without scripts":  changed("dir", t.TempDir()),
		"an unknown script":         changed("commands", map[string]any{"destroy": "x"}),
		"a script elsewhere":        changed("commands", map[string]any{"create": "../run/program"}),
		"what config_check refuses": changed("overrides", map[string]any{"app": map[string]any{"replicas": "many"}}),
	}
	return map[string]sdktest.Suite{"run": run, "v2": octopod}
}

// TestConformance runs the suite that every executor passes on the program
// itself, started as Berth starts it.
func TestConformance(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "berth-script")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/berth-script").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, contract := range []string{"run", "v2"} {
		t.Run(contract, func(t *testing.T) {
			t.Parallel()
			s := suites(t, t.TempDir(), t.TempDir())[contract]
			s.Command = []string{binary}
			sdktest.Run(t, s)
		})
	}
}

// TestConformanceWhenCutOff has the executor die at each script in turn.
func TestConformanceWhenCutOff(t *testing.T) {
	t.Parallel()
	for _, contract := range []string{"run", "v2"} {
		t.Run(contract, func(t *testing.T) {
			t.Parallel()
			s := suites(t, t.TempDir(), t.TempDir())[contract]
			s.New = func() sdk.Executor { return New(Options{Getenv: os.Getenv}) }
			s.Interrupted = func(_ *testing.T, n int) sdk.Executor {
				cut := sdktest.NewCut(n)
				x := New(Options{Getenv: os.Getenv})
				x.start = func(ctx context.Context, o order, p pipes) (end ending, err error) {
					err = cut.Call(func() (err error) {
						end, err = x.launch(ctx, o, p)
						return err
					})
					return end, err
				}
				return cut.Executor(x)
			}
			sdktest.Run(t, s)
		})
	}
}

func TestAChangedScriptVoidsAnAgreement(t *testing.T) {
	t.Parallel()
	for _, contract := range []string{"run", "v2"} {
		w := newWorld(t)
		dir := t.TempDir()
		if out, err := exec.Command("cp", "-r", here(t, map[string]string{"run": "run", "v2": "octopod"}[contract])+"/.", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		s := w.step(sdk.Deploy, map[string]any{"dir": dir})
		file := "create"
		if contract == "run" {
			file = "program"
			s.With = map[string]any{"contract": "run", "dir": dir, "deploy": []any{"program", "go"}, "cleanup": []any{"program", "go"}, "env": map[string]any{"STATE": w.state}}
		}
		p, err := w.x.Plan(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		s.Agreed = p.Inputs
		w.must(s)
		f, err := os.OpenFile(filepath.Join(dir, file), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(f, "# changed")
		f.Close()
		_, err = w.run(s)
		if e := fault(t, err, sdk.FaultInvalid); !strings.Contains(e.Msg, "scripts changed") {
			t.Error(e.Msg)
		}
	}
}
