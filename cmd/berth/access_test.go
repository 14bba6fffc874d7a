package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/discord/discordtest"
	"github.com/berth-dev/berth/bot/slack/slacktest"
)

// accessWorld is a Berth whose rules ask a group of Slack's and a role of
// Discord's.
type accessWorld struct {
	t     *testing.T
	slack *slacktest.Server
	role  string // the role that is asked, "GUILD/ROLE"
}

func newAccessWorld(t *testing.T) *accessWorld {
	t.Helper()
	w := &accessWorld{t: t, slack: slacktest.New(slacktest.Options{})}
	chat := discordtest.New(discordtest.Options{})
	for _, start := range []func() error{w.slack.Start, chat.Start} {
		w.must(start())
	}
	t.Cleanup(w.slack.Close)
	t.Cleanup(chat.Close)
	t.Setenv("SLACK_SECRET", slacktest.SigningSecret)
	t.Setenv("SLACK_TOKEN", w.slack.AddWorkspace(slacktest.Workspace{ID: "T0ACME", Name: "Acme"}).BotToken)
	t.Setenv("DISCORD_TOKEN", chat.Token())
	w.must(w.slack.AddUser(slacktest.User{ID: "U0ANA", Name: "ana"}))
	w.must(w.slack.AddUser(slacktest.User{ID: "U0BEN", Name: "ben"}))
	w.must(w.slack.AddGroup(slacktest.Group{ID: "S0DBA", Handle: "dba", Members: []string{"U0ANA"}}))
	guild, err := chat.AddGuild(discordtest.Guild{Name: "Acme"})
	w.must(err)
	role, err := chat.AddRole(discordtest.Role{Guild: guild, Name: "ops"})
	w.must(err)
	w.role = guild + "/" + role
	ben, err := chat.AddUser(discordtest.User{Name: "ben", Guilds: []string{guild}, Roles: []string{role}})
	w.must(err)
	w.serve(fmt.Sprintf(`
slack:
  signing_secret: {env: SLACK_SECRET}
  bot_token: {env: SLACK_TOKEN}
  api_url: %q
  guests: [viewer]
  channels: {C0SHOP: {apps: [shop]}, "*": {verbs: [status, list]}}
discord: {application_id: %q, public_key: %q, bot_token: {env: DISCORD_TOKEN}, api_url: %q}
actors:
  - {name: ana, roles: [sre], identities: ["github:ana", "slack:U0ANA"]}
  - {name: ben, roles: [viewer], identities: ["slack:U0BEN", "discord:%s"]}
policies:
  - {name: data, when: plan.destructive, approve: {from: ["slack-group:S0DBA"]}, break_glass: [role:sre]}
  - {name: ops, approve: {from: ["discord-role:%s"], escalate: {after: 1h, to: [actor:ana]}}}
  - {name: full, quota: {per: app, most: 3}}
`, w.slack.APIURL(), chat.ApplicationID(), chat.PublicKey(), chat.APIURL(), ben, w.role))
	return w
}

