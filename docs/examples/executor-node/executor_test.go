// Package site tests the executor in this folder, which is written in Node.
package site

import (
	"context"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// program is the executor, with what it needs, in a folder of the test's own.
func program(t *testing.T) string {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not installed: apt-get install npm")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: apt-get install nodejs")
	}
	version, err := exec.CommandContext(t.Context(), node, "--version").Output()
	major, _, _ := strings.Cut(strings.TrimPrefix(string(version), "v"), ".")
	if n, _ := strconv.Atoi(major); err != nil || n < 20 {
		t.Skipf("node is %s, and the executor needs 20 or later", strings.TrimSpace(string(version)))
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "src"), os.DirFS("src")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("the packages that the executor needs cannot be installed: npm ci: %v\n%s", err, out)
	}
	return filepath.Join(dir, "src", "main.mjs")
}

func TestConformance(t *testing.T) {
	main, root, folder := program(t), t.TempDir(), t.TempDir()
	t.Run("nobody overtakes a run of the same part", func(t *testing.T) {
		out, err := exec.CommandContext(t.Context(), "node", filepath.Join("testdata", "overtake.mjs"), filepath.Join(filepath.Dir(main), "service.mjs")).CombinedOutput()
		if want := "first begins, second is stopped, first ends, third begins, third ends"; err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%v, and it says %s, want %s", err, out, want)
		}
	})
	const text = "a page that nobody quotes"
	for name, content := range map[string]string{"index.html": text, "more/style.css": "body {}"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	linked := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(linked, "index.html")); err != nil {
		t.Fatal(err)
	}
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // it never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	die, err := filepath.Abs(filepath.Join("testdata", "die.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]any{"root": root, "url": "http://" + silent.Addr().String()}
	sdktest.Run(t, sdktest.Suite{
		Command: []string{"node", main},
		Step:    sdk.Step{Settings: settings, With: map[string]any{"folder": folder}},
		Slow:    &sdk.Step{With: map[string]any{"page": text, "wait": true}},
		Invalid: map[string]map[string]any{
			"nothing to publish":       {},
			"a folder and a page":      {"folder": folder, "page": text},
			"a folder that is missing": {"folder": filepath.Join(root, "none")},
			"a folder with a link":     {"folder": linked},
			"a page that is a number":  {"page": 5},
		},
		InvalidSettings: map[string]map[string]any{"no root": {}, "no address": {"root": root, "url": "here"}},
		Secrets:         []string{text},
		Snapshot:        func(t *testing.T) string { return strings.Join(files(t, root), "\n") },
		Owned:           func(t *testing.T) []string { return files(t, root) },
		InterruptedEnv: func(_ *testing.T, n int) []string {
			return []string{"NODE_OPTIONS=--import=" + die, "DIE_AT=" + strconv.Itoa(n)}
		},
		InterruptEvery: 2, // each time that is two starts of Node
	})
}

// files are all files beneath a folder.
func files(t *testing.T, root string) (all []string) {
	t.Helper()
	if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}
