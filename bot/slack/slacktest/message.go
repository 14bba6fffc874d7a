package slacktest

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// message is one as the server keeps it.
type message struct {
	channel     *channel
	ts, thread  string // thread is the root's ts, "" outside of threads and "" at a root
	author      *user
	name        string // a username of its own
	app         bool   // by the app under test
	text        string
	plain       bool // text is no mrkdwn
	blocks      []any
	attachments []any
	metadata    obj
	only        *user // who alone sees it; nil is everybody
	edited      string
	edits       int
	broadcast   bool
	unfurls     map[string]obj
	files       []*file
	reactions   []string
	via         string // the response_url that made it
}

// content is what a message says, as chat.postMessage and response_urls take it.
type content struct {
	text                string
	blocks, attachments []any
	metadata            obj
}

// remove takes a message out, and a root's replies stay as Slack has it.
func (c *channel) remove(ts string) bool {
	before := len(c.messages)
	c.messages = slices.DeleteFunc(c.messages, func(m *message) bool { return m.ts == ts && m.only == nil })
	return len(c.messages) < before
}

// dismiss takes an ephemeral message out.
func (c *channel) dismiss(m *message) {
	c.messages = slices.DeleteFunc(c.messages, func(o *message) bool { return o == m })
}

// thread lists the replies to a root, oldest first.
func (c *channel) thread(ts string) []*message {
	var out []*message
	for _, m := range c.messages {
		if m.thread == ts && m.only == nil {
			out = append(out, m)
		}
	}
	return out
}

// checkContent refuses what Slack would not show. s.mu is held.
func (s *Server) checkContent(what string, o obj) *fail {
	blocks := list(o, "blocks")
	if found := checkLimits(onMessage, blocks); found != nil {
		return &fail{error: "invalid_blocks", problem: strings.Join(say(found), "; "), say: say(found)}
	}
	attachments := objects(list(o, "attachments"))
	if len(attachments) > maxAttachments {
		return &fail{error: "too_many_attachments", problem: strconv.Itoa(len(attachments)) + " attachments"}
	}
	for i, a := range attachments {
		found := checkLimits(onMessage, list(a, "blocks"))
		for j := range found {
			found[j].At = "/attachments/" + strconv.Itoa(i) + found[j].At
		}
		if found != nil {
			return &fail{error: "invalid_attachments", problem: strings.Join(say(found), "; "), say: say(found)}
		}
		if len(list(a, "blocks")) > 0 && str(a, "text") != "" {
			s.strange(what, "an attachment with blocks has its text shown nowhere but in notifications: use fallback")
		}
	}
	text := str(o, "text") + str(o, "markdown_text")
	if text == "" && len(blocks) == 0 && len(attachments) == 0 {
		return &fail{error: "no_text", problem: "there is nothing to show"}
	}
	if text == "" && len(o) > 0 {
		fallback := len(attachments) > 0
		for _, a := range attachments {
			fallback = fallback && str(a, "fallback") != ""
		}
		if !fallback {
			// https://docs.slack.dev/reference/methods/chat.postMessage#errors: missing_text_in_message
			s.strange(what, "missing_text_in_message: notifications and screen readers have nothing to say")
		}
	}
	if length(text) > advisedText {
		s.strange(what, "the text has %d characters; more than %d are advised against", length(text), advisedText)
	}
	if metadata, ok := o["metadata"].(obj); ok {
		if raw, err := json.Marshal(metadata); err == nil && len(raw) > maxMetadata {
			return &fail{error: "metadata_too_large", problem: "the metadata is too large"}
		}
	}
	return nil
}

