package discordtest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Failure is how a request fails that [Server.Fail] is for.
type Failure struct {
	Status int // 0 is 500
	// Code and Message are Discord's; empty ones go with the status.
	Code    int
	Message string
	// RetryAfter goes with Status 429. Global has it be for the whole bot.
	RetryAfter time.Duration
	Global     bool
}

type fault struct {
	route string
	left  int
	fail  *Failure
	slow  time.Duration
	lose  bool
}

// Fail has the next times requests of a route fail, without being done. A route
// is one of [Routes], or the beginning of some: "PATCH /webhooks", or "" for all.
func (s *Server) Fail(route string, times int, how Failure) {
	if how.Status == 0 {
		how.Status = http.StatusInternalServerError
	}
	s.addFault(&fault{route: route, left: times, fail: &how})
}

// Slow has the next times requests of a route be answered late.
func (s *Server) Slow(route string, times int, by time.Duration) {
	s.addFault(&fault{route: route, left: times, slow: by})
}

// Lose has the next times requests of a route be done, but the connection cut
// before the answer: the sender cannot tell whether they were.
func (s *Server) Lose(route string, times int) {
	s.addFault(&fault{route: route, left: times, lose: true})
}

// Heal ends all faults that were asked for.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Routes are those that the stand-in serves, as Fail takes them.
func Routes() []string {
	var names []string
	for _, rt := range routes {
		names = append(names, rt.name)
	}
	return names
}

func (s *Server) addFault(f *fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.ContainsFunc(routes, func(rt *route) bool { return strings.HasPrefix(rt.name, f.route) }) {
		s.strange("the test asks for a fault of %q, which is no route", f.route)
	}
	s.faults = append(s.faults, f)
}

// due takes the first fault that is for a route. The caller holds s.mu.
func (s *Server) due(rt *route) *fault {
	for i, f := range s.faults {
		if !strings.HasPrefix(rt.name, f.route) {
			continue
		}
		if f.left--; f.left <= 0 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		return f
	}
	return nil
}

func (s *Server) refusalOf(f *Failure, rt *route, params map[string]string) *refusal {
	no := &refusal{status: f.Status, code: f.Code, message: f.Message, retryAfter: f.RetryAfter, global: f.Global, scope: "user"}
	if no.message == "" {
		no.message = http.StatusText(f.Status)
	}
	if f.Status == http.StatusTooManyRequests {
		no.message = "You are being rate limited."
		b, _ := s.limits.bucketOf(rt, params)
		if f.Global {
			b, no.scope = &s.limits.global, "global"
		}
		b.tell(s.opts.Now(), f.RetryAfter)
	}
	return no
}

// DeleteMessage takes a message away, as a moderator does.
func (s *Server) DeleteMessage(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.messages[id]; m != nil {
		s.remove(m)
	}
}

// remove takes a message away. The caller holds s.mu.
func (s *Server) remove(m *message) {
	delete(s.messages, m.id)
	m.channel.messages = slices.DeleteFunc(m.channel.messages, func(o *message) bool { return o == m })
	if m.to == nil {
		s.dispatchDeleted(m)
	}
	s.touch()
}

// RemoveMember takes somebody out of a guild.
func (s *Server) RemoveMember(guildID, userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.guilds[guildID]; g != nil {
		delete(g.members, userID)
		s.touch()
	}
}

// ExpireTokens ends the tokens of all interactions so far, as 15 minutes do.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range s.order {
		in.expired = true
	}
	s.touch()
}
