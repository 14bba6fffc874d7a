//go:build !linux

package main

import "syscall"

// childAttributes give a child a process group of its own, since a Ctrl-C is
// for Berth, which stops the child last.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
