package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a child of the demo with the end of its output.
type process struct {
	name   string
	cmd    *exec.Cmd
	ended  chan struct{}
	mu     sync.Mutex
	recent []string
	seen   func(line string) // told each line of output
}

// keepLines is how much of a child's output is kept for an error message.
const keepLines = 200

// start runs a child in a process group of its own, so that a Ctrl-C reaches
// the demo alone, which stops its children in order.
func start(name string, env []string, seen func(string), program string, args ...string) (*process, error) {
	p := &process{name: name, ended: make(chan struct{}), seen: seen}
	reader, writer := io.Pipe()
	p.cmd = exec.Command(program, args...) //nolint:gosec,noctx // the demo's own programs; stop ends them in order
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = writer, writer, env
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go p.read(reader)
	go func() {
		defer close(p.ended)
		writer.CloseWithError(errors.Join(p.cmd.Wait(), io.EOF))
	}()
	return p, nil
}

func (p *process) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		p.mu.Lock()
		p.recent = append(p.recent, lines.Text())
		if len(p.recent) > keepLines {
			p.recent = p.recent[1:]
		}
		p.mu.Unlock()
		if p.seen != nil {
			p.seen(lines.Text())
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line too long ends the scanner; the child must not block on it
}

// tail is the last 20 lines of the child's output.
func (p *process) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.recent[max(0, len(p.recent)-20):], "\n")
}

// stop asks the child to end, waits, and kills it if it does not.
func (p *process) stop() {
	if p == nil {
		return
	}
	if p.cmd.Process.Signal(syscall.SIGTERM) != nil {
		return
	}
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		if err := p.cmd.Process.Kill(); err == nil {
			<-p.ended
		}
	}
}

// output runs a program to its end and returns what it printed.
func output(ctx context.Context, env []string, program string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // the demo's own programs
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &out
	err := cmd.Run()
	return out.String(), err
}
