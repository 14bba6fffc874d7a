package github

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxPages is how many pages of a list are read at most, of 100 each.
const maxPages = 20

// pull is what Berth reads of a pull request.
type pull struct {
	State string `json:"state"` // "open" or "closed"
	Head  struct {
		SHA  string `json:"sha"`
		Repo *struct {
			FullName string `json:"full_name"`
		} `json:"repo"` // null when the fork is gone
	} `json:"head"`
}

// fork tells whether the pull request's commits are from another repository.
func (p pull) fork(repo string) bool {
	return p.Head.Repo == nil || !strings.EqualFold(p.Head.Repo.FullName, repo)
}

func (c *client) pull(ctx context.Context, repo string, number int) (p pull, err error) {
	err = c.do(ctx, call{repo: repo, path: fmt.Sprintf("repos/%s/pulls/%d", repo, number), out: &p})
	return p, err
}

// permission is the role of a user on a repository, in GitHub's words: "none",
// "read", "triage", "write", "maintain", "admin", or a name of the
// organisation's own, for which it is the base role.
func (c *client) permission(ctx context.Context, repo, login string) (string, error) {
	var level struct {
		Permission string `json:"permission"` // admin, write, read, none
		RoleName   string `json:"role_name"`
	}
	err := c.do(ctx, call{repo: repo, path: "repos/" + repo + "/collaborators/" + url.PathEscape(login) + "/permission", out: &level})
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
	return c.do(ctx, call{
		repo: repo, method: http.MethodPost, path: fmt.Sprintf("repos/%s/issues/comments/%d/reactions", repo, comment),
		in: map[string]string{"content": content}, calm: true,
	})
}

// comment is what Berth reads of a comment.
type comment struct {
	ID   int64  `json:"id"`
	Body string `json:"body"`
	User struct {
		Login string `json:"login"`
	} `json:"user"`
}

func (c *client) createComment(ctx context.Context, repo string, number int, body string) (int64, error) {
	var made comment
	err := c.do(ctx, call{
		repo: repo, method: http.MethodPost, path: fmt.Sprintf("repos/%s/issues/%d/comments", repo, number),
		in: map[string]string{"body": body}, out: &made,
	})
	return made.ID, err
}

