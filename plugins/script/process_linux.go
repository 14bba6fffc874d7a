package script

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// selfPath is this very program, even when its file was replaced meanwhile.
const selfPath = "/proc/self/exe"

// adoptOrphans makes this process the parent of whatever its descendants leave
// behind.
func adoptOrphans() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// noCores keeps a script that crashes from writing its environment, secrets and
// all, to a file.
func noCores() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) }

// scriptAttributes give a script a session of its own, and end it with its keeper.
func scriptAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// relative is a process that descends from this one.
type relative struct {
	pid, parent int
	group       int    // its process group
	born        string // in clock ticks since boot; with pid it names a process for good
}

// descendants are the processes that this one has started, directly or not,
// without those that only wait to be reaped.
func descendants() []relative {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	children := map[int][]relative{}
	dead := map[int]bool{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		r, zombie, err := lookAt(pid)
		if err != nil {
			continue
		}
		children[r.parent] = append(children[r.parent], r)
		dead[pid] = zombie
	}
	var all []relative
	seen := map[int]bool{}
	queue := []int{os.Getpid()}
	for len(queue) > 0 {
		of := queue[0]
		queue = queue[1:]
		for _, c := range children[of] {
			if seen[c.pid] {
				continue
			}
			seen[c.pid] = true
			queue = append(queue, c.pid)
			if !dead[c.pid] {
				all = append(all, c)
			}
		}
	}
	return all
}

// lookAt reads what /proc says of a process. Source: proc_pid_stat(5).
func lookAt(pid int) (r relative, zombie bool, err error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return r, false, err
	}
	// The name, in parentheses, may hold anything, parentheses and spaces too.
	end := bytes.LastIndexByte(data, ')')
	fields := bytes.Fields(data[max(end, 0)+1:])
	if end < 0 || len(fields) < 20 {
		return r, false, errors.New("what /proc says is not understood")
	}
	parent, err := strconv.Atoi(string(fields[1]))
	group, errGroup := strconv.Atoi(string(fields[2]))
	return relative{pid: pid, parent: parent, group: group, born: string(fields[19])}, fields[0][0] == 'Z' || fields[0][0] == 'X', errors.Join(err, errGroup)
}

// signalTree sends a signal to a process group, if group is not 0, and to each
// descendant outside of it: once to each, for many programs take a second SIGTERM
// as leave to drop everything.
func signalTree(group int, s syscall.Signal) {
	if group > 0 {
		_ = syscall.Kill(-group, s)
	}
	for _, r := range descendants() {
		if group <= 0 || r.group != group {
			r.signal(s)
		}
		if s == syscall.SIGTERM {
			r.signal(syscall.SIGCONT) // one that is stopped hears nothing
		}
	}
}

// signal reaches that process and never another one that got its number.
func (r relative) signal(s syscall.Signal) {
	fd, err := unix.PidfdOpen(r.pid, 0)
	if err != nil {
		if errors.Is(err, unix.ENOSYS) {
			_ = syscall.Kill(r.pid, s)
		}
		return
	}
	defer func() { _ = unix.Close(fd) }()
	if now, _, err := lookAt(r.pid); err == nil && now.born == r.born {
		_ = unix.PidfdSendSignal(fd, s, nil, 0)
	}
}

// sweep ends what a keeper that was killed has left to this process: the
// processes whose environment has the mark, and those below them.
func sweep(mark string) {
	for range 50 {
		found := false
		for _, r := range descendants() {
			env, err := os.ReadFile("/proc/" + strconv.Itoa(r.pid) + "/environ")
			if err != nil || !bytes.Contains(env, []byte(mark)) {
				continue
			}
			found = true
			r.signal(syscall.SIGSTOP)
			r.signal(syscall.SIGKILL)
			if r.parent == os.Getpid() {
				var status syscall.WaitStatus
				_, _ = syscall.Wait4(r.pid, &status, 0, nil)
			}
		}
		if !found {
			return
		}
	}
}
