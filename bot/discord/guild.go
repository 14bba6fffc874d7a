package discord

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
)

// What may be done in a channel, as far as it decides whether Berth can read it.
// Source: https://docs.discord.com/developers/topics/permissions#permissions-bitwise-permission-flags
const (
	mayAdminister  = 1 << 3
	mayView        = 1 << 10
	mayReadHistory = 1 << 16
	mayConnect     = 1 << 20
)

// The types of channels that people write messages in, but for threads.
// Source: https://docs.discord.com/developers/resources/channel#channel-object-channel-types
const (
	channelText         = 0
	channelVoice        = 2
	channelAnnouncement = 5
	channelStage        = 13
)

// guildObject is a guild as a session is told of it when it begins.
// Source: https://docs.discord.com/developers/events/gateway-events#guild-create
type guildObject struct {
	ID          string         `json:"id"`
	Unavailable bool           `json:"unavailable"`
	OwnerID     string         `json:"owner_id"`
	Roles       []guildRole    `json:"roles"`
	Members     []guildMember  `json:"members"` // Berth's own account, and maybe others
	Channels    []guildChannel `json:"channels"`
	Threads     []guildChannel `json:"threads"` // those that are active, and that Berth sees
}

type guildRole struct {
	ID          string      `json:"id"`
	Permissions permissions `json:"permissions"`
}

type guildMember struct {
	User  user     `json:"user"`
	Roles []string `json:"roles"`
}

// guildChannel is a channel or thread of it.
type guildChannel struct {
	channelObject
	LastMessageID string      `json:"last_message_id"` // it may be gone; "" when there was none
	Overwrites    []overwrite `json:"permission_overwrites"`
}

// overwrite changes what a role or member may do in one channel.
type overwrite struct {
	ID    string      `json:"id"`
	Allow permissions `json:"allow"`
	Deny  permissions `json:"deny"`
}

// permissions are bits, which Discord writes as a number in a string.
type permissions uint64

// UnmarshalJSON reads what Discord writes. What is no number permits nothing.
func (p *permissions) UnmarshalJSON(raw []byte) error {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		n = 0
	}
	*p = permissions(n)
	return nil
}

// decodeGuild reads GUILD_CREATE.
func decodeGuild(raw []byte) (guildObject, error) {
	var g guildObject
	if err := json.Unmarshal(raw, &g); err != nil || !isID(g.ID) {
		return guildObject{}, errors.New("GUILD_CREATE does not say which guild it is")
	}
	return g, nil
}

// unread is a channel or thread, or direct messages, in which there may be what
// nobody has heard.
type unread struct {
	guild   string // "" for direct messages
	channel channelObject
	last    uint64 // the newest message; 0 when that is not known
	after   uint64 // all up to this message was read
}

// unread are the channels and threads of the guild in which something was said
// after a message, as far as Berth may read them.
func (g guildObject) unread(me string, after uint64) []unread {
	var found []unread
	byID := map[string]guildChannel{}
	base := g.mine(me)
	add := func(c guildChannel, may permissions) {
		last, err := strconv.ParseUint(c.LastMessageID, 10, 64)
		need := permissions(mayView | mayReadHistory)
		if c.Type == channelVoice || c.Type == channelStage {
			need |= mayConnect
		}
		if err != nil || last <= after || may&need != need || !isID(c.ID) {
			return
		}
		c.GuildID = g.ID // which is left out where the guild says it
		found = append(found, unread{guild: g.ID, channel: c.channelObject, last: last, after: after})
	}
	for _, c := range g.Channels {
		byID[c.ID] = c
		switch c.Type {
		case channelText, channelVoice, channelAnnouncement, channelStage:
			add(c, g.in(c, me, base))
		}
	}
	for _, t := range g.Threads {
		if parent, known := byID[t.ParentID]; known && t.thread() {
			add(t, g.in(parent, me, base))
		}
	}
	return found
}

const mayAll = ^permissions(0)

// mine is what Berth may do in the guild. Where the guild does not say, that is
// found out by trying.
// Source: https://docs.discord.com/developers/topics/permissions#permission-overwrites
func (g guildObject) mine(me string) permissions {
	i := slices.IndexFunc(g.Members, func(m guildMember) bool { return m.User.ID == me })
	if i < 0 || g.OwnerID == me {
		return mayAll
	}
	var may permissions
	for _, r := range g.Roles {
		if r.ID == g.ID || slices.Contains(g.Members[i].Roles, r.ID) { // the guild's own id is everybody's role
			may |= r.Permissions
		}
	}
	if may&mayAdminister != 0 {
		return mayAll
	}
	return may
}

// in is what Berth may do in a channel: what everybody may is changed first, then
// what its roles may, then what it may itself.
func (g guildObject) in(c guildChannel, me string, base permissions) permissions {
	i := slices.IndexFunc(g.Members, func(m guildMember) bool { return m.User.ID == me })
	if base == mayAll || i < 0 {
		return mayAll
	}
	var everybody, roles, own overwrite
	for _, o := range c.Overwrites {
		switch {
		case o.ID == g.ID:
			everybody = o
		case o.ID == me:
			own = o
		case slices.Contains(g.Members[i].Roles, o.ID):
			roles.Allow |= o.Allow
			roles.Deny |= o.Deny
		}
	}
	for _, o := range []overwrite{everybody, roles, own} {
		base = base&^o.Deny | o.Allow
	}
	return base
}
