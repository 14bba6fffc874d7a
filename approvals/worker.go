package approvals

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-dev/berth/actions"
)

// Floor plans and runs what was released. It is an *actions.Runner.
//
// Run's context is cancelled with a cause whose code says why: CodeCancelled
// when somebody wants the action stopped, for good; CodeUnavailable when this
// process goes and another is to carry on; CodeFenced when the lease is lost.
// It is one of actions.Stoppable, so that the latter two are heard after the
// first, while what was done is taken back.
type Floor interface {
	Plan(ctx context.Context, order actions.Order, brief bool) (*actions.Plan, error)
	Run(ctx context.Context, lease *actions.Lease, req actions.RunRequest) (*actions.Run, error)
}

// WorkerOptions are what a Worker is made of.
type WorkerOptions struct {
	Requests *Requests
	Store    *actions.Store
	Floor    Floor

	// Replica names this process, and the one that takes its place after a
	// restart; no two run under one name at once. What was in the hands of the
	// former process is taken up again at once rather than when its leases run
	// out. "" means a name that nobody had before.
	Replica     string
	Concurrency int           // so many are planned at once, and so many run; 0 means 32
	Lease       time.Duration // how long a run's environment is held without a sign of life; 0 means 10 s
	Grace       time.Duration // how long running work may go on once Run's context ended; 0 means 15 s, less than 0 not at all

	Limits Limits // what bounds how many run at once, over all replicas; nil means nothing
	// Room names what an order would wait for if it did not answer: its cluster.
	// No room gets more than three quarters of what this worker can plan or run at
	// once; "" may have all, and nil means "" for every order.
	Room func(actions.Order) string

	Log *slog.Logger // nil means none
}

const (
	defaultConcurrency = 32
	defaultLease       = 10 * time.Second
	// defaultGrace leaves room within the 30 s that Kubernetes gives a pod.
	// Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
	defaultGrace = 15 * time.Second
	// stopWithin is how long work may take to stop when it is told to.
	stopWithin = 5 * time.Second
	// readBlock is how long one read of the queue waits, and so how long an idle
	// worker may take to stop.
	readBlock = 300 * time.Millisecond
)

// errHandOver is why work is stopped when the process goes.
var errHandOver = &actions.Error{Op: "worker.stop", Code: actions.CodeUnavailable, Msg: "This process of Berth stops; another carries on.", Retry: true}

// Worker plans, releases and runs requests. Any number of processes may have
// one; Redis sees to it that each request is in the hands of one.
type Worker struct {
	requests *Requests
	store    *actions.Store
	queue    *queue
	floor    Floor
	metrics  *Metrics

	replica string
	holder  string // of leases: "REPLICA/INCARNATION"
	lease   time.Duration
	grace   time.Duration
	log     *slog.Logger

	slots  chan struct{} // one in it for each request in hand
	limits Limits
	rooms  func(actions.Order) string // may be nil
	plans  *gate                      // what is planned
	runs   *gate                      // what runs

	stopping atomic.Bool   // nothing new is begun
	halt     chan struct{} // closed then

	mu     sync.Mutex
	jobs   map[string]*job // by request id: what is in hand
	closed bool            // no job is added
	next   chan *job       // to a goroutine that has nothing to do
	work   sync.WaitGroup
}

// NewWorker makes a Worker; Run sets it to work.
func NewWorker(o WorkerOptions) *Worker {
	w := &Worker{
		requests: o.Requests, store: o.Store, queue: o.Requests.queue, floor: o.Floor, metrics: o.Requests.metrics,
		replica: o.Replica, lease: o.Lease, grace: o.Grace, log: o.Log, jobs: make(map[string]*job), halt: make(chan struct{}), next: make(chan *job), limits: o.Limits, rooms: o.Room,
	}
	if w.replica == "" {
		w.replica = "replica-" + strings.ToLower(rand.Text())
	}
	w.holder = w.replica + "/" + strings.ToLower(rand.Text())
	if w.lease <= 0 {
		w.lease = defaultLease
	}
	if w.grace == 0 {
		w.grace = defaultGrace
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	w.log = w.log.With("replica", w.replica)
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	w.plans, w.runs = newGate(o.Concurrency), newGate(o.Concurrency)
	w.slots = make(chan struct{}, 2*o.Concurrency) // as many as are planned and run
	return w
}

// room is the room of an order.
func (w *Worker) room(o actions.Order) string {
	if w.rooms == nil {
		return ""
	}
	return w.rooms(o)
}

// Run works until ctx ends. Then it takes nothing new, lets what runs go on for
// the grace, stops the rest where another worker can carry on, hands that over
// and returns nil. Redis being away never ends it. Run is called once.
func (w *Worker) Run(ctx context.Context) error {
	// What is in hand outlives ctx by the grace.
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(errHandOver)
	context.AfterFunc(ctx, func() {
		w.stopping.Store(true)
		close(w.halt)
	})

	beat, endBeat := context.WithCancel(work)
	var loops, beats sync.WaitGroup
	beats.Go(func() { w.beat(beat) })
	loops.Go(func() {
		w.adopt(ctx)
		defer w.offer(work)()
		w.read(ctx, work)
	})
	loops.Go(func() { w.sweep(ctx) })

	<-ctx.Done()
	loops.Wait()
	w.drain(stop)
	endBeat()
	beats.Wait()
	return nil
}

// drain waits for what is in hand, first patiently.
func (w *Worker) drain(stop context.CancelCauseFunc) {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		w.work.Wait()
		close(idle)
	}()
	if w.grace > 0 {
		select {
		case <-idle:
			return
		case <-time.After(w.grace):
		}
	}
	stop(errHandOver)
	select {
	case <-idle:
	case <-time.After(stopWithin):
		w.log.Warn("work did not stop in time; its lease will run out")
	}
}

