package slacktest

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// view is a modal or a Home tab that somebody has before them.
type view struct {
	id, external, hash string
	team               *workspace
	owner              *user
	given              obj // as the app sent it, with ids filled in
	values             obj // what people entered: block_id → action_id → element
	errors             map[string]string
	root, previous     string
}

func (v *view) modal() bool { return v.given["type"] == "modal" }

// checkedView reads and checks the view of a call or of an answer.
func (s *Server) checkedView(what string, raw any, kinds ...string) (obj, *fail) {
	v, ok := raw.(obj)
	if !ok {
		return nil, &fail{error: "invalid_arguments", problem: "there is no view"}
	}
	refuse := func(found []problem) *fail {
		return &fail{error: "invalid_arguments", problem: strings.Join(say(found), "; "), say: say(found)}
	}
	if kind := str(v, "type"); !slices.Contains(kinds, kind) {
		return nil, refuse([]problem{{"/view/type", "must be one of " + strings.Join(kinds, ", ")}})
	}
	d, err := described()
	if err != nil {
		return nil, &fail{error: "fatal_error", problem: err.Error()}
	}
	if found := d.check(d.Types["view"], "/view", v); found != nil {
		return nil, refuse(found)
	}
	size, err := json.Marshal(v)
	if err != nil {
		return nil, &fail{error: "fatal_error", problem: err.Error()}
	}
	if found := checkView(v, len(size)); found != nil {
		f := refuse(found)
		if len(size) > maxView {
			f.error = "view_too_large"
		}
		return nil, f
	}
	if external := str(v, "external_id"); external != "" && what != "views.update" {
		for _, other := range s.views {
			if other.external == external {
				return nil, &fail{error: "duplicate_external_id", problem: "there is a view with external_id " + external}
			}
		}
	}
	kept := clone(v).(obj)
	kept["blocks"] = s.named(list(v, "blocks"))
	return kept, nil
}

// show makes a view of what the app sent.
func (s *Server) show(w *workspace, u *user, given obj) *view {
	v := &view{id: s.id("V"), team: w, owner: u, given: given, values: obj{}, external: str(given, "external_id")}
	v.hash = s.timestamp() + "." + secret()[:8]
	v.root = v.id
	s.views[v.id] = v
	s.touch()
	return v
}

// renew replaces what a view shows. What people entered stays where the block and
// the action have the same ids.
func (s *Server) renew(v *view, given obj) {
	v.given, v.errors, v.external = given, nil, str(given, "external_id")
	v.hash = s.timestamp() + "." + secret()[:8]
	values := obj{}
	for _, b := range objects(list(given, "blocks")) {
		if old, ok := v.values[str(b, "block_id")]; ok {
			values[str(b, "block_id")] = old
		}
	}
	v.values = values
	s.touch()
}

// viewJSON is a view as Slack writes it.
func (s *Server) viewJSON(v *view) obj {
	out := obj{
		"id": v.id, "team_id": v.team.ID, "app_id": s.app.ID, "app_installed_team_id": v.team.ID, "bot_id": v.team.botID(),
		"hash": v.hash, "root_view_id": v.root, "previous_view_id": nil, "state": obj{"values": v.values},
		"private_metadata": "", "callback_id": "", "external_id": "", "title": nil, "close": nil, "submit": nil,
		"clear_on_close": false, "notify_on_close": false,
	}
	if v.previous != "" {
		out["previous_view_id"] = v.previous
	}
	if !v.modal() {
		out["title"] = obj{"type": "plain_text", "text": "View Title", "emoji": true} // Slack's own; nobody sees it.
	}
	maps.Copy(out, v.given)
	return out
}

// https://docs.slack.dev/reference/methods/views.open
func (s *Server) openView(c *call) (obj, *fail) {
	u, given, refused := s.triggered(c)
	if refused != nil {
		return nil, refused
	}
	s.closeModals(u)
	v := s.show(c.team, u, given)
	u.modals = []*view{v}
	return obj{"view": s.viewJSON(v)}, nil
}

// https://docs.slack.dev/reference/methods/views.push
func (s *Server) pushView(c *call) (obj, *fail) {
	u, given, refused := s.triggered(c)
	if refused != nil {
		return nil, refused
	}
	v, refused := s.push(c.team, u, given)
	if refused != nil {
		return nil, refused
	}
	return obj{"view": s.viewJSON(v)}, nil
}

func (s *Server) push(w *workspace, u *user, given obj) (*view, *fail) {
	if len(u.modals) == 0 {
		return nil, &fail{error: "invalid_trigger_id", problem: "there is no modal to push onto"}
	}
	if len(u.modals) >= maxViews {
		return nil, &fail{error: "push_limit_reached", problem: "more than three views on top of each other"}
	}
	v := s.show(w, u, given)
	below := u.modals[len(u.modals)-1]
	v.root, v.previous = below.root, below.id
	u.modals = append(u.modals, v)
	return v, nil
}

// triggered uses a call's trigger up.
func (s *Server) triggered(c *call) (*user, obj, *fail) {
	given, refused := s.checkedView(c.method, c.args["view"], "modal")
	if refused != nil {
		return nil, nil, refused
	}
	t := s.triggers[c.str("trigger_id")]
	switch {
	case t == nil || t.team != c.team:
		return nil, nil, &fail{error: "invalid_trigger_id", problem: "there is no such trigger"}
	case t.used:
		return nil, nil, &fail{error: "exchanged_trigger_id", problem: "a trigger serves once"}
	case s.opts.Now().Sub(t.made) > triggerLife:
		return nil, nil, c.refuse("expired_trigger_id")
	}
	t.used = true
	return t.user, given, nil
}

