package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a child of the chaos whose output goes to a file.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// start starts a child that ends with this process, be that killed. Its output
// is added to the file at log.
func start(log string, env []string, program string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // in a folder of the chaos's own
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.Command(program, args...), ended: make(chan struct{})} //nolint:gosec,noctx // the chaos's own programs; it ends them itself
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = out, out, env
	p.cmd.SysProcAttr = childAttributes()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	go func() {
		_ = p.cmd.Wait() // most are killed; whoever stops one in order looks at how it went
		close(p.ended)
	}()
	return p, nil
}

// kill is kill -9; it returns once the process is gone.
func (p *process) kill() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
}

// stop is SIGTERM. It returns an error when the process takes longer than within.
func (p *process) stop(within time.Duration) error {
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(within):
		p.kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM", filepath.Base(p.cmd.Path), within)
	}
}

// children are the process ids of p's children. It reads /proc, so that there
// are none where there is no such thing.
func (p *process) children() []int {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	var ids []int
	for _, file := range threads {
		text, err := os.ReadFile(file) //nolint:gosec // of a child of our own
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(text)) {
			if id, err := strconv.Atoi(field); err == nil {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// withVariable are the processes that have this variable in their environment.
func withVariable(setting string) []int {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	var ids []int
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // the system's
		if err != nil || !strings.Contains("\x00"+string(text), "\x00"+setting+"\x00") {
			continue
		}
		id, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && id != os.Getpid() {
			ids = append(ids, id)
		}
	}
	return ids
}