// adopt takes up what a former process of the same replica left: the leases of
// what it had in hand are given back, and its hints are put into the queue again.
func (w *Worker) adopt(ctx context.Context) {
	w.persist(ctx, "take up what was left", func() error {
		if err := w.releaseFormer(ctx); err != nil {
			return err
		}
		return w.queue.adopt(ctx, w.replica)
	})
}

// releaseFormer gives back the leases that a former process of this replica held
// on environments of requests that it had in hand.
func (w *Worker) releaseFormer(ctx context.Context) error {
	held, err := w.queue.heldBy(ctx, w.replica)
	if err != nil {
		return err
	}
	for _, h := range held {
		freed, err := w.store.ReleaseDead(ctx, h.env, func(holder string) bool {
			i := strings.LastIndexByte(holder, '/')
			return i >= 0 && holder[:i] == w.replica && holder != w.holder
		})
		if err != nil {
			return err
		}
		if freed {
			w.log.InfoContext(ctx, "gave back the lease of this replica's former process", "env", h.env.String())
		}
	}
	return nil
}

// read takes hints as they come, as many as there are free slots.
func (w *Worker) read(ctx, work context.Context) {
	for failures, idle := 0, false; ctx.Err() == nil; {
		if !w.slot(ctx) {
			return
		}
		var err error
		if idle {
			err = w.queue.wait(ctx, readBlock)
		}
		got := 1
		for got < cap(w.slots) && w.slotNow() {
			got++
		}
		var hints []hint
		if err == nil {
			hints, err = w.queue.take(context.WithoutCancel(ctx), w.replica, got)
		}
		for range got - len(hints) {
			<-w.slots
		}
		for _, h := range hints {
			w.take(work, h) // also when ctx has ended: it is in our hands, and handed over from there
		}
		idle = len(hints) == 0
		w.queue.open.Store(err == nil && len(hints) < got)
		if err == nil {
			failures = 0
			continue
		}
		w.complain(ctx, "read the queue", err, failures)
		w.pause(ctx, failures)
		failures++
	}
}

// beat shows that this worker lives, so that what it has in hand stays there.
func (w *Worker) beat(ctx context.Context) {
	tick := time.NewTicker(w.lease / 3)
	defer tick.Stop()
	var strays map[string]bool
	for failures := 0; ; {
		err := w.queue.seen(ctx, w.replica)
		if err == nil {
			strays, err = w.strays(ctx, strays)
		}
		if err == nil {
			failures = 0
		} else {
			w.complain(ctx, "show that this worker lives", err, failures)
			failures++
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// persist does try until it succeeds or ctx ends.
func (w *Worker) persist(ctx context.Context, what string, try func() error) {
	for failures := 0; ctx.Err() == nil; failures++ {
		err := try()
		if err == nil {
			return
		}
		w.complain(ctx, what, err, failures)
		w.pause(ctx, failures)
	}
}

// pause waits longer after each failure in a row.
func (w *Worker) pause(ctx context.Context, failures int) {
	wait(ctx, backoff(failures, 50*time.Millisecond, 2*time.Second))
}

// complain logs the first failure of a row, and now and then one of the others.
func (w *Worker) complain(ctx context.Context, what string, err error, failures int) {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) || failures%30 != 0 {
		return
	}
	w.log.WarnContext(ctx, "could not "+what+"; trying on", "error", err, "failures", failures+1)
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
