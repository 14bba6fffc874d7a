package configs

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Slack is the Slack surface.
type Slack struct {
	// SigningSecret signs what Slack sends. It can be left out where AppToken has
	// all of it come by Socket Mode.
	SigningSecret Secret `yaml:"signing_secret" json:"signing_secret,omitzero"`
	BotToken      Secret `yaml:"bot_token" json:"bot_token"` // xoxb-…, of the workspace where Berth is at home
	// AppToken (xapp-…) turns Socket Mode on: Slack need not reach Berth then.
	AppToken Secret `yaml:"app_token" json:"app_token,omitzero"`
	APIURL   string `yaml:"api_url" json:"api_url,omitempty"` // https://slack.com/api/ when empty
	// Guests are the roles of people whose account the config does not name and
	// who have linked none; none when empty.
	Guests []string `yaml:"guests" json:"guests,omitempty"`
	// Workspaces are others where the same app is installed. Accounts there are
	// slack:TEAM.ID.
	Workspaces []Workspace `yaml:"workspaces" json:"workspaces,omitempty"`
	// Channels are by id, C0123, in another workspace T0002/C0123, and "*" for all
	// that are not listed.
	Channels map[string]Channel `yaml:"channels" json:"channels,omitempty"`
}

// Workspace is a further workspace of Slack.
type Workspace struct {
	Team     string `yaml:"team" json:"team"` // its id, T0002
	BotToken Secret `yaml:"bot_token" json:"bot_token"`
}

// Discord is the Discord surface, for all guilds that the application is in.
type Discord struct {
	ApplicationID string `yaml:"application_id" json:"application_id"`
	// PublicKey, in hex, verifies what Discord sends to the interactions endpoint.
	// It can be left out with Gateway.
	PublicKey string `yaml:"public_key" json:"public_key,omitempty" jsonschema:"pattern=^[0-9a-fA-F]{64}$"`
	BotToken  Secret `yaml:"bot_token" json:"bot_token"`
	APIURL    string `yaml:"api_url" json:"api_url,omitempty"` // https://discord.com/api/v10/ when empty
	// Gateway has Berth connect to Discord, which need not reach it then, and hear
	// where it is mentioned. Without public_key it is true when left out.
	Gateway *bool `yaml:"gateway" json:"gateway,omitempty"`
	// Guilds are the ids of those that Berth is for, where `berth discord register`
	// registers the commands; all that it is added to when empty.
	Guilds []string `yaml:"guilds" json:"guilds,omitempty"`
	// Guests are the roles of people whose account the config does not name and
	// who have linked none; none when empty.
	Guests []string `yaml:"guests" json:"guests,omitempty"`
	// Channels are by id, and "*" for all that are not listed.
	Channels map[string]Channel `yaml:"channels" json:"channels,omitempty"`
}

// Channel is what a channel of chat is for.
type Channel struct {
	// Apps are those that commands there reach. Where it is one, its environments
	// need no app before them. Empty means all.
	Apps []string `yaml:"apps" json:"apps,omitempty"`
	// Verbs are what may be asked for there, besides help and link; empty means all.
	Verbs []string `yaml:"verbs" json:"verbs,omitempty"`
}

// Defaults of the sections slack and discord.
const (
	DefaultSlackURL   = "https://slack.com/api/"
	DefaultDiscordURL = "https://discord.com/api/v10/"
)

// OnGateway tells whether Berth connects to Discord.
func (c *Discord) OnGateway() bool {
	if c.Gateway != nil {
		return *c.Gateway
	}
	return c.PublicKey == ""
}

// AnyChannel stands for the channels that are not listed.
const AnyChannel = "*"

var (
	// Ids of Slack are capital letters and digits that begin with the kind.
	teamPattern         = regexp.MustCompile(`^[TE][A-Z0-9]{1,30}$`)
	slackChannelPattern = regexp.MustCompile(`^([TE][A-Z0-9]{1,30}/)?[CGD][A-Z0-9]{1,30}$`)
	// snowflakePattern is an id of Discord.
	// Source: https://discord.com/developers/docs/reference#snowflakes
	snowflakePattern = regexp.MustCompile(`^[0-9]{1,20}$`)
	publicKeyPattern = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
)

