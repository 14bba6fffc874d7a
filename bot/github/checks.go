package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-dev/berth/bot"
)

// keepChecks is how long what was found stays good: readiness is asked for
// every few seconds, and each look costs calls.
const keepChecks = time.Minute

// waitChecks is how long a first look is waited for. GitHub's silence must not
// become that of whoever asks how Berth is.
const waitChecks = 3 * time.Second

// checkCache is what was found last, and the look that is under way.
type checkCache struct {
	mu      sync.Mutex
	at      time.Time
	found   []bot.Check
	looking chan struct{} // closed at its end; nil when nobody looks
}

// Checks looks at whether GitHub can be reached, as whom, and whether each
// repository that an app names can be worked with. Berth starts and stays ready
// without GitHub, so none is needed. What it says may be a minute old, or more
// while GitHub does not answer.
func (s *Surface) Checks(ctx context.Context) []bot.Check {
	c := &s.checks
	c.mu.Lock()
	known, fresh := c.found, c.found != nil && s.now().Sub(c.at) < keepChecks
	if !fresh && c.looking == nil {
		c.looking = make(chan struct{})
		go s.refreshChecks(context.WithoutCancel(ctx))
	}
	looking := c.looking
	c.mu.Unlock()
	if fresh {
		return slices.Clone(known)
	}
	timer := time.NewTimer(waitChecks)
	defer timer.Stop()
	select {
	case <-looking:
	case <-ctx.Done():
	case <-timer.C:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found == nil {
		return []bot.Check{{Name: "github", Detail: s.client.base.Host + " has not answered yet", Fix: "check github.api_url and the way from here to GitHub"}}
	}
	return slices.Clone(c.found)
}

func (s *Surface) refreshChecks(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, keepChecks)
	defer cancel()
	found := s.lookForFaults(ctx)
	c := &s.checks
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found, c.at = found, s.now()
	close(c.looking)
	c.looking = nil
}

func (s *Surface) lookForFaults(ctx context.Context) []bot.Check {
	me, err := s.client.askWho(ctx)
	if err != nil {
		return []bot.Check{{Name: "github", Detail: s.client.base.Host + ": " + short(err), Fix: fixOf(err, "")}}
	}
	all := []bot.Check{{Name: "github", OK: true, Detail: "signed in to " + s.client.base.Host + " as " + me + s.rateLeft(ctx)}}
	var repos []string
	for _, app := range s.catalog.Apps() {
		if app.Repo != "" && !slices.Contains(repos, app.Repo) {
			repos = append(repos, app.Repo)
		}
	}
	for _, repo := range repos {
		all = append(all, s.checkRepo(ctx, repo))
	}
	return append(all, s.checkTeams(ctx)...)
}

// checkTeams looks at the teams that policies name. GitHub answers alike for
// somebody who is in none and for a team that it hides: then nobody could agree.
func (s *Surface) checkTeams(ctx context.Context) (all []bot.Check) {
	seen := map[string]bool{}
	for _, group := range s.groups {
		team, ok := strings.CutPrefix(group, "github-team:")
		if !ok || seen[strings.ToLower(team)] || !ownerTeam.MatchString("@"+team) {
			continue
		}
		seen[strings.ToLower(team)] = true
		check := bot.Check{Name: "github team " + team, OK: true, Detail: "can be seen"}
		org, slug, _ := strings.Cut(team, "/")
		if err := s.client.team(ctx, org, slug); err != nil {
			check.OK, check.Detail, check.Fix = false, short(err), fixOf(err, "")
			if status := statusOf(err); status == http.StatusNotFound || status == http.StatusForbidden {
				check.Fix = "check the team's name in `policies`, and grant Members: read of the organisation " + org + " (read:org for a classic token): until then nobody counts by it"
			}
			if errors.Is(err, errNotInstalled) {
				check.Fix = "install the GitHub App on the organisation " + org
			}
		}
		all = append(all, check)
	}
	return all
}

// rateLeft says what is left of the token's hour; an App's is each
// installation's own.
func (s *Surface) rateLeft(ctx context.Context) string {
	if s.client.app != nil {
		return ""
	}
	most, left, err := s.client.rateLimit(ctx)
	if err != nil || most == 0 {
		return "" // an Enterprise server may have none
	}
	return fmt.Sprintf(", %d of %d calls left this hour", left, most)
}

