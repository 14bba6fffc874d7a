package discordtest

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// addReaction adds the application's reaction to a message. The stand-in knows
// emoji as characters, not those of guilds.
// Source: https://docs.discord.com/developers/resources/message#create-reaction
func (s *Server) addReaction(c *call) (any, *refusal) {
	m, no := s.messageOf(c)
	if no != nil {
		return nil, no
	}
	emoji := c.params["emoji"]
	switch first, _ := utf8.DecodeRuneInString(emoji); {
	case m.channel.guild != nil && m.channel.may()&(AddReactions|ReadMessageHistory) != AddReactions|ReadMessageHistory:
		return nil, missingPermissions
	case !unicode.Is(unicode.So, first) || utf8.RuneCountInString(emoji) > 10:
		return nil, unknownEmoji
	case !slices.Contains(m.reactions, emoji):
		m.reactions = append(m.reactions, emoji)
		s.touch()
	}
	return nil, nil
}
