package discordtest

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"time"
)

// view is the page's state as one person sees it. Its parts are HTML that the page
// puts in place of what it shows, where that differs.
type view struct {
	As             string     `json:"as"`
	Channel        string     `json:"channel"`
	Thread         string     `json:"thread"`
	Sidebar        string     `json:"sidebar"`
	Header         string     `json:"header"`
	Messages       []fragment `json:"messages"`
	ThreadHeader   string     `json:"threadHeader"`
	ThreadMessages []fragment `json:"threadMessages"`
	Modal          *fragment  `json:"modal"`
	Placeholder    string     `json:"placeholder"`
}

type fragment struct {
	ID   string `json:"id"`
	HTML string `json:"html"`
}

type sideGuild struct {
	Name     string
	Channels []sideChannel
}

type sideChannel struct {
	ID, Name, Letter string
	Hue              int
	Here, Direct     bool
	Unread           bool
	Pings            int
	Threads          []sideChannel
}

type sidePerson struct {
	ID, Name, Letter, Roles string
	Hue                     int
	Here                    bool
}

func (s *Server) serveView(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	v, err := s.view(r.FormValue("as"), r.FormValue("channel"), r.FormValue("thread"))
	s.mu.Unlock()
	if err != nil {
		answer(w, http.StatusInternalServerError, obj{"error": err.Error()})
		return
	}
	answer(w, http.StatusOK, v)
}

// view draws all that somebody sees. The caller holds s.mu, as of all below.
func (s *Server) view(as, channelID, threadID string) (*view, error) {
	people := s.people()
	u := s.users[as]
	if u == nil || u.bot {
		if len(people) == 0 {
			return &view{}, nil
		}
		u = people[0]
	}
	if s.shared(u) {
		s.direct(u) // So that they can write to the bot.
	}
	places := s.places(u)
	ch := s.channels[channelID]
	if ch != nil && ch.kind == channelThread {
		ch, threadID = ch.parent, ch.id // A link led into it.
	}
	if ch == nil || !slices.Contains(places, ch) {
		ch = nil
		if len(places) > 0 {
			ch = places[0]
		}
	}
	v := &view{As: u.id, Messages: []fragment{}, ThreadMessages: []fragment{}}
	var page pager
	if ch != nil {
		v.Channel = ch.id
		v.Placeholder = "Message #" + ch.name
		header := obj{"Name": ch.name, "Topic": ch.topic, "Direct": ch.guild == nil}
		if ch.guild == nil {
			v.Placeholder, header["Name"] = "Message @"+s.app.name, s.app.name
		}
		v.Header = page.html("header", header)
		v.Messages = s.conversation(&page, ch, u)
	}
	if t := s.channels[threadID]; t != nil && t.parent != nil && t.parent == ch {
		v.Thread = t.id
		v.ThreadHeader = page.html("thread", obj{"Name": t.name})
		v.ThreadMessages = s.conversation(&page, t, u)
	}
	v.Sidebar = page.html("sidebar", obj{"Guilds": s.side(u, ch, threadID), "People": s.sidePeople(people, u, ch), "Me": u.name})
	for _, in := range slices.Backward(s.order) {
		if in.user == u && in.modal != nil && in.modal.Open {
			v.Modal = &fragment{in.id, page.html("modal", obj{"Modal": in.modal, "Name": s.app.name})}
			break
		}
	}
	return v, page.err
}

// pager draws templates until one fails.
type pager struct{ err error }

func (p *pager) html(name string, data any) string {
	var buf bytes.Buffer
	if err := execute(&buf, name, data); err != nil && p.err == nil {
		p.err = err
	}
	return strings.TrimSpace(buf.String())
}

// places are the channels that somebody can open, guilds' first.
func (s *Server) places(u *user) []*channel {
	var all []*channel
	for _, id := range sortedKeys(s.guilds) {
		if g := s.guilds[id]; g.members[u.id] != nil {
			all = append(all, s.channelsOf(g)...)
		}
	}
	if u.dm != "" {
		all = append(all, s.channels[u.dm])
	}
	return all
}

