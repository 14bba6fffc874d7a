package discordtest

import (
	"compress/zlib"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// send queues a payload; the connection's writer sends it.
func (c *connection) send(op int, seq *int, name string, data any) {
	f := frame{Op: op, Data: encode(data), Seq: seq}
	if name != "" {
		f.Name = &name
	}
	c.mu.Lock()
	c.queue = append(c.queue, encode(f))
	c.mu.Unlock()
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// end closes the connection with a code once what was queued is sent.
func (c *connection) end(code int) {
	c.once.Do(func() {
		c.code = code
		close(c.ending)
	})
}

// cut ends the connection without a word, as a network does.
func (c *connection) cut() {
	c.once.Do(func() {
		c.abrupt = true
		close(c.ending)
	})
}

// write sends what is queued until the connection ends.
func (c *connection) write(closing <-chan struct{}) {
	for {
		c.mu.Lock()
		queue := c.queue
		c.queue = nil
		c.mu.Unlock()
		for _, raw := range queue {
			if c.put(raw) != nil {
				c.end(websocket.CloseAbnormalClosure)
				break
			}
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-c.ready:
		case <-closing:
			c.end(websocket.CloseGoingAway)
		case <-c.ending:
			if !c.abrupt {
				message := websocket.FormatCloseMessage(c.code, "")
				_ = c.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(time.Second)) // It ends either way.
			}
			_ = c.ws.NetConn().Close() // It may be closed by now.
			return
		}
	}
}

// largePayload is from where on payloads are packed, for those who asked for it.
const largePayload = 512

func (c *connection) put(raw []byte) error {
	_ = c.ws.SetWriteDeadline(time.Now().Add(10 * time.Second)) // The write itself fails when this does.
	switch {
	case c.deflate != nil:
		c.deflated.Reset()
		if _, err := c.deflate.Write(raw); err != nil {
			return err
		}
		if err := c.deflate.Flush(); err != nil {
			return err
		}
		return c.ws.WriteMessage(websocket.BinaryMessage, c.deflated.Bytes())
	case c.packed && len(raw) > largePayload:
		c.deflated.Reset()
		w := zlib.NewWriter(&c.deflated)
		if _, err := w.Write(raw); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		return c.ws.WriteMessage(websocket.BinaryMessage, c.deflated.Bytes())
	}
	return c.ws.WriteMessage(websocket.TextMessage, raw)
}

// Drop is how a gateway's connection ends.
type Drop int

// The ways in which [Server.DropGateway] ends connections.
const (
	DropCut       Drop = iota // the network: without a word
	DropReconnect             // Discord asks to reconnect, and sessions can be resumed
	DropInvalid               // the session is invalid: identify anew
	DropClose                 // closed with 4000, and sessions can be resumed
	DropForget                // as DropCut, and sessions are forgotten
)

// DropGateway ends the gateway's connections of now.
func (s *Server) DropGateway(how Drop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range s.sessions {
		c := n.conn
		if how == DropForget || how == DropInvalid {
			delete(s.sessions, id)
		}
		if c == nil {
			continue
		}
		n.conn, c.session = nil, nil
		switch how {
		case DropReconnect:
			c.send(opReconnect, nil, "", nil)
			c.end(websocket.CloseNormalClosure)
		case DropInvalid:
			c.send(opInvalidSession, nil, "", false)
		case DropClose:
			c.end(4000)
		default:
			c.cut()
		}
	}
	s.touch()
}

// MuteGateway has heartbeats not be acknowledged: the connection is dead, and
// only a client that looks for the acknowledgements sees it.
func (s *Server) MuteGateway(mute bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.muted = mute
}

// Sessions is how many sessions are connected now.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, each := range s.sessions {
		if each.conn != nil {
			n++
		}
	}
	return n
}

// MostConnections is how many connections there were at once, at most.
func (s *Server) MostConnections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mostAtOnce
}

// dispatch sends an event to the sessions of a guild's shard with an intent; 0 is
// for all. The caller holds s.mu, as of all below.
func (s *Server) dispatch(g *guild, name string, data any, intent int) {
	for _, id := range sortedKeys(s.sessions) {
		if n := s.sessions[id]; n.has(g) && n.intents&intent == intent {
			s.push(n, name, data)
		}
	}
}

