package policy

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// The types of the names that conditions can use. Their fields' tags are what
// the fields are called there. docs/policies.md lists them all.

// RequestFacts is `request`.
type RequestFacts struct {
	Verb      string            `cel:"verb"`
	Ref       string            `cel:"ref"`
	Reason    string            `cel:"reason"`
	DryRun    bool              `cel:"dry_run"`
	Surface   string            `cel:"surface"`
	Place     string            `cel:"place"`
	Set       map[string]string `cel:"set"`
	TTL       time.Duration     `cel:"ttl"`
	Replans   int64             `cel:"replans"`
	Automatic bool              `cel:"automatic"`
}

// EnvironmentFacts is `environment`.
type EnvironmentFacts struct {
	App         string        `cel:"app"`
	Name        string        `cel:"name"`
	Exists      bool          `cel:"exists"`
	State       string        `cel:"state"`
	PullRequest int64         `cel:"pull_request"`
	Commit      string        `cel:"commit"`
	Sleeping    bool          `cel:"sleeping"`
	SleptBy     string        `cel:"slept_by"`
	Locked      bool          `cel:"locked"`
	Keep        bool          `cel:"keep"`
	Cluster     string        `cel:"cluster"`
	Age         time.Duration `cel:"age"`
	Used        time.Time     `cel:"used"`
	Idle        time.Duration `cel:"idle"`
	ExpiresIn   time.Duration `cel:"expires_in"`
	Owner       string        `cel:"owner"`

	Components map[string]ComponentFacts `cel:"components"`
}

// ComponentFacts is one of `environment.components`.
type ComponentFacts struct {
	Repo        string `cel:"repo"`
	PullRequest int64  `cel:"pull_request"`
	Ref         string `cel:"ref"`
	Commit      string `cel:"commit"`
}

// AppFacts is `app`.
type AppFacts struct {
	Name      string   `cel:"name"`
	Repo      string   `cel:"repo"`
	Cluster   string   `cel:"cluster"`
	Namespace string   `cel:"namespace"`
	Parts     []string `cel:"parts"`
	Executors []string `cel:"executors"`
}

// ActorFacts is `actor`.
type ActorFacts struct {
	Name     string   `cel:"name"`
	Identity string   `cel:"identity"`
	ID       string   `cel:"id"`
	Roles    []string `cel:"roles"`
}

// PlanFacts is `plan`.
type PlanFacts struct {
	Destructive   bool            `cel:"destructive"`
	Parts         []PartFacts     `cel:"parts"`
	Resources     []ResourceFacts `cel:"resources"`
	ResourcesLeft int64           `cel:"resources_left"`
	Added         int64           `cel:"added"`
	Removed       int64           `cel:"removed"`
	Cost          string          `cel:"cost"`
	Commit        CommitFacts     `cel:"commit"`
}

// PartFacts is one of `plan.parts`.
type PartFacts struct {
	Name        string `cel:"name"`
	Use         string `cel:"use"`
	Destructive bool   `cel:"destructive"`
	Summary     string `cel:"summary"`
}

// ResourceFacts is one of `plan.resources`.
type ResourceFacts struct {
	Part        string `cel:"part"`
	Kind        string `cel:"kind"`
	Name        string `cel:"name"`
	Namespace   string `cel:"namespace"`
	Change      string `cel:"change"`
	Destructive bool   `cel:"destructive"`
}

// CommitFacts is `plan.commit`.
type CommitFacts struct {
	SHA     string `cel:"sha"`
	Message string `cel:"message"`
	Author  string `cel:"author"`
	Fork    bool   `cel:"fork"`
}

// never is how far away what never comes is: a hundred years, so that comparing
// with it does what one means, and adding to it is still a length of time.
const never = 100 * 365 * 24 * time.Hour

// facts is a snapshot of what is known about a request.
type facts struct {
	now         time.Time
	request     *approvals.Request
	by          person
	app         *actions.App         // nil when it is not configured any more
	environment *actions.Environment // nil when there is none
	owner       string
}

// values are what a condition is evaluated over.
func (f *facts) values() map[string]any {
	return map[string]any{
		"now": f.now, "request": f.requestFacts(), "environment": f.environmentFacts(),
		"app": f.appFacts(), "actor": f.actorFacts(), "plan": f.planFacts(),
	}
}

func (f *facts) requestFacts() RequestFacts {
	r := f.request
	set := r.Order.Set
	if set == nil {
		set = map[string]string{}
	}
	return RequestFacts{
		Verb: string(r.Order.Verb), Ref: r.Order.Ref, Reason: r.Order.Reason, DryRun: r.DryRun, Surface: r.Place.Surface,
		Place: r.Place.ID, Set: set, TTL: r.Order.TTL, Replans: int64(r.Replans), Automatic: r.Automatic(),
	}
}

func (f *facts) environmentFacts() EnvironmentFacts {
	name := f.request.Order.Env
	out := environmentFacts(name, f.environment, f.now)
	if out.PullRequest == 0 {
		out.PullRequest = int64(f.request.Order.PullRequest)
	}
	if out.PullRequest == 0 {
		out.PullRequest = int64(name.PullRequest())
	}
	if out.Exists {
		out.Owner = f.owner
	}
	return out
}

