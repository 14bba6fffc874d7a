package actions

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
)

// maxAdopted is how many parts an adopted environment is given: more than apps have.
const maxAdopted = 100

// Adopt makes a record for things that were found under Berth's marks and belong
// to no environment that it knows, so that a cleanup can take them away like any
// other. The environment is in StateFailure, since nobody can say how it is, and
// where found says that the things are; the app need not be configured any more.
// Of rec, whoever has it done and where is used.
//
// It returns CodeConflict when there is an environment of that name that is not
// cleaned up, or things are in several clusters, and CodeInvalid when nothing was
// found.
func (s *Store) Adopt(ctx context.Context, name Name, found []Owned, rec Record) (*Environment, error) {
	const op = "store.adopt"
	if len(found) == 0 {
		return nil, Errorf(op, CodeInvalid, "Nothing was found that belongs to %s; there is nothing to adopt.", name)
	}
	for _, o := range found {
		if o.Env != name {
			return nil, Errorf(op, CodeInternal, "%s %s belongs to %s, not to %s.", clip(o.Kind), clip(o.Name), o.Env, name)
		}
		if o.Cluster != found[0].Cluster {
			return nil, Errorf(op, CodeConflict, "Things of %s are in the clusters %s and %s; they are adopted one cluster at a time.", name, clip(found[0].Cluster), clip(o.Cluster))
		}
	}
	for try := 1; ; try++ {
		env, err := s.Environment(ctx, name)
		if CodeOf(err) == CodeNotFound {
			env, err = &Environment{Name: name}, nil
		}
		if err != nil {
			return nil, err
		}
		if env.State != StateNone && env.State != StateCleaned {
			return nil, Errorf(op, CodeConflict, "There is an environment %s already; what was found belongs to it.", name)
		}
		s.adopt(env, found)
		rec.Kind = "environment.adopted"
		rec.Detail = map[string]string{"cluster": env.Cluster, "namespace": env.Namespace, "things": strconv.Itoa(len(found))}
		err = s.save(ctx, name, saving{env: env, rec: rec})
		if err == nil {
			return env, nil
		}
		if CodeOf(err) != CodeConflict || try == saveTries {
			return nil, err
		}
	}
}

// adopt makes env, of which nothing is known, what found tells of it.
func (s *Store) adopt(env *Environment, found []Owned) {
	now := s.clock()
	env.State, env.CreatedAt = StateFailure, now
	env.PullRequest, env.Cluster = env.Name.PullRequest(), short(found[0].Cluster, maxDetail)
	env.Parts = map[string]PartStatus{}
	oldestFirst := slices.SortedStableFunc(slices.Values(found), func(a, b Owned) int { return a.CreatedAt.Compare(b.CreatedAt) })
	for _, o := range oldestFirst {
		env.Namespace = short(cmp.Or(env.Namespace, o.Namespace), maxDetail)
		if o.Part == "" {
			continue
		}
		if _, known := env.Parts[o.Part]; !known && len(env.Parts) < maxAdopted {
			text := fmt.Sprintf("%s %s was found without a record.", clip(o.Kind), clip(o.Name))
			env.Parts[short(o.Part, maxDetail)] = PartStatus{Use: short(o.Use, maxDetail), State: string(StepFailed), Health: Unknown, Text: text, At: now}
		}
	}
}
