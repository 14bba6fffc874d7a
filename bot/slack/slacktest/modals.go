package slacktest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// ActInView has somebody use an element of the modal before them, or of the Home
// tab, by the view's id.
func (s *Server) ActInView(viewID string, act Action) (Ack, error) {
	s.mu.Lock()
	v := s.views[viewID]
	if v == nil {
		s.mu.Unlock()
		return Ack{}, fmt.Errorf("slacktest: there is no view %q", viewID)
	}
	b, e := find(list(v.given, "blocks"), act)
	if e == nil {
		s.mu.Unlock()
		return Ack{}, fmt.Errorf("slacktest: the view has no %+v; it has %v", act, labels(list(v.given, "blocks")))
	}
	done, err := s.action(b, e, act)
	if err != nil {
		s.mu.Unlock()
		return Ack{}, err
	}
	if kind := str(e, "type"); kind != "button" && kind != "overflow" {
		s.enter(v, b, e, done)
	}
	payload := s.interaction("block_actions", v.team, v.owner)
	payload["container"], payload["view"], payload["actions"] = obj{"type": "view", "view_id": v.id}, s.viewJSON(v), []any{done}
	return s.clicked(payload, v.owner, nil, ""), nil
}

func (s *Server) enter(v *view, b, e, state obj) {
	block, _ := v.values[str(b, "block_id")].(obj)
	if block == nil {
		block = obj{}
		v.values[str(b, "block_id")] = block
	}
	kept := clone(state).(obj)
	for _, name := range []string{"action_id", "block_id", "action_ts"} {
		delete(kept, name)
	}
	block[str(e, "action_id")] = kept
}

