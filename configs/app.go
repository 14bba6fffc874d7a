package configs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// App is what can be deployed.
type App struct {
	Repo    string `yaml:"repo" json:"repo,omitempty"` // owner/name
	Cluster string `yaml:"cluster" json:"cluster,omitempty"`
	// Clusters are, in place of cluster, those that a deploy may choose from by
	// --cluster; the first is where it goes without.
	Clusters  []string `yaml:"clusters" json:"clusters,omitempty"`
	Namespace string   `yaml:"namespace" json:"namespace,omitempty"` // template; {{ .App }}-{{ .Name }} when empty
	// TTL is how long an environment lives after its last use; for ever when empty.
	TTL Duration `yaml:"ttl" json:"ttl,omitempty"`
	// MaxAge is how long an environment lives at most, however often it is used or
	// extended; for ever when empty.
	MaxAge Duration `yaml:"max_age" json:"max_age,omitempty"`
	// OnExpiry is what becomes of one whose time is over: cleanup (when empty), or
	// archive, which keeps its data.
	OnExpiry string `yaml:"on_expiry" json:"on_expiry,omitempty" jsonschema:"enum=cleanup,enum=archive"`
	// RunWithin is how long a run may take: 6h when empty. Then it is stopped, and
	// fails.
	RunWithin Duration `yaml:"run_within" json:"run_within,omitempty"`
	// Components are other repositories that parts are built from, by name.
	Components map[string]Component `yaml:"components" json:"components,omitempty"`
	// VarsFrom are groups of the section vars. Of several that have the same
	// variable the last counts, and vars before all of them.
	VarsFrom []string         `yaml:"vars_from" json:"vars_from,omitempty"`
	Vars     map[string]Value `yaml:"vars" json:"vars,omitempty"`
	// OfferSecrets are secrets that people may set a variable of an environment
	// to, by name.
	OfferSecrets []string `yaml:"offer_secrets" json:"offer_secrets,omitempty"`
	// SetRoles are the roles that may set and unset variables of an environment;
	// whoever may deploy when empty.
	SetRoles   []string `yaml:"set_roles" json:"set_roles,omitempty"`
	AllowSet   []string `yaml:"allow_set" json:"allow_set,omitempty"`     // keys that --set may name
	AutoUpdate bool     `yaml:"auto_update" json:"auto_update,omitempty"` // a push to a deployed pull request deploys it again
	AllowForks bool     `yaml:"allow_forks" json:"allow_forks,omitempty"` // commands on pull requests from forks run
	Retention  Past     `yaml:"retention" json:"retention,omitzero"`
	Parts      []Part   `yaml:"parts" json:"parts" jsonschema:"minItems=1"`
}

// Past is how much of what ran is remembered of an app's environments.
type Past struct {
	// Runs is how many runs of an environment are kept with their steps: 50 when 0.
	Runs int `yaml:"runs" json:"runs,omitempty" jsonschema:"minimum=0,maximum=500"`
	// Logs is how long the log of a run is kept once it has ended: 30d when empty.
	Logs Duration `yaml:"logs" json:"logs,omitempty"`
}

// Component is another repository that parts of an app are built from.
type Component struct {
	Repo string `yaml:"repo" json:"repo"`         // owner/name
	Ref  string `yaml:"ref" json:"ref,omitempty"` // what is taken unless a deploy says otherwise; its default branch when empty
}

// Part is one unit of an environment.
type Part struct {
	Name  string   `yaml:"name" json:"name"`
	Use   string   `yaml:"use" json:"use"` // the executor
	Needs []string `yaml:"needs" json:"needs,omitempty"`
	// Component is the one that the part is built from: {{ .SHA }} and repo:PATH
	// are its repository's. The app's own when empty.
	Component string `yaml:"component" json:"component,omitempty"`
	// OnFailure is what becomes of the part when a deploy, restore or rollback
	// fails after it had begun: keep (when empty), rollback to what ran before, or
	// cleanup.
	OnFailure string         `yaml:"on_failure" json:"on_failure,omitempty" jsonschema:"enum=keep,enum=rollback,enum=cleanup"`
	With      map[string]any `yaml:"with" json:"with,omitempty"` // as the executor's schema says; strings are templates
}

// Bounds of what an app may say.
const (
	maxAge       = 365 * 24 * time.Hour
	minRunWithin = time.Minute
	maxRunWithin = 24 * time.Hour
	minKeepLogs  = time.Hour
	maxKeepLogs  = 365 * 24 * time.Hour
	maxKeepRuns  = 500
	maxClusters  = 50
	maxParts     = 100 // components too
)

// ClusterNames are the clusters that the app can be in, its usual one first;
// none when it needs none.
func (a App) ClusterNames() []string {
	if len(a.Clusters) > 0 || a.Cluster == "" {
		return a.Clusters
	}
	return []string{a.Cluster}
}

