package slacktest

import (
	"fmt"
	"net/http"
	"path"
	"strconv"
	"time"
)

// Fault is how a method goes wrong.
type Fault struct {
	// Status other than 0 and 200 is answered without JSON, as by what stands in
	// front of Slack; 429 is Slack's own.
	Status int
	// RetryAfter is sent with a 429, in whole seconds; 0 is 1 s.
	RetryAfter time.Duration
	// Error is answered with status 200: "internal_error".
	Error string
	// Cut closes the connection without an answer.
	Cut bool
	// Delay is waited before anything else. Alone, the method does what it does.
	Delay time.Duration
	// Done has the method done before it goes wrong: its answer is lost.
	Done bool
}

type fault struct {
	Fault
	method string
	times  int
}

// Fail has the next times calls of a method go wrong; -1 is all until Heal. The
// method may be a pattern as of path.Match: "chat.*". "response_url" is one too.
func (s *Server) Fail(method string, times int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{f, method, times})
}

// Slow has all calls of a method take that much longer, until Heal.
func (s *Server) Slow(method string, d time.Duration) { s.Fail(method, -1, Fault{Delay: d}) }

// Heal ends all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	s.touch()
}

// Gone deletes a message behind the app's back.
func (s *Server) Gone(channel, ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[channel]; c != nil {
		c.remove(ts)
		s.touch()
	}
}

// next is the fault that a call of the method has, and uses it up.
func (s *Server) next(method string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if ok, err := path.Match(f.method, method); err != nil || !ok || f.times == 0 {
			continue
		}
		if f.times > 0 {
			f.times--
		}
		s.touch()
		return &f.Fault
	}
	return nil
}

// spoil answers a call as a fault has it; it reports whether it did.
func (s *Server) spoil(w http.ResponseWriter, r *http.Request, f *Fault) bool {
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
			return true
		case <-s.closing:
			return true
		}
	}
	if f.Cut {
		if hijacker, ok := w.(http.Hijacker); ok {
			if conn, _, err := hijacker.Hijack(); err == nil {
				_ = conn.Close() // It is to be cut.
				return true
			}
		}
	}
	status, wrong := f.Status, f.Error
	switch {
	case status == http.StatusTooManyRequests:
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(f.RetryAfter.Seconds()))))
		wrong = "ratelimited"
	case wrong == "" && (status == 0 || status == http.StatusOK):
		return false
	case wrong == "":
		http.Error(w, http.StatusText(status), status)
		return true
	}
	if status == 0 {
		status = http.StatusOK
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"ok":false,"error":%q}`, wrong)
	return true
}
