package slacktest

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

// arguments reads and checks what was sent.
func (c *call) arguments(s *Server, d *description, form url.Values, fromJSON bool) *fail {
	of := d.Methods[c.method]
	delete(form, "token")
	delete(c.args, "token")
	for name, values := range form {
		known := of.Properties[name]
		if known == nil {
			c.args[name] = values[0]
			continue
		}
		v, err := d.coerce(known, values[0])
		if err != nil {
			return &fail{error: invalid(name), problem: name + ": " + err.Error(), say: []string{name + " " + err.Error()}}
		}
		c.args[name] = v
	}
	if fromJSON {
		for _, name := range []string{"blocks", "attachments", "view", "metadata", "unfurls", "files"} {
			if text, ok := c.args[name].(string); ok { // JSON in JSON is taken as well.
				var v any
				if json.Unmarshal([]byte(text), &v) != nil {
					return &fail{error: invalid(name), problem: name + " is not JSON"}
				}
				c.args[name] = v
			}
		}
	}
	for _, name := range sortedKeys(c.args) {
		known := of.Properties[name]
		if known == nil {
			// Slack ignores it, so that what was meant does not happen.
			s.strange(c.method, "there is no argument %s", name)
			delete(c.args, name)
			continue
		}
		if c.args[name] == nil {
			delete(c.args, name)
			continue
		}
		if found := d.check(known, "/"+name, c.args[name]); found != nil {
			return &fail{error: invalid(name), problem: strings.Join(say(found), "; "), say: say(found)}
		}
	}
	return c.duties(of)
}

// duties refuses a call without what one of the method's ways needs.
func (c *call) duties(of *schema) *fail {
	var missing []string
	for i, way := range of.AnyOf {
		var lacks []string
		for _, name := range way.Required {
			if !c.has(name) {
				lacks = append(lacks, name)
			}
		}
		if len(lacks) == 0 {
			return nil
		}
		if i == 0 || len(lacks) < len(missing) {
			missing = lacks
		}
	}
	if missing == nil {
		return nil
	}
	name := missing[0]
	switch name {
	case "text", "blocks", "attachments", "markdown_text":
		name = "no_text"
	case "channel":
		name = "channel_not_found"
	case "ts", "message_ts":
		name = "message_not_found"
	case "user":
		name = "user_not_found"
	default:
		name = "invalid_arguments"
	}
	messages := []string{"[ERROR] missing required field: " + missing[0]}
	return &fail{error: name, problem: "without " + strings.Join(missing, ", "), say: messages}
}

// invalid is Slack's error for an argument that it cannot take.
func invalid(argument string) string {
	switch argument {
	case "blocks":
		return "invalid_blocks"
	case "attachments":
		return "invalid_attachments"
	case "metadata":
		return "invalid_metadata_format"
	case "unfurls":
		return "cannot_unfurl_message"
	case "channel":
		return "channel_not_found"
	}
	return "invalid_arguments"
}

// cursors cuts a page out of a list, as a method's limit and cursor say.
func cursors[T any](c *call, all []T, most int) (page []T, next string, refused *fail) {
	limit := c.number("limit")
	if limit <= 0 || limit > most {
		limit = min(100, most)
	}
	from := 0
	if cursor := c.str("cursor"); cursor != "" {
		n, err := strconv.Atoi(strings.TrimSuffix(cursor, "="))
		if err != nil || n < 0 || n > len(all) {
			return nil, "", &fail{error: "invalid_cursor", problem: "the cursor is none of Slack's"}
		}
		from = n
	}
	to := min(from+limit, len(all))
	if to < len(all) {
		next = strconv.Itoa(to) + "="
	}
	return all[from:to], next, nil
}
