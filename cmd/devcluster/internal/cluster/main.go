package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes of `devcluster up`.
const (
	exitStopped     = 0 // asked to stop, and did
	exitFailed      = 1 // did not start, or a component died
	exitUsage       = 2
	exitInUse       = 3   // another instance has the data directory
	exitInterrupted = 130 // asked to stop before it was ready
)

// Main is `devcluster up`: it parses args, runs a cluster until SIGTERM or
// SIGINT, and returns the exit code. The line with the kubeconfig's path is all
// that it writes to stdout; progress and errors go to stderr.
//
// It must be called from the main goroutine, locked to its thread: see
// lifeline.Line.Tie.
func Main(args []string, stdout, stderr io.Writer) int {
	opts, code := parse(args, stdout, stderr)
	if opts == nil {
		return code
	}
	signals := []os.Signal{syscall.SIGTERM, syscall.SIGINT}
	if !signal.Ignored(syscall.SIGHUP) { // as it is under nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()

	err := Up(ctx, *opts)
	var inUse *InUseError
	switch {
	case err == nil:
		return exitStopped
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(stderr, "devcluster: stopped before it was ready")
		return exitInterrupted
	case errors.As(err, &inUse):
		fmt.Fprintln(stderr, "devcluster:", err)
		return exitInUse
	default:
		fmt.Fprintln(stderr, "devcluster:", err)
		return exitFailed
	}
}

// parse returns nil options and an exit code where there is nothing to run.
func parse(args []string, stdout, stderr io.Writer) (*Options, int) {
	flags := flag.NewFlagSet("devcluster up", flag.ContinueOnError)
	flags.SetOutput(stderr)
	opts := &Options{Out: stdout, Progress: stderr}
	flags.StringVar(&opts.DataDir, "data-dir", "", "keep the cluster here, to start it again later (default: a temporary directory, removed at the end)")
	flags.IntVar(&opts.Nodes, "nodes", DefaultNodes, "how many simulated nodes it has")
	ingress := flags.String("ingress-address", "", "IP address that every Ingress and every Service of type LoadBalancer gets (default: none)")
	quiet := flags.Bool("quiet", false, "print only the kubeconfig's path, and errors")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, 0
		}
		return nil, exitUsage
	}
	usage := func(format string, a ...any) (*Options, int) {
		fmt.Fprintf(stderr, "devcluster up: "+format+"\n", a...)
		return nil, exitUsage
	}
	if flags.NArg() > 0 {
		return usage("unexpected argument %q", flags.Arg(0))
	}
	if opts.Nodes < 1 || opts.Nodes > MaxNodes {
		return usage("--nodes must be between 1 and %d", MaxNodes)
	}
	if *ingress != "" {
		if opts.IngressAddress = net.ParseIP(*ingress); opts.IngressAddress == nil {
			return usage("--ingress-address %q is not an IP address", *ingress)
		}
	}
	if *quiet {
		opts.Progress = io.Discard
	}
	return opts, 0
}
