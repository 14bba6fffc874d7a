package slacktest

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Manifest is an app manifest as far as it decides what the app may do and is
// told. https://docs.slack.dev/reference/app-manifest
type Manifest struct {
	Features struct {
		SlashCommands []struct {
			Command      string `json:"command"`
			URL          string `json:"url"`
			ShouldEscape bool   `json:"should_escape"`
		} `json:"slash_commands"`
		UnfurlDomains []string `json:"unfurl_domains"`
	} `json:"features"`
	OAuth struct {
		Scopes struct {
			Bot []string `json:"bot"`
		} `json:"scopes"`
	} `json:"oauth_config"`
	Settings struct {
		Events struct {
			RequestURL string   `json:"request_url"`
			Bot        []string `json:"bot_events"`
		} `json:"event_subscriptions"`
		Interactivity struct {
			RequestURL string `json:"request_url"`
		} `json:"interactivity"`
		Socket bool `json:"socket_mode_enabled"`
	} `json:"settings"`
}

// eventScopes are what an app must ask for to be told of an event.
// https://docs.slack.dev/reference/events
var eventScopes = map[string]string{
	"app_mention": "app_mentions:read", "message.im": "im:history", "message.channels": "channels:history",
	"message.groups": "groups:history", "link_shared": "links:read",
}

// CheckManifest compares an app manifest, in JSON, with Slack's description of
// manifests, and returns what is wrong with it in Slack's words.
func CheckManifest(raw []byte) []string {
	var given any
	var m Manifest
	if err := json.Unmarshal(raw, &given); err != nil {
		return []string{err.Error()}
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return []string{err.Error()}
	}
	d, err := described()
	if err != nil {
		return []string{err.Error()}
	}
	wrong := say(d.check(d.Types["manifest"], "", given))
	for _, event := range m.Settings.Events.Bot {
		if scope := eventScopes[event]; scope != "" && !slices.Contains(m.OAuth.Scopes.Bot, scope) {
			wrong = append(wrong, fmt.Sprintf("the event %s needs the scope %s", event, scope))
		}
	}
	if len(m.Features.SlashCommands) > 0 && !slices.Contains(m.OAuth.Scopes.Bot, "commands") {
		wrong = append(wrong, "slash commands need the scope commands")
	}
	return wrong
}

// Install sets the app up as its manifest says, once that is right: with no more
// scopes and events than it asks for.
func (s *Server) Install(raw []byte) error {
	if wrong := CheckManifest(raw); len(wrong) > 0 {
		return fmt.Errorf("slacktest: the manifest: %q", wrong)
	}
	var m Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("slacktest: the manifest: %w", err)
	}
	s.SetApp(func(a *App) {
		a.Scopes, a.Events, a.UnfurlDomains = m.OAuth.Scopes.Bot, m.Settings.Events.Bot, m.Features.UnfurlDomains
		a.Socket, a.EventsURL, a.InteractionsURL = m.Settings.Socket, m.Settings.Events.RequestURL, m.Settings.Interactivity.RequestURL
		for _, c := range m.Features.SlashCommands {
			a.Command, a.CommandsURL, a.Escape = c.Command, c.URL, c.ShouldEscape
		}
	})
	return nil
}
