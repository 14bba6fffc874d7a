package slacktest

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"
)

// obj is a JSON object.
type obj = map[string]any

// SigningSecret is the app's where App names none: that of Slack's documented
// example. https://docs.slack.dev/authentication/verifying-requests-from-slack
const SigningSecret = "8f742231b10e8888abcd99yyyzzz85a5"

// Shortcut is something to do with the app in a menu of Slack's own.
type Shortcut struct {
	Name, CallbackID string
	Message          bool // it stands in messages' menus; else it is a global one
}

// App is the app under test, as Slack knows it.
type App struct {
	ID            string   // empty is "A0BERTH"
	Name          string   // empty is "Berth"
	Command       string   // its slash command; empty is "/berth"
	SigningSecret string   // empty is SigningSecret
	Token         string   // opens sockets; empty is "xapp-1-" + ID
	Scopes        []string // of each bot token; nil is what the stand-in's methods need
	Events        []string // that the app is subscribed to; nil is DefaultEvents
	UnfurlDomains []string // links to these are told to the app
	Shortcuts     []Shortcut
	// Where the app is reached; empty delivers nothing there. [Server.Connect] sets
	// them.
	CommandsURL, InteractionsURL, EventsURL string
	// Socket delivers by Socket Mode in place of HTTP.
	Socket bool
	// Escape has Slack write users, channels and links of a command's text as
	// <@U1|ana>. https://docs.slack.dev/interactivity/implementing-slash-commands
	Escape bool
}

// DefaultScopes are those of bot tokens where App names none.
var DefaultScopes = []string{
	"app_mentions:read", "channels:history", "channels:read", "chat:write", "commands", "files:write",
	"groups:history", "groups:read", "im:history", "im:read", "im:write", "links:read", "links:write", "reactions:write",
	"team:read", "usergroups:read", "users:read",
}

// DefaultEvents are those that an app is subscribed to where App names none.
var DefaultEvents = []string{"app_home_opened", "app_mention", "app_uninstalled", "link_shared", "message.im", "tokens_revoked"}

func (a App) withDefaults() App {
	set := func(field *string, otherwise string) {
		if *field == "" {
			*field = otherwise
		}
	}
	set(&a.ID, "A0BERTH")
	set(&a.Name, "Berth")
	set(&a.Command, "/berth")
	set(&a.SigningSecret, SigningSecret)
	set(&a.Token, "xapp-1-"+a.ID)
	if a.Scopes == nil {
		a.Scopes = DefaultScopes
	}
	if a.Events == nil {
		a.Events = DefaultEvents
	}
	return a
}

// Workspace is a team that has installed the app.
type Workspace struct {
	ID       string // "T1"
	Name     string // empty is ID
	Domain   string // of its address; empty is made from Name
	BotToken string // empty is "xoxb-" + ID
	Bot      string // the bot's account; empty is "U0BOT" + ID
}

// User is somebody in a workspace.
type User struct {
	ID       string // "U1"
	Team     string // empty is the workspace that was added first
	Name     string // the handle: "ana"
	RealName string // empty is Name with a capital
	Bot      bool
	Deleted  bool // deactivated
}

// Channel is a conversation of a workspace.
type Channel struct {
	ID       string   // "C1"
	Team     string   // empty is the workspace that was added first
	Name     string   // without "#"
	Members  []string // nil is everybody in the workspace; people of other ones make it a shared channel
	Private  bool
	Archived bool
	NoBot    bool // the app is no member
	Topic    string
}

// Group is a user group.
type Group struct {
	ID       string // "S1"
	Team     string // empty is the workspace that was added first
	Handle   string // "db-team"
	Name     string // empty is Handle
	Members  []string
	Disabled bool
}

type workspace struct {
	Workspace
	bot *user
}

type user struct {
	User
	home   *view
	modals []*view
}

type channel struct {
	Channel
	dm       *user // whom the app writes to; nil for channels
	members  map[string]bool
	messages []*message
}

type group struct{ Group }

// botID is what messages of the app call it besides its account.
func (w *workspace) botID() string { return "B0" + strings.TrimPrefix(w.bot.ID, "U0") }

// Connect says where the app is reached over HTTP, at its usual three paths
// below base.
func (s *Server) Connect(base string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	base = strings.TrimSuffix(base, "/")
	s.app.CommandsURL = base + "/slack/commands"
	s.app.InteractionsURL = base + "/slack/interactions"
	s.app.EventsURL = base + "/slack/events"
	s.app.Socket = false
}

// App is the app as it is set up now.
func (s *Server) App() App {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.app
}

// SetApp changes how the app is set up.
func (s *Server) SetApp(change func(*App)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.app)
	s.app = s.app.withDefaults()
	s.touch()
}

