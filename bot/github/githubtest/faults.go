package githubtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// fault is a disturbance of some requests.
type fault struct {
	method string
	path   *regexp.Regexp
	times  int // that are left; negative is for ever
	status int
	header http.Header
	cut    bool
	empty  bool // an empty list is the answer
	delay  time.Duration
}

// Fail answers the next times requests that match with the status instead of
// doing what they ask; negative times is for ever. An empty method is every
// method. In the pattern, * stands for one segment of the path and ** for any
// number: "/repos/*/*/issues/**". Status 0 cuts the connection;
// mind that Go's HTTP client tries a GET again by itself when that happens to a
// connection that it had used before.
func (s *Server) Fail(method, pattern string, status, times int) {
	s.addFault(&fault{method: method, path: glob(pattern), times: times, status: status, cut: status == 0})
}

// FailWith is Fail with headers, such as Retry-After.
func (s *Server) FailWith(method, pattern string, status, times int, header http.Header) {
	s.addFault(&fault{method: method, path: glob(pattern), times: times, status: status, header: header})
}

// Delay holds the next times requests that match for d before they are
// answered as usual; negative times is for ever.
func (s *Server) Delay(method, pattern string, d time.Duration, times int) {
	s.addFault(&fault{method: method, path: glob(pattern), times: times, delay: d})
}

// Outage is a way in which all of GitHub is not itself.
type Outage int

// The ways. Deliveries go on in each.
const (
	// OutageErrors answers every call of the API with 500.
	OutageErrors Outage = iota + 1
	// OutageEmpty answers lists with none, as a GitHub that has lost sight of its
	// data might, other reads with 404, and writes with 500.
	OutageEmpty
)

// Break begins an outage, in place of one that there is, until Heal.
func (s *Server) Break(o Outage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = o
	s.touch()
}

// lists are the last segments of the paths of operations that answer with a list.
var lists = []string{
	"pulls", "comments", "reactions", "deployments", "statuses", "hooks", "deliveries", "commits", "files", "branches-where-head", "installations",
}

// out is how an outage answers r; nil when there is none.
func (s *Server) out(r *http.Request) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/api/v3")
	rt, _ := findRoute(r.Method, path)
	switch {
	case s.outage == 0 || rt == nil:
		return nil
	case s.outage == OutageErrors || r.Method != http.MethodGet:
		return &fault{status: http.StatusInternalServerError}
	case slices.Contains(lists, rt.template[strings.LastIndex(rt.template, "/")+1:]):
		return &fault{status: http.StatusOK, empty: true}
	default:
		return &fault{status: http.StatusNotFound}
	}
}

// Heal ends all that Fail, FailWith, Delay and Break began.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.outage = nil, 0
	s.touch()
}

func (s *Server) addFault(f *fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
}

func glob(pattern string) *regexp.Regexp {
	expr := regexp.QuoteMeta(pattern)
	expr = strings.ReplaceAll(expr, `\*\*`, ".*")
	expr = strings.ReplaceAll(expr, `\*`, "[^/]*")
	return regexp.MustCompile("^(/api/v3)?" + expr + "$")
}

// take finds the disturbances of r and counts them down.
func (s *Server) take(r *http.Request) (delay time.Duration, failure *fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.times == 0 || (f.method != "" && f.method != r.Method) || !f.path.MatchString(r.URL.Path) {
			continue
		}
		if f.delay == 0 && failure != nil {
			continue
		}
		if f.times > 0 {
			f.times--
			s.touch()
		}
		if f.delay > 0 {
			delay += f.delay
			continue
		}
		failure = f
	}
	return delay, failure
}

// inject delays or fails r; it reports whether that was the answer. Requests
// count as being under way here, so that a test can fill up the limit on
// concurrent ones.
func (s *Server) inject(w http.ResponseWriter, r *http.Request) bool {
	delay, failure := s.take(r)
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return true
		case <-s.closing:
		}
	}
	if failure == nil {
		failure = s.out(r)
	}
	if failure == nil {
		return false
	}
	if failure.cut {
		if hijacker, ok := w.(http.Hijacker); ok {
			if conn, _, err := hijacker.Hijack(); err == nil {
				_ = conn.Close() // Cutting it is the point.
				return true
			}
		}
		failure.status = http.StatusBadGateway
	}
	for key, values := range failure.header {
		w.Header()[http.CanonicalHeaderKey(key)] = values
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(failure.status)
	text := http.StatusText(failure.status)
	if failure.status >= 500 {
		text = "Server Error"
	}
	var body any = obj{"message": text, "status": fmt.Sprint(failure.status)}
	if failure.empty {
		body = []any{}
	}
	_ = json.NewEncoder(w).Encode(body) // The client is gone.
	s.mu.Lock()
	defer s.mu.Unlock()
	who := &caller{key: "anonymous"}
	if known, refusal := s.authenticate(r); refusal == nil {
		who = known
	}
	s.record(nil, &call{r: r, who: who}, failure.status)
	return true
}
