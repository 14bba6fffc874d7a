package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/configs"
)

// catalog is the apps of the config, which can be replaced while Berth runs.
type catalog struct{ now atomic.Pointer[appSet] }

// appSet is the apps of one version of the config.
type appSet struct {
	byName   map[string]*actions.App
	sorted   []*actions.App
	clusters int // how many of them the apps use
}

// newCatalog copies the apps out of the config.
func newCatalog(c *configs.Config) *catalog {
	set := &appSet{byName: map[string]*actions.App{}}
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		app := c.Apps[name]
		made := &actions.App{
			Name: name, Repo: app.Repo, Namespace: app.Namespace, TTL: time.Duration(app.TTL),
			MaxAge: time.Duration(app.MaxAge), OnExpiry: actions.Verb(app.OnExpiry), RunWithin: time.Duration(app.RunWithin),
			Keep:     actions.Keep{Runs: app.Retention.Runs, Logs: time.Duration(app.Retention.Logs)},
			SetRoles: app.SetRoles, AllowSet: app.AllowSet, AutoUpdate: app.AutoUpdate, AllowForks: app.AllowForks,
			Offered: map[string]actions.SecretRef{}, Components: map[string]actions.Component{},
		}
		made.Vars, made.Secrets = variables(c, app)
		for _, secret := range app.OfferSecrets {
			made.Offered[secret] = secretRef(secret, c.Secrets[secret])
		}
		for component, from := range app.Components {
			made.Components[component] = actions.Component{Repo: from.Repo, Ref: from.Ref}
		}
		for i, name := range app.ClusterNames() {
			if cluster, ok := c.Clusters[name]; ok {
				made.Clusters = append(made.Clusters, clusterAs(name, cluster))
				if i == 0 {
					made.Cluster = made.Clusters[0]
				}
			}
		}
		for _, part := range app.Parts {
			made.Parts = append(made.Parts, actions.Part{
				Name: part.Name, Use: part.Use, With: part.With, Needs: part.Needs, Component: part.Component, OnFailure: actions.OnFailure(part.OnFailure),
			})
		}
		set.byName[name] = made
		set.sorted = append(set.sorted, made)
	}
	used := map[string]bool{}
	for _, app := range set.sorted {
		for _, cluster := range app.Clusters {
			used[cluster.Name] = true
		}
	}
	set.clusters = len(used)
	out := &catalog{}
	out.now.Store(set)
	return out
}

// clusterAs is a cluster of the config under its name.
func clusterAs(name string, c configs.Cluster) actions.Cluster {
	out := actions.Cluster{Name: name, Kubeconfig: c.Kubeconfig, Context: c.Context}
	if c.EKS != nil {
		out.EKS = actions.EKS{Name: c.EKS.Name, Region: c.EKS.Region, Role: c.EKS.Role}
	}
	return out
}

// variables are an app's variables, groups and all: those of plain text, and
// those by reference.
func variables(c *configs.Config, app configs.App) (map[string]string, map[string]actions.SecretRef) {
	plain, secret := map[string]string{}, map[string]actions.SecretRef{}
	for name, value := range c.Variables(app) {
		if value.Secret == "" {
			plain[name] = value.Text
			continue
		}
		secret[name] = secretRef(value.Secret, c.Secrets[value.Secret])
	}
	return plain, secret
}

// secretRef is where the executor finds the secret that the config calls name.
func secretRef(name string, s configs.SecretRef) actions.SecretRef {
	ref := actions.SecretRef{Name: name, Env: s.Env, File: s.File}
	if k := s.Kubernetes; k != nil {
		ref.Kubernetes = &actions.SecretKey{Namespace: k.Namespace, Name: k.Name, Key: k.Key}
	}
	return ref
}

// replace makes the apps of other the catalog's own.
func (c *catalog) replace(other *catalog) { c.now.Store(other.now.Load()) }

// App finds an app; the error names those that there are.
func (c *catalog) App(name string) (*actions.App, error) {
	set := c.now.Load()
	if app, ok := set.byName[name]; ok {
		return app, nil
	}
	known := make([]string, len(set.sorted))
	for i, app := range set.sorted {
		known[i] = app.Name
	}
	if len(known) == 0 {
		return nil, actions.Errorf("catalog", actions.CodeNotFound, "There is no app %q: Berth's config names none yet.", name)
	}
	return nil, actions.Errorf("catalog", actions.CodeNotFound, "There is no app %q; the apps are: %s.", name, strings.Join(known, ", "))
}

// keep is how much of the past of an app's environments is kept; of one that is
// gone from the config, as much as usual.
func (c *catalog) keep(name string) actions.Keep {
	app, err := c.App(name)
	if err != nil {
		return actions.Keep{}
	}
	return app.Keep
}

// room is the cluster that an order would wait for if it did not answer; "" while
// there is only one that any app uses.
func (c *catalog) room(o actions.Order) string {
	set := c.now.Load()
	if set.clusters < 2 {
		return ""
	}
	if app, known := set.byName[o.Env.App]; known {
		return clusterOf(o, app)
	}
	return o.Placed
}

