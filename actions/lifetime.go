package actions

import (
	"fmt"
	"strings"
	"time"
)

// scheduled is how the identity of a schedule begins: what it has done is no use
// of an environment.
const scheduled = "schedule:"

// uses tells whether an order counts as somebody's use of the environment.
func (o Order) uses() bool {
	switch o.Verb {
	case VerbArchive, VerbCleanup, VerbSleep:
		return false
	}
	return !strings.HasPrefix(o.Identity, scheduled)
}

// checkLife checks what the order says about lifetimes and revisions.
func checkLife(app *App, env *Environment, o Order, now time.Time) error {
	const op = "plan"
	switch {
	case o.To != 0 && o.Verb != VerbRollback:
		return Errorf(op, CodeInvalid, "--to goes with rollback only.")
	case o.To < 0:
		return Errorf(op, CodeInvalid, "--to takes the number of a revision, 1 or more; history shows those there are.")
	case o.Keep && o.Verb != VerbExtend:
		return Errorf(op, CodeInvalid, "--keep goes with extend only.")
	case o.Verb != VerbExtend || env == nil:
		return nil
	case o.Keep && o.TTL > 0:
		return Errorf(op, CodeInvalid, "--keep lets %s live for ever, and --ttl for a time; say one of them.", o.Env)
	case o.Keep && app.MaxAge > 0:
		return Errorf(op, CodeInvalid, "%s cannot stay for ever: environments of %s live %s at most (max_age); extend it with --ttl.", o.Env, app.Name, days(app.MaxAge))
	case o.Keep:
		return nil
	case o.TTL == 0:
		return Errorf(op, CodeInvalid, "Say by how long to extend %s, such as --ttl 24h.", o.Env)
	case env.ExpiresAt.IsZero() && !env.Keep:
		return Errorf(op, CodeInvalid, "%s does not expire; there is nothing to extend.", o.Env)
	}
	if until, _ := extended(app, env, o.TTL, now); !until.After(env.ExpiresAt) && !env.Keep && !env.State.Pending() {
		return Errorf(op, CodeInvalid, "%s expires at %s, and cannot live longer: %s.", o.Env, env.ExpiresAt.UTC().Format(time.RFC3339), limitOf(app, env))
	}
	return nil
}

// extended is when env expires once it was extended by a time, and whether a
// limit cut it short.
func extended(app *App, env *Environment, by time.Duration, now time.Time) (until time.Time, cut bool) {
	from := env.ExpiresAt
	if from.Before(now) { // what is over is not extended into the past
		from = now
	}
	wanted := from.Add(min(by, MaxTTL))
	until = wanted
	if most := now.Add(MaxTTL); until.After(most) {
		until = most
	}
	until = capped(app, env, until)
	return until.UTC(), until.Before(wanted)
}

// capped is until, or when the environment is as old as its app lets any become.
func capped(app *App, env *Environment, until time.Time) time.Time {
	if app.MaxAge <= 0 || env.CreatedAt.IsZero() {
		return until
	}
	if most := env.CreatedAt.Add(app.MaxAge); until.IsZero() || until.After(most) {
		return most.UTC()
	}
	return until
}

// limitOf says what bounds the life of env.
func limitOf(app *App, env *Environment) string {
	if most := env.CreatedAt.Add(app.MaxAge); app.MaxAge > 0 && !env.ExpiresAt.Before(most) {
		return fmt.Sprintf("environments of %s live %s at most (max_age)", app.Name, days(app.MaxAge))
	}
	return fmt.Sprintf("%s from now is the most", days(MaxTTL))
}

// extension says what an extend does, in the summary of its plan.
func (sc *scene) extension(now time.Time) string {
	if sc.order.Keep {
		return " for good; it does not expire any more"
	}
	until, cut := extended(sc.app, sc.env, sc.order.TTL, now)
	text := fmt.Sprintf(" by %s, to %s", days(sc.order.TTL), until.Format(time.RFC3339))
	if cut {
		reached := *sc.env
		reached.ExpiresAt = until
		text += ": " + limitOf(sc.app, &reached)
	}
	return text
}

// lives is what the success of an action changes of when env expires, and the
// beginning of a new life.
func (x *execution) lives(env *Environment, o Order, now time.Time) {
	app := x.sc.app
	switch o.Verb {
	case VerbDeploy, VerbRestore:
		env.TTL = x.sc.ttl()
		switch {
		case env.TTL == 0:
			env.ExpiresAt = time.Time{}
		case o.uses() || env.ExpiresAt.IsZero():
			env.ExpiresAt = now.Add(env.TTL)
		}
	case VerbRollback, VerbRestart, VerbWake:
		if until := now.Add(env.TTL); o.uses() && env.TTL > 0 && until.After(env.ExpiresAt) {
			env.ExpiresAt = until
		}
	case VerbExtend:
		if env.Keep = o.Keep; !o.Keep {
			env.ExpiresAt, _ = extended(app, env, o.TTL, now)
		}
	case VerbArchive:
		env.ExpiresAt = time.Time{}
		return
	default:
		return
	}
	if env.ExpiresAt = capped(app, env, env.ExpiresAt); env.Keep {
		env.ExpiresAt = time.Time{}
	}
}
