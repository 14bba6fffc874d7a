package slacktest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Click has somebody click the button of a message that says label, and returns
// once the app has acknowledged it, or failed to. A button that asks first is
// said yes to. channel and ts are the message's; of two buttons with one label
// the first is meant.
func (s *Server) Click(userID string, m Message, label string) (Ack, error) {
	return s.Act(userID, m.Channel, m.TS, Action{Label: label})
}

// Action is what somebody does to an element of blocks.
type Action struct {
	Label    string   // of a button; or use
	BlockID  string   // both of these
	ActionID string   //
	Value    string   // what is chosen of a menu: an option's value, or an id
	Values   []string // of those that take several
}

// Act has somebody use an element of a message, as Click does.
func (s *Server) Act(userID, channelID, ts string, act Action) (Ack, error) {
	s.mu.Lock()
	u, c, err := s.placed(userID, channelID)
	if err != nil {
		s.mu.Unlock()
		return Ack{}, err
	}
	m := c.find(ts)
	if m == nil || (m.only != nil && m.only != u) {
		s.mu.Unlock()
		return Ack{}, fmt.Errorf("slacktest: %s sees no message %s in %s", userID, ts, channelID)
	}
	w := s.workspaces[c.Team]
	b, e, attachment := m.element(act)
	if e == nil {
		s.mu.Unlock()
		return Ack{}, fmt.Errorf("slacktest: the message has no %+v; it has %v", act, labels(m.all()))
	}
	if !m.app {
		s.mu.Unlock()
		return Ack{}, fmt.Errorf("slacktest: the message is not the app's")
	}
	done, err := s.action(b, e, act)
	if err != nil {
		s.mu.Unlock()
		return Ack{}, err
	}
	container := obj{"type": "message", "message_ts": m.ts, "channel_id": c.ID, "is_ephemeral": m.only != nil}
	if attachment > 0 {
		container["type"], container["attachment_id"], container["is_app_unfurl"] = "message_attachment", attachment, attachment > len(m.attachments)
	}
	if m.thread != "" {
		container["thread_ts"] = m.thread
	}
	payload := s.interaction("block_actions", w, u)
	payload["container"], payload["channel"], payload["actions"] = container, obj{"id": c.ID, "name": c.kindName()}, []any{done}
	payload["response_url"] = s.newResponse("actions", w, u, c, m).url
	payload["state"] = obj{"values": obj{}}
	if m.only == nil {
		payload["message"] = s.json(m, true)
	}
	return s.clicked(payload, u, c, m.thread), nil
}

// clicked delivers a block_actions payload and says so when it fails. s.mu is
// held, and let go.
func (s *Server) clicked(payload obj, u *user, c *channel, thread string) Ack {
	d := &delivery{what: "interaction", payload: snapshot(payload)}
	s.mu.Unlock()
	a := s.deliver(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !a.OK() && c != nil:
		s.tell(u, c, thread, fmt.Sprintf("This app responded with “%s”", a.Error))
	case a.OK() && strings.ContainsAny(a.Body, "{["):
		s.strange("interaction", "what is answered to block_actions is shown nowhere: %.100q", a.Body)
	}
	return a
}

// interaction begins a payload. What is not in all of them is in those alone in
// which the SDK knows it. s.mu is held.
func (s *Server) interaction(kind string, w *workspace, u *user) obj {
	who := obj{"id": u.ID, "team_id": u.Team}
	out := obj{
		"type": kind, "user": who, "token": verification, "team": obj{"id": w.ID, "domain": w.Domain}, "enterprise": nil, "is_enterprise_install": false,
	}
	shortcut := kind == "shortcut" || kind == "message_action"
	if kind == "shortcut" || kind == "block_actions" {
		who["username"] = u.Name
	} else {
		who["name"] = u.Name
	}
	if !shortcut {
		out["api_app_id"] = s.app.ID
	}
	if kind != "block_suggestion" && kind != "view_closed" {
		out["trigger_id"] = s.newTrigger(w, u).id
	}
	return out
}

