package actions

import (
	"context"
	"time"
)

// Executor does the work of parts that name it. It is called from many
// goroutines. Its errors are *Error: CodeInvalid (the user's input),
// CodeDownstream (the cluster or cloud), CodeUnavailable (the plugin died or
// cannot be reached), CodeCancelled or CodeInternal; Retry as the executor says.
type Executor interface {
	// Describe tells what the executor is and can do; it is asked once.
	Describe(ctx context.Context) (Description, error)
	// Plan says what Run would change. It changes nothing.
	Plan(ctx context.Context, step Step) (PartPlan, error)
	// Run does the step and is success when it is already done. Events go to
	// sink in order until Run returns. Cancelling ctx stops the work.
	Run(ctx context.Context, step Step, sink func(Event)) (Outputs, error)
	// Observe looks at a part without changing it.
	Observe(ctx context.Context, step Step) (Observation, error)
}

// Executors finds the executor that a part names, starting it if needed. It
// returns CodeInvalid for one that is not configured.
type Executors interface {
	Executor(ctx context.Context, use string) (Executor, error)
}

// Sources reads applications' repositories.
type Sources interface {
	// Resolve finds the commit that ref means in repo; "" is the default
	// branch, "refs/pull/42/head" a pull request's head. It returns
	// CodeNotFound, naming ref and repo, when there is none.
	Resolve(ctx context.Context, repo, ref string) (Commit, error)
	// Fetch gives a read-only folder with repo at sha (40 hex digits). The
	// folder stays until release is called; calling twice is cheap.
	Fetch(ctx context.Context, repo, sha string) (dir string, release func(), err error)
}

// Description is what an executor says of itself.
type Description struct {
	Name    string // "helm"
	Version string
	Verbs   []Verb         // what Run accepts
	Schema  map[string]any // JSON Schema of With
	Binary  string         // SHA-256 of the plugin's file, hex; filled in by the host
	// Inventories, Logs and Checks tell that the executor is an Inventory, a
	// LogSource and a Checker as well.
	Inventories, Logs, Checks bool
}

// LogSource is an executor that passes on what the programs of a part print.
type LogSource interface {
	// Logs calls out with each line that q asks for, in order, on the caller's
	// goroutine, and returns when there are no more or out fails. With q.Follow it
	// goes on until ctx ends, which is an error with CodeCancelled.
	Logs(ctx context.Context, step Step, q LogQuery, out func(LogLine) error) error
}

// LogQuery says which lines of an environment's programs are wanted. The zero
// value means all.
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
	Time   time.Time `json:"time,omitzero"` // zero when it is not known
	Part   string    `json:"part"`
	Source string    `json:"source"` // who printed it: "web-7d9f/app"
	Text   string    `json:"text"`
}

// Checker is an executor that can look at what it needs to do its work.
type Checker interface {
	// Check looks at the cluster, and at rights in a namespace as an environment
	// would have it. It changes nothing.
	Check(ctx context.Context, cluster Cluster, namespace, installation string) ([]Finding, error)
}

// Finding is one thing that a Checker looked at.
type Finding struct {
	Name   string // in a few words: "rights in the cluster"
	OK     bool
	Detail string // what was found
	Fix    string // what to do, when it is not as it should be
	Paste  string // text to use as it is, such as the YAML of a role
}

// Inventory finds what there is in a cluster or account that bears Berth's marks
// of ownership. Failing to see all of it is an error (I8): what comes back is
// everything that there is.
type Inventory interface {
	// Inventory lists what the given Berth (Store.Installation) owns in cluster.
	Inventory(ctx context.Context, cluster Cluster, installation string) ([]Owned, error)
}

// Owned is something that an executor made for a part of an environment.
type Owned struct {
	Env       Name      `json:"environment"`
	Part      string    `json:"part,omitempty"` // "" when it belongs to the environment as a whole, as a namespace does
	Use       string    `json:"use"`
	Kind      string    `json:"kind"` // "Helm release", "Namespace"
	Name      string    `json:"name"`
	Namespace string    `json:"namespace,omitempty"`
	Cluster   string    `json:"cluster,omitempty"`   // the name of the one that was asked; whoever asks fills it in
	Elsewhere bool      `json:"elsewhere,omitempty"` // it is in no cluster, and listed whichever is asked about
	CreatedAt time.Time `json:"created_at,omitzero"`
}

