package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-dev/berth/bot/discord/discordtest"
	"github.com/berth-dev/berth/bot/github/githubtest"
	"github.com/berth-dev/berth/bot/slack/slacktest"
)

// The people and the channel of the demo's Slack.
const (
	slackAna, slackBen = "U0ANA", "U0BEN"
	slackChannel       = "C0SHOP"
)

// chats are the stand-ins for Slack and Discord.
type chats struct {
	slack      *slacktest.Server
	discord    *discordtest.Server
	slackToken string
	// The ids that Discord gave.
	guild, channel, ana, ben string
	pull                     int // the pull request that is deployed from chat
}

// env is the environment that is deployed from chat.
func (c *chats) env() string { return fmt.Sprintf("shop/pr-%d", c.pull) }

// startChats starts the stand-ins with the same two people in each, and has Slack
// make the app from the manifest that people paste there.
func (d *demo) startChats(ctx context.Context) error {
	c := &d.chats
	c.slack = slacktest.New(slacktest.Options{})
	c.discord = discordtest.New(discordtest.Options{})
	if err := errors.Join(c.slack.Start(), c.discord.Start()); err != nil {
		return err
	}
	manifest, err := output(ctx, os.Environ(), d.berthProgram(), "slack", "manifest", "--public-url", "https://berth.example.org")
	if err != nil {
		return fmt.Errorf("berth slack manifest: %w\n%s", err, manifest)
	}
	if err := c.slack.Install([]byte(manifest)); err != nil {
		return err
	}
	c.slackToken = c.slack.AddWorkspace(slacktest.Workspace{ID: "T0ACME", Name: "Acme"}).BotToken
	if err := errors.Join(
		c.slack.AddUser(slacktest.User{ID: slackAna, Name: person}),
		c.slack.AddUser(slacktest.User{ID: slackBen, Name: approver}),
		c.slack.AddChannel(slacktest.Channel{ID: slackChannel, Name: "shop", Topic: "The shop"}),
	); err != nil {
		return err
	}
	if c.guild, err = c.discord.AddGuild(discordtest.Guild{Name: "Acme"}); err != nil {
		return err
	}
	if c.channel, err = c.discord.AddChannel(discordtest.Channel{Guild: c.guild, Name: "shop", Topic: "The shop"}); err != nil {
		return err
	}
	if c.ana, err = c.discord.AddUser(discordtest.User{Name: person, Guilds: []string{c.guild}}); err != nil {
		return err
	}
	if c.ben, err = c.discord.AddUser(discordtest.User{Name: approver, Guilds: []string{c.guild}}); err != nil {
		return err
	}
	d.out.step("stand-ins for Slack and Discord have the same two people, %s and %s", person, approver)
	return nil
}

// openPayLater opens pull request 7, which is deployed from chat. Those before
// it are issues, as in a repository that is in use.
func (d *demo) openPayLater(files githubtest.PullRequest) (err error) {
	for n := d.pull + 1; n < 7; n++ {
		if _, err := d.github.OpenIssue(repo, person, fmt.Sprintf("Something to do, %d", n), ""); err != nil {
			return err
		}
	}
	d.chats.pull, err = d.github.OpenPullRequest(files)
	return err
}

// chatConfig is the part of berth.yaml that is about chat.
func (d *demo) chatConfig() string {
	c := &d.chats
	return fmt.Sprintf(`slack:
  signing_secret: {env: BERTH_SLACK_SECRET}
  bot_token: {env: BERTH_SLACK_TOKEN}
  api_url: %q
  channels: {%s: {apps: [shop]}}
discord:
  application_id: %q
  public_key: %q
  bot_token: {env: BERTH_DISCORD_TOKEN}
  api_url: %q
  guilds: [%q]
notifications:
  - {events: [request.waiting], to: [{surface: slack, channel: %s}, {surface: discord, channel: %q}]}
`, c.slack.APIURL(), slackChannel, c.discord.ApplicationID(), c.discord.PublicKey(), c.discord.APIURL(), c.guild, slackChannel, c.channel)
}

