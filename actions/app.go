// Package actions is the floor of Berth: environments, their parts, plans and
// runs. It has the state machine, the Runner that plans and runs what a request
// asks for, and the Store that keeps all of it in Redis, with leases and an audit
// chain for each environment. It knows neither people nor policies.
package actions

import "time"

// App is what can be deployed, as configured. It is read-only once loaded.
type App struct {
	Name       string
	Repo       string               // "acme/shop" on GitHub; "" when the app has no repository
	Cluster    Cluster              // where its parts run, unless an order says otherwise
	Clusters   []Cluster            // those that an order may choose from, Cluster the first of them; none means Cluster alone
	Namespace  string               // text/template over Facts; "" means "{{ .App }}-{{ .Name }}"
	TTL        time.Duration        // how long an environment lives after its last use; 0 means for ever
	MaxAge     time.Duration        // how long an environment lives at most, however often it is used or extended; 0 means for ever
	OnExpiry   Verb                 // what becomes of one whose time is over: VerbCleanup, which is also what "" means, or VerbArchive
	RunWithin  time.Duration        // the deadline of a run; 0 means DefaultRunWithin
	Keep       Keep                 // how much of its runs is remembered
	Vars       map[string]string    // variables handed to every part
	Secrets    map[string]SecretRef // variables by reference, handed to every part; no name is in Vars as well
	Offered    map[string]SecretRef // secrets that people may set a variable of an environment to, by name
	SetRoles   []string             // roles that may set and unset variables of an environment; none means whoever may deploy
	Components map[string]Component // other repositories that parts are built from, by name
	AllowSet   []string             // keys that --set may name
	AutoUpdate bool                 // a push to a deployed pull request deploys it again
	AllowForks bool                 // commands on pull requests from forks run
	Parts      []Part               // in order; names are unique; needs form no cycle
}

// Cluster is a way into a Kubernetes cluster. A zero Cluster means that the
// app's parts need none.
type Cluster struct {
	Name       string
	Kubeconfig string // path; "" means the executor's in-cluster account
	Context    string // "" means the file's current one
	EKS        EKS    // in place of Kubeconfig, when it has a name
}

// EKS is a cluster of Amazon EKS, which executors reach with an AWS account.
type EKS struct {
	Name, Region string
	Role         string // the ARN of a role to take for it; "" is the account's own
}

// Keep is how much of the past of an app's environments is kept. Zero values
// mean the defaults.
type Keep struct {
	Runs int           // runs of an environment with their steps; 0 means RunsKept
	Logs time.Duration // the log of a run, once it has ended; 0 means EventsKept
}

// Component is another repository that parts of an app can be built from, so
// that pull requests of several repositories come together in one environment.
type Component struct {
	Repo string // "acme/api"
	Ref  string // what is taken unless an order says otherwise; "" means the default branch
}

// SecretRef says where the executor finds a value that nobody else may see. One
// of its three ways is set.
type SecretRef struct {
	Name       string     `json:"name"`                 // what the configuration calls it
	Env        string     `json:"env,omitempty"`        // a variable of the executor's own environment
	File       string     `json:"file,omitempty"`       // a file that the executor can read
	Kubernetes *SecretKey `json:"kubernetes,omitempty"` // a key of a Secret in the environment's cluster
}

// SecretKey is a key of a Kubernetes Secret.
type SecretKey struct {
	Namespace string `json:"namespace,omitempty"` // "" means the environment's
	Name      string `json:"name"`
	Key       string `json:"key"`
}

// OnFailure says what becomes of a part whose step had begun when a deploy,
// restore or rollback failed or was stopped.
type OnFailure string

// What can become of it. The zero value means FailureKeep.
const (
	FailureKeep     OnFailure = "keep"     // it stays as it is
	FailureRollback OnFailure = "rollback" // what ran before is brought back; it is cleaned up when nothing ran before
	FailureCleanup  OnFailure = "cleanup"  // it is cleaned up
)

