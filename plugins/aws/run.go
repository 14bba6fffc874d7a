package aws

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Run does a step: all that the part asks for, side by side, each thing until it
// is done. Before it changes anything it makes the plan of each thing, so that
// what is refused is refused whole.
func (x *Executor) Run(ctx context.Context, step sdk.Step, out sdk.Events) error {
	p, err := x.open(ctx, step)
	if err != nil {
		return err
	}
	proposals, err := x.look(ctx, p)
	if err != nil {
		return err
	}
	if err := holds(step.Agreed, inputsOf(p, proposals)); err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, p.asked.timeout, errTimeout)
	defer cancel()
	r := &run{x: x, part: p, out: out, texts: make([]string, len(p.units))}
	if err := r.all(limited); err != nil {
		return err
	}
	switch step.Verb {
	case sdk.Cleanup:
		for _, proposed := range proposals {
			for _, gone := range proposed.resources {
				if gone.Change == sdk.ChangeDelete {
					out.Receipt(gone)
				}
			}
		}
	case sdk.Deploy, sdk.Restore, sdk.Wake:
		all := map[string]map[string]string{}
		for _, u := range p.units {
			maps.Copy(all, u.s.made)
		}
		outputs := tell(all)
		for _, key := range slices.Sorted(maps.Keys(outputs)) {
			out.Output(key, outputs[key])
		}
	}
	return nil
}

// look makes the plan of each thing. A step that AWS is too busy for waits, since
// nobody sits before it as before a plan.
func (x *Executor) look(ctx context.Context, p *part) ([]proposal, error) {
	for tries := 1; ; tries++ {
		out, err := x.plans(ctx, p)
		if !passing(err) || tries > mostRefused || ctx.Err() != nil {
			return out, err
		}
		if err := x.o.Pause(ctx, p.platform.poll*slowestPoll); err != nil {
			return nil, err
		}
	}
}

// mostRefused is how often in a row a thing may be in the wrong state for what
// its status allows, or AWS be too busy for it, before that is told.
const mostRefused = 8

// errTimeout is the end of a part's own time.
var errTimeout = errors.New("the part's timeout is over")

// holds checks that what a plan found is what there is: agreed are its inputs.
func holds(agreed, now map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(agreed)) {
		if value, ok := now[key]; ok && value != agreed[key] {
			return sdk.Invalid("What was agreed on has changed: %s was %s, and is %s now. Ask for the action again.", key, clip(agreed[key], 200), clip(value, 200))
		}
	}
	return nil
}

// run is a step that is being done.
type run struct {
	x    *Executor
	part *part
	out  sdk.Events

	mu    sync.Mutex
	texts []string // what each unit waits for
	done  int
}

// all does every unit as soon as those that it needs are done. When one fails,
// the others are not waited for any longer: what AWS has begun is found again.
func (r *run) all(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	units := r.part.units
	ended := make([]chan struct{}, len(units))
	for i := range ended {
		ended[i] = make(chan struct{})
	}
	errs := make([]error, len(units))
	var group sync.WaitGroup
	for i, u := range units {
		group.Go(func() {
			for _, before := range r.part.waitsFor(u, r.part.step.Verb) {
				select {
				case <-ended[before]:
				case <-ctx.Done():
					errs[i] = ctx.Err()
					return
				}
			}
			if errs[i] = r.one(ctx, i, u); errs[i] != nil {
				cancel(errs[i])
				return
			}
			close(ended[i])
		})
	}
	group.Wait()
	// The first that failed, not those that were stopped for it.
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return errors.Join(errs...)
}

// one does a unit until it is done.
func (r *run) one(ctx context.Context, i int, u unit) error {
	if act := u.act(r.part.step); act != nil {
		if err := r.drive(ctx, i, u, act); err != nil {
			return err
		}
	}
	switch r.part.step.Verb {
	case sdk.Deploy, sdk.Restore, sdk.Wake:
		tell := func(ctx context.Context) (progress, error) {
			outputs, err := u.thing.outputs(ctx)
			if err != nil {
				return progress{}, err
			}
			u.s.setOutputs(u.kind.name, outputs)
			return finished()
		}
		if err := r.drive(ctx, i, u, tell); err != nil {
			return err
		}
	}
	r.say(i, "", true)
	return nil
}

// drive calls act until it is done, and waits between two calls: longer each
// time, and from the start again when something has moved.
func (r *run) drive(ctx context.Context, i int, u unit, act func(context.Context) (progress, error)) error {
	first := r.part.platform.poll
	wait, last, refused := first, "", 0
	for {
		at, err := act(ctx)
		for _, line := range at.lines {
			r.out.Log(line)
		}
		switch {
		case err == nil:
			refused = 0
		case inBetween(err) && refused < mostRefused && ctx.Err() == nil:
			// AWS's answers lag behind what it does: a thing that is told to be ready
			// may not be for a while.
			refused++
			at = progress{text: u.thing.title() + " is not in a state for that yet"}
		case passing(err) && refused < mostRefused && ctx.Err() == nil:
			// What AWS has begun goes on meanwhile, and a step that takes an hour should
			// not end for one bad minute.
			refused++
			at = progress{text: "AWS does not answer about the " + u.thing.title() + " just now, and is asked again"}
		default:
			return r.failure(ctx, u, err)
		}
		if at.done {
			return nil
		}
		if at.text != last {
			wait, last = first, at.text
			r.say(i, at.text, false)
		}
		// A tenth more or less, so that many parts do not ask in step.
		jitter := time.Duration((rand.Float64() - 0.5) / 5 * float64(wait)) //nolint:gosec // Pauses need no secrecy.
		if err := r.x.o.Pause(ctx, wait+jitter); err != nil {
			return r.failure(ctx, u, err)
		}
		wait = min(wait*3/2, first*slowestPoll)
	}
}

// failure is err for people. A time that is over is told as that.
func (r *run) failure(ctx context.Context, u unit, err error) error {
	switch {
	case errors.Is(context.Cause(ctx), errTimeout):
		r.mu.Lock()
		defer r.mu.Unlock()
		what := strings.Join(slices.DeleteFunc(slices.Clone(r.texts), func(s string) bool { return s == "" }), "; ")
		return &sdk.Error{Fault: sdk.FaultDownstream, Err: err, Msg: "AWS was not done within the part's `timeout` of " + r.part.asked.timeout.String() +
			" (" + clip(what, 300) + "). What it has begun goes on: run the action again to wait for it, or give the part more time."}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return explain(err, u.thing.title())
}

// say tells what is waited for.
func (r *run) say(i int, text string, done bool) {
	r.mu.Lock()
	r.texts[i] = text
	if done {
		r.done++
	}
	all := strings.Join(slices.DeleteFunc(slices.Clone(r.texts), func(s string) bool { return s == "" }), "; ")
	count := r.done
	r.mu.Unlock()
	if all == "" && !done {
		return
	}
	if all == "" {
		all = r.part.units[i].thing.title() + " is done"
	}
	r.out.Progress(all, count, len(r.texts))
}
