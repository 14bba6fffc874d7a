package slacktest

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"
)

const (
	// triggerLife is how long a trigger_id may be used.
	// https://docs.slack.dev/interactivity/handling-user-interaction#modal_responses
	triggerLife = 3 * time.Second
	// responseLife and responseUses are what a response_url is good for.
	// https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
	responseLife = 30 * time.Minute
	responseUses = 5
)

// trigger lets the app open a modal.
type trigger struct {
	id   string
	team *workspace
	user *user
	made time.Time
	used bool
}

// response is a response_url.
type response struct {
	url, path string
	team      *workspace
	user      *user
	channel   *channel
	original  *message // that was clicked on, or the first answer to a command
	made      time.Time
	uses      int
}

// newTrigger makes a trigger. s.mu is held.
func (s *Server) newTrigger(w *workspace, u *user) *trigger {
	t := &trigger{id: strings.ToLower(s.id("")) + "." + w.ID + "." + strings.ToLower(secret()), team: w, user: u, made: s.opts.Now()}
	s.triggers[t.id] = t
	if len(s.triggers)%1000 == 0 { // A load test makes many; those that are long over are forgotten.
		maps.DeleteFunc(s.triggers, func(_ string, t *trigger) bool { return s.opts.Now().Sub(t.made) > time.Minute })
	}
	return t
}

// newResponse makes a response_url. s.mu is held.
func (s *Server) newResponse(kind string, w *workspace, u *user, c *channel, original *message) *response {
	r := &response{path: "/" + kind + "/" + w.ID + "/" + s.id("") + "/" + secret(), team: w, user: u, channel: c, original: original, made: s.opts.Now()}
	r.url = s.url + r.path
	s.responses[r.path] = r
	if len(s.responses)%1000 == 0 {
		maps.DeleteFunc(s.responses, func(_ string, r *response) bool { return s.opts.Now().Sub(r.made) > 2*responseLife })
	}
	return r
}

// serveResponse takes what is sent to a response_url.
func (s *Server) serveResponse(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return
	}
	fault := s.next("response_url")
	if fault != nil && !fault.Done && s.spoil(w, r, fault) {
		return
	}
	s.mu.Lock()
	refused := s.respond(r, body)
	answer, status := obj{"ok": true}, http.StatusOK
	if refused != nil {
		status = s.refusal(&call{method: "response_url"}, refused, &answer, w.Header())
	}
	s.calls = append(s.calls, Call{Time: s.opts.Now(), Method: "response_url", Status: status, Error: str(answer, "error")})
	s.touch()
	s.mu.Unlock()
	if fault != nil && fault.Done && s.spoil(w, r, fault) {
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // The client is gone; there is nobody to tell.
}

func (s *Server) respond(r *http.Request, body []byte) *fail {
	to := s.responses[r.URL.Path]
	switch {
	case r.Method != http.MethodPost:
		return &fail{error: "invalid_post_type", status: http.StatusMethodNotAllowed, problem: r.Method}
	case to == nil:
		return &fail{error: "no_service", status: http.StatusNotFound, problem: "there is no such response_url"}
	case s.opts.Now().Sub(to.made) > responseLife:
		return &fail{error: "expired_url", status: http.StatusNotFound, problem: "the response_url was used after half an hour"}
	case to.uses >= responseUses:
		return &fail{error: "used_url", status: http.StatusNotFound, problem: "the response_url was used more than five times"}
	}
	var o obj
	if err := json.Unmarshal(body, &o); err != nil || o == nil {
		return &fail{error: "invalid_payload", status: http.StatusBadRequest, problem: "the body is no JSON object"}
	}
	refused := s.answer("response_url", to, o)
	if refused == nil {
		to.uses++
	} else if refused.status == 0 {
		refused.status = http.StatusBadRequest
	}
	return refused
}

// answerFields are those of a message sent to a response_url, or in answer to a
// command, with what they may be.
var answerFields = map[string]string{
	"text": "string", "response_type": "string", "thread_ts": "string", "replace_original": "boolean", "delete_original": "boolean",
	"mrkdwn": "boolean", "unfurl_links": "boolean", "unfurl_media": "boolean", "blocks": "array", "attachments": "array", "metadata": "object",
}

// answer does what a message sent to a response_url says. s.mu is held.
func (s *Server) answer(what string, to *response, o obj) *fail {
	if refused := s.checkAnswer(what, o); refused != nil {
		return refused
	}
	if o["delete_original"] == true {
		if to.original != nil {
			to.channel.dismiss(to.original)
			s.touch()
		}
		return nil
	}
	if refused := s.checkContent(what, o); refused != nil {
		return refused
	}
	if to.channel.Archived {
		return &fail{error: "is_archived"}
	}
	said := s.contentOf(what, o)
	// https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
	if m := to.original; o["replace_original"] == true && m != nil && to.channel.holds(m) {
		m.text, m.blocks, m.attachments = said.text, said.blocks, said.attachments
		if said.metadata != nil {
			m.metadata = said.metadata
		}
		m.edited = s.timestamp()
		m.edits++
		s.touch()
		return nil
	}
	m := s.write(to.channel, to.team, said)
	m.thread, m.via = str(o, "thread_ts"), to.path
	if o["response_type"] != "in_channel" {
		m.only = to.user
	}
	if to.original == nil {
		to.original = m
	}
	return nil
}

func (c *channel) holds(m *message) bool {
	for _, o := range c.messages {
		if o == m {
			return true
		}
	}
	return false
}

func (s *Server) checkAnswer(what string, o obj) *fail {
	d, err := described()
	if err != nil {
		return &fail{error: "fatal_error", problem: err.Error()}
	}
	post := d.Methods["chat.postMessage"].Properties
	for _, name := range sortedKeys(o) {
		if o[name] == nil {
			delete(o, name)
			continue
		}
		kind, known := answerFields[name]
		if !known {
			s.strange(what, "a message in answer has no field %s", name)
			continue
		}
		of := post[name]
		if of == nil {
			of = &schema{Type: kind}
		}
		if found := d.check(of, "/"+name, o[name]); found != nil {
			return &fail{error: invalid(name), problem: strings.Join(say(found), "; "), say: say(found)}
		}
	}
	switch kind := o["response_type"]; kind {
	case nil, "ephemeral", "in_channel":
	default:
		return &fail{error: "invalid_arguments", problem: "response_type is " + quoted(kind)}
	}
	if o["replace_original"] == true && o["response_type"] == "in_channel" {
		s.strange(what, "a message that is replaced stays as visible as it was: response_type does nothing")
	}
	return nil
}