// environmentFacts is what a record says at a moment, without whose it is; nil
// stands for an environment that was never made.
func environmentFacts(name actions.Name, env *actions.Environment, now time.Time) EnvironmentFacts {
	out := EnvironmentFacts{App: name.App, Name: name.Env, Used: now, ExpiresIn: never, Components: map[string]ComponentFacts{}}
	if env == nil {
		return out
	}
	out.State, out.Commit, out.PullRequest = string(env.State), env.Commit.SHA, int64(env.PullRequest)
	out.Sleeping, out.SleptBy, out.Locked = env.Sleeping, env.SleptBy, env.Lock != nil
	if env.State == actions.StateCleaned {
		return out
	}
	out.Exists, out.Keep, out.Cluster, out.Used = true, env.Keep, env.Cluster, used(env)
	out.Age, out.Idle = max(now.Sub(env.CreatedAt), 0), max(now.Sub(out.Used), 0)
	if !env.ExpiresAt.IsZero() {
		out.ExpiresIn = env.ExpiresAt.Sub(now)
	}
	for component, built := range env.Components {
		out.Components[component] = ComponentFacts{Repo: built.Repo, PullRequest: int64(built.PullRequest), Ref: built.Ref, Commit: built.Commit.SHA}
	}
	return out
}

// used is when somebody last had something done with env. A record from before
// that was noted has its last action instead.
func used(env *actions.Environment) time.Time {
	last := env.CreatedAt
	switch {
	case env.UsedAt.After(last):
		last = env.UsedAt
	case env.UsedAt.IsZero() && env.LastAction != nil && env.LastAction.At.After(last):
		last = env.LastAction.At
	}
	return last
}

func (f *facts) appFacts() AppFacts {
	namespace := ""
	if f.request.Plan != nil {
		namespace = f.request.Plan.Namespace
	}
	return appFacts(f.request.Order.Env.App, f.app, namespace)
}

// appFacts is what is configured of an app; nil stands for one that is not
// configured any more.
func appFacts(name string, app *actions.App, namespace string) AppFacts {
	out := AppFacts{Name: name, Parts: []string{}, Executors: []string{}}
	if app == nil {
		return out
	}
	out.Repo, out.Cluster, out.Namespace = app.Repo, app.Cluster.Name, namespace
	for _, part := range app.Parts {
		out.Parts = append(out.Parts, part.Name)
		if !slices.Contains(out.Executors, part.Use) {
			out.Executors = append(out.Executors, part.Use)
		}
	}
	return out
}

// actorFacts has the roles that the config gives now. What the surface said of
// the actor when they asked ("github:write") is there as well.
func (f *facts) actorFacts() ActorFacts {
	roles := append([]string{}, f.by.Roles...)
	for _, role := range f.request.Requester.Roles {
		if strings.Contains(role, ":") && !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	return ActorFacts{Name: f.by.Name, Identity: f.request.Requester.Identity, ID: f.by.ID, Roles: roles}
}

func (f *facts) planFacts() PlanFacts {
	out := PlanFacts{Parts: []PartFacts{}, Resources: []ResourceFacts{}}
	plan := f.request.Plan
	if plan == nil {
		return out
	}
	out.Destructive, out.Added, out.Removed = plan.Destructive, int64(plan.Added), int64(plan.Removed)
	c := plan.Order.Commit
	out.Commit = CommitFacts{SHA: c.SHA, Message: c.Message, Author: c.Author, Fork: c.Fork}
	var costs []string
	for _, part := range plan.Parts {
		out.Parts = append(out.Parts, PartFacts{Name: part.Part, Use: part.Use, Destructive: part.Destructive, Summary: part.Summary})
		for _, r := range part.Resources {
			out.Resources = append(out.Resources, ResourceFacts{
				Part: part.Part, Kind: r.Kind, Name: r.Name, Namespace: r.Namespace, Change: r.Change, Destructive: r.Destructive,
			})
		}
		out.ResourcesLeft += int64(part.ResourcesLeft)
		if part.Cost != "" {
			costs = append(costs, part.Part+": "+part.Cost)
		}
	}
	out.Cost = strings.Join(costs, "; ")
	return out
}

// person is who an account belongs to, with whose account it is.
type person struct {
	approvals.Person
	identity string
}

// whois finds out who r is. One without an identity, such as the requester of an
// old record, is somebody without roles.
func whois(ctx context.Context, people approvals.People, r approvals.Requester) (person, error) {
	if r.Identity == "" {
		return person{Person: approvals.Person{ID: "unknown:" + r.Actor, Name: r.Actor}}, nil
	}
	p, err := people.Person(ctx, r.Identity)
	if err != nil {
		return person{}, err
	}
	if p.ID == "" {
		p.ID = r.Identity
	}
	if p.Name == "" {
		p.Name = r.Actor
	}
	return person{Person: p, identity: r.Identity}, nil
}
