package actions

import "context"

// stepVerb is what reaches the executors. They know no history: to them a
// rollback is the deploy of an older commit.
func stepVerb(v Verb) Verb {
	if v == VerbRollback {
		return VerbDeploy
	}
	return v
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
