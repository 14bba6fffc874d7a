package discordtest

import (
	"fmt"
	"hash/fnv"
	"html"
	"html/template"
	"regexp"
	"slices"
	"strings"
	"time"
)

// groupFor is how long messages of one author are drawn under one name.
const groupFor = 7 * time.Minute

// shownMessage is a message as the page draws it.
type shownMessage struct {
	ID, Author, Letter, Time, Stamp string
	Hue                             int
	Color                           string
	Bot, Compact, Mentioned         bool
	Edited, Thinking, Only          bool
	Content                         template.HTML
	Embeds                          []shownEmbed
	Rows                            [][]shownControl
	Menu                            []string // commands for it
	Files                           []shownFile
	Thread                          *shownThread
	Reply                           *shownReply
	Used                            *shownUse
	Failed                          string
	Day                             string // a line above it says so
}

type shownReply struct {
	Author, Text string
	Gone, Bot    bool
	Hue          int
	Letter       string
}

type shownUse struct {
	Who, Command, Letter string
	Hue                  int
}

type shownEmbed struct {
	Color, URL                string
	Author, Title, Text, Foot template.HTML
	Rows                      [][]shownField
}

type shownField struct {
	Name, Value template.HTML
	Inline      bool
}

type shownControl struct {
	ID, Label, Style, URL, Emoji string
	Disabled, Menu               bool
	Options                      []SelectOption
	Placeholder                  string
}

type shownFile struct {
	Name, URL, Size, Text string
	Lines                 int
	More                  bool
}

type shownThread struct {
	ID, Name, Last string
	Count          int
}

// previewLines is how much of a file is shown when it is unfolded.
const previewLines = 200

// draw makes a message ready for the page, as u sees it. The caller holds s.mu.
func (s *Server) draw(m *message, u *user) shownMessage {
	md := s.markdownIn(m.channel)
	out := shownMessage{
		ID: m.id, Author: s.nameIn(m.channel, m.author), Letter: letter(m.author.name), Hue: hue(m.author.id), Bot: m.author.bot,
		Color: s.colorOf(m.channel, m.author), Time: s.when(m.at), Stamp: m.at.UTC().Format("15:04"), Edited: !m.edited.IsZero(),
		Thinking: m.flags&flagLoading != 0, Only: m.to != nil, Content: md.block(m.body.Content),
	}
	if u != nil {
		out.Mentioned = m.channel.guild != nil && s.calls(m, u)
	}
	if m.flags&flagSuppressEmbeds == 0 {
		for _, e := range m.body.Embeds {
			out.Embeds = append(out.Embeds, drawEmbed(e, md))
		}
	}
	for _, row := range m.body.Components {
		out.Rows = append(out.Rows, drawRow(row))
	}
	for _, a := range m.body.Attachments {
		out.Files = append(out.Files, drawFile(a))
	}
	if t := m.thread; t != nil {
		out.Thread = &shownThread{ID: t.id, Name: t.name, Count: len(t.messages)}
		if len(t.messages) > 0 {
			out.Thread.Last = firstLine(t.messages[len(t.messages)-1], md)
		}
	}
	if m.refersTo != "" {
		out.Reply = &shownReply{Gone: true}
		if r := m.reference; r != nil && s.messages[r.id] != nil {
			out.Reply = &shownReply{Bot: r.author.bot, Author: s.nameIn(m.channel, r.author), Text: firstLine(r, md), Letter: letter(r.author.name), Hue: hue(r.author.id)}
		}
	}
	if in := m.interaction; in != nil && in.kind == interactionCommand && m == in.original {
		out.Used = &shownUse{Who: s.nameIn(m.channel, in.user), Command: in.command.path(in.options), Letter: letter(in.user.name), Hue: hue(in.user.id)}
	}
	for _, cmd := range s.usable(m.channel) {
		if u != nil && cmd.Type == commandMessage {
			out.Menu = append(out.Menu, cmd.Name)
		}
	}
	if in := m.clicks[u]; in != nil && in.failed != "" {
		out.Failed = "This interaction failed"
	}
	return out
}

func drawEmbed(e Embed, md markdown) shownEmbed {
	out := shownEmbed{URL: e.URL, Title: md.inline(e.Title), Text: md.block(e.Description)}
	if e.Color != nil && *e.Color != 0 {
		out.Color = fmt.Sprintf("#%06x", *e.Color)
	}
	if e.Author != nil {
		out.Author = template.HTML(template.HTMLEscapeString(e.Author.Name))
	}
	if e.Footer != nil {
		foot := e.Footer.Text
		if t, err := time.Parse(time.RFC3339, e.Timestamp); err == nil {
			foot += " • " + t.UTC().Format("02/01/2006 15:04")
		}
		out.Foot = template.HTML(template.HTMLEscapeString(foot))
	}
	for _, f := range e.Fields {
		field := shownField{Name: md.inline(f.Name), Value: md.block(f.Value), Inline: f.Inline}
		last := len(out.Rows) - 1
		// Up to three short ones stand side by side.
		if last >= 0 && f.Inline && out.Rows[last][0].Inline && len(out.Rows[last]) < 3 {
			out.Rows[last] = append(out.Rows[last], field)
		} else {
			out.Rows = append(out.Rows, []shownField{field})
		}
	}
	return out
}

