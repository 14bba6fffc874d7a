package slacktest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// slackbot says to people what Slack itself has to say.
const slackbot = "USLACKBOT"

// placed finds somebody and a conversation that they may write to. s.mu is held.
func (s *Server) placed(userID, channelID string) (*user, *channel, error) {
	u, c := s.users[userID], s.channels[channelID]
	switch {
	case u == nil:
		return nil, nil, fmt.Errorf("slacktest: there is no user %q", userID)
	case u.Deleted:
		return nil, nil, fmt.Errorf("slacktest: %s is deactivated", userID)
	case c == nil:
		return nil, nil, fmt.Errorf("slacktest: there is no channel %q", channelID)
	case !c.has(u):
		return nil, nil, fmt.Errorf("slacktest: %s is not in %s", userID, channelID)
	case c.Archived:
		return nil, nil, fmt.Errorf("slacktest: %s is archived", channelID)
	}
	return u, c, nil
}

// kindName is what payloads call a conversation.
func (c *channel) kindName() string {
	switch {
	case c.dm != nil:
		return "directmessage"
	case c.Private:
		return "privategroup"
	}
	return c.Name
}

// DM is the conversation of the app with somebody, which is made when there is
// none.
func (s *Server) DM(userID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[userID]
	if u == nil || s.workspaces[u.Team] == nil {
		return ""
	}
	return s.direct(s.workspaces[u.Team], u).ID
}

