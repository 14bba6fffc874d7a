package discordtest

import (
	"fmt"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// nonceFor is how long a nonce is remembered: "the past few minutes".
// Source: https://docs.discord.com/developers/resources/message#create-message
const nonceFor = 5 * time.Minute

// channelOf finds the route's channel, where the bot sees it.
func (s *Server) channelOf(c *call) (*channel, *refusal) {
	ch := s.channels[c.params["channel"]]
	if ch == nil {
		return nil, unknownChannel
	}
	if ch.guild != nil && ch.may()&ViewChannel == 0 {
		return nil, missingAccess
	}
	return ch, nil
}

// messageOf finds the route's message. Ephemeral ones are reached by their
// interaction alone.
func (s *Server) messageOf(c *call) (*message, *refusal) {
	ch, no := s.channelOf(c)
	if no != nil {
		return nil, no
	}
	m := s.messages[c.params["message"]]
	if m == nil || m.channel != ch || m.to != nil {
		return nil, unknownMessage
	}
	return m, nil
}

func (s *Server) getChannel(c *call) (any, *refusal) {
	ch, no := s.channelOf(c)
	if no != nil {
		return nil, no
	}
	return wireChannel(ch), nil
}

func (s *Server) getMessage(c *call) (any, *refusal) {
	m, no := s.messageOf(c)
	if no != nil {
		return nil, no
	}
	if m.channel.guild != nil && m.channel.may()&ReadMessageHistory == 0 {
		return nil, missingAccess
	}
	return s.wireMessage(m), nil
}

// getMessages lists messages, newest first, whichever way was asked for.
func (s *Server) getMessages(c *call) (any, *refusal) {
	ch, no := s.channelOf(c)
	if no != nil {
		return nil, no
	}
	limit, no := c.number("limit", 50, 1, 100)
	if no != nil {
		return nil, no
	}
	out := []any{}
	if ch.guild != nil && ch.may()&ReadMessageHistory == 0 {
		return out, nil
	}
	after, before, around := c.query.Get("after"), c.query.Get("before"), c.query.Get("around")
	if around != "" {
		s.strange("%s: the stand-in does not know \"around\"", c.route.name)
	}
	var found []*message
	for _, m := range ch.messages {
		if m.to == nil && (after == "" || older(after, m.id)) && (before == "" || older(m.id, before)) {
			found = append(found, m)
		}
	}
	if len(found) > limit {
		if after != "" {
			found = found[:limit]
		} else {
			found = found[len(found)-limit:]
		}
	}
	for _, m := range slices.Backward(found) {
		out = append(out, s.wireMessage(m))
	}
	return out, nil
}

func (s *Server) createMessage(c *call) (any, *refusal) {
	ch, no := s.channelOf(c)
	if no != nil {
		return nil, no
	}
	if no := s.mayWrite(ch, c); no != nil {
		return nil, no
	}
	if nonce := c.body["nonce"]; nonce != nil && c.body["enforce_nonce"] == true {
		for _, m := range slices.Backward(ch.messages) {
			if m.author == s.app && fmt.Sprint(m.nonce) == fmt.Sprint(nonce) && s.opts.Now().Sub(m.at) < nonceFor {
				out := s.wireMessage(m)
				out["nonce"] = m.nonce
				return out, nil
			}
		}
	}
	var bs breaches
	limitMessage(c.body, onCreate, &bs)
	if no := s.judge(c.route.name, bs); no != nil {
		return nil, no
	}
	m := &message{channel: ch, author: s.app, nonce: c.body["nonce"], flags: s.flagsOf(c, flagSuppressEmbeds|flagSilent)}
	if no := s.refer(m, c.body); no != nil {
		return nil, no
	}
	if no := s.fill(m, c, c.body); no != nil {
		return nil, no
	}
	s.post(m)
	s.call(m, c.body, ch.may()&MentionEveryone != 0)
	s.dispatchMessage(m)
	out := s.wireMessage(m)
	if m.nonce != nil {
		out["nonce"] = m.nonce
	}
	return out, nil
}

// mayWrite tells whether the bot may post what it wants to.
func (s *Server) mayWrite(ch *channel, c *call) *refusal {
	if ch.guild == nil {
		if ch.with.noDMs || !s.shared(ch.with) {
			return noDirectMessages
		}
		return nil
	}
	need := int64(SendMessages)
	if ch.kind == channelThread {
		need = SendMessagesInThreads
	}
	if embeds, _ := c.body["embeds"].([]any); len(embeds) > 0 {
		need |= EmbedLinks
	}
	if len(c.files) > 0 {
		need |= AttachFiles
	}
	if ch.may()&need != need {
		return missingPermissions
	}
	return nil
}

// shared tells whether somebody is in a guild with the bot.
func (s *Server) shared(u *user) bool {
	for _, g := range s.guilds {
		if !g.noBot && g.members[u.id] != nil {
			return true
		}
	}
	return false
}

// flagsOf reads the flags that may be set.
func (s *Server) flagsOf(c *call, allowed int) int {
	n, _ := c.body["flags"].(float64)
	flags := int(n)
	if flags&flagComponentsV2 != 0 {
		s.strange("%s: the stand-in does not draw the components of IS_COMPONENTS_V2", c.route.name)
	}
	if other := flags &^ allowed; other != 0 {
		s.strange("%s: the flags %d cannot be set here", c.route.name, other)
	}
	return flags & allowed
}

// refer makes a message a reply.
func (s *Server) refer(m *message, from obj) *refusal {
	ref, ok := from["message_reference"].(map[string]any)
	if !ok {
		return nil
	}
	m.refersTo, _ = ref["message_id"].(string)
	m.reference = s.messages[m.refersTo]
	if m.reference != nil && (m.reference.channel != m.channel || m.reference.to != nil) {
		m.reference = nil
	}
	if m.reference == nil {
		if ref["fail_if_not_exists"] != false {
			return unknownReference
		}
		m.refersTo = ""
	}
	return nil
}

// fill takes a body's content into a message that is new.
func (s *Server) fill(m *message, c *call, from obj) *refusal {
	b := body{}
	b.Content, _ = from["content"].(string)
	b.Content = strings.TrimSpace(b.Content)
	b.Embeds = into[[]Embed](from["embeds"])
	b.Components = numbered(into[[]Component](from["components"]))
	files, no := s.attach(m, c, from, nil)
	if no != nil {
		return no
	}
	b.Attachments = files
	if b.Content == "" && len(b.Embeds) == 0 && len(b.Components) == 0 && len(b.Attachments) == 0 {
		return emptyMessage
	}
	m.body = b
	return nil
}

// edit takes what a body has into a message that stands: what it does not name
// stays.
func (s *Server) edit(m *message, c *call, from obj) *refusal {
	b := m.body
	if v, ok := from["content"]; ok {
		b.Content, _ = v.(string)
		b.Content = strings.TrimSpace(b.Content)
	}
	if v, ok := from["embeds"]; ok {
		b.Embeds = into[[]Embed](v)
	}
	if v, ok := from["components"]; ok {
		b.Components = numbered(into[[]Component](v))
	}
	files, no := s.attach(m, c, from, b.Attachments)
	if no != nil {
		return no
	}
	b.Attachments = files
	if b.Content == "" && len(b.Embeds) == 0 && len(b.Components) == 0 && len(b.Attachments) == 0 {
		return emptyMessage
	}
	m.body, m.edited = b, s.opts.Now()
	m.edits++
	m.flags &^= flagLoading
	s.touch()
	return nil
}

// numbered gives components their ids, as Discord does for those without.
func numbered(list []Component) []Component {
	next := 0
	var walk func([]Component)
	walk = func(list []Component) {
		for i := range list {
			next++
			if list[i].ID == 0 {
				list[i].ID = next
			}
			walk(list[i].Components)
		}
	}
	walk(list)
	return list
}

var fileField = regexp.MustCompile(`^files\[(\d+)\]$`)

// attach makes the files of a message: those that stay, as "attachments" says,
// and those that were uploaded.
// Source: https://docs.discord.com/developers/reference#uploading-files
func (s *Server) attach(m *message, c *call, from obj, old []Attachment) ([]Attachment, *refusal) {
	var bs breaches
	named, listed := from["attachments"].([]any)
	var kept []Attachment
	if !listed {
		kept = slices.Clone(old)
	}
	about := map[string]map[string]any{}
	for i, v := range named {
		entry, _ := v.(map[string]any)
		id := fmt.Sprint(entry["id"])
		if at := slices.IndexFunc(old, func(a Attachment) bool { return a.ID == id }); at >= 0 {
			kept = append(kept, old[at])
			continue
		}
		about[id] = entry
		if !slices.ContainsFunc(c.files, func(u upload) bool { return u.field == "files["+id+"]" }) {
			bs.add([]string{"attachments", fmt.Sprint(i), "id"}, "ATTACHMENT_NOT_FOUND", "There is no files[%s] in this request", id)
		}
	}
	for _, u := range c.files {
		match := fileField.FindStringSubmatch(u.field)
		if match == nil {
			bs.odd([]string{u.field}, "a file's field is called files[n]")
			continue
		}
		name := u.name
		entry := about[match[1]]
		if text, _ := entry["filename"].(string); text != "" {
			name = text
		}
		if name == "" {
			bs.add([]string{u.field}, "BASE_TYPE_REQUIRED", "The file has no name")
			continue
		}
		if len(u.content) > maxFile {
			return nil, entityTooLarge
		}
		description, _ := entry["description"].(string)
		kept = append(kept, s.keepFile(m, name, description, u))
	}
	if len(kept) > maxFiles {
		bs.add([]string{"attachments"}, "BASE_TYPE_MAX_LENGTH", "Must be %d or fewer in length.", maxFiles)
	}
	return kept, s.judge(c.route.name, bs)
}

var odd = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

func (s *Server) keepFile(m *message, name, description string, u upload) Attachment {
	id := s.newID()
	name = odd.ReplaceAllString(path.Base(name), "_")
	where := path.Join("/attachments", m.channel.id, id, name)
	kind := u.contentType
	if kind == "" || kind == "application/octet-stream" {
		kind = http.DetectContentType(u.content)
	}
	s.files[where] = file{name: name, contentType: kind, content: u.content}
	return Attachment{
		ID: id, Filename: name, Description: description, ContentType: kind, Size: len(u.content), URL: s.url + where, ProxyURL: s.url + where,
		Ephemeral: m.to != nil || m.flags&flagEphemeral != 0, content: u.content,
	}
}

// serveFile hands an attachment out.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	f, ok := s.files[r.URL.Path]
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", f.contentType)
	w.Header().Set("Content-Disposition", "attachment; filename="+f.name)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	_, _ = w.Write(f.content) //nolint:gosec // It is a download, of a type of its own, that nothing runs.
}

