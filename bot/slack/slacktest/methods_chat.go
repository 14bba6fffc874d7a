package slacktest

import (
	"regexp"
	"slices"
	"strings"
)

// https://docs.slack.dev/reference/methods/chat.postMessage
func (s *Server) postMessage(c *call) (obj, *fail) {
	to, refused := s.target(c)
	if refused != nil {
		return nil, refused
	}
	if refused := s.mayWrite(c, to); refused != nil {
		return nil, refused
	}
	if refused := s.checkContent(c.method, c.args); refused != nil {
		return nil, refused
	}
	root, refused := s.root(c, to)
	if refused != nil {
		return nil, refused
	}
	if refused := s.spendChannel(to); refused != nil {
		return nil, refused
	}
	m := s.write(to, c.team, s.contentOf(c.method, c.args))
	m.thread, m.broadcast = root, c.truth("reply_broadcast")
	m.name = c.str("username")
	m.plain = c.args["mrkdwn"] == false
	s.echo(m, nil)
	return obj{"channel": to.ID, "ts": m.ts, "message": s.json(m, true)}, nil
}

// write adds a message of the app's. s.mu is held.
func (s *Server) write(to *channel, w *workspace, what content) *message {
	m := &message{
		channel: to, ts: s.timestamp(), author: w.bot, app: true,
		text: what.text, blocks: what.blocks, attachments: what.attachments, metadata: what.metadata,
	}
	to.messages = append(to.messages, m)
	s.touch()
	return m
}

// target finds the conversation that a call is about; an account is the direct
// messages with it.
func (s *Server) target(c *call) (*channel, *fail) {
	id := c.str("channel")
	if name, ok := strings.CutPrefix(id, "#"); ok {
		for _, to := range s.channels {
			if to.Team == c.team.ID && to.Name == name {
				s.strange(c.method, "channels are known by id, not by name: #%s", name)
				return to, nil
			}
		}
	}
	if u := s.users[id]; u != nil {
		if u.Deleted || u.Team != c.team.ID {
			return nil, c.refuse("channel_not_found")
		}
		return s.direct(c.team, u), nil
	}
	to := s.channels[id]
	if to == nil || to.Team != c.team.ID || (to.Private && !to.has(c.team.bot)) {
		return nil, c.refuse("channel_not_found")
	}
	return to, nil
}

func (s *Server) mayWrite(c *call, to *channel) *fail {
	switch {
	case to.Archived:
		return c.refuse("is_archived")
	case to.dm != nil && to.dm.Deleted:
		return c.refuse("channel_not_found")
	case !to.has(c.team.bot) && !slices.Contains(s.app.Scopes, "chat:write.public"):
		return c.refuse("not_in_channel")
	}
	return nil
}

// root is the message that a call's thread hangs on: a reply's own root where it
// names a reply.
func (s *Server) root(c *call, to *channel) (string, *fail) {
	ts := c.str("thread_ts")
	if ts == "" {
		if c.truth("reply_broadcast") {
			s.strange(c.method, "reply_broadcast without thread_ts does nothing")
		}
		return "", nil
	}
	if !timestampForm.MatchString(ts) {
		return "", &fail{error: "invalid_thread_ts", problem: "thread_ts is " + ts}
	}
	m := to.find(ts)
	if m == nil || m.only != nil {
		return "", c.refuse("thread_not_found")
	}
	if m.thread != "" {
		s.strange(c.method, "thread_ts is that of a reply, not of the message that the thread hangs on")
		return m.thread, nil
	}
	return ts, nil
}

var timestampForm = regexp.MustCompile(`^\d{1,10}\.\d{6}$`)

// https://docs.slack.dev/reference/methods/chat.postEphemeral
func (s *Server) postEphemeral(c *call) (obj, *fail) {
	to, refused := s.target(c)
	if refused != nil {
		return nil, refused
	}
	who := s.users[c.str("user")]
	switch {
	case to.Archived:
		return nil, c.refuse("is_archived")
	case !to.has(c.team.bot) && !slices.Contains(s.app.Scopes, "chat:write.public"):
		return nil, c.refuse("not_in_channel")
	case who == nil || who.Deleted || !to.has(who):
		return nil, c.refuse("user_not_in_channel")
	}
	if refused := s.checkContent(c.method, c.args); refused != nil {
		return nil, refused
	}
	root, refused := s.root(c, to)
	if refused != nil {
		return nil, refused
	}
	m := s.write(to, c.team, s.contentOf(c.method, c.args))
	m.only, m.thread = who, root
	return obj{"message_ts": m.ts}, nil
}

// own finds a message that the app may change.
func (s *Server) own(c *call, cannot string) (*message, *fail) {
	to, refused := s.target(c)
	if refused != nil {
		return nil, refused
	}
	if s.users[c.str("channel")] != nil {
		return nil, &fail{error: "channel_not_found", problem: "this takes the id of a conversation, not of an account"}
	}
	m := to.find(c.str("ts"))
	switch {
	case m == nil || m.only != nil:
		return nil, c.refuse("message_not_found")
	case m.author != c.team.bot:
		return nil, &fail{error: cannot, problem: "the message is somebody else's"}
	case to.Archived:
		return nil, c.refuse("is_archived") // Not documented, but what happens.
	}
	return m, nil
}

