package discordtest

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"strings"
	"time"
)

// perSecond is how many requests a bot may make in a second over all routes;
// those of interactions do not count.
// Source: https://docs.discord.com/developers/topics/rate-limits#global-rate-limit
const perSecond = 50

// invalidWindow is how long invalid requests are counted, and a ban lasts.
// Source: https://docs.discord.com/developers/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans
const invalidWindow = 10 * time.Minute

// grace is how long after a 429 was sent a request may still arrive that left
// before it was read.
const grace = 250 * time.Millisecond

// limiter counts requests.
type limiter struct {
	on       bool
	buckets  map[string]*bucket
	global   bucket
	invalid  []time.Time
	banned   time.Time
	lifetime int // invalid requests in all
}

// bucket is what a route and its channel, guild or webhook share.
type bucket struct {
	limit  int
	window time.Duration
	used   int
	until  time.Time // when the window ends
	told   time.Time // when a client was told to wait
	open   time.Time // until when it was told to
}

func newLimiter(on bool) limiter {
	return limiter{on: on, buckets: map[string]*bucket{}, global: bucket{limit: perSecond, window: time.Second}}
}

// EnforceRateLimits switches the limits of routes and the global one on or off.
// Their headers are sent either way.
func (s *Server) EnforceRateLimits(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits.on = on
}

// InvalidRequests is how many requests were answered 401, 403 or 429 so far:
// 10,000 of them in ten minutes get an address banned.
func (s *Server) InvalidRequests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limits.lifetime
}

// take counts one request in the bucket.
func (b *bucket) take(now time.Time) (left int, ok bool) {
	if !now.Before(b.until) {
		b.used, b.until = 0, now.Add(b.window)
	}
	if b.used >= b.limit {
		return 0, false
	}
	b.used++
	return b.limit - b.used, true
}

// hasty tells whether a client sends although it was told to wait, and had the
// time to read that.
func (b *bucket) hasty(now time.Time) bool {
	return now.Before(b.open) && now.After(b.told.Add(grace))
}

func (b *bucket) tell(now time.Time, wait time.Duration) {
	if !now.Before(b.open) {
		b.told = now
	}
	b.open = now.Add(wait)
}

// bucketOf finds a request's bucket. Discord documents no numbers, since they
// change; these are the ones that it sends at the time of writing.
func (l *limiter) bucketOf(rt *route, params map[string]string) (*bucket, string) {
	major := params["channel"] + params["guild"] + params["token"]
	key := rt.name + " " + major
	b := l.buckets[key]
	if b == nil {
		b = &bucket{limit: rt.limit, window: rt.window}
		l.buckets[key] = b
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(rt.name)) // It never fails.
	return b, fmt.Sprintf("%016x", h.Sum64())
}

// pace refuses what comes too fast and sets the headers. The caller holds s.mu.
func (s *Server) pace(w http.ResponseWriter, rt *route, params map[string]string) *refusal {
	now := s.opts.Now()
	if now.Before(s.limits.banned) {
		return &refusal{status: http.StatusTooManyRequests, banned: true, retryAfter: s.limits.banned.Sub(now)}
	}
	b, id := s.limits.bucketOf(rt, params)
	global := &s.limits.global
	interaction := strings.HasPrefix(rt.name, "POST /interactions") || params["token"] != ""
	if b.hasty(now) || !interaction && global.hasty(now) {
		s.strange("%s: sent again although a 429 said to wait", rt.name)
	}
	if s.limits.on && !interaction {
		if _, ok := global.take(now); !ok {
			wait := global.until.Sub(now)
			global.tell(now, wait)
			return &refusal{status: http.StatusTooManyRequests, message: "You are being rate limited.", retryAfter: wait, global: true, scope: "global"}
		}
	}
	left, ok := b.take(now)
	h := w.Header()
	h.Set("X-Ratelimit-Limit", fmt.Sprint(b.limit))
	h.Set("X-Ratelimit-Remaining", fmt.Sprint(left))
	h.Set("X-Ratelimit-Reset", fmt.Sprintf("%.3f", float64(b.until.UnixMilli())/1000))
	h.Set("X-Ratelimit-Reset-After", fmt.Sprintf("%.3f", b.until.Sub(now).Seconds()))
	h.Set("X-Ratelimit-Bucket", id)
	if ok || !s.limits.on {
		return nil
	}
	wait := b.until.Sub(now)
	b.tell(now, wait)
	return &refusal{status: http.StatusTooManyRequests, message: "You are being rate limited.", retryAfter: wait, scope: "user"}
}

// countInvalid keeps what Discord bans for. The caller holds s.mu.
func (s *Server) countInvalid(f *refusal) {
	if f.banned || f.status != 401 && f.status != 403 && (f.status != 429 || f.scope == "shared") {
		return
	}
	now := s.opts.Now()
	l := &s.limits
	l.lifetime++
	l.invalid = append(l.invalid, now)
	for len(l.invalid) > 0 && now.Sub(l.invalid[0]) > invalidWindow {
		l.invalid = l.invalid[1:]
	}
	if len(l.invalid) >= s.opts.InvalidLimit {
		l.banned, l.invalid = now.Add(invalidWindow), nil
		s.strange("%d invalid requests in ten minutes: the address is banned for as long", s.opts.InvalidLimit)
	}
}