func (d *document) app(c *Config, path, name string) {
	app := c.Apps[name]
	d.name(path, name)
	if app.Repo != "" && !repoPattern.MatchString(app.Repo) {
		d.fault(path+".repo", "%q is not a repository; write owner/name", app.Repo)
	}
	d.appClusters(c, path, app)
	d.lifetime(path, app)
	for i, key := range app.AllowSet {
		if !setKeyPattern.MatchString(key) {
			d.fault(fmt.Sprintf("%s.allow_set[%d]", path, i), "%q is not a key; write a dotted path such as image.tag", key)
		}
	}
	d.appVariables(c, path, app)
	d.components(path, app)
	if len(app.Parts) == 0 {
		d.fault(path+".parts", "an app needs at least one part, such as {name: web, use: helm, with: {chart: ./charts/preview}}")
	}
	for i, part := range app.Parts {
		at := fmt.Sprintf("%s.parts[%d]", path, i)
		d.name(at+".name", part.Name)
		if !namePattern.MatchString(part.Use) {
			d.fault(at+".use", "%q is not an executor; first-party ones are helm, kubernetes, aws, dns and script", part.Use)
		}
		if part.Component != "" {
			known(d, at+".component", "component", part.Component, app.Components)
		}
		d.word(at+".on_failure", part.OnFailure, []string{"keep", "rollback", "cleanup"})
	}
}

// appClusters checks where an app may be.
func (d *document) appClusters(c *Config, path string, app App) {
	if d.written(path+".cluster") && d.written(path+".clusters") {
		d.fault(path+".clusters", "cluster and clusters exclude each other; keep clusters, and put the usual one first")
	} else if d.written(path+".clusters") && len(app.Clusters) == 0 {
		d.fault(path+".clusters", "name at least one cluster, or leave it out")
	}
	if len(app.Clusters) > maxClusters {
		d.fault(path+".clusters", "there are %d clusters, which is more than %d", len(app.Clusters), maxClusters)
	}
	if app.Cluster != "" {
		known(d, path+".cluster", "cluster", app.Cluster, c.Clusters)
	}
	for i, cluster := range app.Clusters {
		at := fmt.Sprintf("%s.clusters[%d]", path, i)
		if slices.Index(app.Clusters, cluster) < i {
			d.fault(at, "the cluster %q stands here twice", cluster)
		}
		known(d, at, "cluster", cluster, c.Clusters)
	}
}

// lifetime checks how long environments, runs and their logs last.
func (d *document) lifetime(path string, app App) {
	if app.TTL < 0 || time.Duration(app.TTL) > maxTTL {
		d.fault(path+".ttl", "a lifetime is between 0 and %d days", int(maxTTL.Hours()/24))
	}
	switch {
	case app.MaxAge < 0 || time.Duration(app.MaxAge) > maxAge:
		d.fault(path+".max_age", "the longest life is between 0 and %d days", int(maxAge.Hours()/24))
	case app.MaxAge > 0 && app.TTL > app.MaxAge:
		d.fault(path+".max_age", "no environment would live for its ttl of %s; let this be as long at least", time.Duration(app.TTL))
	}
	d.word(path+".on_expiry", app.OnExpiry, takesAway)
	if within := time.Duration(app.RunWithin); d.written(path+".run_within") && (within < minRunWithin || within > maxRunWithin) && !d.faulted(path+".run_within") {
		d.fault(path+".run_within", "this should be between %s and %s", minRunWithin, maxRunWithin)
	}
	if app.Retention.Runs < 0 || app.Retention.Runs > maxKeepRuns {
		d.fault(path+".retention.runs", "this is between 1 and %d; 0, or none, means the default", maxKeepRuns)
	}
	if logs := time.Duration(app.Retention.Logs); d.written(path+".retention.logs") && (logs < minKeepLogs || logs > maxKeepLogs) && !d.faulted(path+".retention.logs") {
		d.fault(path+".retention.logs", "this should be between %s and %d days", minKeepLogs, int(maxKeepLogs.Hours()/24))
	}
}

// components checks the other repositories of an app.
func (d *document) components(path string, app App) {
	if len(app.Components) > maxParts {
		d.fault(path+".components", "there are %d components, which is more than %d", len(app.Components), maxParts)
	}
	for _, name := range slices.Sorted(maps.Keys(app.Components)) {
		at, component := join(path+".components", name), app.Components[name]
		d.name(at, name)
		switch {
		case component.Repo == "":
			d.fault(at+".repo", "the repository of the component is needed; write owner/name")
		case !repoPattern.MatchString(component.Repo):
			d.fault(at+".repo", "%q is not a repository; write owner/name", component.Repo)
		case strings.EqualFold(component.Repo, app.Repo):
			d.fault(at+".repo", "this is the app's own repository, which needs no component")
		}
		if strings.ContainsAny(component.Ref, " \t\n#~^:?*[\\") || strings.HasPrefix(component.Ref, "-") || len(component.Ref) > 250 {
			d.fault(at+".ref", "%.100q is not a branch, a tag or a commit", component.Ref)
		}
	}
}