// Part is one unit of an environment, handled by one executor.
type Part struct {
	Name string
	// Component is the one of App.Components that the part is built from: SHA,
	// Ref, PR and "repo:PATH" in With are that repository's. "" means the app's own.
	Component string
	OnFailure OnFailure
	Use       string // the executor's name
	// With is what the executor's schema asks for. Strings in it are
	// text/templates over Facts; one that begins with "repo:" is a path in the
	// app's repository at the commit, which the core fetches and replaces by
	// the absolute path of a read-only copy.
	With  map[string]any
	Needs []string // parts that come before it on the way down
}

// Part is the app's part of that name.
func (a *App) Part(name string) (Part, bool) {
	for _, p := range a.Parts {
		if p.Name == name {
			return p, true
		}
	}
	return Part{}, false
}

// Catalog finds apps by name. It returns CodeNotFound, naming the apps there
// are, for an unknown one.
type Catalog interface {
	App(name string) (*App, error)
	Apps() []*App // sorted by name
}

// Commit is one commit of an app's repository.
type Commit struct {
	SHA     string    `json:"sha"`               // 40 hex digits
	Message string    `json:"message,omitempty"` // first line
	Author  string    `json:"author,omitempty"`
	Time    time.Time `json:"time,omitzero"`
	// Fork tells that the commit comes, or may come, from another repository:
	// whoever made it need not be somebody who can push to the app's own.
	Fork bool `json:"fork,omitempty"`
}

// Order says what an action is to do, before anything is looked up. It is part
// of the request's record.
type Order struct {
	Env         Name              `json:"environment"`
	Verb        Verb              `json:"verb"`
	Ref         string            `json:"ref,omitempty"`   // branch, tag or SHA that was asked for; "" means the pull request's head, or the default branch
	Commit      Commit            `json:"commit,omitzero"` // Ref resolved; filled in by planning
	PullRequest int               `json:"pull_request,omitempty"`
	Cluster     string            `json:"cluster,omitempty"` // from --cluster; "" means where the environment is, or the app's first
	Placed      string            `json:"placed,omitempty"`  // the cluster that it came to; filled in by planning
	Set         map[string]string `json:"set,omitempty"`     // from --set, keys checked against App.AllowSet
	// With is what components are taken from instead of their usual ref, by
	// component: "acme/api#12" (a pull request of the component's repository), a
	// branch, a tag or a SHA. A component that is not named stays as it is.
	With map[string]string `json:"with,omitempty"`
	// Components are all the app's components resolved; filled in by planning.
	Components map[string]Built `json:"components,omitempty"`
	To         int              `json:"to,omitempty"`       // rollback: the revision to go back to; 0 means the last good one before what runs
	Keep       bool             `json:"keep,omitempty"`     // extend: it no longer expires, and schedules leave it alone
	TTL        time.Duration    `json:"ttl,omitempty"`      // from --ttl; 0 means the app's
	By         string           `json:"by"`                 // the requester's actor name, for records
	Identity   string           `json:"identity,omitempty"` // the requester's account: "github:ana"
	Reason     string           `json:"reason,omitempty"`   // from --reason
	// AsIs has a deploy take exactly what runs, its commit, components and --set,
	// and look up none of them: what the environment follows stays what it is. A
	// Ref beside it is the commit that has to run, or the deploy is refused.
	AsIs bool `json:"as_is,omitempty"`
}

// Facts are what templates in a namespace and in a part's `with` may say. A
// name that is not there is an error, not an empty string.
type Facts struct {
	App, Name, Namespace string
	SHA, ShortSHA, Ref   string // "" when the app has no repository
	PR                   int    // 0 when the environment is no pull request's
	Vars                 map[string]string
	Components           map[string]Built   // {{ .Components.api.Commit.SHA }}
	Outputs              map[string]Outputs // by part: {{ .Outputs.db.endpoint }}
}

// Built is what a component was taken from.
type Built struct {
	Repo        string `json:"repo"`
	PullRequest int    `json:"pull_request,omitempty"`
	Ref         string `json:"ref,omitempty"`
	Commit      Commit `json:"commit"`
}
