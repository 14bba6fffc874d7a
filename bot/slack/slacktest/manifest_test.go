package slacktest

import (
	"strings"
	"testing"
)

const goodManifest = `
display_information: {name: Berth}
features:
  bot_user: {display_name: berth}
  slash_commands:
    - {command: /berth, description: Deploys, url: https://berth.example.org/slack/commands}
  shortcuts:
    - {name: Deploy it, type: message, callback_id: deploy_it, description: Deploys what a message is about}
  unfurl_domains: [berth.example.org]
oauth_config: {scopes: {bot: [commands, chat:write, app_mentions:read]}}
settings:
  event_subscriptions: {request_url: https://berth.example.org/slack/events, bot_events: [app_mention]}
  interactivity: {is_enabled: true, request_url: https://berth.example.org/slack/interactions}
`

func TestAppIsMadeOfAManifest(t *testing.T) {
	a := newApp(t, Options{})
	a.must(a.Install([]byte(goodManifest)))
	got := a.App()
	if got.Command != "/berth" || got.CommandsURL != "https://berth.example.org/slack/commands" || got.Socket || strings.Join(got.Scopes, " ") != "commands chat:write app_mentions:read" ||
		strings.Join(got.Events, " ") != "app_mention" || got.UnfurlDomains[0] != "berth.example.org" || got.EventsURL != "https://berth.example.org/slack/events" {
		t.Errorf("app %+v", got)
	}
	if want := (Shortcut{Name: "Deploy it", CallbackID: "deploy_it", Message: true}); len(got.Shortcuts) != 1 || got.Shortcuts[0] != want {
		t.Errorf("shortcuts %+v", got.Shortcuts)
	}
	tests := map[string]struct{ from, to, problem string }{
		"a field that there is not":         {"{name: Berth}", "{name: Berth, colour: red}", "invalid additional property: colour"},
		"a name that is too long":           {"name: Berth", "name: " + strings.Repeat("x", 36), "must be less than 36 characters"},
		"an event that it may not hear":     {"bot_events: [app_mention]", "bot_events: [message.im]", "message.im needs the scope im:history"},
		"a scope that there is not":         {"chat:write,", "chat:shout,", "must be a valid enum value"},
		"a command without a slash":         {"command: /berth", "command: berth", "must begin with a slash"},
		"a command without its scope":       {"[commands, ", "[", "the scope commands is missing"},
		"no address without Socket Mode":    {"request_url: https://berth.example.org/slack/events, ", "", "missing required field: request_url"},
		"one key twice, which YAML forbids": {"features:", "settings: {}\nfeatures:", "already set"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := a.Install([]byte(strings.Replace(goodManifest, test.from, test.to, 1))); err == nil || !strings.Contains(err.Error(), test.problem) {
				t.Errorf("got %v", err)
			}
		})
	}
}