// post puts a message into its channel.
func (s *Server) post(m *message) {
	m.at = s.opts.Now()
	if m.id == "" {
		m.id = s.newID()
	}
	m.channel.messages = append(m.channel.messages, m)
	if m.to == nil {
		m.channel.last = m.id
	}
	s.messages[m.id] = m
	s.touch()
}

func (s *Server) editMessage(c *call) (any, *refusal) {
	m, no := s.messageOf(c)
	if no != nil {
		return nil, no
	}
	if m.author != s.app {
		return nil, wrongAuthor
	}
	if m.channel.guild == nil && (m.channel.with.noDMs || !s.shared(m.channel.with)) {
		return nil, noDirectMessages
	}
	var bs breaches
	limitMessage(c.body, onEdit, &bs)
	if no := s.judge(c.route.name, bs); no != nil {
		return nil, no
	}
	s.flagsOf(c, flagSuppressEmbeds)
	if no := s.edit(m, c, c.body); no != nil {
		return nil, no
	}
	s.mention(m, c.body)
	s.dispatchEdited(m)
	return s.wireMessage(m), nil
}

func (s *Server) deleteMessage(c *call) (any, *refusal) {
	m, no := s.messageOf(c)
	if no != nil {
		return nil, no
	}
	if m.author != s.app && (m.channel.guild == nil || m.channel.may()&ManageMessages == 0) {
		return nil, missingPermissions
	}
	s.remove(m)
	return nil, nil
}