// https://docs.slack.dev/reference/methods/chat.update
func (s *Server) updateMessage(c *call) (obj, *fail) {
	m, refused := s.own(c, "cant_update_message")
	if refused != nil {
		return nil, refused
	}
	// What is not sent stays as it was, which counts for what must be there.
	after := obj{"text": m.text, "blocks": m.blocks, "attachments": m.attachments}
	if m.metadata != nil {
		after["metadata"] = m.metadata
	}
	for _, name := range []string{"text", "markdown_text", "blocks", "attachments", "metadata"} {
		if c.has(name) {
			after[name] = c.args[name]
		}
	}
	if length(c.str("text")) > maxEditedText {
		return nil, &fail{error: "msg_too_long", problem: "the text of an edited message is longer than 4,000 characters"}
	}
	if refused := s.checkContent(c.method, after); refused != nil {
		return nil, refused
	}
	next, before := s.contentOf(c.method, after), s.json(m, true)
	m.text = next.text
	if c.has("blocks") {
		m.blocks = next.blocks
	}
	if c.has("attachments") {
		m.attachments = next.attachments
	}
	if c.has("metadata") {
		if m.metadata = next.metadata; len(m.metadata) == 0 {
			m.metadata = nil
		}
	}
	m.edited = s.timestamp()
	m.edits++
	s.touch()
	s.echo(m, before)
	shown := s.json(m, true)
	for _, name := range []string{"ts", "thread_ts", "parent_user_id", "reply_count", "reply_users", "reply_users_count", "latest_reply"} {
		delete(shown, name) // What an edit cannot change is not repeated.
	}
	return obj{"channel": m.channel.ID, "ts": m.ts, "text": m.text, "message": shown}, nil
}

// https://docs.slack.dev/reference/methods/chat.delete
func (s *Server) deleteMessage(c *call) (obj, *fail) {
	m, refused := s.own(c, "cant_delete_message")
	if refused != nil {
		return nil, refused
	}
	m.channel.remove(m.ts)
	s.touch()
	return obj{"channel": m.channel.ID, "ts": m.ts}, nil
}

// https://docs.slack.dev/reference/methods/chat.unfurl
func (s *Server) unfurl(c *call) (obj, *fail) {
	to, refused := s.target(c)
	if refused != nil {
		return nil, refused
	}
	m := to.find(c.str("ts"))
	if m == nil {
		return nil, c.refuse("cannot_find_message")
	}
	for url, v := range c.object("unfurls") {
		if !strings.Contains(m.text, url) {
			return nil, &fail{error: "cannot_unfurl_url", problem: "the message has no link to " + url}
		}
		if !s.unfurls(url) {
			return nil, &fail{error: "cannot_unfurl_url", problem: "the app is not registered for " + url}
		}
		a, _ := v.(obj)
		if found := checkLimits(onMessage, list(a, "blocks")); found != nil {
			return nil, &fail{error: "cannot_unfurl_message", problem: strings.Join(say(found), "; "), say: say(found)}
		}
		if m.unfurls == nil {
			m.unfurls = map[string]obj{}
		}
		kept := clone(a).(obj)
		if kept["blocks"] != nil {
			kept["blocks"] = s.named(list(a, "blocks"))
		}
		m.unfurls[url] = kept
	}
	s.touch()
	return obj{}, nil
}

// unfurls says whether the app is told of a link.
func (s *Server) unfurls(link string) bool {
	_, rest, _ := strings.Cut(link, "://")
	host, _, _ := strings.Cut(rest, "/")
	name, _, _ := strings.Cut(host, ":")
	return slices.ContainsFunc(s.app.UnfurlDomains, func(d string) bool {
		return host == d || name == d || strings.HasSuffix(name, "."+d)
	})
}

// https://docs.slack.dev/reference/methods/chat.getPermalink
func (s *Server) getPermalink(c *call) (obj, *fail) {
	to, refused := s.target(c)
	if refused != nil {
		return nil, refused
	}
	m := to.find(c.str("message_ts"))
	if m == nil || m.only != nil {
		return nil, c.refuse("message_not_found")
	}
	return obj{"channel": to.ID, "permalink": s.permalink(m)}, nil
}

// permalink is where people read a message: a page of the stand-in that looks
// like Slack's. s.mu is held.
func (s *Server) permalink(m *message) string {
	link := s.url + "/archives/" + m.channel.ID + "/p" + strings.Replace(m.ts, ".", "", 1)
	if m.thread != "" {
		link += "?thread_ts=" + m.thread + "&cid=" + m.channel.ID
	}
	return link
}

// https://docs.slack.dev/reference/methods/reactions.add
func (s *Server) addReaction(c *call) (obj, *fail) {
	to, refused := s.target(c)
	if refused != nil {
		return nil, refused
	}
	m := to.find(c.str("timestamp"))
	switch {
	case m == nil:
		return nil, c.refuse("message_not_found")
	case slices.Contains(m.reactions, c.str("name")):
		return nil, c.refuse("already_reacted")
	}
	m.reactions = append(m.reactions, c.str("name"))
	s.touch()
	return obj{}, nil
}
