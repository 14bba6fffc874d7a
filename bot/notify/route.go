package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/berth-dev/berth/bot"
)

// Route says where notices go. One goes to all the places of all the routes that
// it fits, once to each.
type Route struct {
	Apps     []string     // whose environments; none means every app's, and what is about no environment
	Events   []string     // "environment.failed", "environment.*" or "*"; none means all
	Severity bot.Severity // the least; "" means all
	To       []Target
}

// Target is a channel of an outlet.
type Target struct {
	Outlet  string // a name among Options.Outlets
	Channel string
}

// String tells the target from others.
func (t Target) String() string { return t.Outlet + " " + t.Channel }

func parseTarget(s string) Target {
	outlet, channel, _ := strings.Cut(s, " ")
	return Target{Outlet: outlet, Channel: channel}
}

// ranks are the severities in their order.
var ranks = map[bot.Severity]int{bot.SeverityInfo: 0, bot.SeverityWarning: 1, bot.SeverityError: 2}

// fits tells whether r is about n.
func (r Route) fits(n bot.Notice) bool {
	if len(r.Apps) > 0 && (n.Env.IsZero() || !slices.Contains(r.Apps, n.Env.App)) {
		return false
	}
	return ranks[n.Severity] >= ranks[r.Severity] && r.wants(n.Event)
}

// wants tells whether r is about an event.
func (r Route) wants(event string) bool {
	return len(r.Events) == 0 || slices.ContainsFunc(r.Events, func(pattern string) bool {
		kind, all := strings.CutSuffix(pattern, "*")
		return pattern == event || all && strings.HasPrefix(event, kind) && (kind == "" || strings.HasSuffix(kind, "."))
	})
}

// id is the same for routes that say the same.
func (r Route) id() string {
	text, err := json.Marshal(r)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// table is where notices go.
type table struct {
	routes  []Route
	outlets map[string]Outlet
}

func newTable(routes []Route, outlets map[string]Outlet, log *slog.Logger) *table {
	t := &table{routes: slices.Clone(routes), outlets: map[string]Outlet{OutletLog: &Log{log: log}}}
	maps.Copy(t.outlets, outlets)
	return t
}

// targets are the places where n is told: those of the routes, and home where it
// is about an environment. What would be told nowhere goes to the log. What
// concerns operators alone does not go home.
func (t *table) targets(n bot.Notice) []Target {
	targets := t.routed(n, t.routes)
	operators := strings.HasPrefix(n.Event, "reconcile.") || strings.HasPrefix(n.Event, "schedule.")
	if !n.Env.IsZero() && !operators {
		targets = t.add(targets, Target{Outlet: OutletHome}, n)
	}
	if len(targets) == 0 {
		targets = []Target{{Outlet: OutletLog}}
	}
	return targets
}

// routed are the places that routes say.
func (t *table) routed(n bot.Notice, routes []Route) (targets []Target) {
	for _, r := range routes {
		if r.fits(n) {
			for _, to := range r.To {
				targets = t.add(targets, to, n)
			}
		}
	}
	return targets
}

// add is targets with one more, unless it is there. Each environment's home is a
// place of its own; what is about none, and what lives where nobody can tell
// anything, goes to the log.
func (t *table) add(targets []Target, to Target, n bot.Notice) []Target {
	if to.Outlet == OutletHome {
		to.Channel = n.Env.String()
	}
	if _, there := t.outlets[to.Outlet]; !there || to.Outlet == OutletHome && n.Env.IsZero() {
		to = Target{Outlet: OutletLog}
	}
	if slices.Contains(targets, to) {
		return targets
	}
	return append(targets, to)
}
