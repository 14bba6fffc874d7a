package configs

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Route says where notices go that people did not ask for. A notice goes to all
// the places of all the routes that it fits.
type Route struct {
	Apps []string `yaml:"apps" json:"apps,omitempty"` // whose environments; every app's, and what is about none, when empty
	// Events are names such as environment.failed, all of a kind as in
	// environment.*, or "*"; all when empty.
	Events []string `yaml:"events" json:"events,omitempty"`
	// Severity is the least that is told: info (when empty), warning or error.
	Severity string   `yaml:"severity" json:"severity,omitempty" jsonschema:"enum=info,enum=warning,enum=error"`
	To       []Outlet `yaml:"to" json:"to" jsonschema:"minItems=1"`
}

// Outlet is where a notice is told.
type Outlet struct {
	// Surface is github (a comment on the issue or pull request channel), slack or
	// discord (a card in channel), webhook (a signed POST to url), home (where the
	// environment lives) or log.
	Surface string `yaml:"surface" json:"surface" jsonschema:"enum=github,enum=slack,enum=discord,enum=webhook,enum=home,enum=log"`
	// Channel is owner/repo#7 on GitHub, C0123 in Slack (T0002/C0123 in another
	// workspace), the channel's id in Discord.
	Channel string `yaml:"channel" json:"channel,omitempty"`
	// URL is a webhook's address: https, or http on this machine. Where it is a
	// secret it is a reference: {env: NAME} or {file: path}.
	URL Address `yaml:"url" json:"url,omitzero"`
	// Secret is what a webhook's messages are signed with.
	Secret Secret `yaml:"secret" json:"secret,omitzero"`
}

// Place tells where the outlet leads, as far as that is no secret: its channel, or
// how a webhook's address and secret are written. It stays the same while the
// config says the same, wherever in it the outlet stands.
func (o Outlet) Place() string {
	if o.Surface != "webhook" {
		return o.Channel
	}
	return o.URL.String() + " " + o.Secret.String()
}

// String is how the address is written: the reference, where it is one.
func (a Address) String() string {
	if a.From.IsZero() {
		return a.URL
	}
	return a.From.String()
}

// Address is an address of the web, or a reference to one that is a secret.
type Address struct {
	URL  string
	From Secret
}

// UnmarshalYAML reads an Address.
func (a *Address) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		a.URL = n.Value
		return nil
	}
	if err := a.From.UnmarshalYAML(n); err != nil {
		return &yaml.TypeError{Errors: []string{lined(n, "an address is written out, https://…, or is a reference: {env: NAME} or {file: path}")}}
	}
	return nil
}

// IsZero tells whether there is no address.
func (a Address) IsZero() bool { return a == Address{} }

// Value is the address, read from where it is kept. The error says what is wrong
// and never holds any of it.
func (a Address) Value() (string, error) {
	raw := a.URL
	if !a.From.IsZero() {
		var err error
		if raw, err = a.From.Value(); err != nil {
			return "", err
		}
	}
	if why := webFault(raw); why != "" {
		return "", errors.New(why)
	}
	return raw, nil
}

// webFault says what is wrong with a webhook's address without repeating it, ""
// when nothing is.
func webFault(raw string) string {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http") || len(raw) > 2000:
		return "this is not an address; write https://host/path"
	case u.Scheme == "http" && !onThisMachine(u.Hostname()):
		return "it must be https: over http anybody on the way could read along"
	case u.User != nil || u.Fragment != "":
		return "the address has a user's name or a fragment, which a webhook's has not"
	}
	return ""
}

// notices are the events that there are, and which of them are about no
// environment. Package bot has them too, with what each means.
var notices = []string{
	"environment.deployed", "environment.failed", "environment.archived", "environment.cleaned", "environment.expiring", "environment.drifted",
	"request.waiting", "request.glass",
	"reconcile.orphan", "reconcile.stopped", "reconcile.unreachable",
	"schedule.missed", "schedule.not_taken",
}

// Events are the names of the events that a route may name.
func Events() []string { return slices.Clone(notices) }

// surfacesToCome are those that this version does not have.
var surfacesToCome = map[string]string{"mattermost": "Mattermost"}

// outletSurfaces are where a notice can be told.
var outletSurfaces = []string{"github", "slack", "discord", "webhook", "home", "log"}

// channelPattern is an issue or a pull request of a repository.
var channelPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}#[1-9][0-9]{0,9}$`)

const (
	mostRoutes  = 200
	mostOutlets = 20
)

