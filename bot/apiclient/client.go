// Package apiclient talks to Berth's API. Its errors are *actions.Error with
// the code that the server answered with, so that whoever calls it decides as
// if the server were at hand.
package apiclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot/api"
)

const (
	tries    = 4                      // of a call that may be repeated
	firstNap = 200 * time.Millisecond // before the second try; doubled for each further one
	longNap  = 5 * time.Second        // the longest pause that a Retry-After is followed for
	callTime = 30 * time.Second       // for one try of anything but a stream
	slowTime = 10 * time.Minute       // for one try of what reads a whole audit, or plans
	maxReply = 64 << 20               // bytes; a plan with its diffs can be large
)

// Options are what a Client needs.
type Options struct {
	Server  string // "https://berth.example.org"
	Token   string
	Version string       // of the program, for the User-Agent
	HTTP    *http.Client // nil means one of its own
}

// Client is a client of one server. It is safe for concurrent use.
type Client struct {
	base  *url.URL
	token string
	agent string
	http  *http.Client
}

// Unreachable is the cause of an error when no answer of Berth's came at all.
type Unreachable struct {
	Server string
	Err    error
}

func (u *Unreachable) Error() string { return u.Server + ": " + u.Err.Error() }
func (u *Unreachable) Unwrap() error { return u.Err }

// New makes a Client. It returns CodeInvalid for an address that is none.
func New(o Options) (*Client, error) {
	base, err := url.Parse(strings.TrimRight(strings.TrimSpace(o.Server), "/"))
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" || base.RawQuery != "" || base.Fragment != "" {
		return nil, actions.Errorf("apiclient.new", actions.CodeInvalid, "%q is not the address of a server; write it as https://berth.example.org.", o.Server)
	}
	if base.User != nil {
		return nil, actions.Errorf("apiclient.new", actions.CodeInvalid, "The server's address must not hold a password; give the token by BERTH_TOKEN or `berth login`.")
	}
	if strings.ContainsFunc(o.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, actions.Errorf("apiclient.new", actions.CodeInvalid, "The token has a character in it that no token has; copy it again.")
	}
	c := &Client{base: base, token: o.Token, agent: api.CLIAgent + "/" + o.Version, http: o.HTTP}
	if c.http == nil {
		c.http = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	}
	return c, nil
}

// Server is the server's address.
func (c *Client) Server() string { return c.base.String() }

// call is one call of the API.
type call struct {
	method, path string
	query        url.Values
	key          string // Idempotency-Key, which lets a POST be repeated
	again        bool   // it may be repeated without a key
	slow         bool   // it may take as long as slowTime
	in, out      any
}

// do makes the call. One that may be repeated is, while the server cannot be
// reached or asks for patience.
func (c *Client) do(ctx context.Context, l call) error {
	var content []byte
	if l.in != nil {
		var err error
		if content, err = json.Marshal(l.in); err != nil {
			return actions.Wrap("apiclient."+l.path, actions.CodeInternal, err, "The request could not be written.")
		}
	}
	nap := firstNap
	for try := 1; ; try++ {
		wait, err := c.once(ctx, l, content)
		if err == nil || try == tries || !actions.Retryable(err) || (l.method != http.MethodGet && l.key == "" && !l.again) {
			return err
		}
		if !sleep(ctx, max(nap, min(wait, longNap))) {
			return err
		}
		nap *= 2
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// once makes the call one time. wait is how long the server asks to wait.
func (c *Client) once(ctx context.Context, l call, content []byte) (wait time.Duration, err error) {
	within := callTime
	if l.slow {
		within = slowTime
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	res, err := c.send(ctx, l, content, nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return retryAfter(res), c.problem(res)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if err != nil {
		return 0, c.unreachable(err)
	}
	if err := json.Unmarshal(data, l.out); err != nil {
		return 0, c.stranger(res, err)
	}
	return 0, nil
}

func (c *Client) send(ctx context.Context, l call, content []byte, header http.Header) (*http.Response, error) {
	target := *c.base
	target.Path += l.path
	target.RawQuery = l.query.Encode()
	req, err := http.NewRequestWithContext(ctx, l.method, target.String(), bytes.NewReader(content))
	if err != nil {
		return nil, actions.Wrap("apiclient"+l.path, actions.CodeInternal, err, "The request could not be made.")
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.agent)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if l.in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if l.key != "" {
		req.Header.Set("Idempotency-Key", l.key)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	return res, nil
}

// unreachable says that no answer came.
func (c *Client) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return actions.Wrap("apiclient.send", actions.CodeCancelled, err, "Stopped.")
	}
	cause := err
	if u, ok := errors.AsType[*url.Error](err); ok {
		cause = u.Err // without the method and the address, which the sentence has
	}
	return &actions.Error{
		Op: "apiclient.send", Code: actions.CodeUnavailable, Retry: true, Err: &Unreachable{Server: c.Server(), Err: err},
		Msg: fmt.Sprintf("Berth cannot be reached at %s (%v). Is it running there? Say where it is with --server, BERTH_SERVER or `berth login`.", c.Server(), cause),
	}
}

// stranger says that something answered which is not Berth.
func (c *Client) stranger(res *http.Response, err error) error {
	return &actions.Error{
		Op: "apiclient.read", Code: actions.CodeUnavailable, Err: &Unreachable{Server: c.Server(), Err: err},
		Msg: fmt.Sprintf("What answers at %s is not Berth's API (status %d); check the address.", c.Server(), res.StatusCode),
	}
}

// problem is an answer that is an error.
func (c *Client) problem(res *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return c.unreachable(err)
	}
	var p api.Problem
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if media != api.ProblemType || json.Unmarshal(data, &p) != nil || p.Code == "" {
		e := c.stranger(res, fmt.Errorf("status %d", res.StatusCode))
		if res.StatusCode == http.StatusBadGateway || res.StatusCode == http.StatusServiceUnavailable || res.StatusCode == http.StatusGatewayTimeout {
			e = c.unreachable(fmt.Errorf("a proxy answered %s", res.Status))
		}
		return e
	}
	retry := res.StatusCode == http.StatusServiceUnavailable || res.StatusCode == http.StatusTooManyRequests
	return &actions.Error{Op: "apiclient.call", Code: actions.Code(p.Code), Msg: p.Detail, Err: &p, Retry: retry}
}

func retryAfter(res *http.Response) time.Duration {
	seconds, err := time.ParseDuration(res.Header.Get("Retry-After") + "s")
	if err != nil || seconds < 0 {
		return 0
	}
	return seconds
}

// NewKey makes an Idempotency-Key.
func NewKey() string { return rand.Text() }
