package slack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	slackapi "github.com/slack-go/slack"

	"github.com/berth-dev/berth/bot"
)

// How Berth's messages look in Slack: a header, text, facts side by side, longer
// parts, a line in small letters, and buttons. All of it are blocks of the
// message itself and none an attachment, which could have a coloured bar: Slack
// calls attachments secondary, folds long ones away, and what a plan destroys has
// to be in plain sight. The icon says in colour how it is.

// rendered is a message as Slack takes it.
type rendered struct {
	// text stands in notifications and is what screen readers read; it is mrkdwn.
	text   string
	blocks []slackapi.Block
	cut    bool // something was left out
}

// room is how much a message may take.
type room struct {
	blocks int
	chars  int // of the blocks' JSON
	parts  int // how many parts are shown
}

var (
	messageRoom = room{blocks: maxBlocks, chars: maxMessage, parts: 15}
	// modalRoom leaves a fifth to what counts for more than one byte.
	modalRoom = room{blocks: maxViewBlocks, chars: maxView * 4 / 5, parts: 40}
)

const (
	// maxFacts is how many fields are shown, in sections of maxFields.
	maxFacts = 2 * maxFields
	// maxFactName is how long a field's name may be, in characters as the rest.
	maxFactName = 60
	// maxHeading is how long the title of a part may be.
	maxHeading = 150
	// maxSmall is how long the line in small letters may be.
	maxSmall = 600
	// minArea is what every text gets at least, so that its cut can be told.
	minArea = 150
	// maxFallback is how much of a message notifications and screen readers get
	// besides what calls people.
	maxFallback = wiseText - 1000
)

// render makes a message fit into room. calls are mentions, as call writes them.
func render(m bot.ChatMessage, calls string, in room) rendered {
	l := newLayout(m, calls)
	l.fitLoss(in)
	for chars := in.chars; ; chars = chars * 4 / 5 {
		out := l.lay(in, chars)
		if chars < 600 || len(out.blocks) <= in.blocks && weight(out.blocks) <= in.chars {
			out.text = l.fallback()
			return out
		}
	}
}

// weight is how many characters blocks take as JSON.
func weight(v any) int {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return 1 << 30 // no block of ours
	}
	return width(b.String())
}

// layout is a message in the making.
type layout struct {
	m     bot.ChatMessage
	calls string
	title string
	facts []area // the fields
	areas []area // the text, the parts and the file
	small []textLine
	// loss is what is shown of the message's Loss, and lossCut tells that it is not
	// all. Where it is tight, little else is shown.
	loss           []textLine
	lossCut, tight bool
}

// area is a text with the heading over it.
type area struct {
	heading string // plain text
	text    []textLine
}

func newLayout(m bot.ChatMessage, calls string) *layout {
	m = m.Led()
	l := &layout{m: m, calls: calls, title: strings.TrimSpace(oneLine(m.Icon + " " + m.Title))}
	for _, f := range m.Fields {
		text := lines(f.Text)
		if !f.At.IsZero() {
			text = timeFact(f.At, oneLine(f.Far), text)
		}
		l.facts = append(l.facts, area{heading: oneLine(f.Name), text: text})
	}
	l.small = lines(m.Small)
	body := lines(m.Text)
	if width(l.title) > maxHeader { // what does not fit into a header is said whole below it
		body = append([]textLine{{spans: []span{{text: oneLine(m.Title), bold: true}}}}, body...)
	}
	if len(body) > 0 {
		l.areas = append(l.areas, area{text: body})
	}
	for _, p := range m.Parts {
		l.areas = append(l.areas, area{heading: oneLine(p.Title), text: lines(p.Text)})
	}
	if m.File != nil && strings.TrimSpace(m.File.Text) != "" {
		code := &reader{}
		code.literal(bot.Plain(m.File.Text))
		l.areas = append(l.areas, area{heading: oneLine(m.File.Name), text: code.lines})
	}
	return l
}

