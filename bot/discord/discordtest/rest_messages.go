package discordtest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// nonceFor is how long a nonce is remembered: "the past few minutes".
// Source: https://docs.discord.com/developers/resources/message#create-message
const nonceFor = 5 * time.Minute

// channelOf finds the route's channel, where the bot sees it.
func (s *Server) channelOf(c *call) (*channel, *refusal) {
	ch := s.channels[c.params["channel"]]
	if ch == nil {
		return nil, unknownChannel
	}
	if ch.guild != nil && ch.may()&ViewChannel == 0 {
		return nil, missingAccess
	}
	return ch, nil
}

// messageOf finds the route's message. Ephemeral ones are reached by their
// interaction alone.
func (s *Server) messageOf(c *call) (*message, *refusal) {
	ch, no := s.channelOf(c)
	if no != nil {
		return nil, no
	}
	m := s.messages[c.params["message"]]
	if m == nil || m.channel != ch || m.to != nil {
		return nil, unknownMessage
	}
	return m, nil
}

func (s *Server) getChannel(c *call) (any, *refusal) {
	ch, no := s.channelOf(c)
	if no != nil {
		return nil, no
	}
	return wireChannel(ch), nil
}

func (s *Server) getMessage(c *call) (any, *refusal) {
	m, no := s.messageOf(c)
	if no != nil {
		return nil, no
	}
	if m.channel.guild != nil && m.channel.may()&ReadMessageHistory == 0 {
		return nil, missingAccess
	}
	out := s.wireMessage(m)
	s.withhold(out, m, s.opts.Intents)
	return out, nil
}

// getMessages lists messages, newest first, whichever way was asked for.
func (s *Server) getMessages(c *call) (any, *refusal) {
	ch, no := s.channelOf(c)
	if no != nil {
		return nil, no
	}
	limit, no := c.number("limit", 50, 1, 100)
	if no != nil {
		return nil, no
	}
	out := []any{}
	if ch.guild != nil && ch.may()&ReadMessageHistory == 0 {
		return out, nil
	}
	after, before, around := c.query.Get("after"), c.query.Get("before"), c.query.Get("around")
	if around != "" {
		s.strange("%s: the stand-in does not know \"around\"", c.route.name)
	}
	var found []*message
	for _, m := range ch.messages {
		if m.to == nil && (after == "" || older(after, m.id)) && (before == "" || older(m.id, before)) {
			found = append(found, m)
		}
	}
	if len(found) > limit {
		if after != "" {
			found = found[:limit]
		} else {
			found = found[len(found)-limit:]
		}
	}
	for _, m := range slices.Backward(found) {
		wired := s.wireMessage(m)
		s.withhold(wired, m, s.opts.Intents)
		out = append(out, wired)
	}
	return out, nil
}

func (s *Server) createMessage(c *call) (any, *refusal) {
	ch, no := s.channelOf(c)
	if no != nil {
		return nil, no
	}
	if no := s.mayWrite(ch, c); no != nil {
		return nil, no
	}
	if nonce := c.body["nonce"]; nonce != nil && c.body["enforce_nonce"] == true {
		for _, m := range slices.Backward(ch.messages) {
			if m.author == s.app && fmt.Sprint(m.nonce) == fmt.Sprint(nonce) && s.opts.Now().Sub(m.at) < nonceFor {
				out := s.wireMessage(m)
				out["nonce"] = m.nonce
				return out, nil
			}
		}
	}
	var bs breaches
	limitMessage(c.body, onCreate, &bs)
	if no := s.judge(c.route.name, bs); no != nil {
		return nil, no
	}
	m := &message{channel: ch, author: s.app, nonce: c.body["nonce"], flags: s.flagsOf(c, flagSuppressEmbeds|flagSilent)}
	if no := s.refer(m, c.body); no != nil {
		return nil, no
	}
	if no := s.fill(m, c, c.body); no != nil {
		return nil, no
	}
	s.post(m)
	s.call(m, c.body, ch.may()&MentionEveryone != 0)
	s.dispatchMessage(m)
	out := s.wireMessage(m)
	if m.nonce != nil {
		out["nonce"] = m.nonce
	}
	return out, nil
}

// mayWrite tells whether the bot may post what it wants to.
func (s *Server) mayWrite(ch *channel, c *call) *refusal {
	if ch.guild == nil {
		if ch.with.noDMs || !s.shared(ch.with) {
			return noDirectMessages
		}
		return nil
	}
	need := int64(SendMessages)
	if ch.kind == channelThread {
		need = SendMessagesInThreads
	}
	if embeds, _ := c.body["embeds"].([]any); len(embeds) > 0 {
		need |= EmbedLinks
	}
	if len(c.files) > 0 {
		need |= AttachFiles
	}
	if ch.may()&need != need {
		return missingPermissions
	}
	return nil
}

