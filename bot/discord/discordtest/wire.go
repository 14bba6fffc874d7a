package discordtest

import (
	"fmt"
	"time"
)

// obj is a JSON object.
type obj = map[string]any

// stamp is how Discord writes times.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000-07:00") }

func wireUser(u *user) obj {
	out := obj{"id": u.id, "username": u.login(), "discriminator": "0", "global_name": u.name, "avatar": nil}
	if u.bot {
		out["bot"], out["global_name"] = true, nil
	}
	return out
}

func (s *Server) wireApplication() obj {
	out := obj{
		"id": s.app.id, "name": s.app.name, "icon": nil, "description": s.description, "summary": "", "bot_public": false,
		"bot_require_code_grant": false, "verify_key": s.PublicKey(), "team": nil, "flags": s.applicationFlags(), "flags_new": fmt.Sprint(s.applicationFlags()),
		"bot": wireUser(s.app), "approximate_guild_count": len(s.guilds), "event_webhooks_status": 1,
	}
	if s.endpoint != "" {
		out["interactions_endpoint_url"] = s.endpoint
	}
	return out
}

// applicationFlags say which privileged intents were granted.
// Source: https://docs.discord.com/developers/resources/application#application-object-application-flags
func (s *Server) applicationFlags() int {
	flags := 0
	for intent, flag := range map[int]int{IntentPresences: 1 << 12, IntentMembers: 1 << 14, IntentMessageContent: 1 << 18} {
		if s.opts.Intents&intent != 0 {
			flags |= flag
		}
	}
	return flags
}

func wireRole(r *role, position int) obj {
	permissions := fmt.Sprint(everything)
	return obj{
		"id": r.id, "name": r.name, "color": r.color, "colors": obj{"primary_color": r.color, "secondary_color": nil, "tertiary_color": nil},
		"hoist": false, "position": position, "permissions": permissions, "managed": false, "mentionable": r.mentionable, "flags": 0,
	}
}

func wireRoles(g *guild) []any {
	list := []any{wireRole(&role{id: g.id, name: "@everyone"}, 0)}
	for i, r := range g.roles {
		list = append(list, wireRole(r, i+1))
	}
	return list
}

func wireMember(m *member, withUser bool) obj {
	out := obj{
		"nick": nil, "avatar": nil, "banner": nil, "roles": append([]string{}, m.roles...), "joined_at": stamp(m.joined), "premium_since": nil,
		"deaf": false, "mute": false, "flags": 0, "pending": false, "communication_disabled_until": nil,
	}
	if m.nick != "" {
		out["nick"] = m.nick
	}
	if withUser {
		out["user"] = wireUser(m.user)
	}
	return out
}

func (s *Server) wireGuild(g *guild) obj {
	owner := s.app.id
	for _, m := range g.sortedMembers() {
		if !m.user.bot {
			owner = m.user.id
			break
		}
	}
	return obj{
		"id": g.id, "name": g.name, "icon": nil, "splash": nil, "discovery_splash": nil, "owner_id": owner, "afk_channel_id": nil, "afk_timeout": 300,
		"verification_level": 0, "default_message_notifications": 1, "explicit_content_filter": 0, "roles": wireRoles(g), "emojis": []any{},
		"features": []any{}, "mfa_level": 0, "application_id": nil, "system_channel_id": nil, "system_channel_flags": 0, "rules_channel_id": nil,
		"vanity_url_code": nil, "description": nil, "banner": nil, "premium_tier": 0, "preferred_locale": "en-US", "public_updates_channel_id": nil,
		"nsfw_level": 0, "stickers": []any{}, "premium_progress_bar_enabled": false, "safety_alerts_channel_id": nil, "region": "deprecated",
		"hub_type": nil, "incidents_data": nil,
	}
}

