package actions

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// scene is what an order means here and now: everything that its steps are made
// of.
type scene struct {
	app       *App
	env       *Environment // nil when there is none yet
	order     Order        // with Commit resolved
	namespace string
	ref       string // what Commit was asked for as
	pr        int
	set       map[string]string
	verb      Verb // what reaches the executors
	trees     *trees
	installed func(context.Context) (string, error) // Store.Installation
	agreed    map[string]map[string]string          // by part: the inputs of the plan that the run goes by
	then      precedent                             // what it takes from a run before it
}

// close gives back what the scene holds.
func (sc *scene) close() { sc.trees.close() }

// scene looks an order's words up. It returns CodeNotFound for an unknown app,
// environment, or commit, CodeConflict when the environment's state or lock
// does not allow the verb, and CodeInvalid for what makes no sense.
func (r *Runner) scene(ctx context.Context, order Order) (*scene, error) {
	if !ValidName(order.Env.App) || !ValidName(order.Env.Env) {
		return nil, Errorf("plan", CodeInvalid, "%q cannot be an environment: names are 2 to 40 of a-z, 0-9 and \"-\", starting with a letter.", clip(order.Env.String()))
	}
	if _, err := r.catalog.App(order.Env.App); err != nil {
		return nil, err // before its environments are looked for
	}
	env, err := r.store.Environment(ctx, order.Env)
	if CodeOf(err) == CodeNotFound {
		env, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	return r.sceneOf(ctx, order, env)
}

// sceneOf is scene for an environment as it is given; nil stands for none.
func (r *Runner) sceneOf(ctx context.Context, order Order, env *Environment) (*scene, error) {
	app, err := r.catalog.App(order.Env.App)
	if err != nil {
		return nil, err
	}
	if err := Allowed(order.Env, env, order.Verb); err != nil {
		return nil, err
	}
	if err := checkOrder(app, env, order, r.clock()); err != nil {
		return nil, err
	}
	if app, err = placed(app, env, order); err != nil {
		return nil, err
	}
	order.Placed = app.Cluster.Name
	sc := &scene{app: app, env: env, order: order, verb: order.Verb}
	if sc.pr = order.PullRequest; sc.pr == 0 && env != nil {
		sc.pr = env.PullRequest
	}
	if sc.pr == 0 {
		sc.pr = order.Env.PullRequest()
	}
	if err := r.choose(ctx, sc); err != nil {
		return nil, err
	}
	if err := sc.trusted(); err != nil {
		return nil, err
	}
	return sc, r.furnish(sc)
}

// furnish completes a scene whose commit is known.
func (r *Runner) furnish(sc *scene) error {
	sc.plant(r.sources)
	sc.installed = r.store.Installation
	if sc.env != nil && sc.env.State != StateCleaned && sc.env.Namespace != "" {
		sc.namespace = sc.env.Namespace // an environment never moves, or something of it would stay behind
		return nil
	}
	namespace, err := renderNamespace(sc.app, sc.facts(nil))
	sc.namespace = namespace
	return err
}

func (sc *scene) facts(outputs map[string]Outputs) Facts {
	return Facts{
		App: sc.app.Name, Name: sc.order.Env.Env, Namespace: sc.namespace,
		SHA: sc.order.Commit.SHA, ShortSHA: shortSHA(sc.order.Commit.SHA), Ref: sc.ref,
		PR: sc.pr, Vars: sc.app.Vars, Components: sc.components(), Outputs: outputs,
	}
}

// components are what templates can say of the app's components: one that the
// environment was never built from, since it came to the configuration later, is
// there without a commit, so that what is there can still be taken away.
func (sc *scene) components() map[string]Built {
	if len(sc.app.Components) == 0 {
		return sc.order.Components
	}
	all := make(map[string]Built, len(sc.app.Components))
	for name, c := range sc.app.Components {
		all[name] = Built{Repo: c.Repo}
	}
	maps.Copy(all, sc.order.Components)
	return all
}

// factsOf are the facts of a part: those of its component where it is built from
// one.
func (sc *scene) factsOf(part Part, outputs map[string]Outputs) Facts {
	f := sc.facts(outputs)
	if part.Component != "" {
		b := sc.order.Components[part.Component]
		f.SHA, f.ShortSHA, f.Ref, f.PR = b.Commit.SHA, shortSHA(b.Commit.SHA), b.Ref, b.PullRequest
	}
	return f
}

// commitOf is the commit that a part is built from.
func (sc *scene) commitOf(part Part) Commit {
	if part.Component != "" {
		return sc.order.Components[part.Component].Commit
	}
	return sc.order.Commit
}

// ttl is how long the environment shall live, 0 for ever.
func (sc *scene) ttl() time.Duration {
	if sc.order.TTL > 0 {
		return min(sc.order.TTL, MaxTTL)
	}
	return min(sc.app.TTL, MaxTTL)
}

// checkOrder checks what the order says against the app and the environment.
func checkOrder(app *App, env *Environment, o Order, now time.Time) error {
	const op = "plan"
	if err := checkLife(app, env, o, now); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(o.Set)) {
		switch {
		case !o.Verb.TakesCommit():
			return Errorf(op, CodeInvalid, "--set goes with deploy and restore only.")
		case !slices.Contains(app.AllowSet, key) && len(app.AllowSet) == 0:
			return Errorf(op, CodeInvalid, "%s does not allow --set %s; it allows no keys (allow_set in its configuration).", app.Name, clip(key))
		case !slices.Contains(app.AllowSet, key):
			return Errorf(op, CodeInvalid, "%s does not allow --set %s; it allows %s.", app.Name, clip(key), strings.Join(app.AllowSet, ", "))
		}
	}
	switch {
	case o.Ref != "" && !o.Verb.TakesCommit():
		return Errorf(op, CodeInvalid, "--ref goes with deploy and restore only.")
	case o.TTL < 0:
		return Errorf(op, CodeInvalid, "--ttl must be longer than 0, such as 48h.")
	case o.TTL > 0 && !o.Verb.TakesCommit() && o.Verb != VerbExtend:
		return Errorf(op, CodeInvalid, "--ttl goes with deploy, restore and extend only.")
	case len(o.With) > 0:
		return checkComponents(app, o)
	case env == nil || env.State == StateCleaned || !slices.Contains([]Verb{VerbCleanup, VerbArchive, VerbSleep}, o.Verb):
		return nil
	}
	// What no part stands for would be left running, and nobody told.
	for _, name := range slices.Sorted(maps.Keys(env.Parts)) {
		if _, known := app.Part(name); !known {
			return Errorf(op, CodeConflict, "%s has a part %s (%s) that the configuration of %s does not name any more; put it back until the environment is cleaned up.",
				o.Env, name, env.Parts[name].Use, app.Name)
		}
	}
	return nil
}

