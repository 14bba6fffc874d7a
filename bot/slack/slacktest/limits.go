package slacktest

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The limits of Block Kit that its types do not say, by the pages that do.
const (
	maxMessageBlocks = 50    // https://docs.slack.dev/reference/block-kit/blocks
	maxViewBlocks    = 100   // https://docs.slack.dev/reference/views
	maxBlockID       = 255   // https://docs.slack.dev/reference/block-kit/blocks
	maxActionID      = 255   // https://docs.slack.dev/reference/block-kit/block-elements/button-element
	maxText          = 3000  // https://docs.slack.dev/reference/block-kit/composition-objects/text-object
	maxFields        = 10    // https://docs.slack.dev/reference/block-kit/blocks/section-block
	maxField         = 2000  // as maxFields
	maxHeader        = 150   // https://docs.slack.dev/reference/block-kit/blocks/header-block
	maxActions       = 25    // https://docs.slack.dev/reference/block-kit/blocks/actions-block
	maxContext       = 10    // https://docs.slack.dev/reference/block-kit/blocks/context-block
	maxMarkdown      = 12000 // https://docs.slack.dev/reference/block-kit/blocks/markdown-block, all of a message together
	maxLabel         = 2000  // https://docs.slack.dev/reference/block-kit/blocks/input-block
	maxButton        = 75    // https://docs.slack.dev/reference/block-kit/block-elements/button-element
	maxButtonValue   = 2000  // as maxButton
	maxURL           = 3000  // as maxButton
	maxPlaceholder   = 150   // https://docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element
	maxInput         = 3000  // as maxPlaceholder, `max_length`
	maxOptions       = 100   // https://docs.slack.dev/reference/block-kit/block-elements/select-menu-element
	maxFewOptions    = 10    // https://docs.slack.dev/reference/block-kit/block-elements/checkboxes-element
	maxOverflow      = 5     // https://docs.slack.dev/reference/block-kit/block-elements/overflow-menu-element
	maxOption        = 75    // https://docs.slack.dev/reference/block-kit/composition-objects/option-object
	maxOptionValue   = 150   // as maxOption
	maxConfirmTitle  = 100   // https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object
	maxConfirmText   = 300   // as maxConfirmTitle
	maxConfirmButton = 30    // as maxConfirmTitle
	maxAlt           = 2000  // https://docs.slack.dev/reference/block-kit/blocks/image-block
	maxViewTitle     = 24    // https://docs.slack.dev/reference/views
	maxPrivate       = 3000  // as maxViewTitle, `private_metadata`
	maxCallbackID    = 255   // as maxViewTitle
	maxView          = 250 << 10
	maxMessageText   = 40000 // https://docs.slack.dev/reference/methods/chat.postMessage#truncating
	advisedText      = 4000  // as maxMessageText: "we recommend"
	maxEditedText    = 4000  // https://docs.slack.dev/reference/methods/chat.update: msg_too_long
	maxAttachments   = 100   // https://docs.slack.dev/reference/methods/chat.postMessage: too_many_attachments
	maxViews         = 3     // https://docs.slack.dev/surfaces/modals#stack
	// maxMetadata is of a message's metadata.
	// https://docs.slack.dev/messaging/message-metadata
	maxMetadata = 16 << 10
)

// surface is where blocks are to be shown; not all may be shown everywhere.
type surface string

const (
	onMessage surface = "message"
	onModal   surface = "modal"
	onHome    surface = "home"
)

// forbidden are the blocks that a surface does not take, of those that anybody
// would want there. https://docs.slack.dev/reference/block-kit/blocks
var forbidden = map[surface][]string{
	onMessage: {"file"},
	onModal:   {"file", "markdown", "table"},
	onHome:    {"file", "markdown", "table"},
}

// kit checks blocks against the documented limits.
type kit struct {
	on      surface
	found   []problem
	blocks  map[string]bool
	actions map[string]bool // of one block
	focused int
}

// checkLimits finds what the description does not: numbers, lengths, and what
// must be unique.
func checkLimits(on surface, blocks []any) []problem {
	k := &kit{on: on, blocks: map[string]bool{}}
	most := maxMessageBlocks
	if on != onMessage {
		most = maxViewBlocks
	}
	k.items("/blocks", blocks, 0, most)
	markdown := 0
	for i, b := range blocks {
		o, ok := b.(obj)
		if !ok {
			continue
		}
		k.block("/blocks/"+strconv.Itoa(i), o)
		if o["type"] == "markdown" {
			markdown += length(str(o, "text"))
		}
	}
	if markdown > maxMarkdown {
		k.bad("/blocks", "must be less than %d characters of markdown in all", maxMarkdown+1)
	}
	if k.focused > 1 {
		k.bad("/blocks", "only one element may have focus_on_load")
	}
	return k.found
}

