package discordtest

import (
	"strings"
	"time"
)

// routes are the part of Discord's API that the stand-in serves.
var routes = []*route{
	define("GET /gateway", "", (*Server).getGateway, anybody),
	define("GET /gateway/bot", "", (*Server).getGatewayBot),
	define("GET /users/@me", "", (*Server).getMe),
	define("GET /users/{user}", "", (*Server).getUser),
	define("GET /users/@me/guilds", "", (*Server).getGuilds, asks("limit", "after", "before", "with_counts")),
	define("POST /users/@me/channels", "createDM", (*Server).createDM),
	define("GET /applications/@me", "", (*Server).getApplication),
	define("PATCH /applications/@me", "editApplication", (*Server).editApplication),
	define("GET /oauth2/applications/@me", "", (*Server).getApplication),
	define("GET /applications/{application}/commands", "", (*Server).getCommands, asks("with_localizations")),
	define("POST /applications/{application}/commands", "createCommand", (*Server).createCommand),
	define("PUT /applications/{application}/commands", "bulkCommands", (*Server).replaceCommands, per(5, 20*time.Second)),
	define("GET /applications/{application}/commands/{command}", "", (*Server).getCommand),
	define("PATCH /applications/{application}/commands/{command}", "editCommand", (*Server).editCommand),
	define("DELETE /applications/{application}/commands/{command}", "", (*Server).deleteCommand, silent),
	define("GET /applications/{application}/guilds/{guild}/commands", "", (*Server).getCommands, asks("with_localizations")),
	define("POST /applications/{application}/guilds/{guild}/commands", "createGuildCommand", (*Server).createCommand),
	define("PUT /applications/{application}/guilds/{guild}/commands", "bulkGuildCommands", (*Server).replaceCommands, per(5, 20*time.Second)),
	define("GET /applications/{application}/guilds/{guild}/commands/{command}", "", (*Server).getCommand),
	define("PATCH /applications/{application}/guilds/{guild}/commands/{command}", "editGuildCommand", (*Server).editCommand),
	define("DELETE /applications/{application}/guilds/{guild}/commands/{command}", "", (*Server).deleteCommand, silent),
	define("POST /interactions/{interaction}/{token}/callback", "callback", (*Server).callback, anybody, silent, asks("with_response"), per(1000, time.Second)),
	define("POST /webhooks/{application}/{token}", "executeWebhook", (*Server).followUp, anybody, asks("wait", "thread_id", "with_components"), per(5, 2*time.Second)),
	define("GET /webhooks/{application}/{token}/messages/{message}", "", (*Server).getResponse, anybody, asks("thread_id"), per(5, time.Second)),
	define("PATCH /webhooks/{application}/{token}/messages/{message}", "editWebhookMessage", (*Server).editResponse, anybody, asks("thread_id", "with_components"), per(5, time.Second)),
	define("DELETE /webhooks/{application}/{token}/messages/{message}", "", (*Server).deleteResponse, anybody, silent, asks("thread_id"), per(5, time.Second)),
	define("GET /channels/{channel}", "", (*Server).getChannel),
	define("GET /channels/{channel}/messages", "", (*Server).getMessages, asks("limit", "after", "before", "around")),
	define("POST /channels/{channel}/messages", "createMessage", (*Server).createMessage, per(5, 5*time.Second)),
	define("GET /channels/{channel}/messages/{message}", "", (*Server).getMessage),
	define("PATCH /channels/{channel}/messages/{message}", "editMessage", (*Server).editMessage, per(5, 5*time.Second)),
	define("DELETE /channels/{channel}/messages/{message}", "", (*Server).deleteMessage, silent, per(5, time.Second)),
	define("PUT /channels/{channel}/messages/{message}/reactions/{emoji}/@me", "", (*Server).addReaction, silent, per(1, 250*time.Millisecond)),
	define("POST /channels/{channel}/messages/{message}/threads", "startThread", (*Server).startThread, created, per(50, 5*time.Minute)),
	define("POST /channels/{channel}/threads", "createThread", (*Server).createThread, created, per(50, 5*time.Minute)),
	define("GET /guilds/{guild}", "", (*Server).getGuild, asks("with_counts")),
	define("GET /guilds/{guild}/channels", "", (*Server).getGuildChannels),
	define("GET /guilds/{guild}/roles", "", (*Server).getRoles),
	define("GET /guilds/{guild}/members/{user}", "", (*Server).getMember, per(10, 10*time.Second)),
}

func (s *Server) getGateway(*call) (any, *refusal) { return obj{"url": s.gatewayURL()}, nil }

