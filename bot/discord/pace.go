package discord

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// perSecond is how many calls a bot may make in a second, some fewer than
	// Discord's 50: several replicas share them, and the engine's budget keeps them
	// further apart yet.
	// Source: https://docs.discord.com/developers/topics/rate-limits#global-rate-limit
	perSecond = 45
	// maxInvalid is how many calls may be refused with 401, 403 or 429 in
	// invalidWindow, after which none are made until it is over. Discord shuts out an
	// address at 10,000, which replicas may share.
	// Source: https://docs.discord.com/developers/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans
	maxInvalid    = 1000
	invalidWindow = 10 * time.Minute
	// maxBuckets is how many buckets are remembered; each interaction has its own.
	maxBuckets = 10_000
)

// route is what Discord counts calls by until it has named a bucket.
// Source: https://docs.discord.com/developers/topics/rate-limits#rate-limits
type route struct {
	name    string // "PATCH channels/1/messages/*": without what does not count
	major   string // "channels/1"
	byToken bool   // it is done with an interaction's token, which no bot's limit counts
}

// String names the route for logs. It holds no token.
func (r route) String() string {
	if r.byToken {
		method, _, _ := strings.Cut(r.name, " ")
		return method + " of an interaction"
	}
	return r.name
}

// routeOf finds the route of a call.
func routeOf(method, path string) route {
	path, _, _ = strings.Cut(path, "?")
	words := strings.Split(path, "/")
	r := route{}
	kept := 1 // of words, how many at the start decide
	switch {
	case len(words) > 2 && (words[0] == "webhooks" || words[0] == "interactions"):
		kept, r.byToken = 3, true
	case len(words) > 1 && (words[0] == "channels" || words[0] == "guilds"):
		kept = 2
	}
	r.major = strings.Join(words[:kept], "/")
	for i := kept; i < len(words); i++ {
		if strings.Trim(words[i], "0123456789") == "" {
			words[i] = "*"
		}
	}
	r.name = method + " " + strings.Join(words, "/")
	return r
}

// bucket is what Discord counts together.
type bucket struct {
	remaining int
	reset     time.Time
}

// pace knows which calls Discord would refuse for being too many.
type pace struct {
	now func() time.Time

	mu      sync.Mutex
	names   map[string]string  // route → the bucket's name with its major parameters
	buckets map[string]*bucket // by that, or by the route where no name is known
	blocked time.Time          // nothing before this
	second  time.Time          // the one that calls are counted of
	calls   int                // in it
	window  time.Time          // when the count of invalid calls began
	invalid int
}

func newPace(now func() time.Time) *pace {
	return &pace{now: now, names: map[string]string{}, buckets: map[string]*bucket{}}
}

// wait counts a call, or returns for how long none may be made.
func (p *pace) wait(r route) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.invalid >= maxInvalid {
		if left := p.window.Add(invalidWindow).Sub(now); left > 0 {
			return left
		}
		p.invalid = 0
	}
	b := p.buckets[p.key(r)]
	if b != nil && b.remaining <= 0 {
		if left := b.reset.Sub(now); left > 0 {
			return left
		}
	}
	if !r.byToken {
		if left := p.blocked.Sub(now); left > 0 {
			return left
		}
		if now.Sub(p.second) >= time.Second || now.Before(p.second) {
			p.second, p.calls = now, 0
		}
		if p.calls >= perSecond {
			return p.second.Add(time.Second).Sub(now)
		}
		p.calls++
	}
	if b != nil && now.Before(b.reset) {
		b.remaining-- // calls that are on their way count too
	}
	return 0
}

func (p *pace) key(r route) string {
	if name := p.names[r.name]; name != "" {
		return name
	}
	return r.name
}

// learn reads what an answer says of its bucket, and counts refusals.
// Source: https://docs.discord.com/developers/topics/rate-limits#header-format
func (p *pace) learn(r route, resp *http.Response) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	shared := resp.Header.Get("X-RateLimit-Scope") == "shared" // others' doing, which Discord does not count
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		if now.Sub(p.window) >= invalidWindow {
			p.window, p.invalid = now, 0
		}
		if !shared {
			p.invalid++
		}
	}
	left, err := strconv.Atoi(resp.Header.Get("X-RateLimit-Remaining"))
	if err != nil {
		return
	}
	after, err := strconv.ParseFloat(resp.Header.Get("X-RateLimit-Reset-After"), 64)
	if err != nil {
		return
	}
	p.forget(now)
	if name := resp.Header.Get("X-RateLimit-Bucket"); name != "" {
		p.names[r.name] = name + " " + r.major
	}
	b := p.buckets[p.key(r)]
	if b == nil {
		b = &bucket{}
		p.buckets[p.key(r)] = b
	}
	reset := now.Add(seconds(after))
	if b.remaining >= 0 && now.Before(b.reset) {
		left = min(left, b.remaining) // answers overtake each other
	}
	b.remaining, b.reset = left, reset
}

// limited keeps what a refusal for being too many says, and returns the pause.
func (p *pace) limited(r route, resp *http.Response, e *apiError) time.Duration {
	pause := seconds(e.RetryAfter)
	if after, err := strconv.ParseFloat(resp.Header.Get("Retry-After"), 64); err == nil && !math.IsNaN(after) {
		pause = max(pause, seconds(after))
	}
	if pause <= 0 {
		pause = time.Second
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	until := p.now().Add(pause)
	if e.Global || resp.Header.Get("X-RateLimit-Global") == "true" {
		if until.After(p.blocked) {
			p.blocked = until
		}
		return pause
	}
	key := p.key(r)
	if b := p.buckets[key]; b == nil || b.remaining > 0 || until.After(b.reset) {
		p.buckets[key] = &bucket{reset: until}
	}
	return pause
}

// forget drops buckets that are full again once there are many.
func (p *pace) forget(now time.Time) {
	if len(p.buckets) < maxBuckets && len(p.names) < maxBuckets {
		return
	}
	for key, b := range p.buckets {
		if !now.Before(b.reset) {
			delete(p.buckets, key)
		}
	}
	for name, key := range p.names {
		if p.buckets[key] == nil {
			delete(p.names, name)
		}
	}
}