func wireChannel(c *channel) obj {
	out := obj{"id": c.id, "type": c.kind, "last_message_id": nil, "flags": 0}
	if c.last != "" {
		out["last_message_id"] = c.last
	}
	if c.guild == nil {
		out["name"] = nil
		out["recipients"] = []any{wireUser(c.with)}
		return out
	}
	out["guild_id"], out["name"] = c.guild.id, c.name
	out["rate_limit_per_user"] = 0
	if c.kind == channelThread {
		out["parent_id"], out["owner_id"] = c.parent.id, c.owner
		out["message_count"], out["member_count"], out["total_message_sent"] = len(c.messages), 1, len(c.messages)
		out["thread_metadata"] = obj{
			"archived": c.archived, "auto_archive_duration": 1440, "archive_timestamp": stamp(c.made), "locked": false, "create_timestamp": stamp(c.made),
		}
		return out
	}
	out["parent_id"], out["position"], out["permission_overwrites"], out["nsfw"], out["topic"] = nil, 0, []any{}, false, nil
	if c.topic != "" {
		out["topic"] = c.topic
	}
	return out
}

// wireMessage is a message as the API gives it out.
func (s *Server) wireMessage(m *message) obj {
	out := s.wireBare(m)
	if m.refersTo != "" {
		ref := obj{"type": 0, "message_id": m.refersTo, "channel_id": m.channel.id}
		if m.channel.guild != nil {
			ref["guild_id"] = m.channel.guild.id
		}
		out["message_reference"], out["referenced_message"] = ref, nil
		if m.reference != nil && s.messages[m.reference.id] != nil {
			out["referenced_message"] = s.wireBare(m.reference)
		}
	}
	if m.thread != nil {
		out["thread"] = wireChannel(m.thread)
	}
	if len(m.reactions) > 0 {
		reactions := []any{}
		for _, emoji := range m.reactions {
			reactions = append(reactions, obj{"count": 1, "count_details": obj{"burst": 0, "normal": 1}, "me": true, "me_burst": false,
				"emoji": obj{"id": nil, "name": emoji}, "burst_colors": []any{}})
		}
		out["reactions"] = reactions
	}
	if in := m.interaction; in != nil {
		out["webhook_id"] = s.app.id
		out["application_id"] = s.app.id
		meta := obj{"id": in.id, "type": in.kind, "user": wireUser(in.user), "authorizing_integration_owners": in.owners(), "original_response_message_id": m.id}
		switch in.kind {
		case interactionCommand:
			if in.target != nil {
				meta["target_message_id"] = in.target.id
			}
		case interactionComponent:
			meta["interacted_message_id"] = in.target.id
		case interactionModal:
			meta["triggering_interaction_metadata"] = obj{
				"id": in.opener.id, "type": in.opener.kind, "user": wireUser(in.user), "authorizing_integration_owners": in.owners(),
			}
			if in.opener.kind == interactionComponent {
				meta["triggering_interaction_metadata"] = obj{
					"id": in.opener.id, "type": in.opener.kind, "user": wireUser(in.user), "authorizing_integration_owners": in.owners(),
					"interacted_message_id": in.opener.target.id,
				}
			}
		}
		if m == in.original {
			delete(meta, "original_response_message_id")
		} else if in.original != nil {
			meta["original_response_message_id"] = in.original.id
		}
		out["interaction_metadata"] = meta
	}
	return out
}

func (s *Server) wireBare(m *message) obj {
	kind := 0
	switch {
	case m.interaction != nil && m == m.interaction.original && m.interaction.kind == interactionCommand:
		kind = 20 // CHAT_INPUT_COMMAND
		if m.interaction.command.Type == commandMessage {
			kind = 23
		}
	case m.refersTo != "":
		kind = 19 // REPLY
	}
	out := obj{
		"id": m.id, "channel_id": m.channel.id, "author": wireUser(m.author), "content": m.body.Content, "timestamp": stamp(m.at), "edited_timestamp": nil,
		"tts": false, "mention_everyone": m.everyone, "mentions": []any{}, "mention_roles": append([]string{}, m.roles...),
		"attachments": list(m.body.Attachments), "embeds": list(m.body.Embeds), "components": list(m.body.Components), "pinned": false, "type": kind, "flags": m.flags,
	}
	mentions := []any{}
	for _, u := range m.mentions {
		mentions = append(mentions, wireUser(u))
	}
	out["mentions"] = mentions
	if !m.edited.IsZero() {
		out["edited_timestamp"] = stamp(m.edited)
	}
	return out
}

// list is an array that is never null.
func list[T any](items []T) []T { return append([]T{}, items...) }
