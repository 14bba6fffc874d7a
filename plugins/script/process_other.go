//go:build !linux

package script

import (
	"os"
	"syscall"
)

// selfPath is this very program.
var selfPath, _ = os.Executable()

// Elsewhere than on Linux a keeper ends the script's process group and no more:
// nobody adopts what leaves it.

func adoptOrphans() {}

func noCores() { _ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }

func scriptAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

type relative struct{ pid int }

func descendants() []relative { return nil }

func signalTree(group int, s syscall.Signal) {
	if group > 0 {
		_ = syscall.Kill(-group, s)
	}
}

func sweep(string) {}
