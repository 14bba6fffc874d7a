package slacktest

import (
	"slices"
	"strings"
	"testing"
)

func TestManifestsAreHeldToSlacksDescription(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"a small one is taken":              {`{"display_information":{"name":"Berth"}}`, ""},
		"a field that Slack does not know":  {`{"display_information":{"name":"Berth","colour":"red"}}`, "colour"},
		"a scope of the wrong type":         {`{"display_information":{"name":"Berth"},"oauth_config":{"scopes":{"bot":"chat:write"}}}`, "bot"},
		"no name":                           {`{"display_information":{}}`, "name"},
		"an event without its scope":        {`{"display_information":{"name":"Berth"},"settings":{"event_subscriptions":{"bot_events":["app_mention"]}}}`, "app_mentions:read"},
		"a command without the scope of it": {`{"display_information":{"name":"Berth"},"features":{"slash_commands":[{"command":"/b","description":"d"}]}}`, "scope commands"},
		"no JSON":                           {`{`, "JSON"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := CheckManifest([]byte(tt.text))
			if tt.want == "" && len(got) > 0 || tt.want != "" && !strings.Contains(strings.Join(got, "\n"), tt.want) {
				t.Errorf("found is %q", got)
			}
		})
	}
}

func TestInstallGivesTheAppWhatItsManifestAsksFor(t *testing.T) {
	a := newApp(t, Options{})
	a.must(a.Install([]byte(`{"display_information":{"name":"Berth"},"oauth_config":{"scopes":{"bot":["app_mentions:read"]}},"settings":{"event_subscriptions":{"bot_events":["app_mention"]},"socket_mode_enabled":true}}`)))
	app := a.App()
	if !app.Socket || !slices.Equal(app.Scopes, []string{"app_mentions:read"}) || !slices.Equal(app.Events, []string{"app_mention"}) {
		t.Errorf("the app is %+v", app)
	}
	if out := a.call("chat.postMessage", obj{"channel": "C1", "text": "hello"}); out["error"] != "missing_scope" || len(a.TakeOdd()) != 1 {
		t.Errorf("without the scope: %v", out)
	}
	if a.Install([]byte(`{}`)) == nil {
		t.Error("nothing is taken for a manifest")
	}
}
