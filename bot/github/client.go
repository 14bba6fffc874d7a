package github

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
)

const (
	// callTimeout is how long one call of the API may take.
	callTimeout = 10 * time.Second
	// maxAnswer is the most that is read of an answer, in bytes.
	maxAnswer = 16 << 20
	// apiVersion is the version of the REST API that is spoken.
	// Source: https://docs.github.com/rest/about-the-rest-api/api-versions
	apiVersion = "2022-11-28"
	userAgent  = "berth"
	// mediaType asks for what the API description describes.
	mediaType = "application/vnd.github+json"
)

// repoPattern is what the name of a repository looks like, so that nothing
// else ever becomes part of a path of the API.
var repoPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,99}/[A-Za-z0-9._-]{1,100}$`)

func validRepo(repo string) bool {
	_, name, _ := strings.Cut(repo, "/")
	return repoPattern.MatchString(repo) && name != "." && name != ".."
}

// client speaks the dozen calls that Berth needs, each with the few fields that
// it reads: nothing of what GitHub says beyond them is decoded or kept. It is
// either a token's or a GitHub App's.
type client struct {
	base   *url.URL     // ends in "/"
	http   *http.Client // follows redirects; the standard library keeps the token from other hosts
	direct *http.Client // does not
	token  string
	app    *appAuth // nil with a token
	budget *budget
	log    *slog.Logger
	mu     sync.Mutex
	me     *identity // once known
}

// identity is who the client is.
type identity struct {
	Login string
	AppID int64
}

// appAuth signs in as the installations of a GitHub App.
type appAuth struct {
	id           int64
	fixed        int64 // the configured installation; 0 means that of each repository
	jwt          *http.Client
	transport    *ghinstallation.AppsTransport
	mu           sync.Mutex
	installed    map[string]int64 // by owner/repo in lower case
	installation map[int64]*ghinstallation.Transport
}

// call is one request of the API.
type call struct {
	repo   string // "owner/name": whose credentials to use
	method string // "" means GET
	path   string // below the base, escaped
	query  url.Values
	in     any
	out    any
	// calm lets a write wait for quieter times rather than take the last that
	// the budget has.
	calm bool
}

// apiError is an answer of GitHub that is no success.
type apiError struct {
	Status  int
	Message string
	Call    string
}

func (e *apiError) Error() string { return fmt.Sprintf("%s: %d %s", e.Call, e.Status, e.Message) }

// limitedError says that GitHub, or our own budget, wants a pause first.
type limitedError struct{ after time.Duration }

func (e *limitedError) Error() string { return fmt.Sprintf("wait %v before the next call", e.after) }

// statusOf is the status of an apiError in err's chain, else 0.
func statusOf(err error) int {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e.Status
	}
	return 0
}

// final tells whether trying again soon cannot help.
func final(err error) bool {
	switch status := statusOf(err); status {
	case 0, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	default:
		return status < 500
	}
}

// do performs a call. Writes wait for the budget, or return *limitedError when
// that would take long; an answer that is no success is *apiError.
func (c *client) do(ctx context.Context, x call) error {
	if x.repo != "" && !validRepo(x.repo) {
		return fmt.Errorf("%q is no repository", x.repo)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	auth, account, err := c.authorize(ctx, x.repo)
	if err != nil {
		return err
	}
	if err := c.budget.spend(ctx, account, x.method != "", x.calm); err != nil {
		return err
	}
	return c.send(ctx, c.http, auth, account, x)
}

// send performs a call whose credentials are there.
func (c *client) send(ctx context.Context, via *http.Client, auth, account string, x call) error {
	req, err := c.request(ctx, x)
	if err != nil {
		return err
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	resp, err := via.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", x, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("%s: %w", x, err)
	}
	if len(body) > maxAnswer {
		return fmt.Errorf("%s: an answer of more than %d bytes", x, maxAnswer)
	}
	if resp.StatusCode >= 300 {
		return c.refused(ctx, resp, body, account, x)
	}
	if x.out == nil {
		return nil
	}
	if err := json.Unmarshal(body, x.out); err != nil {
		return fmt.Errorf("%s: %w", x, err)
	}
	return nil
}

func (x call) String() string {
	method := x.method
	if method == "" {
		method = http.MethodGet
	}
	return method + " /" + x.path
}

func (c *client) request(ctx context.Context, x call) (*http.Request, error) {
	target, err := c.base.Parse(x.path)
	if err != nil {
		return nil, err
	}
	target.RawQuery = x.query.Encode()
	var body io.Reader
	if x.in != nil {
		data, err := json.Marshal(x.in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, x.method, target.String(), body)
	if err != nil {
		return nil, err
	}
	if x.in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", mediaType)
	req.Header.Set("X-GitHub-Api-Version", apiVersion)
	req.Header.Set("User-Agent", userAgent)
	return req, nil
}

// refused makes an error of an answer that is no success, and remembers when
// GitHub wants a pause.
// Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
func (c *client) refused(ctx context.Context, resp *http.Response, body []byte, account string, x call) error {
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &said) != nil || said.Message == "" {
		said.Message = http.StatusText(resp.StatusCode)
	}
	failure := &apiError{Status: resp.StatusCode, Message: said.Message, Call: x.String()}
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusTooManyRequests {
		return failure
	}
	pause := time.Duration(0)
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		pause = time.Duration(max(1, seconds)) * time.Second
	} else if reset, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil && resp.Header.Get("X-RateLimit-Remaining") == "0" {
		pause = max(time.Second, time.Until(time.Unix(reset, 0)))
	} else if strings.Contains(strings.ToLower(said.Message), "secondary rate limit") || resp.StatusCode == http.StatusTooManyRequests {
		pause = time.Minute
	}
	if pause == 0 {
		return failure // it is forbidden, not too much
	}
	pause = min(pause, time.Hour)
	c.log.WarnContext(ctx, "GitHub wants a pause", "account", account, "seconds", int(pause.Seconds()), "call", x.String(), "said", said.Message)
	c.budget.block(ctx, account, pause)
	return &limitedError{after: pause}
}

// authorize returns the credentials for repo, and the account whose limits they
// count against.
func (c *client) authorize(ctx context.Context, repo string) (auth, account string, err error) {
	if c.app == nil {
		return "Bearer " + c.token, "token", nil
	}
	id, err := c.installationOf(ctx, repo)
	if err != nil {
		return "", "", err
	}
	token, err := c.app.tokenOf(ctx, id)
	if err != nil {
		return "", "", err
	}
	return "Bearer " + token, "installation-" + strconv.FormatInt(id, 10), nil
}

// errNotInstalled says that the App cannot reach a repository.
var errNotInstalled = errors.New("the GitHub App is not installed there")

// installationOf finds the App's installation that reaches repo.
func (c *client) installationOf(ctx context.Context, repo string) (int64, error) {
	a := c.app
	if a.fixed != 0 {
		return a.fixed, nil
	}
	key := strings.ToLower(repo)
	a.mu.Lock()
	id := a.installed[key]
	a.mu.Unlock()
	if id != 0 {
		return id, nil
	}
	var found struct {
		ID int64 `json:"id"`
	}
	err := c.send(ctx, a.jwt, "", "app", call{path: "repos/" + repo + "/installation", out: &found})
	if statusOf(err) == http.StatusNotFound {
		return 0, fmt.Errorf("%w: %w", errNotInstalled, err)
	}
	if err != nil {
		return 0, err
	}
	a.mu.Lock()
	a.installed[key] = found.ID
	a.mu.Unlock()
	return found.ID, nil
}

// tokenOf returns a token of an installation that is valid for a minute at
// least.
func (a *appAuth) tokenOf(ctx context.Context, id int64) (string, error) {
	a.mu.Lock()
	t, ok := a.installation[id]
	if !ok {
		t = ghinstallation.NewFromAppsTransport(a.transport, id)
		a.installation[id] = t
	}
	a.mu.Unlock()
	token, err := t.Token(ctx)
	if err == nil {
		return token, nil
	}
	if refused, ok := errors.AsType[*ghinstallation.HTTPError](err); ok && refused.Response != nil {
		defer refused.Response.Body.Close()
		if refused.Response.StatusCode == http.StatusNotFound {
			// It was uninstalled; it may be installed anew under another id.
			a.mu.Lock()
			delete(a.installation, id)
			clear(a.installed)
			a.mu.Unlock()
		}
		return "", &apiError{Status: refused.Response.StatusCode, Message: "no token for the installation", Call: fmt.Sprintf("POST /app/installations/%d/access_tokens", id)}
	}
	return "", err
}

// whoami finds out who the client is: its comments are known by their author.
func (c *client) whoami(ctx context.Context) (identity, error) {
	c.mu.Lock()
	known := c.me
	c.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	me, err := c.askWho(ctx)
	if err != nil {
		return identity{}, err
	}
	c.mu.Lock()
	c.me = &me
	c.mu.Unlock()
	return me, nil
}

func (c *client) askWho(ctx context.Context) (identity, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if c.app == nil {
		var user struct {
			Login string `json:"login"`
		}
		err := c.send(ctx, c.http, "Bearer "+c.token, "token", call{path: "user", out: &user})
		return identity{Login: user.Login}, err
	}
	var app struct {
		ID   int64  `json:"id"`
		Slug string `json:"slug"`
	}
	err := c.send(ctx, c.app.jwt, "", "app", call{path: "app", out: &app})
	return identity{Login: app.Slug + "[bot]", AppID: app.ID}, err
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

// readSome reads the beginning of an answer that is no success, and closes it.
func readSome(resp *http.Response) []byte {
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what there is will do
	return body
}
