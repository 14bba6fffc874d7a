package github

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// maxAnswer is the most that is read of an answer, in bytes.
	maxAnswer = 16 << 20
	// maxRefusal is the most that is read of an answer that may ask for a pause.
	maxRefusal = 64 << 10
	// maxPause is the longest that GitHub is left alone on its own word: its
	// limits are those of an hour.
	maxPause = time.Hour
)

// transport is what every call of the API passes last. Credentials go to the
// API's address only, wherever an answer leads; no answer is endless; and how
// long GitHub wants to be left alone always stands in Retry-After.
type transport struct {
	base *url.URL // ends in "/"
	next http.RoundTripper
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("Authorization") != "" && !t.serves(req.URL) {
		req = req.Clone(req.Context())
		req.Header.Del("Authorization")
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &content{body: resp.Body, left: maxAnswer}
	capReset(resp.Header)
	if mayPause(resp.StatusCode) {
		sayPause(resp)
	}
	return resp, nil
}

// serves tells whether an address is the API's.
func (t *transport) serves(u *url.URL) bool {
	return u.Scheme == t.base.Scheme && u.Host == t.base.Host && strings.HasPrefix(u.Path, t.base.Path)
}

// content is the body of a response that is neither endless nor empty. Without
// the latter, nothing at all would count as an answer with nothing in it.
type content struct {
	body io.ReadCloser
	left int // bytes that may still come
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	if c.left -= n; c.left < 0 {
		return 0, fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	if err == io.EOF && c.left == maxAnswer {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *content) Close() error { return c.body.Close() }

// capReset keeps go-github, which asks nothing until then once no calls are
// left, from waiting for ages where the clocks disagree.
func capReset(h http.Header) {
	reset, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
	if last := time.Now().Add(maxPause).Unix(); err == nil && reset > last {
		h.Set("X-RateLimit-Reset", strconv.FormatInt(last, 10))
	}
}

// mayPause tells whether GitHub may ask for a pause with a status.
func mayPause(status int) bool {
	return status == http.StatusForbidden || status == http.StatusTooManyRequests
}

// sayPause writes into Retry-After for how many seconds GitHub wants a pause,
// if it does: it has several ways to say so.
// Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
func sayPause(resp *http.Response) {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what there is will do
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	text := strings.ToLower(string(body))
	var pause time.Duration
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		pause = time.Duration(min(seconds, int(maxPause.Seconds()))) * time.Second
	} else if reset, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil && resp.Header.Get("X-RateLimit-Remaining") == "0" {
		pause = time.Until(time.Unix(reset, 0))
	} else if resp.StatusCode == http.StatusTooManyRequests || strings.Contains(text, "secondary rate limit") || strings.Contains(text, "secondary-rate-limits") {
		pause = time.Minute
	} else {
		return // it is forbidden, not too much
	}
	resp.Header.Set("Retry-After", strconv.Itoa(int(min(max(pause, time.Second), maxPause).Seconds())))
}
