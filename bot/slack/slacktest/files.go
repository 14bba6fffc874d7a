package slacktest

import (
	"io"
	"net/http"
	"strings"
)

// file is one that the app sent.
type file struct {
	id, name, title, secret string
	size                    int
	team                    *workspace
	owner                   *user
	content                 []byte
	done                    bool
}

// serveFile takes what is sent to an upload_url, and shows it to people.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	words := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	id, secret := words[len(words)-2], words[len(words)-1]
	s.mu.Lock()
	f := s.files[id]
	s.mu.Unlock()
	if f == nil || f.secret != secret {
		http.NotFound(w, r)
		return
	}
	if words[0] == "files-pri" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(f.content) // The client is gone; there is nobody to tell.
		return
	}
	if r.Method != http.MethodPost {
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
		return
	}
	body, err := uploaded(w, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || len(body) != f.size {
		s.strange("upload", "the file has %d bytes, not %d as was said", len(body), f.size)
		http.Error(w, "bad upload", http.StatusBadRequest)
		return
	}
	f.content = body
	_, _ = io.WriteString(w, "OK - "+id) // As above.
}

// uploaded reads the bytes of an upload: a body of their own, or a form's one file.
func uploaded(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	r.Body = http.MaxBytesReader(w, r.Body, 8<<20)
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		return io.ReadAll(r.Body)
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, err
	}
	for {
		part, err := parts.NextPart()
		if err != nil {
			return nil, err
		}
		if part.FileName() != "" {
			return io.ReadAll(part)
		}
	}
}