// startThread hangs a thread on a message. Its id is the message's.
// Source: https://docs.discord.com/developers/resources/channel#start-thread-from-message
func (s *Server) startThread(c *call) (any, *refusal) {
	m, no := s.messageOf(c)
	if no != nil {
		return nil, no
	}
	if no := s.mayThread(c, m.channel); no != nil {
		return nil, no
	}
	if m.thread != nil {
		return nil, threadExists
	}
	name, _ := c.body["name"].(string)
	m.thread = s.newThread(m.channel, m.id, name)
	m.flags |= flagHasThread
	s.dispatch(m.channel.guild, "THREAD_CREATE", withNew(wireChannel(m.thread)), 0)
	s.touch()
	c.status = http.StatusCreated
	return wireChannel(m.thread), nil
}

// createThread starts a thread on nothing.
func (s *Server) createThread(c *call) (any, *refusal) {
	ch, no := s.channelOf(c)
	if no != nil {
		return nil, no
	}
	if no := s.mayThread(c, ch); no != nil {
		return nil, no
	}
	name, _ := c.body["name"].(string)
	t := s.newThread(ch, s.newID(), name)
	s.dispatch(ch.guild, "THREAD_CREATE", withNew(wireChannel(t)), 0)
	s.touch()
	return wireChannel(t), nil
}

func withNew(thread obj) obj {
	thread["newly_created"] = true
	return thread
}

func (s *Server) mayThread(c *call, ch *channel) *refusal {
	if ch.kind != channelText {
		return wrongChannelType
	}
	if ch.may()&CreatePublicThreads == 0 {
		return missingPermissions
	}
	var bs breaches
	limitThread(c.body, &bs)
	return s.judge(c.route.name, bs)
}

func (s *Server) newThread(parent *channel, id, name string) *channel {
	t := &channel{id: id, name: name, kind: channelThread, guild: parent.guild, parent: parent, owner: s.app.id, made: s.opts.Now()}
	s.channels[id] = t
	return t
}
