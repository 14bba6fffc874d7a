package approvals

import (
	"context"
	"time"
)

// job is one request in hand.
type job struct {
	hint    hint
	entries []string // of the queue that led to it
	again   bool     // another hint came meanwhile: look again
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

// take begins to attend to d in a slot that was taken for it, which is free
// again once the request needs nothing more for now.
func (w *Worker) take(work context.Context, d delivered) {
	w.mu.Lock()
	if j, ok := w.jobs[d.hint.id]; ok { // also for the hints that say nothing
		j.entries, j.again = append(j.entries, d.entry), true
		w.mu.Unlock()
		<-w.slots
		return
	}
	j := &job{hint: d.hint, entries: []string{d.entry}}
	w.jobs[d.hint.id] = j
	w.mu.Unlock()
	w.work.Go(func() {
		defer func() { <-w.slots }()
		w.do(work, j)
	})
}

// do attends to j's request until it needs nothing more, then settles its hints.
func (w *Worker) do(work context.Context, j *job) {
	for {
		after := verdict{}
		if j.hint.id != "" {
			after = w.attend(work, j.hint)
		} else {
			w.log.WarnContext(work, "an entry of the queue says nothing and is dropped")
		}
		w.mu.Lock()
		if j.again && !after.now && after.tries == 0 { // what failed waits all the same
			j.again = false
			w.mu.Unlock()
			continue
		}
		entries := j.entries
		w.mu.Unlock()
		w.settle(work, j.hint, after, entries)
		w.mu.Lock()
		delete(w.jobs, j.hint.id)
		late := j.entries[len(entries):]
		w.mu.Unlock()
		if len(late) > 0 { // came while the others were settled: somebody looks again
			w.settle(work, j.hint, verdict{now: true}, late)
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

// settle puts the new hint that after asks for in the place of entries. It tries
// until Redis takes it, or the process goes; then the entries are claimed from it.
func (w *Worker) settle(work context.Context, h hint, after verdict, entries []string) {
	ctx := context.WithoutCancel(work)
	again := hint{env: h.env, id: h.id, tries: after.tries}
	settle := func() error {
		var err error
		switch {
		case h.id == "":
		case after.now:
			err = w.queue.add(ctx, again)
		case after.later > 0:
			err = w.queue.delay(ctx, again, after.later)
		}
		if err != nil {
			return err
		}
		return w.queue.done(ctx, entries)
	}
	if err := settle(); err != nil {
		w.persist(work, "settle a hint", settle)
	}
}

// inHand returns the entries of the queue that are in hand.
func (w *Worker) inHand() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var entries []string
	for _, j := range w.jobs {
		entries = append(entries, j.entries...)
	}
	return entries
}