// https://docs.slack.dev/reference/methods/views.update
func (s *Server) updateView(c *call) (obj, *fail) {
	given, refused := s.checkedView(c.method, c.args["view"], "modal", "home")
	if refused != nil {
		return nil, refused
	}
	v := s.views[c.str("view_id")]
	if external := c.str("external_id"); external != "" {
		for _, other := range s.views {
			if other.external == external {
				v = other
			}
		}
	}
	switch hash := c.str("hash"); {
	case v == nil || v.team != c.team:
		return nil, c.refuse("not_found")
	case hash != "" && hash != v.hash:
		return nil, c.refuse("hash_conflict")
	case given["type"] != v.given["type"]:
		return nil, &fail{error: "invalid_arguments", problem: "a view stays of its type"}
	}
	s.renew(v, given)
	return obj{"view": s.viewJSON(v)}, nil
}

// https://docs.slack.dev/reference/methods/views.publish
func (s *Server) publishView(c *call) (obj, *fail) {
	u := s.users[c.str("user_id")]
	if u == nil || u.Team != c.team.ID || u.Deleted {
		return nil, c.refuse("user_not_found") // Not documented, but what happens.
	}
	given, refused := s.checkedView(c.method, c.args["view"], "home")
	if refused != nil {
		return nil, refused
	}
	hash := c.str("hash")
	switch {
	case u.home == nil && hash != "", u.home != nil && hash != "" && hash != u.home.hash:
		return nil, c.refuse("hash_conflict")
	case u.home == nil:
		u.home = s.show(c.team, u, given)
	default:
		s.renew(u.home, given)
	}
	return obj{"view": s.viewJSON(u.home)}, nil
}

// closeModals takes all modals away from somebody.
func (s *Server) closeModals(u *user) {
	for _, v := range u.modals {
		delete(s.views, v.id)
	}
	u.modals = nil
	s.touch()
}

// View is a modal or a Home tab.
type View struct {
	ID, Type, Title, CallbackID, PrivateMetadata string
	Submit                                       string // what its button says; empty has none
	Blocks                                       []any
	Buttons                                      []Button
	Words                                        string            // all that can be read in it
	Errors                                       map[string]string // by block_id, as the app answered
	Depth                                        int               // how many modals there are, this one included
}

// View is the modal that somebody has before them; nil when there is none.
func (s *Server) View(id string) *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[id]
	if u == nil || len(u.modals) == 0 {
		return nil
	}
	v := s.viewOf(u.modals[len(u.modals)-1])
	v.Depth = len(u.modals)
	return v
}

// Home is somebody's Home tab; nil when the app has published none.
func (s *Server) Home(id string) *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[id]; u != nil && u.home != nil {
		return s.viewOf(u.home)
	}
	return nil
}

func (s *Server) viewOf(v *view) *View {
	title, _ := v.given["title"].(obj)
	submit, _ := v.given["submit"].(obj)
	blocks := list(v.given, "blocks")
	return &View{
		ID: v.id, Type: str(v.given, "type"), Title: str(title, "text"), Submit: str(submit, "text"), CallbackID: str(v.given, "callback_id"),
		PrivateMetadata: str(v.given, "private_metadata"), Blocks: clone(blocks).([]any), Buttons: buttonsOf(blocks), Words: words(blocks), Errors: v.errors,
	}
}

// https://docs.slack.dev/reference/methods/files.getUploadURLExternal
func (s *Server) uploadURL(c *call) (obj, *fail) {
	if c.number("length") <= 0 {
		return nil, &fail{error: "invalid_arguments", problem: "length is " + strconv.Itoa(c.number("length"))}
	}
	f := &file{id: s.id("F"), name: c.str("filename"), size: c.number("length"), team: c.team, owner: c.team.bot, secret: secret()}
	s.files[f.id] = f
	return obj{"upload_url": s.url + "/upload/v1/" + f.id + "/" + f.secret, "file_id": f.id}, nil
}

// https://docs.slack.dev/reference/methods/files.completeUploadExternal
func (s *Server) completeUpload(c *call) (obj, *fail) {
	var done []*file
	for _, o := range objects(c.list("files")) {
		f := s.files[str(o, "id")]
		switch {
		case f == nil || f.team != c.team:
			return nil, c.refuse("file_not_found")
		case f.content == nil:
			return nil, &fail{error: "file_not_found", problem: "nothing was sent to the upload_url"}
		case f.done:
			return nil, &fail{error: "file_update_failed", problem: "the file was completed before"}
		}
		f.title = str(o, "title")
		done = append(done, f)
	}
	answer := []any{}
	for _, f := range done {
		f.done = true
		answer = append(answer, obj{"id": f.id, "title": f.title})
	}
	if c.str("channel_id") != "" {
		c.args["channel"] = c.str("channel_id")
		to, refused := s.target(c)
		if refused != nil {
			return nil, refused
		}
		if refused := s.mayWrite(c, to); refused != nil {
			return nil, refused
		}
		root, refused := s.root(c, to)
		if refused != nil {
			return nil, refused
		}
		m := s.write(to, c.team, content{text: c.str("initial_comment"), blocks: s.named(c.list("blocks"))})
		m.thread, m.files = root, done
	}
	return obj{"files": answer}, nil
}
