package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// maxHandshake bounds the line by which a program says where it listens; with
// a certificate in it, it takes about 1 KB.
const maxHandshake = 64 << 10

// pipeGrace is how long output is still read after the program's process group
// is gone. Only a process that left the group can hold the pipes longer.
const pipeGrace = 500 * time.Millisecond

// process is one start of a program; it implements go-plugin's runner.Runner.
//
// go-plugin's own runner is not used for four reasons: it hands the host's
// standard input down, it cannot kill a process group, it waits for ever for
// pipes that a grandchild holds, and its reader of standard error panics on a
// JSON line whose @message is not a string, which would let an executor take
// the bot down. So the pipes are read here, and go-plugin sees of standard
// output the first line and of standard error nothing.
type process struct {
	cmd    *exec.Cmd
	output *output
	guard  *guard
	id     atomic.Int64 // the process's

	hello    *io.PipeReader // the handshake line
	helloIn  *io.PipeWriter
	silence  *io.PipeReader // ends with the process
	silentIn *io.PipeWriter

	lifeline *os.File // the host's end of the program's standard input
	exited   chan struct{}
	exitErr  error // valid once exited is closed
	once     sync.Once
}

func newProcess(path string, args, env []string, dir string, out *output, g *guard) *process {
	cmd := exec.Command(path, args...) //nolint:gosec,noctx // The operator names the program; it outlives any call's context.
	cmd.Env = slices.Concat(env, []string{
		sdk.EnvParent + "=" + strconv.Itoa(os.Getpid()),
		sdk.EnvLifeline + "=stdin",
	})
	cmd.Dir = dir
	cmd.SysProcAttr = attributes()
	p := &process{cmd: cmd, output: out, guard: g, exited: make(chan struct{})}
	p.hello, p.helloIn = io.Pipe()
	p.silence, p.silentIn = io.Pipe()
	return p
}

// Start starts the program.
func (p *process) Start(context.Context) error {
	var inner, outer [3]*os.File // the program's and the host's ends of 0, 1, 2
	closeAll := func(files [3]*os.File) {
		for _, f := range files {
			if f != nil {
				_ = f.Close()
			}
		}
	}
	for i := range inner {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(inner)
			closeAll(outer)
			return fmt.Errorf("make a pipe: %w", err)
		}
		if i == 0 {
			inner[i], outer[i] = r, w
		} else {
			inner[i], outer[i] = w, r
		}
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = inner[0], inner[1], inner[2]
	p.lifeline = outer[0]
	started := make(chan error, 1)
	go p.live(started, outer[1], outer[2])
	err := <-started
	closeAll(inner)
	if err != nil {
		closeAll(outer)
		p.end(err)
	}
	return err
}

// live starts the program and waits for its end on one thread of the operating
// system, which it never gives back: the kernel sends the signal for a dead
// parent (see attributes) when the thread that started the child ends, not when
// the process does.
func (p *process) live(started chan<- error, stdout, stderr *os.File) {
	runtime.LockOSThread()
	err := p.cmd.Start()
	if err == nil {
		p.id.Store(int64(p.cmd.Process.Pid))
		p.guard.add(p.pid())
	}
	started <- err
	if err != nil {
		return
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.readOut(stdout) })
	readers.Go(func() { p.output.lines(stderr, p.output.stderr) })
	err = reap(p.cmd) // and with the program, whatever it started
	p.guard.remove(p.pid())
	deadline := time.Now().Add(pipeGrace)
	_ = stdout.SetReadDeadline(deadline)
	_ = stderr.SetReadDeadline(deadline)
	readers.Wait()
	_ = stdout.Close()
	_ = stderr.Close()
	p.end(err)
}

func (p *process) end(err error) {
	p.once.Do(func() {
		p.exitErr = err
		_ = p.lifeline.Close()
		_ = p.helloIn.Close()
		_ = p.silentIn.Close()
		close(p.exited)
	})
}

// readOut passes the first line on to go-plugin and logs the others. A program
// on the SDK prints none: its os.Stdout is another file by then.
func (p *process) readOut(stdout io.Reader) {
	r := bufio.NewReaderSize(stdout, maxHandshake)
	line, err := r.ReadSlice('\n')
	if err == nil || errors.Is(err, io.EOF) {
		_, _ = p.helloIn.Write(line)
	}
	_ = p.helloIn.Close()
	p.output.lines(r, p.output.stdout)
}

// Wait waits for the program's end and is why it ended.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return p.exitErr
}

// Kill ends the program and all that it started, now.
func (p *process) Kill(context.Context) error {
	p.signal(syscall.SIGKILL)
	return nil
}

// signal reaches the whole process group. It does nothing once the program has
// ended.
func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.exited:
	default:
		if pid := p.pid(); pid > 0 {
			signalGroup(pid, s)
		}
	}
}

// pid is 0 before the start.
func (p *process) pid() int { return int(p.id.Load()) }

func signalGroup(pid int, s syscall.Signal) { _ = syscall.Kill(-pid, s) }

// The rest of runner.Runner.

// Stdout is the handshake line.
func (p *process) Stdout() io.ReadCloser { return p.hello }

// Stderr is silent.
func (p *process) Stderr() io.ReadCloser { return p.silence }

// Name is the program's path.
func (p *process) Name() string { return p.cmd.Path }

// ID is the process id, "" before the start.
func (p *process) ID() string {
	if p.pid() == 0 {
		return ""
	}
	return strconv.Itoa(p.pid())
}

// Diagnose has nothing to add to what the log says.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost changes nothing: both live in one file system.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin changes nothing.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
