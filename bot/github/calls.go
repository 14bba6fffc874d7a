package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"
)

const (
	// perPage is how many of a list are asked for at once: the most that there are.
	perPage = 100
	// maxPages is how many pages of a list are read at most.
	maxPages = 20
)

// pull is what Berth reads of a pull request.
type pull struct {
	open     bool
	sha      string    // of its head
	origin   string    // the repository of its commits; "" when that fork is gone
	number   int       // as the answer has it
	repo     string    // that it is in, as the answer has it: another than was asked for once that was renamed
	closedAt time.Time // zero while it is open
}

// fork tells whether the pull request's commits are from another repository.
func (p pull) fork(repo string) bool { return !strings.EqualFold(p.origin, repo) }

func (c *client) pull(ctx context.Context, repo string, number int) (p pull, err error) {
	err = c.do(ctx, call{what: fmt.Sprintf("get pull request %d of", number), repo: repo}, func(ctx context.Context, at place) error {
		found, _, err := at.PullRequests.Get(ctx, at.owner, at.name, number)
		state := found.GetState()
		if err == nil && ((state != "open" && state != "closed") || found.GetHead().SHA == nil) {
			return errors.New("an answer that is no pull request") // rather than a closed one
		}
		p = pull{
			open: state == "open", sha: found.GetHead().GetSHA(), origin: found.GetHead().GetRepo().GetFullName(),
			number: found.GetNumber(), repo: found.GetBase().GetRepo().GetFullName(), closedAt: found.GetClosedAt().Time,
		}
		return err
	})
	return p, err
}

// openPulls are the numbers of a repository's open pull requests, the first ones
// of them where there are more than maxPages hold.
func (c *client) openPulls(ctx context.Context, repo string) (numbers []int, err error) {
	found, err := c.listPulls(ctx, repo, maxPages)
	for _, p := range found {
		numbers = append(numbers, p.GetNumber())
	}
	return numbers, err
}