// commands are the verbs that a channel can be limited to. Package bot has them
// too; a test of cmd/berth holds both together.
var commands = []string{
	"approve", "archive", "cancel", "cleanup", "deny", "deploy", "diff", "explain", "extend", "help", "history", "link", "list", "lock", "logs",
	"restart", "restore", "retry", "rollback", "set", "sleep", "status", "unlock", "unset", "vars", "wake",
}

// Commands are the verbs that a channel can be limited to.
func Commands() []string { return slices.Clone(commands) }

func (d *document) slack(c *Config) {
	s := c.Slack
	if s == nil {
		return
	}
	if s.SigningSecret.IsZero() && s.AppToken.IsZero() && !d.written("slack.signing_secret") && !d.written("slack.app_token") {
		d.fault("slack.signing_secret", "it is needed: without it anybody could pretend to be Slack; or give app_token for Socket Mode")
	}
	if s.BotToken.IsZero() && !d.written("slack.bot_token") {
		d.fault("slack.bot_token", "it is needed to answer in Slack")
	}
	d.url("slack.api_url", s.APIURL)
	d.guests("slack.guests", s.Guests)
	first := map[string]int{}
	for i, w := range s.Workspaces {
		path := fmt.Sprintf("slack.workspaces[%d]", i)
		other, taken := first[w.Team]
		switch {
		case !teamPattern.MatchString(w.Team):
			d.fault(path+".team", "%q is not a workspace; write its id, such as T0002", w.Team)
		case taken:
			d.fault(path+".team", "slack.workspaces[%d] is %s too", other, w.Team)
		default:
			first[w.Team] = i
		}
		if w.BotToken.IsZero() && !d.written(path+".bot_token") {
			d.fault(path+".bot_token", "it is needed to answer there")
		}
	}
	d.channels(c, "slack.channels", s.Channels, slackChannelPattern, "C0123, or T0002/C0123 of another workspace")
}

func (d *document) discord(c *Config) {
	s := c.Discord
	if s == nil {
		return
	}
	if !snowflakePattern.MatchString(s.ApplicationID) {
		d.fault("discord.application_id", "the application's id is needed, in quotes: Discord shows it under General Information")
	}
	switch {
	case s.PublicKey == "" && s.Gateway != nil && !*s.Gateway:
		d.fault("discord.public_key", "it is needed without gateway: with neither, nothing of Discord's could be heard")
	case s.PublicKey != "" && !publicKeyPattern.MatchString(s.PublicKey):
		d.fault("discord.public_key", "this should be the application's public key, 64 digits of hex: Discord shows it under General Information")
	}
	if s.BotToken.IsZero() && !d.written("discord.bot_token") {
		d.fault("discord.bot_token", "it is needed to write in Discord")
	}
	d.url("discord.api_url", s.APIURL)
	d.guests("discord.guests", s.Guests)
	for i, guild := range s.Guilds {
		if !snowflakePattern.MatchString(guild) {
			d.fault(fmt.Sprintf("discord.guilds[%d]", i), "%q is not a guild; write its id in quotes", guild)
		}
	}
	d.channels(c, "discord.channels", s.Channels, snowflakePattern, "its id in quotes")
}

// guests checks the roles of strangers.
func (d *document) guests(path string, roles []string) {
	for i, role := range roles {
		if role == "" || strings.ContainsAny(role, " \t\n:") {
			d.fault(fmt.Sprintf("%s[%d]", path, i), "%q is not a role; viewer lets guests look", role)
		}
	}
}

func (d *document) channels(c *Config, path string, channels map[string]Channel, pattern *regexp.Regexp, how string) {
	for _, id := range slices.Sorted(maps.Keys(channels)) {
		at := join(path, id)
		if id != AnyChannel && !pattern.MatchString(id) {
			d.fault(at, "%q is not a channel; write %s, or \"*\" for all others", id, how)
		}
		d.apps(c, at+".apps", channels[id].Apps)
		for i, verb := range channels[id].Verbs {
			d.word(fmt.Sprintf("%s.verbs[%d]", at, i), verb, commands)
		}
	}
}