func (k *kit) bad(at, format string, args ...any) {
	k.found = append(k.found, problem{at, fmt.Sprintf(format, args...)})
}

func (k *kit) items(at string, list []any, least, most int) {
	if len(list) > most {
		k.bad(at, "no more than %d items allowed", most)
	}
	if len(list) < least {
		k.bad(at, "no fewer than %d items allowed", least)
	}
}

// length counts characters as people do, more or less: Slack counts them so too,
// and not bytes.
func length(s string) int { return utf8.RuneCountInString(s) }

// text checks a string of an object, which may be absent.
func (k *kit) text(at string, o obj, name string, most int) {
	s, ok := o[name].(string)
	if !ok {
		return
	}
	if length(s) > most {
		k.bad(at+"/"+name, "must be less than %d characters", most+1)
	}
}

// words checks a text object of an object, which may be absent, but not empty.
func (k *kit) words(at string, o obj, name string, most int) {
	t, ok := o[name].(obj)
	if !ok {
		return
	}
	k.wording(at+"/"+name, t, most)
}

func (k *kit) wording(at string, t obj, most int) {
	switch s := str(t, "text"); {
	case s == "":
		k.bad(at+"/text", "must be more than 0 characters")
	case length(s) > most:
		k.bad(at+"/text", "must be less than %d characters", most+1)
	}
	if _, there := t["emoji"]; there && t["type"] == "mrkdwn" {
		k.bad(at, "invalid additional property: emoji")
	}
}

func (k *kit) block(at string, b obj) {
	kind := str(b, "type")
	for _, no := range forbidden[k.on] {
		if kind == no {
			k.bad(at+"/type", "unsupported type: %s", kind)
		}
	}
	if id, there := b["block_id"].(string); there {
		k.text(at, b, "block_id", maxBlockID)
		if k.blocks[id] {
			k.bad(at+"/block_id", "block_id already exists: %s", id)
		}
		k.blocks[id] = true
	}
	k.actions = map[string]bool{}
	switch kind {
	case "section":
		k.section(at, b)
	case "header":
		k.words(at, b, "text", maxHeader)
	case "actions":
		k.items(at+"/elements", list(b, "elements"), 1, maxActions)
		k.elements(at, b)
	case "context":
		k.items(at+"/elements", list(b, "elements"), 1, maxContext)
		for i, e := range objects(list(b, "elements")) {
			here := at + "/elements/" + strconv.Itoa(i)
			if e["type"] == "image" {
				k.text(here, e, "alt_text", maxAlt)
				k.text(here, e, "image_url", maxURL)
			} else {
				k.wording(here, e, maxText)
			}
		}
	case "input":
		k.words(at, b, "label", maxLabel)
		k.words(at, b, "hint", maxLabel)
		if e, ok := b["element"].(obj); ok {
			k.element(at+"/element", e)
		}
	case "image":
		k.text(at, b, "alt_text", maxAlt)
		k.text(at, b, "image_url", maxURL)
		k.words(at, b, "title", maxAlt)
	}
}

func (k *kit) section(at string, b obj) {
	fields, has := b["fields"].([]any)
	if b["text"] == nil && len(fields) == 0 {
		k.bad(at, "missing required field: text or fields")
	}
	k.words(at, b, "text", maxText)
	if has {
		k.items(at+"/fields", fields, 1, maxFields)
		for i, f := range objects(fields) {
			k.wording(at+"/fields/"+strconv.Itoa(i), f, maxField)
		}
	}
	if e, ok := b["accessory"].(obj); ok {
		k.element(at+"/accessory", e)
	}
}

func (k *kit) elements(at string, b obj) {
	for i, e := range objects(list(b, "elements")) {
		k.element(at+"/elements/"+strconv.Itoa(i), e)
	}
}

