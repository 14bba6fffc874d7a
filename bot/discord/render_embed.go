package discord

import (
	"cmp"
	"slices"
	"strings"

	"github.com/bwmarrin/discordgo"

	"github.com/berth-dev/berth/bot"
)

// block is a text of a message, on its way to fit.
type block struct {
	title string
	text  string
	most  int // the longest that Discord takes where it is to stand
	room  int // what it gets
	field bool
}

// maxFacts is how much of a message's room its fields may take, so that there is
// some for what they are about.
const maxFacts = 2500

// maxBesideFile is how long a text may be that has a file with all of it below.
const maxBesideFile = 1800

// embeds are a message's: its text, what would be lost, fields, and short parts in
// one, and longer parts in more of them below it. Where all is more than Discord
// takes, the longest texts are cut, and what is cut goes along as a file unless it
// is read elsewhere.
func (p *payload) embeds(m bot.ChatMessage, lost shown) []*discordgo.MessageEmbed {
	small, clipped := plainLine(markdown(m.Small)), false
	fields, parts := facts(m.Fields), m.Parts
	if lost.tight {
		clipped = len(m.Fields) > 0 || len(m.Parts) > 0
		fields, parts, small = nil, nil, ""
	}
	first := &discordgo.MessageEmbed{Title: titleOf(m), Color: colours[m.Tone]}
	left := maxEmbedsText - markSize - size(first.Title) - min(size(small), maxFooter) - lost.size()
	left -= maxFields  // for what stands in place of an empty name or text
	left -= maxCutLine // and for what says that something was cut
	for _, f := range fields {
		left -= size(f.Name) + size(f.Value)
	}
	most := maxEmbedText
	if m.File != nil {
		most = maxBesideFile
	}
	head := most - markSize
	if len(lost.pieces) > 0 {
		head = min(head, maxEmbedText-markSize-size(lost.pieces[0])-2)
	}
	e := &embedding{made: []*discordgo.MessageEmbed{first}, tone: m.Tone}
	blocks := blocksOf(markdown(m.Text), head, parts, most, len(fields))
	share(blocks, left)
	e.begin(blocks[0], lost.pieces, fields)
	for _, b := range blocks[1:] {
		e.add(b)
	}
	filed := !lost.whole && m.Loss.File != ""
	if e.cut = e.cut || clipped || !lost.whole; e.cut {
		e.tell(m, filed)
	}
	if e.cut && m.Whole == "" && m.File == nil && !filed {
		p.attach(&bot.ChatFile{Name: "whole.md", Text: wholeText(m)})
	}
	foot(e.last(), small)
	return slices.DeleteFunc(e.made, empty)
}