// Step is one part × verb, resolved: what an executor is handed.
type Step struct {
	ID        string // the same on every try of the same step
	Env       Name
	Verb      Verb
	Part      string
	With      map[string]any // templates filled in, "repo:PATH" made a read-only absolute path
	Vars      map[string]string
	Set       map[string]string
	Commit    Commit
	Cluster   Cluster
	Namespace string
	Outputs   map[string]Outputs // of the parts that this one needs, by part
	Brief     bool               // Plan only: digest inputs alone, no diff
	// Agreed are PartPlan.Inputs as agreed on; empty while nothing was. A Run
	// holds on to them, for what may move between the check and the step. A Plan
	// that gets them is that check: where it cannot look up what they tell, such
	// as what a tag means while its registry is away, they still hold.
	Agreed map[string]string
	// Secrets are variables beside Vars, by reference: the executor alone looks
	// their values up, and masks them wherever it says something.
	Secrets map[string]SecretRef
	// Installation tells this Berth from every other one that uses the same
	// cluster; it is part of the marks of ownership.
	Installation string
	// Earlier is, in a rollback, the ID of the step whose result is to come back.
	Earlier string
	// AsWas asks a restore for exactly what was archived, whatever With says.
	AsWas bool
}

// Outputs are what a part tells the parts that need it: endpoint, address,
// reference to a credential. Never a secret itself.
type Outputs map[string]string

// PartPlan is what a step would change.
type PartPlan struct {
	Part        string            `json:"part"`
	Use         string            `json:"use"`
	Summary     string            `json:"summary"`               // "install chart preview 0.1.0: 3 objects created"
	Diff        string            `json:"diff,omitempty"`        // unified, secrets masked
	Destructive bool              `json:"destructive,omitempty"` // takes data away
	Inputs      map[string]string `json:"inputs,omitempty"`      // what decides the result, by name: "chart": "sha256:…"
	Executor    string            `json:"executor,omitempty"`    // SHA-256 of the executor's binary
	Provisional bool              `json:"provisional,omitempty"` // uses outputs of a part that has none yet
	// Resources are what the step makes, changes and takes away, what takes data
	// with it first; a brief plan has none. ResourcesLeft is how many more there
	// are than are named: whoever looks for one must not take it for absent then.
	Resources     []Resource `json:"resources,omitempty"`
	ResourcesLeft int        `json:"resources_left,omitempty"`
	Cost          string     `json:"cost,omitempty"`    // one line on what it asks for: "requests 500m CPU and 512Mi memory (2 pods)"; "" when unknown
	Added         int        `json:"added,omitempty"`   // lines of the whole diff, were it cut; filled in by planning
	Removed       int        `json:"removed,omitempty"` // the same
}

// What becomes of a Resource.
const (
	ResourceCreate = "create"
	ResourceUpdate = "update"
	ResourceDelete = "delete"
)

// Resource is one thing that a step makes, changes or takes away.
type Resource struct {
	Kind        string `json:"kind"` // "Deployment", "RDS instance"
	Name        string `json:"name"`
	Namespace   string `json:"namespace,omitempty"`
	Change      string `json:"change"`                // ResourceCreate, ResourceUpdate or ResourceDelete
	Destructive bool   `json:"destructive,omitempty"` // takes data away
}

// EventKind tells what an Event is.
type EventKind string

// The kinds of events of a run. A surface ignores kinds that it does not know.
const (
	EventLog      EventKind = "log"      // a line of the executor's output
	EventProgress EventKind = "progress" // what it waits for now: "web: 1 of 2 pods ready"
	EventStep     EventKind = "step"     // a step changed its state
	EventRun      EventKind = "run"      // the run changed its state
	EventReceipt  EventKind = "receipt"  // a thing was taken away: Resource says which
)

// Event is one thing that happened in a run. ID is the Redis stream id, which
// orders the events of a run and resumes a stream of them.
type Event struct {
	ID    string    `json:"id,omitempty"`
	Time  time.Time `json:"time"`
	Kind  EventKind `json:"kind"`
	Part  string    `json:"part,omitempty"`
	State string    `json:"state,omitempty"` // of the step or run, for those kinds
	Text  string    `json:"text,omitempty"`
	Done  int       `json:"done,omitempty"`  // progress: so many
	Total int       `json:"total,omitempty"` // of so many; 0 when not countable
	Left  int       `json:"left,omitempty"`  // log: how many lines were left out where this one says so
	// Resource is what a receipt is of; Text says the same in words.
	Resource *Resource `json:"resource,omitempty"`
}

// Health is how a part is.
type Health string

// What Observe can find.
const (
	Healthy   Health = "healthy"
	Degraded  Health = "degraded"
	Unhealthy Health = "unhealthy"
	Absent    Health = "absent"
	Unknown   Health = "unknown" // it could not be seen, which is not absence
)

// Link is an address that people open.
type Link struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// Observation is what an executor sees of a part now.
type Observation struct {
	Health Health   `json:"health"`
	Text   string   `json:"text,omitempty"` // why, when not healthy
	Links  []Link   `json:"links,omitempty"`
	Drift  []string `json:"drift,omitempty"` // one sentence per difference from what was deployed
	Facts  []Fact   `json:"facts,omitempty"` // what else is worth telling
	// Renew says why deploy has to be run again though nothing has changed; the
	// same text means the same need. "" means that it has not.
	Renew string `json:"renew,omitempty"`
}

// Fact is something worth telling of a part: restarts, what it asks for, the
// last event.
type Fact struct {
	Name string `json:"name"`
	Text string `json:"text"`
}
