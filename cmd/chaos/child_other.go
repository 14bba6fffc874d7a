//go:build !linux

package main

import "syscall"

// childAttributes keep a child out of reach of a Ctrl-C, after which this
// process ends its children in order.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