// Submit fills in the modal of that id and sends it, and returns once the app
// has acknowledged it, or failed to. Values are by an input's label or block_id;
// several of one are separated by newlines where the input takes several.
func (s *Server) Submit(viewID string, values map[string]string) (Ack, error) {
	s.mu.Lock()
	v := s.views[viewID]
	if v == nil || !v.modal() || v.owner.modals[len(v.owner.modals)-1] != v {
		s.mu.Unlock()
		return Ack{}, fmt.Errorf("slacktest: %q is no modal that is open", viewID)
	}
	if err := s.fill(v, values); err != nil {
		s.mu.Unlock()
		return Ack{}, err
	}
	payload := s.interaction("view_submission", v.team, v.owner)
	payload["view"], payload["response_urls"] = s.viewJSON(v), []any{}
	d := &delivery{what: "interaction", payload: snapshot(payload)}
	v.errors = nil
	s.mu.Unlock()
	a := s.deliver(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !a.OK() {
		v.errors = map[string]string{"": "We had some trouble connecting. Try again?"}
		s.touch()
		return a, nil
	}
	s.submitted(v, a.Body)
	return a, nil
}

// fill enters values into a modal's inputs, and refuses what Slack would not let
// anybody send.
func (s *Server) fill(v *view, values map[string]string) error {
	used := map[string]bool{}
	for _, b := range objects(list(v.given, "blocks")) {
		e, ok := b["element"].(obj)
		if str(b, "type") != "input" || !ok {
			continue
		}
		label, _ := b["label"].(obj)
		text, given := values[str(label, "text")]
		used[str(label, "text")] = given
		if !given {
			text, given = values[str(b, "block_id")]
			used[str(b, "block_id")] = given
		}
		if !given {
			text = initial(e)
		}
		if text == "" && b["optional"] != true {
			return fmt.Errorf("slacktest: %q has to be filled in", str(label, "text"))
		}
		if n, ok := e["max_length"].(float64); ok && length(text) > int(n) {
			return fmt.Errorf("slacktest: %q takes at most %d characters", str(label, "text"), int(n))
		}
		if n, ok := e["min_length"].(float64); ok && length(text) < int(n) {
			return fmt.Errorf("slacktest: %q takes at least %d characters", str(label, "text"), int(n))
		}
		state, err := s.entered(e, text, strings.FieldsFunc(text, func(r rune) bool { return r == '\n' }))
		if err != nil {
			return err
		}
		s.enter(v, b, e, state)
	}
	for name := range values {
		if !used[name] {
			return fmt.Errorf("slacktest: the modal has no input %q", name)
		}
	}
	return nil
}

// initial is what stands in an input before anybody types.
func initial(e obj) string {
	if o, ok := e["initial_option"].(obj); ok {
		return str(o, "value")
	}
	for _, name := range []string{"initial_value", "initial_user", "initial_channel", "initial_conversation", "initial_date", "initial_time"} {
		if text := str(e, name); text != "" {
			return text
		}
	}
	return ""
}

// submitted does what the app answered to a submission. s.mu is held.
func (s *Server) submitted(v *view, body string) {
	u := v.owner
	defer s.touch()
	shut := func() {
		u.modals = slices.DeleteFunc(u.modals, func(o *view) bool { return o == v })
		delete(s.views, v.id)
	}
	if strings.TrimSpace(body) == "" {
		shut()
		return
	}
	var o obj
	if err := json.Unmarshal([]byte(body), &o); err != nil {
		s.strange("interaction", "the answer to a submission is no JSON: %.100q", body)
		v.errors = map[string]string{"": "We had some trouble connecting. Try again?"}
		return
	}
	// The SDK's ViewResponseAction: each has one field more, or none.
	action := str(o, "response_action")
	field := map[string]string{"errors": "errors", "update": "view", "push": "view"}[action]
	for _, name := range sortedKeys(o) {
		if action != "" && name != "response_action" && name != field {
			s.strange("interaction", "response_action %s has no field %s", action, name)
		}
	}
	switch action {
	case "errors":
		v.errors = map[string]string{}
		told, _ := o["errors"].(obj)
		if len(told) == 0 {
			s.strange("interaction", "response_action errors without errors")
		}
		for block, text := range told {
			known := slices.ContainsFunc(objects(list(v.given, "blocks")), func(b obj) bool { return b["type"] == "input" && str(b, "block_id") == block })
			if !known {
				s.strange("interaction", "an error at the block %s, which is no input of the view", block)
			}
			v.errors[block] = fmt.Sprint(text)
		}
	case "clear":
		s.closeModals(u)
	case "update", "push":
		given, refused := s.checkedView("response_action", o["view"], "modal")
		if refused == nil && action == "push" {
			_, refused = s.push(v.team, u, given)
		} else if refused == nil {
			s.renew(v, given)
		}
		if refused != nil {
			s.strange("interaction", "response_action %s: %s: %s", action, refused.error, refused.problem)
			v.errors = map[string]string{"": "We had some trouble connecting. Try again?"}
		}
	case "":
		if len(o) > 0 {
			s.strange("interaction", "the answer to a submission has no response_action: %.100q", body)
		}
		shut()
	default:
		s.strange("interaction", "there is no response_action %s", action)
	}
}

// CloseView has somebody close the modal of that id, and says so to the app where
// it asked for that.
func (s *Server) CloseView(viewID string) error {
	s.mu.Lock()
	v := s.views[viewID]
	if v == nil || !v.modal() {
		s.mu.Unlock()
		return fmt.Errorf("slacktest: %q is no modal that is open", viewID)
	}
	payload := s.interaction("view_closed", v.team, v.owner)
	payload["view"], payload["is_cleared"] = s.viewJSON(v), v.given["clear_on_close"] == true
	if v.given["clear_on_close"] == true {
		s.closeModals(v.owner)
	} else {
		v.owner.modals = slices.DeleteFunc(v.owner.modals, func(o *view) bool { return o == v })
		delete(s.views, v.id)
		s.touch()
	}
	tell := v.given["notify_on_close"] == true
	s.mu.Unlock()
	if tell {
		s.deliver(&delivery{what: "interaction", payload: snapshot(payload)})
	}
	return nil
}
