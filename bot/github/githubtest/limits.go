package githubtest

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// SecondaryLimits are the budgets that GitHub enforces beside the hourly one,
// for each token. A field that is 0 has GitHub's own value; a negative one is
// not enforced. Source: docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
type SecondaryLimits struct {
	// Concurrent is how many requests may be under way at once: 100. Requests
	// count here while [Server.Delay] holds them back.
	Concurrent int
	// PointsPerMinute: 900, of which reading costs 1 and writing 5.
	PointsPerMinute int
	// ContentPerMinute and ContentPerHour are of requests that write: 80, 500.
	ContentPerMinute int
	ContentPerHour   int
	// RetryAfter is what a refused client is told, in whole seconds: 60.
	RetryAfter time.Duration
	// Status of a refusal: 403, or 429, which GitHub uses as well.
	Status int
}

func (l SecondaryLimits) withDefaults() SecondaryLimits {
	set := func(value *int, otherwise int) {
		if *value == 0 {
			*value = otherwise
		}
	}
	set(&l.Concurrent, 100)
	set(&l.PointsPerMinute, 900)
	set(&l.ContentPerMinute, 80)
	set(&l.ContentPerHour, 500)
	set(&l.Status, http.StatusForbidden)
	if l.RetryAfter == 0 {
		l.RetryAfter = time.Minute
	}
	return l
}

// anonymousLimit is the hourly limit of requests without a token.
const anonymousLimit = 60

// budget is what one caller has used.
type budget struct {
	limit  int
	used   int
	reset  time.Time
	points []spent
	writes []time.Time
}

type spent struct {
	at     time.Time
	points int
}

// budgetOf is the caller's budget for the hour that is running.
func (s *Server) budgetOf(who *caller) *budget {
	b := s.budgets[who.key]
	if b == nil {
		b = &budget{limit: s.opts.RateLimit}
		if who.anonymous() {
			b.limit = min(anonymousLimit, s.opts.RateLimit)
		}
		s.budgets[who.key] = b
	}
	if now := s.opts.Now(); !now.Before(b.reset) {
		b.used, b.reset = 0, now.Add(time.Hour).Truncate(time.Second)
	}
	return b
}

func (b *budget) remaining() int { return max(0, b.limit-b.used) }

// spend takes a request off the caller's budgets, or refuses it.
func (s *Server) spend(rt *route, c *call) *reply {
	if rt.template == "/rate_limit" {
		return nil
	}
	b := s.budgetOf(c.who)
	if b.remaining() == 0 {
		who := "user ID " + c.who.name()
		if c.who.anonymous() {
			who = "127.0.0.1"
		}
		return problem(http.StatusForbidden, fmt.Sprintf("API rate limit exceeded for %s.", who), obj{
			"documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api",
		})
	}
	b.used++
	return s.spendSecondary(b, c)
}

func (s *Server) spendSecondary(b *budget, c *call) *reply {
	limits := s.opts.Secondary
	if limits == nil {
		return nil
	}
	now := s.opts.Now()
	writing := c.r.Method != http.MethodGet && c.r.Method != http.MethodHead
	cost := 1
	if writing {
		cost = 5
	}
	points, minute, hour := cost, 0, 0
	b.points, points = recentPoints(b.points, now.Add(-time.Minute), points)
	for _, at := range b.writes {
		if at.After(now.Add(-time.Minute)) {
			minute++
		}
		if at.After(now.Add(-time.Hour)) {
			hour++
		}
	}
	over := func(limit, used int) bool { return limit > 0 && used > limit }
	if over(limits.PointsPerMinute, points) || over(limits.Concurrent, s.inFlight[c.r.Header.Get("Authorization")]) ||
		(writing && (over(limits.ContentPerMinute, minute+1) || over(limits.ContentPerHour, hour+1))) {
		return s.refuseSecondary(limits)
	}
	b.points = append(b.points, spent{now, cost})
	if writing {
		b.writes = append(b.writes, now)
	}
	return nil
}

// recentPoints drops what is older than since and adds up the rest.
func recentPoints(all []spent, since time.Time, sum int) ([]spent, int) {
	var kept []spent
	for _, p := range all {
		if p.at.After(since) {
			kept = append(kept, p)
			sum += p.points
		}
	}
	return kept, sum
}

func (s *Server) refuseSecondary(limits *SecondaryLimits) *reply {
	out := problem(limits.Status, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.", obj{
		"documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits",
	})
	out.header = http.Header{"Retry-After": {strconv.Itoa(int(limits.RetryAfter.Seconds()))}}
	return out
}

// refund gives a request back: an answer that has not changed costs nothing.
func (s *Server) refund(c *call) {
	if b := s.budgetOf(c.who); b.used > 0 {
		b.used--
	}
}

func (s *Server) rateHeaders(h http.Header, c *call) {
	b := s.budgetOf(c.who)
	h.Set("X-RateLimit-Limit", strconv.Itoa(b.limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(b.remaining()))
	h.Set("X-RateLimit-Used", strconv.Itoa(b.used))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(b.reset.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
	if who := c.who; who.user != nil && who.permissions == nil {
		h.Set("X-OAuth-Scopes", joinScopes(who.scopes))
		h.Set("X-Accepted-OAuth-Scopes", "repo")
	}
	if !c.who.expires.IsZero() && c.who.installation == nil {
		h.Set("GitHub-Authentication-Token-Expiration", c.who.expires.UTC().Format("2006-01-02 15:04:05 MST"))
	}
}

func joinScopes(scopes []string) string {
	text := ""
	for i, scope := range scopes {
		if i > 0 {
			text += ", "
		}
		text += scope
	}
	return text
}

func (s *Server) getRateLimit(c *call) *reply {
	b := s.budgetOf(c.who)
	core := obj{"limit": b.limit, "used": b.used, "remaining": b.remaining(), "reset": b.reset.Unix()}
	full := func(limit int) obj {
		return obj{"limit": limit, "used": 0, "remaining": limit, "reset": b.reset.Unix()}
	}
	return answer(http.StatusOK, obj{
		"resources": obj{"core": core, "search": full(30), "graphql": full(5000)}, "rate": core,
	})
}
