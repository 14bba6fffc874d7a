package approvals

import (
	"context"
	"sync"
	"time"
)

// job is one request in hand.
type job struct {
	hint  hint
	known *Request // as it is, when that is known already
	again bool     // another hint came meanwhile: look again
}

// gate lets so many through at once, and half as many wait before it. Whoever
// would have to wait behind them is better put back into the queue: what has to be
// planned must not keep what is to run from a worker, nor the other way around.
//
// No room, which is a cluster, gets all the seats: work that hangs since its
// cluster does not answer leaves the others a quarter of them.
type gate struct {
	seats, bench chan struct{}

	mu    sync.Mutex
	rooms map[string]int // seats taken, by room
}

func newGate(seats int) *gate {
	return &gate{seats: make(chan struct{}, seats), bench: make(chan struct{}, max(seats/2, 1)), rooms: map[string]int{}}
}

// admit counts one more in room, unless it has all that one room may have. The
// room "" may have all.
func (g *gate) admit(room string) bool {
	if room == "" {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if seats := cap(g.seats); g.rooms[room] >= max(seats-max(seats/4, 1), 1) {
		return false
	}
	g.rooms[room]++
	return true
}

// dismiss counts one less.
func (g *gate) dismiss(room string) {
	if room == "" {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.rooms[room]--; g.rooms[room] == 0 {
		delete(g.rooms, room)
	}
}

// gateWait is how long one waits for a seat that has no place to wait: long enough
// for work that takes no time to make room.
const gateWait = 50 * time.Millisecond

// enter waits for a seat, and returns how it is given back. in is false when the
// room is full, when too many wait for long already, or when halt is closed.
func (g *gate) enter(room string, halt <-chan struct{}) (leave func(), in bool) {
	return g.through(room, func() bool { return g.sit(halt) })
}

// enterSoon waits for a seat for a moment only.
func (g *gate) enterSoon(room string, halt <-chan struct{}) (leave func(), in bool) {
	return g.through(room, func() bool { return g.sitSoon(halt) })
}

func (g *gate) through(room string, sit func() bool) (leave func(), in bool) {
	if !g.admit(room) {
		return nil, false
	}
	if !sit() {
		g.dismiss(room)
		return nil, false
	}
	return func() {
		<-g.seats
		g.dismiss(room)
	}, true
}

func (g *gate) sit(halt <-chan struct{}) bool {
	select {
	case g.seats <- struct{}{}:
		return true
	default:
	}
	select {
	case g.bench <- struct{}{}:
		defer func() { <-g.bench }()
	default:
		return g.sitSoon(halt)
	}
	select {
	case g.seats <- struct{}{}:
		return true
	case <-halt:
		return false
	}
}

func (g *gate) sitSoon(halt <-chan struct{}) bool {
	select {
	case g.seats <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(gateWait)
	defer timer.Stop()
	select {
	case g.seats <- struct{}{}:
		return true
	case <-timer.C:
		return false
	case <-halt:
		return false
	}
}

// slot waits for a free slot and takes it; false means that ctx ended first.
func (w *Worker) slot(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case w.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// slotNow takes a slot if one is free.
func (w *Worker) slotNow() bool {
	select {
	case w.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// take begins to attend to h in a slot that was taken for it, which is free
// again once the request needs nothing more for now.
func (w *Worker) take(work context.Context, h hint) { w.begin(work, &job{hint: h}) }

// begin is take for a job. It returns false, and the slot is free, when this
// worker begins nothing any more.
func (w *Worker) begin(work context.Context, j *job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		<-w.slots
		return false
	}
	if other, ok := w.jobs[j.hint.id]; ok {
		other.again = true
		<-w.slots
		return true
	}
	w.jobs[j.hint.id] = j
	select {
	case w.next <- j:
	default:
		w.work.Go(func() { w.labour(work, j) })
	}
	return true
}

// labour does j and then what comes next, until the worker halts: a goroutine that
// has done a job has the stack that the next one needs.
func (w *Worker) labour(work context.Context, j *job) {
	for {
		w.do(work, j)
		<-w.slots
		select {
		case j = <-w.next:
		case <-w.halt:
			return
		}
	}
}

// do attends to j's request until it needs nothing more, then settles its hint.
func (w *Worker) do(work context.Context, j *job) {
	for {
		after := w.attend(work, j.hint, j.known)
		j.known = nil
		w.mu.Lock()
		again := j.again
		j.again = false
		w.mu.Unlock()
		if again && !after.now && after.tries == 0 { // what failed waits all the same
			continue
		}
		w.settle(work, j.hint, after)
		w.mu.Lock()
		delete(w.jobs, j.hint.id)
		late := j.again
		w.mu.Unlock()
		if late { // came while the other was settled: somebody looks again
			w.settle(work, j.hint, verdict{now: true})
		}
		return
	}
}

// verdict is what becomes of a request's hint. The zero one is that it has been
// served.
type verdict struct {
	now   bool          // another worker is to see to it at once
	later time.Duration // it is to be seen to again after so long
	tries int           // of what is tried again
}

// settle takes h out of our hands, and puts in what after asks for before. It
// tries until Redis takes it, or the process goes; then others take it over.
func (w *Worker) settle(work context.Context, h hint, after verdict) {
	if !after.now && after.later <= 0 {
		w.queue.served(w.replica, h)
		return
	}
	ctx := context.WithoutCancel(work)
	h.tries = after.tries
	settle := func() error {
		var err error
		if after.now {
			err = w.queue.add(ctx, h)
		} else {
			err = w.queue.delay(ctx, h, after.later)
		}
		if err != nil {
			return err
		}
		return w.queue.done(ctx, w.replica, h.String())
	}
	if err := settle(); err != nil {
		w.persist(work, "settle a hint", settle)
	}
}

// inHand tells whether the request id is in hand.
func (w *Worker) inHand(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.jobs[id]
	return ok
}

// strays puts hints in again that are ours by what the queue says and not in hand:
// the answer that brought them was lost. suspects are those that were so at the
// last look; it returns those of now.
func (w *Worker) strays(ctx context.Context, suspects map[string]bool) (map[string]bool, error) {
	held, err := w.queue.heldBy(ctx, w.replica)
	if err != nil {
		return nil, err
	}
	now := make(map[string]bool)
	for _, h := range held {
		switch text := h.String(); {
		case w.inHand(h.id):
		case !suspects[text]:
			now[text] = true
		default:
			if err := w.queue.add(ctx, h); err != nil {
				return nil, err
			}
			if err := w.queue.done(ctx, w.replica, text); err != nil {
				return nil, err
			}
		}
	}
	return now, nil
}
