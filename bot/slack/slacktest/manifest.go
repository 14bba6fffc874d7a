package slacktest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// The limits of manifests that their types do not say.
// https://docs.slack.dev/reference/app-manifest
const (
	maxAppName         = 35
	maxDescription     = 140
	minLongDescription = 174
	maxLongDescription = 4000
	maxShortcuts       = 10
	maxShortcutName    = 24
	maxShortcutAbout   = 150
	maxCommands        = 50
	maxCommand         = 32
	maxCommandAbout    = 2000
	maxUsage           = 1000
	maxDomains         = 5
	maxBotName         = 80
	maxBotEvents       = 100
)

// eventScopes are what an app must ask for to be told of an event.
// https://docs.slack.dev/reference/events
var eventScopes = map[string]string{
	"app_mention": "app_mentions:read", "message.im": "im:history", "message.channels": "channels:history", "message.groups": "groups:history",
	"link_shared": "links:read", "team_join": "users:read", "user_change": "users:read", "subteam_updated": "usergroups:read", "subteam_created": "usergroups:read",
	"subteam_members_changed": "usergroups:read", "reaction_added": "reactions:read",
}

// CheckManifest is all that Slack would not like in a manifest, in YAML or JSON;
// nothing is none.
func CheckManifest(manifest []byte) []string {
	_, wrong := readManifest(manifest)
	return wrong
}

func readManifest(manifest []byte) (m obj, wrong []string) {
	raw, err := yaml.YAMLToJSONStrict(manifest)
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil {
		return nil, []string{err.Error()}
	}
	d, err := described()
	if err != nil {
		return nil, []string{err.Error()}
	}
	found := d.check(d.Types["manifest"], "", m)
	if found == nil {
		found = checkManifest(m)
	}
	return m, say(found)
}

// Install sets the app up as a manifest says, in YAML or JSON: its name, command,
// scopes, events and addresses, and whether it uses Socket Mode. What Slack would
// refuse to make an app of is an error that names all that is wrong.
func (s *Server) Install(manifest []byte) error {
	m, wrong := readManifest(manifest)
	if len(wrong) > 0 {
		return fmt.Errorf("slacktest: invalid_manifest: %s", strings.Join(wrong, "; "))
	}
	s.SetApp(func(a *App) { a.install(m) })
	return nil
}

// within is what stands in an object at a path of names; nil is nothing.
func within(o obj, names ...string) any {
	for _, name := range names[:len(names)-1] {
		o, _ = o[name].(obj)
	}
	return o[names[len(names)-1]]
}

func texts(v any) []string {
	var out []string
	all, _ := v.([]any)
	for _, item := range all {
		text, _ := item.(string)
		out = append(out, text)
	}
	return out
}

func (a *App) install(m obj) {
	a.Name, _ = within(m, "display_information", "name").(string)
	a.Scopes = texts(within(m, "oauth_config", "scopes", "bot"))
	a.Events = texts(within(m, "settings", "event_subscriptions", "bot_events"))
	a.UnfurlDomains = texts(within(m, "features", "unfurl_domains"))
	a.Socket = within(m, "settings", "socket_mode_enabled") == true
	a.InteractionsURL, _ = within(m, "settings", "interactivity", "request_url").(string)
	a.EventsURL, _ = within(m, "settings", "event_subscriptions", "request_url").(string)
	a.CommandsURL = ""
	commands, _ := within(m, "features", "slash_commands").([]any)
	for i, c := range objects(commands) {
		if i == 0 {
			a.Command, a.CommandsURL, a.Escape = str(c, "command"), str(c, "url"), c["should_escape"] == true
		}
	}
	a.Shortcuts = nil
	shortcuts, _ := within(m, "features", "shortcuts").([]any)
	for _, o := range objects(shortcuts) {
		a.Shortcuts = append(a.Shortcuts, Shortcut{Name: str(o, "name"), CallbackID: str(o, "callback_id"), Message: str(o, "type") == "message"})
	}
	if a.Scopes == nil {
		a.Scopes = []string{} // None is not the stand-in's own.
	}
	if a.Events == nil {
		a.Events = []string{}
	}
}

// checkManifest finds what the description does not.
func checkManifest(m obj) []problem {
	k := &kit{}
	about, _ := m["display_information"].(obj)
	k.text("/display_information", about, "name", maxAppName)
	k.text("/display_information", about, "description", maxDescription)
	k.text("/display_information", about, "long_description", maxLongDescription)
	if text := str(about, "long_description"); text != "" && length(text) < minLongDescription {
		k.bad("/display_information/long_description", "must be more than %d characters", minLongDescription-1)
	}
	features, _ := m["features"].(obj)
	if bot, ok := features["bot_user"].(obj); ok {
		k.text("/features/bot_user", bot, "display_name", maxBotName)
	}
	k.items("/features/unfurl_domains", list(features, "unfurl_domains"), 0, maxDomains)
	k.shortcuts(list(features, "shortcuts"))
	socket := within(m, "settings", "socket_mode_enabled") == true
	k.commands(list(features, "slash_commands"), socket)
	scopes, events := texts(within(m, "oauth_config", "scopes", "bot")), texts(within(m, "settings", "event_subscriptions", "bot_events"))
	if len(events) > maxBotEvents {
		k.bad("/settings/event_subscriptions/bot_events", "no more than %d items allowed", maxBotEvents)
	}
	for _, event := range events {
		if scope := eventScopes[event]; scope != "" && !slices.Contains(scopes, scope) {
			k.bad("/settings/event_subscriptions/bot_events", "%s needs the scope %s", event, scope)
		}
	}
	needs := map[string]bool{"commands": len(list(features, "slash_commands"))+len(list(features, "shortcuts")) > 0}
	for scope, needed := range needs {
		if needed && !slices.Contains(scopes, scope) {
			k.bad("/oauth_config/scopes/bot", "the scope %s is missing", scope)
		}
	}
	if len(scopes) > 0 && features["bot_user"] == nil {
		k.bad("/features", "bot scopes need a bot_user")
	}
	if !socket {
		for _, at := range [][]string{{"settings", "interactivity"}, {"settings", "event_subscriptions"}} {
			if part, ok := within(m, at...).(obj); ok && str(part, "request_url") == "" {
				k.bad("/"+strings.Join(at, "/"), "missing required field: request_url")
			}
		}
	}
	return k.found
}

func (k *kit) shortcuts(all []any) {
	k.items("/features/shortcuts", all, 0, maxShortcuts)
	for i, o := range objects(all) {
		at := "/features/shortcuts/" + strconv.Itoa(i)
		k.text(at, o, "name", maxShortcutName)
		k.text(at, o, "description", maxShortcutAbout)
		k.text(at, o, "callback_id", maxCallbackID)
	}
}

func (k *kit) commands(all []any, socket bool) {
	k.items("/features/slash_commands", all, 0, maxCommands)
	for i, o := range objects(all) {
		at := "/features/slash_commands/" + strconv.Itoa(i)
		k.text(at, o, "command", maxCommand)
		k.text(at, o, "description", maxCommandAbout)
		k.text(at, o, "usage_hint", maxUsage)
		if !strings.HasPrefix(str(o, "command"), "/") {
			k.bad(at+"/command", "must begin with a slash")
		}
		if !socket && str(o, "url") == "" {
			k.bad(at, "missing required field: url")
		}
	}
}
