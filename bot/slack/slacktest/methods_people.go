package slacktest

import (
	"slices"
	"strings"
)

// https://docs.slack.dev/reference/methods/auth.test
func (s *Server) authTest(c *call) (obj, *fail) {
	w := c.team
	return obj{
		"url": "https://" + w.Domain + ".slack.com/", "team": w.Name, "user": w.bot.Name, "team_id": w.ID,
		"user_id": w.Bot, "bot_id": w.botID(), "is_enterprise_install": false,
	}, nil
}

// https://docs.slack.dev/reference/methods/team.info
func (s *Server) teamInfo(c *call) (obj, *fail) {
	return obj{"team": obj{"id": c.team.ID, "name": c.team.Name, "domain": c.team.Domain, "email_domain": ""}}, nil
}

func (s *Server) userJSON(u *user) obj {
	return obj{
		"id": u.ID, "team_id": u.Team, "name": u.Name, "deleted": u.Deleted, "real_name": u.RealName, "tz": "Etc/UTC",
		"is_bot": u.Bot, "is_admin": false, "is_owner": false, "is_restricted": false, "is_ultra_restricted": false, "updated": 1700000000,
		"profile": obj{"real_name": u.RealName, "display_name": u.Name, "team": u.Team, "title": ""},
	}
}

// known says whether the workspace of a call can see somebody: its own people,
// and whoever shares a channel with it.
func (s *Server) known(c *call, u *user) bool {
	if u == nil {
		return false
	}
	if u.Team == c.team.ID {
		return true
	}
	for _, to := range s.channels {
		if to.Team == c.team.ID && to.members[u.ID] {
			return true
		}
	}
	return false
}

// https://docs.slack.dev/reference/methods/users.info
func (s *Server) userInfo(c *call) (obj, *fail) {
	u := s.users[c.str("user")]
	if !s.known(c, u) {
		return nil, c.refuse("user_not_found")
	}
	return obj{"user": s.userJSON(u)}, nil
}

// https://docs.slack.dev/reference/methods/users.list
func (s *Server) listUsers(c *call) (obj, *fail) {
	var all []any
	for _, id := range sortedKeys(s.users) {
		if u := s.users[id]; u.Team == c.team.ID {
			all = append(all, s.userJSON(u))
		}
	}
	page, next, refused := cursors(c, all, 1000)
	if refused != nil {
		return nil, refused
	}
	return obj{"members": page, "cache_ts": s.opts.Now().Unix(), "response_metadata": obj{"next_cursor": next}}, nil
}

// members are a group's accounts that still are somebody's.
func (s *Server) members(g *group) []string {
	return slices.DeleteFunc(slices.Clone(g.Members), func(id string) bool { return s.users[id] == nil || s.users[id].Deleted })
}

// https://docs.slack.dev/reference/methods/usergroups.list
func (s *Server) listGroups(c *call) (obj, *fail) {
	all := []any{}
	for _, id := range sortedKeys(s.groups) {
		g := s.groups[id]
		if g.Team != c.team.ID || (g.Disabled && !c.truth("include_disabled")) {
			continue
		}
		deleted := 0
		if g.Disabled {
			deleted = 1700000000
		}
		o := obj{
			"id": g.ID, "team_id": g.Team, "is_usergroup": true, "name": g.Name, "handle": g.Handle, "description": "",
			"is_external": false, "date_create": 1700000000, "date_update": 1700000000, "date_delete": deleted,
			"created_by": c.team.Bot, "updated_by": c.team.Bot, "user_count": len(s.members(g)), "prefs": obj{"channels": []any{}, "groups": []any{}},
		}
		if c.truth("include_users") {
			o["users"] = s.members(g)
		}
		all = append(all, o)
	}
	return obj{"usergroups": all}, nil
}

// https://docs.slack.dev/reference/methods/usergroups.users.list
func (s *Server) listGroupUsers(c *call) (obj, *fail) {
	g := s.groups[c.str("usergroup")]
	if g == nil || g.Team != c.team.ID || (g.Disabled && !c.truth("include_disabled")) {
		return nil, c.refuse("no_such_subteam")
	}
	return obj{"users": s.members(g)}, nil
}

