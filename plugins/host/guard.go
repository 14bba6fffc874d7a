package host

import (
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
)

// guard ends the process groups of all programs when the bot is killed. The
// kernel's signal for a dead parent reaches a program but not what the program
// has started, and not every system has it. So a shell waits for the end of a
// pipe that only the bot holds, which no way of dying can keep open, and then
// kills the groups that the pipe named.
//
// Where there is no shell, as in an image of the bot alone, the other means
// remain: the signal, and the executors' watch on their standard input.
type guard struct {
	mu     sync.Mutex
	pipe   io.WriteCloser
	groups map[int]bool
	off    bool // there is no shell
}

const guardScript = `trap '' HUP INT TERM
groups=' '
while read -r op id; do
  case $op in
  +) groups="$groups$id " ;;
  -) case $groups in *" $id "*) groups="${groups%% $id *} ${groups#* $id }" ;; esac ;;
  esac
done
for id in $groups; do kill -s KILL -- "-$id" 2>/dev/null; done`

func newGuard() *guard { return &guard{groups: map[int]bool{}} }

// add puts a process group under guard.
func (g *guard) add(group int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.groups[group] = true
	if g.pipe != nil {
		if _, err := fmt.Fprintln(g.pipe, "+", group); err == nil {
			return
		}
		g.stop()
	}
	g.start()
}

// remove lets go of a process group that has ended.
func (g *guard) remove(group int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.groups, group)
	if g.pipe == nil {
		return
	}
	if len(g.groups) == 0 {
		// Told first, so that the shell finds nothing to do at its end.
		_, _ = fmt.Fprintln(g.pipe, "-", group)
		g.stop()
		return
	}
	if _, err := fmt.Fprintln(g.pipe, "-", group); err != nil {
		g.stop()
		g.start()
	}
}

// start runs a shell that guards all groups. The caller holds mu.
func (g *guard) start() {
	if g.off {
		return
	}
	cmd := exec.Command("/bin/sh", "-c", guardScript, "berth-guard")
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		g.off = true
		return
	}
	if err := cmd.Start(); err != nil {
		g.off = true
		return
	}
	go func() { _ = cmd.Wait() }()
	g.pipe = pipe
	for group := range g.groups {
		_, _ = fmt.Fprintln(pipe, "+", group)
	}
}

func (g *guard) stop() {
	_ = g.pipe.Close()
	g.pipe = nil
}
