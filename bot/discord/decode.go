package discord

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/bot"
)

// The types of interactions.
// Source: https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object-interaction-type
const (
	typePing         = 1
	typeCommand      = 2
	typeComponent    = 3
	typeAutocomplete = 4
	typeModal        = 5
)

// The types of application commands and of their options.
// Source: https://docs.discord.com/developers/interactions/application-commands#application-command-object
const (
	commandSlash   = 1
	commandMessage = 3

	optionSubcommand = 1
	optionGroup      = 2
	optionString     = 3
	optionInteger    = 4
	optionBoolean    = 5
)

// tokenLife is how long an interaction can be answered.
// Source: https://docs.discord.com/developers/interactions/receiving-and-responding#followup-messages
const tokenLife = 15 * time.Minute

// maxToken is the longest token of an interaction that is taken. Discord's have
// some 200 characters.
const maxToken = 1000

// isToken tells whether s looks like a token of an interaction. It becomes a piece
// of an address.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("._~+=:-", c) >= 0:
		default:
			return false
		}
	}
	return strings.Trim(s, ".") != "" && len(s) <= maxToken
}

// user is an account.
type user struct {
	ID         string `json:"id"`
	Username   string `json:"username"`
	GlobalName string `json:"global_name"`
	Bot        bool   `json:"bot"`
}

// shown is what people see an account called.
func (u user) shown(nick string) string {
	for _, name := range []string{nick, u.GlobalName, u.Username} {
		if name = clipRunes(oneLine(name), 80); name != "" {
			return name
		}
	}
	return ""
}

// channelObject is a channel or thread, as far as that matters.
type channelObject struct {
	ID       string `json:"id"`
	Type     int    `json:"type"`
	ParentID string `json:"parent_id"`
	GuildID  string `json:"guild_id"`
}

// thread tells whether it is one, below ParentID.
// Source: https://docs.discord.com/developers/resources/channel#channel-object-channel-types
func (c channelObject) thread() bool { return c.Type >= 10 && c.Type <= 12 && isID(c.ParentID) }

// threadType is the most common type of thread.
const threadType = 11

// interaction is what somebody did with a command, a button or a modal.
type interaction struct {
	ID            string          `json:"id"`
	ApplicationID string          `json:"application_id"`
	Type          int             `json:"type"`
	Data          json.RawMessage `json:"data"`
	GuildID       string          `json:"guild_id"`
	ChannelID     string          `json:"channel_id"`
	Context       int             `json:"context"`
	Channel       *channelObject  `json:"channel"`
	Member        *struct {
		User user   `json:"user"`
		Nick string `json:"nick"`
	} `json:"member"`
	User    *user    `json:"user"`
	Token   string   `json:"token"`
	Message *message `json:"message"`
}

// message is a message, as far as that matters.
type message struct {
	ID         string      `json:"id"`
	Content    string      `json:"content"`
	Components []component `json:"components"`
	Embeds     []struct {
		Title       string `json:"title"`
		URL         string `json:"url"`
		Description string `json:"description"`
	} `json:"embeds"`
}

// component is a part of a message or modal, which may hold others.
type component struct {
	Type       int         `json:"type"`
	CustomID   string      `json:"custom_id"`
	Label      string      `json:"label"`
	Value      string      `json:"value"`
	Component  *component  `json:"component"`
	Components []component `json:"components"`
}

// decodeInteraction reads an interaction and tells what is wrong with one that
// cannot be Discord's.
func decodeInteraction(body []byte) (interaction, error) {
	var i interaction
	if err := json.Unmarshal(body, &i); err != nil {
		return interaction{}, errors.New("the interaction is not the JSON that it should be")
	}
	switch {
	case i.Type == typePing:
		return i, nil
	case i.Type < typePing || i.Type > typeModal:
		return interaction{}, fmt.Errorf("interactions of type %d are not known", i.Type)
	case !isID(i.ID), !isID(i.ChannelID), i.GuildID != "" && !isID(i.GuildID), i.ApplicationID != "" && !isID(i.ApplicationID):
		return interaction{}, errors.New("an id of the interaction is none")
	case !isToken(i.Token):
		return interaction{}, errors.New("the interaction has no token")
	case !isID(i.by().ID):
		return interaction{}, errors.New("the interaction does not say whose it is")
	case i.Channel != nil && i.Channel.ID != "" && i.Channel.ID != i.ChannelID:
		return interaction{}, errors.New("the interaction is in two channels")
	case i.Message != nil && !isID(i.Message.ID):
		return interaction{}, errors.New("the message's id is none")
	}
	return i, nil
}

