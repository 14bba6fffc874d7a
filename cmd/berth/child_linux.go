package main

import "syscall"

// childAttributes give a child a process group of its own, since a Ctrl-C is
// for Berth, which stops the child last; and let it end with Berth, however
// that ends.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
