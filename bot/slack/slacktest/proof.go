package slacktest

import (
	"encoding/json"
	"strings"
)

// itself is Oddity.What where the stand-in sent what Slack would not.
const itself = "slacktest"

// proof compares what the stand-in is about to send, the answer of a method or a
// payload of a kind, with what Slack's own SDKs say of it. s.mu is held.
func (s *Server) proof(name string, sent any) {
	d, err := described()
	if err != nil {
		s.strange(itself, "%v", err)
		return
	}
	of := d.Sent[name]
	if of == nil {
		s.strange(itself, "Slack sends nothing like %q", name)
		return
	}
	var v any
	text, err := json.Marshal(sent)
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil {
		s.strange(itself, "%s cannot be written: %v", name, err)
	} else if found := d.check(of, "", v); found != nil {
		s.strange(itself, "Slack's %s is not like that: %s: %s", name, strings.Join(say(found), "; "), text)
	}
}
