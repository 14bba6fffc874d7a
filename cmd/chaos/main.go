// Command chaos shows what Berth promises while everything around it breaks. It
// plays two acts.
//
// The first is about requests. It runs three real `berth serve` on one real Redis that
// writes every change to disk, has clients make a thousand requests and people
// decide on them, and meanwhile kills a replica every second (kill -9, with its
// plugins), restarts Redis twice and cuts replicas off from it. In the end it
// looks at what the API, the audit chains and the executors' cloud each say, and
// exits with 1 when they do not tell one and the same story:
//
//   - every accepted request is there, and in exactly one terminal state;
//   - every step's effect happened once, and no effect is without its request;
//   - no two runs were at work in one environment at the same time;
//   - nothing ran without its quorum, or after a veto, or with another digest
//     than the one that was agreed on;
//   - the audit chains verify;
//   - no process is left over.
//
// The second is about environments. Three replicas with the Helm executor deploy
// two hundred of them onto two real control planes, and people update, put to
// sleep, wake, restart, roll back, archive, restore, clean up and cancel, while
// replicas and executors are killed, Redis and the control planes stop and come
// back, and the lines between all of them fail. In the end every record says what
// its cluster holds, and nothing is gone that nobody asked to take away.
//
// `make chaos` builds what it needs and starts it; REQUESTS, ENVIRONMENTS and SEED
// are its size and the seed of what it does. What the system makes of the same seed
// differs from run to run.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/berth-dev/berth/plugins/sdk"
)

// executorMode is the argument that makes this program the replicas' executor.
const executorMode = "executor"

func main() {
	if len(os.Args) == 2 && os.Args[1] == executorMode {
		sdk.Serve(newExecutor(os.Getenv(ledgerVariable)))
		return
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(2)
	}
	o := options{program: self}
	var l livesOptions
	flag.IntVar(&o.requests, "requests", 1000, "how many requests are made in the first act; 0 leaves it out")
	flag.IntVar(&l.environments, "environments", 200, "how many environments live in the second act; 0 leaves it out")
	flag.IntVar(&l.actions, "actions", 4, "how many actions on each of them are asked for, on average")
	flag.StringVar(&l.devcluster, "devcluster", os.Getenv("DEVCLUSTER"), "the devcluster program, for the second act")
	flag.StringVar(&l.chart, "chart", "charts/preview", "the chart that is deployed")
	flag.Uint64Var(&o.seed, "seed", 0, "the seed of what is done; 0 means another one each time")
	flag.StringVar(&o.berth, "berth", filepath.Join(filepath.Dir(self), "berth"), "the berth program")
	flag.Parse()
	if o.requests < 0 || l.environments < 0 || l.actions < 1 || flag.NArg() > 0 || l.environments > 0 && l.devcluster == "" {
		flag.Usage()
		os.Exit(2)
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1 << 32) //nolint:gosec // it is printed, so that it can be given again
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	l.seed, l.berth = o.seed, o.berth
	if l.chart, err = filepath.Abs(l.chart); err == nil && o.requests > 0 {
		err = run(ctx, o, os.Stdout)
	}
	if err == nil && l.environments > 0 {
		err = runLives(ctx, l, os.Stdout)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\nchaos:", err)
		os.Exit(1)
	}
}
