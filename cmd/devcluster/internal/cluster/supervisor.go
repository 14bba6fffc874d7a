package cluster

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/berth-dev/berth/cmd/devcluster/internal/lifeline"
)

// stopTimeout is how long a component may take to stop before it is killed.
const stopTimeout = 5 * time.Second

// logTail is how many of a dead component's last log lines are shown.
const logTail = 15

// supervisor starts components as child processes, notices when one dies, and
// stops them.
type supervisor struct {
	dir      layout
	lock     *os.File
	self     string // this very binary
	line     *lifeline.Line
	procs    []*process
	stopping atomic.Bool

	// died gets an error when a component ends that nobody has stopped.
	died chan error
}

type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

func newSupervisor(dir layout, lock *os.File) (*supervisor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	line, err := lifeline.New()
	if err != nil {
		return nil, err
	}
	return &supervisor{dir: dir, lock: lock, self: self, line: line, died: make(chan error, 8)}, nil
}

// start runs the component. It must be called from the main goroutine.
func (s *supervisor) start(name string, flags ...string) error {
	out, err := os.Create(s.dir.log(name))
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(s.self, append([]string{name}, flags...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = string(s.dir), out, out
	// Nothing of the caller's environment: a KUBECONFIG, a proxy or a token there
	// is none of a component's business. HOME is where KWOK looks for a config.
	cmd.Env = []string{"HOME=" + string(s.dir), "TMPDIR=" + os.TempDir(), "GOGC=50"}
	onParentDeath := syscall.SIGKILL
	if name == "etcd" {
		// etcd ends in order, and removes a temporary directory. It also holds on
		// to the lock until it has.
		onParentDeath = syscall.SIGTERM
		cmd.ExtraFiles = append(cmd.ExtraFiles, s.lock)
	}
	s.line.Tie(cmd, onParentDeath)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	s.procs = append(s.procs, p)
	go s.watch(p)
	return nil
}

func (s *supervisor) watch(p *process) {
	err := p.cmd.Wait()
	if !s.stopping.Load() {
		how := "exit status 0"
		if err != nil {
			how = err.Error()
		}
		s.died <- fmt.Errorf("%s ended (%s); the last lines of its log:\n%s", p.name, how, s.tail(p.name))
	}
	close(p.done)
}

// tail returns the last lines of a component's log, indented.
func (s *supervisor) tail(name string) string {
	data, err := os.ReadFile(s.dir.log(name))
	if err != nil {
		return "  (no log: " + err.Error() + ")"
	}
	lines := strings.Split(string(bytes.TrimRight(data, "\n")), "\n")
	if len(lines) > logTail {
		lines = lines[len(lines)-logTail:]
	}
	return "  " + strings.Join(lines, "\n  ")
}

// stop ends all components: first those that use the API server, then it, then
// etcd.
func (s *supervisor) stop() {
	s.stopping.Store(true)
	var clients, apiServer, etcd []*process
	for _, p := range s.procs {
		switch p.name {
		case "etcd":
			etcd = append(etcd, p)
		case "kube-apiserver":
			apiServer = append(apiServer, p)
		default:
			clients = append(clients, p)
		}
	}
	for _, group := range [][]*process{clients, apiServer, etcd} {
		var wg sync.WaitGroup
		for _, p := range group {
			wg.Go(p.stop)
		}
		wg.Wait()
	}
	s.line.Close()
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}