func (w *accessWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// serve answers as `berth serve` does with that config, until the test ends.
func (w *accessWorld) serve(sections string) {
	w.t.Helper()
	hash := func(token string) string {
		sum := sha256.Sum256([]byte(token))
		return hex.EncodeToString(sum[:])
	}
	rdb := redistest.Options(w.t)
	text := fmt.Sprintf(`
server: {listen: 127.0.0.1:0, public_url: http://127.0.0.1, data_dir: %q}
redis: {addrs: [%q], db: %d}
tokens:
  - {actor: ana, sha256: %s, roles: [deployer]}
  - {actor: eve, sha256: %s, roles: [viewer]}
clusters: {staging: {kubeconfig: nowhere}}
apps: {shop: {cluster: staging, namespace: "shop-{{ .Name }}", parts: [{name: web, use: helm, with: {chart: ./chart}}]}}
`, w.t.TempDir(), rdb.Addr, rdb.DB, hash("ana-token"), hash("eve-token")) + sections
	path := filepath.Join(w.t.TempDir(), "berth.yaml")
	w.must(os.WriteFile(path, []byte(text), 0o600))
	cfg, apps, err := loadConfig(path)
	w.must(err)
	values, err := readSecrets(cfg)
	w.must(err)
	s, err := newServer(w.t.Context(), path, cfg, apps, values, slog.New(slog.DiscardHandler))
	w.must(err)
	w.t.Cleanup(s.close)
	web := httptest.NewServer(s.routes())
	w.t.Cleanup(web.Close)
	w.t.Setenv("BERTH_SERVER", web.URL)
	w.t.Setenv("XDG_CONFIG_HOME", w.t.TempDir())
}

// run is `berth access` with a token.
func (w *accessWorld) run(token string, args ...string) (string, error) {
	w.t.Helper()
	w.t.Setenv("BERTH_TOKEN", token)
	var out bytes.Buffer
	cmd := newRoot()
	cmd.SetArgs(append([]string{"access"}, args...))
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(w.t.Context())
	return out.String(), err
}

// read is what `berth access -o json` says.
func (w *accessWorld) read() (found bot.Access) {
	w.t.Helper()
	out, err := w.run("ana-token", "-o", "json")
	w.must(err)
	w.must(json.Unmarshal([]byte(out), &found))
	return found
}

func TestAccessSaysWhoCanDoWhat(t *testing.T) {
	w := newAccessWorld(t)
	found := w.read()
	ben := found.People[1].Identities
	want := bot.Access{
		People: []bot.AccessPerson{
			{
				Name: "ana", Roles: []string{"sre", "deployer"}, Identities: []string{"github:ana", "slack:U0ANA", "token:ana"}, May: bot.MayAct,
				Decides: []string{"data", "ops"}, BreaksGlass: []string{"data"},
			},
			{Name: "ben", Roles: []string{"viewer"}, Identities: ben, May: bot.MayRead, Decides: []string{"ops"}},
			{Name: "eve", Roles: []string{"viewer"}, Identities: []string{"token:eve"}, May: bot.MayRead},
		},
		Others: []bot.AccessOthers{
			{Who: "everybody else", Where: "slack", Roles: []string{"viewer"}, May: bot.MayRead},
			{Who: "everybody else", Where: "discord", May: bot.MayNothing},
		},
		Channels: []bot.AccessChannel{
			{Where: "slack", Channel: "*", Verbs: []string{"status", "list"}},
			{Where: "slack", Channel: "C0SHOP", Apps: []string{"shop"}},
		},
		Rules: []bot.AccessRule{
			{Rule: "data", When: "plan.destructive", From: []string{"slack-group:S0DBA"}, BreakGlass: []string{"role:sre"}},
			{Rule: "ops", From: []string{"actor:ana", "discord-role:" + w.role}},
		},
	}
	if !reflect.DeepEqual(found, want) {
		t.Errorf("it says\n%+v\nand not\n%+v", found, want)
	}
}

func TestAccessIsPrintedForPeopleAndPrograms(t *testing.T) {
	w := newAccessWorld(t)
	text, err := w.run("ana-token")
	w.must(err)
	for _, row := range []string{
		"WHO", "ana  ", "data, ops", "everybody else (slack)", "everybody else (discord)", "nothing",
		"slack-group:S0DBA", "plan.destructive", "always", "C0SHOP", "status, list", "all apps",
	} {
		if !strings.Contains(text, row) {
			t.Errorf("the table lacks %q:\n%s", row, text)
		}
	}
	text, err = w.run("ana-token", "-o", "yaml")
	w.must(err)
	var found struct {
		People []struct{ Name string }
	}
	if err := yaml.Unmarshal([]byte(text), &found); err != nil || len(found.People) != 3 || found.People[0].Name != "ana" {
		t.Errorf("as YAML it says %v, %v:\n%s", found, err, text)
	}
}

func TestAccessNamesWhatCouldNotBeSeen(t *testing.T) {
	w := newAccessWorld(t)
	w.slack.Fail("usergroups.users.list", -1, slacktest.Fault{Status: 500})
	found := w.read()
	ana := found.People[0]
	if want := []string{"slack-group:S0DBA"}; !reflect.DeepEqual(ana.Unseen, want) || !reflect.DeepEqual(ana.Decides, []string{"ops"}) {
		t.Errorf("ana decides %v, and %v could not be seen", ana.Decides, ana.Unseen)
	}
	text, err := w.run("ana-token")
	w.must(err)
	if !strings.Contains(text, "ops (could not see slack-group:S0DBA)") {
		t.Errorf("the table hides what could not be seen:\n%s", text)
	}
}

func TestAccessIsRefusedToThoseWhoOnlyLook(t *testing.T) {
	w := newAccessWorld(t)
	tests := map[string]struct {
		token string
		args  []string
		exit  int
		says  string
	}{
		"a viewer is refused":                 {token: "eve-token", exit: exitRefused, says: "may only look"},
		"a token that is none is refused":     {token: "nobodys", exit: exitRefused, says: "token"},
		"an output that is none is bad usage": {token: "ana-token", args: []string{"-o", "xml"}, exit: exitUsage, says: "xml"},
		"an argument is bad usage":            {token: "ana-token", args: []string{"ana"}, exit: exitUsage, says: "ana"},
		"a server that is not there":          {token: "ana-token", args: []string{"--server", "http://127.0.0.1:1"}, exit: exitUnreachable, says: "127.0.0.1:1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := w.run(tt.token, tt.args...)
			if err == nil {
				err = errors.New("no error")
			}
			if exitCode(err) != tt.exit || !strings.Contains(complaint(err), tt.says) || out != "" {
				t.Errorf("exit code %d, prints %q, complains %q", exitCode(err), out, complaint(err))
			}
		})
	}
}