// clusterOf is the cluster that an order is for, as far as it is known: planning
// says where an environment is.
func clusterOf(o actions.Order, app *actions.App) string {
	return cmp.Or(o.Placed, o.Cluster, app.Cluster.Name)
}

// Apps lists the apps by name.
func (c *catalog) Apps() []*actions.App { return c.now.Load().sorted }

// uses are the executors that the apps name.
func (c *catalog) uses() []string {
	seen := map[string]bool{}
	for _, app := range c.Apps() {
		for _, part := range app.Parts {
			seen[part.Use] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// loadConfig reads the file and checks what only the packages that use it can
// check: the graph of parts, the templates. All faults come at once, as an error
// for the person who wrote the file.
func loadConfig(path string) (*configs.Config, *catalog, error) {
	c, err := configs.Load(path, checkApps, checkPolicies, checkSchedules)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, usageError(fmt.Errorf("%w; name yours with --config or BERTH_CONFIG", err))
	}
	if faults, ok := errors.AsType[configs.Faults](err); ok {
		return nil, nil, usageError(fmt.Errorf("%s is not right, %s:\n%w", path, plural(len(faults), "fault", "faults"), faults))
	}
	if err != nil {
		return nil, nil, usageError(err)
	}
	return c, newCatalog(c), nil
}

// checkApps finds the faults of each app's parts and templates. Those of names,
// lifetimes and what is missing are found with their own lines by package
// configs, so they are not told twice.
func checkApps(c *configs.Config) configs.Faults {
	var faults configs.Faults
	for _, app := range newCatalog(c).Apps() {
		named := *app
		named.Name, named.TTL = "app", 0
		named.Parts = slices.Clone(app.Parts)
		for i := range named.Parts {
			if part := &named.Parts[i]; !actions.ValidName(part.Name) {
				part.Name = fmt.Sprintf("part-%d", i+1)
			}
			if named.Parts[i].Use == "" {
				named.Parts[i].Use = "any"
			}
		}
		for _, err := range each(actions.ValidateApp(&named)) {
			faults = append(faults, placed(&named, "apps."+app.Name, strings.TrimSuffix(actions.Message(err), ".")))
		}
	}
	return faults
}

// placed is a fault of an app at the path of the part or setting that its
// message begins with.
func placed(app *actions.App, path, msg string) configs.Fault {
	for i, part := range app.Parts {
		if rest, ok := strings.CutPrefix(msg, "part "+part.Name+": "); ok {
			return configs.Fault{Path: fmt.Sprintf("%s.parts[%d]", path, i), Msg: rest}
		}
	}
	if rest, ok := strings.CutPrefix(msg, "namespace: "); ok {
		return configs.Fault{Path: path + ".namespace", Msg: rest}
	}
	return configs.Fault{Path: path, Msg: msg}
}

// each is every error that was joined into err.
func each(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, inner := range joined.Unwrap() {
		all = append(all, each(inner)...)
	}
	return all
}

// secrets are what the config refers to, read.
type secrets struct {
	webhook, token, appKey           string // GitHub's
	slackSigning, slackBot, slackApp string
	slackTeams                       map[string]string // bot tokens by workspace
	discordBot                       string
	whole                            bool // all that surfaces and Redis need is there
}

// readSecrets reads every secret that the config refers to. What is missing
// comes as configs.Faults, all at once.
func readSecrets(c *configs.Config) (secrets, error) {
	var out secrets
	var faults configs.Faults
	read := func(path string, s configs.Secret, to *string) {
		if s.IsZero() {
			return
		}
		value, err := s.Value()
		if err != nil {
			faults = append(faults, configs.Fault{Path: path, Msg: err.Error()})
		}
		*to = value
	}
	if g := c.GitHub; g != nil {
		read("github.webhook_secret", g.WebhookSecret, &out.webhook)
		read("github.token", g.Token, &out.token)
		if g.App != nil {
			read("github.app.private_key", g.App.PrivateKey, &out.appKey)
		}
	}
	if c.Redis != nil {
		var password string
		read("redis.password", c.Redis.Password, &password)
	}
	readChatSecrets(c, &out, read)
	out.whole = len(faults) == 0
	for i, route := range c.Notifications {
		for j, to := range route.To {
			path, unused := fmt.Sprintf("notifications[%d].to[%d]", i, j), ""
			if !to.URL.From.IsZero() {
				if _, err := to.URL.Value(); err != nil {
					faults = append(faults, configs.Fault{Path: path + ".url", Msg: err.Error()})
				}
			}
			read(path+".secret", to.Secret, &unused)
		}
	}
	if len(faults) > 0 {
		return out, usageError(fmt.Errorf("%s missing:\n%w", plural(len(faults), "secret is", "secrets are"), faults))
	}
	return out, nil
}