func (s *Server) getGatewayBot(*call) (any, *refusal) {
	return obj{
		"url": s.gatewayURL(), "shards": s.opts.Shards,
		"session_start_limit": obj{"total": 1000, "remaining": 1000, "reset_after": 86_400_000, "max_concurrency": 1},
	}, nil
}

func (s *Server) gatewayURL() string { return "ws" + strings.TrimPrefix(s.url, "http") + "/gateway/" }

func (s *Server) getMe(*call) (any, *refusal) { return wireUser(s.app), nil }

func (s *Server) getUser(c *call) (any, *refusal) {
	u := s.users[c.params["user"]]
	if u == nil {
		return nil, unknownUser
	}
	return wireUser(u), nil
}

func (s *Server) getGuilds(*call) (any, *refusal) {
	out := []any{}
	for _, id := range sortedKeys(s.guilds) {
		if g := s.guilds[id]; !g.noBot {
			out = append(out, obj{"id": g.id, "name": g.name, "icon": nil, "banner": nil, "owner": false, "permissions": "0", "features": []any{}})
		}
	}
	return out, nil
}

// createDM opens the channel with somebody. That works for those who take no
// direct messages, too; sending to it does not.
func (s *Server) createDM(c *call) (any, *refusal) {
	id, _ := c.body["recipient_id"].(string)
	u := s.users[id]
	if u == nil {
		return nil, unknownUser
	}
	if u.bot {
		return nil, noDirectMessages
	}
	return wireChannel(s.direct(u)), nil
}

func (s *Server) direct(u *user) *channel {
	if u.dm == "" {
		ch := &channel{id: s.newID(), kind: channelDM, with: u, made: s.opts.Now()}
		s.channels[ch.id], u.dm = ch, ch.id
	}
	return s.channels[u.dm]
}

func (s *Server) getApplication(*call) (any, *refusal) { return s.wireApplication(), nil }

// editApplication changes what the stand-in keeps: the description and the
// interactions endpoint, which must answer a PING before it is taken.
func (s *Server) editApplication(c *call) (any, *refusal) {
	if v, ok := c.body["description"].(string); ok {
		s.description = v
	}
	if v, ok := c.body["interactions_endpoint_url"]; ok {
		url, _ := v.(string)
		if url != "" {
			s.mu.Unlock()
			err := s.verifyEndpoint(c.Context(), url)
			s.mu.Lock()
			if err != nil {
				var bs breaches
				bs.add([]string{"interactions_endpoint_url"}, "APPLICATION_INTERACTIONS_ENDPOINT_URL_INVALID", "The specified interactions endpoint url could not be verified.")
				return nil, invalidForm(bs)
			}
		}
		s.endpoint = url
		s.touch()
	}
	return s.wireApplication(), nil
}

// guildOf finds the route's guild, where the bot is a member.
func (s *Server) guildOf(c *call) (*guild, *refusal) {
	g := s.guilds[c.params["guild"]]
	if g == nil {
		return nil, unknownGuild
	}
	if g.noBot {
		return nil, missingAccess
	}
	return g, nil
}

func (s *Server) getGuild(c *call) (any, *refusal) {
	g, no := s.guildOf(c)
	if no != nil {
		return nil, no
	}
	out := s.wireGuild(g)
	if c.query.Get("with_counts") == "true" {
		out["approximate_member_count"], out["approximate_presence_count"] = len(g.members), len(g.members)
	}
	return out, nil
}

func (s *Server) getGuildChannels(c *call) (any, *refusal) {
	g, no := s.guildOf(c)
	if no != nil {
		return nil, no
	}
	out := []any{}
	for _, ch := range s.channelsOf(g) {
		out = append(out, s.wireGuildChannel(ch))
	}
	return out, nil
}

func (s *Server) getRoles(c *call) (any, *refusal) {
	g, no := s.guildOf(c)
	if no != nil {
		return nil, no
	}
	return wireRoles(g), nil
}

func (s *Server) getMember(c *call) (any, *refusal) {
	g, no := s.guildOf(c)
	if no != nil {
		return nil, no
	}
	m := g.members[c.params["user"]]
	if m == nil {
		if s.users[c.params["user"]] == nil {
			return nil, unknownUser
		}
		return nil, unknownMember
	}
	return wireMember(m, true), nil
}

// channelsOf lists a guild's channels without threads, by name.
func (s *Server) channelsOf(g *guild) []*channel {
	var all []*channel
	for _, id := range sortedKeys(s.channels) {
		if ch := s.channels[id]; ch.guild == g && ch.kind == channelText {
			all = append(all, ch)
		}
	}
	return all
}
