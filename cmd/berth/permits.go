package main

import (
	"context"
	"slices"
	"sync"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// permits has each executor that can look at what it needs to do its work:
// whether what it works on answers, and whether it has the rights. One that works
// in clusters looks in each that an app with a part of it uses.
func (c *checkup) permits(ctx context.Context) []bot.Check {
	type place struct{ use, cluster string }
	apps := map[place]*actions.App{}
	var places []place
	for _, app := range c.apps.Apps() {
		for _, cluster := range slices.Concat([]actions.Cluster{app.Cluster}, app.Clusters) {
			in := *app
			in.Cluster = cluster
			for _, part := range app.Parts {
				if p := (place{part.Use, cluster.Name}); apps[p] == nil {
					apps[p] = &in
					places = append(places, p)
				}
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	found := make([][]bot.Check, len(places))
	var all sync.WaitGroup
	for i, p := range places {
		all.Go(func() { found[i] = c.permit(ctx, p.use, apps[p]) })
	}
	all.Wait()
	var out []bot.Check
	for i, p := range places {
		for _, check := range found[i] {
			everywhere := true
			for j, other := range places {
				everywhere = everywhere && (other.use != p.use || slices.Contains(found[j], check))
			}
			if !everywhere { // else it may be of no cluster, and is said once
				check.Name += " (" + p.cluster + ")"
			}
			if !slices.Contains(out, check) {
				out = append(out, check)
			}
		}
	}
	return out
}

func (c *checkup) permit(ctx context.Context, use string, app *actions.App) []bot.Check {
	executor, err := c.host.Executor(ctx, use)
	if err != nil {
		return nil // checkPlugins tells of it
	}
	told, err := executor.Describe(ctx)
	checker, ok := executor.(actions.Checker)
	if err != nil || !ok || !told.Checks {
		return nil
	}
	namespace, err := app.NamespaceOf(probeName)
	if err != nil {
		namespace = probeName // its name depends on more than can be made up
	}
	findings, err := checker.Check(ctx, app.Cluster, namespace, "")
	if err != nil {
		return []bot.Check{{Name: use, Detail: actions.Message(err), Fix: "What it works on has to answer before more can be said."}}
	}
	out := make([]bot.Check, 0, len(findings))
	for _, f := range findings {
		out = append(out, bot.Check{Name: use + ": " + f.Name, OK: f.OK, Detail: f.Detail, Fix: f.Fix, Paste: f.Paste})
	}
	return out
}
