package discordtest

import (
	"fmt"
	"slices"
	"time"
)

// Guild is a server, as Discord calls it to people.
type Guild struct {
	ID   string // empty is made
	Name string
	// NoBot has the bot not be a member: its commands work, and nothing else.
	NoBot bool
}

// Role is one of a guild.
type Role struct {
	ID, Guild, Name string // ID empty is made
	Color           int    // 0xRRGGBB
	Mentionable     bool   // anybody may call it
}

// User is a person.
type User struct {
	ID    string // empty is made
	Name  string
	NoDMs bool // takes no direct messages
	// Guilds are those that they are a member of, and Roles the ids of their roles
	// there.
	Guilds []string
	Roles  []string
}

// Channel is one of a guild.
type Channel struct {
	ID, Guild, Name, Topic string // ID empty is made
	// Denied are permissions that the bot does not have there: [SendMessages].
	Denied int64
}

// AddGuild makes a guild, of which the bot is a member, and returns its id.
func (s *Server) AddGuild(g Guild) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.ID == "" {
		g.ID = s.newID()
	}
	if !isSnowflake(g.ID) || s.guilds[g.ID] != nil {
		return "", fmt.Errorf("discordtest: %q is taken, or no id", g.ID)
	}
	made := &guild{id: g.ID, name: g.Name, noBot: g.NoBot, members: map[string]*member{}}
	if !g.NoBot {
		made.members[s.app.id] = &member{user: s.app, joined: s.opts.Now()}
	}
	s.guilds[g.ID] = made
	if !g.NoBot {
		s.dispatch(made, "GUILD_CREATE", s.wireGuildCreate(made), IntentGuilds)
	}
	s.touch()
	return g.ID, nil
}

// AddRole makes a role and returns its id.
func (s *Server) AddRole(r Role) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.guilds[r.Guild]
	if g == nil {
		return "", fmt.Errorf("discordtest: there is no guild %q", r.Guild)
	}
	if r.ID == "" {
		r.ID = s.newID()
	}
	if !isSnowflake(r.ID) || g.role(r.ID) != nil {
		return "", fmt.Errorf("discordtest: %q is taken, or no id", r.ID)
	}
	g.roles = append(g.roles, &role{id: r.ID, name: r.Name, color: r.Color, mentionable: r.Mentionable})
	s.touch()
	return r.ID, nil
}

// AddUser makes a person and returns their id.
func (s *Server) AddUser(u User) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.ID == "" {
		u.ID = s.newID()
	}
	if !isSnowflake(u.ID) || s.users[u.ID] != nil {
		return "", fmt.Errorf("discordtest: %q is taken, or no id", u.ID)
	}
	made := &user{id: u.ID, name: u.Name, noDMs: u.NoDMs}
	for _, id := range u.Guilds {
		g := s.guilds[id]
		if g == nil {
			return "", fmt.Errorf("discordtest: there is no guild %q", id)
		}
		m := &member{user: made, joined: s.opts.Now()}
		for _, r := range u.Roles {
			if g.role(r) != nil {
				m.roles = append(m.roles, r)
			}
		}
		g.members[u.ID] = m
	}
	s.users[u.ID] = made
	s.touch()
	return u.ID, nil
}

// AddChannel makes a text channel and returns its id.
func (s *Server) AddChannel(c Channel) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.guilds[c.Guild]
	if g == nil {
		return "", fmt.Errorf("discordtest: there is no guild %q", c.Guild)
	}
	if c.ID == "" {
		c.ID = s.newID()
	}
	if !isSnowflake(c.ID) || s.channels[c.ID] != nil {
		return "", fmt.Errorf("discordtest: %q is taken, or no id", c.ID)
	}
	ch := &channel{id: c.ID, name: c.Name, topic: c.Topic, kind: channelText, guild: g, denied: c.Denied, made: s.opts.Now()}
	s.channels[c.ID] = ch
	s.dispatch(g, "CHANNEL_CREATE", wireChannel(ch), IntentGuilds)
	s.touch()
	return c.ID, nil
}

// Deny sets what the bot may not do in a channel.
func (s *Server) Deny(channelID string, permissions int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch := s.channels[channelID]; ch != nil {
		ch.denied = permissions
	}
}

