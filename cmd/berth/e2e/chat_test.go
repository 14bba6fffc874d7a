package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/bot/discord/discordtest"
	"github.com/berth-dev/berth/bot/github/githubtest"
	"github.com/berth-dev/berth/bot/slack/slacktest"
)

// talk is a world with Slack and Discord, in which ana asks in Slack, and ben and
// cem are the sre.
type talk struct {
	*world
	slack   *slacktest.Server
	discord *discordtest.Server
	guild   string // of Discord
	channel string // of Discord
	ben     string // in Discord
}

const (
	slackAna     = "U0ANA"
	slackCem     = "U0CEM"
	slackChannel = "C0SHOP"
)

func newTalk(t *testing.T) *talk {
	t.Helper()
	w := &talk{world: newWorld(t), slack: slacktest.Run(t, slacktest.Options{}), discord: discordtest.Run(t, discordtest.Options{})}
	must(t, w.github.AddUser(githubtest.User{Login: "cem", Roles: map[string]string{repo: "write"}}))
	token := w.slack.AddWorkspace(slacktest.Workspace{ID: "T0ACME", Name: "Acme"}).BotToken
	must(t, w.slack.AddUser(slacktest.User{ID: slackAna, Name: "ana"}))
	must(t, w.slack.AddUser(slacktest.User{ID: slackCem, Name: "cem"}))
	must(t, w.slack.AddChannel(slacktest.Channel{ID: slackChannel, Name: "shop"}))
	var err error
	w.guild, err = w.discord.AddGuild(discordtest.Guild{Name: "Acme"})
	must(t, err)
	w.channel, err = w.discord.AddChannel(discordtest.Channel{Guild: w.guild, Name: "shop"})
	must(t, err)
	w.ben, err = w.discord.AddUser(discordtest.User{Name: "ben", Guilds: []string{w.guild}})
	must(t, err)
	t.Setenv("E2E_SLACK_SECRET", slacktest.SigningSecret)
	t.Setenv("E2E_SLACK_TOKEN", token)
	t.Setenv("E2E_DISCORD_TOKEN", w.discord.Token())
	w.rules = fmt.Sprintf(`slack: {signing_secret: {env: E2E_SLACK_SECRET}, bot_token: {env: E2E_SLACK_TOKEN}, api_url: %q}
discord: {application_id: %q, public_key: %q, bot_token: {env: E2E_DISCORD_TOKEN}, api_url: %q}
notifications: [{events: [request.waiting], to: [{surface: discord, channel: %q}]}]
actors:
  - {name: ana, roles: [dev], identities: ["github:ana", "slack:%s"]}
  - {name: ben, roles: [sre], identities: ["discord:%s"]}
  - {name: cem, roles: [sre], identities: ["github:cem", "slack:%s"]}
policies:
  - {name: two-agree, when: request.verb == "deploy", approve: {count: 2, from: [role:sre], not_requester: true}}
`, w.slack.APIURL(), w.discord.ApplicationID(), w.discord.PublicKey(), w.discord.APIURL(), w.channel, slackAna, w.ben, slackCem)
	return w
}

// hearAt has everything delivered to a replica.
func (w *talk) hearAt(b *berth) {
	w.t.Helper()
	w.slack.Connect(b.url)
	must(w.t, w.discord.SetEndpoint(w.t.Context(), b.url+"/discord/interactions"))
	must(w.t, w.github.SetWebhook(githubtest.Webhook{URL: b.url + "/webhooks/github", Secret: secret}))
}

// inSlack and inDiscord are the cards about the world's environment.
func (w *talk) inSlack() (found []slacktest.Message) {
	for _, m := range w.slack.Messages(slackChannel) {
		if m.App && m.Thread == "" && strings.Contains(m.Words, w.env()) {
			found = append(found, m)
		}
	}
	return found
}

func (w *talk) inDiscord() (found []discordtest.Message) {
	for _, m := range w.discord.Messages(w.channel) {
		if m.Bot && m.ReplyTo == "" && strings.Contains(words(m), w.env()) {
			found = append(found, m)
		}
	}
	return found
}

// words are all that can be read in the embeds of a message.
func words(m discordtest.Message) string {
	return fmt.Sprintf("%s %+v", m.Content, m.Embeds)
}

// saysEverywhere waits until the one card in Slack, the one in Discord and the
// pull request say all of these.
func (w *talk) saysEverywhere(text ...string) {
	w.t.Helper()
	lacks := func(said string) bool {
		return slices.ContainsFunc(text, func(word string) bool { return !strings.Contains(said, word) })
	}
	ok := w.poll(func() bool {
		s, d := w.inSlack(), w.inDiscord()
		return len(s) == 1 && !lacks(s[0].Words) && len(d) == 1 && !lacks(words(d[0])) && !lacks(strings.Join(w.botComments(), "\n"))
	})
	if !ok {
		w.t.Fatalf("not everywhere it says %q.\nSlack: %+v\nDiscord: %+v\nGitHub: %s", text, w.inSlack(), w.inDiscord(), strings.Join(w.botComments(), "\n---\n"))
	}
}

