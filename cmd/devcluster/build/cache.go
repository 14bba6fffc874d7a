package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// keep is how many binaries stay in the cache: enough for a few branches, at
// some 130 MB each.
const keep = 4

// cacheDir is ${XDG_CACHE_HOME:-$HOME/.cache}/berth/devcluster.
func cacheDir() (string, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(base) { // the specification says to ignore a relative one
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		base = filepath.Join(home, ".cache")
	}
	return filepath.Join(base, "berth", "devcluster"), nil
}

// moduleDir is the folder of devcluster's go.mod, from the working directory up.
func moduleDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module github.com/berth-dev/berth/cmd/devcluster\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run it in cmd/devcluster: go run -C cmd/devcluster ./build")
		}
		dir = parent
	}
}

// cacheKey hashes what decides the binary: the toolchain, its settings, and the
// module's files but for tests and for this program.
func cacheKey(ctx context.Context, module string) (string, error) {
	version, err := goOutput(ctx, module, "version")
	if err != nil {
		return "", err
	}
	settings, err := goOutput(ctx, module, "env", "GOFLAGS", "CGO_ENABLED", "GOEXPERIMENT")
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", version, settings)
	err = filepath.WalkDir(module, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(module, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel == "build" || rel == "e2e" {
				return fs.SkipDir
			}
			return nil
		}
		if !decides(rel) {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d\n", filepath.ToSlash(rel), len(data))
		h.Write(data)
		return nil
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil))[:20], nil
}

// decides reports whether the file is part of the binary.
func decides(name string) bool {
	switch filepath.Ext(name) {
	case ".go":
		return !strings.HasSuffix(name, "_test.go")
	case ".yaml", ".mod", ".sum":
		return true
	}
	return false
}

// prune removes the binaries that were not used for the longest time.
func prune(cache, current string) error {
	type entry struct {
		path string
		used time.Time
	}
	dirs, err := os.ReadDir(cache)
	if err != nil {
		return err
	}
	var old []entry
	for _, d := range dirs {
		info, err := d.Info()
		if err != nil || !d.IsDir() || d.Name() == current {
			continue
		}
		old = append(old, entry{filepath.Join(cache, d.Name()), info.ModTime()})
	}
	slices.SortFunc(old, func(a, b entry) int { return b.used.Compare(a.used) })
	for _, e := range old[min(len(old), keep-1):] {
		if err := os.RemoveAll(e.path); err != nil {
			return err
		}
	}
	return nil
}

// goOutput runs the go command in dir and returns what it prints.
func goOutput(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return "", fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
