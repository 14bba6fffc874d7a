package schedule

import (
	"context"
	"errors"
	"time"

	"github.com/berth-dev/berth/actions"
)

// leaseName is what the leader's lease is taken of. It names no environment:
// their names begin with letters.
var leaseName = actions.Name{App: "-", Env: "schedules"}

// Run leads, or waits to lead, until ctx ends; then it returns nil. Redis being
// away never ends it.
func (s *Scheduler) Run(ctx context.Context) error {
	for failures := 0; ctx.Err() == nil; {
		lease, err := s.o.Store.Acquire(ctx, leaseName, s.o.Replica, s.o.Lease)
		switch {
		case err == nil:
			failures = 0
			s.lead(ctx, lease)
		case actions.CodeOf(err) == actions.CodeConflict: // another leads
			failures = 0
			sleep(ctx, s.o.Lease/3)
		default:
			s.complain(ctx, "find out who leads the schedules", err, failures)
			failures++
			sleep(ctx, pause(failures))
		}
	}
	return nil
}

// lead does what is due until the lease is lost.
func (s *Scheduler) lead(parent context.Context, lease *actions.Lease) {
	ctx, stop := context.WithCancel(parent)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		defer stop()
		s.keep(ctx, lease)
	}()
	defer func() {
		stop()
		<-kept
		// Others need not wait until it runs out.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), s.o.Lease)
		defer cancel()
		if err := lease.Release(ctx); err != nil {
			s.log.DebugContext(ctx, "the lease of the schedules runs out by itself", "error", err)
		}
	}()
	s.log.InfoContext(ctx, "this replica leads the schedules", "replica", s.o.Replica, "token", lease.Token)
	for failures := 0; ctx.Err() == nil; {
		next, err := s.turn(ctx, lease.Token)
		switch {
		case errors.Is(err, errFenced):
			s.log.WarnContext(ctx, "another replica leads the schedules now; this one stops", "token", lease.Token)
			return
		case err != nil:
			s.complain(ctx, "do what the schedules say", err, failures)
			failures++
			sleep(ctx, pause(failures))
		default:
			failures = 0
			if next.After(s.now()) {
				s.o.Wait(ctx, next)
			}
		}
	}
}

// keep renews the lease until ctx ends or the lease is lost, for all that can be
// known: it may be another's once it was not renewed for its time.
func (s *Scheduler) keep(ctx context.Context, lease *actions.Lease) {
	tick := time.NewTicker(s.o.Lease / 3)
	defer tick.Stop()
	for renewed := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asked := time.Now()
		err := lease.Renew(ctx)
		if err == nil {
			renewed = asked
		}
		if actions.CodeOf(err) == actions.CodeFenced || time.Since(renewed) >= s.o.Lease {
			return
		}
	}
}

// pause is how long is waited after so many failures in a row.
func pause(failures int) time.Duration {
	return min(50*time.Millisecond<<min(failures, 10), 2*time.Second)
}

// complain logs the first failure of a row, and now and then one of the others.
func (s *Scheduler) complain(ctx context.Context, what string, err error, failures int) {
	if ctx.Err() == nil && failures%30 == 0 {
		s.log.WarnContext(ctx, "could not "+what+"; trying on", "error", err, "failures", failures+1)
	}
}
