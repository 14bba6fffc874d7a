package slacktest

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
)

//go:embed web
var webFiles embed.FS

// contentPolicy keeps the page from loading or running anything that did not come
// with it; images may be anybody's, as in a message.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src * data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"

var index = sync.OnceValues(func() (*template.Template, error) {
	return template.ParseFS(webFiles, "web/index.html")
})

// archivePath is a permalink's.
var archivePath = regexp.MustCompile(`^/archives/([A-Z0-9]+)/p(\d{10})(\d{6})$`)

// servePage answers browsers. All addresses in the page are relative, so that it
// may be mounted below any path.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case strings.HasPrefix(path, "/-/"):
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeFileFS(w, r, webFiles, "web/"+strings.TrimPrefix(path, "/-/"))
	case path == "/page/live":
		s.serveLive(w, r)
	case path == "/page/state":
		s.serveState(w, r)
	case path == "/page/do" || path == "/page/preview":
		s.serveDo(w, r)
	case path == "/", strings.HasPrefix(path, "/page/message/"), strings.HasPrefix(path, "/page/view/"):
		s.serveIndex(w, path)
	default:
		if m := archivePath.FindStringSubmatch(path); m != nil {
			to := "../../#channel=" + m[1] + "&message=" + m[2] + "." + m[3]
			if root := r.URL.Query().Get("thread_ts"); timestampForm.MatchString(root) {
				to += "&thread=" + root
			}
			w.Header().Set("Location", to) // http.Redirect would make it absolute, without the prefix.
			w.WriteHeader(http.StatusSeeOther)
			return
		}
		http.NotFound(w, r)
	}
}

func (s *Server) serveIndex(w http.ResponseWriter, path string) {
	t, err := index()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", contentPolicy)
	w.Header().Set("Cache-Control", "no-store")
	root := strings.Repeat("../", strings.Count(path, "/")-1)
	_ = t.Execute(w, map[string]string{"Root": root, "Path": path}) // The client is gone; there is nobody to tell.
}

// serveLive tells a page about each change, so that it fetches what it shows.
func (s *Server) serveLive(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w)
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if _, err := fmt.Fprint(w, "data: changed\n\n"); err != nil || flush.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-s.closing:
			return
		}
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // The client is gone; there is nobody to tell.
}

// shownMessages is how many messages of a conversation a page shows.
const shownMessages = 300

// serveState is all that a page shows to one person.
func (s *Server) serveState(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	raw, err := json.Marshal(s.state(q.Get("as"), q.Get("channel"), q.Get("view")))
	s.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, json.RawMessage(raw))
}

// state is what somebody sees who looks at a channel; empty ones are the first.
// s.mu is held.
func (s *Server) state(as, at, viewID string) obj {
	people, channels, groups, names := []any{}, []any{}, obj{}, obj{}
	me := s.users[as]
	if c := s.channels[at]; me == nil && c != nil {
		me = c.dm
	}
	for _, id := range sortedKeys(s.users) {
		u := s.users[id]
		people = append(people, obj{"id": id, "name": u.Name, "real": u.RealName, "bot": u.Bot, "deleted": u.Deleted, "team": u.Team})
		if me == nil && !u.Bot && !u.Deleted {
			me = u
		}
	}
	for id, g := range s.groups {
		groups[id] = g.Handle
	}
	var here *channel
	for _, id := range s.ordered() {
		c := s.channels[id]
		if c.dm == nil {
			names[id] = c.Name
		}
		if !c.has(me) || (c.dm != nil && c.dm != me) {
			continue
		}
		last := ""
		for _, m := range c.messages {
			if m.only == nil || m.only == me {
				last = m.ts
			}
		}
		channels = append(channels, obj{"id": id, "name": c.Name, "private": c.Private, "archived": c.Archived, "dm": c.dm != nil, "topic": c.Topic, "last": last, "team": c.Team})
		if here == nil || id == at {
			here = c
		}
	}
	shortcuts := []any{} // of messages
	for _, c := range s.app.Shortcuts {
		if c.Message {
			shortcuts = append(shortcuts, obj{"name": c.Name, "id": c.CallbackID})
		}
	}
	out := obj{
		"app":    obj{"id": s.app.ID, "name": s.app.Name, "command": s.app.Command, "shortcuts": shortcuts},
		"people": people, "channels": channels, "groups": groups, "names": names, "messages": []any{}, "odd": len(s.odd),
	}
	if me != nil {
		out["me"] = me.ID
		s.personal(out, me)
	}
	if here != nil && me != nil {
		out["channel"] = here.ID
		out["messages"] = s.seen(here, me)
		out["team"] = s.workspaces[here.Team].Name
		out["bot"] = s.workspaces[here.Team].Bot
	}
	if v := s.views[viewID]; v != nil {
		out["view"] = s.shownView(v)
	}
	if at == previews && s.channels[at] != nil && me != nil {
		out["channel"], out["messages"] = at, s.seen(s.channels[at], me)
	}
	return out
}