func (c *client) editComment(ctx context.Context, repo string, id int64, body string, calm bool) error {
	return c.do(ctx, call{
		repo: repo, method: http.MethodPatch, path: fmt.Sprintf("repos/%s/issues/comments/%d", repo, id),
		in: map[string]string{"body": body}, calm: calm,
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
	query := url.Values{"per_page": {"100"}}
	if !since.IsZero() {
		query.Set("since", since.UTC().Format(time.RFC3339))
	}
	for page := 1; page <= maxPages; page++ {
		query.Set("page", strconv.Itoa(page))
		var found []comment
		err := c.do(ctx, call{repo: repo, path: fmt.Sprintf("repos/%s/issues/%d/comments", repo, number), query: query, out: &found})
		if err != nil {
			return 0, err
		}
		for _, x := range found {
			if strings.HasPrefix(x.Body, marker) && strings.EqualFold(x.User.Login, me.Login) {
				return x.ID, nil
			}
		}
		if len(found) < 100 {
			return 0, nil
		}
	}
	return 0, nil
}

// deployment is what Berth says of a GitHub Deployment, and reads of one.
type deployment struct {
	ID          int64             `json:"id,omitempty"`
	Ref         string            `json:"ref"`
	Environment string            `json:"environment"`
	Description string            `json:"description"`
	Payload     map[string]string `json:"payload"`
	Transient   bool              `json:"transient_environment"`
	Production  bool              `json:"production_environment"`
	AutoMerge   bool              `json:"auto_merge"`
	Contexts    []string          `json:"required_contexts"` // none: what Berth deploys is decided elsewhere
}

// payloadRequest is the key of a deployment's payload that says whose it is.
const payloadRequest = "berth_request"

func (c *client) createDeployment(ctx context.Context, repo string, d deployment) (int64, error) {
	d.Transient, d.Contexts = true, []string{}
	var made struct {
		ID int64 `json:"id"`
	}
	err := c.do(ctx, call{repo: repo, method: http.MethodPost, path: "repos/" + repo + "/deployments", in: d, out: &made})
	return made.ID, err
}

// ownDeployment finds the deployment of a request; 0 when there is none.
func (c *client) ownDeployment(ctx context.Context, repo, environment, sha, requestID string) (int64, error) {
	var found []struct {
		ID      int64 `json:"id"`
		Payload any   `json:"payload"` // an object, or text that somebody else put there
	}
	query := url.Values{"environment": {environment}, "sha": {sha}, "per_page": {"100"}}
	if err := c.do(ctx, call{repo: repo, path: "repos/" + repo + "/deployments", query: query, out: &found}); err != nil {
		return 0, err
	}
	for _, d := range found {
		if payload, ok := d.Payload.(map[string]any); ok && payload[payloadRequest] == requestID {
			return d.ID, nil
		}
	}
	return 0, nil
}

// deploymentStatus is what is said of how a deployment goes.
type deploymentStatus struct {
	State          string `json:"state"`
	Description    string `json:"description,omitempty"`
	EnvironmentURL string `json:"environment_url,omitempty"`
	LogURL         string `json:"log_url,omitempty"`
	AutoInactive   bool   `json:"auto_inactive"` // it does nothing for transient environments
}

func (c *client) setDeploymentStatus(ctx context.Context, repo string, id int64, s deploymentStatus) error {
	return c.do(ctx, call{
		repo: repo, method: http.MethodPost, path: fmt.Sprintf("repos/%s/deployments/%d/statuses", repo, id), in: s,
	})
}

// commit is what Berth reads of a commit.
type commit struct {
	SHA    string `json:"sha"`
	Commit struct {
		Message string `json:"message"`
		Author  struct {
			Name string `json:"name"`
		} `json:"author"`
		Committer struct {
			Date time.Time `json:"date"`
		} `json:"committer"`
	} `json:"commit"`
}

// commit finds the commit that ref means. One file a page keeps GitHub from
// sending all that the commit changed.
func (c *client) commit(ctx context.Context, repo, ref string) (found commit, err error) {
	segments := strings.Split(ref, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	err = c.do(ctx, call{
		repo: repo, path: "repos/" + repo + "/commits/" + strings.Join(segments, "/"),
		query: url.Values{"per_page": {"1"}}, out: &found,
	})
	return found, err
}

// repository is what Berth reads of a repository.
type repository struct {
	FullName      string          `json:"full_name"`
	DefaultBranch string          `json:"default_branch"`
	Permissions   map[string]bool `json:"permissions"` // of the token's user
}

func (c *client) repository(ctx context.Context, repo string) (found repository, err error) {
	err = c.do(ctx, call{repo: repo, path: "repos/" + repo, out: &found})
	return found, err
}

// tarball opens the archive of a commit. GitHub answers with an address that is
// signed for a few minutes, on another host, which never sees our credentials.
func (c *client) tarball(ctx context.Context, repo, sha string) (*http.Response, error) {
	x := call{repo: repo, path: "repos/" + repo + "/tarball/" + sha}
	if !validRepo(repo) {
		return nil, fmt.Errorf("%q is no repository", repo)
	}
	auth, account, err := c.authorize(ctx, repo)
	if err != nil {
		return nil, err
	}
	if err := c.budget.spend(ctx, account, false, false); err != nil {
		return nil, err
	}
	req, err := c.request(ctx, x)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", auth)
	for hops := 0; ; hops++ {
		resp, err := c.direct.Do(req)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x, err)
		}
		if resp.StatusCode == http.StatusOK {
			return resp, nil
		}
		body := readSome(resp)
		if resp.StatusCode < 300 || resp.StatusCode > 399 {
			return nil, c.refused(ctx, resp, body, account, x)
		}
		next, err := resp.Location()
		if err != nil || hops == 5 || (next.Scheme != "https" && next.Scheme != c.base.Scheme) {
			return nil, fmt.Errorf("%s: an answer that leads nowhere: %d", x, resp.StatusCode)
		}
		again, err := http.NewRequestWithContext(ctx, http.MethodGet, next.String(), nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x, err)
		}
		again.Header.Set("User-Agent", userAgent)
		if next.Scheme == c.base.Scheme && next.Host == c.base.Host && strings.HasPrefix(next.Path, c.base.Path+"repos") {
			again.Header.Set("Authorization", auth) // a repository that has moved
		}
		req = again
	}
}
