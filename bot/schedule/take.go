package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// pace bounds how many requests are submitted in a second.
type pace struct {
	second time.Time
	made   int
}

// throttle waits until one more request may be submitted.
func (s *Scheduler) throttle(ctx context.Context) {
	if now := s.now().Truncate(time.Second); !now.Equal(s.pace.second) {
		s.pace = pace{second: now}
	}
	if s.pace.made >= s.o.PerSecond {
		next := s.pace.second.Add(time.Second)
		s.o.Wait(ctx, next)
		s.pace = pace{second: next}
	}
	s.pace.made++
}

// keyOf is the idempotency key of what a tick asks of env.
func keyOf(p *plan, tick time.Time, env actions.Name) string {
	return fmt.Sprintf("schedule:%s:%d:%s", p.Name, tick.Unix(), env)
}

// submitAll asks for what the tick is about.
func (s *Scheduler) submitAll(ctx context.Context, p *plan, tick time.Time, about []found, b *batch) error {
	for _, f := range about {
		if _, err := s.submit(ctx, p, f, tick, b); err != nil {
			return err
		}
	}
	return nil
}

// submit asks for what a tick does to an environment and notes in b that it did.
// It tells whether it asked: an environment that others want something of just
// now is left alone. What Redis refuses for good is told, as a refusal is.
func (s *Scheduler) submit(ctx context.Context, p *plan, f found, tick time.Time, b *batch) (bool, error) {
	name, key := f.env.Name, keyOf(p, tick, f.env.Name)
	standing, err := s.o.Requests.Standing(ctx, name)
	if again(ctx, err) {
		return false, err
	}
	if err != nil { // what is wanted of it is not known, so it is left alone
		s.log.ErrorContext(ctx, "a schedule passes an environment over: its requests cannot be read", "schedule", p.Name, "env", name.String(), "error", err)
		return false, nil
	}
	for _, r := range standing {
		if r.Key != key {
			s.log.InfoContext(ctx, "a schedule passes an environment over", "schedule", p.Name, "env", name.String(), "why", "another request for it is on its way", "request_id", r.ID)
			return false, nil
		}
	}
	s.throttle(ctx)
	if err := ctx.Err(); err != nil {
		return false, err
	}
	verb, by := p.verb(f.app), p.requester()
	r, _, err := s.o.Requests.Submit(ctx, approvals.Request{
		Order: actions.Order{
			Env: name, Verb: verb, PullRequest: f.env.PullRequest, By: by.Actor, Identity: by.Identity, Reason: reason(p, f.env, tick),
		},
		Command: string(verb) + " " + name.String(), Requester: by, Place: approvals.Place{Surface: Surface, ID: p.Name}, Key: key,
	})
	if again(ctx, err) {
		return false, err
	}
	if err != nil {
		s.log.ErrorContext(ctx, "a schedule's request could not be made", "schedule", p.Name, "env", name.String(), "error", err)
		return true, s.tellNotTaken(ctx, p, name, verb, tick, nil, actions.Message(err))
	}
	s.log.InfoContext(ctx, "a schedule asked for an action", "schedule", p.Name, "env", name.String(), "verb", string(verb), "tick", tick, "request_id", r.ID)
	return true, b.set(inOpen, r.ID, open{Schedule: p.Name, Env: name.String(), Tick: tick.Unix()})
}

// takePage takes away what the tick is about and what was warned of long enough
// before. The rest is warned now and waits.
func (s *Scheduler) takePage(ctx context.Context, token int64, p *plan, pr *progress, tick time.Time, about []found, b *batch) error {
	notes, err := s.readNotes(ctx, p, envsOf(about))
	if err != nil {
		return err
	}
	var late []warning
	for _, f := range about {
		n := notes[f.env.Name]
		switch {
		case n != nil && n.Take > 0: // it was warned late, and waits
			pr.wait(n.Take)
		case n != nil && n.Due > tick.Unix(): // it was told to go later
		case n != nil && n.toldBefore(s.now(), p.least()):
			if err := s.takeNow(ctx, p, f, tick, b); err != nil {
				return err
			}
		default:
			if n == nil {
				n = newNote(f.env, tick, s.now())
			}
			n.Due = tick.Unix()
			late = append(late, warning{found: f, note: n, ahead: p.least(), late: true})
		}
	}
	if err := s.tell(ctx, token, p, late); err != nil {
		return err
	}
	for _, w := range late {
		pr.wait(w.note.Take)
	}
	return nil
}

