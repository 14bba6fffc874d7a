package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/plugins/host"
)

const (
	// lookTimeout bounds one look at what is outside.
	lookTimeout = 15 * time.Second
	// pingTimeout bounds how long /readyz waits for Redis.
	pingTimeout = time.Second
)

// probeName is the environment that is looked for to see whether a cluster
// answers. No pull request or person has one of that name.
const probeName = "berth-probe"

// checkup looks at what Berth depends on, for /readyz and for `berth doctor`.
type checkup struct {
	redis    redis.UniversalClient
	volatile bool // state is lost when this process ends
	host     interface {
		Executor(ctx context.Context, use string) (actions.Executor, error)
		Checks(ctx context.Context) []host.Status
	}
	github interface { // nil without the section
		Checks(ctx context.Context) []bot.Check
	}
	chats []chatCheck
	apps  *catalog
	log   *slog.Logger
}

// chatCheck is a chat platform of the config.
type chatCheck struct {
	name   string
	looker interface {
		Checks(ctx context.Context) []bot.Check
	}
}

func (c *checkup) checkRedis(ctx context.Context) bot.Check {
	check := bot.Check{Name: "redis", Needed: true}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	start := time.Now()
	if err := c.redis.Ping(ctx).Err(); err != nil {
		c.log.Debug("redis does not answer", "error", err)
		check.Detail = "it does not answer"
		check.Fix = "Start it; Berth goes on by itself once it is back."
		return check
	}
	check.OK, check.Detail = true, "answers in "+time.Since(start).Round(10*time.Microsecond).String()
	if c.volatile {
		check.Detail += "; STATE IS IN MEMORY ONLY"
		check.Fix = "Install redis-server, or set redis.addrs."
	}
	return check
}

// checkPlugins tells of the executors that the apps use, those that are not
// installed among them.
func (c *checkup) checkPlugins(ctx context.Context) []bot.Check {
	var out []bot.Check
	for _, use := range c.apps.uses() {
		if _, err := c.host.Executor(ctx, use); err != nil {
			out = append(out, bot.Check{
				Name: "plugin " + use, Needed: true, Detail: actions.Message(err),
				Fix: fmt.Sprintf("Install berth-%s beside berth or on PATH, or say under plugins where it is.", use),
			})
		}
	}
	for _, status := range c.host.Checks(ctx) {
		check := bot.Check{Name: "plugin " + status.Name, Needed: true, OK: status.Up}
		if status.Up {
			check.Detail = fmt.Sprintf("version %s, process %d, %d restarts", status.Version, status.PID, status.Restarts)
		} else {
			check.Detail = status.Error
			check.Fix = fmt.Sprintf("See the log; plugins.%s says which program is started, and with which settings.", status.Name)
		}
		out = append(out, check)
	}
	return out
}

// look asks GitHub, the chat platforms and each cluster how they are, all at once: one that takes
// the time that it is given takes none from the others.
func (c *checkup) look(ctx context.Context) []bot.Check {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	apps := c.oneOfEachCluster()
	found := make([][]bot.Check, 1+len(c.chats)+len(apps))
	var all sync.WaitGroup
	if c.github != nil {
		all.Go(func() { found[0] = c.github.Checks(ctx) })
	}
	for i, chat := range c.chats {
		all.Go(func() { found[1+i] = chat.looker.Checks(ctx) })
	}
	for i, app := range apps {
		all.Go(func() { found[1+len(c.chats)+i] = []bot.Check{c.checkCluster(ctx, app)} })
	}
	all.Wait()
	return slices.Concat(found...)
}

// unheard is what there is to tell before the first look has ended.
func (c *checkup) unheard() []bot.Check {
	var out []bot.Check
	tell := func(name string) { out = append(out, bot.Check{Name: name, Detail: "it has not answered yet"}) }
	if c.github != nil {
		tell("github")
	}
	for _, chat := range c.chats {
		tell(chat.name)
	}
	for _, app := range c.oneOfEachCluster() {
		tell("cluster " + app.Cluster.Name)
	}
	return out
}

// oneOfEachCluster is an app for each cluster that apps use, one with something in
// it: of others nobody could say whether the cluster answers.
func (c *checkup) oneOfEachCluster() []*actions.App {
	var out []*actions.App
	seen := map[string]bool{"": true}
	for _, app := range c.apps.Apps() {
		if _, within := partIn(app); within && !seen[app.Cluster.Name] {
			seen[app.Cluster.Name] = true
			out = append(out, app)
		}
	}
	return out
}

// checkCluster has the executor of an app look for an environment that is not
// there: one that can tell that it is not has reached the cluster.
func (c *checkup) checkCluster(ctx context.Context, app *actions.App) bot.Check {
	check := bot.Check{Name: "cluster " + app.Cluster.Name}
	if check.Detail = c.reach(ctx, app); check.Detail != "" {
		check.Fix = fmt.Sprintf("Look at clusters.%s: the kubeconfig, its context, and whether the address answers.", app.Cluster.Name)
		return check
	}
	check.OK, check.Detail = true, "answers"
	return check
}

// inClusters are the executors of ours that work in the app's cluster; what others
// see says nothing of it.
var inClusters = []string{"helm", "kubernetes"}

// partIn is the part of an app by which its cluster is looked at: one of ours, or
// else the first of somebody else's executor.
func partIn(app *actions.App) (actions.Part, bool) {
	for _, part := range app.Parts {
		if slices.Contains(inClusters, part.Use) {
			return part, true
		}
	}
	for _, part := range app.Parts {
		if !slices.Contains([]string{"aws", "dns", "script"}, part.Use) {
			return part, true
		}
	}
	return actions.Part{}, false
}

// reach says why an app's cluster cannot be seen, "" when it can. Not being able
// to see is an executor's observation like others, and no error.
func (c *checkup) reach(ctx context.Context, app *actions.App) string {
	part, ok := partIn(app)
	if !ok {
		return "" // nothing of it is in the cluster
	}
	executor, err := c.host.Executor(ctx, part.Use)
	if err != nil {
		return actions.Message(err)
	}
	// The namespace that it would have is one that the executor's rights are for.
	namespace, err := app.NamespaceOf(probeName)
	if err != nil {
		namespace = probeName
	}
	seen, err := executor.Observe(ctx, actions.Step{
		ID: probeName, Env: actions.Name{App: app.Name, Env: probeName}, Part: part.Name,
		With: part.With, Cluster: app.Cluster, Namespace: namespace,
	})
	switch {
	case ctx.Err() != nil:
		return fmt.Sprintf("it has not answered within %v", lookTimeout)
	case err != nil:
		return actions.Message(err)
	case seen.Health == actions.Unknown && seen.Text == "":
		return "it could not be seen"
	case seen.Health == actions.Unknown:
		return seen.Text
	}
	return ""
}
