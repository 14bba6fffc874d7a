package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/bradleyfalzon/ghinstallation/v2"
	gh "github.com/google/go-github/v60/github"
)

// app signs in as a GitHub App and as its installations.
type app struct {
	fixed         int64 // the configured installation; 0 means that of each repository
	signer        *ghinstallation.AppsTransport
	api           *gh.Client // as the App itself
	base          *url.URL
	mu            sync.Mutex
	installed     map[string]int64 // by owner/repo, or the organisation, in lower case
	installations map[int64]*gh.Client
}

func newApp(a AppCredentials, base *url.URL, via http.RoundTripper) (*app, error) {
	signer, err := ghinstallation.NewAppsTransport(via, a.ID, a.Key)
	if err != nil {
		return nil, fmt.Errorf("github: the app's private key cannot be read: %w", err)
	}
	signer.BaseURL = strings.TrimSuffix(base.String(), "/")
	return &app{
		fixed: a.InstallationID, signer: signer, api: newAPI(base, signer), base: base,
		installed: map[string]int64{}, installations: map[int64]*gh.Client{},
	}, nil
}

// as is the API as an installation. Its token is fetched when it is needed, and
// again a minute before it ends.
func (a *app) as(id int64) *gh.Client {
	a.mu.Lock()
	defer a.mu.Unlock()
	api, ok := a.installations[id]
	if !ok {
		signer := *a.signer // each its own: fetching a token writes to it
		api = newAPI(a.base, ghinstallation.NewFromAppsTransport(&signer, id))
		a.installations[id] = api
	}
	return api
}

// forgetGone forgets an installation for which err says that it is no more: the
// App was uninstalled there, and may be installed anew under another id.
func (a *app) forgetGone(err error) {
	refused, ok := errors.AsType[*ghinstallation.HTTPError](err)
	if !ok || refused.Response == nil || refused.Response.StatusCode != http.StatusNotFound {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.installations, refused.InstallationID)
	clear(a.installed)
}

// installationOf finds the App's installation that reaches what is called.
func (c *client) installationOf(ctx context.Context, x call) (int64, error) {
	a := c.app
	if a.fixed != 0 {
		return a.fixed, nil
	}
	key := strings.ToLower(x.repo + x.org)
	a.mu.Lock()
	id := a.installed[key]
	a.mu.Unlock()
	if id != 0 {
		return id, nil
	}
	find := c.installation
	if x.repo == "" {
		find = c.organisation
	}
	found, err := find(ctx, x.repo+x.org)
	if statusOf(err) == http.StatusNotFound {
		return 0, fmt.Errorf("%w: %w", errNotInstalled, err)
	}
	if err != nil {
		return 0, err
	}
	a.mu.Lock()
	a.installed[key] = found.GetID()
	a.mu.Unlock()
	return found.GetID(), nil
}

// organisation asks for the App's installation on an organisation.
func (c *client) organisation(ctx context.Context, org string) (*gh.Installation, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, _, err := c.app.api.Apps.FindOrganizationInstallation(ctx, org)
	return found, c.failure(ctx, "app", "find the App's installation on "+org, err)
}

// installation asks for the App's installation on repo.
func (c *client) installation(ctx context.Context, repo string) (*gh.Installation, error) {
	if !validRepo(repo) {
		return nil, fmt.Errorf("%q is no repository", repo)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	owner, name, _ := strings.Cut(repo, "/")
	found, _, err := c.app.api.Apps.FindRepositoryInstallation(ctx, owner, name)
	return found, c.failure(ctx, "app", "find the App's installation on "+repo, err)
}
