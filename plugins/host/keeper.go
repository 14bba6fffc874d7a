package host

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
)

// keeper keeps one executor alive: it starts the program, looks after its
// health, and starts it again, with growing pauses, when it is gone.
type keeper struct {
	host *Host
	name string
	spec Plugin

	ctx    context.Context // ends when the keeper is to stop
	cancel context.CancelFunc
	done   chan struct{} // closed when the program has been ended for good

	mu       sync.Mutex
	inst     *instance     // nil while it is down
	changed  chan struct{} // closed, and replaced, when one of these fields changes
	err      error         // of the last try to start; nil while it is up
	last     Status        // what is known from earlier starts
	starts   int           // that succeeded
	tries    int           // of starting, that have an outcome
	calls    int           // that run
	idle     chan struct{} // closed when calls is 0 after closing
	closing  bool
	stopGate context.Context // ends the calls that run
	stopAll  context.CancelFunc
}

func newKeeper(h *Host, name string, spec Plugin) *keeper {
	k := &keeper{host: h, name: name, spec: spec, done: make(chan struct{}), changed: make(chan struct{}), idle: make(chan struct{})}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.stopGate, k.stopAll = context.WithCancel(context.Background())
	return k
}

// keep is the keeper's life.
func (k *keeper) keep() {
	defer close(k.done)
	o := k.host.o
	log := o.Log.With("executor", k.name)
	for failures := 0; ; failures++ {
		begun := time.Now()
		inst, err := k.launch(k.ctx)
		if k.ctx.Err() != nil {
			if err == nil {
				inst.stop(o.StopGrace)
			}
			return
		}
		if err == nil {
			k.set(inst, nil)
			log.Info("executor is up", "pid", inst.proc.pid(), "version", inst.description.Version, "took_ms", time.Since(begun).Milliseconds())
			err = k.watch(inst)
			k.set(nil, err)
			if k.ctx.Err() != nil {
				inst.stop(o.StopGrace)
				return
			}
			inst.kill()
			if time.Since(inst.since) >= o.ResetAfter {
				failures = 0
			}
		} else {
			k.set(nil, err)
		}
		pause := backoff(o.BackoffMin, o.BackoffMax, failures)
		if _, ok := errors.AsType[*permanent](err); ok {
			pause = o.BackoffMax
		}
		log.Error("executor is down, and is started again", "error", err, "in_ms", pause.Milliseconds())
		select {
		case <-k.ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// backoff is the pause before the try after the given number of failures in a
// row: between half and the whole of low·2^failures, at most high.
func backoff(low, high time.Duration, failures int) time.Duration {
	d := high
	if failures < 32 && low<<failures > 0 {
		d = min(low<<failures, high)
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // Chance only spreads restarts in time.
}

// watch returns why the program is no good any more.
func (k *keeper) watch(inst *instance) error {
	o := k.host.o
	tick := time.NewTicker(o.HealthEvery)
	defer tick.Stop()
	for failed := 0; ; {
		select {
		case <-k.ctx.Done():
			return k.ctx.Err()
		case <-inst.proc.exited:
			return fmt.Errorf("the program ended: %w", cause(inst.proc.exitErr))
		case <-tick.C:
			err := inst.healthy(k.ctx, o.HealthWait)
			if err == nil {
				failed = 0
				continue
			}
			if failed++; failed >= 2 {
				return fmt.Errorf("the program does not answer health checks: %w", err)
			}
		}
	}
}

func cause(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// set changes what the keeper has and wakes who waits for that.
func (k *keeper) set(inst *instance, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.inst, k.err = inst, err
	if inst != nil {
		k.starts++
		k.last.Version, k.last.SHA256 = inst.description.Version, inst.description.Binary
	}
	k.tries++
	close(k.changed)
	k.changed = make(chan struct{})
}

// settled waits until the program is up or its first start has failed.
func (k *keeper) settled(ctx context.Context) {
	for {
		k.mu.Lock()
		tries, changed := k.tries, k.changed
		k.mu.Unlock()
		if tries > 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-k.done:
			return
		}
	}
}

// begin finds the running program for a call, waiting for a restart if need be.
// The returned context also ends when the host stops; the call ends with done.
func (k *keeper) begin(ctx context.Context, op string) (inst *instance, inner context.Context, done func(), err error) {
	var timeout <-chan time.Time
	for {
		k.mu.Lock()
		inst, failure, changed := k.inst, k.err, k.changed
		if k.closing {
			k.mu.Unlock()
			return nil, nil, nil, &actions.Error{Op: op, Code: actions.CodeUnavailable, Msg: "Berth is stopping; the step goes on when it is back.", Retry: true}
		}
		if inst != nil && !inst.ended() {
			k.calls++
			k.mu.Unlock()
			inner, done := k.bind(ctx)
			return inst, inner, done, nil
		}
		k.mu.Unlock()
		if p, ok := errors.AsType[*permanent](failure); ok {
			return nil, nil, nil, actions.Wrap(op, actions.CodeUnavailable, failure, p.msg+".")
		}
		if timeout == nil {
			timer := time.NewTimer(k.host.o.RestartWait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, nil, cancelled(ctx, op)
		case <-timeout:
			return nil, nil, nil, &actions.Error{
				Op: op, Code: actions.CodeUnavailable, Err: failure, Retry: true,
				Msg: fmt.Sprintf("The executor %s is down and has not come back in %s; Berth keeps trying to start it, and its log says why.", k.name, k.host.o.RestartWait),
			}
		}
	}
}

// noticeLimit is how long it may take to notice that a program died: its output is
// read for pipeGrace first, and where it had a whole machine busy, that is not
// quick about it.
const noticeLimit = 10 * pipeGrace

// lost waits until inst is no longer the program that calls get, for as long as it
// may take to notice that it died, and tells whether that came about.
func (k *keeper) lost(ctx context.Context, inst *instance) bool {
	timer := time.NewTimer(noticeLimit)
	defer timer.Stop()
	for {
		k.mu.Lock()
		now, changed, closing := k.inst, k.changed, k.closing
		k.mu.Unlock()
		if now != inst || closing {
			return !closing
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		case <-timer.C:
			return false
		}
	}
}

// bind makes the context of a call that has been counted.
func (k *keeper) bind(ctx context.Context) (context.Context, func()) {
	inner, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(k.stopGate, cancel)
	return inner, func() {
		unhook()
		cancel()
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.calls--; k.calls == 0 && k.closing {
			close(k.idle)
		}
	}
}

// close ends the keeper; see Host.Close.
func (k *keeper) close(ctx context.Context) error {
	k.mu.Lock()
	k.closing = true
	if k.calls == 0 {
		close(k.idle)
	}
	close(k.changed) // whoever waits for a restart learns that there is none
	k.changed = make(chan struct{})
	k.mu.Unlock()
	var err error
	select {
	case <-k.idle:
	case <-ctx.Done():
		err = ctx.Err()
		k.stopAll()
	}
	k.cancel()
	<-k.done
	return err
}

// status is what Checks tells.
func (k *keeper) status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.last
	s.Name, s.Up, s.Restarts = k.name, k.inst != nil, max(0, k.starts-1)
	switch {
	case k.inst != nil:
		s.PID = k.inst.proc.pid()
	case k.err != nil:
		s.Error = k.err.Error()
		if p, ok := errors.AsType[*permanent](k.err); ok {
			s.Error = p.msg + "."
		}
	default:
		s.Error = "It is starting."
	}
	return s
}
