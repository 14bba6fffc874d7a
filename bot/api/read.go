package api

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/oklog/ulid/v2"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// historyMost is how many runs an environment is shown with.
const historyMost = 20

// body is a response with a JSON body.
type body[T any] struct{ Body T }

type envPath struct {
	App  string `path:"app" maxLength:"40"`
	Name string `path:"name" maxLength:"40"`
}

type idPath struct {
	ID string `path:"id" maxLength:"64"`
}

type environmentsQuery struct {
	App    string `query:"app" maxLength:"40" doc:"Only this app's."`
	State  string `query:"state" enum:"CreatePending,UpdatePending,Running,Failure,ArchivePending,Archived,RestorePending,CleanupPending,Cleaned" doc:"Only those in this state."`
	All    bool   `query:"all" doc:"Those that are gone (Cleaned) too."`
	Pull   int    `query:"pull_request" minimum:"1" maximum:"2000000000" doc:"Only those of a pull request of this number: their own, or a component's."`
	Repo   string `query:"repo" maxLength:"140" doc:"Only those of this repository: their own, or a component's. With pull_request, those that are built from that pull request." example:"acme/shop"`
	Cursor string `query:"cursor" maxLength:"200" doc:"next of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

type requestsQuery struct {
	App         string `query:"app" maxLength:"40" doc:"Only this app's."`
	Environment string `query:"environment" maxLength:"81" doc:"Only this environment's, by its whole name." example:"shop/pr-42"`
	State       string `query:"state" enum:"planning,pending,released,running,succeeded,failed,denied,expired,superseded,cancelled,refused" doc:"Only those in this state."`
	Open        bool   `query:"open" doc:"Without those that failed and were retried: their retries tell how it went on."`
	Cursor      string `query:"cursor" maxLength:"200" doc:"next of the page before."`
	Limit       int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

// readOperations registers what changes nothing.
func (a *API) readOperations(h huma.API) {
	huma.Register(h, operation("list-environments", http.MethodGet, "/api/v1/environments", "List environments", http.StatusUnprocessableEntity), a.environments)
	huma.Register(h, operation("get-environment", http.MethodGet, "/api/v1/environments/{app}/{name}", "Show one environment with its parts, links and history", http.StatusNotFound), a.environment)
	huma.Register(h, operation("list-requests", http.MethodGet, "/api/v1/requests", "List requests, the newest first", http.StatusUnprocessableEntity), a.requests)
	huma.Register(h, operation("get-request", http.MethodGet, "/api/v1/requests/{id}", "Show one request with its plan", http.StatusNotFound), a.request)
	huma.Register(h, operation("get-run", http.MethodGet, "/api/v1/runs/{id}", "Show one run with its steps", http.StatusNotFound), a.run)
	huma.Register(h, operation("list-apps", http.MethodGet, "/api/v1/apps", "List the apps that are configured"), a.apps)
	huma.Register(h, operation("get-actor", http.MethodGet, "/api/v1/actor", "Show who the token stands for"), a.whoami)
}

func (a *API) environments(ctx context.Context, q *environmentsQuery) (*body[Page[Environment]], error) {
	envs, next, err := a.service.Environments(ctx, actions.EnvFilter{
		App: q.App, State: actions.State(q.State), All: q.All, PullRequest: q.Pull, Repo: q.Repo, Cursor: q.Cursor, Limit: q.Limit,
	})
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	page := Page[Environment]{Items: make([]Environment, 0, len(envs)), Next: next}
	for _, e := range envs {
		page.Items = append(page.Items, toEnvironment(a.service.App(e.Name.App), e, nil))
	}
	return &body[Page[Environment]]{page}, nil
}

// found is the environment of a path.
func (a *API) found(ctx context.Context, p envPath) (*actions.Environment, error) {
	name, err := actions.ParseName(p.App + "/" + p.Name)
	if err != nil {
		return nil, problem(actions.CodeNotFound, "There is no such environment; names are 2 to 40 of a-z, 0-9 and \"-\", starting with a letter.")
	}
	env, err := a.service.Environment(ctx, name)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return env, nil
}

func (a *API) environment(ctx context.Context, p *envPath) (*body[Environment], error) {
	env, err := a.found(ctx, *p)
	if err != nil {
		return nil, err
	}
	// The executors are asked while Redis is: the slowest of them takes a while.
	var (
		seen  map[string]actions.Observation
		looks sync.WaitGroup
	)
	looks.Go(func() { seen = a.service.Observe(ctx, env) })
	runs, err := a.service.Runs(ctx, env.Name, historyMost)
	looks.Wait()
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	out := toEnvironment(a.service.App(env.Name.App), env, seen)
	for _, r := range runs {
		out.History = append(out.History, toAction(r))
	}
	return &body[Environment]{out}, nil
}

func (a *API) requests(ctx context.Context, q *requestsQuery) (*body[Page[Request]], error) {
	filter := approvals.Filter{App: q.App, State: approvals.State(q.State), Open: q.Open, Cursor: q.Cursor, Limit: q.Limit}
	if q.Environment != "" {
		name, err := actions.ParseName(q.Environment)
		if err != nil {
			return nil, a.fail(ctx, err)
		}
		filter.Env = name
	}
	found, next, err := a.service.Requests(ctx, filter)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	page := Page[Request]{Items: make([]Request, 0, len(found)), Next: next}
	for _, r := range found {
		page.Items = append(page.Items, toRequest(r))
	}
	return &body[Page[Request]]{page}, nil
}

func (a *API) request(ctx context.Context, p *idPath) (*body[Request], error) {
	r, err := a.service.Request(ctx, p.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &body[Request]{toRequest(r)}, nil
}

func (a *API) run(ctx context.Context, p *idPath) (*body[Run], error) {
	r, err := a.soon(ctx, p.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &body[Run]{toRun(r)}, nil
}

// soon is the run of an id. A request names its run a moment before that is
// there, so for a young id it is waited for.
func (a *API) soon(ctx context.Context, id string) (*actions.Run, error) {
	for {
		r, err := a.service.Run(ctx, id)
		if err == nil || actions.CodeOf(err) != actions.CodeNotFound {
			return r, err
		}
		made, notID := ulid.ParseStrict(id)
		if age := time.Since(ulid.Time(made.Time())); notID != nil || age < -youth || age > youth {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pollFast):
		}
	}
}

// youth is how long after its id was made a run may take to be there.
const youth = 10 * time.Second

func (a *API) apps(context.Context, *struct{}) (*body[Page[App]], error) {
	page := Page[App]{Items: []App{}}
	for _, app := range a.service.Apps() {
		page.Items = append(page.Items, toApp(app))
	}
	return &body[Page[App]]{page}, nil
}

func (a *API) whoami(ctx context.Context, _ *struct{}) (*body[Actor], error) {
	actor, err := a.service.Identify(ctx, from(ctx).actor)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &body[Actor]{Actor{ID: actor.ID, Actor: actor.Name, Identity: actor.Identity, Roles: slices.Clone(actor.Roles)}}, nil
}

// input is a command of the caller.
func (c caller) input(line, key string) bot.Input {
	return bot.Input{Line: line, Actor: c.actor, Place: c.place, Private: true, Key: c.key(key)}
}