// contentOf reads what to show. Text over Slack's limit is cut, as Slack does.
func (s *Server) contentOf(what string, o obj) content {
	text := str(o, "text")
	if markdown := str(o, "markdown_text"); markdown != "" {
		text = markdown
	}
	if runes := []rune(text); len(runes) > maxMessageText {
		s.strange(what, "the text was cut at %d characters", maxMessageText)
		text = string(runes[:maxMessageText])
	}
	metadata, _ := o["metadata"].(obj)
	c := content{text: text, metadata: metadata, blocks: s.named(list(o, "blocks"))}
	for i, a := range objects(list(o, "attachments")) {
		kept := clone(a).(obj)
		kept["id"] = float64(i + 1)
		if kept["blocks"] != nil {
			kept["blocks"] = s.named(list(a, "blocks"))
		}
		if str(kept, "fallback") == "" {
			kept["fallback"] = "[no preview available]"
		}
		c.attachments = append(c.attachments, kept)
	}
	return c
}

// named copies blocks, with the ids that Slack makes where there are none.
func (s *Server) named(blocks []any) []any {
	var out []any
	for _, b := range blocks {
		kept, _ := clone(b).(obj)
		if str(kept, "block_id") == "" {
			kept["block_id"] = secret()[:5]
		}
		for _, e := range elements(kept) {
			if kind := str(e, "type"); str(e, "action_id") == "" && kind != "image" && kind != "mrkdwn" && kind != "plain_text" && !strings.HasPrefix(kind, "rich_text") {
				e["action_id"] = secret()[:5]
			}
		}
		out = append(out, kept)
	}
	return out
}

// elements are what a block holds that people can act on, and what stands
// between those.
func elements(b obj) []obj {
	out := objects(list(b, "elements"))
	for _, name := range []string{"accessory", "element"} {
		if e, ok := b[name].(obj); ok {
			out = append(out, e)
		}
	}
	return slices.DeleteFunc(out, func(e obj) bool { return e == nil })
}

// clone copies what an app sent, without what it left null.
func clone(v any) any { return copied(v, false) }

// snapshot copies a payload as it is.
func snapshot(o obj) obj { return copied(o, true).(obj) }

func copied(v any, nulls bool) any {
	switch v := v.(type) {
	case obj:
		out := make(obj, len(v))
		for key, value := range v {
			if value != nil || nulls {
				out[key] = copied(value, nulls)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = copied(v[i], nulls)
		}
		return out
	}
	return v
}

// json is a message as Slack writes it in answers and payloads. s.mu is held.
func (s *Server) json(m *message, metadata bool) obj {
	out := obj{"type": "message", "ts": m.ts, "text": m.text, "user": m.author.ID, "team": m.author.Team}
	if m.app {
		w := s.workspaces[m.author.Team]
		out["bot_id"], out["app_id"] = w.botID(), s.app.ID
		out["bot_profile"] = obj{"id": w.botID(), "app_id": s.app.ID, "name": s.app.Name, "deleted": false, "team_id": w.ID, "updated": 1700000000, "icons": obj{}}
	} else {
		out["client_msg_id"] = m.ts
	}
	if m.blocks != nil {
		out["blocks"] = m.blocks
	}
	if all := m.shown(); all != nil {
		out["attachments"] = all
	}
	if m.edited != "" {
		out["edited"] = obj{"user": m.author.ID, "ts": m.edited}
	}
	if metadata && m.metadata != nil {
		out["metadata"] = m.metadata
	}
	if m.thread != "" {
		out["thread_ts"] = m.thread
		if root := m.channel.find(m.thread); root != nil {
			out["parent_user_id"] = root.author.ID
		}
	} else if replies := m.channel.thread(m.ts); len(replies) > 0 {
		var who []string
		for _, r := range replies {
			if !slices.Contains(who, r.author.ID) {
				who = append(who, r.author.ID)
			}
		}
		out["thread_ts"], out["reply_count"], out["latest_reply"] = m.ts, len(replies), replies[len(replies)-1].ts
		out["reply_users"], out["reply_users_count"] = who, len(who)
	}
	return out
}

// shown are a message's attachments, and what its links unfurled to.
func (m *message) shown() []any {
	all := slices.Clone(m.attachments)
	for i, url := range sortedKeys(m.unfurls) {
		a := clone(m.unfurls[url]).(obj)
		a["id"], a["from_url"], a["app_unfurl_url"], a["is_app_unfurl"] = float64(len(m.attachments)+i+1), url, url, true
		all = append(all, a)
	}
	return all
}