// direct is the conversation of a workspace's app with somebody. s.mu is held.
func (s *Server) direct(w *workspace, u *user) *channel {
	for _, c := range s.channels {
		if c.dm == u && c.Team == w.ID {
			return c
		}
	}
	c := &channel{Channel: Channel{ID: s.id("D"), Team: w.ID, Name: "directmessage", Members: []string{u.ID, w.Bot}, Private: true}, dm: u, members: map[string]bool{}}
	s.channels[c.ID] = c
	s.touch()
	return c
}

// https://docs.slack.dev/reference/methods/conversations.open
func (s *Server) openConversation(c *call) (obj, *fail) {
	if id := c.str("channel"); id != "" {
		to := s.channels[id]
		if to == nil || to.dm == nil {
			return nil, c.refuse("channel_not_found")
		}
		return obj{"channel": obj{"id": to.ID}, "no_op": true, "already_open": true}, nil
	}
	ids := strings.Split(c.str("users"), ",")
	if len(ids) > 1 {
		return nil, &fail{error: "missing_scope", problem: "the stand-in has no group messages", more: obj{"needed": "mpim:write", "provided": strings.Join(s.app.Scopes, ",")}}
	}
	u := s.users[ids[0]]
	switch {
	case u == nil || u.Team != c.team.ID:
		return nil, c.refuse("user_not_found")
	case u.Deleted:
		return nil, c.refuse("user_disabled")
	case u == c.team.bot:
		return nil, c.refuse("cannot_dm_bot")
	}
	return obj{"channel": s.channelJSON(s.direct(c.team, u), c.team)}, nil
}

func (s *Server) channelJSON(to *channel, w *workspace) obj {
	if to.dm != nil {
		return obj{"id": to.ID, "created": 1700000000, "is_im": true, "is_archived": false, "user": to.dm.ID, "context_team_id": w.ID}
	}
	shared := slices.ContainsFunc(to.Members, func(id string) bool { return s.users[id] != nil && s.users[id].Team != to.Team })
	return obj{
		"id": to.ID, "name": to.Name, "name_normalized": to.Name, "is_channel": !to.Private, "is_group": to.Private, "is_im": false, "is_mpim": false,
		"is_private": to.Private, "is_archived": to.Archived, "is_member": to.has(w.bot), "is_general": false, "created": 1700000000,
		"is_ext_shared": shared, "is_shared": shared, "context_team_id": w.ID, "topic": obj{"value": to.Topic}, "purpose": obj{"value": ""},
	}
}

// https://docs.slack.dev/reference/methods/conversations.info
func (s *Server) conversationInfo(c *call) (obj, *fail) {
	to, refused := s.conversation(c)
	if refused != nil {
		return nil, refused
	}
	return obj{"channel": s.channelJSON(to, c.team)}, nil
}

// conversation is the one that a call names by its id, which an account's is not.
func (s *Server) conversation(c *call) (*channel, *fail) {
	if s.users[c.str("channel")] != nil {
		return nil, &fail{error: "channel_not_found", problem: "this takes the id of a conversation, not of an account"}
	}
	return s.target(c)
}

// https://docs.slack.dev/reference/methods/conversations.list
func (s *Server) listConversations(c *call) (obj, *fail) {
	kinds := c.str("types")
	if kinds == "" {
		kinds = "public_channel"
	}
	var all []any
	for _, id := range sortedKeys(s.channels) {
		to := s.channels[id]
		kind := "public_channel"
		switch {
		case to.dm != nil:
			kind = "im"
		case to.Private:
			kind = "private_channel"
		}
		if to.Team == c.team.ID && slices.Contains(strings.Split(kinds, ","), kind) && (!to.Private || to.has(c.team.bot)) && (!to.Archived || !c.truth("exclude_archived")) {
			all = append(all, s.channelJSON(to, c.team))
		}
	}
	page, next, refused := cursors(c, all, 1000)
	if refused != nil {
		return nil, refused
	}
	return obj{"channels": page, "response_metadata": obj{"next_cursor": next}}, nil
}

