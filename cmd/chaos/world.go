package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/berth-dev/berth/approvals"
)

const (
	// patience bounds each thing that the chaos waits for of a process.
	patience = 2 * time.Minute
	// settleWithin is how long the last requests may take to end.
	settleWithin = 6 * time.Minute
	// leaseTime is how long a run's environment is held without a sign of life:
	// the default of approvals.WorkerOptions, which `berth serve` leaves.
	leaseTime = 10 * time.Second
)

// options are what one chaos is made of.
type options struct {
	requests int
	seed     uint64
	berth    string // path of the program
	program  string // path of this one, or of another with its executor mode
}

// world is one chaos.
type world struct {
	options options
	dir     string
	out     *teller

	ledger   *ledger
	store    *store
	replicas []*replica
	cast     cast

	clients      int
	environments int
	pause        time.Duration // between requests
	within       time.Duration // that a request waits for people

	wishes wishes
	tally  tally
	storm  storm
}

// run plays a chaos from start to end. Its error is what broke.
func run(ctx context.Context, o options, out io.Writer) error {
	dir, err := os.MkdirTemp("", "berth-chaos-")
	if err != nil {
		return err
	}
	w := &world{
		options: o, dir: dir, out: newTeller(out), cast: newCast(), clients: 16, environments: 40,
		pause: 85 * time.Millisecond, within: 15 * time.Second,
	}
	w.storm.cuts = map[string]int{}
	if o.requests < 300 {
		w.environments, w.within = 12, 6*time.Second
	}
	err = w.play(ctx)
	left := w.close() //nolint:contextcheck // what was started is stopped after the context has ended, too
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%d processes of executors are left: %v", len(left), left)
	}
	if err != nil {
		return fmt.Errorf("%w\nIt was seed %d; logs and data are in %s", err, o.seed, dir)
	}
	w.out.step("no process is left")
	return os.RemoveAll(dir)
}

// play starts everything, lets it storm until every request has ended, and
// looks at what came of it.
func (w *world) play(ctx context.Context) error {
	if err := w.open(ctx); err != nil {
		return err
	}
	began := time.Now()
	storm, calm := context.WithCancel(ctx)
	defer calm()
	var parts sync.WaitGroup
	defer parts.Wait()
	defer calm()
	broken := make(chan error, 1)
	parts.Go(func() { w.decideAll(storm) })
	parts.Go(func() {
		if err := w.rage(storm); err != nil {
			broken <- err
			calm()
		}
	})
	if err := w.ask(storm); err != nil {
		return errors.Join(errOf(broken), err)
	}
	asked := time.Since(began)
	w.out.step("%d requests are accepted; the storm goes on until all have ended", w.options.requests)
	settled := w.settle(storm)
	calm()
	parts.Wait()
	if err := errOf(broken); err != nil {
		return err
	}
	for _, one := range w.replicas {
		if err := await(ctx, patience, one.name+" to be ready again", func() (bool, error) { return one.ready(ctx), nil }); err != nil {
			return err
		}
	}
	took := time.Since(began)
	w.out.step("the storm is over")
	return errors.Join(settled, w.judge(ctx, asked, took))
}

// errOf is the error that waits in c, if one does.
func errOf(c chan error) error {
	select {
	case err := <-c:
		return err
	default:
		return nil
	}
}

// open starts Redis, the ledger and the replicas.
func (w *world) open(ctx context.Context) (err error) {
	if w.ledger, err = newLedger(ctx, w.options.seed); err != nil {
		return err
	}
	if w.store, err = newStore(ctx, w.dir); err != nil {
		return err
	}
	w.replicas, err = startReplicas(ctx, replicaPlan{
		dir: w.dir, redis: w.store.addr, berth: w.options.berth, env: []string{ledgerVariable + "=" + w.ledger.url},
		config: func(addr, dir, redis string) string {
			return config(addr, dir, redis, w.options.program, w.cast, w.within)
		},
	})
	if err != nil {
		return err
	}
	w.out.step("three replicas run on one Redis (append-only, every change written before it is answered); seed %d", w.options.seed)
	return nil
}

// startReplicas starts three replicas and waits until they are ready. Those that
// were started are returned with an error, too.
func startReplicas(ctx context.Context, p replicaPlan) (all []*replica, err error) {
	for i := range 3 {
		r, err := newReplica(ctx, p, i)
		if err != nil {
			return all, err
		}
		all = append(all, r)
		if err := r.start(); err != nil {
			return all, err
		}
	}
	for _, r := range all {
		err := await(ctx, patience, r.name+" to be ready", func() (bool, error) {
			if !r.alive() {
				return false, fmt.Errorf("%s ended; its log is %s", r.name, filepath.Join(r.dir, "berth.log"))
			}
			return r.ready(ctx), nil
		})
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// settle waits until every request has ended. It looks past the replicas, and
// past Redis being away.
func (w *world) settle(ctx context.Context) error {
	c, r := newClient(w.cast.requesters[0].token), w.random("settle", 0)
	left := -1
	err := await(ctx, settleWithin, "the requests to end", func() (bool, error) {
		pass(ctx, 200*time.Millisecond)
		all, err := c.requests(ctx, w.some(r), "")
		if err != nil {
			return false, ctx.Err()
		}
		left = 0
		for _, q := range all {
			if !approvals.State(q.State).Ended() {
				left++
			}
		}
		return left == 0, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %d requests have not", err, left)
	}
	return nil
}

// close ends everything, and returns the processes of executors that stayed.
func (w *world) close() (left []int) {
	http.DefaultClient.CloseIdleConnections() // a server that stops waits for those that nothing was sent on
	var stops sync.WaitGroup
	for _, r := range w.replicas {
		stops.Go(func() {
			if r.process != nil {
				if err := r.stop(); err != nil {
					w.out.step("%v", err)
				}
			}
			r.line.close()
		})
	}
	stops.Wait()
	if w.ledger != nil {
		mark := ledgerVariable + "=" + w.ledger.url
		_ = await(context.Background(), patience, "executors to end", func() (bool, error) {
			left = withVariable(mark)
			return len(left) == 0, nil
		})
		w.ledger.close()
	}
	if w.store != nil {
		w.store.close()
	}
	return left
}

func (w *wishes) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.accepted)
}

func hashOf(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return h.Sum64()
}