// by is who did it.
func (i interaction) by() user {
	switch {
	case i.Member != nil:
		return i.Member.User
	case i.User != nil:
		return *i.User
	}
	return user{}
}

// contextPrivate is that of people's direct messages among themselves, where an
// application can be used that somebody added to their account.
// Source: https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object-interaction-context-types
const contextPrivate = 2

// place is where it was done. Berth can write nothing where people write to each
// other, so that what is done there counts as told to it directly.
func (i interaction) place() bot.ChatPlace {
	if i.GuildID == "" && i.Context == contextPrivate {
		return bot.ChatPlace{Platform: bot.PlatformDiscord, User: i.by().ID}
	}
	p := bot.ChatPlace{Platform: bot.PlatformDiscord, Workspace: i.GuildID, Channel: i.ChannelID}
	if i.Channel != nil && i.Channel.thread() {
		p.Channel, p.Thread = i.Channel.ParentID, i.ChannelID
	}
	return p
}

// event is the interaction as a command, which arrives now.
func (i interaction) event(line string, now time.Time) bot.ChatEvent {
	by, nick := i.by(), ""
	if i.Member != nil {
		nick = i.Member.Nick
	}
	at := momentOf(i.ID, now)
	e := bot.ChatEvent{
		ID: i.ID, Kind: bot.ChatCommand, Place: i.place(), Private: i.GuildID == "", Identity: identityPrefix + by.ID, User: by.ID, Name: by.shown(nick),
		Line: line, Answer: i.Token, Until: at.Add(tokenLife), At: at,
	}
	if i.Message != nil {
		e.Message = i.Message.ID
	}
	return e
}

// identityPrefix begins identities of Discord's accounts.
const identityPrefix = bot.PlatformDiscord + ":"

// discordEpoch is what the times in ids count from, in Unix milliseconds.
// Source: https://docs.discord.com/developers/reference#snowflakes
const discordEpoch = 1420070400000

// timeOf is when what has this id was made. Ids that are too small or too large
// to hold a time give the first or last that there is.
func timeOf(id string) time.Time {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		n = math.MaxUint64
	}
	return time.UnixMilli(int64(n>>22) + discordEpoch).UTC()
}

// momentOf is when an interaction or a message was made that arrives now. It
// arrives within seconds, or within missedFor, so that an id that tells of another
// time tells of none: not every server of the API makes ids of the time.
func momentOf(id string, now time.Time) time.Time {
	at := timeOf(id)
	if age := now.Sub(at); age > tokenLife || age < -maxSkew {
		return now.UTC()
	}
	return at
}

// commandData is what an application command, or one that is being typed, says.
type commandData struct {
	Name     string   `json:"name"`
	Type     int      `json:"type"`
	Options  []option `json:"options"`
	TargetID string   `json:"target_id"`
	Resolved struct {
		Messages map[string]message `json:"messages"`
	} `json:"resolved"`
}

// option is a subcommand, a group of them, or what was given to one.
type option struct {
	Name    string          `json:"name"`
	Type    int             `json:"type"`
	Value   json.RawMessage `json:"value"`
	Options []option        `json:"options"`
	Focused bool            `json:"focused"`
}

// value is what was given for an option.
type value struct {
	text    string
	number  int64
	on      bool
	focused bool // it is being typed
}

// call is a subcommand with what was given to it.
type call struct {
	path  []string // {"deploy"}, {"vars", "set"}
	given map[string]value
	focus string // the option that is being typed
}