// lay lays a message out, its texts in chars characters together.
func (l *layout) lay(in room, chars int) rendered {
	var out rendered
	if l.title != "" {
		out.blocks = append(out.blocks, slackapi.NewHeaderBlock(plainObject(l.title, maxHeader)))
	}
	if l.calls != "" {
		out.blocks = append(out.blocks, section(l.calls))
	}
	loss := l.lossBlocks()
	out.cut = l.lossCut || l.tight
	facts := l.sideBySide(&out, chars)
	actions := l.actions(&out, in, chars)
	small := l.smallPrint(&out, chars)
	fixed := weight(out.blocks) + weight(facts) + weight(actions) + weight(small) + weight(loss)
	texts, parts := l.texts(&out, in, chars-fixed)
	out.blocks = slices.Concat(out.blocks, texts, loss, facts, parts)
	out.blocks = append(out.blocks, small...)
	if out.cut {
		out.blocks = append(out.blocks, l.notice())
	}
	out.blocks = append(out.blocks, actions...)
	if len(out.blocks) == 0 {
		out.blocks = []slackapi.Block{section("—")} // Slack takes no empty message
	}
	return out
}

// sideBySide are the fields.
func (l *layout) sideBySide(out *rendered, chars int) []slackapi.Block {
	if l.tight {
		return nil
	}
	var texts []*slackapi.TextBlockObject
	most := min(maxFieldText, max(chars/maxFacts, 120))
	for _, f := range l.facts {
		if len(texts) == maxFacts {
			out.cut = true
			break
		}
		text := f.text
		if f.heading != "" {
			text = append([]textLine{{spans: []span{{text: clip(f.heading, maxFactName), bold: true}}}}, text...)
		}
		m := marksIn(text)
		short, left := fit(text, most)
		out.cut = out.cut || left
		if written := mrkdwn(short, m); written != "" {
			texts = append(texts, mrkdwnText(written))
		}
	}
	var blocks []slackapi.Block
	for len(texts) > 0 {
		n := min(len(texts), maxFields)
		blocks = append(blocks, slackapi.NewSectionBlock(nil, texts[:n:n], nil))
		texts = texts[n:]
	}
	return blocks
}

// texts are the message's text and its parts, as sections, in chars characters.
func (l *layout) texts(out *rendered, in room, chars int) (body, parts []slackapi.Block) {
	areas := l.areas
	if l.tight {
		areas = areas[:min(len(areas), 1)]
	}
	if len(areas) > in.parts {
		areas, out.cut = areas[:in.parts], true
	}
	wants := make([]int, len(areas))
	for i, a := range areas {
		wants[i] = size(a.text) + width(a.heading) + sectionWeight
	}
	for i, given := range share(max(chars, 0), wants) {
		made, left := areas[i].sections(max(given-sectionWeight, minArea))
		out.cut = out.cut || left
		if i == 0 && areas[0].heading == "" {
			body = made
		} else {
			parts = append(parts, made...)
		}
	}
	return body, parts
}

// sectionWeight is what a section takes besides its text, and what JSON adds to
// a text of some lines.
const sectionWeight = 120

// sections are an area in as many sections as it needs, in most characters.
func (a area) sections(most int) ([]slackapi.Block, bool) {
	var head []textLine
	if a.heading != "" {
		head = []textLine{{spans: []span{{text: clip(a.heading, maxHeading), bold: true}}}}
	}
	m := marksIn(append(head[:len(head):len(head)], a.text...))
	short, left := fit(a.text, most)
	var blocks []slackapi.Block
	for _, c := range chunks(append(head, short...), maxSectionText) {
		blocks = append(blocks, section(mrkdwn(c, m)))
	}
	return blocks, left
}

// smallPrint is the line in small letters.
func (l *layout) smallPrint(out *rendered, chars int) []slackapi.Block {
	if len(l.small) == 0 || l.tight {
		return nil
	}
	m := marksIn(l.small)
	text, left := fit(l.small, min(maxSmall, max(chars/10, minArea)))
	out.cut = out.cut || left
	return []slackapi.Block{slackapi.NewContextBlock("", mrkdwnText(mrkdwn(text, m)))}
}

