// Command build compiles devcluster into the user's cache and prints the path of
// the binary, and nothing else, on stdout:
//
//	devcluster=$(go run -C cmd/devcluster ./build)
//
// The path holds a key over everything that decides what the binary is, so an
// unchanged one is found again at once, by any checkout of the same sources.
// Compiling a Kubernetes control plane takes minutes; what it does meanwhile is
// said on stderr.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	path, err := run(ctx, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "build of devcluster:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}

// run returns the path of an up-to-date binary, building it if need be.
func run(ctx context.Context, progress io.Writer) (string, error) {
	module, err := moduleDir()
	if err != nil {
		return "", err
	}
	key, err := cacheKey(ctx, module)
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(cache, key, "devcluster")
	if found(binary) {
		return binary, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(cache, "lock"), progress)
	if err != nil {
		return "", err
	}
	defer unlock()
	if found(binary) { // whoever held the lock has built it
		return binary, nil
	}
	if err := compile(ctx, module, binary, progress); err != nil {
		return "", err
	}
	return binary, prune(cache, key)
}

// found reports whether the binary is there, and marks it as used.
func found(binary string) bool {
	if info, err := os.Stat(binary); err != nil || !info.Mode().IsRegular() {
		return false
	}
	now := time.Now()
	_ = os.Chtimes(filepath.Dir(binary), now, now) // only prune reads it
	return true
}

// lock takes the lock file at path, saying so if it has to wait: two builds at
// once would take twice as long, for the same result.
func lock(ctx context.Context, path string, progress io.Writer) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for said := false; ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if !said {
			fmt.Fprintln(progress, "another process is building the dev cluster; waiting for it")
			said = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
