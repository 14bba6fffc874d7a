package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// heartbeat is how often a long build says that it is alive.
const heartbeat = 15 * time.Second

// tail is how many lines of the go command's output an error shows.
const tail = 30

// compile builds the module's binary. It appears in one step: nobody ever runs
// half of it.
func compile(ctx context.Context, module, binary string, progress io.Writer) error {
	kubernetes, err := goOutput(ctx, module, "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	if err != nil {
		return err
	}
	flags, err := versionFlags(kubernetes)
	if err != nil {
		return err
	}
	fmt.Fprintf(progress, "building the dev cluster (Kubernetes %s control plane): about 5 minutes of two idle cores the first time, half a minute after a change, and nothing when nothing has changed\n", kubernetes)
	cache := filepath.Dir(filepath.Dir(binary))
	if err := removeParts(cache); err != nil {
		return err
	}
	part, err := os.MkdirTemp(cache, partPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)

	begin := time.Now()
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-ldflags="+flags, "-o", filepath.Join(part, filepath.Base(binary)), ".")
	cmd.Dir = module
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := watch(cmd, begin, progress); err != nil {
		return err
	}
	// MkdirTemp's mode is for its owner alone, which is right for a cache in a home
	// directory; the rename replaces nothing, since the caller holds the lock.
	if err := os.Rename(part, filepath.Dir(binary)); err != nil {
		return err
	}
	fmt.Fprintf(progress, "built in %s: %s\n", elapsed(begin), binary)
	return nil
}

// partPrefix begins the name of a folder with a build that is under way.
const partPrefix = ".part-"

// removeParts removes what builds that were killed have left. The caller holds
// the lock, so none is under way.
func removeParts(cache string) error {
	parts, err := filepath.Glob(filepath.Join(cache, partPrefix+"*"))
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	return nil
}

// versionFlags are linker flags that set the version which the components report.
// Without them it is v0.0.0, with which the API server does not know what it can
// do.
func versionFlags(version string) (string, error) {
	m := regexp.MustCompile(`^v(\d+)\.(\d+)\.\d+`).FindStringSubmatch(version)
	if m == nil {
		return "", fmt.Errorf("k8s.io/kubernetes has the version %q", version)
	}
	flags := []string{"-s", "-w"} // no debugger goes there, and it is a third smaller
	for _, set := range []string{
		"gitVersion=" + version, "gitMajor=" + m[1], "gitMinor=" + m[2], "gitCommit=devcluster", "gitTreeState=clean",
	} {
		flags = append(flags, "-X k8s.io/component-base/version."+set)
	}
	return strings.Join(flags, " "), nil
}

// watch runs the go command and tells how it goes. With -v the go command prints
// a line per package that it compiles and per module that it downloads.
func watch(cmd *exec.Cmd, begin time.Time, progress io.Writer) error {
	out, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	cmd.Stdout = progress
	if err := cmd.Start(); err != nil {
		return err
	}
	var packages, modules atomic.Int64
	beats := time.NewTicker(heartbeat)
	defer beats.Stop()
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-beats.C:
				fmt.Fprintf(progress, "  %s: %s\n", elapsed(begin), report(packages.Load(), modules.Load()))
			case <-done:
				return
			}
		}
	}()
	var last []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		switch text := lines.Text(); {
		case strings.HasPrefix(text, "go: downloading "):
			modules.Add(1)
		default:
			packages.Add(1)
			last = append(last[max(0, len(last)-tail+1):], text)
		}
	}
	err = errors.Join(lines.Err(), cmd.Wait())
	close(done)
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, strings.Join(last, "\n"))
	}
	return nil
}

func report(packages, modules int64) string {
	switch {
	case packages == 0 && modules == 0:
		return "looking at what has changed, or linking"
	case packages == 0:
		return fmt.Sprintf("%d modules downloaded", modules)
	case modules == 0:
		return fmt.Sprintf("%d packages compiled", packages)
	}
	return fmt.Sprintf("%d modules downloaded, %d packages compiled", modules, packages)
}

func elapsed(begin time.Time) string { return time.Since(begin).Round(time.Second).String() }
