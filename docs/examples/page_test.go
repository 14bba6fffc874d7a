// Package examples holds the documentation's examples to what it says of them.
package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	page      = "../writing-an-executor.md"
	goExample = "executor-go"
	root      = "../.." // of the repository
)

var fence = regexp.MustCompile("(?ms)^```(go|yaml)\n(.*?)^```$")

// TestPageShowsTheExample keeps what the page shows what is compiled and tested:
// each of its blocks of Go and YAML is a file, and each file is there.
func TestPageShowsTheExample(t *testing.T) {
	text := read(t, page)
	var shown []string
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		shown = append(shown, m[2])
	}
	files, err := filepath.Glob(filepath.Join(goExample, "*.*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if !strings.Contains(text, filepath.Base(file)) {
			t.Errorf("the page does not name %s", file)
		}
		i := slices.Index(shown, read(t, file))
		if i < 0 {
			t.Errorf("the page does not show %s as it is; copy it there", file)
			continue
		}
		shown = slices.Delete(shown, i, i+1)
	}
	for _, block := range shown {
		first, _, _ := strings.Cut(block, "\n\n")
		t.Errorf("the page shows what is no file of the example; it begins\n%s", first)
	}
}

// TestFromNothing makes a module of the page's files, as a reader does, outside
// this one: the SDK is all that it needs of Berth.
func TestFromNothing(t *testing.T) {
	dir := t.TempDir()
	for _, m := range fence.FindAllStringSubmatch(read(t, page), -1) {
		if m[1] != "go" {
			continue
		}
		write(t, filepath.Join(dir, fileOf(t, m[2])), m[2])
	}
	berth, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	// The modules are those of this repository, so that no network is needed.
	mod := strings.Replace(read(t, filepath.Join(root, "go.mod")), "module github.com/berth-dev/berth", "module example.org/berth-redis", 1)
	mod += "\nrequire github.com/berth-dev/berth v0.0.0\n\nreplace github.com/berth-dev/berth => " + berth + "\n"
	write(t, filepath.Join(dir, "go.mod"), mod)
	write(t, filepath.Join(dir, "go.sum"), read(t, filepath.Join(root, "go.sum")))
	run(t, dir, "go", "vet", "-mod=mod", ".")
	run(t, dir, "go", "build", "-mod=mod", "-o", "berth-redis", ".")

	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "berth-redis"))
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "This is redis 1.0.0, an executor of Berth") {
		t.Errorf("started by hand it says %q, error %v", out, err)
	}
	for _, ours := range strings.Fields(run(t, dir, "go", "list", "-mod=mod", "-deps", ".")) {
		if rest, ok := strings.CutPrefix(ours, "github.com/berth-dev/berth/"); ok && !strings.HasPrefix(rest, "plugins/sdk") && !strings.HasPrefix(rest, "plugins/proto") {
			t.Errorf("an executor on the SDK is linked with %s", ours)
		}
	}
}

// fileOf is the example's file with this content.
func fileOf(t *testing.T, content string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(goExample, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if read(t, file) == content {
			return filepath.Base(file)
		}
	}
	t.Fatal("the page shows Go that is no file of the example")
	return ""
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