// checkRepo looks at one repository. A token's user must be able to write, since
// Berth comments and deploys; an App says what its installation was granted.
func (s *Surface) checkRepo(ctx context.Context, repo string) bot.Check {
	check := bot.Check{Name: "github repository " + repo}
	r, err := s.client.repository(ctx, repo)
	if err != nil {
		check.Detail, check.Fix = short(err), fixOf(err, repo)
		return check
	}
	if s.client.app == nil {
		if r.Permissions != nil && !r.Permissions["push"] {
			check.Detail = "it can be read, but not written to"
			check.Fix = "give the token's user write access to " + repo + ", or the token Contents: read, Issues, Pull requests and Deployments: write on it"
			return check
		}
	} else if missing := s.missing(ctx, repo); len(missing) > 0 {
		check.Detail = "the GitHub App lacks " + strings.Join(missing, ", ")
		check.Fix = "grant it on the App's page under Permissions & events, and accept it for the installation"
		return check
	}
	if !strings.EqualFold(r.GetFullName(), repo) {
		check.Detail = "it is called " + r.GetFullName() + " now, and webhooks say so"
		check.Fix = "write `repo: " + r.GetFullName() + "` in the config"
		return check
	}
	check.OK, check.Detail = true, "can be reached"
	check.Detail, check.Fix = s.withWebhooks(ctx, repo, check.Detail)
	return check
}

// withWebhooks adds to what is said of a repository whether deliveries of its
// webhooks that never arrived can be fetched. Without that Berth works, only later:
// it is no fault. An App lists those of its own webhook without further rights.
func (s *Surface) withWebhooks(ctx context.Context, repo, detail string) (with, fix string) {
	if s.client.app != nil {
		return detail, ""
	}
	_, err := s.client.repoHooks(ctx, repo)
	switch status := statusOf(err); {
	case status == http.StatusNotFound || status == http.StatusForbidden:
		return detail + ", but not its webhooks: deliveries that never arrived cannot be fetched, and are made up for by comparing pull requests",
			"to have them fetched, grant the token Webhooks: read (read:repo_hook of a classic one), and its user administration of " + repo
	case err != nil:
		return detail + "; its webhooks could not be looked at: " + short(err), ""
	}
	return detail, ""
}

// missing is what an App's installation on repo was not granted.
func (s *Surface) missing(ctx context.Context, repo string) (lacks []string) {
	installation, err := s.client.installation(ctx, repo)
	if err != nil {
		return nil // what it may do shows when it does it
	}
	has := installation.GetPermissions()
	for _, g := range []struct{ permission, want, has string }{
		{"metadata", "read", has.GetMetadata()},
		{"contents", "read", has.GetContents()},
		{"pull_requests", "read", has.GetPullRequests()},
		{"issues", "write", has.GetIssues()},
		{"deployments", "write", has.GetDeployments()},
	} {
		if g.has == "" || (g.want == "write" && g.has == "read") {
			lacks = append(lacks, g.permission+": "+g.want)
		}
	}
	// A comment on a pull request can be written with either.
	if has.GetPullRequests() == "write" {
		lacks = slices.DeleteFunc(lacks, func(l string) bool { return l == "issues: write" })
	}
	return lacks
}

// short is err for a line of a report: without what a URL may hold.
func short(err error) string {
	if e, ok := errors.AsType[*apiError](err); ok {
		return fmt.Sprintf("GitHub answered %d (%s)", e.Status, e.Message)
	}
	if e, ok := errors.AsType[*limitedError](err); ok {
		return e.Error()
	}
	return clip(err.Error(), 200)
}

// fixOf says what to do about err.
func fixOf(err error, repo string) string {
	switch status := statusOf(err); {
	case errors.Is(err, errNotInstalled):
		return "install the GitHub App on " + repo
	case status == http.StatusUnauthorized:
		return "renew github.token, or check the App's id and key"
	case status == http.StatusNotFound && repo != "":
		return "check the name of " + repo + ", and give the token or GitHub App access to it"
	case status == http.StatusForbidden:
		return "grant the token or GitHub App access"
	default:
		return "check github.api_url and the way from here to GitHub"
	}
}
