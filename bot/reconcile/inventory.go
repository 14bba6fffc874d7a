package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
)

// group is what a cluster holds of one environment that does not account for it.
type group struct {
	cluster string
	env     actions.Name
	owned   []actions.Owned
	// live tells that there is such an environment: only some of these things are
	// unknown to it.
	live bool
}

func (g group) key() string { return g.cluster + "|" + g.env.String() }

// clusterName is what a cluster is called where it stands among other things
// that can be seen or not.
func clusterName(name string) string { return "cluster " + cmp.Or(name, "(none)") }

// places are the clusters, and the executors that are to be asked about them:
// each of the apps that may run there. A cluster that no app names any more is
// asked about with all of them.
func (s *sweep) places() map[actions.Cluster][]string {
	asked := map[actions.Cluster][]string{}
	add := func(c actions.Cluster, use string) {
		if !slices.Contains(asked[c], use) {
			asked[c] = append(asked[c], use)
		}
	}
	var uses []string
	for _, app := range s.o.Catalog.Apps() {
		clusters := append([]actions.Cluster{app.Cluster}, app.Clusters...)
		for _, part := range app.Parts {
			if !slices.Contains(uses, part.Use) {
				uses = append(uses, part.Use)
			}
			for _, c := range clusters {
				add(c, part.Use)
			}
		}
	}
	if s.o.Clusters == nil {
		return asked
	}
	names := map[string]bool{}
	for c := range asked {
		names[c.Name] = true
	}
	for _, c := range s.o.Clusters() {
		if names[c.Name] {
			continue
		}
		for _, use := range uses {
			add(c, use)
		}
	}
	return asked
}

// lookAtClusters takes the inventory of every cluster, all side by side: one
// that does not answer ends by its own timeout and holds up nobody.
func (s *sweep) lookAtClusters(ctx context.Context) {
	if s.o.Executors == nil {
		return
	}
	installation, err := s.o.Store.Installation(ctx)
	if err != nil {
		for c := range s.places() {
			s.blind(ctx, clusterName(c.Name), err)
		}
		return
	}
	var side sync.WaitGroup
	for cluster, uses := range s.places() {
		side.Go(func() {
			begun := s.now()
			owned, seen, err := s.inventory(ctx, cluster, uses, installation)
			if err != nil {
				s.blind(ctx, clusterName(cluster.Name), err)
				return
			}
			if !seen {
				return // no executor there can tell
			}
			groups, err := s.unaccounted(ctx, cluster.Name, owned, begun)
			if err != nil {
				s.blind(ctx, clusterName(cluster.Name), err)
				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			// Two ways into a cluster of one name see the same.
			s.found[cluster.Name] = append(s.found[cluster.Name], groups...)
		})
	}
	side.Wait()
}

// inventory is what all executors see in a cluster. It is all or an error; seen
// tells whether any of them takes inventories.
func (s *sweep) inventory(ctx context.Context, cluster actions.Cluster, uses []string, installation string) (owned []actions.Owned, seen bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.InventoryWithin)
	defer cancel()
	for _, use := range uses {
		ex, err := s.o.Executors.Executor(ctx, use)
		if err != nil {
			return nil, false, fmt.Errorf("executor %s: %w", use, err)
		}
		told, err := ex.Describe(ctx)
		if err != nil {
			return nil, false, fmt.Errorf("executor %s: %w", use, err)
		}
		lister, ok := ex.(actions.Inventory)
		if !told.Inventories || !ok {
			continue
		}
		found, err := within(ctx, func() ([]actions.Owned, error) { return lister.Inventory(ctx, cluster, installation) })
		if err != nil {
			return nil, false, fmt.Errorf("executor %s: %w", use, err)
		}
		owned, seen = append(owned, found...), true
	}
	return owned, seen, nil
}

