package main

import (
	"slices"
	"testing"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/chat"
	"github.com/berth-dev/berth/bot/command"
	"github.com/berth-dev/berth/configs"
)

func TestChannelsCanBeLimitedToAnyVerb(t *testing.T) {
	want := command.Verbs()
	slices.Sort(want)
	if got := configs.Commands(); !slices.Equal(got, want) {
		t.Errorf("package configs knows the verbs %v, the grammar %v", got, want)
	}
}

func TestWhatStandsAfterEachVerbHasOptionsInDiscord(t *testing.T) {
	top := map[string]bool{}
	for _, verb := range discordVerbs() {
		name := verb.Group
		if name == "" {
			name = verb.Name
		}
		top[name] = true
		if verb.Summary == "" || len(verb.Arguments)+len(verb.Flags) > 25 {
			t.Errorf("%s: %q with %d options", verb.Name, verb.Summary, len(verb.Arguments)+len(verb.Flags))
		}
		if command.Argument(verb.Name) != "" && len(verb.Arguments) == 0 {
			t.Errorf("nothing can be given to %s", verb.Name)
		}
	}
	if len(top) > 25 {
		t.Errorf("%d subcommands are more than Discord takes", len(top))
	}
}

func TestChannelRules(t *testing.T) {
	cfg := &configs.Config{
		Slack: &configs.Slack{Guests: []string{"viewer"}, Channels: map[string]configs.Channel{
			"C1": {Apps: []string{"shop"}}, "T2/C1": {Apps: []string{"blog"}}, "*": {Verbs: []string{"status"}},
		}},
		Discord: &configs.Discord{Guilds: []string{"1"}, Guests: []string{"viewer"}, Channels: map[string]configs.Channel{"5": {Apps: []string{"shop"}}}},
	}
	s := &server{config: &inForce{cfg: cfg}}
	tests := map[string]struct {
		at   bot.ChatPlace
		want chat.Rules
	}{
		"a channel that is listed":         {bot.ChatPlace{Platform: "slack", Workspace: "T1", Channel: "C1"}, chat.Rules{Apps: []string{"shop"}, Guests: []string{"viewer"}}},
		"one of another workspace":         {bot.ChatPlace{Platform: "slack", Workspace: "T2", Channel: "C1"}, chat.Rules{Apps: []string{"blog"}, Guests: []string{"viewer"}}},
		"one that is not listed":           {bot.ChatPlace{Platform: "slack", Workspace: "T1", Channel: "C9"}, chat.Rules{Verbs: []string{"status"}, Guests: []string{"viewer"}}},
		"a channel of the other platform":  {bot.ChatPlace{Platform: "discord", Workspace: "1", Channel: "5"}, chat.Rules{Apps: []string{"shop"}, Guests: []string{"viewer"}}},
		"a thread of it":                   {bot.ChatPlace{Platform: "discord", Workspace: "1", Channel: "5", Thread: "6"}, chat.Rules{Apps: []string{"shop"}, Guests: []string{"viewer"}}},
		"where the config is for anything": {bot.ChatPlace{Platform: "discord", Workspace: "1", Channel: "7"}, chat.Rules{Guests: []string{"viewer"}}},
		"no guests but of the guilds":      {bot.ChatPlace{Platform: "discord", Channel: "8"}, chat.Rules{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := s.channelRules(tt.at)
			if !slices.Equal(got.Apps, tt.want.Apps) || !slices.Equal(got.Verbs, tt.want.Verbs) || !slices.Equal(got.Guests, tt.want.Guests) {
				t.Errorf("rules = %+v, want %+v", got, tt.want)
			}
		})
	}
}