var buttonStyles = map[int]string{ButtonPrimary: "primary", ButtonSecondary: "secondary", ButtonSuccess: "success", ButtonDanger: "danger", ButtonLink: "link"}

func drawRow(row Component) []shownControl {
	var out []shownControl
	for _, c := range row.Components {
		shown := shownControl{ID: c.CustomID, Label: c.Label, Style: buttonStyles[c.Style], URL: c.URL, Disabled: c.Disabled}
		if c.Emoji != nil {
			shown.Emoji = c.Emoji.Name
		}
		if c.Type == ComponentSelect {
			shown.Menu, shown.Options, shown.Placeholder = true, c.Options, c.Placeholder
		}
		out = append(out, shown)
	}
	return out
}

func drawFile(a Attachment) shownFile {
	f := shownFile{Name: a.Filename, URL: strings.TrimPrefix(a.URL, origin(a.URL)), Size: size(a.Size)}
	if strings.HasPrefix(a.ContentType, "text/") || strings.HasSuffix(a.Filename, ".json") {
		lines := strings.Split(strings.TrimRight(a.Text(), "\n"), "\n")
		f.Lines = len(lines)
		if f.More = len(lines) > previewLines; f.More {
			lines = lines[:previewLines]
		}
		f.Text = strings.Join(lines, "\n")
	}
	return f
}

// origin is what stands before an address's path.
func origin(address string) string {
	if at := strings.Index(address, "/attachments/"); at > 0 {
		return address[:at]
	}
	return ""
}

func size(n int) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d bytes", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.2f KB", float64(n)/1000)
	}
	return fmt.Sprintf("%.2f MB", float64(n)/1e6)
}

var tags = regexp.MustCompile(`<[^>]*>`)

// firstLine is what a message begins with, without its styles.
func firstLine(m *message, md markdown) string {
	text := m.body.Content
	if text == "" && len(m.body.Embeds) > 0 {
		text = m.body.Embeds[0].Title
		if text == "" {
			text = m.body.Embeds[0].Description
		}
	}
	if text == "" && len(m.body.Attachments) > 0 {
		text = m.body.Attachments[0].Filename
	}
	line, _, _ := strings.Cut(text, "\n")
	line = html.UnescapeString(tags.ReplaceAllString(string(md.inline(strings.TrimLeft(line, "#>- "))), ""))
	if r := []rune(line); len(r) > 90 {
		line = string(r[:90]) + "…"
	}
	return line
}

func (s *Server) markdownIn(ch *channel) markdown {
	return markdown{now: s.opts.Now().UTC(), name: func(kind byte, id string) string {
		switch kind {
		case '@':
			if u := s.users[id]; u != nil {
				return s.nameIn(ch, u)
			}
			return "unknown-user"
		case '&':
			if ch.guild != nil && ch.guild.role(id) != nil {
				return ch.guild.role(id).name
			}
			return "unknown-role"
		}
		if c := s.channels[id]; c != nil && c.name != "" {
			return c.name
		}
		return "unknown"
	}}
}

func (s *Server) nameIn(ch *channel, u *user) string {
	if ch.guild != nil && ch.guild.members[u.id] != nil && ch.guild.members[u.id].nick != "" {
		return ch.guild.members[u.id].nick
	}
	return u.name
}

// colorOf is that of somebody's highest role.
func (s *Server) colorOf(ch *channel, u *user) string {
	if ch.guild == nil || ch.guild.members[u.id] == nil {
		return ""
	}
	for _, r := range slices.Backward(ch.guild.roles) {
		if r.color != 0 && slices.Contains(ch.guild.members[u.id].roles, r.id) {
			return fmt.Sprintf("#%06x", r.color)
		}
	}
	return ""
}

// when is how the client tells when a message was sent.
func (s *Server) when(t time.Time) string {
	now := s.opts.Now().UTC()
	t = t.UTC()
	switch {
	case t.Format(time.DateOnly) == now.Format(time.DateOnly):
		return "Today at " + t.Format("15:04")
	case t.Format(time.DateOnly) == now.AddDate(0, 0, -1).Format(time.DateOnly):
		return "Yesterday at " + t.Format("15:04")
	}
	return t.Format("02/01/2006 15:04")
}

func letter(name string) string {
	for _, r := range strings.ToUpper(name) {
		return string(r)
	}
	return "?"
}

func hue(id string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // It never fails.
	return int(h.Sum32() % 360)
}