// AddWorkspace adds a workspace that has the app, and returns it with what was
// left empty.
func (s *Server) AddWorkspace(w Workspace) Workspace {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.Name == "" {
		w.Name = w.ID
	}
	if w.Domain == "" {
		w.Domain = strings.ToLower(strings.ReplaceAll(w.Name, " ", "-"))
	}
	if w.BotToken == "" {
		w.BotToken = "xoxb-" + w.ID
	}
	if w.Bot == "" {
		w.Bot = "U0BOT" + w.ID
	}
	bot := &user{User: User{ID: w.Bot, Team: w.ID, Name: strings.ToLower(s.app.Name), RealName: s.app.Name, Bot: true}}
	added := &workspace{w, bot}
	if s.workspaces[w.ID] == nil {
		s.teams = append(s.teams, w.ID)
	}
	s.workspaces[w.ID], s.tokens[w.BotToken], s.users[w.Bot] = added, added, bot
	s.touch()
	return w
}

// firstTeam is the workspace that things belong to which name none. s.mu is held.
func (s *Server) firstTeam(id string) (string, error) {
	if id == "" && len(s.teams) > 0 {
		id = s.teams[0]
	}
	if s.workspaces[id] == nil {
		return "", fmt.Errorf("slacktest: there is no workspace %q", id)
	}
	return id, nil
}

// AddUser adds somebody. A team that is no workspace of the app's is that of a
// stranger in shared channels.
func (s *Server) AddUser(u User) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.Team == "" {
		team, err := s.firstTeam("")
		if err != nil {
			return err
		}
		u.Team = team
	}
	if u.Name == "" {
		u.Name = strings.ToLower(u.ID)
	}
	if u.RealName == "" {
		u.RealName = strings.ToUpper(u.Name[:1]) + u.Name[1:]
	}
	s.users[u.ID] = &user{User: u}
	s.touch()
	return nil
}

// AddChannel adds a channel.
func (s *Server) AddChannel(c Channel) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	team, err := s.firstTeam(c.Team)
	if err != nil {
		return err
	}
	c.Team = team
	if c.Name == "" {
		c.Name = strings.ToLower(c.ID)
	}
	added := &channel{Channel: c, members: map[string]bool{}}
	for _, id := range c.Members {
		added.members[id] = true
	}
	if !c.NoBot {
		added.members[s.workspaces[team].Bot] = true
	}
	s.channels[c.ID] = added
	s.touch()
	return nil
}

// AddGroup adds a user group, or replaces the one of that id.
func (s *Server) AddGroup(g Group) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	team, err := s.firstTeam(g.Team)
	if err != nil {
		return err
	}
	g.Team = team
	if g.Name == "" {
		g.Name = g.Handle
	}
	s.groups[g.ID] = &group{g}
	s.touch()
	return nil
}

// Deactivate takes somebody out of their workspace.
func (s *Server) Deactivate(id string) { s.change(id, func(u *user) { u.Deleted = true }) }

func (s *Server) change(id string, do func(*user)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[id]; u != nil {
		do(u)
		s.touch()
	}
}

// Uninstall has a workspace's people take the app out: its token serves no more,
// and the app is told.
func (s *Server) Uninstall(team string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.workspaces[team]
	if w == nil {
		return
	}
	delete(s.tokens, w.BotToken)
	s.revoked[w.BotToken] = true
	s.event(w, "tokens_revoked", obj{"type": "tokens_revoked", "tokens": obj{"bot": []any{w.Bot}}})
	s.event(w, "app_uninstalled", obj{"type": "app_uninstalled"})
	s.touch()
}

// Archive archives a channel.
func (s *Server) Archive(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[id]; c != nil {
		c.Archived = true
		s.touch()
	}
}

// Invite makes somebody, or the app's bot account, a member of a channel; Kick
// ends that.
func (s *Server) Invite(channel, user string) { s.member(channel, user, true) }

// Kick ends what Invite began.
func (s *Server) Kick(channel, user string) { s.member(channel, user, false) }

func (s *Server) member(channel, user string, in bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[channel]
	if c == nil {
		return
	}
	if c.Members == nil && !in { // From "everybody" to everybody but one.
		for _, u := range s.users {
			if u.Team == c.Team && !u.Bot {
				c.members[u.ID] = true
				c.Members = append(c.Members, u.ID)
			}
		}
	}
	if c.members[user] = in; !in {
		delete(c.members, user)
	}
	s.touch()
}

// has says whether somebody is a member. s.mu is held.
func (c *channel) has(u *user) bool {
	if u == nil {
		return false
	}
	if c.dm != nil {
		return c.dm == u || u.Bot
	}
	return c.members[u.ID] || (c.Members == nil && u.Team == c.Team && !u.Bot)
}

func (c *channel) find(ts string) *message {
	i := slices.IndexFunc(c.messages, func(m *message) bool { return m.ts == ts })
	if i < 0 {
		return nil
	}
	return c.messages[i]
}

// timestamp makes the next message's. It never repeats itself. s.mu is held.
func (s *Server) timestamp() string {
	now := s.opts.Now().Truncate(time.Microsecond)
	if !now.After(s.lastTS) {
		now = s.lastTS.Add(time.Microsecond)
	}
	s.lastTS = now
	return fmt.Sprintf("%d.%06d", now.Unix(), now.Nanosecond()/1000)
}

// id makes an id with a prefix such as "V". s.mu is held.
func (s *Server) id(prefix string) string {
	s.lastID++
	return fmt.Sprintf("%s0%07X", prefix, s.lastID)
}

// secret makes an unguessable word.
func secret() string { return rand.Text() }
