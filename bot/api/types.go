package api

import (
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// Page is one page of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"The cursor of the next page; absent on the last one."`
}

// Environment is one running copy of an app.
type Environment struct {
	App         string            `json:"app" doc:"The app's name." example:"shop"`
	Name        string            `json:"name" doc:"The environment's own name within the app." example:"pr-42"`
	State       string            `json:"state" enum:"CreatePending,UpdatePending,Running,Failure,ArchivePending,Archived,RestorePending,CleanupPending,Cleaned"`
	Commit      string            `json:"commit" doc:"The SHA of what runs: the last successful deploy's; empty when nothing does."`
	URL         string            `json:"url" doc:"The first of the links; empty when there is none."`
	ExpiresAt   *time.Time        `json:"expires_at" doc:"When it is taken down; null when it lives for ever."`
	Parts       []Part            `json:"parts" doc:"In the order of the app's config."`
	LastAction  *LastAction       `json:"last_action" doc:"How the last action ended."`
	Message     string            `json:"commit_message,omitempty" doc:"The commit's first line."`
	Summary     string            `json:"summary" doc:"How it is, in one sentence for people." example:"is running abc1234; the update to def5678 failed"`
	Repo        string            `json:"repo,omitempty" example:"acme/shop"`
	PullRequest int               `json:"pull_request,omitempty"`
	Namespace   string            `json:"namespace,omitempty"`
	Cluster     string            `json:"cluster,omitempty"`
	Links       []actions.Link    `json:"links"`
	Set         map[string]string `json:"set,omitempty" doc:"The keys that it was deployed with (--set). Values can be secrets and are shown as …"`
	Sleeping    bool              `json:"sleeping,omitempty"`
	Lock        *actions.Lock     `json:"lock,omitempty" doc:"Who keeps everybody's actions away from it."`
	RunID       string            `json:"run_id,omitempty" doc:"The run that holds it now."`
	CreatedAt   time.Time         `json:"created_at"`
	UpdatedAt   time.Time         `json:"updated_at"`
	History     []Action          `json:"history,omitempty" doc:"Its last runs, the newest first; only where one environment is asked for."`
}

// TransformSchema lets be null what may be null.
func (Environment) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return nullable(s, "last_action")
}

// Part is one unit of an environment.
type Part struct {
	Name    string            `json:"name"`
	Use     string            `json:"use" doc:"The executor that handles it."`
	State   string            `json:"state" doc:"Of its last step; empty when none has run."`
	Health  string            `json:"health" enum:"healthy,degraded,unhealthy,absent,unknown" doc:"As seen now where one environment is asked for, else from its last step. unknown means that it could not be seen, which is not absence."`
	Text    string            `json:"text,omitempty" doc:"Why, when it is not healthy."`
	Drift   []string          `json:"drift,omitempty" doc:"How it differs from what was deployed."`
	Outputs map[string]string `json:"outputs,omitempty"`
	At      *time.Time        `json:"at,omitempty" doc:"When its last step ended."`
}

// LastAction says how the last action ended.
type LastAction struct {
	Verb      string    `json:"verb"`
	State     string    `json:"state" enum:"running,succeeded,failed,cancelled"`
	Commit    string    `json:"commit,omitempty"`
	Error     string    `json:"error,omitempty"`
	By        string    `json:"by,omitempty"`
	At        time.Time `json:"at"`
	RequestID string    `json:"request_id"`
	RunID     string    `json:"run_id"`
}

