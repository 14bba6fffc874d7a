package bot

import (
	"maps"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
)

// chosen refuses components and clusters that the app does not have, and says
// which it has. Planning would find out as well, only later.
func chosen(app *actions.App, c Command) error {
	for _, name := range slices.Sorted(maps.Keys(c.With)) {
		component, ok := app.Components[name]
		switch {
		case !ok && len(app.Components) == 0:
			return refusal(actions.CodeInvalid, "App `%s` has no components, so `--with %s=…` means nothing there. Somebody who keeps Berth's config can add them under `apps.%s.components`.",
				app.Name, name, app.Name)
		case !ok:
			return refusal(actions.CodeInvalid, "App `%s` has no component %s; it has %s.", app.Name, Code(name, 63), codes(slices.Sorted(maps.Keys(app.Components)), "and"))
		}
		if repo, _, pull := strings.Cut(c.With[name], "#"); pull && !strings.EqualFold(repo, component.Repo) {
			return refusal(actions.CodeInvalid, "Component `%s` of app `%s` is built from %s, and %s is a pull request of another repository.",
				name, app.Name, Escape(component.Repo, 140), Code(c.With[name], 160))
		}
	}
	if c.Cluster == "" || slices.Contains(clusters(app), c.Cluster) {
		return nil
	}
	if len(app.Clusters) == 0 && app.Cluster.Name == "" {
		return refusal(actions.CodeInvalid, "App `%s` runs in no cluster, so leave `--cluster` out. Somebody who keeps Berth's config can name clusters under `apps.%s.clusters`.", app.Name, app.Name)
	}
	return refusal(actions.CodeInvalid, "App `%s` is not for cluster %s; it may run in %s. Somebody who keeps Berth's config can add others under `apps.%s.clusters`.",
		app.Name, Code(c.Cluster, 63), codes(clusters(app), "and"), app.Name)
}

// clusters are the names of the clusters that an order may choose from.
func clusters(app *actions.App) []string {
	if len(app.Clusters) == 0 {
		return []string{app.Cluster.Name}
	}
	names := make([]string, len(app.Clusters))
	for i, cluster := range app.Clusters {
		names[i] = cluster.Name
	}
	return names
}

// stays refuses to move an environment: what is in one cluster stays there until
// it is cleaned up.
func (s *Service) stays(in Input, env *actions.Environment, o actions.Order) error {
	if env == nil || env.State == actions.StateCleaned || o.Cluster == "" || env.Cluster == "" || o.Cluster == env.Cluster {
		return nil
	}
	return refusal(actions.CodeConflict, "%s is in cluster %s and stays there until it is cleaned up. %s removes it; then it can be deployed to %s.",
		Code(env.Name.String(), 100), Code(env.Cluster, 63), s.shown(in, string(actions.VerbCleanup), env.Name), Code(o.Cluster, 63))
}

// revision refuses to go back to what never was.
func (s *Service) revision(in Input, env *actions.Environment, o actions.Order) error {
	if o.Verb != actions.VerbRollback || env == nil || o.To <= env.Deployed {
		return nil
	}
	shows := s.shown(in, VerbHistory, env.Name) + " shows those that there are."
	if env.Deployed == 0 {
		return refusal(actions.CodeNotFound, "%s was never deployed with success, so there is no revision %d of it. %s", Code(env.Name.String(), 100), o.To, shows)
	}
	return refusal(actions.CodeNotFound, "There is no revision %d of %s; the newest is %d. %s", o.To, Code(env.Name.String(), 100), env.Deployed, shows)
}

// codes are names in a sentence, as code.
func codes(names []string, last string) string {
	shown := make([]string, len(names))
	for i, name := range names {
		shown[i] = Code(name, 140)
	}
	return Join(shown, last)
}
