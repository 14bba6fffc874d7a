package api

import (
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berth-dev/berth/actions"
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
	Deployed    int               `json:"deployed" doc:"The revision that runs, or ran last: 1 for the first deploy of the name, and one more for each that succeeded since; 0 when none has."`
	Components  []Component       `json:"components,omitempty" doc:"What it was built from besides its commit, by name."`
	Overrides   []Override        `json:"overrides,omitempty" doc:"The variables that people set for it, by name. They count from its next deploy on; their values are under /vars, for those who may set them."`
	UsedAt      *time.Time        `json:"used_at,omitempty" doc:"When somebody last had something done with it."`
	TTL         string            `json:"ttl,omitempty" doc:"How long after its last use it expires; absent when it never does." example:"72h"`
	Keep        bool              `json:"keep,omitempty" doc:"Somebody said that it stays: it does not expire, and schedules leave it alone."`
	OnExpiry    string            `json:"on_expiry,omitempty" enum:"cleanup,archive" doc:"What becomes of it when its time is over; absent when it does not expire."`
	Sleeping    bool              `json:"sleeping,omitempty"`
	SleptBy     string            `json:"slept_by,omitempty" doc:"Who put it to sleep." example:"schedule/nightly"`
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
	Drift   []string          `json:"drift,omitempty" doc:"How it differs from what was deployed: as seen now, or, where it cannot be seen now, as it was at drift_at."`
	DriftAt *time.Time        `json:"drift_at,omitempty" doc:"When the drift was seen, if that is not now."`
	Facts   []actions.Fact    `json:"facts,omitempty" doc:"What else is seen of it now, where one environment is asked for: restarts, what it asks for, its last event."`
	Renew   string            `json:"renew,omitempty" doc:"Why its deploy will be run again though nothing has changed, such as a certificate that ends soon."`
	Outputs map[string]string `json:"outputs,omitempty"`
	At      *time.Time        `json:"at,omitempty" doc:"When its last step ended, or it was last seen to have changed."`
}

// Component is what an environment was built from besides its own commit.
type Component struct {
	Name        string `json:"name" example:"api"`
	Repo        string `json:"repo" example:"acme/api"`
	PullRequest int    `json:"pull_request,omitempty"`
	Ref         string `json:"ref,omitempty"`
	Commit      string `json:"commit"`
	Message     string `json:"commit_message,omitempty" doc:"The commit's first line."`
}

// Override is a variable that somebody set for one environment, without its
// value.
type Override struct {
	Name   string    `json:"name" example:"LOG_LEVEL"`
	Secret string    `json:"secret,omitempty" doc:"The secret that it stands for, by the name that the config gives it." example:"stripe"`
	By     string    `json:"by" example:"ana"`
	At     time.Time `json:"at"`
}

// LastAction says how the last action ended.
type LastAction struct {
	Verb      string    `json:"verb"`
	State     string    `json:"state" enum:"running,succeeded,failed,cancelled"`
	Commit    string    `json:"commit,omitempty"`
	Error     string    `json:"error,omitempty"`
	Left      string    `json:"left,omitempty" doc:"Where it left the parts, when it did not succeed."`
	By        string    `json:"by,omitempty"`
	At        time.Time `json:"at"`
	RequestID string    `json:"request_id"`
	RunID     string    `json:"run_id"`
}

