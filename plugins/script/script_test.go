package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

func TestMain(m *testing.M) {
	Keep() // this test binary looks after the scripts that it starts
	os.Exit(m.Run())
}

// patience bounds what only a hang makes long: a busy machine starts programs ten
// times as slowly as an idle one.
const patience = 5 * time.Minute

// heard collects what a step tells.
type heard struct {
	mu       sync.Mutex
	logs     []string
	progress []string
	outputs  map[string]string
	receipts []sdk.Resource
	line     func(string) // called with each line, when set
}

func (h *heard) Log(line string) {
	h.mu.Lock()
	h.logs = append(h.logs, line)
	h.mu.Unlock()
	if h.line != nil {
		h.line(line)
	}
}

func (h *heard) Progress(text string, _, _ int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.progress = append(h.progress, text)
}

func (h *heard) Output(key, value string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.outputs == nil {
		h.outputs = map[string]string{}
	}
	h.outputs[key] = value
}

func (h *heard) Receipt(r sdk.Resource) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.receipts = append(h.receipts, r)
}

func (h *heard) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.logs, "\n")
}

// world is a folder with the state that scripts keep, and an executor for them.
type world struct {
	t     *testing.T
	x     *Executor
	state string
	data  string
	n     int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, x: New(Options{Getenv: os.Getenv}), state: t.TempDir(), data: t.TempDir()}
}

// here is the absolute path of one of this package's test scripts.
func here(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(filepath.Join("testdata", path))
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func (w *world) settings() map[string]any { return map[string]any{"data_dir": w.data} }

// step is one with the settings of Octopod's test scripts and more.
func (w *world) step(verb sdk.Verb, more map[string]any) sdk.Step {
	w.n++
	with := map[string]any{
		"contract": "v2", "dir": here(w.t, "octopod"), "project": "acme", "base_domain": "preview.example.org",
		"env": map[string]any{"STATE": w.state}, "poll": "10ms", "pending_timeout": "300ms", "grace": "500ms",
	}
	maps.Copy(with, more)
	return sdk.Step{
		ID: fmt.Sprintf("step-%d", w.n), App: "shop", Env: "pr-42", Part: "web", Verb: verb, With: with,
		Namespace: "shop-pr-42", Commit: strings.Repeat("a", 40), Settings: w.settings(), Installation: "test",
	}
}

// runs is a step of the contract "run" whose deploy is a shell script.
func (w *world) runs(sh string, more map[string]any) sdk.Step {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "program")
	if err := os.WriteFile(file, []byte("#!/bin/bash\n"+sh+"\n"), 0o755); err != nil {
		w.t.Fatal(err)
	}
	s := w.step(sdk.Deploy, nil)
	s.With = map[string]any{
		"contract": "run", "deploy": []any{file}, "cleanup": []any{"true"}, "env": map[string]any{"STATE": w.state}, "grace": "300ms",
	}
	maps.Copy(s.With, more)
	return s
}

func (w *world) run(s sdk.Step) (*heard, error) {
	w.t.Helper()
	h := &heard{}
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	return h, w.x.Run(ctx, s, h)
}

func (w *world) must(s sdk.Step) *heard {
	w.t.Helper()
	h, err := w.run(s)
	if err != nil {
		w.t.Fatalf("%s: %v\n%s", s.Verb, err, h.text())
	}
	return h
}

// calls are what the scripts were called with since the last time, each as its
// name and arguments.
func (w *world) calls() [][]string {
	w.t.Helper()
	path := filepath.Join(w.state, "calls")
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Fatal(err)
	}
	_ = os.Remove(path)
	var out [][]string
	for call := range bytes.SplitSeq(data, []byte("\x00\x00")) {
		if len(call) > 0 {
			out = append(out, strings.Split(string(call), "\x00"))
		}
	}
	return out
}

func names(calls [][]string) string {
	var out []string
	for _, c := range calls {
		out = append(out, c[0])
	}
	return strings.Join(slices.Compact(out), " ")
}

func (w *world) has(name string) bool {
	_, err := os.Stat(filepath.Join(w.state, name))
	return err == nil
}

func (w *world) put(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.state, name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func fault(t *testing.T, err error, want sdk.Fault) *sdk.Error {
	t.Helper()
	e, ok := errors.AsType[*sdk.Error](err)
	if !ok || e.Fault != want {
		t.Fatalf("the error is %v; want one of fault %s", err, want)
	}
	return e
}
