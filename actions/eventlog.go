package actions

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// eventLog writes the events of a run from the side, many at once, so that a
// part that says much does not wait for Redis. Events that Redis does not take
// in time are dropped, and a line says how many.
type eventLog struct {
	store *Store
	lease *Lease
	runID string
	wake  chan struct{} // holds one when there is something to write

	mu      sync.Mutex
	waiting []string
	dropped int
	added   int // events that were accepted, ever
	settled int // of those, the ones that were written or dropped
	over    bool
	moved   *sync.Cond // broadcast when settled or over changes
}

const (
	// appendTries is how often the same events are written before they are
	// dropped. The client has tried for some seconds by then.
	appendTries = 4
	appendPause = 250 * time.Millisecond
)

// newEventLog makes a log of a run and its writer, which ends with ctx.
func newEventLog(ctx context.Context, s *Store, lease *Lease, runID string) *eventLog {
	l := &eventLog{store: s, lease: lease, runID: runID, wake: make(chan struct{}, 1)}
	l.moved = sync.NewCond(&l.mu)
	go l.write(ctx)
	return l
}

// add appends an event. It never waits for Redis.
func (l *eventLog) add(e Event) {
	if e.Time.IsZero() {
		e.Time = l.store.clock()
	}
	text, err := encodeEvent(e)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	if len(l.waiting) >= eventBuffer { // the last lines say why something failed
		l.waiting = l.waiting[1:]
		l.dropped++
		l.settled++
		l.moved.Broadcast()
	}
	l.waiting = append(l.waiting, text)
	l.added++
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// flush waits until all that was added before is written, or given up. What is
// added meanwhile does not keep it waiting.
func (l *eventLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for until := l.added; l.settled < until && !l.over; {
		l.moved.Wait()
	}
}

// write appends what waits, until ctx ends.
func (l *eventLog) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			l.mu.Lock()
			l.waiting, l.over = nil, true
			l.moved.Broadcast()
			l.mu.Unlock()
			return
		case <-l.wake:
		}
		for batch, own := l.take(); len(batch) > 0; batch, own = l.take() {
			err := l.appendOrRetry(ctx, batch)
			if err != nil {
				l.store.log.WarnContext(ctx, "events of a run were not written", "env", l.lease.Env.String(), "events", len(batch), "error", err)
			}
			l.settle(own, err != nil)
			if err != nil {
				break
			}
		}
	}
}

// settle notes that n events were written. When they were not, all that waits
// is dropped with them: Redis has been tried for long enough.
func (l *eventLog) settle(n int, failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if failed {
		n += len(l.waiting)
		l.dropped += n
		l.waiting = nil
	}
	l.settled += n
	l.moved.Broadcast()
}

// take gives the next events to write, and how many of them were added: a
// notice of dropped ones, which were before them, may come first.
func (l *eventLog) take() (batch []string, own int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own = min(len(l.waiting), eventBatch)
	if l.dropped > 0 {
		text, err := encodeEvent(Event{Time: l.store.clock(), Kind: EventLog, Left: l.dropped,
			Text: fmt.Sprintf("… %d lines were dropped here, since Redis did not take them in time.", l.dropped)})
		if err == nil {
			batch = append(batch, text)
		}
		l.dropped = 0
	}
	batch, l.waiting = append(batch, l.waiting[:own]...), l.waiting[own:]
	return batch, own
}

// appendOrRetry writes events, again when Redis does not answer.
func (l *eventLog) appendOrRetry(ctx context.Context, batch []string) error {
	for try := 1; ; try++ {
		err := l.append(ctx, batch)
		if err == nil || !Retryable(err) || try == appendTries {
			return err
		}
		timer := time.NewTimer(appendPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

func (l *eventLog) append(ctx context.Context, batch []string) error {
	const op = "events.append"
	args := make([]any, 0, len(batch)+1)
	args = append(args, l.lease.Token)
	for _, text := range batch {
		args = append(args, text)
	}
	keys := []string{l.store.Key(l.lease.Env, eventsKey(l.runID)), l.store.Key(l.lease.Env, tokenKey)}
	length, err := eventsScript.Run(ctx, l.store.rdb, keys, args...).Int64()
	if err != nil {
		return redisError(op, err)
	}
	if length < 0 {
		return fenced(op, l.lease.Env)
	}
	if length >= foldAt {
		if err := l.store.fold(ctx, l.lease.Env, l.runID, foldAt); err != nil {
			l.store.log.WarnContext(ctx, "a run's log is not compressed yet", "env", l.lease.Env.String(), "run_id", l.runID, "error", err)
		}
	}
	return nil
}