// Action is one run in an environment's history.
type Action struct {
	Verb      string     `json:"verb"`
	State     string     `json:"state" enum:"running,succeeded,failed,cancelled"`
	Commit    string     `json:"commit,omitempty"`
	Error     string     `json:"error,omitempty"`
	By        string     `json:"by,omitempty"`
	RequestID string     `json:"request_id"`
	RunID     string     `json:"run_id"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
}

// Request is one actor's wish for one action.
type Request struct {
	ID          string            `json:"id"`
	State       string            `json:"state" enum:"planning,pending,released,running,succeeded,failed,denied,expired,superseded,cancelled,refused"`
	Verb        string            `json:"verb"`
	App         string            `json:"app" example:"shop"`
	Environment string            `json:"environment" doc:"Its whole name." example:"shop/pr-42"`
	Command     string            `json:"command" doc:"As it was typed, in its normal form."`
	Requester   string            `json:"requester" doc:"Who asked." example:"ana"`
	Identity    string            `json:"requester_identity,omitempty" doc:"The account that asked." example:"github:ana"`
	Digest      string            `json:"digest" doc:"SHA-256 over everything that decides what runs; empty until it is planned."`
	Approvals   []Decision        `json:"approvals" doc:"The decisions on it, approve and deny."`
	RunID       string            `json:"run_id" doc:"Empty until it runs."`
	CreatedAt   time.Time         `json:"created_at"`
	EndedAt     *time.Time        `json:"ended_at"`
	Reason      string            `json:"reason" doc:"Why it ended as it did, for people."`
	Code        string            `json:"code,omitempty" doc:"What kind of failure it was, when it failed or was refused."`
	Ref         string            `json:"ref,omitempty"`
	Commit      string            `json:"commit,omitempty" doc:"The SHA that the ref stands for, once it is planned."`
	Set         map[string]string `json:"set,omitempty" doc:"The keys of --set. Values can be secrets and are shown as …"`
	DryRun      bool              `json:"dry_run,omitempty"`
	Surface     string            `json:"surface" doc:"Where it came from." example:"github"`
	Place       string            `json:"place,omitempty" example:"acme/shop#42"`
	Stopping    bool              `json:"stopping,omitempty" doc:"Somebody asked to stop it, and it has not stopped yet."`
	UpdatedAt   time.Time         `json:"updated_at"`
	Policy      *Policy           `json:"policy,omitempty" doc:"What the policies said last: the rules that matched, what is missing and who can give it. Absent before they were asked, and when no rule is about it."`
	Glass       *Glass            `json:"glass,omitempty" doc:"Somebody broke the glass: rules that they may set aside are."`
	Changed     []string          `json:"changed,omitempty" doc:"What differs from the plan that was agreed on before, when it had to be planned again."`
	RetryOf     string            `json:"retry_of,omitempty" doc:"The failed request that it asks anew for."`
	RetriedAs   string            `json:"retried_as,omitempty" doc:"The request that asks anew for this one, which failed."`
	Plan        *Plan             `json:"plan,omitempty" doc:"What it changes; only where one request is asked for."`
}

// Plan is what a request would change.
type Plan struct {
	Digest      string             `json:"digest"`
	Summary     string             `json:"summary"`
	Commit      string             `json:"commit,omitempty"`
	Namespace   string             `json:"namespace,omitempty"`
	Destructive bool               `json:"destructive,omitempty" doc:"It takes data away."`
	Parts       []actions.PartPlan `json:"parts"`
	MadeAt      time.Time          `json:"made_at"`
}

// Actor is a person or machine.
type Actor struct {
	ID       string   `json:"id,omitempty" doc:"The same for all accounts of one person." example:"actor:ana"`
	Actor    string   `json:"actor" example:"ana"`
	Identity string   `json:"identity,omitempty" example:"github:ana"`
	Roles    []string `json:"roles,omitempty"`
}

// Decision is one person's approve or deny.
type Decision struct {
	Decision string    `json:"decision" enum:"approve,deny"`
	By       string    `json:"by" example:"ana"`
	Identity string    `json:"identity,omitempty" doc:"The account that decided." example:"github:ana"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
	Digest   string    `json:"digest,omitempty" doc:"The digest that was decided on."`
	Surface  string    `json:"surface,omitempty" doc:"Where it was said." example:"github"`
	Glass    bool      `json:"break_glass,omitempty" doc:"It broke the glass."`
}

// Run is one execution of a request.
type Run struct {
	ID          string               `json:"id"`
	RequestID   string               `json:"request_id"`
	App         string               `json:"app"`
	Environment string               `json:"environment" doc:"Its whole name." example:"shop/pr-42"`
	Verb        string               `json:"verb"`
	State       string               `json:"state" enum:"running,succeeded,failed,cancelled"`
	Commit      string               `json:"commit,omitempty"`
	Digest      string               `json:"digest"`
	By          string               `json:"by"`
	Steps       []actions.StepRecord `json:"steps"`
	Error       string               `json:"error,omitempty"`
	Code        string               `json:"code,omitempty"`
	Attempt     int                  `json:"attempt" doc:"1, and one more for each worker that took it over."`
	StartedAt   time.Time            `json:"started_at"`
	EndedAt     *time.Time           `json:"ended_at"`
}

// App is what can be deployed.
type App struct {
	Name  string   `json:"name"`
	Repo  string   `json:"repo,omitempty"`
	TTL   string   `json:"ttl,omitempty" doc:"How long an environment lives after its last use." example:"72h"`
	Parts []string `json:"parts"`
}

// Answer is what a command is answered with, in words.
type Answer struct {
	Tone        string       `json:"tone" enum:"accepted,info"`
	Text        string       `json:"text" doc:"GitHub-flavoured Markdown."`
	Request     *Request     `json:"request,omitempty"`
	Environment *Environment `json:"environment,omitempty"`
}

