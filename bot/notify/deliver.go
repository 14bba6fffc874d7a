package notify

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
)

const (
	// tellAtOnce is how many places a replica tells something at once.
	tellAtOnce = 8
	// tellWithin is how long telling may take once.
	tellWithin = 30 * time.Second
	// tellPace is the least time between two notices to one place.
	tellPace = time.Second
	// firstPause and lastPause bound how long a notice waits until it is tried
	// again, and placePause how long a place that does not answer is left alone.
	firstPause = 5 * time.Second
	lastPause  = 10 * time.Minute
	placePause = time.Minute
	// giveUp is when a notice that could not be told is put aside.
	giveUp = 24 * time.Hour
	// mostHands is how often telling a notice may end with the process that did it.
	mostHands = 5
	// lookEvery is how often a replica looks for what is due that others stored.
	lookEvery = time.Second
)

// Run tells what is stored, and watches for what routes want to be told of, until
// ctx ends. Any number of replicas may be in it. It returns the error of ctx.
func (n *Notifier) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	if n.changes != nil && n.requests != nil {
		group.Go(func() { n.watch(ctx) })
	}
	room := make(chan struct{}, tellAtOnce)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for failures := 0; ctx.Err() == nil; {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		c, err := n.take(ctx)
		if c != nil && err == nil {
			failures = 0
			group.Go(func() {
				defer func() { <-room }()
				n.work(ctx, c)
			})
			continue
		}
		<-room
		if err != nil {
			failures++
			if ctx.Err() == nil {
				n.log.WarnContext(ctx, "what is to be told cannot be read; trying again", "error", err)
			}
			pause(ctx, backOff(failures, time.Second, 10*time.Second))
			continue
		}
		failures = 0
		select {
		case <-ctx.Done():
		case <-n.wake:
		case <-look.C:
		}
	}
	return ctx.Err()
}

// work does one step for a target, and gives it back.
func (n *Notifier) work(ctx context.Context, c *claim) {
	e, mine := n.step(ctx, c)
	if !mine {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := n.finish(ctx, c, e); err != nil {
		n.log.WarnContext(ctx, "it could not be stored that something was told, so it may be told again", "outlet", c.target.Outlet, "channel", c.target.Channel, "error", err)
	}
}

// step does what is to be done next for a target. mine is false when the target
// is another replica's, or Redis could not say.
func (n *Notifier) step(ctx context.Context, c *claim) (e end, mine bool) {
	now := n.now()
	if c.state.lost > 0 {
		several := alike(c.waiting)
		return end{next: now, ready: now, lost: c.state.lost, put: []waiting{summed(now, several, c.state.lost)}, leave: ids(several)}, true
	}
	s := choose(now, c.waiting, c.state)
	switch {
	case len(s.digest) > 0:
		// It is stored before it is told, so that it is the same if it is told again.
		return end{next: now, ready: now, put: []waiting{summed(now, s.digest, 0)}, leave: ids(s.digest)}, true
	case s.tell == nil:
		return end{next: s.wait, ready: now}, true
	}
	hands, err := n.begin(ctx, c, *s.tell)
	if err != nil || hands == 0 {
		return end{}, false
	}
	if hands > mostHands {
		err = Final(fmt.Errorf("telling it ended with the process that did it, %d times", hands-1))
	} else {
		err = n.tell(ctx, c.target, *s.tell)
	}
	return n.told(ctx, c, *s.tell, err)
}

func ids(several []waiting) []string {
	all := make([]string, len(several))
	for i, w := range several {
		all[i] = w.id
	}
	return all
}

// tell tells w where it is to be told.
func (n *Notifier) tell(ctx context.Context, t Target, w waiting) (err error) {
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			n.log.ErrorContext(ctx, "telling a notice panicked", "outlet", t.Outlet, "event", w.Notice.Event, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errors.New("telling it panicked")
		}
	}()
	outlets := n.table.Load().outlets
	outlet, there := outlets[t.Outlet]
	if !there {
		return Final(fmt.Errorf("the config has no outlet %q any more", t.Outlet))
	}
	err = outlet.Tell(ctx, t.Channel, w.Notice)
	if actions.CodeOf(err) == actions.CodeNotFound && t.Outlet != OutletLog {
		return outlets[OutletLog].Tell(ctx, "", w.Notice)
	}
	return err
}

// told says how a claim ends after w was told, or was not.
func (n *Notifier) told(ctx context.Context, c *claim, w waiting, err error) (end, bool) {
	now := n.now()
	if err == nil {
		field, value := noted(now, w, c.state)
		paced := now.Add(paceOf(c.target))
		return end{next: paced, ready: paced, set: map[string]string{field: value, "bad": "0"}, leave: []string{w.id}}, true
	}
	if ctx.Err() != nil { // Berth stops; that is no failure of the place's
		return end{next: now, ready: now}, true
	}
	log := n.log.With("outlet", c.target.Outlet, "channel", c.target.Channel, "event", w.Notice.Event, "env", w.Notice.Env.String(), "error", err)
	_, final := errors.AsType[finalError](err)
	if final || actions.CodeOf(err) == actions.CodeInvalid || now.Sub(w.At) >= giveUp {
		log.ErrorContext(ctx, "a notice could not be told and is put aside", "title", w.Notice.Title, "tries", w.Tries+1)
		if err := n.putAside(ctx, c.target, w, err); err != nil {
			return end{}, false // it is told again when the claim has run out
		}
		paced := now.Add(paceOf(c.target))
		return end{next: paced, ready: paced, leave: []string{w.id}}, true
	}
	w.Tries++
	w.After = now.Add(max(backOff(w.Tries, firstPause, lastPause), askedToWait(err)))
	log.WarnContext(ctx, "a notice could not be told; trying again", "tries", w.Tries, "again", w.After)
	bad := c.state.bad + 1
	left := now.Add(backOff(bad, tellPace, placePause))
	return end{next: left, ready: left, set: map[string]string{"bad": strconv.Itoa(bad)}, put: []waiting{w}}, true
}

// waitError is one after which the place asked to be left alone for a while.
type waitError struct {
	error
	after time.Duration
}

func (e waitError) Unwrap() error { return e.error }

func askedToWait(err error) time.Duration {
	if w, ok := errors.AsType[waitError](err); ok {
		return min(w.after, lastPause)
	}
	return 0
}

// paceOf is the least time between two notices to a target.
func paceOf(t Target) time.Duration {
	if t.Outlet == OutletLog {
		return 0
	}
	return tellPace
}

// backOff doubles from first up to most.
func backOff(failures int, first, most time.Duration) time.Duration {
	return min(most, first<<min(max(failures-1, 0), 20))
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
