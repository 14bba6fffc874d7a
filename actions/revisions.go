package actions

import (
	"context"
	"slices"
)

// precedent is what an action takes from a run before it: a rollback from the run
// that made the revision that it goes back to, a restore from the one that made
// what was archived.
type precedent struct {
	revision int               // rollback: the revision that it goes back to
	earlier  map[string]string // by part: the step whose result is to come back
	asWas    bool              // restore: exactly what was archived
	whole    bool              // the scene's app has the variables as they reached the parts then, what people had set for the environment included
}

// tell completes a step.
func (p precedent) tell(s Step) Step {
	s.Earlier, s.AsWas = p.earlier[s.Part], p.asWas && s.Verb == VerbRestore
	return s
}

// stepVerb is what reaches an executor. To one that knows no history, a
// rollback is the deploy of an older commit.
func stepVerb(d Description, v Verb) Verb {
	if v == VerbRollback && !slices.Contains(d.Verbs, VerbRollback) {
		return VerbDeploy
	}
	return v
}

// stepID is the id of the step of a part in a run.
func stepID(run, part string, v Verb) string { return run + "/" + part + "/" + string(v) }

// checkLife checks what the order says about lifetimes and revisions.
func checkLife(env *Environment, o Order) error {
	const op = "plan"
	switch {
	case o.To != 0 && o.Verb != VerbRollback:
		return Errorf(op, CodeInvalid, "--to goes with rollback only.")
	case o.To < 0:
		return Errorf(op, CodeInvalid, "--to takes the number of a revision, 1 or more; `history` shows those there are.")
	case o.Keep && o.Verb != VerbExtend:
		return Errorf(op, CodeInvalid, "--keep goes with extend only.")
	case o.Verb != VerbExtend:
		return nil
	case o.Keep && o.TTL > 0:
		return Errorf(op, CodeInvalid, "--keep lets %s live for ever, and --ttl for a time; say one of them.", o.Env)
	case !o.Keep && o.TTL == 0:
		return Errorf(op, CodeInvalid, "Say by how long to extend %s, such as --ttl 24h.", o.Env)
	case !o.Keep && env != nil && env.ExpiresAt.IsZero() && !env.Keep:
		return Errorf(op, CodeInvalid, "%s does not expire; there is nothing to extend.", o.Env)
	}
	return nil
}

// chooseArchived finds what was archived.
func (r *Runner) chooseArchived(_ context.Context, sc *scene) error {
	sc.order.Commit, sc.ref, sc.then.asWas = sc.env.Commit, sc.env.Ref, true
	if len(sc.set) == 0 {
		sc.set = sc.env.Set
	}
	return nil
}

// chooseEarlier finds the commit to go back to: what runs, when the last update
// failed; else the last one before it that was deployed with success.
func (r *Runner) chooseEarlier(ctx context.Context, sc *scene) error {
	const op = "plan.rollback"
	env := sc.env
	if last := env.LastAction; env.Commit.SHA != "" && last != nil && last.Verb == VerbDeploy && last.State != RunSucceeded && last.Commit.SHA != env.Commit.SHA {
		sc.order.Commit, sc.ref, sc.set = env.Commit, env.Ref, env.Set
		return nil
	}
	runs, err := r.store.Runs(ctx, env.Name, 0)
	if err != nil {
		return err
	}
	for _, run := range runs {
		if run.StartedAt.Before(env.CreatedAt) {
			break // an earlier life of the same name
		}
		verb := run.Order.Verb
		if run.State != RunSucceeded || (verb != VerbDeploy && verb != VerbRestore) || run.Order.Commit.SHA == "" || run.Order.Commit.SHA == env.Commit.SHA {
			continue
		}
		sc.order.Commit, sc.ref, sc.set = run.Order.Commit, run.Order.Ref, run.Order.Set
		return nil
	}
	return Errorf(op, CodeConflict, "%s has no earlier commit to go back to; deploy the one that you want with --ref.", env.Name)
}