// readable is a conversation whose messages the app may read.
func (s *Server) readable(c *call) (*channel, *fail) {
	to, refused := s.conversation(c)
	if refused != nil {
		return nil, refused
	}
	scope := "channels:history"
	switch {
	case to.dm != nil:
		scope = "im:history"
	case to.Private:
		scope = "groups:history"
	}
	if !slices.Contains(s.app.Scopes, scope) {
		return nil, &fail{error: "missing_scope", problem: "the app does not ask for " + scope, more: obj{"needed": scope, "provided": strings.Join(s.app.Scopes, ",")}}
	}
	if !to.has(c.team.bot) {
		return nil, c.refuse("not_in_channel")
	}
	return to, nil
}

// between keeps what a call's oldest and latest let through.
func between(c *call, ts string) bool {
	oldest, latest, inclusive := c.str("oldest"), c.str("latest"), c.truth("inclusive")
	after := oldest == "" || earlier(oldest, ts) || (inclusive && oldest == ts)
	before := latest == "" || earlier(ts, latest) || (inclusive && ts == latest)
	return after && before
}

// earlier compares timestamps, which may be without a fraction.
func earlier(a, b string) bool {
	aSeconds, aRest, _ := strings.Cut(a, ".")
	bSeconds, bRest, _ := strings.Cut(b, ".")
	if len(aSeconds) != len(bSeconds) {
		return len(aSeconds) < len(bSeconds)
	}
	if aSeconds != bSeconds {
		return aSeconds < bSeconds
	}
	return (aRest + "000000")[:6] < (bRest + "000000")[:6]
}

// https://docs.slack.dev/reference/methods/conversations.history: newest first.
func (s *Server) history(c *call) (obj, *fail) {
	to, refused := s.readable(c)
	if refused != nil {
		return nil, refused
	}
	var all []any
	for _, m := range slices.Backward(to.messages) {
		if m.only == nil && (m.thread == "" || m.broadcast) && between(c, m.ts) {
			all = append(all, s.json(m, c.truth("include_all_metadata")))
		}
	}
	return s.messages(c, all)
}

// https://docs.slack.dev/reference/methods/conversations.replies: the root, and
// then the replies, oldest first.
func (s *Server) replies(c *call) (obj, *fail) {
	to, refused := s.readable(c)
	if refused != nil {
		return nil, refused
	}
	root := to.find(c.str("ts"))
	if root == nil || root.only != nil {
		return nil, c.refuse("thread_not_found")
	}
	all := []any{s.json(root, c.truth("include_all_metadata"))}
	for _, m := range to.thread(root.ts) {
		if between(c, m.ts) {
			all = append(all, s.json(m, c.truth("include_all_metadata")))
		}
	}
	return s.messages(c, all)
}

func (s *Server) messages(c *call, all []any) (obj, *fail) {
	page, next, refused := cursors(c, all, 999)
	if refused != nil {
		return nil, refused
	}
	if page == nil {
		page = []any{}
	}
	return obj{"messages": page, "has_more": next != "", "response_metadata": obj{"next_cursor": next}}, nil
}

// https://docs.slack.dev/reference/methods/conversations.members
func (s *Server) listMembers(c *call) (obj, *fail) {
	to, refused := s.conversation(c)
	if refused != nil {
		return nil, refused
	}
	var all []string
	for _, id := range sortedKeys(s.users) {
		if to.has(s.users[id]) && !s.users[id].Deleted {
			all = append(all, id)
		}
	}
	page, next, refused := cursors(c, all, 1000)
	if refused != nil {
		return nil, refused
	}
	return obj{"members": page, "response_metadata": obj{"next_cursor": next}}, nil
}

// https://docs.slack.dev/reference/methods/conversations.join
func (s *Server) join(c *call) (obj, *fail) {
	to, refused := s.conversation(c)
	switch {
	case refused != nil:
		return nil, refused
	case to.Private:
		return nil, c.refuse("method_not_supported_for_channel_type")
	case to.Archived:
		return nil, c.refuse("is_archived")
	}
	to.members[c.team.Bot] = true
	s.touch()
	return obj{"channel": s.channelJSON(to, c.team)}, nil
}