// dispatchInteraction sends an interaction, and tells whether anybody is there.
func (s *Server) dispatchInteraction(g *guild, payload obj) (reached bool) {
	for _, id := range sortedKeys(s.sessions) {
		if n := s.sessions[id]; n.has(g) {
			s.push(n, "INTERACTION_CREATE", payload)
			reached = reached || n.conn != nil
		}
	}
	return reached
}

func intentOf(c *channel) int {
	if c.guild == nil {
		return IntentDirectMessages
	}
	return IntentGuildMessages
}

func (s *Server) dispatchMessage(m *message) { s.dispatchAbout(m, "MESSAGE_CREATE") }
func (s *Server) dispatchEdited(m *message)  { s.dispatchAbout(m, "MESSAGE_UPDATE") }

func (s *Server) dispatchAbout(m *message, name string) {
	if m.to != nil || m.channel.guild != nil && m.channel.may()&ViewChannel == 0 {
		return
	}
	for _, id := range sortedKeys(s.sessions) {
		n := s.sessions[id]
		if !n.has(m.channel.guild) || n.intents&intentOf(m.channel) == 0 {
			continue
		}
		out := s.wireMessage(m)
		if g := m.channel.guild; g != nil {
			out["guild_id"] = g.id
			if who := g.members[m.author.id]; who != nil {
				out["member"] = wireMember(who, false)
			}
		}
		if m.nonce != nil && name == "MESSAGE_CREATE" {
			out["nonce"] = m.nonce
		}
		s.withhold(out, m, n.intents)
		s.push(n, name, out)
	}
}

// withhold takes what is in a message out of it for an application that has not
// these intents, but for its own, direct ones, and those that mention the bot. Over
// the gateway they are a session's, and over REST those that were granted.
// Source: https://docs.discord.com/developers/events/gateway#message-content-intent
func (s *Server) withhold(out obj, m *message, intents int) {
	if intents&IntentMessageContent != 0 || m.author == s.app || m.channel.guild == nil || slices.Contains(m.mentions, s.app) {
		return
	}
	out["content"], out["embeds"], out["components"], out["attachments"] = "", []any{}, []any{}, []any{}
}

func (s *Server) dispatchDeleted(m *message) {
	out := obj{"id": m.id, "channel_id": m.channel.id}
	if m.channel.guild != nil {
		out["guild_id"] = m.channel.guild.id
	}
	for _, id := range sortedKeys(s.sessions) {
		if n := s.sessions[id]; n.has(m.channel.guild) && n.intents&intentOf(m.channel) != 0 {
			s.push(n, "MESSAGE_DELETE", out)
		}
	}
}

func (s *Server) wireGuildCreate(g *guild) obj {
	out := s.wireGuild(g)
	channels, threads, members := []any{}, []any{}, []any{}
	for _, c := range s.channelsOf(g) {
		channels = append(channels, s.wireGuildChannel(c))
	}
	for _, id := range sortedKeys(s.channels) { // those that are active, and that the bot sees
		if c := s.channels[id]; c.guild == g && c.kind == channelThread && !c.archived && c.may()&ViewChannel != 0 {
			threads = append(threads, wireChannel(c))
		}
	}
	if me := g.members[s.app.id]; me != nil {
		members = append(members, wireMember(me, true))
	}
	more := obj{
		"joined_at": stamp(s.opts.Now()), "large": false, "unavailable": false, "member_count": len(g.members), "voice_states": []any{},
		"members": members, "channels": channels, "threads": threads, "presences": []any{}, "stage_instances": []any{},
		"guild_scheduled_events": []any{}, "soundboard_sounds": []any{},
	}
	maps.Copy(out, more)
	return out
}

// wireGuildChannel is a channel with what it denies the bot, as GUILD_CREATE and
// the list of a guild's channels have it.
func (s *Server) wireGuildChannel(c *channel) obj {
	out := wireChannel(c)
	if c.denied != 0 {
		out["permission_overwrites"] = []any{obj{"id": s.app.id, "type": 1, "allow": "0", "deny": strconv.FormatInt(c.denied, 10)}}
	}
	return out
}

func snowflakeOf(id string) uint64 {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
