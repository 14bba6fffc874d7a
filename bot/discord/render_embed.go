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
}

// maxFacts is how much of a message's room its fields may take, so that there is
// some for what they are about.
const maxFacts = 2500

// maxBesideFile is how long a text may be that has a file with all of it below.
const maxBesideFile = 1800

// embeds are a message's: its text, fields, and short parts in one, and longer
// parts in more of them below it. Where all is more than Discord takes, the
// longest texts are cut, and what is cut goes along as a file unless it is read
// elsewhere.
func (p *payload) embeds(m bot.ChatMessage) []*discordgo.MessageEmbed {
	first := &discordgo.MessageEmbed{Title: titleOf(m), Fields: facts(m.Fields), Color: colours[m.Tone]}
	small := plainLine(markdown(m.Small))
	left := maxEmbedsText - markSize - size(first.Title) - min(size(small), maxFooter)
	left -= maxFields // for what stands in place of an empty name or text
	for _, f := range first.Fields {
		left -= size(f.Name) + size(f.Value)
	}

	most := maxEmbedText
	if m.File != nil {
		most = maxBesideFile
	}
	blocks := []*block{{text: markdown(m.Text), most: most - markSize}}
	fields := len(first.Fields) // and those of parts
	own := 1                    // embeds
	for _, part := range m.Parts {
		b := &block{title: escape(clipLine(part.Title, maxEmbedTitle/2)), text: markdown(part.Text), most: most}
		if b.title == "" && b.text == "" {
			continue
		}
		if own == 1 && fields < maxFields-1 && size(b.text) <= maxFieldValue {
			b.most = maxFieldValue
			fields++
		} else if own++; own > maxEmbeds {
			last := blocks[len(blocks)-1]
			last.text = strings.TrimSpace(last.text + "\n\n**" + b.title + "**\n" + b.text)
			continue
		}
		blocks = append(blocks, b)
	}
	notice, whole := noticeOf(m), true
	share(blocks, left)
	embeds := []*discordgo.MessageEmbed{first}
	for i, b := range blocks {
		text, all := cut(b.text, b.room, notice)
		whole = whole && all
		switch {
		case i == 0:
			first.Description = text
		case b.most == maxFieldValue:
			// What is empty, or was left no room, is a character that is not seen:
			// Discord takes no empty field.
			first.Fields = append(first.Fields, &discordgo.MessageEmbedField{Name: cmp.Or(b.title, seam), Value: cmp.Or(text, seam)})
		default:
			embeds = append(embeds, &discordgo.MessageEmbed{Title: b.title, Description: text, Color: colours[m.Tone]})
		}
	}
	if !whole && m.Whole == "" && m.File == nil {
		p.attach(&bot.ChatFile{Name: "whole.md", Text: wholeText(m)})
	}
	foot(embeds[len(embeds)-1], small)
	return slices.DeleteFunc(embeds, empty)
}

// foot puts a line in small letters at the end of an embed: the footer, unless
// there is something to click on in it, which footers cannot show.
func foot(e *discordgo.MessageEmbed, small string) {
	switch {
	case small == "":
	case strings.Contains(small, "<http") && len(e.Fields) < maxFields && size(small)+4 <= maxFieldValue:
		e.Fields = append(e.Fields, &discordgo.MessageEmbedField{Name: seam, Value: "-# " + small})
	default:
		e.Footer = &discordgo.MessageEmbedFooter{Text: clipLine(unmarked(small), maxFooter)}
	}
}

// empty tells whether an embed shows nothing.
func empty(e *discordgo.MessageEmbed) bool {
	return e.Title == "" && e.Description == "" && len(e.Fields) == 0 && e.Footer == nil
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
			name, value := escape(clipLine(f.Name, min(maxFieldName, most)/2)), markdown(f.Text)
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

// noticeOf stands where text was cut out.
func noticeOf(m bot.ChatMessage) string {
	notice := "*[…] a part is left out here*"
	if whole := plainLine(markdown(m.Whole)); whole != "" && size(whole) < 600 {
		return notice + " – " + whole
	}
	if m.File == nil {
		return notice + " – all of it is in the file below."
	}
	return notice
}

// wholeText is all of a message as it was before it was cut.
func wholeText(m bot.ChatMessage) string {
	pieces := []string{m.Title, m.Text}
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
