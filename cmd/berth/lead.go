package main

import (
	"context"
	"time"

	"github.com/berth-dev/berth/actions"
)

// leadTime is how long a lease of leadership lasts when its holder has died:
// another replica takes over within it.
const leadTime = 6 * time.Second

// lead runs while, for as long as this replica leads what is called name, and
// again whenever it does, until ctx ends. Of all replicas one leads. Redis being
// away ends while, since another replica may lead by then, and not lead.
func (s *server) lead(ctx context.Context, name string, while func(ctx context.Context)) error {
	what := actions.Name{App: "-", Env: name} // no environment: their names begin with letters
	for failures := 0; ctx.Err() == nil; {
		lease, err := s.store.Acquire(ctx, what, s.replica, leadTime)
		switch {
		case err == nil:
			failures = 0
			s.log.InfoContext(ctx, "this replica leads", "what", name, "replica", s.replica)
			s.hold(ctx, lease, while)
			rest(ctx, 100*time.Millisecond)
		case actions.CodeOf(err) == actions.CodeConflict:
			failures = 0
			rest(ctx, leadTime/6)
		default:
			if failures%30 == 0 {
				s.log.WarnContext(ctx, "who leads cannot be found out; trying on", "what", name, "error", err)
			}
			failures++
			rest(ctx, min(100*time.Millisecond<<min(failures, 6), 2*time.Second))
		}
	}
	return nil
}

// hold runs while and renews the lease beside it. It returns once both have ended.
func (s *server) hold(parent context.Context, lease *actions.Lease, while func(ctx context.Context)) {
	ctx, stop := context.WithCancel(parent)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer stop()
		keepLease(ctx, lease)
	}()
	while(ctx)
	stop()
	<-done
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), leadTime)
	defer cancel()
	if err := lease.Release(ctx); err != nil {
		s.log.DebugContext(ctx, "a lease runs out by itself", "error", err)
	}
}

// keepLease renews a lease until ctx ends or the lease may be another's.
func keepLease(ctx context.Context, lease *actions.Lease) {
	tick := time.NewTicker(leadTime / 3)
	defer tick.Stop()
	for renewed := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asked := time.Now()
		within, cancel := context.WithTimeout(ctx, leadTime/3)
		err := lease.Renew(within)
		cancel()
		if err == nil {
			renewed = asked
		}
		// It ends before the lease does, so that no two lead at once.
		if actions.CodeOf(err) == actions.CodeFenced || time.Since(renewed) >= leadTime*2/3 {
			return
		}
	}
}

// rest waits unless ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
