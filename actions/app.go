// Package actions is the floor of Berth: environments, their parts, plans and
// runs. It has the state machine, the Runner that plans and runs what a request
// asks for, and the Store that keeps all of it in Redis, with leases and an audit
// chain for each environment. It knows neither people nor policies.
package actions

import "time"

// App is what can be deployed, as configured. It is read-only once loaded.
type App struct {
	Name       string
	Repo       string            // "acme/shop" on GitHub; "" when the app has no repository
	Cluster    Cluster           // where its parts run
	Namespace  string            // text/template over Facts; "" means "{{ .App }}-{{ .Name }}"
	TTL        time.Duration     // how long an environment lives after its last use; 0 means for ever
	Vars       map[string]string // variables handed to every part
	AllowSet   []string          // keys that --set may name
	AutoUpdate bool              // a push to a deployed pull request deploys it again
	AllowForks bool              // commands on pull requests from forks run
	Parts      []Part            // in order; names are unique; needs form no cycle
}

// Cluster is a way into a Kubernetes cluster. A zero Cluster means that the
// app's parts need none.
type Cluster struct {
	Name       string
	Kubeconfig string // path; "" means the executor's in-cluster account
	Context    string // "" means the file's current one
}

// Part is one unit of an environment, handled by one executor.
type Part struct {
	Name string
	Use  string // the executor's name
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
	Set         map[string]string `json:"set,omitempty"`      // from --set, keys checked against App.AllowSet
	TTL         time.Duration     `json:"ttl,omitempty"`      // from --ttl; 0 means the app's
	By          string            `json:"by"`                 // the requester's actor name, for records
	Identity    string            `json:"identity,omitempty"` // the requester's account: "github:ana"
	Reason      string            `json:"reason,omitempty"`   // from --reason
}

// Facts are what templates in a namespace and in a part's `with` may say. A
// name that is not there is an error, not an empty string.
type Facts struct {
	App, Name, Namespace string
	SHA, ShortSHA, Ref   string // "" when the app has no repository
	PR                   int    // 0 when the environment is no pull request's
	Vars                 map[string]string
	Outputs              map[string]Outputs // by part: {{ .Outputs.db.endpoint }}
}
