package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// RevisionsKept is how many revisions of an environment can be gone back to, the
// newest ones.
const RevisionsKept = 10

// revisionKey holds what made a revision of an environment.
func revisionKey(n int) string { return "revision:" + strconv.Itoa(n) }

// revision is what a deploy, restore or rollback that succeeded made of an
// environment, and what it went by.
type revision struct {
	Number     int
	Same       int // the revision whose content it has: its own number, unless it was made by going back to another
	RunID      string
	Digest     string // of the plan that made Same
	Commit     Commit
	Components map[string]Built `json:",omitempty"`
	// Steps are the steps that made the parts what they are, by part.
	Steps map[string]string `json:",omitempty"`
	Basis json.RawMessage   // a basis
}

// precedent is what an action takes from a run before it: a rollback from the
// run that made the revision that it goes back to, a restore from the one that
// made what was archived.
type precedent struct {
	Revision int               `json:",omitempty"` // rollback: the revision that it goes back to
	Same     int               `json:",omitempty"` // the revision whose content the result has
	Digest   string            `json:",omitempty"` // of the plan that made that content
	Earlier  map[string]string `json:",omitempty"` // rollback, by part: the step whose result is to come back
	AsWas    bool              `json:",omitempty"` // restore: exactly what was archived
}

// tell completes a step.
func (p precedent) tell(s Step) Step {
	s.AsWas = p.AsWas && s.Verb == VerbRestore
	if s.Verb == VerbRollback || s.Verb == VerbDeploy {
		s.Earlier = p.Earlier[s.Part]
	}
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

// executorOf finds a part's executor, what reaches it, and whether it does that.
// What was put aside and is restored at another commit, or with other settings,
// is deployed where there was nothing to put aside.
func (r *Runner) executorOf(ctx context.Context, sc *scene, part Part) (ex Executor, verb Verb, can bool, d Description, err error) {
	ex, can, d, err = r.executor(ctx, part, sc.verb)
	if err == nil && !can && sc.verb == VerbRestore && !sc.then.AsWas {
		ex, can, d, err = r.executor(ctx, part, VerbDeploy)
		return ex, VerbDeploy, can, d, err
	}
	return ex, stepVerb(d, sc.verb), can, d, err
}

// stepID is the id of the step of a part in a run.
func stepID(run, part string, v Verb) string { return run + "/" + part + "/" + string(v) }

// makesRevision tells whether the success of v is a revision.
func makesRevision(v Verb) bool { return v == VerbDeploy || v == VerbRestore || v == VerbRollback }

// ranBefore tells whether something was deployed with success in this life of
// the environment. known is false for records that are too old to say.
func (e *Environment) ranBefore() (ran, known bool) {
	return e.FirstRevision > 0 && e.Deployed >= e.FirstRevision, e.FirstRevision > 0
}

// revisions are those of this life of env that can be gone back to, the newest
// first.
func (s *Store) revisions(ctx context.Context, env *Environment) ([]*revision, error) {
	const op = "store.revisions"
	var keys []string
	for n := env.Deployed; n > 0 && n >= env.FirstRevision && len(keys) < RevisionsKept; n-- {
		keys = append(keys, s.Key(env.Name, revisionKey(n)))
	}
	if ran, _ := env.ranBefore(); !ran {
		return nil, nil
	}
	texts, err := s.rdb.MGet(ctx, keys...).Result() // one hash tag, so one node
	if err != nil {
		return nil, redisError(op, err)
	}
	var out []*revision
	for i, text := range texts {
		t, ok := text.(string)
		if !ok {
			continue
		}
		var rev revision
		if err := json.Unmarshal([]byte(t), &rev); err != nil {
			return nil, Wrap(op, CodeInternal, err, fmt.Sprintf("What is kept of revision %d of %s cannot be read.", env.Deployed-i, env.Name))
		}
		out = append(out, &rev)
	}
	return out, nil
}

// deployed is the revision that runs, or that was archived; nil when there is
// none, or nothing was kept of it.
func (s *Store) deployed(ctx context.Context, env *Environment) (*revision, error) {
	only := *env
	only.FirstRevision = max(env.FirstRevision, env.Deployed)
	if ran, _ := env.ranBefore(); !ran {
		return nil, nil
	}
	found, err := s.revisions(ctx, &only)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// keepScript keeps a revision, unless a later lease was taken.
//
//	KEYS[1]  the revision      KEYS[2]  the counter of lease tokens
//	ARGV[1]  the writer's token
//	ARGV[2]  the revision, JSON
//	output   1, or 0 when the writer is fenced
var keepScript = redis.NewScript(`
local token = redis.call('GET', KEYS[2])
if token and tonumber(token) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1`)

// keepRevision keeps what a run goes by, which is about to have succeeded. It is
// written before the run's end, so that no revision that counts is without it;
// one that does not come to count is written over by the one that does.
func (x *execution) keepRevision(ctx context.Context) error {
	const op = "run.revision"
	run, env := x.j.snapshot()
	if !makesRevision(run.Order.Verb) {
		return nil
	}
	text, err := x.sc.basis().encode()
	if err != nil {
		return err
	}
	rev := revision{
		Number: env.Deployed + 1, Same: env.Deployed + 1, RunID: run.ID, Digest: run.Digest,
		Commit: run.Order.Commit, Components: run.Order.Components, Steps: map[string]string{}, Basis: json.RawMessage(text),
	}
	if x.sc.then.Same > 0 {
		rev.Same, rev.Digest = x.sc.then.Same, x.sc.then.Digest
	}
	before, err := x.r.store.deployed(context.WithoutCancel(ctx), env)
	if err != nil {
		return err
	}
	if before != nil { // parts that were left alone are what they were
		maps.Copy(rev.Steps, before.Steps)
	}
	for _, s := range run.Steps {
		if s.State == StepDone && !s.Undo {
			rev.Steps[s.Part] = s.ID
		}
	}
	whole, err := json.Marshal(rev)
	if err != nil {
		return Wrap(op, CodeInternal, err, "What the run goes by could not be written.")
	}
	s := x.r.store
	return x.j.patiently(ctx, func(ctx context.Context) error {
		kept, err := keepScript.Run(ctx, s.rdb, []string{s.Key(env.Name, revisionKey(rev.Number)), s.Key(env.Name, tokenKey)}, x.j.lease.Token, whole).Bool()
		if err != nil {
			return redisError(op, err)
		}
		if !kept {
			return fenced(op, env.Name)
		}
		return nil
	})
}

// dropRevisions forgets the revisions that nobody can go back to: those that are
// too old, and all of an environment that was cleaned up.
func (s *Store) dropRevisions(ctx context.Context, env *Environment) error {
	newest := env.Deployed - RevisionsKept
	if env.State == StateCleaned {
		newest = env.Deployed + 1
	}
	var keys []string
	for n := newest; n > 0 && n > newest-RevisionsKept-1; n-- {
		keys = append(keys, s.Key(env.Name, revisionKey(n)))
	}
	if len(keys) == 0 {
		return nil
	}
	return redisError("store.drop_revisions", s.rdb.Del(ctx, keys...).Err())
}

// adopt makes the scene go by what a revision went by: its commit, components,
// settings and parts. The way into the cluster, what an app allows, and what
// becomes of a part when the action fails, are today's.
func (sc *scene) adopt(rev *revision) error {
	b, err := decodeBasis(rev.Basis)
	if err != nil {
		return err
	}
	app := *sc.app
	app.Parts, app.Vars, app.Secrets, app.Components = b.App.Parts, b.App.Vars, b.App.Secrets, b.App.Components
	for i := range app.Parts {
		if now, there := sc.app.Part(app.Parts[i].Name); there {
			app.Parts[i].OnFailure = now.OnFailure
		}
	}
	sc.app, sc.ref, sc.set = &app, b.Ref, b.Set
	sc.order.Commit, sc.order.Components = rev.Commit, rev.Components
	sc.then.Same, sc.then.Digest = rev.Same, rev.Digest
	return nil
}

// chooseArchived finds what was archived. With --set it is deployed with that
// over the data that were kept.
func (r *Runner) chooseArchived(ctx context.Context, sc *scene) error {
	env, set := sc.env, sc.order.Set
	rev, err := r.store.deployed(ctx, env)
	if err != nil {
		return err
	}
	// What was not whole when it was put aside is not restored to that.
	ran, known := env.ranBefore()
	sc.then.AsWas = len(set) == 0 && !env.Mixed && (ran || !known)
	if rev == nil {
		// It never ran, or was archived by a Berth that kept nothing.
		sc.order.Commit, sc.ref, sc.order.Components = env.Commit, env.Ref, env.Components
		if sc.order.Commit.SHA == "" && env.LastAction != nil {
			sc.order.Commit = env.LastAction.Commit
		}
		if len(set) == 0 {
			sc.set = env.Set
		}
		return nil
	}
	if err := sc.adopt(rev); err != nil {
		return err
	}
	if len(set) > 0 {
		sc.set, sc.then.Same, sc.then.Digest = set, 0, ""
	}
	return nil
}

// chooseEarlier finds the revision to go back to: the one that was asked for;
// else what runs, when the last update failed halfway; else the last good one
// before it.
func (r *Runner) chooseEarlier(ctx context.Context, sc *scene) error {
	const op = "plan.rollback"
	env := sc.env
	kept, err := r.store.revisions(ctx, env)
	if err != nil {
		return err
	}
	var target *revision
	if n := sc.order.To; n > 0 {
		i := slices.IndexFunc(kept, func(rev *revision) bool { return rev.Number == n })
		if i < 0 {
			return Errorf(op, CodeNotFound, "%s has no revision %d to go back to%s.", env.Name, n, thereAre(kept))
		}
		target = kept[i]
	} else {
		target = before(kept, env.Deployed, env.Mixed || settled(env.State) == StateFailure)
	}
	if target == nil {
		return Errorf(op, CodeConflict, "%s has no earlier revision to go back to; deploy what you want instead.", env.Name)
	}
	if err := sc.adopt(target); err != nil {
		return err
	}
	sc.then.Revision, sc.then.Earlier = target.Number, target.Steps
	return nil
}

// before is where a rollback goes that names no revision, when number runs; nil
// when there is nowhere. Going back again goes back further, and not to what was
// left by going back.
func before(kept []*revision, number int, halfway bool) *revision {
	if len(kept) == 0 || kept[0].Number != number {
		return nil // nobody can say what runs
	}
	now := kept[0]
	if halfway {
		return now
	}
	for _, rev := range kept {
		if rev.Number < now.Same && rev.Digest != now.Digest {
			return rev
		}
	}
	return nil
}

func thereAre(kept []*revision) string {
	if len(kept) == 0 {
		return "; there are none"
	}
	names := make([]string, len(kept))
	for i, rev := range kept {
		names[len(kept)-1-i] = strconv.Itoa(rev.Number)
	}
	return "; there are " + strings.Join(names, ", ")
}
