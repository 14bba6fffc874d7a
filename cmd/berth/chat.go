package main

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"

	"golang.org/x/sync/errgroup"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/chat"
	"github.com/berth-dev/berth/bot/discord"
	"github.com/berth-dev/berth/bot/notify"
	"github.com/berth-dev/berth/bot/slack"
	"github.com/berth-dev/berth/configs"
)

// chats are the chat platforms of the config, and what they have in common. What
// the config does not have is nil.
type chats struct {
	slack   *slack.Surface
	discord *discord.Surface
	chat    *chat.Surface
}

// openChats makes the surfaces of the platforms that the config has. They speak
// to nobody before run.
func (s *server) openChats(values secrets, service *bot.Service) error {
	cfg := s.cfg
	if cfg.Slack == nil && cfg.Discord == nil {
		return nil
	}
	var platforms []chat.Platform
	var err error
	if cfg.Slack != nil {
		opts := slackOptions(cfg, values, s.log)
		opts.Redis, opts.Replica, opts.Now = s.redis, s.replica, s.clock.Now
		if s.chats.slack, err = slack.New(opts); err != nil {
			return usageError(err)
		}
		platforms = append(platforms, s.chats.slack)
		s.checkup.chats = append(s.checkup.chats, chatCheck{bot.PlatformSlack, s.chats.slack})
	}
	if cfg.Discord != nil {
		opts := discordOptions(cfg, values, s.log)
		opts.Redis, opts.Lead, opts.Now, opts.Apps, opts.Plain = s.redis, s.lead, s.clock.Now, s.discordApps, s.plainChannel
		if s.chats.discord, err = discord.New(opts); err != nil {
			return usageError(err)
		}
		platforms = append(platforms, s.chats.discord)
		s.checkup.chats = append(s.checkup.chats, chatCheck{bot.PlatformDiscord, s.chats.discord})
	}
	opts := chat.Options{
		Platforms: platforms, Redis: s.redis, Service: service, Store: s.store, Requests: s.requests, Catalog: s.apps, People: s.people,
		Groups: map[string]chat.Groups{}, Rules: s.channelRules, PublicURL: publicURL(cfg), Replica: s.replica, Now: s.clock.Now, Log: s.log,
	}
	if s.github != nil {
		opts.Refs, opts.RepoURL = s.github, s.github.Web()
	}
	for prefix, group := range s.groups() {
		opts.Groups[prefix] = group
	}
	if s.chats.chat, err = chat.New(opts); err != nil {
		return err
	}
	if s.chats.slack != nil {
		s.chats.slack.Attach(s.chats.chat, s.chats.chat)
	}
	if s.chats.discord != nil {
		s.chats.discord.Attach(s.chats.chat, s.chats.chat)
	}
	return nil
}

// discordApps are the apps that there are now, and what they are built from.
func (s *server) discordApps() []discord.App {
	var apps []discord.App
	for _, app := range s.apps.Apps() {
		apps = append(apps, discord.App{Name: app.Name, Repo: app.Repo})
	}
	return apps
}

// plainChannel tells whether what the config says of a channel of Discord is known
// without knowing whether that is a thread of another.
func (s *server) plainChannel(id string) bool {
	cfg := s.config.now()
	if cfg.Discord == nil {
		return true
	}
	limits := len(cfg.Discord.Channels)
	if _, all := cfg.Discord.Channels[configs.AnyChannel]; all {
		limits--
	}
	_, named := cfg.Discord.Channels[id]
	return named || limits == 0
}

// chatsOf makes the surfaces of chat platforms, only to look at them.
func (c *checkup) chatsOf(cfg *configs.Config, values secrets, log *slog.Logger) error {
	if cfg.Slack != nil {
		surface, err := slack.New(slackOptions(cfg, values, log))
		if err != nil {
			return err
		}
		c.chats = append(c.chats, chatCheck{bot.PlatformSlack, surface})
	}
	if cfg.Discord != nil {
		// Without Lead it cannot connect to the gateway: that connection is the server's.
		surface, err := discord.New(discordOptions(cfg, values, log))
		if err != nil {
			return err
		}
		c.chats = append(c.chats, chatCheck{bot.PlatformDiscord, surface})
	}
	return nil
}