// Command types the app's slash command with a text, and returns once the app
// has acknowledged it, or failed to.
func (s *Server) Command(userID, channelID, text string) (Ack, error) {
	s.mu.Lock()
	u, c, err := s.placed(userID, channelID)
	if err != nil {
		s.mu.Unlock()
		return Ack{}, err
	}
	w := s.workspaces[c.Team]
	if s.app.Escape {
		text = s.escaped(text)
	}
	to := s.newResponse("commands", w, u, c, nil)
	t := s.newTrigger(w, u)
	command := s.app.Command
	d := &delivery{what: "command", payload: obj{
		"token": verification, "team_id": w.ID, "team_domain": w.Domain, "channel_id": c.ID, "channel_name": c.kindName(),
		"user_id": u.ID, "user_name": u.Name, "command": command, "text": text, "api_app_id": s.app.ID,
		"is_enterprise_install": "false", "response_url": to.url, "trigger_id": t.id,
	}}
	s.mu.Unlock()
	a := s.deliver(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !a.OK() {
		s.tell(u, c, "", fmt.Sprintf("`%s` failed with the error “%s”", command, a.Error))
		return a, nil
	}
	o, problem := answered(a.Body)
	if problem != "" {
		s.strange("command", "%s", problem)
	} else if len(o) > 0 {
		if refused := s.answer("command", to, o); refused != nil {
			s.strange("command", "%s: %s", refused.error, refused.problem)
		}
	}
	return a, nil
}

// tell shows somebody what Slack itself says. s.mu is held.
func (s *Server) tell(u *user, c *channel, thread, text string) {
	if s.users[slackbot] == nil {
		s.users[slackbot] = &user{User: User{ID: slackbot, Name: "slackbot", RealName: "Slackbot", Bot: true}}
	}
	c.messages = append(c.messages, &message{channel: c, ts: s.timestamp(), thread: thread, author: s.users[slackbot], text: text, only: u})
	s.touch()
}

var (
	typedUser    = regexp.MustCompile(`(^|\s)@([\w.-]+)`)
	typedChannel = regexp.MustCompile(`(^|\s)#([\w-]+)`)
	typedLink    = regexp.MustCompile(`(^|[\s(])(https?://[^\s<>|)]+)`)
	formedName   = regexp.MustCompile(`<([@#][A-Z0-9]+(?:\|[^&<]*)?)&gt;`)
	formedLink   = regexp.MustCompile(`<(https?://[^>|]+)`)
)

// escaped writes accounts, channels and links of a text as Slack does. s.mu is
// held.
func (s *Server) escaped(text string) string {
	text = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
	text = typedUser.ReplaceAllStringFunc(text, func(m string) string {
		parts := typedUser.FindStringSubmatch(m)
		for _, id := range sortedKeys(s.users) {
			if s.users[id].Name == parts[2] {
				return parts[1] + "<@" + id + ">"
			}
		}
		return m
	})
	text = typedChannel.ReplaceAllStringFunc(text, func(m string) string {
		parts := typedChannel.FindStringSubmatch(m)
		for _, id := range sortedKeys(s.channels) {
			if s.channels[id].Name == parts[2] && s.channels[id].dm == nil {
				return parts[1] + "<#" + id + "|" + parts[2] + ">"
			}
		}
		return m
	})
	return typedLink.ReplaceAllString(text, "$1<$2>")
}

// Say has somebody write a message, as they type it: "@berth status" and links
// become what Slack makes of them. With thread it is a reply. The app is told in
// the background of what it is subscribed to.
func (s *Server) Say(userID, channelID, thread, text string) (Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, c, err := s.placed(userID, channelID)
	if err != nil {
		return Message{}, err
	}
	if root := c.find(thread); thread != "" && (root == nil || root.only != nil) {
		return Message{}, fmt.Errorf("slacktest: there is no message %s in %s", thread, channelID)
	}
	// Of an own workspace's bot, whatever others are called.
	w := s.workspaces[c.Team]
	text = regexp.MustCompile(`(^|\s)@`+regexp.QuoteMeta(w.bot.Name)+`\b`).ReplaceAllString(text, "$1\x00")
	text = strings.ReplaceAll(s.escaped(text), "\x00", "<@"+w.Bot+">")
	// What is in Slack's own form already stays so.
	text = strings.NewReplacer("&lt;@", "<@", "&lt;#", "<#").Replace(text)
	text = formedName.ReplaceAllString(text, "<$1>")
	m := &message{channel: c, ts: s.timestamp(), thread: thread, author: u, text: text}
	c.messages = append(c.messages, m)
	s.touch()
	s.announce(m, w)
	return s.messageOf(m), nil
}

// Mention has somebody write "@berth" and a text.
func (s *Server) Mention(userID, channelID, thread, text string) (Message, error) {
	return s.Say(userID, channelID, thread, "@"+strings.ToLower(s.App().Name)+" "+text)
}

// announce tells the app of a message that somebody wrote. s.mu is held.
func (s *Server) announce(m *message, w *workspace) {
	base := obj{"user": m.author.ID, "ts": m.ts, "text": m.text, "team": m.author.Team, "channel": m.channel.ID, "event_ts": m.ts, "client_msg_id": m.ts}
	if m.thread != "" {
		base["thread_ts"] = m.thread
	}
	member := m.channel.has(w.bot)
	switch {
	case m.channel.dm != nil:
		base["type"], base["channel_type"] = "message", "im"
		s.event(w, "message.im", base)
	case strings.Contains(m.text, "<@"+w.Bot+">"):
		base["type"] = "app_mention"
		if member {
			s.event(w, "app_mention", base)
		} else {
			s.tell(m.author, m.channel, m.thread, "You mentioned <@"+w.Bot+">, but they’re not in this channel.")
		}
	}
	var links []any
	for _, found := range formedLink.FindAllStringSubmatch(m.text, -1) {
		if s.unfurls(found[1]) {
			_, rest, _ := strings.Cut(found[1], "://")
			host, _, _ := strings.Cut(rest, "/")
			links = append(links, obj{"url": found[1], "domain": host})
		}
	}
	if links != nil {
		e := obj{
			"type": "link_shared", "channel": m.channel.ID, "is_bot_user_member": member, "user": m.author.ID, "message_ts": m.ts,
			"unfurl_id": m.channel.ID + "." + m.ts + "." + strings.ToLower(secret()), "source": "conversations_history", "links": links, "event_ts": m.ts,
		}
		if m.thread != "" {
			e["thread_ts"] = m.thread
		}
		s.event(w, "link_shared", e)
	}
}

// echo tells the app of its own message, or, with what that was before, of its
// edit, in a direct message: Slack does, and an app that does not see that answers
// itself without end. s.mu is held.
func (s *Server) echo(m *message, before obj) {
	heard := s.app.EventsURL != "" || (s.app.Socket && len(s.sockets) > 0)
	if m.channel.dm == nil || m.only != nil || !heard {
		return
	}
	e := s.json(m, false)
	delete(e, "app_id")
	e["event_ts"] = m.ts
	if before != nil {
		e = obj{"type": "message", "subtype": "message_changed", "hidden": true, "message": s.json(m, true), "previous_message": before, "ts": m.edited, "event_ts": m.edited}
	}
	e["channel"], e["channel_type"] = m.channel.ID, "im"
	s.event(s.workspaces[m.channel.Team], "message.im", e)
}

// event delivers one that the app is subscribed to. s.mu is held.
func (s *Server) event(w *workspace, subscription string, inner obj) {
	if !slices.Contains(s.app.Events, subscription) {
		return
	}
	s.send(obj{
		"token": verification, "team_id": w.ID, "context_team_id": w.ID, "context_enterprise_id": nil, "api_app_id": s.app.ID,
		"event": snapshot(inner), "type": "event_callback", "event_id": s.id("Ev"), "event_time": s.opts.Now().Unix(),
		"authorizations":        []any{obj{"enterprise_id": nil, "team_id": w.ID, "user_id": w.Bot, "is_bot": true, "is_enterprise_install": false}},
		"is_ext_shared_channel": false, "event_context": "4-" + secret(),
	})
}

// OpenHome has somebody open the app's Home tab.
func (s *Server) OpenHome(userID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[userID]
	if u == nil || s.workspaces[u.Team] == nil {
		return fmt.Errorf("slacktest: there is no user %q in a workspace", userID)
	}
	w := s.workspaces[u.Team]
	e := obj{"type": "app_home_opened", "user": u.ID, "channel": s.direct(w, u).ID, "tab": "home", "event_ts": s.timestamp()}
	if u.home != nil {
		e["view"] = s.viewJSON(u.home)
	}
	s.event(w, "app_home_opened", e)
	return nil
}
