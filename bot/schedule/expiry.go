package schedule

import (
	"context"
	"slices"
	"time"

	"github.com/berth-dev/berth/actions"
)

const (
	// duePage is how many environments are read at once whose time is over, or
	// soon will be.
	duePage = 200
	// askAgain is after how long what was refused or failed is asked for again
	// when the time of an environment is over.
	askAgain = 24 * time.Hour
	// pruneEvery is how often notes are looked for that are about nothing.
	pruneEvery = time.Hour
)

// lifetimes warns of environments whose time is over soon and takes those whose
// time is over. Each environment is looked at once for each warning, and again
// only while its time is over. It tells whether there is more to do now.
func (s *Scheduler) lifetimes(ctx context.Context, token int64, pr *progress) (more bool, err error) {
	for _, w := range s.expiry.warn {
		left, err := s.warnExpiring(ctx, token, pr, w)
		if err != nil {
			return false, err
		}
		more = more || left
	}
	left, err := s.takeExpired(ctx, token)
	if err != nil {
		return false, err
	}
	return more || left, s.prune(ctx, token)
}

// warnExpiring gives the warning w of what has come into its reach.
func (s *Scheduler) warnExpiring(ctx context.Context, token int64, pr *progress, w time.Duration) (more bool, err error) {
	now, track := s.now(), w.String()
	before := pr.Marks[track]
	from := time.UnixMilli(max(before, now.UnixMilli()))
	until := time.UnixMilli(now.Add(w + early(w)).UnixMilli())
	if !from.Before(until) {
		return false, nil
	}
	envs, err := s.o.Store.Expiring(ctx, from, until, duePage)
	if err != nil {
		return false, err
	}
	mark := until.UnixMilli()
	if len(envs) == duePage {
		// Those that expire in the same millisecond are looked at again, unless
		// they are a page by themselves: then the others are warned when their
		// time is over, and wait.
		more = true
		if mark = envs[len(envs)-1].ExpiresAt.UnixMilli() - 1; mark <= from.UnixMilli() {
			mark = envs[len(envs)-1].ExpiresAt.UnixMilli()
		}
	}
	notes, err := s.readNotes(ctx, s.expiry, envs)
	if err != nil {
		return false, err
	}
	var all []warning
	for _, env := range envs {
		app, err := s.o.Catalog.App(env.Name.App)
		if err != nil || held(s.expiry.verb(app), env) != "" || !wants(env, app, w, s.expiry.least()) {
			continue
		}
		n := notes[env.Name]
		if n == nil || n.Due != env.ExpiresAt.Unix() {
			n = newNote(env, env.ExpiresAt, now)
		}
		if !slices.Contains(n.Told, track) {
			all = append(all, warning{found: found{env, app}, note: n, ahead: w})
		}
	}
	if err := s.tell(ctx, token, s.expiry, all); err != nil {
		return false, err
	}
	pr.Marks[track] = mark
	if mark == before || len(envs) == 0 && mark-before < s.o.Every.Milliseconds() {
		return more, nil // nothing that is worth a write; it is looked at again
	}
	var b batch
	if err := b.set(inProgress, Expiry, pr); err != nil {
		return false, err
	}
	return more, s.write(ctx, token, &b)
}

// lived is how long the environment's time was when it was last set.
func lived(env *actions.Environment) time.Duration {
	from := env.CreatedAt
	if env.UsedAt.After(from) {
		from = env.UsedAt
	}
	return env.ExpiresAt.Sub(from)
}

// wants tells whether the warning w makes sense for env: its time is longer than
// that by a tenth, so that nobody is warned of what they just asked for. The
// last warning is given to all but those that are brief.
func wants(env *actions.Environment, app *actions.App, w, least time.Duration) bool {
	if w == least {
		return !brief(env, app, least)
	}
	return lived(env) > w+w/10
}

// brief tells whether somebody asked for a whole life that is no longer than the
// last warning is ahead: that was warning enough.
func brief(env *actions.Environment, app *actions.App, least time.Duration) bool {
	asked := env.TTL
	if app.MaxAge > 0 && (asked == 0 || app.MaxAge < asked) {
		asked = app.MaxAge
	}
	// How long the deploy took comes on top; an extension shows as more than that.
	return asked > 0 && asked <= least && lived(env) <= 2*least
}

