//go:build !linux

package lifeline

import "syscall"

// procAttr has no parent-death signal here; the pipe does that work alone.
func procAttr(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
