package actions

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
)

// Logs passes on what the programs of an environment print: of all its parts, or
// of the one named part. Without q.Follow, lines of several parts come in the
// order of their times; with it, as they come. out is called by one goroutine at
// a time, and an error of it ends the whole.
//
// Errors: CodeNotFound for an environment or a part that is not there,
// CodeInvalid when no executor of its parts has logs, out's own, CodeCancelled
// when ctx ended before all was told, which a follower always ends with, and what
// the first part that failed says once those that did not have told theirs.
func (r *Runner) Logs(ctx context.Context, name Name, part string, q LogQuery, out func(LogLine) error) error {
	const op = "logs"
	env, err := r.store.Environment(ctx, name)
	if err != nil {
		return err
	}
	if env.State == StateCleaned {
		return Errorf(op, CodeNotFound, "%s was cleaned up; nothing runs in it.", name)
	}
	sc, err := r.present(env)
	if err != nil {
		return err
	}
	defer sc.close()
	reading, stop := context.WithCancel(ctx)
	defer stop()
	told, err := r.tellers(reading, sc, part, q)
	if err != nil {
		return err
	}
	var failed []error
	if q.Follow {
		failed, err = asTheyCome(told, stop, out)
	} else {
		failed, err = byTime(told, out)
	}
	stop()
	for _, t := range told {
		for range t.lines { // its goroutine ends once it sees that nobody wants more
		}
	}
	switch {
	case err != nil:
		return err
	case len(failed) == 0:
		return nil
	case ctx.Err() != nil:
		return Wrap(op, CodeCancelled, context.Cause(ctx), "It was stopped before all was told.")
	}
	return failed[0]
}

// teller is a part that tells its lines, one after another.
type teller struct {
	part  string
	lines chan LogLine // closed at the end
	err   error        // why it ended; to read once lines is closed
}

// tellers sets the parts to work that have logs.
func (r *Runner) tellers(ctx context.Context, sc *scene, part string, q LogQuery) ([]*teller, error) {
	const op = "logs"
	type source struct {
		part Part
		logs LogSource
	}
	var sources []source
	var known, silent []string
	for _, p := range sc.app.Parts {
		known = append(known, p.Name)
		if part != "" && p.Name != part {
			continue
		}
		ex, err := r.executors.Executor(ctx, p.Use)
		if err != nil {
			return nil, typed(op, CodeUnavailable, err, "The executor of part "+p.Name+" could not be started.")
		}
		told, err := ex.Describe(ctx)
		if err != nil {
			return nil, typed(op, CodeUnavailable, err, "The executor of part "+p.Name+" does not answer.")
		}
		if logs, ok := ex.(LogSource); ok && told.Logs {
			sources = append(sources, source{p, logs})
		} else {
			silent = append(silent, p.Name)
		}
	}
	switch {
	case part != "" && !slices.Contains(known, part):
		return nil, Errorf(op, CodeNotFound, "There is no part %q; the parts are: %s.", part, strings.Join(known, ", "))
	case len(sources) == 0:
		return nil, Errorf(op, CodeInvalid, "Nothing that prints is in %s: what makes it has no logs.", strings.Join(silent, ", "))
	}
	told := make([]*teller, len(sources))
	for i, s := range sources {
		t := &teller{part: s.part.Name, lines: make(chan LogLine, 64)}
		told[i] = t
		go func() {
			defer close(t.lines)
			t.err = r.tellPart(ctx, sc, s.part, s.logs, q, t.lines)
		}()
	}
	return told, nil
}

func (r *Runner) tellPart(ctx context.Context, sc *scene, part Part, logs LogSource, q LogQuery, lines chan<- LogLine) (err error) {
	const op = "logs"
	defer survive(op, &err)
	step, _, err := sc.step(ctx, part, sc.env, sc.verb, "logs/"+part.Name, func(error) {})
	if err != nil {
		return err
	}
	err = logs.Logs(ctx, step, q, func(l LogLine) error {
		l.Part = part.Name
		select {
		case lines <- l:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return typed(op, CodeUnavailable, err, "The logs of part "+part.Name+" could not be read.")
	}
	return nil
}

// asTheyCome tells lines in the order in which they arrive. A part that fails
// says so among them, since others may go on for long; stop ends all.
func asTheyCome(told []*teller, stop func(), out func(LogLine) error) (failed []error, err error) {
	var mu sync.Mutex
	var side sync.WaitGroup
	tell := func(line LogLine) bool {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			if err = out(line); err != nil {
				stop()
			}
		}
		return err == nil
	}
	for _, t := range told {
		side.Go(func() {
			for line := range t.lines {
				if !tell(line) {
					return
				}
			}
			if t.err == nil {
				return
			}
			if !errors.Is(t.err, context.Canceled) && !errors.Is(t.err, context.DeadlineExceeded) {
				tell(LogLine{Part: t.part, Source: "berth", Text: Message(t.err)})
			}
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, t.err)
		})
	}
	side.Wait()
	return failed, err
}

// byTime merges what each tells by the lines' times; one without a time comes
// when it is its turn. No more than a line of each is held.
func byTime(told []*teller, out func(LogLine) error) (failed []error, err error) {
	type head struct {
		line LogLine
		from *teller
	}
	var heads []head
	take := func(t *teller) {
		if line, ok := <-t.lines; ok {
			heads = append(heads, head{line, t})
		} else if t.err != nil {
			failed = append(failed, t.err)
		}
	}
	for _, t := range told {
		take(t)
	}
	for len(heads) > 0 {
		first := 0
		for i, h := range heads {
			if h.line.Time.Before(heads[first].line.Time) {
				first = i
			}
		}
		next := heads[first]
		heads = slices.Delete(heads, first, first+1)
		if err := out(next.line); err != nil {
			return failed, err
		}
		take(next.from)
	}
	return failed, nil
}