// trusted keeps code from strangers' repositories out unless the app lets it
// in, whoever asked for it and wherever. What is there already can always be
// looked at, put aside and removed.
func (sc *scene) trusted() error {
	runs := sc.order.Verb.TakesCommit() || sc.order.Verb == VerbRollback
	if !runs || sc.app.AllowForks {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(sc.order.Components)) {
		if b := sc.order.Components[name]; b.Commit.Fork {
			return Errorf("plan.trust", CodeForbidden,
				"Commit %s of the component %s comes from a fork, or is on no branch of %s, and apps.%s.allow_forks is not set, so it does not run; somebody who keeps Berth's config can allow it, or push the branch to %s itself.",
				shortSHA(b.Commit.SHA), name, b.Repo, sc.app.Name, b.Repo)
		}
	}
	if !sc.order.Commit.Fork {
		return nil
	}
	return Errorf("plan.trust", CodeForbidden,
		"Commit %s comes from a fork, or is on no branch of %s, and apps.%s.allow_forks is not set, so it does not run; somebody who keeps Berth's config can allow it, or push the branch to %s itself.",
		shortSHA(sc.order.Commit.SHA), sc.app.Repo, sc.app.Name, sc.app.Repo)
}

// fullSHA is a commit's whole name.
var fullSHA = regexp.MustCompile(`^[0-9a-f]{40}$`)

// choose finds the commit, and what is set with it.
func (r *Runner) choose(ctx context.Context, sc *scene) error {
	sc.set = sc.order.Set
	if len(sc.set) == 0 && sc.imported() {
		sc.set = sc.env.Set // else the first deploy would lose what the other tool had set
	}
	switch {
	case sc.order.Verb == VerbDeploy && sc.order.AsIs:
		return sc.stays()
	case sc.order.Verb == VerbDeploy, sc.order.Verb == VerbRestore && (sc.order.Ref != "" || len(sc.order.With) > 0):
		if err := r.resolve(ctx, sc); err != nil {
			return err
		}
		return r.build(ctx, sc)
	case sc.order.Verb == VerbRollback:
		return r.chooseEarlier(ctx, sc)
	case sc.order.Verb == VerbRestore:
		return r.chooseArchived(ctx, sc)
	}
	sc.order.Commit, sc.ref, sc.order.Components = sc.env.Commit, sc.env.Ref, sc.env.Components
	if sc.order.Commit.SHA == "" && sc.env.LastAction != nil { // it never ran: what was tried last
		sc.order.Commit = sc.env.LastAction.Commit
	}
	if len(sc.set) == 0 {
		sc.set = sc.env.Set
	}
	return nil
}

// imported tells whether another tool made what runs, and Berth has deployed
// nothing over it yet.
func (sc *scene) imported() bool {
	env := sc.env
	return env != nil && len(env.Set) > 0 && env.State != StateCleaned && (env.Deployed == 0 || env.Deployed < env.FirstRevision)
}

