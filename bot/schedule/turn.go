package schedule

import (
	"context"
	"reflect"
	"time"
)

// pageSize is how many environments a tick looks at before others have their
// turn, and before how far it came is written.
const pageSize = 50

// turn does a piece of all that is due and returns when the next is. A piece is
// a page of environments of each tick that is worked on, so that no schedule and
// no app holds others up. It returns errFenced when another replica leads.
func (s *Scheduler) turn(ctx context.Context, token int64) (time.Time, error) {
	plans := *s.schedules.Load()
	st, err := s.load(ctx)
	if err != nil {
		return time.Time{}, err
	}
	now := s.now()
	if err := s.forget(ctx, token, st, plans); err != nil {
		return time.Time{}, err
	}
	if err := s.advance(ctx, token, st, plans, now); err != nil {
		return time.Time{}, err
	}
	busy := false
	for _, p := range plans {
		more, err := s.work(ctx, token, p, st.progress[p.Name])
		if err != nil {
			return time.Time{}, err
		}
		busy = busy || more
	}
	more, err := s.lifetimes(ctx, token, st.progress[Expiry])
	if err != nil {
		return time.Time{}, err
	}
	if err := s.follow(ctx, token, plans); err != nil {
		return time.Time{}, err
	}
	next := s.now().Add(s.o.Every)
	if busy || more {
		return now, nil
	}
	for _, p := range plans {
		if first := soonest(p, st.progress[p.Name], now); !first.IsZero() && first.Before(next) {
			next = first
		}
	}
	return next, nil
}

// advance begins what has come and writes that down, together with that a leader
// is there: what was decided of a time without one is decided once.
func (s *Scheduler) advance(ctx context.Context, token int64, st *state, plans []*plan, now time.Time) error {
	var b batch
	away := !st.alive.IsZero() && now.Sub(st.alive) > max(awayAfter, 2*s.o.Every+2*s.o.Lease)
	for _, p := range append([]*plan{s.expiry}, plans...) {
		before := st.progress[p.Name]
		pr := before
		switch {
		case pr == nil || pr.Of != p.identity():
			if pr != nil {
				s.log.InfoContext(ctx, "a schedule was changed; it begins anew", "schedule", p.Name)
				if err := s.forgetNotes(ctx, p.Name, &b); err != nil {
					return err
				}
			}
			pr = begin(p, now)
		case p.cron == nil:
			continue
		}
		if p.cron != nil {
			var m *missed
			if pr, m = advance(p, pr, now, away); m != nil {
				if err := s.tellMissed(ctx, p, m); err != nil {
					return err
				}
			}
		}
		st.progress[p.Name] = pr
		if before != nil && reflect.DeepEqual(*before, *pr) {
			continue
		}
		if err := b.set(inProgress, p.Name, pr); err != nil {
			return err
		}
	}
	return s.write(ctx, token, &b)
}

// work does a page of each tick of a plan that is worked on, and takes what was
// warned late and has waited long enough. It tells whether there is more to do.
func (s *Scheduler) work(ctx context.Context, token int64, p *plan, pr *progress) (bool, error) {
	for _, w := range p.warn {
		if err := s.page(ctx, token, p, pr, w.String(), w); err != nil {
			return false, err
		}
	}
	if err := s.page(ctx, token, p, pr, taken, 0); err != nil {
		return false, err
	}
	if pr.Later > 0 && pr.Later <= s.now().Unix() {
		if err := s.takeLate(ctx, token, p, pr); err != nil {
			return false, err
		}
	}
	return len(pr.Jobs) > 0, nil
}