// asks has ana ask for a deploy in Slack, and returns the request's id.
func (w *talk) asks() (id string) {
	w.t.Helper()
	if ack, err := w.slack.Command(slackAna, slackChannel, "deploy "+w.env()); err != nil || !ack.OK() {
		w.t.Fatalf("the command was not acknowledged: %+v, %v", ack, err)
	}
	w.await("cards that ask", func() bool {
		s, d := w.inSlack(), w.inDiscord()
		return len(s) == 1 && hasButton(s[0], "Approve") && len(d) == 1 && hasControl(d[0], "Approve") && w.says("/approve ")
	})
	_, rest, _ := strings.Cut(strings.Join(w.botComments(), "\n"), "/approve ")
	id, _, _ = strings.Cut(strings.Fields(rest)[0], "`")
	return id
}

func hasButton(m slacktest.Message, label string) bool {
	return slices.ContainsFunc(m.Buttons, func(b slacktest.Button) bool { return b.Label == label })
}

func hasControl(m discordtest.Message, label string) bool {
	_, ok := m.Button(label)
	return ok
}

func (w *talk) benApprovesInDiscord(string) {
	w.t.Helper()
	_, err := w.discord.Click(w.ben, w.inDiscord()[0].ID, "Approve")
	must(w.t, err)
}

func (w *talk) cemApprovesOnThePullRequest(id string) {
	w.t.Helper()
	w.comment("cem", "/approve "+id)
}

func (w *talk) cemApprovesInSlack(string) {
	w.t.Helper()
	_, err := w.slack.Click(slackCem, w.inSlack()[0], "Approve")
	must(w.t, err)
}

// TestADecisionAnywhereShowsEverywhere has a request made in Slack, agreed to on
// two other surfaces, and run; all three show the same end, once. Replicas die in
// between, and what they had posted is gone on with.
func TestADecisionAnywhereShowsEverywhere(t *testing.T) {
	type step = func(w *talk, id string)
	orders := map[string]struct {
		steps []step
		kill  int // after so many steps the replica that is spoken to dies; -1 never
		where []string
	}{
		"Discord, then the pull request": {[]step{(*talk).benApprovesInDiscord, (*talk).cemApprovesOnThePullRequest}, -1, []string{"in Discord", "acme/shop#"}},
		"the pull request, then Discord": {[]step{(*talk).cemApprovesOnThePullRequest, (*talk).benApprovesInDiscord}, -1, []string{"in Discord", "acme/shop#"}},
		"Slack, then Discord":            {[]step{(*talk).cemApprovesInSlack, (*talk).benApprovesInDiscord}, -1, []string{"agreed here", "in Discord"}},
		"the replica that asked dies":    {[]step{(*talk).benApprovesInDiscord, (*talk).cemApprovesOnThePullRequest}, 0, []string{"in Discord", "acme/shop#"}},
		"it dies between the decisions":  {[]step{(*talk).benApprovesInDiscord, (*talk).cemApprovesOnThePullRequest}, 1, []string{"in Discord", "acme/shop#"}},
		"it dies while it runs":          {[]step{(*talk).benApprovesInDiscord, (*talk).cemApprovesInSlack}, 2, []string{"agreed here", "in Discord"}},
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			w := newTalk(t)
			first := w.startBerth(w.simpleApp())
			second := w.prepareBerth(w.simpleApp())
			second.start()
			second.awaitReady()
			w.hearAt(first)
			id := w.asks()
			for i, decide := range order.steps {
				if i == order.kill {
					first.kill()
					w.hearAt(second)
				}
				decide(w, id)
				w.awaitDecisions(second, id, i+1)
			}
			if order.kill == len(order.steps) {
				first.kill()
				w.hearAt(second)
			}
			w.saysEverywhere("is running")
			for _, where := range order.where {
				if text := w.inSlack()[0].Words; !strings.Contains(text, where) {
					t.Errorf("the card in Slack does not say %q: %s", where, text)
				}
			}
			for _, m := range w.inSlack() {
				if hasButton(m, "Approve") || hasButton(m, "Deny") {
					t.Errorf("it can still be decided in Slack: %+v", m.Buttons)
				}
			}
			for _, m := range w.inDiscord() {
				if hasControl(m, "Approve") || hasControl(m, "Deny") {
					t.Errorf("it can still be decided in Discord: %+v", m.Components)
				}
			}
			if n := len(second.requests()); n != 1 {
				t.Errorf("there are %d requests", n)
			}
			w.calm()
		})
	}
}

// awaitDecisions waits until the request has so many.
func (w *talk) awaitDecisions(b *berth, id string, n int) {
	w.t.Helper()
	w.await(fmt.Sprintf("%d decisions", n), func() bool {
		for _, r := range b.requests() {
			if r["id"] == id {
				decisions, _ := r["approvals"].([]any)
				return len(decisions) >= n
			}
		}
		return false
	})
}

// calm forgives the platforms what a replica that was killed left open.
func (w *talk) calm() {
	for _, f := range w.slack.TakeFailures() {
		w.t.Logf("unacknowledged when a replica died: %v", f)
	}
}
