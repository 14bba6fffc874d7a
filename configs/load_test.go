package configs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestTheExampleIsAConfig(t *testing.T) {
	c, err := Load("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	shop := c.Apps["shop"]
	if got := time.Duration(shop.TTL); got != 72*time.Hour {
		t.Errorf("ttl = %v, want 72h", got)
	}
	if got := shop.Parts[0].With["chart"]; got != "./charts/preview" {
		t.Errorf("chart = %v", got)
	}
	if c.GitHub.WebhookSecret.Env != "BERTH_GITHUB_WEBHOOK_SECRET" {
		t.Errorf("webhook secret refers to %+v", c.GitHub.WebhookSecret)
	}
}

// wholeExample is the example with the options that it has in comments, since
// they need things that a newcomer does not have.
func wholeExample(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	option := regexp.MustCompile(`(?m)^( *)# ( *(?:(?:eu|prod|aws|kubernetes|dns|env|settings|zones|preview\.example\.org|provider|needs|namespace|manifests|STRIPE_API_KEY|secrets|stripe|license|mail|components|api|MAIL_PASSWORD|offer_secrets` +
		`|- name|use|component|with|chart|values|image|- events|apps|severity|to|slack|discord|signing_secret|bot_token|app_token|guests|workspaces|channels|C0123|\"\*\"|application_id|public_key|gateway|guilds):|- \{surface|- \{name)[^\n]*)$`)
	text := option.ReplaceAllString(string(raw), "$1$2")
	text = strings.Replace(text, "cluster: staging ", "clusters: [staging, eu] ", 1)
	return strings.Replace(text, "{path: berth-helm,", "{path: berth-helm, env: [STRIPE_KEY],", 1)
}

func TestTheExampleWithAllItsOptionsIsAConfig(t *testing.T) {
	c, err := Parse([]byte(wholeExample(t)))
	if err != nil {
		t.Fatal(err)
	}
	shop := c.Apps["shop"]
	if len(c.Clusters) != 3 || len(c.Plugins) != 4 || len(c.Secrets) != 3 || len(shop.Components) != 1 || len(shop.Parts) != 6 || len(shop.Vars) != 2 || len(shop.OfferSecrets) != 2 || len(c.Notifications) != 2 ||
		c.Slack == nil || len(c.Slack.Channels) != 2 || len(c.Slack.Workspaces) != 1 || c.Discord == nil || !c.Discord.OnGateway() || len(c.Discord.Guilds) != 1 {
		t.Errorf("some options are left out: %+v", c)
	}
}

// chats are config sections with which nothing is wrong.
const (
	rightSlack   = "slack: {signing_secret: {env: A}, bot_token: {env: B}}\n"
	rightDiscord = "discord: {application_id: \"1\", bot_token: {env: B}, gateway: true}\n"
)

func TestChat(t *testing.T) {
	app := "apps: {shop: {parts: [{name: web, use: helm}]}}\n"
	tests := map[string]struct {
		yaml string
		want []string // paths at lines
	}{
		"Slack by signed requests":             {yaml: rightSlack},
		"Slack by Socket Mode":                 {yaml: "slack: {bot_token: {env: B}, app_token: {env: C}}\n"},
		"Slack that anybody could pretend":     {yaml: "slack: {bot_token: {env: B}}\n", want: []string{"slack.signing_secret@1"}},
		"Slack that cannot answer":             {yaml: "slack: {signing_secret: {env: A}}\n", want: []string{"slack.bot_token@1"}},
		"a token that is written out":          {yaml: "slack: {signing_secret: {env: A}, bot_token: xoxb-1}\n", want: []string{"slack@1"}},
		"a workspace twice":                    {yaml: "slack:\n  signing_secret: {env: A}\n  bot_token: {env: B}\n  workspaces:\n    - {team: T2, bot_token: {env: C}}\n    - {team: T2, bot_token: {env: C}}\n", want: []string{"slack.workspaces[1].team@6"}},
		"channels that are for something":      {yaml: app + "slack:\n  signing_secret: {env: A}\n  bot_token: {env: B}\n  channels: {C1: {apps: [shop]}, T2/C3: {verbs: [deploy]}, \"*\": {verbs: [status]}}\n"},
		"a channel by its name":                {yaml: "slack:\n  signing_secret: {env: A}\n  bot_token: {env: B}\n  channels: {general: {}}\n", want: []string{"slack.channels.general@4"}},
		"a channel for an app that is none":    {yaml: app + "slack:\n  signing_secret: {env: A}\n  bot_token: {env: B}\n  channels: {C1: {apps: [shpo]}}\n", want: []string{"slack.channels.C1.apps[0]@5"}},
		"a channel for a verb that is none":    {yaml: "discord:\n  application_id: \"1\"\n  bot_token: {env: B}\n  channels: {\"2\": {verbs: [deploi]}}\n", want: []string{"discord.channels.2.verbs[0]@4"}},
		"Discord on the gateway":               {yaml: rightDiscord},
		"Discord by its endpoint":              {yaml: "discord: {application_id: \"1\", bot_token: {env: B}, public_key: " + strings.Repeat("ab", 32) + "}\n"},
		"Discord that hears nothing":           {yaml: "discord: {application_id: \"1\", bot_token: {env: B}, gateway: false}\n", want: []string{"discord.public_key@1"}},
		"a public key that is none":            {yaml: "discord: {application_id: \"1\", bot_token: {env: B}, public_key: abc}\n", want: []string{"discord.public_key@1"}},
		"a guild by its name":                  {yaml: "discord: {application_id: \"1\", bot_token: {env: B}, guilds: [shop]}\n", want: []string{"discord.guilds[0]@1"}},
		"a role that is written with a prefix": {yaml: "discord: {application_id: \"1\", bot_token: {env: B}, guests: [\"role:x\"]}\n", want: []string{"discord.guests[0]@1"}},
		"notices to both":                      {yaml: rightSlack + rightDiscord + "notifications: [{to: [{surface: slack, channel: C1}, {surface: slack, channel: T2/C1}, {surface: discord, channel: \"5\"}]}]\n"},
		"a notice to a channel by its name":    {yaml: rightSlack + "notifications: [{to: [{surface: slack, channel: general}]}]\n", want: []string{"notifications[0].to[0].channel@2"}},
		"groups of both":                       {yaml: rightSlack + rightDiscord + "policies: [{name: one, approve: {from: [slack-group:S1, slack-group:T2.S1, discord-role:1/2]}}]\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tt.yaml))
			var got []string
			if faults, ok := errors.AsType[Faults](err); ok {
				for _, f := range faults {
					got = append(got, fmt.Sprintf("%s@%d", f.Path, f.Line))
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("faults at %v, want %v: %v", got, tt.want, err)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	tests := map[string]struct {
		yaml string
		want []string // "path@line", in order
	}{
		"an empty file is a config":         {yaml: ""},
		"a file of comments is a config":    {yaml: "# nothing\n"},
		"a tab is no YAML":                  {yaml: "server:\n\tlisten: x\n", want: []string{"@2"}},
		"a list is no config":               {yaml: "- a\n", want: []string{"@1"}},
		"two documents are one too many":    {yaml: "server: {}\n---\nserver: {}\n", want: []string{"@0"}},
		"an unknown key has its line":       {yaml: "server:\n  listn: x:1\n", want: []string{"server.listn@2"}},
		"a key given twice":                 {yaml: "server: {}\nserver: {}\n", want: []string{"@2"}},
		"a literal secret":                  {yaml: "github:\n  webhook_secret: hunter2\n  token: {env: T}\n", want: []string{"github.webhook_secret@2"}},
		"a secret with both references":     {yaml: "github:\n  webhook_secret: {env: A, file: b}\n  token: {env: T}\n", want: []string{"github.webhook_secret@2"}},
		"a github without any credential":   {yaml: "github:\n  webhook_secret: {env: A}\n", want: []string{"github@1"}},
		"a section of a later version":      {yaml: "server: {}\nmattermost: {}\n", want: []string{"mattermost@2"}},
		"a number where text is wanted":     {yaml: "tokens:\n  - actor: ci\n    sha256: abc\n", want: []string{"tokens[0].sha256@3"}},
		"several faults come all at once":   {yaml: "server:\n  listen: nowhere\napps:\n  shop:\n    cluster: mars\n    ttl: 3x\n    parts: []\n", want: []string{"server.listen@2", "apps.shop.cluster@5", "apps.shop.ttl@6", "apps.shop.parts@7"}},
		"one identity of two people":        {yaml: "actors:\n  - {name: ana, identities: [\"github:ana\"]}\n  - {name: bo, identities: [\"github:Ana\"]}\n", want: []string{"actors[1].identities[0]@3"}},
		"an app that no one could type":     {yaml: "apps:\n  Shop:\n    parts: [{name: web, use: helm}]\n", want: []string{"apps.Shop@2"}},
		"a value where a name is asked for": {yaml: "plugins:\n  aws: {path: berth-aws, env: [\"KEY=secret\"]}\n", want: []string{"plugins.aws.env[0]@2"}},
		"a lifetime over the longest":       {yaml: "apps:\n  shop:\n    ttl: 31d\n    parts: [{name: web, use: helm}]\n", want: []string{"apps.shop.ttl@3"}},
		"an issuer over plain http":         {yaml: "oidc:\n  - issuer: http://x.org\n    audience: berth\n", want: []string{"oidc[0].issuer@2"}},
		"an issuer on this machine is fine": {yaml: "oidc: [{issuer: \"http://127.0.0.1:5556/dex\", audience: berth, claim: sub}]\n"},
		"an issuer for whatever audience":   {yaml: "oidc:\n  - issuer: https://x.org\n", want: []string{"oidc[0].audience@2"}},
		"a claim that names nobody":         {yaml: "oidc:\n  - issuer: https://x.org\n    audience: berth\n    claim: exp\n", want: []string{"oidc[0].claim@4"}},
		"an issuer given twice":             {yaml: "oidc:\n  - {issuer: \"https://x.org\", audience: a}\n  - {issuer: \"https://x.org\", audience: b, domains: [x.org]}\n", want: []string{"oidc[1].issuer@3"}},
		"two issuers of the same names":     {yaml: "oidc:\n  - {issuer: \"https://x.org\", audience: a}\n  - {issuer: \"https://y.org\", audience: b}\n", want: []string{"oidc[1]@3"}},
		"two issuers of one domain":         {yaml: "oidc:\n  - {issuer: \"https://x.org\", audience: a, domains: [x.org]}\n  - {issuer: \"https://y.org\", audience: b, domains: [x.org]}\n", want: []string{"oidc[1].domains[0]@3"}},
		"two issuers of two domains":        {yaml: "oidc:\n  - {issuer: \"https://x.org\", audience: a, domains: [x.org]}\n  - {issuer: \"https://y.org\", audience: b, domains: [y.org]}\n"},
		"a domain that is an address":       {yaml: "oidc:\n  - {issuer: \"https://x.org\", audience: a, domains: [ana@x.org]}\n", want: []string{"oidc[0].domains[0]@2"}},
		"an issuer with a key of no use":    {yaml: "oidc:\n  - {issuer: \"https://x.org\", audience: a, secret: b}\n", want: []string{"oidc[0].secret@2"}},
		"a cluster of EKS":                  {yaml: "clusters:\n  prod: {eks: {name: prod, region: eusc-de-east-1, role: \"arn:aws:iam::123456789012:role/x\"}}\n"},
		"an EKS without its name or region": {yaml: "clusters:\n  prod:\n    eks: {}\n", want: []string{"clusters.prod.eks.name@3", "clusters.prod.eks.region@3"}},
		"a region that is none":             {yaml: "clusters:\n  prod:\n    eks:\n      name: prod\n      region: Frankfurt\n", want: []string{"clusters.prod.eks.region@5"}},
		"a role that is no ARN":             {yaml: "clusters:\n  prod:\n    eks: {name: prod, region: eu-central-1, role: berth}\n", want: []string{"clusters.prod.eks.role@3"}},
		"two ways into one cluster":         {yaml: "clusters:\n  prod:\n    kubeconfig: ./kc\n    eks: {name: prod, region: eu-central-1}\n", want: []string{"clusters.prod.eks@4"}},
		"a context of EKS":                  {yaml: "clusters:\n  prod:\n    context: x\n    eks: {name: prod, region: eu-central-1}\n", want: []string{"clusters.prod.context@3"}},
		"a key of EKS that nobody knows":    {yaml: "clusters:\n  prod:\n    eks: {name: prod, region: eu-central-1, zone: a}\n", want: []string{"clusters.prod.eks.zone@3"}},
		"settings of an executor":           {yaml: "plugins:\n  dns: {env: [KEY], settings: {zones: {example.org: {apps: [shop]}}}}\n"},
		"settings that are a list":          {yaml: "plugins:\n  dns:\n    settings: [a]\n", want: []string{"plugins.dns.settings@3"}},
		"settings of themselves":            {yaml: "plugins:\n  dns:\n    settings: &a {b: *a}\n", want: []string{"@1"}},
		"an alias of itself does not hang":  {yaml: "apps: &a\n  shop: {parts: [*a]}\n", want: []string{"apps.shop.parts[0].name@1", "apps.shop.parts[0].use@1", "apps.shop.parts[0].shop@2"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(test.yaml))
			var got []string
			if faults, ok := errors.AsType[Faults](err); ok {
				for _, f := range faults {
					got = append(got, f.Path+"@"+strconv.Itoa(f.Line))
				}
			} else if err != nil {
				t.Fatalf("error is %T: %v", err, err)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("faults\n got %q\nwant %q\n%v", got, test.want, err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Error("the message repeats a secret")
			}
		})
	}
}

func TestSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BERTH_TEST_SECRET", " from the environment ")
	tests := map[string]struct {
		secret Secret
		want   string
		fails  bool
	}{
		"an environment variable":     {secret: Secret{Env: "BERTH_TEST_SECRET"}, want: "from the environment"},
		"a file, without its newline": {secret: Secret{File: file}, want: "from a file"},
		"a variable that is not set":  {secret: Secret{Env: "BERTH_TEST_NO_SUCH"}, fails: true},
		"a file that is not there":    {secret: Secret{File: file + ".no"}, fails: true},
		"nothing at all":              {fails: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := test.secret.Value()
			if got != test.want || (err != nil) != test.fails {
				t.Errorf("Value() = %q, %v; want %q, fails %v", got, err, test.want, test.fails)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add([]byte("a: &a [*a, *a]"))
	f.Add([]byte("apps: {shop: {parts: [{name: 1, use: [], needs: {}}]}}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := Parse(raw)
		if err == nil && c == nil {
			t.Fatal("neither a config nor an error")
		}
		if _, ok := errors.AsType[Faults](err); err != nil && !ok {
			t.Fatalf("a fault of the file came as %T", err)
		}
	})
}
