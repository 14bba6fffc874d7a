package slack

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

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
	var found []bot.Check
	all := s.workspaces.all()
	for _, team := range slices.Sorted(maps.Keys(all)) {
		found = append(found, s.check(ctx, team, all[team]))
	}
	s.checks.at, s.checks.found = s.now(), found
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
		c.Detail = "auth.test: " + err.Error()
		c.Fix = "Look whether the bot token is the one that the app's page shows under “OAuth & Permissions”, and whether this machine reaches " + s.apiURL.Host + "."
		return c
	}
	c.Detail = fmt.Sprintf("%s as %s (%s), %d ms", strings.TrimSuffix(h.url, "/"), h.user, h.team, time.Since(began).Milliseconds())
	var missing []string
	for _, scope := range Scopes() {
		if len(h.scopes) > 0 && !slices.Contains(h.scopes, scope) {
			missing = append(missing, scope)
		}
	}
	switch {
	case team != "" && !h.is(team):
		c.Detail = fmt.Sprintf("the token for %s is of the workspace %s", team, h.team)
		c.Fix = "Put the token under the workspace that it is of, in `slack.workspaces`."
	case len(missing) > 0:
		c.Detail += "; scopes that are missing: " + strings.Join(missing, ", ")
		c.Fix = "Put the manifest that `berth slack manifest` prints into the app's settings, and install the app again."
	case team == "" && s.socket != nil && !s.socket.connected():
		c.Detail += "; Socket Mode is not connected: " + s.socket.trouble()
		c.Fix = "Look whether the app-level token has the scope connections:write, and whether Socket Mode is on in the app's settings."
	default:
		c.OK = true
	}
	return c
}
