package actions

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// outcome is what an action that did not succeed left behind.
type outcome struct {
	untouched bool // no step began
	undone    bool // all that it did was taken back, and the environment is as it was
	kept      bool // what ran before serves on
	awake     bool // all of what ran before was brought back, so that none of it sleeps
	seen      map[string]Observation
}

// outcome looks at what is left of an environment whose action failed or was
// cancelled.
func (x *execution) outcome(ctx context.Context, run *Run, touched bool) outcome {
	if !touched {
		return outcome{untouched: true}
	}
	o := outcome{}
	_, env := x.j.snapshot()
	switch env.State {
	case StateCreatePending:
		o.undone = run.undoneWhole(VerbCleanup)
	case StateRestorePending:
		o.undone = run.Before == StateArchived && run.undoneWhole(VerbArchive)
	}
	whole := x.broughtBack(run)
	if _, ok := next(env.State, run.Order.Verb, Kept); !ok || (run.Before != StateRunning && !whole) {
		return o
	}
	o.seen = x.look(context.WithoutCancel(ctx))
	o.kept = len(o.seen) > 0
	for _, seen := range o.seen {
		// What cannot be seen is not taken to serve: the action did fail.
		o.kept = o.kept && (seen.Health == Healthy || seen.Health == Degraded)
	}
	o.awake = whole
	return o
}

// look observes the parts after an action that leaves some: those that it made,
// or, when it failed, those that ran before.
func (x *execution) look(ctx context.Context) map[string]Observation {
	switch x.sc.order.Verb {
	case VerbCleanup, VerbExtend:
		return nil
	}
	sc := x.sc
	if x.undo != nil && x.undo.scene != nil {
		sc = x.undo.scene
	}
	_, env := x.j.snapshot()
	x.events.add(Event{Kind: EventProgress, Text: "looking at how the parts are"})
	return x.r.observe(ctx, sc, env)
}

// finish ends the run and moves the environment to where the action left it.
func (x *execution) finish(ctx context.Context, state RunState, why error, o outcome) (*Run, error) {
	now := x.r.clock()
	text, left := "", ""
	detail := map[string]string{}
	if why != nil {
		run, _ := x.j.snapshot()
		run.Code = CodeOf(why)
		text, left = Message(why), x.whereabouts(run)
		detail["error"], detail["code"] = text, string(CodeOf(why))
		if left != "" {
			detail["left"] = left
		}
	}
	e := entry{kind: "run." + string(state), detail: detail, events: []Event{x.j.runEvent(state, strings.TrimSpace(text+Whereabouts(left)))}, app: "-"}
	e.change = func(run *Run, env *Environment) {
		run.State, run.Error, run.Left, run.EndedAt = state, text, left, now
		if why != nil {
			run.Code = CodeOf(why)
		}
		cancelWaiting(run, now)
		x.settle(run, env, o)
		env.RunID, env.LastAction = "", lastAction(run)
		detail["state"] = string(env.State)
	}
	if err := x.j.write(ctx, e); err != nil {
		return nil, err
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveWithin)
	defer cancel()
	run, env := x.j.snapshot()
	if err := x.r.store.dropRevisions(late, env); err != nil {
		x.r.log.WarnContext(late, "old revisions were not forgotten", "env", run.Order.Env.String(), "error", err)
	}
	x.r.store.tidy(late, run.Order.Env, run.ID)
	return run, nil
}

// settle is what the end of an action makes of the environment.
func (x *execution) settle(run *Run, env *Environment, o outcome) {
	verb := run.Order.Verb
	switch {
	case run.State == RunSucceeded:
		env.State, _ = next(env.State, verb, Succeeded)
		x.succeeded(run, env)
	case o.untouched:
		if env.State = run.Before; env.State == StateNone {
			env.State = StateCleaned
		}
		if env.State == StateCleaned {
			emptied(env)
		}
	case o.undone:
		env.State, _ = next(env.State, verb, Undone)
		if env.State == StateCleaned {
			emptied(env)
		}
	case o.kept:
		env.State, _ = next(env.State, verb, Kept)
		env.HasArchive, env.Sleeping = false, env.Sleeping && !o.awake
	default:
		env.State, _ = next(env.State, verb, Failed)
	}
	if run.State != RunSucceeded && !o.untouched && x.whole(run) {
		env.Mixed = false
	}
	for name, seen := range o.seen {
		p := env.Parts[name]
		p.Health, p.At = seen.Health, run.EndedAt
		if p.Text == "" {
			p.Text = short(seen.Text, maxLine)
		}
		if env.Parts == nil {
			env.Parts = map[string]PartStatus{}
		}
		env.Parts[name] = p
	}
	if run.State == RunSucceeded && env.State == StateRunning && o.seen != nil && verb != VerbSleep {
		env.Links, env.URL = x.links(o.seen)
	}
}