func (k *kit) element(at string, e obj) {
	if id, there := e["action_id"].(string); there {
		k.text(at, e, "action_id", maxActionID)
		if id == "" {
			k.bad(at+"/action_id", "must be more than 0 characters")
		}
		if k.actions[id] {
			k.bad(at+"/action_id", "action_id already exists: %s", id)
		}
		k.actions[id] = true
	}
	if e["focus_on_load"] == true {
		k.focused++
	}
	k.words(at, e, "placeholder", maxPlaceholder)
	if c, ok := e["confirm"].(obj); ok {
		here := at + "/confirm"
		for _, name := range []string{"title", "text", "confirm", "deny"} {
			// The SDK's types let some be absent; the page says that all are required.
			if c[name] == nil && name != "confirm" && name != "deny" {
				k.bad(here, "missing required field: %s", name)
			}
		}
		k.words(here, c, "title", maxConfirmTitle)
		k.words(here, c, "text", maxConfirmText)
		k.words(here, c, "confirm", maxConfirmButton)
		k.words(here, c, "deny", maxConfirmButton)
	}
	switch kind := str(e, "type"); kind {
	case "button":
		k.button(at, e)
	case "overflow":
		k.options(at, e, 1, maxOverflow)
	case "checkboxes", "radio_buttons":
		k.options(at, e, 1, maxFewOptions)
	case "static_select", "multi_static_select":
		if (e["options"] == nil) == (e["option_groups"] == nil) {
			k.bad(at, "must have either options or option_groups")
		}
		if e["options"] != nil {
			k.options(at, e, 1, maxOptions)
		}
		k.items(at+"/option_groups", list(e, "option_groups"), 0, maxOptions)
		for i, g := range objects(list(e, "option_groups")) {
			here := at + "/option_groups/" + strconv.Itoa(i)
			k.words(here, g, "label", maxOption)
			k.options(here, g, 1, maxOptions)
		}
	case "plain_text_input":
		k.text(at, e, "initial_value", maxInput)
		if n, ok := e["max_length"].(float64); ok && (n < 1 || n > maxInput) {
			k.bad(at+"/max_length", "must be between 1 and %d", maxInput)
		}
		if n, ok := e["min_length"].(float64); ok && (n < 0 || n > maxInput) {
			k.bad(at+"/min_length", "must be between 0 and %d", maxInput)
		}
	case "image":
		k.text(at, e, "alt_text", maxAlt)
		k.text(at, e, "image_url", maxURL)
	}
}

func (k *kit) button(at string, e obj) {
	k.words(at, e, "text", maxButton)
	k.text(at, e, "value", maxButtonValue)
	k.text(at, e, "url", maxURL)
	k.text(at, e, "accessibility_label", maxButton)
	if value, there := e["value"].(string); there && value == "" {
		k.bad(at+"/value", "must be more than 0 characters")
	}
	if url, there := e["url"].(string); there && !webAddress(url) {
		k.bad(at+"/url", "must be a valid url")
	}
}

func (k *kit) options(at string, e obj, least, most int) {
	options := list(e, "options")
	k.items(at+"/options", options, least, most)
	for i, o := range objects(options) {
		here := at + "/options/" + strconv.Itoa(i)
		k.words(here, o, "text", maxOption)
		k.words(here, o, "description", maxOption)
		k.text(here, o, "value", maxOptionValue)
		k.text(here, o, "url", maxURL)
	}
}

// checkView checks what is not a block of a view.
func checkView(v obj, size int) []problem {
	k := &kit{}
	for _, name := range []string{"title", "submit", "close"} {
		k.words("/view", v, name, maxViewTitle)
	}
	k.text("/view", v, "private_metadata", maxPrivate)
	k.text("/view", v, "callback_id", maxCallbackID)
	k.text("/view", v, "external_id", maxCallbackID)
	if size > maxView {
		k.bad("/view", "must be less than %d bytes", maxView+1)
	}
	on := surface(str(v, "type"))
	if on == onModal && v["submit"] == nil {
		for i, b := range objects(list(v, "blocks")) {
			if b["type"] == "input" {
				k.bad("/view/blocks/"+strconv.Itoa(i), "submit is required when an input block is within the blocks array")
				break
			}
		}
	}
	for _, p := range checkLimits(on, list(v, "blocks")) {
		k.found = append(k.found, problem{"/view" + p.At, p.Say})
	}
	return k.found
}

func webAddress(s string) bool {
	for _, scheme := range []string{"https://", "http://", "mailto:", "slack://"} {
		if rest, ok := strings.CutPrefix(s, scheme); ok && rest != "" && !strings.ContainsAny(s, " \n\t") {
			return true
		}
	}
	return false
}

func str(o obj, name string) string {
	s, _ := o[name].(string)
	return s
}

func list(o obj, name string) []any {
	l, _ := o[name].([]any)
	return l
}

func objects(all []any) []obj {
	out := make([]obj, len(all))
	for i, v := range all {
		out[i], _ = v.(obj)
	}
	return out
}