// slash tells whether it is /berth. The application may have other commands,
// which somebody else answers for.
func (d commandData) slash() bool {
	return d.Name == slashCommand && (d.Type == commandSlash || d.Type == 0)
}

// decodeCommand reads an application command. It returns no call for one that is
// not /berth.
func decodeCommand(data json.RawMessage) (commandData, call, error) {
	return readCall(data, false)
}

// decodeTyping reads a command that is being typed. What is no value of its
// option yet is left out of it, since Discord checks none before they are sent.
// Source: https://docs.discord.com/developers/interactions/application-commands#autocomplete
func decodeTyping(data json.RawMessage) (commandData, call, error) {
	return readCall(data, true)
}

func readCall(data json.RawMessage, typing bool) (commandData, call, error) {
	var d commandData
	if err := json.Unmarshal(data, &d); err != nil {
		return commandData{}, call{}, errors.New("the command is not the JSON that it should be")
	}
	if !d.slash() {
		return d, call{}, nil
	}
	c := call{given: map[string]value{}}
	options := d.Options
	for len(options) == 1 && (options[0].Type == optionGroup || options[0].Type == optionSubcommand) && len(c.path) < 2 {
		c.path = append(c.path, options[0].Name)
		sub := options[0].Type == optionSubcommand
		options = options[0].Options
		if sub {
			break
		}
	}
	for _, o := range options {
		v, err := o.value()
		if err != nil && typing {
			continue
		}
		if err != nil {
			return commandData{}, call{}, err
		}
		if _, twice := c.given[o.Name]; twice {
			return commandData{}, call{}, fmt.Errorf("the option %.32q is given twice", o.Name)
		}
		c.given[o.Name] = v
		if o.Focused {
			c.focus = o.Name
		}
	}
	return d, c, nil
}

// value reads what was given for an option. What is still being typed is text,
// whatever it is to become.
func (o option) value() (value, error) {
	v := value{focused: o.Focused}
	var err error
	switch {
	case o.Type == optionString, o.Focused && len(o.Value) > 0 && o.Value[0] == '"':
		err = json.Unmarshal(o.Value, &v.text)
	case o.Type == optionInteger:
		err = json.Unmarshal(o.Value, &v.number)
	case o.Type == optionBoolean:
		err = json.Unmarshal(o.Value, &v.on)
	default:
		return value{}, fmt.Errorf("options of type %d are not known", o.Type)
	}
	if err != nil {
		return value{}, fmt.Errorf("the option %.32q is not of its type", o.Name)
	}
	return v, nil
}

// componentData is what a click on a button says.
type componentData struct {
	CustomID string `json:"custom_id"`
}

func decodeComponent(data json.RawMessage) (componentData, error) {
	var d componentData
	if err := json.Unmarshal(data, &d); err != nil {
		return componentData{}, errors.New("the click is not the JSON that it should be")
	}
	return d, nil
}

// modalData is what somebody filled in.
type modalData struct {
	CustomID   string      `json:"custom_id"`
	Components []component `json:"components"`
}

func decodeModal(data json.RawMessage) (modalData, error) {
	var d modalData
	if err := json.Unmarshal(data, &d); err != nil {
		return modalData{}, errors.New("the form is not the JSON that it should be")
	}
	return d, nil
}

// text is what was filled in for a field of a modal: in a label, or in a row as
// older modals have it.
func (d modalData) text(field string) string {
	if c := find(d.Components, field, 0); c != nil {
		return c.Value
	}
	return ""
}

// find looks for the component of that id, in components at most as deep in
// others as Discord puts them.
func find(among []component, id string, depth int) *component {
	if depth > 4 {
		return nil
	}
	for n := range among {
		c := &among[n]
		if c.CustomID == id {
			return c
		}
		if c.Component != nil {
			if c.Component.CustomID == id {
				return c.Component
			}
			if found := find(c.Component.Components, id, depth+1); found != nil {
				return found
			}
		}
		if found := find(c.Components, id, depth+1); found != nil {
			return found
		}
	}
	return nil
}

// clipRunes shortens text to most characters.
func clipRunes(s string, most int) string {
	if len(s) <= most {
		return s
	}
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