// stays takes what runs. What has no known commit though it has a repository was
// made by another tool, and nobody can say what it is.
func (sc *scene) stays() error {
	const op = "plan.as_is"
	env, o := sc.env, &sc.order
	switch {
	case env == nil || env.State == StateCleaned || env.Commit.SHA == "" && env.Repo != "":
		return Errorf(op, CodeConflict, "Nothing that Berth deployed runs in %s, so that it cannot be deployed as it is.", o.Env)
	case o.Ref != "" && o.Ref != env.Commit.SHA:
		return Errorf(op, CodeConflict, "%s runs commit %s by now, not %s; nothing was done.", o.Env, shortSHA(env.Commit.SHA), clip(o.Ref))
	}
	o.Commit, sc.ref, o.Components, sc.set = env.Commit, env.Ref, env.Components, env.Set
	return nil
}

// resolve looks the ref up anew, so that a commit that came since shows.
func (r *Runner) resolve(ctx context.Context, sc *scene) error {
	const op = "plan.resolve"
	sc.ref = sc.order.Ref
	if sc.app.Repo == "" || r.sources == nil {
		switch {
		case sc.ref == "":
			sc.order.Commit = Commit{}
		case fullSHA.MatchString(sc.ref):
			sc.order.Commit = Commit{SHA: sc.ref}
		case sc.app.Repo == "":
			return Errorf(op, CodeInvalid, "%s has no repository in which %q could be looked up; leave --ref out, or give all 40 digits of a commit.", sc.app.Name, clip(sc.ref))
		default:
			return Errorf(op, CodeInvalid, "Berth has no access to %s to look up %q; configure github, or give all 40 digits of a commit.", sc.app.Repo, clip(sc.ref))
		}
		return nil
	}
	if sc.ref == "" && sc.pr > 0 {
		sc.ref = fmt.Sprintf("refs/pull/%d/head", sc.pr)
	}
	commit, err := r.sources.Resolve(ctx, sc.app.Repo, sc.ref)
	if CodeOf(err) == CodeUnavailable && sc.order.Commit.SHA != "" {
		r.log.WarnContext(ctx, "the ref could not be looked up again; what was planned stays", "env", sc.order.Env.String(), "error", err)
		return nil
	}
	if err != nil {
		return typed(op, CodeUnavailable, err, fmt.Sprintf("%s could not be asked for %q; try again in a moment.", sc.app.Repo, clip(sc.ref)))
	}
	sc.order.Commit = commit
	return nil
}

// known are the outputs of a part that are on record.
func (sc *scene) known(env *Environment, part string) (Outputs, bool) {
	if env == nil || env.State == StateCleaned {
		return nil, false
	}
	p, ok := env.Parts[part]
	if !ok || (len(p.Outputs) == 0 && p.State != string(StepDone)) {
		return nil, false
	}
	return p.Outputs, true
}

// step makes the step of a part, with what env knows of the parts that it
// needs. Its second result tells whether it uses outputs that are not known.
//
// A cleanup, and a look, must not depend on the repository: the commit may be
// gone. Then a path in it stays as it is written ("repo:…"), and complain, when
// not nil, is told why.
func (sc *scene) step(ctx context.Context, part Part, env *Environment, verb Verb, id string, lenient func(error)) (Step, bool, error) {
	outputs, pending := map[string]Outputs{}, map[string]bool{}
	for _, need := range part.Needs {
		if out, ok := sc.known(env, need); ok {
			if outputs[need] = out; out == nil {
				outputs[need] = Outputs{}
			}
		} else {
			pending[need] = true
		}
	}
	rd := renderer{facts: sc.factsOf(part, outputs), pending: pending}
	rd.path = func(path string) (string, error) {
		local, err := sc.trees.of(part).path(ctx, path)
		if err == nil || lenient == nil {
			return local, err
		}
		lenient(err)
		return repoPrefix + path, nil
	}
	with, err := rd.with(part)
	if err != nil {
		return Step{}, false, err
	}
	installation, err := sc.installed(ctx)
	if err != nil {
		return Step{}, false, err
	}
	return sc.then.tell(Step{
		ID: id, Env: sc.order.Env, Verb: verb, Part: part.Name, With: with, Vars: maps.Clone(sc.app.Vars), Secrets: maps.Clone(sc.app.Secrets),
		Set: maps.Clone(sc.set), Commit: sc.commitOf(part), Cluster: sc.app.Cluster, Namespace: sc.namespace, Outputs: outputs, Installation: installation,
	}), rd.used, nil
}

// asWritten is a part's With filled in, but for paths in the repository: what
// decides what runs, the same on every machine.
func (sc *scene) asWritten(part Part, env *Environment) (map[string]any, error) {
	outputs, pending := map[string]Outputs{}, map[string]bool{}
	for _, need := range part.Needs {
		if out, ok := sc.known(env, need); ok {
			outputs[need] = out
		} else {
			pending[need] = true
		}
	}
	rd := renderer{facts: sc.factsOf(part, outputs), pending: pending}
	return rd.with(part)
}