// succeeded is what an action's success changes besides the state.
func (x *execution) succeeded(run *Run, env *Environment) {
	switch run.Order.Verb {
	case VerbDeploy, VerbRollback, VerbRestore:
		env.Commit, env.Ref, env.Set, env.Vars = run.Order.Commit, x.sc.ref, x.sc.set, x.sc.app.Vars
		env.Components = run.Order.Components
		env.Sleeping, env.SleptBy, env.HasArchive, env.Mixed = false, "", false, false
		if env.FirstRevision == 0 { // of a Berth that did not count them
			env.FirstRevision = env.Deployed + 1
		}
		env.Deployed++
		run.Revision = env.Deployed
	case VerbArchive:
		env.HasArchive, env.Links, env.URL, env.Sleeping, env.SleptBy = true, nil, "", false, ""
	case VerbCleanup:
		emptied(env)
	case VerbSleep:
		env.Sleeping, env.SleptBy = true, run.Order.By
	case VerbWake:
		env.Sleeping, env.SleptBy = false, ""
	}
	x.lives(env, run.Order, run.EndedAt)
}

// emptied is an environment of which nothing is left but its history.
func emptied(env *Environment) {
	env.Parts, env.Links, env.URL, env.ExpiresAt = nil, nil, "", time.Time{}
	env.Commit, env.Ref, env.Set, env.Vars = Commit{}, "", nil, nil
	env.Components, env.Overrides = nil, nil
	env.Sleeping, env.SleptBy, env.HasArchive, env.Lock = false, "", false, nil
	env.TTL, env.Keep, env.UsedAt, env.Mixed = 0, false, time.Time{}, false
}

// maxLinks is more than people look at.
const maxLinks = 20

// links are the addresses that the parts show, in the parts' order, and the
// first of them. Only addresses that a browser opens without harm are kept.
func (x *execution) links(seen map[string]Observation) (links []Link, first string) {
	for _, part := range x.sc.app.Parts {
		for _, l := range seen[part.Name].Links {
			l, fit := shownLink(l)
			if fit && len(links) < maxLinks && !slices.ContainsFunc(links, func(o Link) bool { return o.URL == l.URL }) {
				links = append(links, l)
			}
		}
	}
	if len(links) > 0 {
		first = links[0].URL
	}
	return links, first
}

// shownLink is l as records keep it. One that leads nowhere on the web, or tells
// a password, is not fit.
func shownLink(l Link) (_ Link, fit bool) {
	u, err := url.Parse(l.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || len(l.URL) > maxLine {
		return l, false
	}
	return Link{Name: short(l.Name, maxDetail), URL: u.String()}, true
}

// Observe looks at all parts of an environment now, side by side. A part that
// cannot be seen is Unknown, and its Text says why. It returns CodeNotFound for
// an environment that is not there, and nothing for one that was cleaned up.
func (r *Runner) Observe(ctx context.Context, name Name) (map[string]Observation, error) {
	env, err := r.store.Environment(ctx, name)
	if err != nil || env.State == StateCleaned {
		return nil, err
	}
	sc, err := r.present(env)
	if err != nil {
		return nil, err
	}
	defer sc.close()
	return r.observe(ctx, sc, env), nil
}

// present is the scene of what runs in an environment now, to look at. It has to
// be closed.
func (r *Runner) present(env *Environment) (*scene, error) {
	app, err := r.catalog.App(env.Name.App)
	if err != nil {
		return nil, err
	}
	order := Order{Env: env.Name, Commit: env.Commit, PullRequest: env.PullRequest, Components: env.Components}
	if app, err = placed(app, env, order); err != nil {
		return nil, err
	}
	if order.Commit.SHA == "" && env.LastAction != nil {
		order.Commit = env.LastAction.Commit
	}
	sc := &scene{app: app, env: env, order: order, verb: VerbDeploy, ref: env.Ref, pr: env.PullRequest, set: env.Set}
	if err := r.furnish(sc); err != nil {
		return nil, err
	}
	return sc, nil
}

func (r *Runner) observe(ctx context.Context, sc *scene, env *Environment) map[string]Observation {
	found := make([]Observation, len(sc.app.Parts))
	var wg sync.WaitGroup
	for i, part := range sc.app.Parts {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, r.observeWithin)
			defer cancel()
			o, err := r.observePart(ctx, sc, part, env)
			if err != nil {
				r.log.InfoContext(ctx, "a part could not be seen", "env", sc.order.Env.String(), "part", part.Name, "error", err)
				o = Observation{Health: Unknown, Text: Message(err)}
			}
			found[i] = o
		})
	}
	wg.Wait()
	seen := make(map[string]Observation, len(found))
	for i, part := range sc.app.Parts {
		seen[part.Name] = found[i]
	}
	return seen
}

func (r *Runner) observePart(ctx context.Context, sc *scene, part Part, env *Environment) (o Observation, err error) {
	const op = "observe"
	defer survive(op, &err)
	ex, err := r.executors.Executor(ctx, part.Use)
	if err != nil {
		return Observation{}, typed(op, CodeUnavailable, err, "Its executor could not be started.")
	}
	step, _, err := sc.step(ctx, part, env, sc.verb, "observe/"+part.Name, func(error) {})
	if err != nil {
		return Observation{}, err
	}
	o, err = ex.Observe(ctx, step)
	if err != nil {
		return o, typed(op, CodeUnavailable, err, "It could not be seen.")
	}
	if o.Health == "" {
		o.Health = Unknown
	}
	return o, nil
}