// shared tells whether somebody is in a guild with the bot.
func (s *Server) shared(u *user) bool {
	for _, g := range s.guilds {
		if !g.noBot && g.members[u.id] != nil {
			return true
		}
	}
	return false
}

// flagsOf reads the flags that may be set.
func (s *Server) flagsOf(c *call, allowed int) int {
	n, _ := c.body["flags"].(float64)
	flags := int(n)
	if flags&flagComponentsV2 != 0 {
		s.strange("%s: the stand-in does not draw the components of IS_COMPONENTS_V2", c.route.name)
	}
	if other := flags &^ allowed; other != 0 {
		s.strange("%s: the flags %d cannot be set here", c.route.name, other)
	}
	return flags & allowed
}

// refer makes a message a reply.
func (s *Server) refer(m *message, from obj) *refusal {
	ref, ok := from["message_reference"].(map[string]any)
	if !ok {
		return nil
	}
	if m.channel.guild != nil && m.channel.may()&ReadMessageHistory == 0 {
		return replyUnread
	}
	m.refersTo, _ = ref["message_id"].(string)
	m.reference = s.messages[m.refersTo]
	if m.reference != nil && (m.reference.channel != m.channel || m.reference.to != nil) {
		m.reference = nil
	}
	if m.reference == nil {
		if ref["fail_if_not_exists"] != false {
			return unknownReference
		}
		m.refersTo = ""
	}
	return nil
}

// fill takes a body's content into a message that is new.
func (s *Server) fill(m *message, c *call, from obj) *refusal {
	b := body{}
	b.Content, _ = from["content"].(string)
	b.Content = strings.TrimSpace(b.Content)
	b.Embeds = into[[]Embed](from["embeds"])
	b.Components = numbered(into[[]Component](from["components"]))
	files, no := s.attach(m, c, from, nil)
	if no != nil {
		return no
	}
	b.Attachments = files
	if b.Content == "" && len(b.Embeds) == 0 && len(b.Components) == 0 && len(b.Attachments) == 0 {
		return emptyMessage
	}
	m.body = b
	return nil
}

// edit takes what a body has into a message that stands: what it does not name
// stays.
func (s *Server) edit(m *message, c *call, from obj) *refusal {
	b := m.body
	if v, ok := from["content"]; ok {
		b.Content, _ = v.(string)
		b.Content = strings.TrimSpace(b.Content)
	}
	if v, ok := from["embeds"]; ok {
		b.Embeds = into[[]Embed](v)
	}
	if v, ok := from["components"]; ok {
		b.Components = numbered(into[[]Component](v))
	}
	files, no := s.attach(m, c, from, b.Attachments)
	if no != nil {
		return no
	}
	b.Attachments = files
	if b.Content == "" && len(b.Embeds) == 0 && len(b.Components) == 0 && len(b.Attachments) == 0 {
		return emptyMessage
	}
	m.body, m.edited = b, s.opts.Now()
	m.edits++
	m.flags &^= flagLoading
	s.touch()
	return nil
}

// numbered gives components their ids, as Discord does for those without.
func numbered(list []Component) []Component {
	next := 0
	var walk func([]Component)
	walk = func(list []Component) {
		for i := range list {
			next++
			if list[i].ID == 0 {
				list[i].ID = next
			}
			walk(list[i].Components)
		}
	}
	walk(list)
	return list
}

// post puts a message into its channel.
func (s *Server) post(m *message) {
	m.at = s.opts.Now()
	if m.id == "" {
		m.id = s.newID()
	}
	m.channel.messages = append(m.channel.messages, m)
	if m.to == nil {
		m.channel.last = m.id
	}
	s.messages[m.id] = m
	s.touch()
}

func (s *Server) editMessage(c *call) (any, *refusal) {
	m, no := s.messageOf(c)
	if no != nil {
		return nil, no
	}
	if m.author != s.app {
		return nil, wrongAuthor
	}
	if m.channel.guild == nil && (m.channel.with.noDMs || !s.shared(m.channel.with)) {
		return nil, noDirectMessages
	}
	var bs breaches
	limitMessage(c.body, onEdit, &bs)
	if no := s.judge(c.route.name, bs); no != nil {
		return nil, no
	}
	s.flagsOf(c, flagSuppressEmbeds)
	if no := s.edit(m, c, c.body); no != nil {
		return nil, no
	}
	s.mention(m, c.body)
	s.dispatchEdited(m)
	return s.wireMessage(m), nil
}

func (s *Server) deleteMessage(c *call) (any, *refusal) {
	m, no := s.messageOf(c)
	if no != nil {
		return nil, no
	}
	if m.author != s.app && (m.channel.guild == nil || m.channel.may()&ManageMessages == 0) {
		return nil, missingPermissions
	}
	s.remove(m)
	return nil, nil
}
