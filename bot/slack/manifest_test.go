package slack

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/bot/slack/slacktest"
)

// manifestJSON is a manifest as Slack's own tools have it.
func manifestJSON(t *testing.T, public string, socket bool) []byte {
	t.Helper()
	text, err := Manifest(public, socket)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return raw
}

func TestTheManifestIsOneThatSlackTakes(t *testing.T) {
	tests := map[string]struct {
		public string
		socket bool
		has    []string
		lacks  []string
	}{
		"over HTTP": {"https://berth.example.org/", false, []string{
			`"url":"https://berth.example.org/slack/commands"`, `"request_url":"https://berth.example.org/slack/events"`,
			`"request_url":"https://berth.example.org/slack/interactions"`, `"message_menu_options_url":"https://berth.example.org/slack/interactions"`,
			`"socket_mode_enabled":false`, `"unfurl_domains":["berth.example.org"]`, `"link_shared"`,
		}, nil},
		"below a path":                         {"https://example.org/berth", false, []string{`"https://example.org/berth/slack/commands"`, `"unfurl_domains":["example.org"]`}, nil},
		"by Socket Mode without an address":    {"", true, []string{`"socket_mode_enabled":true`}, []string{"url\":", "link_shared", "unfurl_domains"}},
		"by Socket Mode with one people reach": {"https://berth.example.org", true, []string{`"socket_mode_enabled":true`, `"unfurl_domains":["berth.example.org"]`}, []string{"request_url"}},
		"by Socket Mode on somebody's machine": {"http://localhost:8080", true, nil, []string{"unfurl_domains", "localhost"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			raw := manifestJSON(t, tt.public, tt.socket)
			for _, wrong := range slacktest.CheckManifest(raw) {
				t.Error(wrong)
			}
			for _, has := range tt.has {
				if !bytes.Contains(raw, []byte(has)) {
					t.Errorf("it lacks %s: %s", has, raw)
				}
			}
			for _, lacks := range tt.lacks {
				if bytes.Contains(raw, []byte(lacks)) {
					t.Errorf("it has %s: %s", lacks, raw)
				}
			}
		})
	}
}

func TestAManifestNeedsAnAddressThatSlackCanCall(t *testing.T) {
	for _, bad := range []string{"", "http://berth.example.org", "berth.example.org", "https://", "https://u:p@x.org", "https://x.org?a=b", "https://x.org/#f", "https://x.org/a b", "https://x.org/\nurl: y", "https://x.org/'\"`{}"} {
		if text, err := Manifest(bad, false); err == nil {
			t.Errorf("%q is taken:\n%s", bad, text)
		}
	}
	raw := manifestJSON(t, "https://evil.org/\nx: y", true)
	if bytes.Contains(raw, []byte("evil")) {
		t.Errorf("an address that is none stands in %s", raw)
	}
}

// needs are the scopes of the methods that Berth calls; those of none need none.
// Source: https://docs.slack.dev/reference/methods
var needs = map[string][]string{
	"apps.connections.open": nil, // connections:write, of the app-level token
	"auth.test":             nil, "views.open": nil, "views.push": nil, "views.update": nil, "views.publish": nil,
	"chat.postMessage": {"chat:write", "chat:write.public"}, "chat.update": {"chat:write"}, "chat.postEphemeral": {"chat:write"}, "chat.unfurl": {"links:write"},
	"conversations.open":    {"im:write"},
	"conversations.history": {"channels:history", "groups:history", "im:history"}, "conversations.replies": {"channels:history", "groups:history", "im:history"},
	"usergroups.users.list": {"usergroups:read"}, "users.info": {"users:read"},
	// What is heard rather than called.
	"event app_mention": {"app_mentions:read"}, "event link_shared": {"links:read"}, "event message.im": {"im:history"}, "commands": {"commands"},
}

func TestScopesAreThoseOfWhatIsCalled(t *testing.T) {
	var want []string
	for _, scopes := range needs {
		want = append(want, scopes...)
	}
	slices.Sort(want)
	if want = slices.Compact(want); !slices.Equal(want, Scopes()) {
		t.Errorf("the scopes are\n%q, needed are\n%q", Scopes(), want)
	}
	method := regexp.MustCompile(`"((?:apps|auth|bots|chat|conversations|files|reactions|team|usergroups|users|views)\.[a-zA-Z.]+)"`)
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range method.FindAllSubmatch(text, -1) {
			if _, known := needs[string(m[1])]; !known {
				t.Errorf("%s calls %s, whose scopes this test does not know", file, m[1])
			}
		}
	}
}
