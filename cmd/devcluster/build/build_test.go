package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestVersionFlags(t *testing.T) {
	got, err := versionFlags("v1.36.3")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".gitVersion=v1.36.3", ".gitMajor=1", ".gitMinor=36"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	if _, err := versionFlags("master"); err == nil {
		t.Error("a version that is none is taken")
	}
}

func TestTheKeyIsOfWhatDecidesTheBinary(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		key, err := cacheKey(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	key := write("go.mod", "module example.org/x\n\ngo 1.26\n")
	for _, name := range []string{"main.go", "internal/a/a.go", "internal/a/t.yaml", "go.sum"} {
		next := write(name, "package main\n")
		if next == key {
			t.Errorf("%s does not change the key", name)
		}
		key = next
	}
	for _, name := range []string{"README.md", "main_test.go", "build/main.go", "e2e/e2e.go"} {
		if write(name, "package main\n") != key {
			t.Errorf("%s changes the key", name)
		}
	}
}

func TestPruneKeepsTheLastUsed(t *testing.T) {
	cache := t.TempDir()
	now := time.Now()
	for i, name := range []string{"current", "a", "b", "c", "d", "e"} {
		dir := filepath.Join(cache, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		used := now.Add(-time.Duration(i) * time.Hour)
		if name == "current" {
			used = now.Add(-time.Hour * 1000)
		}
		if err := os.Chtimes(dir, used, used); err != nil {
			t.Fatal(err)
		}
	}
	if err := prune(cache, "current"); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(cache, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range left {
		names = append(names, filepath.Base(p))
	}
	if got := strings.Join(names, " "); got != "a b c current" {
		t.Errorf("left are %s", got)
	}
}

func TestALockIsWaitedForAndSaysSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	said := writerFunc(func([]byte) { cancel() })
	if _, err := lock(ctx, path, said); err != context.Canceled {
		t.Errorf("a held lock gave %v", err)
	}
	unlock()
	unlock, err = lock(t.Context(), path, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }
