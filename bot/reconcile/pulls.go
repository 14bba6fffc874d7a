package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

const (
	// mostLooks is how many pull requests a sweep looks at one by one. GitHub
	// allows 5,000 calls an hour, which others need too.
	// Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
	mostLooks = 200
	// reposAtOnce is how many repositories are looked at side by side.
	reposAtOnce = 4
	// afterwards is how long after a pull request's end somebody must have asked
	// for something so that it was asked for in spite of that end. What came
	// sooner crossed it on the way.
	afterwards = 2 * time.Minute
)

// closing is an environment whose pull request was seen to be closed.
type closing struct {
	env *known
	at  time.Time
}

// replay has deliveries fetched that never arrived. Without them a sweep sees
// the same by itself, only later.
func (s *sweep) replay(ctx context.Context) {
	if s.o.Pulls == nil {
		return
	}
	n, err := s.o.Pulls.Replay(ctx)
	if err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "deliveries that never arrived could not be fetched", "error", err)
	}
	s.report.Replayed = n
}

// lookAtPulls finds environments of closed pull requests, several repositories
// side by side.
func (s *sweep) lookAtPulls(ctx context.Context) {
	if s.o.Pulls == nil {
		return
	}
	byRepo := map[string]map[int][]*known{}
	for _, k := range s.sorted() {
		if k.repo == "" || k.number == 0 {
			continue
		}
		repo := strings.ToLower(k.repo)
		if byRepo[repo] == nil {
			byRepo[repo] = map[int][]*known{}
		}
		byRepo[repo][k.number] = append(byRepo[repo][k.number], k)
	}
	looks := &allowance{left: mostLooks}
	turns := make(chan struct{}, reposAtOnce)
	var side sync.WaitGroup
	for _, numbers := range byRepo {
		side.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			s.lookAtRepo(ctx, numbers, looks)
		})
	}
	side.Wait()
}

// allowance is how many of something are left, for several at once.
type allowance struct {
	mu   sync.Mutex
	left int
}

func (a *allowance) take() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left--
	return a.left >= 0
}

// lookAtRepo looks at the pull requests of one repository that have
// environments. The list of open ones saves looking at those; what is not in it
// is looked at by itself, since a list that lacks something proves nothing.
func (s *sweep) lookAtRepo(ctx context.Context, numbers map[int][]*known, looks *allowance) {
	var repo string
	missing := make([]int, 0, len(numbers))
	for number, envs := range numbers {
		repo = envs[0].repo
		missing = append(missing, number)
	}
	open, err := s.o.Pulls.Open(ctx, repo)
	if err != nil {
		s.blind(ctx, repo, err)
		return
	}
	missing = slices.DeleteFunc(missing, func(n int) bool { return slices.Contains(open, n) })
	// Where there are more than one sweep may look at, each begins elsewhere.
	slices.Sort(missing)
	if len(missing) > mostLooks {
		at := int(s.begun.Unix()/int64(s.o.Every.Seconds()+1)) * mostLooks % len(missing)
		missing = append(missing[at:], missing[:at]...)
	}
	for _, number := range missing {
		if !looks.take() {
			return
		}
		closed, at, err := s.o.Pulls.Closed(ctx, repo, number)
		switch {
		case actions.CodeOf(err) == actions.CodeNotFound:
			// It is hidden, or gone with its author. That says nothing of the others,
			// each of which must be seen by itself.
			s.log.WarnContext(ctx, "a pull request cannot be seen, so its environments stay", "repo", repo, "number", number, "error", err)
			continue
		case err != nil:
			s.blind(ctx, repo, err)
			return
		case !closed || at.IsZero():
			continue
		}
		s.mu.Lock()
		for _, k := range numbers[number] {
			s.closed = append(s.closed, closing{env: k, at: at})
			s.report.Closed++
		}
		s.mu.Unlock()
	}
}

// bringsUp are the verbs by which somebody says that an environment is wanted.
var bringsUp = []actions.Verb{
	actions.VerbDeploy, actions.VerbRestore, actions.VerbRollback, actions.VerbRestart, actions.VerbWake, actions.VerbExtend,
}

// wanted tells whether a cleanup of env is to be asked for because of what
// happened at that time, and what makes its key another than that of the cleanup
// that was asked for before. It is not, while one is under way, for a day after
// one that took nothing away, once somebody said no, or when somebody asked for
// the environment later.
func (r *Reconciler) wanted(ctx context.Context, env actions.Name, since time.Time) (again string, due bool, err error) {
	newest, _, err := r.o.Requests.List(ctx, approvals.Filter{Env: env, Limit: 50})
	if err != nil {
		return "", false, err
	}
	for _, q := range newest {
		switch {
		case q.DryRun:
		case q.Order.Verb == actions.VerbCleanup && !q.State.Ended():
			return "", false, nil
		case q.Order.Verb == actions.VerbCleanup && q.CreatedAt.After(since):
			if q.State == approvals.StateDenied || q.State == approvals.StateSucceeded || r.now().Sub(q.EndedAt) < askAgain {
				return "", false, nil
			}
			return r.now().UTC().Format(time.DateOnly), true, nil
		case slices.Contains(bringsUp, q.Order.Verb) && !q.Automatic() && q.CreatedAt.After(since.Add(afterwards)):
			return "", false, nil
		}
	}
	return "", true, nil
}

// pullDeletions are the cleanups that closed pull requests ask for.
func (s *sweep) pullDeletions(ctx context.Context) (due []deletion, err error) {
	slices.SortFunc(s.closed, func(a, b closing) int { return cmp.Compare(a.env.name.String(), b.env.name.String()) })
	for _, c := range s.closed {
		again, wanted, err := s.wanted(ctx, c.env.name, c.at)
		if err != nil {
			return nil, err
		}
		if !wanted {
			continue
		}
		k := c.env
		due = append(due, deletion{
			env: k.name, why: fmt.Sprintf("%s#%d is closed since %s", k.repo, k.number, moment(c.at)), hinges: []string{k.repo, clusterName(k.cluster)},
			ask: func(ctx context.Context) (bool, error) {
				r, err := s.o.Pulls.CleanUp(ctx, k.name, k.repo, k.number, c.at, again)
				return r != nil && !r.State.Ended(), err
			},
		})
	}
	return due, nil
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
