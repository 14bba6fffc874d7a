package discord

import (
	"strings"

	"github.com/bwmarrin/discordgo"

	"github.com/berth-dev/berth/bot"
)

// colours are those of an embed's edge, by tone. A plain one has none.
var colours = map[bot.ChatTone]int{
	bot.ChatWaiting: 0xf0b232,
	bot.ChatWorking: 0x5865f2,
	bot.ChatGood:    0x23a55a,
	bot.ChatWarning: 0xe67e22,
	bot.ChatBad:     0xf23f43,
	bot.ChatOver:    0x80848e,
}

// payload is a message as Discord is sent it, new or in place of another: what
// is empty stands there too, so that nothing of an earlier one stays.
// Source: https://docs.discord.com/developers/resources/message#create-message
type payload struct {
	Content         string                            `json:"content"`
	Embeds          []*discordgo.MessageEmbed         `json:"embeds"`
	Components      []discordgo.MessageComponent      `json:"components"`
	AllowedMentions *discordgo.MessageAllowedMentions `json:"allowed_mentions"`
	Attachments     []attached                        `json:"attachments"`
	Flags           discordgo.MessageFlags            `json:"flags"` // 0 too, or an edit would leave embeds suppressed
	Nonce           string                            `json:"nonce,omitempty"`
	EnforceNonce    bool                              `json:"enforce_nonce,omitempty"`
	Reference       *discordgo.MessageReference       `json:"message_reference,omitempty"`

	file *upload
}

// attached names a file that goes with a payload.
type attached struct {
	ID       int    `json:"id"`
	Filename string `json:"filename"`
}

// render makes a message Discord's, for a guild or, with "", a direct message.
// Whatever m holds, the result is within Discord's limits, and calls those of
// m.Call alone.
//
// What is only text is content, which is wider than an embed; all else is an
// embed with the tone's colour.
func render(m bot.ChatMessage, guild string) *payload {
	m = m.Led()
	p := &payload{Embeds: []*discordgo.MessageEmbed{}, Attachments: []attached{}}
	calls, allowed := callsOf(m.Call, guild)
	p.AllowedMentions = allowed
	lost := shown{whole: true}
	if text, ok := asContent(m, maxContent-size(calls)-1-markSize); ok {
		p.Content = strings.TrimSpace(calls + "\n" + text)
		p.Flags = discordgo.MessageFlagsSuppressEmbeds // of what is linked to
	} else {
		if p.Content = calls; calls != "" {
			// What calls people is all that their notification shows, so that it says what
			// for, in place of the embed.
			p.Content = strings.TrimSpace(calls + " " + bold(titleOf(m)))
			m.Icon, m.Title = "", ""
		}
		lost = fitLoss(m)
		p.Embeds = p.embeds(m, lost)
	}
	file := m.File
	if !lost.whole && m.Loss.File != "" {
		file = lossFile(m)
		lost.whole = len(file.Text) <= maxFile // then all of it is at hand
	}
	if file != nil {
		p.attach(file)
	}
	p.Components = buttons(m.Buttons, lost.whole)
	if p.Content == "" && len(p.Embeds) == 0 && p.file == nil {
		p.Content = "–" // Discord takes no message with nothing in it
	}
	return p
}

// attach has a file go with the message.
func (p *payload) attach(f *bot.ChatFile) {
	p.file = attachment(f)
	p.Attachments = []attached{{Filename: p.file.name}}
}

// asContent is a message that is only text, if it fits.
func asContent(m bot.ChatMessage, room int) (string, bool) {
	if m.Tone != bot.ChatPlain || len(m.Fields) > 0 || len(m.Parts) > 0 || m.Loss.Len() > 0 {
		return "", false
	}
	var pieces []string
	if title := titleOf(m); title != "" {
		pieces = append(pieces, "**"+title+"**")
	}
	if text := markdown(m.Text); text != "" {
		pieces = append(pieces, text)
	}
	if small := plainLine(markdown(m.Small)); small != "" {
		pieces = append(pieces, "-# "+small)
	}
	content := strings.Join(pieces, "\n")
	return content, size(content) <= room
}

// bold is a title in content.
func bold(title string) string {
	if title == "" {
		return ""
	}
	return "**" + title + "**"
}

// titleOf is a message's first line.
func titleOf(m bot.ChatMessage) string {
	return strings.TrimSpace(escape(clipLine(m.Icon, 8)) + " " + escape(clipLine(m.Title, maxEmbedTitle/2-markSize)))
}

// callsOf are the words that call people, and what lets them do so. A role is
// called in its own guild only; the one that is named as the guild is
// @everyone, which nobody is to be called by.
func callsOf(call []string, guild string) (string, *discordgo.MessageAllowedMentions) {
	allowed := &discordgo.MessageAllowedMentions{Parse: []discordgo.AllowedMentionType{}}
	var words []string
	seen := map[string]bool{}
	for _, who := range call {
		if seen[who] {
			continue
		}
		seen[who] = true
		if id, ok := strings.CutPrefix(who, identityPrefix); ok && isID(id) && len(allowed.Users) < maxCalls {
			allowed.Users = append(allowed.Users, id)
			words = append(words, "<@"+id+">")
		}
		group, ok := strings.CutPrefix(who, rolePrefix)
		of, role, two := strings.Cut(group, "/")
		if ok && two && of == guild && role != guild && isID(role) && len(allowed.Roles) < maxCalls {
			allowed.Roles = append(allowed.Roles, role)
			words = append(words, "<@&"+role+">")
		}
	}
	for len(words) > 0 && size(strings.Join(words, " ")) > maxContent/2 {
		words = words[:len(words)-1] // whose ids stay allowed; without the word they are not called
	}
	return strings.Join(words, " "), allowed
}

// rolePrefix begins the groups of policies that are Discord's roles.
const rolePrefix = "discord-role:"

// buttons are those of a message, in rows, by whether it shows the whole of what
// would be lost. One that cannot be shown is left out: a command that is too long
// for it, an address that is none, the same again.
func buttons(all []bot.ChatButton, whole bool) []discordgo.MessageComponent {
	rows := []discordgo.MessageComponent{}
	var row []discordgo.MessageComponent
	seen := map[string]bool{}
	for _, b := range all {
		shown, ok := buttonOf(b)
		if !ok || !b.Shown(whole) || shown.CustomID != "" && seen[shown.CustomID] {
			continue
		}
		seen[shown.CustomID] = true
		if len(row) == maxRow {
			rows = append(rows, discordgo.ActionsRow{Components: row})
			row = nil
		}
		if len(rows) == maxRows {
			return rows
		}
		row = append(row, shown)
	}
	if len(row) > 0 {
		rows = append(rows, discordgo.ActionsRow{Components: row})
	}
	return rows
}

// buttonOf is one button. It is false for one that cannot be shown.
func buttonOf(b bot.ChatButton) (discordgo.Button, bool) {
	out := discordgo.Button{Label: clipLine(b.Label, maxLabel), Style: discordgo.SecondaryButton}
	if out.Label == "" {
		return out, false
	}
	if b.URL != "" {
		out.Style, out.URL = discordgo.LinkButton, webAddress(b.URL)
		return out, out.URL != "" && size(out.URL) <= maxButtonURL
	}
	switch b.Style {
	case bot.StylePrimary:
		out.Style = discordgo.SuccessButton // what one says yes with is green there
	case bot.StyleDanger:
		out.Style = discordgo.DangerButton
	}
	id, ok := customID(b)
	out.CustomID = id
	return out, ok && size(id) <= maxCustomID
}
