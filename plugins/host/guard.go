package host

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// guard ends the process groups of all programs when the bot is killed. The
// kernel's signal for a dead parent reaches a program but not what the program
// has started, and not every system has it. So a shell waits for the end of a
// pipe that only the bot holds, which no way of dying can keep open, and then
// kills the groups that the pipe named and removes their sockets.
//
// Where there is no shell, as in an image of the bot alone, the other means
// remain: the signal, and the executors' watch on their standard input.
type guard struct {
	mu     sync.Mutex
	dir    string // of the sockets; "" until it is needed
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
[ "$groups" = ' ' ] && exit
for id in $groups; do kill -s KILL -- "-$id" 2>/dev/null; done
exec /bin/rm -rf -- "$1"`

func newGuard() *guard { return &guard{groups: map[int]bool{}} }

// folder makes a folder for one program's socket, below one that is removed
// when the bot ends.
func (g *guard) folder() (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dir == "" {
		dir, err := os.MkdirTemp(socketBase(), "berth-")
		if err != nil {
			return "", fmt.Errorf("make a folder for sockets: %w", err)
		}
		g.dir = dir
	}
	return os.MkdirTemp(g.dir, "")
}

// close removes what folder made.
func (g *guard) close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dir == "" {
		return nil
	}
	dir := g.dir
	g.dir = ""
	return os.RemoveAll(dir)
}

// socketBase is where the folder for sockets is made. The path of a socket has
// to fit into 104 bytes (sun_path on macOS; 108 on Linux), of which the names
// below this folder take up to 66.
func socketBase() string {
	if base := os.TempDir(); len(base) <= 36 {
		return base
	}
	return "/tmp"
}

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
	cmd := exec.Command("/bin/sh", "-c", guardScript, "berth-guard", g.dir) //nolint:gosec,noctx // The script is a constant, and it has to outlive the bot.
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
