package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// observersOfCluster is how many environments of one cluster are looked at
	// side by side.
	observersOfCluster = 4
	// observeWithin is how long one of them may take. The runner has a limit of
	// its own for each part.
	observeWithin = time.Minute
	// clusterWithin is how long a cluster's turn may take in all; what it was not
	// enough for comes first in the next sweep.
	clusterWithin = 2 * time.Minute
	// giveUpAfter is after how many looks in a row that saw nothing a cluster is
	// left alone until the next sweep.
	giveUpAfter = 3
)

// lookForDrift looks at running environments, the ones not looked at for longest
// first, so many of each cluster and the clusters side by side.
func (s *sweep) lookForDrift(ctx context.Context) {
	if s.o.Runner == nil {
		return
	}
	sights, err := s.state.seenAt(ctx, s.envs)
	if err != nil {
		s.log.WarnContext(ctx, "nobody knows what was looked at last, so nothing is in this sweep", "error", err)
		return
	}
	clusters := map[string][]*known{}
	for _, k := range s.sorted() {
		if k.state == actions.StateRunning && !k.asleep && !k.held {
			clusters[k.cluster] = append(clusters[k.cluster], k)
		}
	}
	var side sync.WaitGroup
	for _, envs := range clusters {
		slices.SortStableFunc(envs, func(a, b *known) int { return cmp.Compare(sights[a.name.String()], sights[b.name.String()]) })
		side.Go(func() { s.observeCluster(ctx, envs[:min(len(envs), s.o.ObserveMost)]) })
	}
	side.Wait()
}

// observeCluster looks at environments of one cluster, a few at once.
func (s *sweep) observeCluster(ctx context.Context, envs []*known) {
	ctx, cancel := context.WithTimeout(ctx, clusterWithin)
	defer cancel()
	var mu sync.Mutex
	next, blind := 0, 0
	take := func() *known {
		mu.Lock()
		defer mu.Unlock()
		if next == len(envs) || blind >= giveUpAfter || ctx.Err() != nil {
			return nil
		}
		next++
		return envs[next-1]
	}
	var side sync.WaitGroup
	for range min(observersOfCluster, len(envs)) {
		side.Go(func() {
			for k := take(); k != nil; k = take() {
				saw := s.observe(ctx, k)
				mu.Lock()
				if blind++; saw {
					blind = 0
				}
				mu.Unlock()
			}
		})
	}
	side.Wait()
}

// observe looks at one environment and keeps what it saw. It tells whether it
// saw anything.
func (s *sweep) observe(ctx context.Context, k *known) (saw bool) {
	ctx, cancel := context.WithTimeout(ctx, observeWithin)
	defer cancel()
	found, err := within(ctx, func() (map[string]actions.Observation, error) { return s.o.Runner.Observe(ctx, k.name) })
	// What could not be seen is not stored: it says nothing of how the part is.
	maps.DeleteFunc(found, func(_ string, o actions.Observation) bool { return o.Health == actions.Unknown })
	// One that can never be seen must not come first each time.
	if err := s.state.sight(context.WithoutCancel(ctx), k.name, s.now()); err != nil {
		s.log.WarnContext(ctx, "an environment is looked at again sooner than it should", "env", k.name.String(), "error", err)
	}
	if err != nil || len(found) == 0 {
		s.log.DebugContext(ctx, "an environment could not be looked at", "env", k.name.String(), "error", err)
		return false
	}
	drifted, err := s.tellDrift(ctx, k.name, found)
	if err == nil {
		err = s.o.Store.Seen(ctx, k.name, found)
	}
	if err != nil && actions.CodeOf(err) != actions.CodeConflict {
		s.log.WarnContext(ctx, "what was seen of an environment could not be kept", "env", k.name.String(), "error", err)
		return true
	}
	if err := s.renew(ctx, k.name, found); err != nil && actions.CodeOf(err) != actions.CodeConflict {
		s.log.WarnContext(ctx, "what has to be renewed could not be asked for; the next sweep tries again", "env", k.name.String(), "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Observed++
	if drifted {
		s.report.Drifted++
	}
	return true
}

// tellDrift tells of parts that are not as deployed any more, when that is
// another drift than the one that the record says. It comes before the record is
// written: a crash in between tells again, under the same key.
func (s *sweep) tellDrift(ctx context.Context, name actions.Name, found map[string]actions.Observation) (drifted bool, err error) {
	env, err := s.o.Store.Environment(ctx, name)
	if err != nil {
		return false, err
	}
	if env.State != actions.StateRunning || env.Sleeping || env.RunID != "" {
		return false, nil // it changed meanwhile, which is no drift
	}
	fresh := false
	var lines []string
	for _, part := range slices.Sorted(maps.Keys(found)) {
		drift := found[part].Drift
		was, known := env.Parts[part]
		if len(drift) == 0 || !known {
			continue
		}
		drifted = true
		fresh = fresh || !slices.Equal(drift, was.Drift)
		for _, line := range drift {
			lines = append(lines, "- "+bot.Code(part, 60)+": "+bot.Escape(line, 300))
		}
	}
	if !fresh {
		return drifted, nil
	}
	if left := len(lines) - mostNamed; left > 0 {
		lines = append(lines[:mostNamed], fmt.Sprintf("- and %d more", left))
	}
	return true, s.o.Notifier.Notify(ctx, bot.Notice{
		Event: bot.EventDrifted, Severity: bot.SeverityWarning, Env: name, At: s.begun,
		Key:   "reconcile:drift:" + digest(append([]string{name.String(), strconv.FormatInt(env.Revision, 10)}, lines...)),
		Title: name.String() + " is not what was deployed any more",
		Text:  "Somebody or something else than Berth changed it:\n\n" + strings.Join(lines, "\n") + "\n\nThe next deploy sets it right; `diff` names what differs.",
		Commands: []bot.Suggestion{
			{Label: "Show the difference", Command: "diff " + name.String()},
			{Label: "Deploy what should be there", Command: "deploy " + name.String()},
		},
	})
}

// seenAt is when environments were last looked at, in Unix milliseconds and by
// name. Those that are no more are forgotten.
func (t *state) seenAt(ctx context.Context, envs map[actions.Name]*known) (map[string]float64, error) {
	all, err := t.rdb.ZRangeWithScores(ctx, t.sights, 0, -1).Result()
	if err != nil {
		return nil, err
	}
	at, gone := map[string]float64{}, []any{}
	for _, z := range all {
		text, _ := z.Member.(string)
		name, err := actions.ParseName(text)
		if err != nil || envs[name] == nil {
			gone = append(gone, text)
			continue
		}
		at[text] = z.Score
	}
	if len(gone) > 0 {
		err = t.rdb.ZRem(ctx, t.sights, gone...).Err()
	}
	return at, err
}

// sight notes that an environment was looked at.
func (t *state) sight(ctx context.Context, name actions.Name, at time.Time) error {
	return t.rdb.ZAdd(ctx, t.sights, redis.Z{Score: float64(at.UnixMilli()), Member: name.String()}).Err()
}
