package github

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// pullEvent is what is read of a pull_request payload.
type pullEvent struct {
	Action      string `json:"action"`
	Number      int    `json:"number"`
	PullRequest struct {
		Head struct {
			SHA string `json:"sha"`
		} `json:"head"`
		ClosedAt string `json:"closed_at"`
	} `json:"pull_request"`
	Repository struct {
		FullName string `json:"full_name"`
	} `json:"repository"`
	Sender account `json:"sender"`
}

// pullChanged handles what happens to a pull request itself: closing it takes
// its environments away, a push updates them where the app says so.
func (s *Surface) pullChanged(ctx context.Context, p parcel) error {
	var e pullEvent
	if err := json.Unmarshal(p.body, &e); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if e.Action != "closed" && e.Action != "synchronize" {
		return nil
	}
	repo := e.Repository.FullName
	if !validRepo(repo) || e.Number < 1 {
		return fmt.Errorf("%w: a pull request without its repository or number", errMalformed)
	}
	apps := s.appsOf(repo)
	switch {
	case len(apps) == 0:
	case e.Action == "synchronize":
		if err := s.pushed(ctx, e, apps); err != nil {
			return err
		}
	default:
		if err := s.closed(ctx, e, apps); err != nil {
			return err
		}
	}
	return s.componentChanged(ctx, e)
}

