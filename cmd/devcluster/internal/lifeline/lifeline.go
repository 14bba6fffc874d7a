// Package lifeline ends a child process when its parent is gone, however the
// parent went.
//
// The parent holds the writing end of a pipe that it never writes to; each child
// inherits the reading end. The kernel closes the writing end when the parent
// ends, even by SIGKILL, and the child's read returns. Where the kernel also
// knows parent-death signals (Linux), these come first and the pipe is the
// second net; elsewhere the pipe is the only one.
package lifeline

import (
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// envVar names the environment variable that tells a child which of its file
// descriptors is the lifeline.
const envVar = "DEVCLUSTER_LIFELINE_FD"

// grace is how long a child that handles SIGTERM may take to end by itself once
// its parent is gone.
const grace = 3 * time.Second

// Line is the parent's end. The zero value is of no use; make one with New.
type Line struct {
	read, write *os.File
}

// New opens a lifeline. It must stay referenced for as long as the children may
// live: a collected Line is a cut one.
func New() (*Line, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &Line{read: r, write: w}, nil
}

// Tie makes cmd a child that ends with this process: at once by SIGKILL, or by
// the given signal where a component has something to put away first. It also
// moves the child to a process group of its own, so that a terminal's Ctrl-C
// reaches the parent alone, which then stops its children in order.
//
// cmd must be started from a goroutine that is locked to a thread which lives as
// long as the process.
func (l *Line) Tie(cmd *exec.Cmd, onParentDeath syscall.Signal) {
	cmd.ExtraFiles = append(cmd.ExtraFiles, l.read)
	fd := 2 + len(cmd.ExtraFiles) // ExtraFiles start at descriptor 3
	cmd.Env = append(cmd.Env, envVar+"="+strconv.Itoa(fd))
	cmd.SysProcAttr = procAttr(onParentDeath)
}

// Close cuts the line: children that still run end.
func (l *Line) Close() {
	l.write.Close()
	l.read.Close()
}

// Attach is called first thing in a child. It reports whether this process was
// started with a lifeline; if so, the process ends soon after its parent did.
func Attach() bool {
	fd, err := strconv.Atoi(os.Getenv(envVar))
	if err != nil || fd < 3 {
		return false
	}
	f := os.NewFile(uintptr(fd), "lifeline")
	if f == nil {
		return false
	}
	syscall.CloseOnExec(fd)
	os.Unsetenv(envVar)
	go func() {
		_, _ = io.Copy(io.Discard, f)
		self, _ := os.FindProcess(os.Getpid())
		_ = self.Signal(syscall.SIGTERM)
		time.Sleep(grace)
		_ = self.Kill()
	}()
	return true
}
