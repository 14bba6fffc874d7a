package actions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Runner plans actions and runs them, part by part, through executors.
type Runner struct {
	store     *Store
	catalog   Catalog
	executors Executors
	sources   Sources
	log       *slog.Logger
	now       func() time.Time

	tries          int
	pause, longest time.Duration
	stepWithin     time.Duration
	observeWithin  time.Duration
	savePatience   time.Duration
	undoWithin     time.Duration
	requestEnded   func(ctx context.Context, name Name, id string) (bool, error)
}

// RunnerOptions are what a Runner works with. The first three are needed.
type RunnerOptions struct {
	Store     *Store
	Catalog   Catalog
	Executors Executors
	Sources   Sources // nil means that no repository can be read

	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil means none

	MaxTries      int           // tries of one step whose failure may pass; 0 means 5
	Pause         time.Duration // before the second try, doubled with each further one; 0 means 1 s
	LongestPause  time.Duration // 0 means 30 s
	StepWithin    time.Duration // how long one try of a step may take, whatever the executor's own limits are; 0 means 2 h
	ObserveWithin time.Duration // how long one look at a part may take; 0 means 15 s
	UndoWithin    time.Duration // how long a run may take back what it did once it has failed, all parts together; 0 means 30 min
	// RequestEnded tells whether the request of a run has ended, or is not there
	// any more, so that nobody will go on with the run; for Settle. nil means
	// that only the run's deadline tells.
	RequestEnded func(ctx context.Context, name Name, id string) (bool, error)
	SavePatience time.Duration // how long a run waits for Redis to come back before it gives up for another worker to go on; 0 means 30 s
}

// NewRunner makes a Runner.
func NewRunner(o RunnerOptions) *Runner {
	or := func(d, usual time.Duration) time.Duration {
		if d <= 0 {
			return usual
		}
		return d
	}
	r := &Runner{
		store: o.Store, catalog: o.Catalog, executors: o.Executors, sources: o.Sources, log: o.Log, now: o.Now,
		tries: o.MaxTries, pause: or(o.Pause, time.Second), longest: or(o.LongestPause, 30*time.Second),
		stepWithin: or(o.StepWithin, 2*time.Hour), observeWithin: or(o.ObserveWithin, 15*time.Second), savePatience: or(o.SavePatience, 30*time.Second),
		undoWithin: or(o.UndoWithin, 30*time.Minute), requestEnded: o.RequestEnded,
	}
	if r.tries <= 0 {
		r.tries = 5
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.now == nil {
		r.now = time.Now
	}
	return r
}

func (r *Runner) clock() time.Time { return r.now().UTC().Round(0) }

// RunRequest is a released request, as far as a run cares.
type RunRequest struct {
	ID        string // of the run: a ULID in lower case, the same for every worker that takes it up
	RequestID string
	Order     Order  // with Commit resolved, as planned
	Digest    string // of the plan that was agreed on
	Origin    Origin // where it was asked for, for the audit
	// Basis is that plan's. With it, what was looked up for the plan holds while
	// it cannot be looked up again, and an error with CodeStale names what
	// changed. One that Digest is not of counts as none, and none is allowed.
	Basis map[string]string
}

// basis is the request's Basis if Digest is of it.
func (r RunRequest) basis() map[string]string {
	if len(r.Basis) > 0 && DigestOf(r.Basis) == r.Digest {
		return r.Basis
	}
	return nil
}

// lifeKey is under which Stoppable keeps the context that it is made from.
type lifeKey struct{}

// Stoppable makes a context for Run whose action can be stopped: stop is called
// with a cause whose code is CodeCancelled. What the action did until then may
// have to be taken back, and that goes on until life ends, which says that this
// worker itself has to stop. Where Run is called with another context, nothing
// ends what takes back but its deadline.
func Stoppable(life context.Context) (ctx context.Context, stop context.CancelCauseFunc) {
	return context.WithCancelCause(context.WithValue(life, lifeKey{}, life))
}

// lifeOf is the context that a Stoppable one was made from, and of another one
// what ends as it does unless the action is to be stopped.
func lifeOf(ctx context.Context) (life context.Context, done func()) {
	if life, ok := ctx.Value(lifeKey{}).(context.Context); ok {
		return life, func() {}
	}
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, func() {
		if !cancelled(ctx) {
			end(context.Cause(ctx))
		}
	})
	return life, func() { unhook(); end(nil) }
}

// ErrCancelRequested is a cause for cancelling Run's context: somebody wants the
// action stopped. Any *Error with CodeCancelled is one too, and its Msg is then
// the reason that the run's record gives. A context that is cancelled for
// another cause leaves the run for another worker to go on with.
var ErrCancelRequested = Errorf("run.cancel", CodeCancelled, "It was cancelled.")

// backOff is how long to wait before try number try+1: doubled each time, and
// spread over half of that so that many do not come back at once.
func (r *Runner) backOff(try int) time.Duration {
	d := r.longest
	if shift := try - 1; shift < 20 && r.pause<<shift < r.longest {
		d = r.pause << shift
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // it spreads load; nobody gains by guessing it
}

// longestAsked is the longest wait that an executor gets by asking for it.
// Somebody waits for the step, and its environment is held meanwhile.
const longestAsked = 5 * time.Minute

// retryPause is how long to wait after try failed with err: the runner's own
// pause, or longer when the executor says how long its failure will last.
func (r *Runner) retryPause(try int, err error) time.Duration {
	pause := r.backOff(try)
	if asks, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err); ok {
		pause = max(pause, min(asks.RetryAfter(), longestAsked))
	}
	return pause
}

// pauseFor waits, or returns what ended ctx.
func pauseFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// mayPass tells whether a failure may pass by itself.
func mayPass(err error) bool { return Retryable(err) || CodeOf(err) == CodeUnavailable }

// inPart says which part a failure is of.
func inPart(part string, err error) error {
	e := &Error{Op: "part." + part, Code: CodeOf(err), Msg: fmt.Sprintf("Part %s: %s", part, Message(err)), Err: err, Retry: Retryable(err)}
	return e
}

// days writes a long time as people do.
func days(d time.Duration) string {
	if d >= 48*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}