// Action is one run in an environment's history.
type Action struct {
	Revision  int        `json:"revision,omitempty" doc:"What its success made of the environment; absent when it made none."`
	Back      int        `json:"back,omitempty" doc:"rollback: the revision that it went back to."`
	Verb      string     `json:"verb"`
	State     string     `json:"state" enum:"running,succeeded,failed,cancelled"`
	Commit    string     `json:"commit,omitempty"`
	Error     string     `json:"error,omitempty"`
	Left      string     `json:"left,omitempty" doc:"Where it left the parts, when it did not succeed."`
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
	Left        string            `json:"left,omitempty" doc:"Where its run left the parts, when it did not succeed."`
	Code        string            `json:"code,omitempty" doc:"What kind of failure it was, when it failed or was refused."`
	Ref         string            `json:"ref,omitempty"`
	Commit      string            `json:"commit,omitempty" doc:"The SHA that the ref stands for, once it is planned."`
	With        map[string]string `json:"with,omitempty" doc:"What components are taken from (--with)."`
	Cluster     string            `json:"cluster,omitempty" doc:"Where to deploy (--cluster)."`
	To          int               `json:"to,omitempty" doc:"rollback: the revision to go back to (--to)."`
	Keep        bool              `json:"keep,omitempty" doc:"extend: it no longer expires (--keep)."`
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
	Components  []Component        `json:"components,omitempty" doc:"What it is built from besides its commit."`
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
	Revision    int                  `json:"revision,omitempty" doc:"What its success made of the environment: its deployed."`
	Back        int                  `json:"back,omitempty" doc:"rollback: the revision that it went back to."`
	Steps       []actions.StepRecord `json:"steps" doc:"In the order of the app's parts; those that take back what others did (undo) come last. receipts are the things that a step took away."`
	Error       string               `json:"error,omitempty"`
	Left        string               `json:"left,omitempty" doc:"Where it left the parts, when it did not succeed." example:"db runs 0123456; web is back at revision 3"`
	Code        string               `json:"code,omitempty"`
	Attempt     int                  `json:"attempt" doc:"1, and one more for each worker that took it over."`
	StartedAt   time.Time            `json:"started_at"`
	Deadline    *time.Time           `json:"deadline,omitempty" doc:"When it is stopped, and fails."`
	EndedAt     *time.Time           `json:"ended_at"`
}

// Past is one ended run of an environment, kept for longer than the run itself.
type Past struct {
	RunID     string     `json:"run_id"`
	RequestID string     `json:"request_id,omitempty"`
	Verb      string     `json:"verb"`
	State     string     `json:"state" enum:"succeeded,failed,cancelled"`
	Revision  int        `json:"revision,omitempty" doc:"What its success made of the environment; absent when it made none."`
	Back      int        `json:"back,omitempty" doc:"rollback: the revision that it went back to."`
	Current   bool       `json:"current,omitempty" doc:"Its revision is the one that runs now."`
	Commit    string     `json:"commit,omitempty"`
	Message   string     `json:"commit_message,omitempty" doc:"The commit's first line."`
	Ref       string     `json:"ref,omitempty"`
	By        string     `json:"by,omitempty"`
	Error     string     `json:"error,omitempty" doc:"Cut to 300 bytes."`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
	Kept      bool       `json:"kept" doc:"The run can still be read, with its steps and its log."`
}

// Variable is a variable of an environment, as its next deploy would get it.
type Variable struct {
	Name   string     `json:"name" example:"LOG_LEVEL"`
	Value  *string    `json:"value,omitempty" doc:"Absent for a secret, and for whoever may not set it."`
	Secret string     `json:"secret,omitempty" doc:"The secret that it stands for, by the name that the config gives it."`
	By     string     `json:"by,omitempty" doc:"Who set it for this environment; absent when it is the app's."`
	At     *time.Time `json:"at,omitempty" doc:"When that was."`
	Next   bool       `json:"next_deploy,omitempty" doc:"It was set since the last deploy, and counts from the next one on."`
}

// App is what can be deployed.
type App struct {
	Name  string   `json:"name"`
	Repo  string   `json:"repo,omitempty"`
	TTL   string   `json:"ttl,omitempty" doc:"How long an environment lives after its last use." example:"72h"`
	Parts []string `json:"parts"`

	Clusters   []string `json:"clusters,omitempty" doc:"Those that it may be deployed to, the usual one first."`
	Components []string `json:"components,omitempty" doc:"What --with may name."`
	Secrets    []string `json:"offered_secrets,omitempty" doc:"What variables may be set to with --secret."`
}

// Answer is what a command is answered with, in words.
type Answer struct {
	Tone        string       `json:"tone" enum:"accepted,info"`
	Text        string       `json:"text" doc:"GitHub-flavoured Markdown."`
	Request     *Request     `json:"request,omitempty"`
	Environment *Environment `json:"environment,omitempty"`
}
