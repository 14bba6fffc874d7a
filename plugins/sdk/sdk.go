// Package sdk is what the author of an executor imports. An executor is a
// program of its own: it describes itself, plans, runs and observes the parts
// that name it, and Berth starts, checks and stops it. See README.md for one in
// sixty lines, and package sdktest for the suite that every executor passes.
package sdk

import (
	"context"
	"time"
)

// Executor is the least that an executor is. One that can also plan or observe
// implements Planner or Observer; one that does not lacks that capability, and
// Berth says so instead of pretending.
type Executor interface {
	// Describe says what the executor is. It must not reach out.
	Describe() Description
	// Run does the step. Steps arrive at least once: a step that is already
	// done is success. It returns when the work is done, and soon after ctx is
	// cancelled. Outputs and events go to out.
	Run(ctx context.Context, step Step, out Events) error
}

// Planner says what Run would change, without changing anything.
type Planner interface {
	Plan(ctx context.Context, step Step) (Plan, error)
}

// Observer looks at what a part made.
type Observer interface {
	Observe(ctx context.Context, step Step) (Observation, error)
}

// Description is what an executor says of itself.
type Description struct {
	Name    string         // "helm": what an app's part names in `use`
	Version string         // of the executor, semantic
	Verbs   []Verb         // what Run accepts
	Schema  map[string]any // JSON Schema (2020-12) of Step.With; nil accepts anything
	// SettingsSchema is a JSON Schema (2020-12) of Step.Settings; nil takes none.
	SettingsSchema map[string]any
}

// Verb is what is done to a part.
type Verb string

// The verbs that can reach an executor.
const (
	Deploy   Verb = "deploy"
	Archive  Verb = "archive"
	Restore  Verb = "restore"
	Cleanup  Verb = "cleanup"
	Rollback Verb = "rollback"
	Restart  Verb = "restart"
	Sleep    Verb = "sleep"
	Wake     Verb = "wake"
)

// Step is one part × verb of an environment.
type Step struct {
	ID        string // the same on every try of this step
	App       string // "shop"
	Env       string // "pr-42"
	Part      string // "web"
	Verb      Verb
	With      map[string]any    // the part's settings, as Schema describes them; paths in them are local
	Vars      map[string]string // the app's variables
	Set       map[string]string // dotted keys that the requester set; values are untrusted text
	Commit    string            // 40 hex digits, or "" without a repository
	Cluster   Cluster
	Namespace string                       // the environment's namespace
	Outputs   map[string]map[string]string // of the parts that this one needs
	Brief     bool                         // Plan only: Inputs alone are wanted, no Diff, Resources or Cost
	// Agreed are the Inputs of the plan that was agreed on; empty when there was
	// none. A Run that looks up anew what can move, such as a tag, fails with
	// Invalid when it finds something else than they name. A Plan that gets them
	// checks whether they still hold: what it cannot look up now, such as what a
	// tag means while its registry is away, it answers with what was agreed on.
	Agreed map[string]string
	// Secrets are variables beside Vars, by reference. The executor looks their
	// values up (see Secret) and never says them: not in a log line, a plan, an
	// error or an output.
	Secrets map[string]SecretRef
	// Installation tells the Berth that asks from others that use the same cluster
	// or account; "" when it is not told. It belongs into the marks of ownership.
	Installation string
	// Earlier is, in a rollback, the ID of the deploy or restore step whose result
	// is to come back.
	Earlier string
	// AsWas asks a restore for exactly what was archived, whatever With says.
	AsWas bool
	// Settings are what Berth's config says of the executor itself, under
	// plugins.NAME.settings, as SettingsSchema describes it: the same for every
	// app. SecretOf reads the secrets in them.
	Settings map[string]any
}

// SecretRef says where an executor finds a value that nobody else may see. One
// of Env, File and SecretName is set.
type SecretRef struct {
	Name            string // what Berth's config calls it
	Env             string // a variable of the executor's own environment
	File            string // a file that the executor can read
	SecretNamespace string // of a Kubernetes Secret; "" means the environment's
	SecretName      string
	SecretKey       string
}

// Inventory is an executor that finds what it made, by its marks of ownership.
type Inventory interface {
	// Inventory lists all that scope.Installation owns in scope.Cluster, or, when
	// the executor's things are in no cluster, wherever scope.Settings say. When it
	// cannot see all of it, it fails: nothing is worse than taking what could not
	// be seen for gone, or what is another's for one's own.
	Inventory(ctx context.Context, scope Scope) ([]Owned, error)
}

// Scope is where an executor looks when it is about no part.
type Scope struct {
	Cluster      Cluster
	Namespace    string // Check only: one that an environment would have
	Installation string
	Settings     map[string]any // as Step.Settings
}

// LogSource passes on what the programs of a part print.
type LogSource interface {
	// Logs calls out with each line that q asks for, of several sources in the
	// order of their times as far as that can be told, and returns when there are
	// no more or out fails. With q.Follow it goes on until ctx ends.
	Logs(ctx context.Context, step Step, q LogQuery, out func(LogLine) error) error
}