func (s *Server) side(u *user, here *channel, threadID string) []sideGuild {
	var guilds []sideGuild
	for _, id := range sortedKeys(s.guilds) {
		g := s.guilds[id]
		if g.members[u.id] == nil {
			continue
		}
		shown := sideGuild{Name: g.name}
		for _, ch := range s.channelsOf(g) {
			entry := sideChannel{ID: ch.id, Name: ch.name, Here: ch == here && s.channels[threadID] == nil}
			entry.Unread, entry.Pings = s.unread(ch, u)
			for _, tid := range sortedKeys(s.channels) {
				if t := s.channels[tid]; t.parent == ch {
					thread := sideChannel{ID: t.id, Name: t.name, Here: t.id == threadID}
					thread.Unread, thread.Pings = s.unread(t, u)
					entry.Threads = append(entry.Threads, thread)
				}
			}
			shown.Channels = append(shown.Channels, entry)
		}
		guilds = append(guilds, shown)
	}
	direct := sideGuild{Name: "Direct messages"}
	if u.dm != "" {
		entry := sideChannel{ID: u.dm, Name: s.app.name, Letter: letter(s.app.name), Direct: true, Here: here != nil && here.id == u.dm}
		entry.Unread, entry.Pings = s.unread(s.channels[u.dm], u)
		direct.Channels = append(direct.Channels, entry)
		guilds = append(guilds, direct)
	}
	return guilds
}

// unread tells whether there is something new for somebody, and how often it
// calls them.
func (s *Server) unread(ch *channel, u *user) (fresh bool, pings int) {
	for _, m := range slices.Backward(ch.messages) {
		if seen := u.read[ch.id]; seen != "" && !older(seen, m.id) {
			break
		}
		if m.author == u || m.to != nil && m.to != u {
			continue
		}
		fresh = true
		if s.calls(m, u) {
			pings++
		}
	}
	return fresh, pings
}

// calls tells whether a message notified somebody.
func (s *Server) calls(m *message, u *user) bool {
	if m.everyone || slices.Contains(m.pings, u.id) {
		return true
	}
	g := m.channel.guild
	return g != nil && g.members[u.id] != nil && slices.ContainsFunc(g.members[u.id].roles, func(r string) bool { return slices.Contains(m.pings, r) })
}

// saw keeps that somebody was shown a channel.
func (u *user) saw(ch *channel) {
	if u.read == nil {
		u.read = map[string]string{}
	}
	if n := len(ch.messages); n > 0 {
		u.read[ch.id] = ch.messages[n-1].id
	}
}

func (s *Server) sidePeople(people []*user, me *user, ch *channel) []sidePerson {
	var out []sidePerson
	for _, p := range people {
		entry := sidePerson{ID: p.id, Name: p.name, Letter: letter(p.name), Hue: hue(p.id), Here: p == me}
		for _, id := range sortedKeys(s.guilds) {
			g := s.guilds[id]
			if ch != nil && ch.guild != nil && ch.guild != g || g.members[p.id] == nil {
				continue
			}
			var roles []string
			for _, r := range g.members[p.id].roles {
				if g.role(r) != nil {
					roles = append(roles, g.role(r).name)
				}
			}
			entry.Roles = strings.Join(roles, ", ")
		}
		out = append(out, entry)
	}
	return out
}

// shownLimit is how many messages of a channel the page shows: the newest.
const shownLimit = 200

// conversation draws a channel's messages and the commands that nothing answered.
func (s *Server) conversation(page *pager, ch *channel, u *user) []fragment {
	type entry struct {
		id   string
		at   time.Time
		m    *message
		lost *interaction
	}
	var all []entry
	for _, m := range ch.messages {
		if (m.to == nil || m.to == u) && !m.dismissed {
			all = append(all, entry{id: m.id, at: m.at, m: m})
		}
	}
	for _, in := range s.order {
		if in.channel == ch && in.user == u && in.failed != "" && (in.kind == interactionCommand || in.kind == interactionModal) {
			all = append(all, entry{id: in.id, at: in.at, lost: in})
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int {
		if a.id != b.id && older(a.id, b.id) {
			return -1
		}
		return 1
	})
	if len(all) > shownLimit {
		all = all[len(all)-shownLimit:]
	}
	u.saw(ch)
	out := []fragment{}
	var above *message
	day := ""
	for _, e := range all {
		date := e.at.UTC().Format("2 January 2006")
		fresh := date != day
		day = date
		if e.lost != nil {
			shown := shownMessage{ID: e.id, Author: s.app.name, Letter: letter(s.app.name), Bot: true, Time: s.when(e.at), Only: true, Failed: e.lost.failed}
			if e.lost.kind == interactionCommand {
				shown.Used = &shownUse{Who: u.name, Command: e.lost.command.path(e.lost.options), Letter: letter(u.name), Hue: hue(u.id)}
			}
			out = append(out, fragment{"m" + e.id, page.html("message", shown)})
			above = nil
			continue
		}
		shown := s.draw(e.m, u)
		if fresh {
			shown.Day = date
		}
		shown.Compact = !fresh && above != nil && above.author == e.m.author && e.m.at.Sub(above.at) < groupFor &&
			e.m.refersTo == "" && shown.Used == nil && above.to == nil && e.m.to == nil
		out = append(out, fragment{"m" + e.id, page.html("message", shown)})
		above = e.m
	}
	return out
}