// blocksOf are a message's text, of at most head characters, and its parts, of at
// most most. As long as there is room for fields, short ones are fields.
func blocksOf(text string, head int, parts []bot.ChatSection, most, fields int) []*block {
	blocks := []*block{{text: text, most: head}}
	own := 1 // embeds
	for _, part := range parts {
		b := &block{title: escape(clipLine(part.Title, maxEmbedTitle/2)), text: markdown(part.Text), most: most}
		if b.title == "" && b.text == "" {
			continue
		}
		if own == 1 && fields < maxFields-2 && size(b.text) <= maxFieldValue {
			b.most, b.field = maxFieldValue, true
			fields++
		} else if own++; own > maxEmbeds-2 {
			last := blocks[len(blocks)-1]
			last.text = strings.TrimSpace(last.text + "\n\n**" + b.title + "**\n" + b.text)
			continue
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// embedding is embeds in the making.
type embedding struct {
	made []*discordgo.MessageEmbed
	tone bot.ChatTone
	cut  bool // something was left out
}

func (e *embedding) last() *discordgo.MessageEmbed { return e.made[len(e.made)-1] }

func (e *embedding) shorten(b *block) string {
	text, all := cut(b.text, b.room, cutNotice)
	e.cut = e.cut || !all
	return text
}

// begin writes the text, what would be lost, and the fields.
func (e *embedding) begin(text *block, lost []string, fields []*discordgo.MessageEmbedField) {
	first := e.last()
	first.Description = e.shorten(text)
	for i, piece := range lost {
		if i == 0 {
			first.Description = strings.TrimSpace(first.Description + "\n\n" + piece)
			continue
		}
		e.made = append(e.made, &discordgo.MessageEmbed{Description: piece, Color: colours[e.tone]})
	}
	e.last().Fields = fields
}

// add writes a part.
func (e *embedding) add(b *block) {
	text := e.shorten(b)
	if b.field {
		// What is empty, or was left no room, is a character that is not seen:
		// Discord takes no empty field.
		e.last().Fields = append(e.last().Fields, &discordgo.MessageEmbedField{Name: cmp.Or(b.title, seam), Value: cmp.Or(text, seam)})
		return
	}
	e.made = append(e.made, &discordgo.MessageEmbed{Title: b.title, Description: text, Color: colours[e.tone]})
}

// maxCutLine is how long the line may be that says that something was cut, with
// what stands around it.
const maxCutLine = 300

// tell says that something was cut, and where all of it is, at the end of all:
// in the file of what would be lost, if there is one.
func (e *embedding) tell(m bot.ChatMessage, filed bool) {
	whole := plainLine(markdown(m.Whole))
	switch {
	case filed, whole == "" && m.File == nil:
		whole = "All of it is in the file below."
	case size(whole) > maxCutLine-50:
		whole = ""
	}
	text := strings.TrimSpace("-# ✂️ Cut to what Discord takes. " + whole)
	if last := e.last(); len(last.Fields) < maxFields-1 {
		last.Fields = append(last.Fields, &discordgo.MessageEmbedField{Name: seam, Value: text})
	}
}

// foot puts a line in small letters at the end of an embed: the footer, unless
// there is something to click on in it, which footers cannot show. A time at its
// end is one that Discord shows there.
func foot(e *discordgo.MessageEmbed, small string) {
	switch {
	case small == "":
	case strings.Contains(small, "<http") && len(e.Fields) < maxFields && size(small)+4 <= maxFieldValue:
		e.Fields = append(e.Fields, &discordgo.MessageEmbedField{Name: seam, Value: "-# " + small})
	default:
		text, at := timeAtEnd(small)
		e.Timestamp = at
		if text = clipLine(unmarked(text), maxFooter); text != "" {
			e.Footer = &discordgo.MessageEmbedFooter{Text: text}
		}
	}
}

// empty tells whether an embed shows nothing.
func empty(e *discordgo.MessageEmbed) bool {
	return e.Title == "" && e.Description == "" && len(e.Fields) == 0 && e.Footer == nil && e.Timestamp == ""
}

// facts are short fields, side by side. They are made shorter until all of them
// leave room for what they are about.
func facts(all []bot.ChatField) []*discordgo.MessageEmbedField {
	all = all[:min(len(all), maxFields-1)]
	var fields []*discordgo.MessageEmbedField
	for most := maxFieldValue; most > 30; most /= 2 {
		fields = fields[:0]
		sum := 0
		for _, f := range all {
			name, value := escape(clipLine(f.Name, min(maxFieldName, most)/2)), factOf(f)
			if name == "" {
				name = seam
			}
			if value == "" {
				value = "–"
			}
			value, _ = cut(value, most, "[…]")
			sum += size(name) + size(value)
			fields = append(fields, &discordgo.MessageEmbedField{Name: name, Value: value, Inline: narrow(value)})
		}
		if sum <= maxFacts {
			break
		}
	}
	return fields
}

// factOf is what a field says. How far away a time is, Discord tells by itself.
func factOf(f bot.ChatField) string {
	if f.At.IsZero() {
		return markdown(f.Text)
	}
	value := stamp(f.At, "R") + ", " + stamp(f.At, "f")
	if more := markdown(f.Text); more != "" {
		value += "; " + more
	}
	return value
}

// What a field may have to stand beside two others, whose columns are narrow.
const (
	maxInline     = 60 // characters
	maxInlineWord = 22 // of one word
)

// narrow tells whether a value is short enough to stand beside others.
func narrow(value string) bool {
	value = unmarked(value)
	if strings.Contains(value, fence) || size(value) > maxInline {
		return false
	}
	for _, word := range strings.Fields(value) {
		if size(word) > maxInlineWord {
			return false
		}
	}
	return true
}

// share gives each block its room: short ones all they need, and the others the
// same of what is left.
func share(blocks []*block, left int) {
	left -= gap // and what stands around a small line
	for _, b := range blocks {
		left -= size(b.title)
	}
	order := slices.Clone(blocks)
	slices.SortStableFunc(order, func(a, b *block) int { return size(a.text) - size(b.text) })
	for i, b := range order {
		b.room = min(size(b.text), b.most, max(0, left)/(len(order)-i))
		left -= b.room
	}
}

// cutNotice stands where text was cut out. What is read elsewhere is said once, at
// the end of all.
const cutNotice = "*[…] a part is left out here*"

// wholeText is all of a message as it was before it was cut.
func wholeText(m bot.ChatMessage) string {
	pieces := []string{m.Title, m.Text}
	if m.Loss.Len() > 0 {
		pieces = append(pieces, m.Loss.Plain())
	}
	for _, part := range m.Parts {
		title := part.Title
		if title != "" {
			title = "## " + title
		}
		pieces = append(pieces, title, part.Text)
	}
	pieces = slices.DeleteFunc(pieces, func(s string) bool { return strings.TrimSpace(s) == "" })
	return strings.ReplaceAll(strings.Join(pieces, "\n\n"), seam, "") + "\n"
}