// within ends with ctx, be it that do does not: an executor that hangs must not
// hold up a sweep. What it still does then, it does for nobody.
func within[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	ended := make(chan outcome, 1)
	go func() {
		value, err := do()
		ended <- outcome{value, err}
	}()
	select {
	case o := <-ended:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, errors.Join(ctx.Err(), context.Cause(ctx))
	}
}

// unaccounted are those of a cluster's things that no environment accounts for.
// Records are read after the cluster was: a run writes its record before it makes
// anything.
func (s *sweep) unaccounted(ctx context.Context, cluster string, owned []actions.Owned, begun time.Time) ([]group, error) {
	byEnv := map[actions.Name][]actions.Owned{}
	asked := s.places()
	for _, o := range owned {
		if o.Elsewhere && s.home(o, asked) != cluster {
			continue // it is looked at with another cluster
		}
		o.Cluster = cluster // what it is called here, whatever an executor calls it
		if _, err := actions.ParseName(o.Env.String()); err != nil {
			// Its labels were changed by hand. Nothing can be asked for by that name.
			s.log.WarnContext(ctx, "something bears marks of ownership that name no environment", "cluster", cluster, "kind", o.Kind, "name", o.Name, "namespace", o.Namespace)
			continue
		}
		byEnv[o.Env] = append(byEnv[o.Env], o)
	}
	var groups []group
	for name, things := range byEnv {
		g, err := s.unaccountedOf(ctx, group{cluster: cluster, env: name, owned: things}, begun)
		if err != nil {
			return nil, err
		}
		if len(g.owned) > 0 {
			groups = append(groups, g)
		}
	}
	slices.SortFunc(groups, func(a, b group) int { return cmp.Compare(a.env.String(), b.env.String()) })
	return groups, nil
}

// home is the cluster with which a thing is looked at that is in none: its
// environment's own, or the one where that would be, or, when the executor is not
// asked about that one, the first that it is asked about. The inventory of each has
// it, and one alone may tell of it.
func (s *sweep) home(o actions.Owned, asked map[actions.Cluster][]string) string {
	own, known := "", false
	if k := s.envs[o.Env]; k != nil && k.cluster != "" {
		own, known = k.cluster, true
	} else if app, err := s.o.Catalog.App(o.Env.App); err == nil {
		own, known = app.Cluster.Name, true
	}
	var names []string
	for c, uses := range asked {
		if slices.Contains(uses, o.Use) {
			names = append(names, c.Name)
		}
	}
	if known && slices.Contains(names, own) || len(names) == 0 {
		return own
	}
	return slices.Min(names)
}

func (s *sweep) unaccountedOf(ctx context.Context, g group, begun time.Time) (group, error) {
	none := group{}
	if k := s.envs[g.env]; k != nil {
		moved, busy := k.cluster != "" && k.cluster != g.cluster, pending(k.state) || k.held
		app, err := s.o.Catalog.App(g.env.App)
		g.owned = slices.DeleteFunc(slices.Clone(g.owned), func(o actions.Owned) bool {
			if moved && !o.Elsewhere {
				return false // the environment is in another cluster, and this was left here
			}
			if busy || o.Part == "" || slices.Contains(k.parts, o.Part) || err != nil {
				return true
			}
			_, configured := app.Part(o.Part)
			return configured
		})
		g.live = true
		return g, nil
	}
	env, err := s.o.Store.Environment(ctx, g.env)
	switch {
	case actions.CodeOf(err) == actions.CodeNotFound:
	case actions.CodeOf(err) == actions.CodeInternal:
		return none, nil // there is one, whose record cannot be read; load told of it
	case err != nil:
		return none, err
	case env.State != actions.StateCleaned, !env.UpdatedAt.Before(begun.Add(-stuckAfter)):
		return none, nil // it was made, or cleaned up, while the cluster was looked at
	}
	standing, err := s.o.Requests.Standing(ctx, g.env)
	if err != nil || len(standing) > 0 {
		return none, err // something is about to be done with it
	}
	return g, nil
}