// LogQuery says which lines are wanted. The zero value means all.
type LogQuery struct {
	Pod       string    // a pod's name, or how it begins
	Container string    // a container's name
	Since     time.Time // lines from then on
	Tail      int       // the last so many lines of each source, before Follow goes on
	Follow    bool      // and what is printed from now on
	Contains  string    // only lines that hold this text
}

// LogLine is a line that a program of a part printed.
type LogLine struct {
	Time   time.Time // zero when it is not known
	Source string    // who printed it: "web-7d9f/app"
	Text   string    // without its end
}

// Checker looks at what the executor needs to do its work, for `berth doctor`.
type Checker interface {
	// Check tells of each thing that it looked at, in an order fit for reading. It
	// changes nothing. An error means that it could not look.
	Check(ctx context.Context, scope Scope) ([]Finding, error)
}

// Finding is one thing that Check looked at.
type Finding struct {
	Name   string // in a few words: "rights in the cluster"
	OK     bool
	Detail string // what was found
	Fix    string // what to do, when it is not as it should be
	Paste  string // text to use as it is, such as the YAML of a role
}

// Owned is something that an executor made.
type Owned struct {
	App, Env  string
	Part      string // "" when it belongs to the environment as a whole
	Kind      string // "Helm release"
	Name      string
	Namespace string
	CreatedAt time.Time
	// Elsewhere says that it is in no cluster, such as a database or a record of
	// DNS: it is listed whichever cluster is asked about.
	Elsewhere bool
}

// Cluster is a way into a Kubernetes cluster.
type Cluster struct {
	Kubeconfig string // path; "" is the in-cluster account
	Context    string // "" is the file's current one
	Name       string // what Berth's config calls it, for messages; may be ""
	EKS        *EKS   // in place of Kubeconfig; nil without
}

// EKS is a cluster of Amazon EKS, reached with the AWS account of the
// executor's own environment.
type EKS struct {
	Name   string // of the cluster, in EKS
	Region string
	Role   string // the ARN of a role to take for it; "" is the account's own
}

// Events is where Run tells what happens. It is safe for concurrent use, and
// never blocks for longer than the connection takes.
type Events interface {
	// Log passes on a line of output.
	Log(line string)
	// Progress says what is waited for now: "web: 1 of 2 pods ready". A total
	// of 0 means that it cannot be counted.
	Progress(text string, done, total int)
	// Output sets what parts that need this one can use. Never a secret.
	Output(key, value string)
	// Receipt says that the step took a thing away for good: one receipt for each.
	Receipt(r Resource)
}

// Plan is what Run would change.
type Plan struct {
	Summary     string            // one line
	Diff        string            // unified; secrets masked
	Destructive bool              // takes data away
	Inputs      map[string]string // what decides the result, by name: "chart": "sha256:…", "image acme/shop:1": "sha256:…"
	// Resources are what Run would make, change and take away. Of more than a
	// thousand Berth is told how many are left out; those that take data away are
	// kept first, then those that go.
	Resources []Resource
	Cost      string // one line on what the part asks for: "requests 500m CPU and 512Mi memory (2 pods)"; "" when it cannot be told
}

// Change is what becomes of a Resource.
type Change string

// The changes. Any other counts as ChangeUpdate.
const (
	ChangeCreate Change = "create"
	ChangeUpdate Change = "update"
	ChangeDelete Change = "delete"
)

// Resource is one thing that a step makes, changes or takes away.
type Resource struct {
	Kind        string // "Deployment", "RDS instance"
	Name        string
	Namespace   string // "" for what lives in none
	Change      Change
	Destructive bool // takes data away
}

// Health is how a part is.
type Health string

// What Observe can find. Unknown means that it could not be seen.
const (
	Healthy   Health = "healthy"
	Degraded  Health = "degraded"
	Unhealthy Health = "unhealthy"
	Absent    Health = "absent"
	Unknown   Health = "unknown"
)

// Link is an address that people open.
type Link struct{ Name, URL string }

// Observation is what is seen of a part now.
type Observation struct {
	Health Health
	Text   string // why, when not healthy
	Links  []Link
	Drift  []string // one sentence for each difference from what was deployed
	Facts  []Fact   // what else is worth telling; sixteen are taken
	// Renew says why Deploy has to be run again though nothing has changed: "the
	// certificate of shop.example.org ends on 2026-12-02". Berth has it run with
	// what runs, once for each text; so the text names a date, not the time that
	// is left. "" means that there is no need.
	Renew string
}

// Fact is something worth telling of a part: restarts, what it asks for, the
// last event.
type Fact struct{ Name, Text string }

// Fault says whose doing a failure is.
type Fault string

// The faults. An error of any other type counts as FaultInternal.
const (
	FaultInvalid    Fault = "invalid"    // the user's input
	FaultDownstream Fault = "downstream" // the cluster or cloud
	FaultInternal   Fault = "internal"   // a bug of the executor
)

// Error is a failure that people are shown.
type Error struct {
	Fault Fault
	Msg   string        // plain words, no secrets: what is wrong and what to do
	Err   error         // for the log; may be nil
	Retry bool          // the same step may succeed when it is run again
	After time.Duration // not before this long; 0 leaves it to Berth
}
