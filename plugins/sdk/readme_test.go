package sdk_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// TestReadmeShowsTheExample keeps the README's executor the one that is
// compiled and tested.
func TestReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join("internal", "example", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(readme), "```go\n")
	block, _, _ := strings.Cut(rest, "```")
	_, program, _ := strings.Cut(string(source), "\npackage main")
	if !ok || block != "package main"+program {
		t.Error("the first Go block of README.md is not internal/example/main.go; copy it there from \"package main\" on")
	}
	if lines := strings.Count(block, "\n"); lines > 60 {
		t.Errorf("the example has grown to %d lines; it is to stay within 60", lines)
	}
}

func TestExampleConforms(t *testing.T) {
	program := filepath.Join(t.TempDir(), "berth-page")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./internal/example").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	root := t.TempDir()
	sdktest.Run(t, sdktest.Suite{
		Command: []string{program},
		Env:     []string{"PAGE_ROOT=" + root},
		Step:    sdk.Step{With: map[string]any{"text": "a page that nobody quotes"}},
		Invalid: map[string]map[string]any{"no text": {}, "text that is a number": {"text": 1}},
		Secrets: []string{"a page that nobody quotes"},
		Snapshot: func(t *testing.T) string {
			files, err := filepath.Glob(filepath.Join(root, "*", "*", "*"))
			if err != nil {
				t.Fatal(err)
			}
			return strings.Join(files, "\n")
		},
	})
}