// run does what comes from chat until ctx ends.
func (c *chats) run(ctx context.Context, group *errgroup.Group) {
	if c.chat == nil {
		return
	}
	group.Go(func() error { return c.chat.Run(ctx) })
	if c.slack != nil {
		group.Go(func() error { return c.slack.Run(ctx) })
	}
	if c.discord != nil {
		group.Go(func() error { return c.discord.Run(ctx) })
	}
}

// outlets tell notices in channels.
func (c *chats) outlets(add func(name string, o notify.Outlet)) {
	if c.slack != nil {
		add(bot.PlatformSlack, c.chat.Outlet(bot.PlatformSlack))
	}
	if c.discord != nil {
		add(bot.PlatformDiscord, c.chat.Outlet(bot.PlatformDiscord))
	}
}

// channelRules are what the config that is in force says of a channel.
func (s *server) channelRules(at bot.ChatPlace) chat.Rules {
	cfg := s.config.now()
	var channels map[string]configs.Channel
	var rules chat.Rules
	ids := []string{at.Channel, configs.AnyChannel}
	switch {
	case at.Platform == bot.PlatformSlack && cfg.Slack != nil:
		channels, rules.Guests = cfg.Slack.Channels, cfg.Slack.Guests
		ids = append([]string{at.Workspace + "/" + at.Channel}, ids...)
	case at.Platform == bot.PlatformDiscord && cfg.Discord != nil:
		channels, rules.Guests = cfg.Discord.Channels, cfg.Discord.Guests
		if at.Thread != "" {
			ids = append([]string{at.Thread}, ids...)
		}
		if at.Workspace == "" && len(cfg.Discord.Guilds) > 0 {
			// Nothing says that who writes directly is of one of those guilds: whoever has
			// any guild in common with the application can.
			rules.Guests = nil
		}
	}
	for _, id := range ids {
		if channel, ok := channels[id]; ok {
			rules.Apps, rules.Verbs = channel.Apps, channel.Verbs
			break
		}
	}
	return rules
}

// slackOptions are what the Slack surface needs from the config.
func slackOptions(c *configs.Config, values secrets, log *slog.Logger) slack.Options {
	opts := slack.Options{
		SigningSecret: values.slackSigning, BotToken: values.slackBot, AppToken: values.slackApp, Workspaces: values.slackTeams,
		APIURL: c.Slack.APIURL, PublicURL: publicURL(c), Log: log,
	}
	return opts
}

// discordOptions are what the Discord surface needs from the config.
func discordOptions(c *configs.Config, values secrets, log *slog.Logger) discord.Options {
	return discord.Options{
		ApplicationID: c.Discord.ApplicationID, PublicKey: c.Discord.PublicKey, BotToken: values.discordBot, APIURL: c.Discord.APIURL,
		PublicURL: publicURL(c), Gateway: c.Discord.OnGateway(), Guilds: c.Discord.Guilds, Groups: policyGroups(c),
		Verbs: discordVerbs(), Log: log,
	}
}

// readChatSecrets reads those of the chat platforms.
func readChatSecrets(c *configs.Config, out *secrets, read func(path string, s configs.Secret, to *string)) {
	if s := c.Slack; s != nil {
		read("slack.signing_secret", s.SigningSecret, &out.slackSigning)
		read("slack.bot_token", s.BotToken, &out.slackBot)
		read("slack.app_token", s.AppToken, &out.slackApp)
		out.slackTeams = map[string]string{}
		for i, w := range s.Workspaces {
			var token string
			read(fmt.Sprintf("slack.workspaces[%d].bot_token", i), w.BotToken, &token)
			out.slackTeams[w.Team] = token
		}
	}
	if d := c.Discord; d != nil {
		read("discord.bot_token", d.BotToken, &out.discordBot)
	}
}

// chatLater tells whether two versions of the config differ in more of a chat
// platform than is asked for anew each time.
func chatLater(was, is *configs.Config) (slackToo, discordToo bool) {
	bare := func(c *configs.Config) (configs.Slack, configs.Discord) {
		var s configs.Slack
		var d configs.Discord
		if c.Slack != nil {
			s = *c.Slack
			s.Guests, s.Channels = nil, nil
		}
		if c.Discord != nil {
			d = *c.Discord
			d.Guests, d.Channels = nil, nil
		}
		return s, d
	}
	wasSlack, wasDiscord := bare(was)
	isSlack, isDiscord := bare(is)
	return !reflect.DeepEqual(wasSlack, isSlack), !reflect.DeepEqual(wasDiscord, isDiscord)
}