// ordered are the conversations as a client lists them: channels by name, then
// direct messages.
func (s *Server) ordered() []string {
	ids := sortedKeys(s.channels)
	slices.SortStableFunc(ids, func(a, b string) int {
		x, y := s.channels[a], s.channels[b]
		if (x.dm == nil) != (y.dm == nil) {
			if x.dm == nil {
				return -1
			}
			return 1
		}
		return strings.Compare(x.Name, y.Name)
	})
	return ids
}

// personal adds what is somebody's own: modals and the Home tab.
func (s *Server) personal(out obj, me *user) {
	modals := []any{}
	for _, v := range me.modals {
		modals = append(modals, s.shownView(v))
	}
	out["modals"] = modals
	if me.home != nil {
		out["home"] = s.shownView(me.home)
	}
}

func (s *Server) shownView(v *view) obj {
	o := s.viewJSON(v)
	o["errors"] = v.errors
	return o
}

// seen are the last messages that somebody sees in a conversation.
func (s *Server) seen(c *channel, me *user) []any {
	out := []any{}
	for _, m := range c.messages[max(0, len(c.messages)-shownMessages):] {
		if m.only != nil && m.only != me {
			continue
		}
		o := s.json(m, false)
		o["permalink"], o["broadcast"], o["reactions"] = s.permalink(m), m.broadcast, m.reactions
		o["plain"], o["username"] = m.plain, m.name
		if m.only != nil {
			o["only"] = true
		}
		var files []any
		for _, f := range m.files {
			text := string(f.content[:min(len(f.content), 4000)])
			files = append(files, obj{"name": f.name, "title": f.title, "size": f.size, "text": text, "url": s.url + "/files-pri/" + f.id + "/" + f.secret})
		}
		if files != nil {
			o["files"] = files
		}
		out = append(out, o)
	}
	return out
}

// deed is what somebody does in the page.
type deed struct {
	As, Do, Channel, Thread, Text, TS, View, CallbackID string
	BlockID, ActionID, Value                            string
	Values                                              map[string]string
}

// serveDo does what somebody did in the page, as whom they act for.
func (s *Server) serveDo(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
		return
	}
	// Another site's page must not act in somebody's name.
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return
	}
	var answer obj
	if r.URL.Path == "/page/preview" {
		var path string
		path, err = s.Preview(body)
		answer = obj{"path": path}
	} else {
		var d deed
		if err = json.Unmarshal(body, &d); err == nil {
			answer, err = s.act(d)
		}
	}
	if err != nil {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusUnprocessableEntity)
		_ = json.NewEncoder(w).Encode(obj{"error": strings.TrimPrefix(err.Error(), "slacktest: ")}) // As in writeJSON.
		return
	}
	writeJSON(w, answer)
}

