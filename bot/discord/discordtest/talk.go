package discordtest

import (
	"fmt"
	"regexp"
	"strings"
)

var typedMention = regexp.MustCompile(`@([\p{L}\p{N}_-]+)`)

// Say posts what somebody writes. A name behind an @ becomes a mention, as in the
// client. It returns the message's id.
func (s *Server) Say(userID, channelID, text string) (string, error) {
	return s.say(userID, channelID, text, "")
}

// Reply posts an answer to a message.
func (s *Server) Reply(userID, messageID, text string) (string, error) {
	s.mu.Lock()
	m := s.messages[messageID]
	s.mu.Unlock()
	if m == nil {
		return "", fmt.Errorf("discordtest: there is no message %q", messageID)
	}
	return s.say(userID, m.channel.id, text, messageID)
}

// Mention posts "@Berth text", whatever the application is called.
func (s *Server) Mention(userID, channelID, text string) (string, error) {
	return s.say(userID, channelID, strings.TrimSpace("<@"+s.opts.ApplicationID+"> "+text), "")
}

func (s *Server) say(userID, channelID, text, replyTo string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ch := s.users[userID], s.channels[channelID]
	if u == nil || ch == nil || !s.visible(ch, u) {
		return "", fmt.Errorf("discordtest: the channel %q is not there for the user %q", channelID, userID)
	}
	if strings.TrimSpace(text) == "" || length(text) > maxContent {
		return "", fmt.Errorf("discordtest: a message has 1 to %d characters", maxContent)
	}
	m := &message{channel: ch, author: u, body: body{Content: s.withMentions(text)}}
	if to := s.messages[replyTo]; to != nil {
		m.reference, m.refersTo = to, to.id
	}
	s.post(m)
	s.call(m, obj{}, false)
	s.dispatchMessage(m)
	return m.id, nil
}

// withMentions makes mentions of names behind an @.
func (s *Server) withMentions(text string) string {
	return typedMention.ReplaceAllStringFunc(text, func(found string) string {
		name := found[1:]
		for _, id := range sortedKeys(s.users) {
			if u := s.users[id]; strings.EqualFold(u.name, name) || strings.EqualFold(u.login(), name) {
				return "<@" + u.id + ">"
			}
		}
		return found
	})
}

// EditMessage edits what a person wrote.
func (s *Server) EditMessage(messageID, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.messages[messageID]
	if m == nil || m.author.bot {
		return fmt.Errorf("discordtest: the message %q is gone, or the application's", messageID)
	}
	m.body.Content, m.edited = s.withMentions(text), s.opts.Now()
	m.edits++
	s.mention(m, obj{})
	s.dispatchEdited(m)
	s.touch()
	return nil
}
