package slack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// keepCheck is how long a look at Slack counts: /readyz is asked every few
// seconds.
const keepCheck = 20 * time.Second

// checkCache is what the last look found.
type checkCache struct {
	mu    sync.Mutex
	at    time.Time
	found []bot.Check
}

// Checks tells whether Slack takes the tokens, lets Berth do all that it does,
// and delivers. Berth is ready without it.
func (s *Surface) Checks(ctx context.Context) []bot.Check {
	s.checks.mu.Lock()
	defer s.checks.mu.Unlock()
	if age := s.now().Sub(s.checks.at); s.checks.found != nil && age >= 0 && age < keepCheck {
		return slices.Clone(s.checks.found)
	}
	all := s.workspaces.all()
	teams := slices.Sorted(maps.Keys(all))
	found := make([]bot.Check, len(teams))
	var group sync.WaitGroup
	for i, team := range teams {
		group.Go(func() { found[i] = s.check(ctx, team, all[team]) })
	}
	group.Wait()
	if ctx.Err() == nil { // what was cut short says nothing about Slack
		s.checks.at, s.checks.found = s.now(), found
	}
	return slices.Clone(found)
}

// check looks at one workspace.
func (s *Surface) check(ctx context.Context, team string, w *workspace) bot.Check {
	c := bot.Check{Name: bot.PlatformSlack}
	if team != "" {
		c.Name += " " + team
	}
	began := time.Now()
	call, cancel := context.WithTimeout(ctx, learnWithin)
	defer cancel()
	h, err := s.workspaces.ask(call, w.token)
	if err != nil {
		c.Detail = brief("auth.test", err)
		c.Fix = "Look whether this machine reaches " + s.apiURL.Host + "."
		if wordOf(err) != "" {
			c.Fix = "Put the bot token (xoxb-…) that the app's page shows under “OAuth & Permissions” into the section `slack`."
		}
		return c
	}
	c.Detail = fmt.Sprintf("%s as %s (%s), %d ms", strings.TrimSuffix(h.url, "/"), h.user, h.team, time.Since(began).Milliseconds())
	var trouble error
	if team == "" && s.socket != nil {
		trouble = s.socket.standing(call)
	}
	var missing []string
	for _, scope := range Scopes() {
		if len(h.scopes) > 0 && !slices.Contains(h.scopes, scope) {
			missing = append(missing, scope)
		}
	}
	switch {
	case h.unsaid != nil:
		c.Detail = brief("auth.test", h.unsaid) + "; accounts are taken to be of the workspace that they come from"
		c.Fix = "Look whether `slack.api_url` is right: Slack itself knows that."
	case team != "" && !h.is(team):
		c.Detail = fmt.Sprintf("the token for %s is of the workspace %s", team, h.team)
		c.Fix = "Put the token under the workspace that it is of, in `slack.workspaces`."
	case len(missing) > 0:
		c.Detail += "; scopes that are missing: " + strings.Join(missing, ", ")
		c.Fix = "Put the manifest that `berth slack manifest` prints into the app's settings, and install the app again."
	case trouble != nil:
		c.Detail += "; Socket Mode is not connected: " + brief("apps.connections.open", trouble)
		c.Fix = "Look whether Socket Mode is on in the app's settings, and whether this machine may open WebSockets to Slack."
		if wordOf(trouble) != "" {
			c.Fix = "Make an app-level token (xapp-…) with the scope connections:write under “Basic Information” on the app's page, put it into `slack.app_token`, and turn Socket Mode on there."
		}
	default:
		c.OK = true
	}
	return c
}

// brief is why a call of method failed, for whoever runs Berth.
func brief(method string, err error) string {
	if r, ok := errors.AsType[*refused](err); ok {
		return r.Error()
	}
	if e, ok := errors.AsType[*actions.Error](err); ok && e.Err != nil {
		return method + ": " + e.Err.Error()
	}
	return err.Error()
}
