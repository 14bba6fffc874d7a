package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/approvals/policy"
	"github.com/berth-dev/berth/bot/command"
	"github.com/berth-dev/berth/configs"
)

// caseWorld is what a case says there is, where Berth would look.
type caseWorld struct {
	*catalog
	people []configs.Actor
	groups map[string][]string
	unseen []string
	envs   []*actions.Environment
	now    time.Time
}

// world is what a case says there is.
func (f *policyCases) world(cfg *configs.Config, apps *catalog, c *policyCase) *caseWorld {
	w := &caseWorld{catalog: apps, people: f.peopleOf(cfg, c), groups: map[string][]string{}, unseen: c.Unseen, now: c.Now.Time}
	if w.now.IsZero() {
		w.now = f.Now.Time
	}
	for _, groups := range []map[string][]string{f.Groups, c.Groups} {
		for group, who := range groups {
			w.groups[group] = who
		}
	}
	for _, env := range c.Environments {
		w.envs = append(w.envs, w.environment(env))
	}
	return w
}

func (w *caseWorld) environment(e caseEnvironment) *actions.Environment {
	name, _ := actions.ParseName(e.Name) // checked when the file was read
	owner := w.account(e.Owner)
	env := &actions.Environment{
		Name: name, State: actions.State(e.State), PullRequest: e.PullRequest, Commit: actions.Commit{SHA: e.Commit}, Sleeping: e.Sleeping,
		Owner:     actions.Owner{Actor: owner.Actor, Identity: owner.Identity},
		CreatedAt: w.now.Add(-time.Duration(e.Age)),
	}
	if env.State == "" {
		env.State = actions.StateRunning
	}
	if e.Locked {
		env.Lock = &actions.Lock{By: "somebody", At: w.now}
	}
	if e.ExpiresIn != 0 {
		env.ExpiresAt = w.now.Add(time.Duration(e.ExpiresIn))
	}
	env.LastAction = &actions.LastAction{At: w.now.Add(-time.Duration(e.Idle))}
	return env
}

// account is how somebody whom a case names would ask.
func (w *caseWorld) account(name string) approvals.Requester {
	if name == "" {
		return approvals.Requester{}
	}
	if kind, login, ok := strings.Cut(name, ":"); ok && kind != "" {
		return approvals.Requester{Actor: login, Identity: name}
	}
	out := approvals.Requester{Actor: name, Identity: "token:" + name}
	for _, a := range w.people {
		if a.Name == name {
			out.Roles = a.Roles
		}
	}
	return out
}

// Person finds out whose an account is, as approvals/people does for those that
// the config names.
func (w *caseWorld) Person(_ context.Context, identity string) (approvals.Person, error) {
	for _, a := range w.people {
		all := append([]string{"token:" + a.Name}, a.Identities...)
		if slices.ContainsFunc(all, func(i string) bool { return strings.EqualFold(i, identity) }) {
			slices.Sort(all)
			return approvals.Person{ID: "actor:" + a.Name, Name: a.Name, Roles: a.Roles, Identities: all}, nil
		}
	}
	_, name, _ := strings.Cut(identity, ":")
	return approvals.Person{ID: identity, Name: name, Identities: []string{identity}}, nil
}

// Environment finds one of the case's environments.
func (w *caseWorld) Environment(_ context.Context, name actions.Name) (*actions.Environment, error) {
	for _, env := range w.envs {
		if env.Name == name {
			return env, nil
		}
	}
	return nil, actions.Errorf("policy.test", actions.CodeNotFound, "There is no environment %s.", name)
}

// Environments lists the case's environments.
func (w *caseWorld) Environments(_ context.Context, f actions.EnvFilter) ([]*actions.Environment, string, error) {
	var out []*actions.Environment
	for _, env := range w.envs {
		if f.App == "" || env.Name.App == f.App {
			out = append(out, env)
		}
	}
	return out, "", nil
}

// Active is empty: a case has no other requests.
func (w *caseWorld) Active(context.Context, string) ([]*approvals.Request, error) { return nil, nil }

// groupsBy makes the groups that somebody else than the config knows.
func groupsBy(of func(prefix string) policy.Groups) map[string]policy.Groups {
	groups := map[string]policy.Groups{}
	for _, prefix := range []string{"github-team", "codeowners", "slack-group", "discord-role"} {
		groups[prefix] = of(prefix)
	}
	return groups
}

// caseGroups are the groups of one prefix.
type caseGroups struct {
	world  *caseWorld
	prefix string
}