// all are a message's blocks, those of attachments and unfurls as well.
func (m *message) all() []any {
	out := slices.Clone(m.blocks)
	for _, a := range objects(m.shown()) {
		out = append(out, list(a, "blocks")...)
	}
	return out
}

// element finds what an action is about, and the number of the attachment that it
// stands in, which is 0 outside of those.
func (m *message) element(act Action) (b, e obj, attachment int) {
	if b, e = find(m.blocks, act); e != nil {
		return b, e, 0
	}
	for i, a := range objects(m.shown()) {
		if b, e = find(list(a, "blocks"), act); e != nil {
			return b, e, i + 1
		}
	}
	return nil, nil, 0
}

func find(blocks []any, act Action) (b, e obj) {
	for _, b := range objects(blocks) {
		for _, e := range elements(b) {
			text, _ := e["text"].(obj)
			byLabel := act.Label != "" && (str(text, "text") == act.Label || plainLabel(str(text, "text")) == act.Label)
			byID := act.ActionID != "" && str(e, "action_id") == act.ActionID && (act.BlockID == "" || str(b, "block_id") == act.BlockID)
			if byLabel || byID {
				return b, e
			}
		}
	}
	return nil, nil
}

// plainLabel is a label without an emoji before it.
func plainLabel(label string) string {
	if i := strings.IndexByte(label, ' '); i > 0 && (label[0] == ':' || label[0] > 127) {
		return label[i+1:]
	}
	return label
}

func labels(blocks []any) []string {
	var out []string
	for _, b := range buttonsOf(blocks) {
		out = append(out, b.Label)
	}
	return out
}

// action is an element as a payload has it, once somebody used it. s.mu is held.
func (s *Server) action(b, e obj, act Action) (obj, error) {
	done := obj{"type": e["type"], "action_id": e["action_id"], "block_id": b["block_id"], "action_ts": s.timestamp()}
	switch kind := str(e, "type"); kind {
	case "button":
		for _, name := range []string{"text", "value", "url"} {
			if e[name] != nil {
				done[name] = e[name]
			}
		}
		if text, ok := done["text"].(obj); ok && text["emoji"] == nil {
			text = clone(text).(obj)
			text["emoji"] = true
			done["text"] = text
		}
	default:
		state, err := s.entered(e, act.Value, act.Values)
		if err != nil {
			return nil, err
		}
		for key, value := range state {
			done[key] = value
		}
	}
	return done, nil
}

// entered is the state of an element that people fill in. s.mu is held.
func (s *Server) entered(e obj, value string, several []string) (obj, error) {
	kind := str(e, "type")
	state := obj{"type": kind}
	option := func(value string) (obj, error) {
		for _, o := range options(e) {
			text, _ := o["text"].(obj)
			if str(o, "value") == value || str(text, "text") == value {
				return o, nil
			}
		}
		return nil, fmt.Errorf("slacktest: %s has no option %q", kind, value)
	}
	switch kind {
	case "plain_text_input", "email_text_input", "url_text_input", "number_input":
		state["value"] = any(value)
		if value == "" {
			state["value"] = nil
		}
	case "static_select", "overflow", "radio_buttons":
		if value == "" {
			state["selected_option"] = nil
			return state, nil
		}
		o, err := option(value)
		state["selected_option"] = o
		return state, err
	case "external_select":
		state["selected_option"] = obj{"text": obj{"type": "plain_text", "text": value, "emoji": true}, "value": value}
	case "checkboxes", "multi_static_select":
		chosen := []any{}
		for _, v := range several {
			o, err := option(v)
			if err != nil {
				return nil, err
			}
			chosen = append(chosen, o)
		}
		state["selected_options"] = chosen
	case "users_select":
		state["selected_user"] = value
	case "channels_select":
		state["selected_channel"] = value
	case "conversations_select":
		state["selected_conversation"] = value
	case "datepicker":
		state["selected_date"] = value
	case "timepicker":
		state["selected_time"] = value
	case "datetimepicker":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("slacktest: a datetimepicker takes seconds: %w", err)
		}
		state["selected_date_time"] = n
	case "multi_users_select", "multi_channels_select", "multi_conversations_select":
		state["selected_"+strings.TrimSuffix(strings.TrimPrefix(kind, "multi_"), "_select")] = several
	default:
		return nil, fmt.Errorf("slacktest: nobody can enter anything in a %s", kind)
	}
	return state, nil
}

