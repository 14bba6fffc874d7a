package host

import (
	"errors"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes give the program a process group of its own, so that it can be
// ended with all that it started, and no signal that a terminal sends the bot
// reaches it. The kernel kills it when the thread that started it is gone.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// reap waits for the program's end, ends whatever is left of its process group,
// and only then lets go of the process: as long as it has not been waited for,
// nobody else can get its id, which is the group's.
func reap(cmd *exec.Cmd) error {
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	signalGroup(cmd.Process.Pid, syscall.SIGKILL)
	return cmd.Wait()
}