// Member looks into the case's groups.
func (g caseGroups) Member(_ context.Context, group string, _ *approvals.Request, p approvals.Person) (bool, error) {
	key := strings.TrimSuffix(g.prefix+":"+group, ":")
	if slices.Contains(g.world.unseen, key) {
		return false, errors.New("the case says that it cannot be seen")
	}
	return slices.ContainsFunc(g.world.groups[key], func(who string) bool {
		return "actor:"+who == p.ID || slices.ContainsFunc(p.Identities, func(i string) bool { return strings.EqualFold(i, who) })
	}), nil
}

// engine is the config's policy over the case's world.
func (w *caseWorld) engine(cfg *configs.Config) (*policy.Engine, error) {
	return policy.New(policy.Options{
		Rules: policyRules(cfg), People: w, Apps: w.catalog, Environments: w, Requests: w, Now: func() time.Time { return w.now },
		Groups: groupsBy(func(prefix string) policy.Groups { return caseGroups{w, prefix} }),
	})
}

// request is what the case asks for.
func (w *caseWorld) request(c *policyCase) *approvals.Request {
	cmd, _ := command.Parse(c.Command) // checked when the file was read
	by := w.account(c.As)
	planned := w.now.Add(-time.Duration(c.Waited))
	order := actions.Order{
		Env: actions.Name{App: cmd.App, Env: cmd.Env}, Verb: actions.Verb(cmd.Verb), Ref: cmd.Ref, Set: cmd.Set, TTL: cmd.TTL, Reason: cmd.Reason,
		By: by.Actor, Identity: by.Identity, Commit: actions.Commit{SHA: c.Plan.Commit.SHA, Message: c.Plan.Commit.Message, Author: c.Plan.Commit.Author, Fork: c.Plan.Commit.Fork},
	}
	app, _ := w.App(cmd.App) // checked as well
	if app.Repo != "" {
		order.PullRequest = order.Env.PullRequest()
	}
	r := &approvals.Request{
		ID: "01k00000000000000000000000", State: approvals.StatePending, Order: order, Requester: by, DryRun: cmd.DryRun,
		Place: approvals.Place{Surface: "cli"}, CreatedAt: planned, Plan: c.Plan.plan(order, app, planned),
	}
	if c.Surface != "" {
		r.Place = approvals.Place{Surface: c.Surface, Message: "1"}
	}
	if c.Automatic {
		r.Place = approvals.Place{Surface: "github"}
	}
	if cmd.Glass {
		r.Glass = &approvals.Glass{By: by, Reason: cmd.Reason, At: planned}
	}
	for _, d := range c.Decisions {
		decision := approvals.Decision{Verdict: approvals.Verdict(d.Verdict), By: w.account(d.By), Reason: d.Reason, At: planned.Add(time.Duration(d.After)), BreakGlass: d.BreakGlass}
		if decision.Verdict == "" {
			decision.Verdict = approvals.Approve
		}
		if d.BreakGlass {
			r.Glass = &approvals.Glass{By: decision.By, Reason: d.Reason, At: decision.At}
		}
		r.Decisions = append(r.Decisions, decision)
	}
	return r
}

// plan is what the request would change; the app's parts when it does not say.
func (p casePlan) plan(order actions.Order, app *actions.App, made time.Time) *actions.Plan {
	plan := &actions.Plan{Order: order, Destructive: p.Destructive, Added: p.Added, Removed: p.Removed, MadeAt: made}
	for _, part := range p.Parts {
		plan.Parts = append(plan.Parts, actions.PartPlan{Part: part.Name, Use: part.Use, Destructive: part.Destructive, Summary: part.Summary, Cost: part.Cost})
	}
	if len(p.Parts) == 0 {
		for _, part := range app.Parts {
			plan.Parts = append(plan.Parts, actions.PartPlan{Part: part.Name, Use: part.Use})
		}
	}
	for _, r := range p.Resources {
		at := slices.IndexFunc(plan.Parts, func(part actions.PartPlan) bool { return part.Part == r.Part })
		if at < 0 {
			at = len(plan.Parts)
			plan.Parts = append(plan.Parts, actions.PartPlan{Part: r.Part})
		}
		part := &plan.Parts[at]
		part.Resources = append(part.Resources, actions.Resource{Kind: r.Kind, Name: r.Name, Namespace: r.Namespace, Change: r.Change, Destructive: r.Destructive})
		part.Destructive = part.Destructive || r.Destructive
	}
	for i := range plan.Parts {
		if use, known := app.Part(plan.Parts[i].Part); known && plan.Parts[i].Use == "" {
			plan.Parts[i].Use = use.Use
		}
		plan.Destructive = plan.Destructive || plan.Parts[i].Destructive
	}
	return plan
}