// options are those of an element, groups or not.
func options(e obj) []obj {
	out := objects(list(e, "options"))
	for _, g := range objects(list(e, "option_groups")) {
		out = append(out, objects(list(g, "options"))...)
	}
	return out
}

// Shortcut has somebody choose one of the app's shortcuts: of a message, or a
// global one where ts is empty.
func (s *Server) Shortcut(userID, channelID, ts, callbackID string) (Ack, error) {
	s.mu.Lock()
	u := s.users[userID]
	if u == nil || s.workspaces[u.Team] == nil {
		s.mu.Unlock()
		return Ack{}, fmt.Errorf("slacktest: there is no user %q in a workspace", userID)
	}
	if ts == "" {
		payload := s.interaction("shortcut", s.workspaces[u.Team], u)
		payload["callback_id"], payload["action_ts"] = callbackID, s.timestamp()
		return s.clicked(payload, u, nil, ""), nil
	}
	_, c, err := s.placed(userID, channelID)
	if err == nil && c.find(ts) == nil {
		err = fmt.Errorf("slacktest: there is no message %s in %s", ts, channelID)
	}
	if err != nil {
		s.mu.Unlock()
		return Ack{}, err
	}
	m, w := c.find(ts), s.workspaces[c.Team]
	payload := s.interaction("message_action", w, u)
	payload["callback_id"], payload["action_ts"], payload["message_ts"] = callbackID, s.timestamp(), m.ts
	payload["channel"], payload["message"] = obj{"id": c.ID, "name": c.kindName()}, s.json(m, true)
	payload["response_url"] = s.newResponse("actions", w, u, c, m).url
	return s.clicked(payload, u, c, m.thread), nil
}

// Suggest has somebody type into an external menu of a view, and returns the
// values of what the app suggests.
func (s *Server) Suggest(viewID, actionID, typed string) ([]string, error) {
	s.mu.Lock()
	v := s.views[viewID]
	if v == nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("slacktest: there is no view %q", viewID)
	}
	b, e := find(list(v.given, "blocks"), Action{ActionID: actionID})
	if e == nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("slacktest: the view has no element %q", actionID)
	}
	payload := s.interaction("block_suggestion", v.team, v.owner)
	payload["container"], payload["view"] = obj{"type": "view", "view_id": v.id}, s.viewJSON(v)
	payload["action_id"], payload["block_id"], payload["value"] = actionID, b["block_id"], typed
	d := &delivery{what: "interaction", payload: snapshot(payload)}
	s.mu.Unlock()
	a := s.deliver(d)
	if !a.OK() {
		return nil, fmt.Errorf("slacktest: no suggestions: %s", a.Error)
	}
	var o obj
	err := json.Unmarshal([]byte(a.Body), &o)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := &kit{}
	if err != nil || (o["options"] == nil) == (o["option_groups"] == nil) {
		k.bad("", "must have either options or option_groups")
	} else if o["options"] != nil {
		k.options("", o, 0, maxOptions)
		if d, err := described(); err == nil {
			k.found = append(k.found, d.check(d.Types["suggestions"], "", o)...)
		}
	}
	for _, p := range k.found {
		s.strange("block_suggestion", "%s", p)
	}
	var out []string
	for _, o := range options(o) {
		out = append(out, str(o, "value"))
	}
	return out, nil
}