func (s *Server) act(d deed) (obj, error) {
	var err error
	how := Action{BlockID: d.BlockID, ActionID: d.ActionID, Value: d.Value, Values: strings.FieldsFunc(d.Value, func(r rune) bool { return r == '\n' })}
	switch d.Do {
	case "say":
		command := s.App().Command
		text, is := strings.CutPrefix(strings.TrimSpace(d.Text), command)
		switch {
		case is && (text == "" || text[0] == ' ') && d.Thread != "":
			err = fmt.Errorf("slacktest: %s is not supported in threads", command)
		case is && (text == "" || text[0] == ' '):
			_, err = s.Command(d.As, d.Channel, strings.TrimSpace(text))
		case strings.HasPrefix(d.Text, "/"):
			word, _, _ := strings.Cut(d.Text, " ")
			err = fmt.Errorf("slacktest: %s is not a valid command", word)
		default:
			_, err = s.Say(d.As, d.Channel, d.Thread, strings.TrimSpace(d.Text))
		}
	case "act":
		_, err = s.Act(d.As, d.Channel, d.TS, how)
	case "act_in_view":
		_, err = s.ActInView(d.View, how)
	case "shortcut":
		_, err = s.Shortcut(d.As, d.Channel, d.TS, d.CallbackID)
	case "submit":
		_, err = s.Submit(d.View, d.Values)
	case "close":
		err = s.CloseView(d.View)
	case "dismiss":
		err = s.Dismiss(d.As, d.Channel, d.TS)
	case "home":
		err = s.OpenHome(d.As)
	case "dm":
		return obj{"channel": s.DM(d.As)}, nil
	case "suggest":
		var values []string
		values, err = s.Suggest(d.View, d.ActionID, d.Value)
		return obj{"options": values}, err
	default:
		err = fmt.Errorf("slacktest: nobody can %q", d.Do)
	}
	return obj{}, err
}

// Dismiss has somebody dismiss a message that they alone see.
func (s *Server) Dismiss(userID, channelID, ts string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[channelID]; c != nil {
		if m := c.find(ts); m != nil && m.only != nil && m.only.ID == userID {
			c.dismiss(m)
			s.touch()
			return nil
		}
	}
	return fmt.Errorf("slacktest: %s sees no such message alone", userID)
}

// previews is the channel of what Preview shows, which nobody is in.
const previews = "C0PREVIEW"

// Preview shows a message, as chat.postMessage takes it without a channel, or a
// view, as views.open and views.publish take it, to nobody; the answer is the
// path of a page that shows it alone, without anything around it, and whose body
// has the attribute data-ready once it is drawn. What Slack would refuse is an
// error.
func (s *Server) Preview(raw []byte) (path string, err error) {
	var o obj
	if err := json.Unmarshal(raw, &o); err != nil {
		return "", fmt.Errorf("slacktest: what is to be shown: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	team, err := s.firstTeam("")
	if err != nil {
		return "", err
	}
	w := s.workspaces[team]
	defer func(odd []Oddity) { s.odd = odd }(s.odd) // They are told to whoever asked.
	before := len(s.odd)
	if kind := str(o, "type"); kind == "modal" || kind == "home" {
		given, refused := s.checkedView("preview", o, "modal", "home")
		if refused != nil {
			return "", fmt.Errorf("slacktest: %s: %s", refused.error, refused.problem)
		}
		return "/page/view/" + s.show(w, w.bot, given).id + "?bare=1", nil
	}
	d, err := described()
	if err != nil {
		return "", err
	}
	c := &call{method: "chat.postMessage", args: o}
	o["channel"] = previews // Not its own: what was sent says where, or nothing.
	refused := c.arguments(s, d, nil, true)
	if refused == nil {
		refused = s.checkContent("preview", o)
	}
	if refused != nil {
		return "", fmt.Errorf("slacktest: %s: %s", refused.error, refused.problem)
	}
	if len(s.odd) > before {
		return "", fmt.Errorf("slacktest: %s", s.odd[before])
	}
	if s.channels[previews] == nil {
		s.channels[previews] = &channel{Channel: Channel{ID: previews, Team: team, Name: "preview", Private: true, Members: []string{}}, members: map[string]bool{}}
	}
	m := s.write(s.channels[previews], w, s.contentOf("preview", o))
	return "/page/message/" + previews + "/" + m.ts + "?bare=1", nil
}
