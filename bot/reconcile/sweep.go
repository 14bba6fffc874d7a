package reconcile

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
)

// known is what a sweep keeps of an environment's record.
type known struct {
	name    actions.Name
	state   actions.State
	repo    string // "" when it is no pull request's
	number  int
	cluster string
	parts   []string
	asleep  bool
	held    bool // by a run
	updated time.Time
}

// sweep is one comparison of everything.
type sweep struct {
	*Reconciler
	lease  *actions.Lease
	begun  time.Time
	saved  saved // as it was when the sweep began; changes go to the state
	envs   map[actions.Name]*known
	mu     sync.Mutex
	report Report
	closed []closing          // environments whose pull request is closed
	found  map[string][]group // what clusters hold that nobody accounts for, of those that were seen
	unseen map[string]error   // what could not be seen
}

// Sweep makes one sweep. It returns CodeConflict when another replica is at it,
// and CodeFenced when one took over. What could not be seen is no error: the
// Report says it.
func (r *Reconciler) Sweep(ctx context.Context) (Report, error) {
	lease, err := r.o.Store.Acquire(ctx, leaderName, r.o.Replica, leaseTime)
	if err != nil {
		return Report{}, err
	}
	ctx, stop := r.hold(ctx, lease)
	defer stop()
	s := &sweep{Reconciler: r, lease: lease, begun: r.now().UTC(), envs: map[actions.Name]*known{}, found: map[string][]group{}, unseen: map[string]error{}}
	err = s.run(ctx)
	if cause := context.Cause(ctx); err != nil && actions.CodeOf(cause) == actions.CodeFenced {
		err = cause
	}
	slices.Sort(s.report.Asked)
	slices.Sort(s.report.Stopped)
	slices.Sort(s.report.Unseen)
	return s.report, err
}

// hold renews the lease until stop, which gives it back, and ends the context
// that it returns when the lease is lost.
func (r *Reconciler) hold(ctx context.Context, lease *actions.Lease) (held context.Context, stop func()) {
	held, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(leaseTime / 4)
		defer ticker.Stop()
		until := time.Now().Add(leaseTime)
		for {
			select {
			case <-held.Done():
				return
			case <-ticker.C:
			}
			switch err := lease.Renew(held); {
			case err == nil:
				until = time.Now().Add(leaseTime)
			case actions.CodeOf(err) == actions.CodeFenced, time.Now().After(until):
				cancel(actions.Wrap("reconcile.sweep", actions.CodeFenced, err, "Another replica sweeps by now; this one stops."))
				return
			}
		}
	}()
	return held, func() {
		cancel(nil)
		<-done
		if err := lease.Release(context.WithoutCancel(ctx)); err != nil {
			r.log.WarnContext(ctx, "the leader's lease was not given back; it runs out", "error", err)
		}
	}
}

// run looks at everything, and only then does anything about it.
func (s *sweep) run(ctx context.Context) error {
	var err error
	if s.saved, err = s.state.begin(ctx, s.lease.Token, s.begun); err != nil {
		return err
	}
	s.replay(ctx)
	if err := s.load(ctx); err != nil {
		return err
	}
	var side sync.WaitGroup
	side.Go(func() { s.lookAtPulls(ctx) })
	side.Go(func() { s.lookAtClusters(ctx) })
	side.Go(func() { s.lookForDrift(ctx) })
	side.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	// Each does what it can, whatever becomes of the others.
	return errors.Join(s.settle(ctx), s.act(ctx), s.tellUnseen(ctx), s.mend(ctx))
}

// load reads the environments that are not cleaned up.
func (s *sweep) load(ctx context.Context) error {
	repos := map[string]string{}
	for _, app := range s.o.Catalog.Apps() {
		repos[app.Name] = app.Repo
	}
	for cursor := ""; ; {
		page, next, err := s.o.Store.Environments(ctx, actions.EnvFilter{Cursor: cursor, Limit: 500})
		if err != nil {
			return err
		}
		for _, env := range page {
			k := &known{
				name: env.Name, state: env.State, repo: cmp.Or(env.Repo, repos[env.Name.App]), number: cmp.Or(env.PullRequest, env.Name.PullRequest()),
				cluster: env.Cluster, asleep: env.Sleeping, held: env.RunID != "", updated: env.UpdatedAt,
			}
			for part := range env.Parts {
				k.parts = append(k.parts, part)
			}
			s.envs[env.Name] = k
		}
		if next == "" {
			s.report.Environments = len(s.envs)
			// What is theirs is left alone; people are told, and mend the record.
			for name, err := range s.o.Store.Unreadable() {
				s.blind(ctx, "record of "+name, err)
			}
			return nil
		}
		cursor = next
	}
}

// blind remembers that something could not be seen.
func (s *sweep) blind(ctx context.Context, what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.unseen[what]; ok {
		return
	}
	s.unseen[what] = err
	s.report.Unseen = append(s.report.Unseen, what)
	s.log.WarnContext(ctx, "something could not be seen, so nothing of it is taken away", "what", what, "error", err)
}

// blindTo tells whether something could not be seen.
func (s *sweep) blindTo(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, blind := s.unseen[what]
	return blind
}

// pending tells whether an environment in that state waits for a run to end.
func pending(state actions.State) bool {
	switch state {
	case actions.StateCreatePending, actions.StateUpdatePending, actions.StateArchivePending, actions.StateRestorePending, actions.StateCleanupPending:
		return true
	default:
		return false
	}
}

// settle ends what is pending although nobody works on it.
func (s *sweep) settle(ctx context.Context) error {
	if s.o.Runner == nil {
		return nil
	}
	var failed error
	for _, k := range s.sorted() {
		if !pending(k.state) || s.begun.Sub(k.updated) < stuckAfter {
			continue
		}
		changed, err := s.o.Runner.Settle(ctx, k.name)
		if err != nil {
			s.log.WarnContext(ctx, "an environment that seems to hang could not be settled", "env", k.name.String(), "error", err)
			failed = err
		}
		if changed {
			s.report.Settled++
			s.log.InfoContext(ctx, "an environment was pending, and nobody worked on it", "env", k.name.String(), "state", k.state)
		}
	}
	return failed
}

// mend mends, once an hour, the hints by which environments are found.
func (s *sweep) mend(ctx context.Context) error {
	if s.begun.Sub(s.saved.mended) < mendEvery {
		return nil
	}
	if err := s.o.Store.MendIndexes(ctx); err != nil {
		return err
	}
	return s.state.set(ctx, s.lease.Token, fieldMended, stamp(s.begun))
}

// sorted are the environments by name.
func (s *sweep) sorted() []*known {
	all := make([]*known, 0, len(s.envs))
	for _, k := range s.envs {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b *known) int {
		return cmp.Or(cmp.Compare(a.name.App, b.name.App), cmp.Compare(a.name.Env, b.name.Env))
	})
	return all
}
