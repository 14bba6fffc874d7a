package redistest

import "syscall"

// sysProcAttr lets a server end with the test's process, be that killed.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