// closed cleans up after a pull request. What is on its way to being deployed
// would be there a moment later, so it is stopped too.
func (s *Surface) closed(ctx context.Context, e pullEvent, apps []*actions.App) error {
	repo := e.Repository.FullName
	// A delivery may be old. What is open again is not taken away.
	now, err := s.client.pull(ctx, repo, e.Number)
	if status := statusOf(err); status == http.StatusNotFound || status == http.StatusGone {
		// GitHub says the same of what it hides from us. Nothing is taken away
		// on the word of a delivery that cannot be checked.
		s.log.ErrorContext(ctx, "a closed pull request cannot be seen, so its environments stay; clean them up by command, or give Berth's token access",
			"repo", repo, "number", e.Number, "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	if now.open {
		s.log.InfoContext(ctx, "a pull request that was closed is open again, so its environments stay", "repo", repo, "number", e.Number)
		return nil
	}
	by, err := s.closer(ctx, e)
	if err != nil {
		return err
	}
	c := closing{repo: repo, number: e.Number, at: e.PullRequest.ClosedAt, by: by}
	if !now.closedAt.IsZero() { // it may have been opened and closed again since
		c.at = closedStamp(now.closedAt)
	}
	for _, app := range apps {
		names, err := s.environmentsOf(ctx, app, repo, e.Number)
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, err := s.cleanup(ctx, name, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// closer is who a cleanup after a pull request is made for. It is made whoever
// closed it: an account that is not who it was before is named without roles.
func (s *Surface) closer(ctx context.Context, e pullEvent) (approvals.Requester, error) {
	a, err := s.actor(ctx, e.Sender, "sender")
	if actions.CodeOf(err) == actions.CodeForbidden {
		s.log.WarnContext(ctx, "a pull request was closed by an account that is not the one of that login", "repo", e.Repository.FullName, "number", e.Number, "error", err)
		return approvals.Requester{Actor: e.Sender.Login, Roles: []string{identityPrefix + "sender"}}, nil
	}
	return requester(a), err
}

// environmentsOf are the environments that an app has, or may have, for a pull
// request.
func (s *Surface) environmentsOf(ctx context.Context, app *actions.App, repo string, number int) ([]actions.Name, error) {
	names := []actions.Name{{App: app.Name, Env: actions.PullRequestName(number)}}
	for cursor := ""; ; {
		page, next, err := s.store.Environments(ctx, actions.EnvFilter{App: app.Name, Cursor: cursor, Limit: 500})
		if err != nil {
			return nil, err
		}
		for _, env := range page {
			if env.PullRequest == number && strings.EqualFold(env.Repo, repo) && !slices.Contains(names, env.Name) {
				names = append(names, env.Name)
			}
		}
		if next == "" {
			return names, nil
		}
		cursor = next
	}
}

// closing is the end of a pull request.
type closing struct {
	repo   string
	number int
	at     string // when, as it stands in the idempotency key
	again  string // tells a cleanup that is asked for anew from those before; else ""
	by     approvals.Requester
}

// key is the same for whoever sees the pull request's end first.
func (c closing) key() string {
	key := fmt.Sprintf("github:pr-closed:%s#%d:%s", strings.ToLower(c.repo), c.number, c.at)
	if c.again != "" {
		key += ":" + c.again
	}
	return key
}

// closedStamp is when a pull request was closed as payloads have it.
func closedStamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// cleanup asks for the cleanup of an environment whose pull request is closed.
// It returns nil when there is nothing to ask for.
func (s *Surface) cleanup(ctx context.Context, name actions.Name, c closing) (*approvals.Request, error) {
	env, err := s.environment(ctx, name)
	if err != nil {
		return nil, err
	}
	active, err := s.active(ctx, name)
	if err != nil {
		return nil, err
	}
	begun := false
	for _, r := range active {
		if r.Order.Verb == actions.VerbCleanup {
			return nil, nil // it is on its way out
		}
		if !r.State.Waiting() {
			begun = true
			continue
		}
		stopped, err := s.requests.Cancel(ctx, r.ID, c.by, "the pull request was closed")
		if err != nil && actions.CodeOf(err) != actions.CodeConflict {
			return nil, err
		}
		// One that began in between is stopped now, and leaves something behind.
		begun = begun || err != nil || (stopped != nil && !stopped.State.Ended())
	}
	if !begun && (env == nil || env.State == actions.StateCleaned) {
		return nil, nil
	}
	return s.submit(ctx, approvals.Request{
		Order:   actions.Order{Env: name, Verb: actions.VerbCleanup, PullRequest: c.number, By: c.by.Actor, Reason: "the pull request was closed"},
		Command: "cleanup " + name.String(), Requester: c.by,
		Place: approvals.Place{Surface: "github", ID: placeID(c.repo, c.number)},
		Key:   c.key(),
	})
}

// submit makes a request that nobody typed.
func (s *Surface) submit(ctx context.Context, r approvals.Request) (*approvals.Request, error) {
	made, _, err := s.requests.Submit(ctx, r)
	if err != nil {
		return nil, err
	}
	return made, s.expect(ctx, made.Order.Env, made.ID)
}

// environment is the record of name, nil when there is none.
func (s *Surface) environment(ctx context.Context, name actions.Name) (*actions.Environment, error) {
	env, err := s.store.Environment(ctx, name)
	if actions.CodeOf(err) == actions.CodeNotFound {
		return nil, nil
	}
	return env, err
}

// active are the requests for name that have not ended, the newest first and
// without dry runs.
func (s *Surface) active(ctx context.Context, name actions.Name) ([]*approvals.Request, error) {
	standing, err := s.requests.Standing(ctx, name)
	slices.Reverse(standing)
	return slices.DeleteFunc(standing, func(r *approvals.Request) bool { return r.DryRun }), err
}

// pushed deploys a pull request's new commit where an earlier one is deployed
// and the app wants that.
func (s *Surface) pushed(ctx context.Context, e pullEvent, apps []*actions.App) error {
	repo, sha := e.Repository.FullName, e.PullRequest.Head.SHA
	if !fullSHA.MatchString(sha) {
		return fmt.Errorf("%w: a push without its commit", errMalformed)
	}
	for _, app := range apps {
		if !app.AutoUpdate {
			continue
		}
		name := actions.Name{App: app.Name, Env: actions.PullRequestName(e.Number)}
		env, err := s.environment(ctx, name)
		if err != nil {
			return err
		}
		if env == nil || env.Lock != nil || env.Sleeping || !updatable(env.State) {
			continue
		}
		ok, err := s.mayUpdate(ctx, e, app)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		pusher, err := s.actor(ctx, e.Sender, "sender")
		if actions.CodeOf(err) == actions.CodeForbidden {
			s.log.WarnContext(ctx, "a push changes nothing: its account is not the one of that login", "repo", repo, "number", e.Number, "actor", e.Sender.Login, "error", err)
			return nil
		}
		if err != nil {
			return err
		}
		by := requester(pusher)
		if _, err := s.submit(ctx, approvals.Request{
			Order: actions.Order{
				Env: name, Verb: actions.VerbDeploy, PullRequest: e.Number, Set: env.Set, By: by.Actor, Reason: "a push to the pull request",
			},
			Command: "deploy " + name.String(), Requester: by,
			Place: approvals.Place{Surface: "github", ID: placeID(repo, e.Number)},
			Key:   fmt.Sprintf("github:push:%s#%d:%s", strings.ToLower(repo), e.Number, sha),
		}); err != nil {
			return err
		}
	}
	return nil
}

// updatable tells whether an environment in that state is, or soon will be,
// what a pull request looks like.
func updatable(state actions.State) bool {
	switch state {
	case actions.StateRunning, actions.StateFailure, actions.StateCreatePending, actions.StateUpdatePending:
		return true
	default:
		return false
	}
}

// mayUpdate tells whether a push may run without anybody's word: never from a
// fork that the app does not let in, and never by somebody who could not type
// the command.
func (s *Surface) mayUpdate(ctx context.Context, e pullEvent, app *actions.App) (bool, error) {
	repo := e.Repository.FullName
	log := s.log.With("repo", repo, "number", e.Number, "actor", e.Sender.Login)
	now, err := s.client.pull(ctx, repo, e.Number)
	if err != nil {
		if final(err) {
			log.WarnContext(ctx, "a push changes nothing: its pull request cannot be seen", "error", err)
			return false, nil
		}
		return false, err
	}
	if !now.open || now.sha != e.PullRequest.Head.SHA {
		return false, nil // a later delivery tells of what is there now
	}
	if now.fork(repo) && !app.AllowForks {
		log.InfoContext(ctx, "a push from a fork changes nothing", "app", app.Name)
		return false, nil
	}
	role, err := s.client.permission(ctx, repo, e.Sender.Login)
	if err != nil && !final(err) {
		return false, err
	}
	if err != nil || rank[role] < rank[s.minimum] {
		log.InfoContext(ctx, "a push by somebody who may not type commands changes nothing", "role", role)
		return false, nil
	}
	return true, nil
}