// takeExpired asks for what is to become of environments whose time is over.
func (s *Scheduler) takeExpired(ctx context.Context, token int64) (more bool, err error) {
	now := s.now()
	envs, err := s.o.Store.Expiring(ctx, s.expired, now, duePage)
	if err != nil {
		return false, err
	}
	p := s.expiry
	notes, err := s.readNotes(ctx, p, envs)
	if err != nil {
		return false, err
	}
	var b batch
	var late []warning
	for _, env := range envs {
		app, err := s.o.Catalog.App(env.Name.App)
		if err != nil {
			s.log.DebugContext(ctx, "an environment whose time is over belongs to no app that is configured", "env", env.Name.String())
			continue
		}
		n, f := notes[env.Name], found{env, app}
		if n != nil && n.Due != env.ExpiresAt.Unix() {
			n = nil // about an earlier end
		}
		if why := held(p.verb(app), env); why != "" {
			if n != nil && n.Asked == 0 && (env.Lock != nil || env.Keep) {
				b.del(inNotes, noteField(p, env.Name)) // it is warned anew before it goes
			}
			continue
		}
		days := 1 + int(now.Sub(env.ExpiresAt)/askAgain)
		switch {
		case n != nil && n.Asked >= days:
		case n != nil && n.toldBefore(now, p.least()), brief(env, app, p.least()):
			if n == nil {
				n = newNote(env, env.ExpiresAt, now)
			}
			if err := s.takeExpiredNow(ctx, f, n, days, &b); err != nil {
				return false, err
			}
		case n == nil || n.First == 0:
			if n == nil {
				n = newNote(env, env.ExpiresAt, now)
			}
			late = append(late, warning{found: f, note: n, ahead: p.least(), late: true})
		}
	}
	if err := s.tell(ctx, token, p, late); err != nil {
		return false, err
	}
	if len(b.args) > 0 {
		if err := s.write(ctx, token, &b); err != nil {
			return false, err
		}
	}
	s.expired, more = onward(s.expired, envs)
	return more, nil
}

// onward is where the next page of environments begins whose time is over, and
// whether it is to be read at once.
func onward(from time.Time, envs []*actions.Environment) (time.Time, bool) {
	if len(envs) < duePage {
		return time.Unix(0, 0), false
	}
	last := envs[len(envs)-1].ExpiresAt
	if next := last.Add(-time.Millisecond); next.After(from) {
		return next, true // those of the same millisecond come again, and are known
	}
	return last, true
}

// takeExpiredNow looks once more whether an environment's time is over, and asks
// for what is to become of it. It asks for the day's: what was refused or failed
// on another is asked for anew.
func (s *Scheduler) takeExpiredNow(ctx context.Context, f found, n *note, days int, b *batch) error {
	now, fits, err := s.still(ctx, s.expiry, f.env.Name, f.env.ExpiresAt)
	if err != nil || !fits || !now.env.ExpiresAt.Equal(f.env.ExpiresAt) {
		return err
	}
	asked, err := s.submit(ctx, s.expiry, now, f.env.ExpiresAt.Add(time.Duration(days-1)*askAgain), b)
	if err != nil || !asked {
		return err
	}
	n.Asked, n.Take = days, 0
	return b.set(inNotes, noteField(s.expiry, f.env.Name), n)
}

// prune takes out the notes on ends that are none any more: the environment was
// used, extended, or is gone.
func (s *Scheduler) prune(ctx context.Context, token int64) error {
	now := s.now()
	if now.Sub(s.pruned) < pruneEvery && !s.pruned.After(now) {
		return nil
	}
	var b batch
	err := s.allNotes(ctx, Expiry, func(field, name string, n *note) error {
		if n.Due > now.Add(-askAgain).Unix() {
			return nil
		}
		env, err := s.environment(ctx, name)
		if err != nil && !again(ctx, err) { // its record cannot be read: the note stays
			return nil
		}
		if err == nil && (env == nil || env.ExpiresAt.Unix() != n.Due) {
			b.del(inNotes, field)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(b.args) > 0 {
		if err := s.write(ctx, token, &b); err != nil {
			return err
		}
	}
	s.pruned = now
	return nil
}

// environment is the record of a name as notes and requests have it; nil when
// there is none.
func (s *Scheduler) environment(ctx context.Context, name string) (*actions.Environment, error) {
	parsed, err := actions.ParseName(name)
	if err != nil {
		return nil, nil
	}
	env, err := s.o.Store.Environment(ctx, parsed)
	if actions.CodeOf(err) == actions.CodeNotFound || err == nil && env.State == actions.StateCleaned {
		return nil, nil
	}
	return env, err
}