// listPulls are a repository's open pull requests, the newest first, as far as so
// many pages hold them.
func (c *client) listPulls(ctx context.Context, repo string, pages int) (all []*gh.PullRequest, err error) {
	options := gh.PullRequestListOptions{State: "open", ListOptions: gh.ListOptions{PerPage: perPage}}
	for options.Page = 1; options.Page <= pages; options.Page++ {
		var found []*gh.PullRequest
		err := c.do(ctx, call{what: "list the open pull requests of", repo: repo}, func(ctx context.Context, at place) (err error) {
			found, _, err = at.PullRequests.List(ctx, at.owner, at.name, &options)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			if p.GetState() == "open" && p.GetNumber() > 0 {
				all = append(all, p)
			}
		}
		if len(found) < perPage {
			break
		}
	}
	return all, nil
}

// permission is the role of a user on a repository, in GitHub's words: "none",
// "read", "triage", "write", "maintain", "admin", or a name of the
// organisation's own, for which it is the base role.
func (c *client) permission(ctx context.Context, repo, login string) (string, error) {
	// go-github's GetPermissionLevel does not have the role's name.
	var level struct {
		Permission string `json:"permission"` // admin, write, read, none
		RoleName   string `json:"role_name"`
	}
	err := c.do(ctx, call{what: "get somebody's permission on", repo: repo}, func(ctx context.Context, at place) error {
		path := fmt.Sprintf("repos/%s/%s/collaborators/%s/permission", at.owner, at.name, url.PathEscape(login))
		req, err := at.NewRequest(http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		_, err = at.Do(ctx, req, &level)
		return err
	})
	if err != nil {
		return "", err
	}
	if _, ok := rank[level.RoleName]; ok {
		return level.RoleName, nil
	}
	return level.Permission, nil
}

// react puts an emoji on a comment. Doing so twice is doing it once.
func (c *client) react(ctx context.Context, repo string, comment int64, content string) error {
	x := call{what: fmt.Sprintf("react to comment %d on", comment), repo: repo, write: true, calm: true}
	return c.do(ctx, x, func(ctx context.Context, at place) error {
		_, _, err := at.Reactions.CreateIssueCommentReaction(ctx, at.owner, at.name, comment, content)
		return err
	})
}

func (c *client) createComment(ctx context.Context, repo string, number int, body string) (id int64, err error) {
	x := call{what: fmt.Sprintf("comment on pull request %d of", number), repo: repo, write: true}
	err = c.do(ctx, x, func(ctx context.Context, at place) error {
		made, _, err := at.Issues.CreateComment(ctx, at.owner, at.name, number, &gh.IssueComment{Body: &body})
		id = made.GetID()
		return err
	})
	return id, err
}

func (c *client) editComment(ctx context.Context, repo string, id int64, body string, calm bool) error {
	x := call{what: fmt.Sprintf("edit comment %d on", id), repo: repo, write: true, calm: calm}
	return c.do(ctx, x, func(ctx context.Context, at place) error {
		_, _, err := at.Issues.EditComment(ctx, at.owner, at.name, id, &gh.IssueComment{Body: &body})
		return err
	})
}

// ownComment finds a comment of ours on a pull request by the marker that it
// begins with; 0 when there is none. Somebody else's comment is never ours,
// whatever it begins with.
func (c *client) ownComment(ctx context.Context, repo string, number int, marker string, since time.Time) (int64, error) {
	me, err := c.whoami(ctx)
	if err != nil {
		return 0, err
	}
	options := gh.IssueListCommentsOptions{ListOptions: gh.ListOptions{PerPage: perPage}}
	if !since.IsZero() {
		options.Since = new(since.UTC())
	}
	x := call{what: fmt.Sprintf("list comments on pull request %d of", number), repo: repo}
	for options.Page = 1; options.Page <= maxPages; options.Page++ {
		var found []*gh.IssueComment
		err := c.do(ctx, x, func(ctx context.Context, at place) (err error) {
			found, _, err = at.Issues.ListComments(ctx, at.owner, at.name, number, &options)
			return err
		})
		if err != nil {
			return 0, err
		}
		for _, f := range found {
			if strings.HasPrefix(f.GetBody(), marker) && strings.EqualFold(f.GetUser().GetLogin(), me) {
				return f.GetID(), nil
			}
		}
		if len(found) < perPage {
			return 0, nil
		}
	}
	return 0, nil
}

// payloadRequest is the key of a deployment's payload that says whose it is.
const payloadRequest = "berth_request"

// createDeployment makes the deployment of a request.
func (c *client) createDeployment(ctx context.Context, repo, environment, sha, requestID, description string) (id int64, err error) {
	x := call{what: "create a deployment on", repo: repo, write: true}
	err = c.do(ctx, x, func(ctx context.Context, at place) error {
		made, _, err := at.Repositories.CreateDeployment(ctx, at.owner, at.name, &gh.DeploymentRequest{
			Ref: &sha, Environment: &environment, Description: &description, Payload: map[string]string{payloadRequest: requestID},
			TransientEnvironment: new(true), ProductionEnvironment: new(false), AutoMerge: new(false),
			RequiredContexts: &[]string{}, // none: what Berth deploys is decided elsewhere
		})
		id = made.GetID()
		return err
	})
	return id, err
}

// ownDeployment finds the deployment of a request; 0 when there is none.
func (c *client) ownDeployment(ctx context.Context, repo, environment, sha, requestID string) (int64, error) {
	var found []*gh.Deployment
	err := c.do(ctx, call{what: "list deployments of", repo: repo}, func(ctx context.Context, at place) (err error) {
		found, _, err = at.Repositories.ListDeployments(ctx, at.owner, at.name, &gh.DeploymentsListOptions{
			Environment: environment, SHA: sha, ListOptions: gh.ListOptions{PerPage: perPage},
		})
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, d := range found {
		var payload map[string]any // unless it is text that somebody else put there
		if d != nil && json.Unmarshal(d.Payload, &payload) == nil && payload[payloadRequest] == requestID {
			return d.GetID(), nil
		}
	}
	return 0, nil
}

// deploymentStatus is what is said of how a deployment goes. What is empty is
// left out.
type deploymentStatus struct{ State, Description, EnvironmentURL, LogURL string }

func (c *client) setDeploymentStatus(ctx context.Context, repo string, id int64, s deploymentStatus) error {
	said := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	x := call{what: fmt.Sprintf("set the status of deployment %d on", id), repo: repo, write: true}
	return c.do(ctx, x, func(ctx context.Context, at place) error {
		_, _, err := at.Repositories.CreateDeploymentStatus(ctx, at.owner, at.name, id, &gh.DeploymentStatusRequest{
			State: &s.State, Description: said(s.Description), EnvironmentURL: said(s.EnvironmentURL), LogURL: said(s.LogURL),
			AutoInactive: new(false), // it does nothing for transient environments
		})
		return err
	})
}

// commit finds the commit that ref means. One file a page keeps GitHub from
// sending all that the commit changed.
func (c *client) commit(ctx context.Context, repo, ref string) (found *gh.RepositoryCommit, err error) {
	segments := strings.Split(ref, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s) // GetCommit takes it for a part of the path as it is
	}
	err = c.do(ctx, call{what: "get a commit of", repo: repo}, func(ctx context.Context, at place) (err error) {
		found, _, err = at.Repositories.GetCommit(ctx, at.owner, at.name, strings.Join(segments, "/"), &gh.ListOptions{PerPage: 1})
		return err
	})
	return found, err
}

// holds tells whether a commit is on a branch of repo, or was: GitHub finds the
// commits of every fork in the repository that they are forks of. The answers
// that cost GitHub least come first.
func (c *client) holds(ctx context.Context, repo, sha string) (held bool, err error) {
	err = c.do(ctx, call{what: "list the branches at a commit of", repo: repo}, func(ctx context.Context, at place) error {
		branches, _, err := at.Repositories.ListBranchesHeadCommit(ctx, at.owner, at.name, sha)
		held = len(branches) > 0
		return err
	})
	if held || err != nil {
		return held, err
	}
	err = c.do(ctx, call{what: "list the pull requests with a commit of", repo: repo}, func(ctx context.Context, at place) error {
		pulls, _, err := at.PullRequests.ListPullRequestsWithCommit(ctx, at.owner, at.name, sha, &gh.ListOptions{PerPage: perPage})
		for _, p := range pulls {
			held = held || strings.EqualFold(p.GetHead().GetRepo().GetFullName(), repo)
		}
		return err
	})
	if held || err != nil {
		return held, err
	}
	about, err := c.repository(ctx, repo)
	if err != nil {
		return false, err
	}
	err = c.do(ctx, call{what: "compare a commit with the default branch of", repo: repo}, func(ctx context.Context, at place) error {
		// One commit a page: only the status matters.
		compared, _, err := at.Repositories.CompareCommits(ctx, at.owner, at.name, about.GetDefaultBranch(), sha, &gh.ListOptions{PerPage: 1})
		held = compared.GetStatus() == "behind" || compared.GetStatus() == "identical"
		return err
	})
	if statusOf(err) == http.StatusNotFound {
		return false, nil // GitHub's word for two commits that have no ancestor in common
	}
	return held && err == nil, err
}

func (c *client) repository(ctx context.Context, repo string) (found *gh.Repository, err error) {
	err = c.do(ctx, call{what: "get", repo: repo}, func(ctx context.Context, at place) (err error) {
		found, _, err = at.Repositories.Get(ctx, at.owner, at.name)
		return err
	})
	return found, err
}

// rateLimit is how many calls the token's user has an hour, and how many are
// left; 0 and 0 where there is no limit.
func (c *client) rateLimit(ctx context.Context) (most, left int, err error) {
	err = c.do(ctx, call{what: "get the rate limit"}, func(ctx context.Context, at place) error {
		limits, _, err := at.RateLimit.Get(ctx)
		if core := limits.GetCore(); core != nil {
			most, left = core.Limit, core.Remaining
		}
		return err
	})
	return most, left, err
}
