package slack

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// checker looks at messages and views as Slack does: from their JSON, not from
// what made it. It knows Slack's limits on its own, with their sources.
type checker struct{ faults []string }

func (c *checker) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

// object is a JSON object.
type object = map[string]any

// checkBlocks returns what Slack would refuse in blocks, which are JSON, of a
// message ("message") or a view ("view").
func checkBlocks(text []byte, surface string) []string {
	c := &checker{}
	var blocks []object
	if err := json.Unmarshal(text, &blocks); err != nil {
		return []string{err.Error()}
	}
	most := 50 // https://docs.slack.dev/reference/block-kit/blocks
	if surface == "view" {
		most = 100 // https://docs.slack.dev/reference/block-kit/blocks
		if len(text) > 250_000 {
			c.fault("the view has %d bytes", len(text)) // https://docs.slack.dev/reference/methods/views.open, view_too_large
		}
	} else if n := utf8.RuneCount(text); n > 13_200 {
		c.fault("the blocks have %d characters together", n) // https://github.com/slackapi/bolt-js/issues/2509
	}
	if len(blocks) == 0 || len(blocks) > most {
		c.fault("%d blocks", len(blocks))
	}
	actions := map[string]bool{}
	for i, b := range blocks {
		c.block(fmt.Sprintf("blocks[%d]", i), b, actions)
	}
	return c.faults
}

func (c *checker) block(at string, b object, actions map[string]bool) {
	switch b["type"] {
	case "header": // https://docs.slack.dev/reference/block-kit/blocks/header-block
		c.only(at, b, "type", "text")
		c.text(at, b["text"], "plain_text", 150)
	case "divider": // https://docs.slack.dev/reference/block-kit/blocks/divider-block
		c.only(at, b, "type")
	case "section": // https://docs.slack.dev/reference/block-kit/blocks/section-block
		c.only(at, b, "type", "text", "fields", "expand")
		if b["text"] != nil {
			c.text(at, b["text"], "mrkdwn", 3000)
		}
		fields, _ := b["fields"].([]any)
		if b["text"] == nil && len(fields) == 0 || len(fields) > 10 {
			c.fault("%s has %d fields", at, len(fields))
		}
		for _, f := range fields {
			c.text(at+".fields", f, "mrkdwn", 2000)
		}
	case "context": // https://docs.slack.dev/reference/block-kit/blocks/context-block
		c.only(at, b, "type", "elements")
		elements, _ := b["elements"].([]any)
		if len(elements) == 0 || len(elements) > 10 {
			c.fault("%s has %d elements", at, len(elements))
		}
		for _, e := range elements {
			c.text(at, e, "mrkdwn", 3000) // https://docs.slack.dev/reference/block-kit/composition-objects/text-object
		}
	case "actions": // https://docs.slack.dev/reference/block-kit/blocks/actions-block
		c.only(at, b, "type", "elements")
		elements, _ := b["elements"].([]any)
		if len(elements) == 0 || len(elements) > 25 {
			c.fault("%s has %d elements", at, len(elements))
		}
		for j, e := range elements {
			button, _ := e.(object)
			c.button(fmt.Sprintf("%s.elements[%d]", at, j), button, actions)
		}
	default:
		c.fault("%s is a %v", at, b["type"])
	}
}

// https://docs.slack.dev/reference/block-kit/block-elements/button-element
func (c *checker) button(at string, b object, actions map[string]bool) {
	c.only(at, b, "type", "text", "action_id", "url", "value", "style", "confirm")
	if b["type"] != "button" {
		c.fault("%s is a %v", at, b["type"])
	}
	c.text(at, b["text"], "plain_text", 75)
	id, _ := b["action_id"].(string)
	if id == "" || len(id) > 255 || actions[id] {
		c.fault("%s has the action_id %q", at, id)
	}
	actions[id] = true
	value, _ := b["value"].(string)
	if utf8.RuneCountInString(value) > 2000 {
		c.fault("%s has a value of %d characters", at, utf8.RuneCountInString(value))
	}
	if address, ok := b["url"].(string); ok {
		if u, err := url.Parse(address); err != nil || u.Host == "" || len(address) > 3000 {
			c.fault("%s leads to %q", at, address)
		}
	} else if value == "" {
		c.fault("%s does nothing", at)
	}
	if style, ok := b["style"]; ok && style != "primary" && style != "danger" {
		c.fault("%s is %v", at, style)
	}
	if confirm, ok := b["confirm"].(object); ok { // https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object
		c.only(at+".confirm", confirm, "title", "text", "confirm", "deny", "style")
		c.text(at+".confirm.title", confirm["title"], "plain_text", 100)
		c.text(at+".confirm.text", confirm["text"], "plain_text", 300)
		c.text(at+".confirm.confirm", confirm["confirm"], "plain_text", 30)
		c.text(at+".confirm.deny", confirm["deny"], "plain_text", 30)
	}
}

// text checks a text object.
// https://docs.slack.dev/reference/block-kit/composition-objects/text-object
func (c *checker) text(at string, v any, kind string, most int) {
	t, _ := v.(object)
	text, _ := t["text"].(string)
	if t["type"] != kind {
		c.fault("%s is a %v", at, t["type"])
	}
	if n := utf8.RuneCountInString(text); n == 0 || n > most {
		c.fault("%s has %d characters", at, n)
	}
	switch kind {
	case "plain_text":
		c.only(at, t, "type", "text", "emoji")
	case "mrkdwn":
		c.only(at, t, "type", "text", "verbatim")
		if t["verbatim"] != true {
			c.fault("%s has Slack look for links in it", at)
		}
		c.markup(at, text)
	}
}

// markup checks that a text holds no markup but links and mentions that are
// whole, and every block of code its end.
// https://docs.slack.dev/messaging/formatting-message-text
func (c *checker) markup(at, text string) {
	rest := ours.ReplaceAllString(mentions.ReplaceAllString(text, ""), "")
	if strings.ContainsAny(rest, "<") {
		c.fault("%s holds markup: %.200q", at, rest)
	}
	if strings.Count(rest, "```")%2 != 0 {
		c.fault("%s has a block of code without an end", at)
	}
	for i, piece := range strings.Split(rest, "&") {
		if i > 0 && !strings.HasPrefix(piece, "amp;") && !strings.HasPrefix(piece, "lt;") && !strings.HasPrefix(piece, "gt;") {
			c.fault("%s has half an entity: %.60q", at, piece)
		}
	}
}

// only reports what an object has that it should not.
func (c *checker) only(at string, o object, names ...string) {
	for name := range o {
		found := false
		for _, n := range names {
			found = found || n == name
		}
		if !found {
			c.fault("%s has a %s", at, name)
		}
	}
}
