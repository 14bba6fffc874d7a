package main

import "syscall"

// childAttributes let a child end with this process, be that killed, and keep
// it out of reach of a Ctrl-C, after which this process ends its children in
// order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
