package clustertest

import "syscall"

// attributes let the control plane end with the tests, be they killed.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
