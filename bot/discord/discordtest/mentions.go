package discordtest

import (
	"regexp"
	"slices"
	"strings"
)

var (
	userMention = regexp.MustCompile(`<@!?(\d+)>`)
	roleMention = regexp.MustCompile(`<@&(\d+)>`)
	inCode      = regexp.MustCompile("(?s)```.*?```|`[^`\n]+`")
)

// allowance is whom a message may call.
// Source: https://docs.discord.com/developers/resources/message#allowed-mentions-object
type allowance struct {
	users, roles, everyone bool
	onlyUsers, onlyRoles   []string
}

func allowed(from obj) allowance {
	given, ok := from["allowed_mentions"].(map[string]any)
	if !ok {
		return allowance{users: true, roles: true, everyone: true}
	}
	var a allowance
	for _, v := range into[[]string](given["parse"]) {
		switch v {
		case "users":
			a.users = true
		case "roles":
			a.roles = true
		case "everyone":
			a.everyone = true
		}
	}
	a.onlyUsers, a.onlyRoles = into[[]string](given["users"]), into[[]string](given["roles"])
	return a
}

// mention keeps whom a message names, which is shown but calls nobody.
func (s *Server) mention(m *message, from obj) {
	m.mentions, m.roles, m.everyone = nil, nil, false
	a := allowed(from)
	text := inCode.ReplaceAllString(m.body.Content, "")
	for _, match := range userMention.FindAllStringSubmatch(text, -1) {
		u := s.users[match[1]]
		if u != nil && (a.users || slices.Contains(a.onlyUsers, u.id)) && !slices.Contains(m.mentions, u) {
			m.mentions = append(m.mentions, u)
		}
	}
	if m.channel.guild == nil {
		return
	}
	for _, match := range roleMention.FindAllStringSubmatch(text, -1) {
		r := m.channel.guild.role(match[1])
		if r != nil && (a.roles || slices.Contains(a.onlyRoles, r.id)) && !slices.Contains(m.roles, r.id) {
			m.roles = append(m.roles, r.id)
		}
	}
	m.everyone = a.everyone && (strings.Contains(text, "@everyone") || strings.Contains(text, "@here"))
}

// call does the same for a new message and notifies those whom it names. powerful
// is somebody who may call everyone, and roles that are not for anybody to call.
func (s *Server) call(m *message, from obj, powerful bool) {
	s.mention(m, from)
	if m.to != nil || m.flags&flagSilent != 0 {
		return
	}
	for _, u := range m.mentions {
		if s.visible(m.channel, u) {
			m.pings = append(m.pings, u.id)
		}
	}
	for _, id := range m.roles {
		if powerful || m.channel.guild.role(id).mentionable {
			m.pings = append(m.pings, id)
		}
	}
	if m.everyone = m.everyone && powerful; m.everyone {
		m.pings = append(m.pings, "everyone")
	}
	if m.channel.guild == nil && m.author == s.app {
		m.pings = append(m.pings, m.channel.with.id) // A direct message always does.
	}
}
