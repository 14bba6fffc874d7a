package slack

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"strings"
	"text/template"
)

// Scope is a permission that Berth's app asks a workspace for.
type Scope struct {
	Name string
	Why  string
}

// scopes are the least that Berth can do its work with.
// Source: https://docs.slack.dev/reference/scopes
var scopes = []Scope{
	{"app_mentions:read", "hear @berth, which works in threads, where slash commands do not"},
	{"channels:history", "find a card again whose posting was cut off, in public channels that Berth is in"},
	{"chat:write", "post cards, keep them up to date, and answer"},
	{"chat:write.public", "the same in public channels that nobody has invited Berth to, so that a command there has its card there"},
	{"commands", "/berth, and the shortcuts"},
	{"groups:history", "the same as channels:history, in private channels that Berth is in"},
	{"im:history", "hear what is typed to Berth directly"},
	{"im:write", "tell people directly what only they should read"},
	{"links:read", "notice links to Berth's pages"},
	{"links:write", "show what they lead to"},
	{"usergroups:read", "see who is in the user groups that policies name"},
	{"users:read", "see whether somebody who approves can still sign in"},
}

// Scopes are the names of the bot token's scopes, sorted.
func Scopes() []string {
	names := make([]string, 0, len(scopes))
	for _, s := range scopes {
		names = append(names, s.Name)
	}
	return names
}

// manifest is the app as Slack's "Create from manifest" takes it.
// Source: https://docs.slack.dev/reference/app-manifest
var manifest = template.Must(template.New("manifest").Parse(`# Berth as an app of Slack's. At https://api.slack.com/apps choose "Create New App",
# "From a manifest", paste this, and install the app to your workspace.
_metadata:
  major_version: 1
display_information:
  name: Berth
  description: Every pull request gets an environment of its own, from chat.
  long_description: >-
    Berth gives every pull request an environment of its own, and takes it away again.
    Type /berth deploy shop/pr-42 in a channel, or mention @berth in a thread. Berth asks whoever
    must agree, does the work, and keeps one card in the channel that says how it goes. Its Home
    tab shows your environments and what waits for you.
  background_color: "#1d4e5f"
features:
  app_home:
    home_tab_enabled: true
    messages_tab_enabled: true
    messages_tab_read_only_enabled: false
  bot_user:
    display_name: berth
    always_online: true
  shortcuts:
    - name: Deploy with Berth…
      type: message
      callback_id: {{.ShortcutMessage}}
      description: Deploy the pull request or environment that this message is about
    - name: Run a Berth command
      type: global
      callback_id: {{.ShortcutRun}}
      description: Deploy, archive or look at an environment
  slash_commands:
    - command: /berth
      description: Deploy environments, look at them and decide about them
      usage_hint: "deploy shop/pr-42 | status | list | approve | help"
      should_escape: false
{{- if .URL}}
      url: {{.URL}}/slack/commands
{{- end}}
{{- if .Domain}}
  unfurl_domains:
    - {{.Domain}}
{{- end}}
oauth_config:
  scopes:
    bot:
{{- range .Scopes}}
      # {{.Why}}
      - {{.Name}}
{{- end}}
settings:
  event_subscriptions:
{{- if .URL}}
    request_url: {{.URL}}/slack/events
{{- end}}
    bot_events:
      - app_home_opened
      - app_mention
      - app_uninstalled
{{- if .Domain}}
      - link_shared
{{- end}}
      - message.im
      - tokens_revoked
  interactivity:
    is_enabled: true
{{- if .URL}}
    request_url: {{.URL}}/slack/interactions
    message_menu_options_url: {{.URL}}/slack/interactions
{{- end}}
  org_deploy_enabled: false
  socket_mode_enabled: {{.Socket}}
  token_rotation_enabled: false
`))

// Manifest is the app manifest, in YAML, that makes an app of Slack's for this
// Berth: one that Slack calls at publicURL, or one for Socket Mode, which needs
// no address. It returns an error for an address that Slack cannot call.
func Manifest(publicURL string, socket bool) ([]byte, error) {
	about := struct {
		URL, Domain, ShortcutMessage, ShortcutRun string
		Scopes                                    []Scope
		Socket                                    bool
	}{ShortcutMessage: ShortcutMessage, ShortcutRun: ShortcutRun, Scopes: scopes, Socket: socket}
	public := strings.TrimSuffix(publicURL, "/")
	u, err := url.Parse(public)
	plain := err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && u.User == nil && u.RawQuery == "" && u.Fragment == "" && !strings.ContainsAny(public, " \t\r\n#{}\"'`")
	if plain && strings.Contains(u.Hostname(), ".") && net.ParseIP(u.Hostname()) == nil {
		about.Domain = u.Hostname()
	}
	if !socket {
		if !plain || u.Scheme != "https" {
			return nil, fmt.Errorf("%.200q is not where Slack can call Berth: write https://HOST, with a path if there is one, or use Socket Mode, which needs no address", publicURL)
		}
		about.URL = public
	}
	var b bytes.Buffer
	if err := manifest.Execute(&b, about); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
