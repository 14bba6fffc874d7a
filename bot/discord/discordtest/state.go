package discordtest

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Permissions that the stand-in looks at.
// Source: https://docs.discord.com/developers/topics/permissions#permissions-bitwise-permission-flags
const (
	AddReactions          = 1 << 6
	ViewChannel           = 1 << 10
	SendMessages          = 1 << 11
	ManageMessages        = 1 << 13
	EmbedLinks            = 1 << 14
	AttachFiles           = 1 << 15
	ReadMessageHistory    = 1 << 16
	MentionEveryone       = 1 << 17
	UseCommands           = 1 << 31
	CreatePublicThreads   = 1 << 35
	SendMessagesInThreads = 1 << 38
)

// everything is what members may do in a channel that denies nothing.
const everything = AddReactions | ViewChannel | SendMessages | EmbedLinks | AttachFiles | ReadMessageHistory | UseCommands | CreatePublicThreads | SendMessagesInThreads

// Types of channels.
// Source: https://docs.discord.com/developers/resources/channel#channel-object-channel-types
const (
	channelText   = 0
	channelDM     = 1
	channelThread = 11
)

// Flags of messages.
// Source: https://docs.discord.com/developers/resources/message#message-object-message-flags
const (
	flagSuppressEmbeds = 1 << 2
	flagHasThread      = 1 << 5
	flagEphemeral      = 1 << 6
	flagLoading        = 1 << 7
	flagSilent         = 1 << 12
	flagComponentsV2   = 1 << 15
)

type user struct {
	id, name, username string
	bot, noDMs         bool
	dm                 string            // the channel with the bot, once there is one
	read               map[string]string // by channel: the newest message that the page showed them
}

func (u *user) login() string {
	if u.username != "" {
		return u.username
	}
	return strings.ToLower(strings.ReplaceAll(u.name, " ", "_"))
}

type guild struct {
	id, name string
	noBot    bool // the bot is not a member
	roles    []*role
	members  map[string]*member
}

func (g *guild) role(id string) *role {
	for _, r := range g.roles {
		if r.id == id {
			return r
		}
	}
	return nil
}

type role struct {
	id, name    string
	color       int
	mentionable bool
}

type member struct {
	user   *user
	nick   string
	roles  []string
	joined time.Time
}

type channel struct {
	id, name, topic string
	kind            int
	guild           *guild // nil for direct messages
	with            *user  // whom a direct message is with
	parent          *channel
	owner           string // who started a thread
	denied          int64  // what the bot may not do there
	last            string // the newest message
	messages        []*message
	made            time.Time
	archived        bool
}

// message is one that is or was in a channel. What is in it is replaced whole
// and never changed in place, so that snapshots may share it.
type message struct {
	id          string
	channel     *channel
	author      *user
	body        body
	flags       int
	at, edited  time.Time
	edits       int
	nonce       any
	reference   *message
	refersTo    string // the id of what it replies to, also when that is gone
	thread      *channel
	to          *user // who alone sees it; nil for everybody
	interaction *interaction
	pings       []string // whom it called: ids of accounts and roles, "everyone"
	mentions    []*user
	roles       []string
	everyone    bool
	dismissed   bool
	clicks      map[*user]*interaction // the last of each
	reactions   []string               // the application's, as emoji
}

// body is what is replaced by an edit.
type body struct {
	Content     string       `json:"content"`
	Embeds      []Embed      `json:"embeds"`
	Components  []Component  `json:"components"`
	Attachments []Attachment `json:"attachments"`
}

// Embed is a box in a message.
// Source: https://docs.discord.com/developers/resources/message#embed-object
type Embed struct {
	Type        string       `json:"type,omitempty"`
	Title       string       `json:"title,omitempty"`
	Description string       `json:"description,omitempty"`
	URL         string       `json:"url,omitempty"`
	Timestamp   string       `json:"timestamp,omitempty"`
	Color       *int         `json:"color,omitempty"`
	Footer      *EmbedFooter `json:"footer,omitempty"`
	Image       *EmbedMedia  `json:"image,omitempty"`
	Thumbnail   *EmbedMedia  `json:"thumbnail,omitempty"`
	Author      *EmbedAuthor `json:"author,omitempty"`
	Fields      []EmbedField `json:"fields,omitempty"`
}

// EmbedFooter is the last line of an Embed.
type EmbedFooter struct {
	Text    string `json:"text"`
	IconURL string `json:"icon_url,omitempty"`
}

// EmbedMedia is a picture of an Embed.
type EmbedMedia struct {
	URL string `json:"url"`
}

