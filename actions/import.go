package actions

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/redis/go-redis/v9"
)

// maxImportedLinks is how many links an imported environment is given.
const maxImportedLinks = 50

// Imported is an environment that another tool has made, as that tool tells of
// it. What it says of the past is taken as it is.
type Imported struct {
	Name      Name
	State     State             // StateRunning, StateArchived or StateFailure
	Set       map[string]string // keys among the app's AllowSet
	Links     []Link
	Owner     string // who had it made, for display
	CreatedAt time.Time
	Note      string // what else there is to know, for people
	History   []ImportedAction
}

// ImportedAction is something that another tool did to an environment.
type ImportedAction struct {
	Verb  Verb
	By    string
	At    time.Time // when it ended
	Took  time.Duration
	OK    bool
	Error string // when it is not OK
}

// Import makes the record of an environment that another tool has made. It runs
// nothing: what there is stays as it is, and the next action on it is Berth's. Of
// rec, whoever has it done and where is used.
//
// It returns CodeInvalid for what cannot be and CodeConflict when there is an
// environment of that name that is not cleaned up.
func (s *Store) Import(ctx context.Context, app *App, i Imported, rec Record) (*Environment, error) {
	const op = "store.import"
	if err := i.check(app); err != nil {
		return nil, err
	}
	namespace, err := app.NamespaceOf(i.Name.Env)
	if err != nil {
		return nil, err
	}
	env, err := s.Environment(ctx, i.Name)
	fresh := CodeOf(err) == CodeNotFound
	if fresh {
		env, err = &Environment{Name: i.Name}, nil
	}
	if err != nil {
		return nil, err
	}
	if env.State != StateNone && env.State != StateCleaned {
		return nil, Errorf(op, CodeConflict, "There is an environment %s already; it stays as it is.", i.Name)
	}
	s.imported(env, app, i, namespace)
	if fresh {
		if err := s.importHistory(ctx, i); err != nil {
			return nil, err
		}
	}
	rec.Kind = "environment.imported"
	rec.Detail = map[string]string{"state": string(i.State), "actions": strconv.Itoa(len(i.History)), "note": short(i.Note, maxDetail)}
	if err := s.save(ctx, i.Name, saving{env: env, rec: rec}); err != nil {
		return nil, err // CodeConflict: somebody made it just now
	}
	return env, nil
}

func (i Imported) check(app *App) error {
	const op = "store.import"
	if !slices.Contains([]State{StateRunning, StateArchived, StateFailure}, i.State) {
		return Errorf(op, CodeInvalid, "An environment is imported as Running, Archived or Failure, not as %q.", clip(string(i.State)))
	}
	for _, key := range slices.Sorted(maps.Keys(i.Set)) {
		if !slices.Contains(app.AllowSet, key) {
			return Errorf(op, CodeInvalid, "%s sets %s, which %s does not allow: add it to `allow_set`, or leave it out.", i.Name, clip(key), app.Name)
		}
	}
	for _, a := range i.History {
		if !slices.Contains(Verbs(), a.Verb) {
			return Errorf(op, CodeInvalid, "%q is nothing that is done to an environment.", clip(string(a.Verb)))
		}
	}
	return nil
}

// imported makes env what i tells of it.
func (s *Store) imported(env *Environment, app *App, i Imported, namespace string) {
	now := s.clock()
	earlier := env.Deployed
	*env = Environment{Name: env.Name, Revision: env.Revision, Fence: env.Fence, Deployed: earlier} // a new life
	if earlier > 0 {
		env.FirstRevision = earlier + 1
	}
	env.State, env.Repo, env.PullRequest = i.State, app.Repo, i.Name.PullRequest()
	env.Namespace, env.Cluster, env.Set, env.Vars = namespace, app.Cluster.Name, maps.Clone(i.Set), maps.Clone(app.Vars)
	env.Owner = Owner{Actor: short(i.Owner, maxDetail)}
	env.CreatedAt, env.UsedAt, env.TTL = i.CreatedAt.UTC(), now, app.TTL
	if env.CreatedAt.IsZero() || env.CreatedAt.After(now) {
		env.CreatedAt = now
	}
	env.HasArchive = i.State == StateArchived
	if app.TTL > 0 && i.State != StateArchived {
		env.ExpiresAt = now.Add(app.TTL) // a lifetime begins when Berth begins to answer for it
	}
	for _, l := range i.Links[:min(len(i.Links), maxImportedLinks)] {
		if l, fit := shownLink(l); fit {
			env.Links = append(env.Links, l)
		}
	}
	if len(env.Links) > 0 {
		env.URL = env.Links[0].URL
	}
	env.Parts = map[string]PartStatus{}
	state := StepDone
	if i.State == StateFailure {
		state = StepFailed
	}
	for _, part := range app.Parts {
		env.Parts[part.Name] = PartStatus{Use: part.Use, State: string(state), Health: Unknown, Text: "Another tool made it.", At: now}
	}
	if n := len(i.History); n > 0 {
		env.LastAction = i.History[n-1].last()
	}
}

func (a ImportedAction) last() *LastAction {
	l := &LastAction{Verb: a.Verb, State: RunSucceeded, By: short(a.By, maxDetail), At: a.At.UTC()}
	if !a.OK {
		l.State, l.Error = RunFailed, short(a.Error, maxPastError)
	}
	return l
}

// importHistory writes what was done before. It is of an environment that has no
// record yet: whatever another try left is replaced.
func (s *Store) importHistory(ctx context.Context, i Imported) error {
	const op = "store.import"
	key := s.Key(i.Name, historyKey)
	lines := make([]any, 0, len(i.History))
	newest := slices.SortedStableFunc(slices.Values(i.History), func(a, b ImportedAction) int { return b.At.Compare(a.At) })
	for _, a := range newest[:min(len(newest), HistoryKept)] {
		run := &Run{
			ID:    strings.ToLower(ulid.MustNew(uint64(max(a.At.UnixMilli(), 0)), ulid.DefaultEntropy()).String()),
			Order: Order{Verb: a.Verb, By: a.By}, State: RunSucceeded, StartedAt: a.At.Add(-a.Took), EndedAt: a.At,
		}
		if !a.OK {
			run.State, run.Error = RunFailed, a.Error
		}
		text, err := pastOf(run)
		if err != nil {
			return err
		}
		lines = append(lines, text)
	}
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, key)
		if len(lines) > 0 {
			p.RPush(ctx, key, lines...)
		}
		return nil
	})
	if err != nil {
		return redisError(op, fmt.Errorf("history of %s: %w", i.Name, err))
	}
	return nil
}
