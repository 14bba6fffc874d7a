package discordtest

import (
	"fmt"
	"net/http"
	"path"
	"regexp"
	"slices"
)

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
	_, _ = w.Write(f.content)
}
