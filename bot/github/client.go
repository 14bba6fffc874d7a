package github

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	gh "github.com/google/go-github/v60/github"
)

const (
	// callTimeout is how long one call of the API may take.
	callTimeout = 10 * time.Second
	userAgent   = "berth"
)

// repoPattern is what the name of a repository looks like, so that nothing
// else ever becomes part of a path of the API.
var repoPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,99}/[A-Za-z0-9._-]{1,100}$`)

func validRepo(repo string) bool {
	_, name, _ := strings.Cut(repo, "/")
	return repoPattern.MatchString(repo) && name != "." && name != ".."
}

// client is what Berth says and asks of GitHub: go-github, within our budget of
// writes, with the limits and errors that the rest of the package works with.
// It is either a token's or a GitHub App's.
type client struct {
	base     *url.URL     // ends in "/"
	user     *gh.Client   // as the token's user; nil with an App
	app      *app         // nil with a token
	download *http.Client // sends no credentials
	budget   *budget
	log      *slog.Logger
	mu       sync.Mutex
	me       string // its login, once known
}

// newClient makes the client of a Surface's options. It speaks to nobody yet.
func newClient(o Options, s *Surface) (*client, error) {
	address := o.APIURL
	if address == "" {
		address = DefaultAPIURL
	}
	base, err := url.Parse(strings.TrimSuffix(address, "/") + "/")
	if err != nil || base.Host == "" || (base.Scheme != "https" && base.Scheme != "http") {
		return nil, fmt.Errorf("github: api_url %q is no address", address)
	}
	next := http.DefaultTransport
	if o.HTTP != nil && o.HTTP.Transport != nil {
		next = o.HTTP.Transport
	}
	c := &client{
		base: base, log: s.log, download: newDownload(base, next),
		budget: &budget{rdb: o.Redis, now: s.now, log: s.log, replica: s.replica},
	}
	via := &transport{base: base, next: next}
	switch {
	case o.App != nil && o.Token != "":
		return nil, errors.New("github: a token and an app are both given; one of them signs in")
	case o.App == nil && o.Token == "":
		return nil, errors.New("github: neither a token nor an app is given to sign in with")
	case o.App == nil:
		c.user = newAPI(base, via).WithAuthToken(o.Token)
	default:
		c.app, err = newApp(*o.App, base, via)
	}
	return c, err
}

// newAPI makes a go-github client of the API at base. Its WithEnterpriseURLs
// would guess at the path, which the config says.
func newAPI(base *url.URL, via http.RoundTripper) *gh.Client {
	api := gh.NewClient(&http.Client{Transport: via})
	api.BaseURL, api.UserAgent = base, userAgent
	return api
}

// call is one call of the API.
type call struct {
	what  string // for errors and the log
	repo  string // "owner/name": whose credentials to use
	org   string // the same where there is no repo; without either, a token only
	write bool
	// calm lets a write wait for quieter times rather than take the last that
	// the budget has.
	calm bool
}

// place is a repository and the API as who may work there.
type place struct {
	*gh.Client
	owner, name string
}

// do performs a call. Writes wait for the budget, or return *limitedError when
// that would take long; an answer that is no success is *apiError.
func (c *client) do(ctx context.Context, x call, f func(context.Context, place) error) error {
	if x.repo != "" && !validRepo(x.repo) {
		return fmt.Errorf("%q is no repository", x.repo)
	}
	if x.org != "" && !loginPattern.MatchString(x.org) {
		return fmt.Errorf("%q is no organisation", x.org)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	api, account, err := c.authorize(ctx, x)
	if err != nil {
		return err
	}
	if err := c.budget.spend(ctx, account, x.write, x.calm); err != nil {
		return err
	}
	owner, name, _ := strings.Cut(x.repo, "/")
	err = f(ctx, place{Client: api, owner: owner, name: name})
	if c.app != nil {
		c.app.forgetGone(err)
	}
	return c.failure(ctx, account, strings.TrimSpace(x.what+" "+x.repo+x.org), err)
}

// authorize returns the API as who may make the call, and the account whose
// limits that counts against.
func (c *client) authorize(ctx context.Context, x call) (api *gh.Client, account string, err error) {
	if c.app == nil {
		return c.user, "token", nil
	}
	id, err := c.installationOf(ctx, x)
	if err != nil {
		return nil, "", err
	}
	return c.app.as(id), fmt.Sprintf("installation-%d", id), nil
}

// whoami is the login that the client has: its comments are known by their author.
func (c *client) whoami(ctx context.Context) (string, error) {
	c.mu.Lock()
	known := c.me
	c.mu.Unlock()
	if known != "" {
		return known, nil
	}
	me, err := c.askWho(ctx)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	c.me = me
	c.mu.Unlock()
	return me, nil
}

func (c *client) askWho(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	const what = "ask who Berth is"
	if c.app == nil {
		user, _, err := c.user.Users.Get(ctx, "")
		return user.GetLogin(), c.failure(ctx, "token", what, err)
	}
	app, _, err := c.app.api.Apps.Get(ctx, "")
	return app.GetSlug() + "[bot]", c.failure(ctx, "app", what, err)
}

// web is the address of GitHub's pages, without a slash at its end.
func (c *client) web() string {
	u := *c.base
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/api/v3")
	if u.Host == "api.github.com" {
		u.Host = "github.com"
	}
	return strings.TrimSuffix(u.String(), "/")
}
