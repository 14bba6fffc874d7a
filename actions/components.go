package actions

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// pullSpec is how a pull request of a component's repository is named:
// "acme/api#12", or "#12".
var pullSpec = regexp.MustCompile(`^([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)?#([1-9][0-9]{0,9})$`)

// checkComponents checks what an order wants components to be taken from.
func checkComponents(app *App, o Order) error {
	const op = "plan.components"
	for _, name := range slices.Sorted(maps.Keys(o.With)) {
		component, known := app.Components[name]
		switch {
		case !o.Verb.TakesCommit():
			return Errorf(op, CodeInvalid, "--with goes with deploy and restore only.")
		case !known && len(app.Components) == 0:
			return Errorf(op, CodeInvalid, "%s has no components that --with %s could mean (components in its configuration).", app.Name, clip(name))
		case !known:
			return Errorf(op, CodeInvalid, "%s has no component %s; it has %s.", app.Name, clip(name), strings.Join(slices.Sorted(maps.Keys(app.Components)), ", "))
		case o.With[name] == "":
			return Errorf(op, CodeInvalid, "Say what %s is to be taken from, such as --with %s=%s#12.", name, name, component.Repo)
		}
		if m := pullSpec.FindStringSubmatch(o.With[name]); m != nil && m[1] != "" && !strings.EqualFold(m[1], component.Repo) {
			return Errorf(op, CodeInvalid, "The component %s of %s is %s, not %s; write --with %s=%s#%s.", name, app.Name, component.Repo, clip(m[1]), name, component.Repo, m[2])
		}
	}
	return nil
}

// build finds out what each component of the app is taken from: what the order
// says, else what the environment was built from, else its usual ref. Pull
// requests, branches and tags are looked up anew.
func (r *Runner) build(ctx context.Context, sc *scene) error {
	if len(sc.app.Components) == 0 {
		sc.order.Components = nil
		return nil
	}
	planned := sc.order.Components // of an earlier plan of the same order
	built := make(map[string]Built, len(sc.app.Components))
	for _, name := range slices.Sorted(maps.Keys(sc.app.Components)) {
		b, err := r.buildOne(ctx, sc, name, planned[name])
		if err != nil {
			return err
		}
		built[name] = b
	}
	sc.order.Components = built
	return nil
}

func (r *Runner) buildOne(ctx context.Context, sc *scene, name string, planned Built) (Built, error) {
	const op = "plan.components"
	component := sc.app.Components[name]
	b := Built{Repo: component.Repo, Ref: component.Ref}
	if was, ok := sc.built()[name]; ok && strings.EqualFold(was.Repo, component.Repo) {
		b.PullRequest, b.Ref = was.PullRequest, was.Ref
	}
	if spec := sc.order.With[name]; spec != "" {
		b.PullRequest, b.Ref = 0, spec
		if m := pullSpec.FindStringSubmatch(spec); m != nil {
			b.PullRequest, _ = strconv.Atoi(m[2]) // ten digits
			b.Ref = ""
		}
	}
	if r.sources == nil {
		return b, Errorf(op, CodeInvalid, "%s is built from %s (component %s), but Berth has no access to repositories; configure github.", sc.app.Name, component.Repo, name)
	}
	ref := b.Ref
	if b.PullRequest > 0 {
		ref = fmt.Sprintf("refs/pull/%d/head", b.PullRequest)
	}
	commit, err := r.sources.Resolve(ctx, component.Repo, ref)
	if CodeOf(err) == CodeUnavailable && planned.Commit.SHA != "" {
		r.log.WarnContext(ctx, "a component could not be looked up again; what was planned stays", "env", sc.order.Env.String(), "component", name, "error", err)
		return planned, nil
	}
	if err != nil {
		return b, typed(op, CodeUnavailable, err, fmt.Sprintf("%s could not be asked for %q; try again in a moment.", component.Repo, clip(ref)))
	}
	b.Commit = commit
	return b, nil
}

// built is what the environment was built from so far.
func (sc *scene) built() map[string]Built {
	if sc.env == nil || sc.env.State == StateCleaned {
		return nil
	}
	return sc.env.Components
}

// trees are the repositories that the parts of a scene take files from.
type trees struct {
	own        *tree
	components map[string]*tree
}

// plant makes the trees of a scene whose commits are known. Nothing is fetched
// before a path is asked for.
func (sc *scene) plant(sources Sources) {
	sc.trees = &trees{own: &tree{sources: sources, app: sc.app.Name, repo: sc.app.Repo, commit: sc.order.Commit}, components: map[string]*tree{}}
	for name, b := range sc.order.Components {
		sc.trees.components[name] = &tree{sources: sources, app: sc.app.Name, repo: b.Repo, commit: b.Commit}
	}
}

// of is the tree of a part: its component's, or the app's own.
func (t *trees) of(part Part) *tree {
	if c, ok := t.components[part.Component]; ok && part.Component != "" {
		return c
	}
	if part.Component != "" { // the environment was never built from it
		return &tree{app: t.own.app}
	}
	return t.own
}

func (t *trees) close() {
	if t == nil {
		return
	}
	t.own.close()
	for _, c := range t.components {
		c.close()
	}
}

// placed is app where the environment is, or is to be: a copy with the cluster
// that the order chooses, and with the variables that the environment gets.
func placed(app *App, env *Environment, o Order) (*App, error) {
	const op = "plan.cluster"
	here := *app
	stays := env != nil && env.State != StateCleaned && env.Cluster != ""
	want := o.Cluster
	switch {
	case stays && want != "" && want != env.Cluster:
		return nil, Errorf(op, CodeConflict, "%s runs on cluster %s and cannot move to %s; clean it up, and deploy it there.", o.Env, env.Cluster, clip(want))
	case stays:
		want = env.Cluster
	case want == "":
		want = app.Cluster.Name
	}
	cluster, known := app.cluster(want)
	switch {
	case known:
		here.Cluster = cluster
	case stays:
		return nil, Errorf(op, CodeConflict, "%s runs on cluster %s, but %s is configured for %s now; set it back until the environment is cleaned up.",
			o.Env, env.Cluster, app.Name, app.clusterNames())
	default:
		return nil, Errorf(op, CodeInvalid, "%s does not run on a cluster %s; it runs on %s.", app.Name, clip(want), app.clusterNames())
	}
	var err error
	here.Vars, here.Secrets, err = variables(app, env, o.Verb)
	return &here, err
}

// cluster finds one of the app's clusters.
func (a *App) cluster(name string) (Cluster, bool) {
	if name == a.Cluster.Name {
		return a.Cluster, true
	}
	i := slices.IndexFunc(a.Clusters, func(c Cluster) bool { return c.Name == name })
	if i < 0 {
		return Cluster{}, false
	}
	return a.Clusters[i], true
}

func (a *App) clusterNames() string {
	if len(a.Clusters) == 0 {
		return fmt.Sprintf("%q", a.Cluster.Name)
	}
	names := make([]string, len(a.Clusters))
	for i, c := range a.Clusters {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}