func (d *document) notifications(c *Config) {
	if len(c.Notifications) > mostRoutes {
		d.fault("notifications", "there are %d routes, which is more than %d", len(c.Notifications), mostRoutes)
	}
	for i, route := range c.Notifications {
		path := fmt.Sprintf("notifications[%d]", i)
		d.apps(c, path+".apps", route.Apps)
		for j, event := range route.Events {
			d.event(fmt.Sprintf("%s.events[%d]", path, j), event)
		}
		d.word(path+".severity", route.Severity, []string{"info", "warning", "error"})
		switch {
		case len(route.To) == 0:
			d.fault(path+".to", "say where it is told, such as [{surface: github, channel: \"acme/ops#7\"}]")
		case len(route.To) > mostOutlets:
			d.fault(path+".to", "there are %d places, which is more than %d", len(route.To), mostOutlets)
		}
		for j, outlet := range route.To {
			d.outlet(c, fmt.Sprintf("%s.to[%d]", path, j), outlet)
		}
	}
}

// event checks the name of an event, or of a kind of them.
func (d *document) event(path, event string) {
	if event == "*" || slices.Contains(notices, event) {
		return
	}
	if kind, all := strings.CutSuffix(event, ".*"); all && slices.ContainsFunc(notices, func(n string) bool { return strings.HasPrefix(n, kind+".") }) {
		return
	}
	kinds := slices.Concat(notices, []string{"environment.*", "request.*", "reconcile.*", "schedule.*"})
	if near := nearName(event, kinds); near != "" {
		d.fault(path, "there is no event %q; did you mean %q?", event, near)
		return
	}
	for _, known := range notices { // "failed" for "environment.failed"
		if _, last, _ := strings.Cut(known, "."); last == event {
			d.fault(path, "there is no event %q; did you mean %q?", event, known)
			return
		}
	}
	d.fault(path, "there is no event %q; there are: %s", event, strings.Join(notices, ", "))
}

func (d *document) outlet(c *Config, path string, o Outlet) {
	if name, later := surfacesToCome[o.Surface]; later {
		d.fault(path+".surface", "this version has no %s surface; tell it on %s", name, oneOf(outletSurfaces))
		return
	}
	switch o.Surface {
	case "":
		d.fault(path+".surface", "say where: %s", oneOf(outletSurfaces))
		return
	case "github":
		switch {
		case c.GitHub == nil:
			d.fault(path+".surface", "github needs the section github, with which Berth writes there")
		case !channelPattern.MatchString(o.Channel):
			d.fault(path+".channel", "%q is not an issue or a pull request; write owner/repo#7", o.Channel)
		}
	case "slack":
		d.chatOutlet(path, o, c.Slack != nil, slackChannelPattern, "C0123, or T0002/C0123 of another workspace")
	case "discord":
		d.chatOutlet(path, o, c.Discord != nil, snowflakePattern, "its id in quotes")
	case "webhook":
		d.webhook(path, o)
	default:
		d.word(path+".surface", o.Surface, outletSurfaces)
	}
	if o.Channel != "" && !slices.Contains([]string{"github", "slack", "discord"}, o.Surface) {
		d.fault(path+".channel", "only github, slack and discord have channels; leave it out")
	}
	if o.Surface != "webhook" && (d.written(path+".url") || d.written(path+".secret")) {
		d.fault(path, "url and secret are for the surface webhook; leave them out")
	}
}

func (d *document) chatOutlet(path string, o Outlet, section bool, pattern *regexp.Regexp, how string) {
	switch {
	case !section:
		d.fault(path+".surface", "%[1]s needs the section %[1]s, with which Berth writes there", o.Surface)
	case !pattern.MatchString(o.Channel):
		d.fault(path+".channel", "%q is not a channel; write %s", o.Channel, how)
	}
}

// oneOf is "a, b or c".
func oneOf(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

func (d *document) webhook(path string, o Outlet) {
	switch {
	case o.URL.IsZero() && !d.written(path+".url"):
		d.fault(path+".url", "say where to: https://host/path, or a reference to it, {env: NAME}")
	case o.URL.From.IsZero() && !d.faulted(path+".url"):
		if u, err := url.Parse(o.URL.URL); err == nil && (u.RawQuery != "" || u.User != nil) {
			d.fault(path+".url", "an address with a user's name or a query may hold a secret, so it is a reference: {env: NAME} or {file: path}")
		} else if why := webFault(o.URL.URL); why != "" {
			d.fault(path+".url", "%s", why)
		}
	}
	if o.Secret.IsZero() && !d.written(path+".secret") {
		d.fault(path+".secret", "it is needed: without it the receiver could not tell Berth's messages from anybody's; write {env: NAME} or {file: path}")
	}
}
