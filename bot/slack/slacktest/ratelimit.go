package slacktest

import (
	"net/http"
	"strconv"
	"time"
)

// tier is how often a method may be called in a minute, by one app in one
// workspace. https://docs.slack.dev/apis/web-api/rate-limits
type tier int

const (
	tier1   tier = 1
	tier2   tier = 20
	tier3   tier = 50
	tier4   tier = 100
	special tier = 600 // "hundreds of requests per minute"
)

// bucket is what is left of a limit.
type bucket struct {
	left float64
	at   time.Time
}

// take takes one out of a bucket of a size that fills at a rate a second. When
// it is empty the answer is how long that will be so.
func (s *Server) take(key string, size, rate float64) time.Duration {
	now := s.opts.Now()
	b := s.buckets[key]
	if b == nil {
		b = &bucket{left: size, at: now}
		s.buckets[key] = b
	}
	b.left = min(size, b.left+now.Sub(b.at).Seconds()*rate)
	b.at = now
	if b.left >= 1 {
		b.left--
		return 0
	}
	return time.Duration((1 - b.left) / rate * float64(time.Second))
}

// spend takes a call off its method's limit, or refuses it. s.mu is held.
func (s *Server) spend(c *call, m method) *fail {
	if !s.opts.RateLimits {
		return nil
	}
	key := c.method
	if c.team != nil {
		key = c.team.ID + " " + key
	}
	return limited(s.take(key, float64(m.tier), float64(m.tier)/60))
}

// spendChannel allows one message a second in a channel, and two at once: "short
// bursts" are allowed, but not said how long. s.mu is held.
func (s *Server) spendChannel(channel *channel) *fail {
	if !s.opts.RateLimits {
		return nil
	}
	return limited(s.take("channel "+channel.ID, 2, 1))
}

// limited refuses a call for that long.
func limited(wait time.Duration) *fail {
	if wait <= 0 {
		return nil
	}
	seconds := int((wait + time.Second - 1) / time.Second)
	return &fail{error: "ratelimited", status: http.StatusTooManyRequests, header: http.Header{"Retry-After": {strconv.Itoa(seconds)}}}
}
