package slacktest

import (
	"slices"
	"strings"
)

// Message is what stands in a conversation.
type Message struct {
	Channel, TS string
	Thread      string // the ts of the message that it replies to; empty is none
	User        string // who wrote it: the bot's account for the app, "USLACKBOT" for what Slack itself says
	App         bool   // by the app
	Text        string
	Blocks      []any
	Attachments []any // with what links unfurled to
	Metadata    map[string]any
	Only        string // who alone sees it; empty is everybody
	Edits       int    // how often it was edited
	Buttons     []Button
	Words       string // all that can be read in it
	Files       []File
	Reactions   []string
	Replies     int
	Permalink   string
}

// Button is a button of a message or a view.
type Button struct {
	Label, ActionID, BlockID, Value, URL, Style string
	Confirm                                     string // what is asked first; empty is nothing
}

// File is a file that a message carries.
type File struct{ ID, Name, Title, Text string }

// Messages lists what everybody sees in a conversation, threads included, oldest
// first.
func (s *Server) Messages(channel string) []Message {
	return s.list(channel, func(m *message) bool { return m.only == nil })
}

// Thread lists the replies to a message, oldest first.
func (s *Server) Thread(channel, ts string) []Message {
	return s.list(channel, func(m *message) bool { return m.only == nil && m.thread == ts })
}

// Ephemerals lists what somebody alone sees, wherever, oldest first.
func (s *Server) Ephemerals(user string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	for _, id := range sortedKeys(s.channels) {
		for _, m := range s.channels[id].messages {
			if m.only != nil && m.only.ID == user {
				out = append(out, s.messageOf(m))
			}
		}
	}
	slices.SortFunc(out, func(a, b Message) int {
		if earlier(a.TS, b.TS) {
			return -1
		}
		return 1
	})
	return out
}

// Message is one of a conversation; ok is false when there is none.
func (s *Server) Message(channel, ts string) (m Message, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[channel]; c != nil {
		if found := c.find(ts); found != nil {
			return s.messageOf(found), true
		}
	}
	return Message{}, false
}

func (s *Server) list(id string, keep func(*message) bool) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[id]
	if c == nil {
		return nil
	}
	var out []Message
	for _, m := range c.messages {
		if keep(m) {
			out = append(out, s.messageOf(m))
		}
	}
	return out
}

func (s *Server) messageOf(m *message) Message {
	out := Message{
		Channel: m.channel.ID, TS: m.ts, Thread: m.thread, User: m.author.ID, App: m.app, Text: m.text, Edits: m.edits,
		Reactions: slices.Clone(m.reactions), Replies: len(m.channel.thread(m.ts)), Permalink: s.permalink(m), Buttons: buttonsOf(m.all()),
	}
	if m.blocks != nil {
		out.Blocks = clone(m.blocks).([]any)
	}
	if all := m.shown(); all != nil {
		out.Attachments = clone(all).([]any)
	}
	if m.metadata != nil {
		out.Metadata = clone(m.metadata).(obj)
	}
	if m.only != nil {
		out.Only = m.only.ID
	}
	for _, f := range m.files {
		out.Files = append(out.Files, File{f.id, f.name, f.title, string(f.content)})
	}
	var parts []string
	if m.blocks == nil && m.text != "" {
		parts = append(parts, m.text)
	}
	if m.blocks != nil {
		parts = append(parts, words(m.blocks))
	}
	for _, a := range objects(m.shown()) {
		for _, name := range []string{"pretext", "title", "text", "footer"} {
			if text := str(a, name); text != "" {
				parts = append(parts, text)
			}
		}
		parts = append(parts, words(list(a, "blocks")))
	}
	out.Words = strings.TrimSpace(strings.Join(parts, "\n"))
	return out
}

// buttonsOf lists the buttons of blocks.
func buttonsOf(blocks []any) []Button {
	var out []Button
	for _, b := range objects(blocks) {
		for _, e := range elements(b) {
			if e["type"] != "button" {
				continue
			}
			text, _ := e["text"].(obj)
			confirm, _ := e["confirm"].(obj)
			asked, _ := confirm["text"].(obj)
			out = append(out, Button{
				Label: str(text, "text"), ActionID: str(e, "action_id"), BlockID: str(b, "block_id"), Value: str(e, "value"),
				URL: str(e, "url"), Style: str(e, "style"), Confirm: str(asked, "text"),
			})
		}
	}
	return out
}

// words is all that can be read in blocks, a line for each text.
func words(v any) string {
	var out []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				walk(item)
			}
		case obj:
			if text := str(v, "text"); text != "" {
				out = append(out, text)
			}
			for _, name := range []string{"text", "fields", "elements", "accessory", "label", "hint", "element", "title", "rows", "placeholder"} {
				if inner := v[name]; inner != nil {
					if list, ok := inner.([]any); ok && name == "rows" {
						for _, row := range list {
							walk(row)
						}
						continue
					}
					walk(inner)
				}
			}
		}
	}
	walk(v)
	return strings.Join(out, "\n")
}
