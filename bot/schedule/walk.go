package schedule

import (
	"context"
	"slices"
	"time"

	"github.com/berth-dev/berth/actions"
)

// found is an environment that a tick is about.
type found struct {
	env *actions.Environment
	app *actions.App
}

// page does a page of the environments of a tick, or of its warning w ahead, and
// writes how far that came.
func (s *Scheduler) page(ctx context.Context, token int64, p *plan, pr *progress, track string, w time.Duration) error {
	j, ok := pr.Jobs[track]
	if !ok {
		return nil
	}
	tick := time.Unix(j.Tick, 0).UTC()
	about, more, err := s.look(ctx, p, &j, tick)
	if err != nil {
		return err
	}
	var b batch
	switch {
	case track != taken:
		err = s.warnPage(ctx, token, p, w, tick, about)
	case p.taking:
		err = s.takePage(ctx, token, p, pr, tick, about, &b)
	default:
		err = s.submitAll(ctx, p, tick, about, &b)
	}
	if err != nil {
		return err
	}
	pr.Jobs[track] = j
	if !more {
		delete(pr.Jobs, track)
	}
	if !more && track == taken && p.taking {
		if err := s.acquit(ctx, p, j.Tick, &b); err != nil {
			return err
		}
	}
	if err := b.set(inProgress, p.Name, pr); err != nil {
		return err
	}
	return s.write(ctx, token, &b)
}

// look reads on through the environments of a tick, app by app, until it has
// looked at a page of them, and returns those that the tick is about. It tells
// whether there are more. What cannot be read of one app does not stop others.
func (s *Scheduler) look(ctx context.Context, p *plan, j *job, tick time.Time) (about []found, more bool, err error) {
	var blind []blindness
	apps := s.apps(p)
	at, same := slices.BinarySearch(apps, j.App)
	if !same {
		j.Cursor = ""
	}
	for looked := 0; at < len(apps); at++ {
		if looked >= pageSize {
			j.App, j.Cursor, more = apps[at], "", true
			break
		}
		app, err := s.o.Catalog.App(apps[at])
		if err != nil { // it was taken out of the config a moment ago
			j.Cursor = ""
			continue
		}
		envs, next, err := s.o.Store.Environments(ctx, actions.EnvFilter{App: app.Name, Cursor: j.Cursor, Limit: pageSize})
		if again(ctx, err) {
			return nil, false, err
		}
		if err != nil {
			s.log.ErrorContext(ctx, "environments of an app cannot be read; its schedules leave them alone", "app", app.Name, "schedule", p.Name, "error", err)
			next = ""
		}
		for _, env := range envs {
			looked++
			fits, err := s.fits(ctx, p, env, app, tick)
			if err != nil {
				blind = append(blind, blindness{env.Name, err})
			}
			if fits && err == nil {
				about = append(about, found{env, app})
			}
		}
		if j.Cursor = next; next != "" {
			j.App, more = apps[at], true
			break
		}
	}
	return about, more, s.tellBlind(ctx, p, blind)
}

// apps are the names of the apps that a plan is about, sorted. Those that are not
// configured any more are left out: nothing can be done with their environments.
func (s *Scheduler) apps(p *plan) []string {
	var names []string
	for _, app := range s.o.Catalog.Apps() {
		if len(p.Apps) == 0 || slices.Contains(p.Apps, app.Name) {
			names = append(names, app.Name)
		}
	}
	slices.Sort(names)
	return names
}

// again tells whether what failed with err is to be tried again as it is: Redis
// did not answer, or this process goes.
func again(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || actions.Retryable(err) || actions.CodeOf(err) == actions.CodeUnavailable)
}

// verb is what a plan does to environments of app.
func (p *plan) verb(app *actions.App) actions.Verb {
	switch {
	case p.cron != nil:
		return p.Verb
	case app.OnExpiry == "":
		return actions.VerbCleanup
	default:
		return app.OnExpiry
	}
}

// fits tells whether a tick is about env. An error means that this is not known.
func (s *Scheduler) fits(ctx context.Context, p *plan, env *actions.Environment, app *actions.App, tick time.Time) (bool, error) {
	why := held(p.verb(app), env)
	if why == passed {
		return false, nil
	}
	if p.Where != nil {
		if is, err := p.Where.Match(env, app, tick); !is || err != nil {
			if why != "" { // it would not be touched anyway
				err = nil
			}
			return false, err
		}
	}
	if why != "" {
		s.log.InfoContext(ctx, "a schedule passes an environment over", "schedule", p.Name, "env", env.Name.String(), "why", why)
	}
	return why == "", nil
}

// passed stands for reasons that are no news to anybody: what is to be done is
// done, or there is nothing to do it to.
const passed = "passed"

// held is why a schedule leaves env alone whatever its condition says; "" when
// nothing speaks against it.
func held(v actions.Verb, env *actions.Environment) string {
	switch {
	case v == actions.VerbWake && !slept(env): // what a person put to sleep sleeps on
		return passed
	case env.Lock != nil:
		return "it is locked"
	case env.Keep && v != actions.VerbWake:
		return "somebody said that it stays"
	case env.State.Pending() || env.RunID != "":
		return "an action is under way"
	case actions.Allowed(env.Name, env, v) != nil:
		return passed
	}
	return ""
}