// notice says that something was left out, and where all of it is.
func (l *layout) notice() slackapi.Block {
	text := append(lines("✂️ Cut to what Slack takes."), lines(l.m.Whole)...)
	if len(text) > 1 {
		text[0].spans = append(text[0].spans, span{text: " "})
		text[0].spans = append(text[0].spans, text[1].spans...)
		text = append(text[:1], text[2:]...)
	}
	m := marksIn(text)
	text, _ = fit(text, maxSmall)
	return slackapi.NewContextBlock("", mrkdwnText(mrkdwn(text, m)))
}

// section is a section of mrkdwn.
func section(text string) *slackapi.SectionBlock {
	s := slackapi.NewSectionBlock(mrkdwnText(text), nil, nil)
	s.Expand = true // what was not cut here is not folded away either
	return s
}

// mrkdwnText is a text object in which Slack looks for nothing but what Berth
// put there: no addresses, no names of channels.
func mrkdwnText(text string) *slackapi.TextBlockObject {
	return slackapi.NewTextBlockObject(slackapi.MarkdownType, text, false, true)
}

// plainObject is s in at most characters, on one line; "–" where s is empty, which
// Slack does not take.
func plainObject(s string, most int) *slackapi.TextBlockObject {
	if s = clip(oneLine(s), most); s == "" {
		s = "–"
	}
	return slackapi.NewTextBlockObject(slackapi.PlainTextType, s, false, false)
}

// fallback is the message in plain words.
func (l *layout) fallback() string {
	var all []string
	add := func(s string) {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	add(l.title)
	for _, a := range l.areas {
		if a.heading == "" {
			add(inWords(a.text))
		}
	}
	add(inWords(l.loss))
	for _, f := range l.facts {
		add(strings.TrimPrefix(f.heading+": "+inWords(f.text), ": "))
	}
	for _, a := range l.areas {
		if a.heading != "" {
			add(a.heading + "\n" + inWords(a.text))
		}
	}
	add(inWords(l.small))
	text := strings.Join(all, "\n")
	if at := fill(text, maxFallback); at < len(text) {
		text = text[:at] + "…"
	}
	if text == "" {
		text = "Berth"
	}
	text = literal(text, marks{'*': true, '_': true, '~': true, '`': true}, ' ', ' ')
	if l.calls != "" {
		return l.calls + "\n" + text
	}
	return text
}

// maxCalls is how many people and groups one message calls.
const maxCalls = 20

// call writes mentions of those of identities that are Slack's, for a message in
// a workspace. Those of anybody else are left to their own platforms.
func call(workspace string, identities []string) string {
	var mentions []string
	seen := map[string]bool{}
	for _, identity := range identities {
		mention := mentionOf(workspace, identity)
		if mention == "" || seen[mention] {
			continue
		}
		if seen[mention] = true; len(mentions) == maxCalls {
			mentions = append(mentions, fmt.Sprintf("and %d more", countCalls(workspace, identities)-maxCalls))
			break
		}
		mentions = append(mentions, mention)
	}
	return strings.Join(mentions, " ")
}

func countCalls(workspace string, identities []string) int {
	seen := map[string]bool{}
	for _, identity := range identities {
		seen[mentionOf(workspace, identity)] = true
	}
	delete(seen, "")
	return len(seen)
}

// mentionOf is one mention, "" for who cannot be called there.
// Source: https://docs.slack.dev/messaging/formatting-message-text#mentioning-users
func mentionOf(workspace, identity string) string {
	if id, ok := strings.CutPrefix(identity, bot.PlatformSlack+":"); ok {
		if _, user, foreign := strings.Cut(id, "."); foreign {
			id = user // whom a channel shared with their workspace shows
		}
		if isID(id, "UW") {
			return "<@" + id + ">"
		}
		return ""
	}
	if id, ok := strings.CutPrefix(identity, "slack-group:"); ok {
		if team, group, foreign := strings.Cut(id, "."); foreign {
			if team != workspace {
				return "" // no other workspace knows the group
			}
			id = group
		}
		if isID(id, "S") {
			return "<!subteam^" + id + ">"
		}
	}
	return ""
}

// isID tells whether s is an id of Slack that begins with one of kinds.
func isID(s, kinds string) bool {
	return len(s) > 1 && len(s) <= 32 && strings.ContainsRune(kinds, rune(s[0])) &&
		strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}
