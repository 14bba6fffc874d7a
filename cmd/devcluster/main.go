// Command devcluster runs a Kubernetes control plane on this machine, for tests
// and for the demo: etcd, kube-apiserver, kube-controller-manager,
// kube-scheduler and KWOK, all from this one binary and all on loopback.
//
// The binary starts itself again once per component, so that each has its own
// process, its own flags and its own global state, as it expects.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/berth-dev/berth/cmd/devcluster/internal/cluster"
	"github.com/berth-dev/berth/cmd/devcluster/internal/components"
	"github.com/berth-dev/berth/cmd/devcluster/internal/lifeline"

	"k8s.io/component-base/version"
)

// Exit codes of devcluster beyond those of package cluster.
const exitUsage = 2

const usage = `devcluster runs a real Kubernetes control plane with simulated nodes, on loopback only.

Usage:
  devcluster up [flags]   start a cluster and keep it until SIGTERM or Ctrl-C
  devcluster version      print the Kubernetes version

Run "devcluster up -h" for the flags.
`

func init() {
	// The kernel delivers a child's parent-death signal when the *thread* that
	// started it ends. Children are started from the main goroutine alone; locked
	// to the main thread, that is the moment when this process ends.
	runtime.LockOSThread()
}

func main() {
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// run does what the arguments say and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) < 2 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	name, rest := args[1], args[2:]
	switch name {
	case "up":
		return cluster.Main(rest, stdout, stderr)
	case "version", "--version":
		fmt.Fprintln(stdout, version.Get().GitVersion)
		return 0
	case "help", "-h", "--help":
		fmt.Fprint(stdout, usage)
		return 0
	}
	component, ok := components.ByName(name)
	if !ok {
		fmt.Fprintf(stderr, "devcluster: unknown command %q\n\n%s", name, usage)
		return exitUsage
	}
	if !lifeline.Attach() {
		fmt.Fprintf(stderr, "devcluster: %q is a component that `devcluster up` starts; it does not run by itself\n", name)
		return exitUsage
	}
	// Each component parses os.Args and shows its own name in its messages.
	os.Args = append([]string{name}, rest...)
	return component()
}