// nullable lets properties of s be null besides what they are.
func nullable(s *huma.Schema, names ...string) *huma.Schema {
	for _, name := range names {
		if p := s.Properties[name]; p != nil {
			s.Properties[name] = &huma.Schema{AnyOf: []*huma.Schema{p, {Type: "null"}}}
		}
	}
	return s
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// toEnvironment shows an environment. app may be nil, when the config knows it
// no more; seen is what its parts look like now, nil when nobody looked.
func toEnvironment(app *actions.App, e *actions.Environment, seen map[string]actions.Observation) Environment {
	out := Environment{
		App: e.Name.App, Name: e.Name.Env, State: string(e.State), Commit: e.Commit.SHA, Message: e.Commit.Message, URL: e.URL, ExpiresAt: timeOrNull(e.ExpiresAt),
		Summary: strings.ReplaceAll(bot.Unescape(bot.Sentence(e)), "`", ""), Repo: e.Repo, PullRequest: e.PullRequest, Namespace: e.Namespace, Cluster: e.Cluster,
		Links: e.Links, Set: bot.Masked(e.Set), Sleeping: e.Sleeping, Lock: e.Lock, RunID: e.RunID, CreatedAt: e.CreatedAt.UTC(), UpdatedAt: e.UpdatedAt.UTC(),
		Parts: []Part{},
	}
	if out.Links == nil {
		out.Links = []actions.Link{}
	}
	if l := e.LastAction; l != nil {
		out.LastAction = &LastAction{
			Verb: string(l.Verb), State: string(l.State), Commit: l.Commit.SHA, Error: l.Error, By: l.By, At: l.At.UTC(),
			RequestID: l.RequestID, RunID: l.RunID,
		}
	}
	for _, name := range bot.PartNames(app, e) {
		out.Parts = append(out.Parts, toPart(app, e, name, seen))
	}
	return out
}

func toPart(app *actions.App, e *actions.Environment, name string, seen map[string]actions.Observation) Part {
	status := e.Parts[name]
	p := Part{
		Name: name, Use: status.Use, State: status.State, Health: string(status.Health), Text: status.Text, Outputs: status.Outputs, At: timeOrNull(status.At),
	}
	if app != nil && p.Use == "" {
		configured, _ := app.Part(name)
		p.Use = configured.Use
	}
	if o, ok := seen[name]; ok {
		p.Health, p.Text, p.Drift = string(o.Health), o.Text, o.Drift
	}
	if p.Health == "" {
		p.Health = string(actions.Unknown)
	}
	return p
}

func toRequest(r *approvals.Request) Request {
	out := Request{
		ID: r.ID, State: string(r.State), Verb: string(r.Order.Verb), App: r.Order.Env.App, Environment: r.Order.Env.String(), Command: r.Command,
		Requester: r.Requester.Actor, Identity: r.Requester.Identity, Digest: r.Digest, Approvals: []Decision{}, RunID: r.RunID, CreatedAt: r.CreatedAt.UTC(),
		EndedAt: timeOrNull(r.EndedAt), Reason: r.Reason, Code: string(r.Code), Ref: r.Order.Ref, Commit: r.Order.Commit.SHA, Set: bot.Masked(r.Order.Set),
		DryRun: r.DryRun, Surface: r.Place.Surface, Place: r.Place.ID, Stopping: r.Stop != nil && !r.State.Ended(), UpdatedAt: r.UpdatedAt.UTC(), Plan: toPlan(r.Plan),
		Policy: toPolicy(r.Outcome), Glass: toGlass(r.Glass), Changed: r.Changed, RetryOf: r.RetryOf, RetriedAs: r.RetriedAs,
	}
	for _, d := range r.Decisions {
		out.Approvals = append(out.Approvals, Decision{
			Decision: string(d.Verdict), By: d.By.Actor, Identity: d.By.Identity, Reason: d.Reason, At: d.At.UTC(), Digest: d.Digest,
			Surface: d.Place.Surface, Glass: d.BreakGlass,
		})
	}
	return out
}

func toPlan(p *actions.Plan) *Plan {
	if p == nil {
		return nil
	}
	out := &Plan{
		Digest: p.Digest, Summary: p.Summary, Commit: p.Order.Commit.SHA, Namespace: p.Namespace, Destructive: p.Destructive,
		Parts: p.Parts, MadeAt: p.MadeAt.UTC(),
	}
	if out.Parts == nil {
		out.Parts = []actions.PartPlan{}
	}
	return out
}

func toRun(r *actions.Run) Run {
	out := Run{
		ID: r.ID, RequestID: r.RequestID, App: r.Order.Env.App, Environment: r.Order.Env.String(), Verb: string(r.Order.Verb), State: string(r.State),
		Commit: r.Order.Commit.SHA, Digest: r.Digest, By: r.Order.By, Steps: r.Steps, Error: r.Error, Code: string(r.Code), Attempt: r.Attempt,
		StartedAt: r.StartedAt.UTC(), EndedAt: timeOrNull(r.EndedAt),
	}
	if out.Steps == nil {
		out.Steps = []actions.StepRecord{}
	}
	return out
}

func toAction(r *actions.Run) Action {
	return Action{
		Verb: string(r.Order.Verb), State: string(r.State), Commit: r.Order.Commit.SHA, Error: r.Error, By: r.Order.By,
		RequestID: r.RequestID, RunID: r.ID, StartedAt: r.StartedAt.UTC(), EndedAt: timeOrNull(r.EndedAt),
	}
}

func toApp(a *actions.App) App {
	out := App{Name: a.Name, Repo: a.Repo, Parts: []string{}}
	if a.TTL > 0 {
		out.TTL = bot.FormatTTL(a.TTL)
	}
	for _, p := range a.Parts {
		out.Parts = append(out.Parts, p.Name)
	}
	return out
}