// SetRoles gives a member exactly these roles.
func (s *Server) SetRoles(guildID, userID string, roles ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.guilds[guildID]; g != nil && g.members[userID] != nil {
		g.members[userID].roles = roles
		s.touch()
	}
}

// SetNoDMs says whether somebody takes direct messages.
func (s *Server) SetNoDMs(userID string, no bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[userID]; u != nil {
		u.noDMs = no
	}
}

// Message is a snapshot of one.
type Message struct {
	ID, Channel string
	Author      string // an account's id
	Bot         bool   // by the application
	Content     string
	Embeds      []Embed
	Components  []Component // rows
	Attachments []Attachment
	// Ephemeral messages are seen by To alone.
	Ephemeral bool
	To        string
	Thinking  bool   // deferred, and not filled in yet
	Thread    string // the thread that hangs on it
	ReplyTo   string // the message that it replies to
	Nonce     string
	Edits     int
	Reactions []string // the application's, as emoji
	Pings     []string // whom it notified: ids of accounts and roles, "everyone"
	At        time.Time
	Edited    time.Time // zero when it was not
	Gone      bool      // of Message: it was deleted
}

// Controls are the buttons and menus of the message, in order.
func (m Message) Controls() []Component { return controls(m.Components) }

// Button finds a button by its label.
func (m Message) Button(label string) (Component, bool) {
	for _, c := range m.Controls() {
		if c.Type == ComponentButton && c.Label == label {
			return c, true
		}
	}
	return Component{}, false
}

func snapshot(m *message) Message {
	out := Message{
		ID: m.id, Channel: m.channel.id, Author: m.author.id, Bot: m.author.bot, Content: m.body.Content, Embeds: m.body.Embeds,
		Components: m.body.Components, Attachments: m.body.Attachments, Thinking: m.flags&flagLoading != 0, ReplyTo: m.refersTo,
		Edits: m.edits, Reactions: m.reactions, Pings: m.pings, At: m.at, Edited: m.edited,
	}
	if m.to != nil {
		out.Ephemeral, out.To = true, m.to.id
	}
	if m.thread != nil {
		out.Thread = m.thread.id
	}
	if m.nonce != nil {
		out.Nonce = fmt.Sprint(m.nonce)
	}
	return out
}

// Messages lists what everybody sees in a channel or thread, oldest first.
func (s *Server) Messages(channelID string) []Message {
	return s.listed(channelID, func(m *message) bool { return m.to == nil })
}

// Ephemerals lists what somebody alone sees, in all channels, oldest first.
func (s *Server) Ephemerals(userID string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	for _, id := range sortedKeys(s.channels) {
		for _, m := range s.channels[id].messages {
			if m.to != nil && m.to.id == userID {
				out = append(out, snapshot(m))
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Message) int {
		if older(a.ID, b.ID) {
			return -1
		}
		return 1
	})
	return out
}

// DirectMessages lists what the bot and somebody wrote to each other.
func (s *Server) DirectMessages(userID string) []Message {
	s.mu.Lock()
	channel := ""
	if u := s.users[userID]; u != nil {
		channel = u.dm
	}
	s.mu.Unlock()
	if channel == "" {
		return nil
	}
	return s.Messages(channel)
}

func (s *Server) listed(channelID string, want func(*message) bool) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := s.channels[channelID]
	if ch == nil {
		return nil
	}
	var out []Message
	for _, m := range ch.messages {
		if want(m) {
			out = append(out, snapshot(m))
		}
	}
	return out
}

// Message finds one by its id. Gone says that there is none.
func (s *Server) Message(id string) Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.messages[id]
	if m == nil {
		return Message{ID: id, Gone: true}
	}
	return snapshot(m)
}

// Threads lists the ids of a channel's threads, oldest first.
func (s *Server) Threads(channelID string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, id := range sortedKeys(s.channels) {
		if p := s.channels[id].parent; p != nil && p.id == channelID {
			out = append(out, id)
		}
	}
	return out
}

// DirectChannel opens the channel of direct messages between the bot and
// somebody, and returns its id.
func (s *Server) DirectChannel(userID string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[userID]
	if u == nil {
		return "", fmt.Errorf("discordtest: there is no user %q", userID)
	}
	return s.direct(u).id, nil
}