// EmbedAuthor is the first line of an Embed.
type EmbedAuthor struct {
	Name    string `json:"name"`
	URL     string `json:"url,omitempty"`
	IconURL string `json:"icon_url,omitempty"`
}

// EmbedField is a fact of an Embed.
type EmbedField struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Inline bool   `json:"inline,omitempty"`
}

// Types of components that the stand-in shows.
// Source: https://docs.discord.com/developers/components/reference#component-object-component-types
const (
	ComponentRow    = 1
	ComponentButton = 2
	ComponentSelect = 3
	ComponentInput  = 4
	ComponentLabel  = 18
)

// Styles of buttons and of text inputs.
// Source: https://docs.discord.com/developers/components/reference#button-button-styles
const (
	ButtonPrimary   = 1
	ButtonSecondary = 2
	ButtonSuccess   = 3
	ButtonDanger    = 4
	ButtonLink      = 5
	InputShort      = 1
	InputParagraph  = 2
)

// Component is a row, a button, a menu, or a field of a modal.
type Component struct {
	Type        int            `json:"type"`
	ID          int            `json:"id,omitempty"`
	CustomID    string         `json:"custom_id,omitempty"`
	Label       string         `json:"label,omitempty"`
	Style       int            `json:"style,omitempty"`
	URL         string         `json:"url,omitempty"`
	Emoji       *Emoji         `json:"emoji,omitempty"`
	Disabled    bool           `json:"disabled,omitempty"`
	Components  []Component    `json:"components,omitempty"`
	Component   *Component     `json:"component,omitempty"` // of a label
	Description string         `json:"description,omitempty"`
	Options     []SelectOption `json:"options,omitempty"`
	Placeholder string         `json:"placeholder,omitempty"`
	MinValues   *int           `json:"min_values,omitempty"`
	MaxValues   *int           `json:"max_values,omitempty"`
	MinLength   *int           `json:"min_length,omitempty"`
	MaxLength   *int           `json:"max_length,omitempty"`
	Required    *bool          `json:"required,omitempty"`
	Value       string         `json:"value,omitempty"`
}

// Emoji is one on a button. The stand-in knows those that are characters.
type Emoji struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// SelectOption is a line of a menu.
type SelectOption struct {
	Label       string `json:"label"`
	Value       string `json:"value"`
	Description string `json:"description,omitempty"`
	Default     bool   `json:"default,omitempty"`
}

// Attachment is a file of a message.
type Attachment struct {
	ID          string `json:"id"`
	Filename    string `json:"filename"`
	Description string `json:"description,omitempty"`
	ContentType string `json:"content_type,omitempty"`
	Size        int    `json:"size"`
	URL         string `json:"url"`
	ProxyURL    string `json:"proxy_url"`
	Ephemeral   bool   `json:"ephemeral,omitempty"`
	content     []byte
}

// Text is what is in the file.
func (a Attachment) Text() string { return string(a.content) }

type file struct {
	name, contentType string
	content           []byte
}

// into decodes a part of a body that was checked before.
func into[T any](v any) T {
	var out T
	raw, err := json.Marshal(v)
	if err == nil {
		_ = json.NewDecoder(bytes.NewReader(raw)).Decode(&out) // What does not fit was refused by the check, and is left out.
	}
	return out
}

// controls are all buttons and menus of a message, in order.
func controls(list []Component) []Component {
	var all []Component
	for _, c := range list {
		switch c.Type {
		case ComponentRow:
			all = append(all, controls(c.Components)...)
		case ComponentLabel:
			if c.Component != nil {
				all = append(all, *c.Component)
			}
		default:
			all = append(all, c)
		}
	}
	return all
}

// base is the channel that a thread belongs to, else the channel itself.
func (c *channel) base() *channel {
	if c.parent != nil {
		return c.parent
	}
	return c
}

// may tells what the bot may do in the channel.
func (c *channel) may() int64 {
	if c.guild != nil && c.guild.noBot {
		return 0
	}
	return everything &^ c.base().denied
}

// visible tells whether somebody sees the channel.
func (s *Server) visible(c *channel, u *user) bool {
	if c.guild == nil {
		return u.bot || c.with == u
	}
	return c.guild.members[u.id] != nil
}

// older orders ids, which are numbers of any length.
func older(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	if errX != nil || errY != nil {
		return a < b
	}
	return x < y
}

func (g *guild) sortedMembers() []*member {
	var all []*member
	for _, id := range sortedKeys(g.members) {
		all = append(all, g.members[id])
	}
	slices.SortStableFunc(all, func(a, b *member) int { return strings.Compare(a.user.name, b.user.name) })
	return all
}