// chatEnv are the secrets of chat.
func (d *demo) chatEnv() []string {
	return []string{"BERTH_SLACK_SECRET=" + slacktest.SigningSecret, "BERTH_SLACK_TOKEN=" + d.chats.slackToken, "BERTH_DISCORD_TOKEN=" + d.chats.discord.Token()}
}

// connectChats has Slack and Discord deliver to Berth, and registers its commands.
func (d *demo) connectChats(ctx context.Context) error {
	d.chats.slack.Connect(d.server)
	if err := d.chats.discord.SetEndpoint(ctx, d.server+"/discord/interactions"); err != nil {
		return err
	}
	text, err := output(ctx, append(os.Environ(), d.chatEnv()...), d.berthProgram(), "discord", "register", "--config", filepath.Join(d.dir, "berth.yaml"))
	if err != nil {
		return fmt.Errorf("berth discord register: %w\n%s", err, text)
	}
	return nil
}

// chat deploys from Slack with a second person's yes in Discord, and takes the
// environment away again.
func (d *demo) chat(ctx context.Context) error {
	c := &d.chats
	d.out.title("Most of a team never opens GitHub. In Slack:")
	command := fmt.Sprintf("deploy pr-%d", c.pull)
	d.out.typed(person, "/berth "+command)
	if _, err := c.slack.Command(slackAna, slackChannel, command); err != nil { //nolint:contextcheck // it is typed and clicked as by a person, who has no context
		return err
	}
	asked, err := d.awaitSlack(ctx, "waits for approval")
	if err != nil {
		return err
	}
	d.out.step("a card comes, here as words:")
	d.out.block(asked.Words)
	card, err := d.awaitDiscord(ctx, "Approve")
	if err != nil {
		return err
	}
	d.out.step("the same card stands in Discord; %s clicks %s there", d.out.paint("1", approver), d.out.paint("1;32", "Approve"))
	if _, err := c.discord.Click(c.ben, card.ID, "Approve"); err != nil { //nolint:contextcheck // it is typed and clicked as by a person, who has no context
		return err
	}
	if asked, err = d.awaitSlack(ctx, "is running"); err != nil {
		return err
	}
	d.out.step("and in Slack the card is the environment's now:")
	d.out.block(asked.Words)
	if d.keep {
		return nil
	}
	command = fmt.Sprintf("cleanup pr-%d", c.pull)
	d.out.typed(person, "/berth "+command)
	if _, err := c.slack.Command(slackAna, slackChannel, command); err != nil { //nolint:contextcheck // it is typed and clicked as by a person, who has no context
		return err
	}
	if _, err := d.awaitSlack(ctx, "is cleaned up"); err != nil {
		return err
	}
	d.out.step("and it is gone")
	return nil
}

// awaitSlack waits for a card about the environment that says words.
func (d *demo) awaitSlack(ctx context.Context, words string) (found slacktest.Message, err error) {
	err = d.await(ctx, "a card in Slack that says "+words, func() (bool, error) {
		for _, m := range d.chats.slack.Messages(slackChannel) {
			if m.App && m.Thread == "" && strings.Contains(m.Words, d.chats.env()) && strings.Contains(m.Words, words) {
				found = m
				return true, nil
			}
		}
		return false, nil
	})
	return found, err
}

// awaitDiscord waits for a card about the environment with a button.
func (d *demo) awaitDiscord(ctx context.Context, label string) (found discordtest.Message, err error) {
	err = d.await(ctx, "a card in Discord with the button "+label, func() (bool, error) {
		for _, m := range d.chats.discord.Messages(d.chats.channel) {
			if _, ok := m.Button(label); ok {
				found = m
				return true, nil
			}
		}
		return false, nil
	})
	return found, err
}