// wait sees to it that what may be taken at that time is looked at then.
func (pr *progress) wait(take int64) {
	if pr.Later == 0 || take < pr.Later {
		pr.Later = take
	}
}

// takeNow looks once more whether it is still to be taken, and asks for it.
func (s *Scheduler) takeNow(ctx context.Context, p *plan, f found, tick time.Time, b *batch) error {
	now, fits, err := s.still(ctx, p, f.env.Name, tick)
	if err != nil || !fits {
		return err
	}
	_, err = s.submit(ctx, p, now, tick, b)
	return err
}

// still reads an environment anew and tells whether a tick is still about it.
func (s *Scheduler) still(ctx context.Context, p *plan, name actions.Name, tick time.Time) (found, bool, error) {
	env, err := s.o.Store.Environment(ctx, name)
	if again(ctx, err) {
		return found{}, false, err
	}
	if err != nil {
		return found{}, false, nil
	}
	app, err := s.o.Catalog.App(name.App)
	if err != nil {
		return found{}, false, nil
	}
	fits, err := s.fits(ctx, p, env, app, tick)
	if err != nil {
		return found{}, false, s.tellBlind(ctx, p, []blindness{{name, err}})
	}
	return found{env, app}, fits, nil
}

// lateAgain is when something that was warned late is looked at again because an
// action is under way.
const lateAgain = time.Minute

// takeLate takes what was warned late and has waited for as long as a warning is
// to be ahead.
func (s *Scheduler) takeLate(ctx context.Context, token int64, p *plan, pr *progress) error {
	var b batch
	now, left := s.now(), progress{}
	err := s.allNotes(ctx, p.Name, func(field, env string, n *note) error {
		if n.Take == 0 {
			return nil
		}
		if n.Take > now.Unix() {
			left.wait(n.Take)
			return nil
		}
		name, err := actions.ParseName(env)
		if err != nil {
			b.del(inNotes, field)
			return nil
		}
		tick := time.Unix(n.Due, 0).UTC()
		f, fits, err := s.still(ctx, p, name, tick)
		if err != nil {
			return err
		}
		if f.env != nil && f.env.CreatedAt.Unix() != n.Life {
			fits = false
		}
		if fits {
			asked, err := s.submit(ctx, p, f, tick, &b)
			if err != nil {
				return err
			}
			if asked {
				b.del(inNotes, field)
				return nil
			}
		} else if f.env == nil || f.env.RunID == "" && !f.env.State.Pending() {
			b.del(inNotes, field)
			return nil
		}
		n.Take = now.Add(lateAgain).Unix()
		left.wait(n.Take)
		return b.set(inNotes, field, n)
	})
	if err != nil {
		// What was asked for already is known by its key.
		return errors.Join(err, s.write(ctx, token, &b))
	}
	pr.Later = left.Later
	if err := b.set(inProgress, p.Name, pr); err != nil {
		return err
	}
	return s.write(ctx, token, &b)
}

// acquit takes out the notes on what a tick did not take after all, and of what
// it did. Those that wait stay.
func (s *Scheduler) acquit(ctx context.Context, p *plan, tick int64, b *batch) error {
	return s.allNotes(ctx, p.Name, func(field, _ string, n *note) error {
		if n.Due <= tick && n.Take == 0 {
			b.del(inNotes, field)
		}
		return nil
	})
}

func envsOf(about []found) []*actions.Environment {
	out := make([]*actions.Environment, len(about))
	for i, f := range about {
		out[i] = f.env
	}
	return out
}
