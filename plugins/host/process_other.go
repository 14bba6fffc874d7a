//go:build !linux

package host

import (
	"os/exec"
	"syscall"
)

// attributes give the program a process group of its own. Where the kernel
// cannot kill it when the bot is gone, the guard does, and the SDK ends it when
// its standard input closes.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// reap waits for the program's end and ends whatever is left of its process
// group.
func reap(cmd *exec.Cmd) error {
	err := cmd.Wait()
	signalGroup(cmd.Process.Pid, syscall.SIGKILL)
	return err
}
