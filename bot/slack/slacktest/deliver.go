package slacktest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Ack is how the app acknowledged something.
type Ack struct {
	Status int           // 200 over a socket; 0 when nothing came in time
	Body   string        // of the answer, or the payload of a socket's acknowledgement
	Took   time.Duration // how long that was
	Error  string        // empty when it is acknowledged: "operation_timeout", "dispatch_failed"
}

// OK says whether it is acknowledged.
func (a Ack) OK() bool { return a.Error == "" }

// Failure is something that the app did not acknowledge.
type Failure struct {
	At   time.Time
	What string // "command", "interaction" or "event"
	Ack  Ack
}

// String is one line about it.
func (f Failure) String() string {
	return fmt.Sprintf("%s: %s after %s (status %d, %.200q)", f.What, f.Ack.Error, f.Ack.Took.Round(time.Millisecond), f.Ack.Status, f.Ack.Body)
}

// Failures lists what the app did not acknowledge, or not in time.
func (s *Server) Failures() []Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.failures)
}

// TakeFailures lists the same and forgets it, for a test that means to have it.
func (s *Server) TakeFailures() []Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.failures
	s.failures = nil
	return all
}

// delivery is one thing for the app.
type delivery struct {
	what    string // "command", "interaction", "event"
	payload obj
	attempt int // of an event, from 0
	reason  string
}

// kind is what the description calls it.
func (d *delivery) kind() string {
	if d.what == "command" {
		return d.what
	}
	return str(d.payload, "type")
}

// body is how a delivery is written over HTTP.
func (d *delivery) body() (body, kind string, err error) {
	switch d.what {
	case "command":
		form := url.Values{}
		for name, value := range d.payload {
			form.Set(name, fmt.Sprint(value))
		}
		return form.Encode(), "application/x-www-form-urlencoded", nil
	case "interaction":
		raw, err := json.Marshal(d.payload)
		return url.Values{"payload": {string(raw)}}.Encode(), "application/x-www-form-urlencoded", err
	}
	raw, err := json.Marshal(d.payload)
	return string(raw), "application/json", err
}

// Sign is the signature of a body at a time, by Slack's rule.
// https://docs.slack.dev/authentication/verifying-requests-from-slack
func Sign(secret, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "v0:%s:%s", timestamp, body)
	return "v0=" + hex.EncodeToString(mac.Sum(nil))
}

// deliver takes something to the app and waits for its word. s.mu is not held.
func (s *Server) deliver(d *delivery) Ack {
	s.mu.Lock()
	app := s.app
	s.proof(d.kind(), d.payload)
	s.mu.Unlock()
	begun := time.Now()
	var a Ack
	if app.Socket {
		a = s.overSocket(d)
	} else {
		a = s.overHTTP(app, d)
	}
	a.Took = time.Since(begun)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !a.OK() && !s.closed() { // What Close cut off is nobody's fault.
		s.failures = append(s.failures, Failure{s.opts.Now(), d.what, a})
		s.opts.Log.Warn("not acknowledged", "what", d.what, "error", a.Error, "status", a.Status)
	}
	s.touch()
	return a
}

// closed says whether the server was closed.
func (s *Server) closed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

func (s *Server) overHTTP(app App, d *delivery) Ack {
	address := map[string]string{"command": app.CommandsURL, "interaction": app.InteractionsURL, "event": app.EventsURL}[d.what]
	if address == "" {
		return Ack{Error: "dispatch_failed", Body: "the app has no address for this"}
	}
	body, kind, err := d.body()
	if err != nil {
		return Ack{Error: "dispatch_failed", Body: err.Error()}
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.AckTimeout)
	defer cancel()
	go func() { // Close does not wait for the app.
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return Ack{Error: "dispatch_failed", Body: err.Error()}
	}
	timestamp := strconv.FormatInt(s.opts.Now().Unix(), 10)
	req.Header.Set("Content-Type", kind)
	req.Header.Set("User-Agent", "Slackbot 1.0 (+https://api.slack.com/robots)")
	req.Header.Set("Accept", "application/json,*/*")
	req.Header.Set("X-Slack-Request-Timestamp", timestamp)
	req.Header.Set("X-Slack-Signature", Sign(app.SigningSecret, timestamp, []byte(body)))
	if d.attempt > 0 {
		req.Header.Set("X-Slack-Retry-Num", strconv.Itoa(d.attempt))
		req.Header.Set("X-Slack-Retry-Reason", d.reason)
	}
	res, err := s.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return Ack{Error: "operation_timeout"}
		}
		return Ack{Error: "dispatch_failed", Body: err.Error()}
	}
	defer drain(res.Body)
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	a := Ack{Status: res.StatusCode, Body: string(answer)}
	switch {
	case err != nil && ctx.Err() != nil:
		a.Error = "operation_timeout"
	case err != nil, a.Status < 200, a.Status > 299, a.Status != http.StatusOK && d.what != "event":
		a.Error = "dispatch_failed"
	}
	if d.what == "event" && res.Header.Get("X-Slack-No-Retry") == "1" {
		d.reason = "no_retry"
	}
	return a
}

// send delivers an event in the background, again when it is not acknowledged.
// s.mu is held.
func (s *Server) send(payload obj) {
	if s.closed() {
		return
	}
	s.pending++
	s.sending.Add(1)
	go func() {
		defer s.sending.Done()
		s.sendAll(payload)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pending--
		s.touch()
	}()
}

func (s *Server) sendAll(payload obj) {
	d := &delivery{what: "event", payload: payload}
	for {
		a := s.deliver(d)
		if a.OK() || d.reason == "no_retry" || d.attempt >= len(s.opts.EventRetries) {
			return
		}
		switch {
		case a.Error == "operation_timeout":
			d.reason = "http_timeout"
		case a.Status == 0:
			d.reason = "connection_failed"
		default:
			d.reason = "http_error"
		}
		select {
		case <-time.After(s.opts.EventRetries[d.attempt]):
		case <-s.closing:
			return
		}
		d.attempt++
	}
}

// Verify does what Slack does when an events address is entered: the app has to
// answer with the challenge.
func (s *Server) Verify() error {
	challenge := secret()
	a := s.deliver(&delivery{what: "event", payload: obj{"token": verification, "challenge": challenge, "type": "url_verification"}})
	var said struct{ Challenge string }
	if a.OK() && (strings.TrimSpace(a.Body) == challenge || json.Unmarshal([]byte(a.Body), &said) == nil && said.Challenge == challenge) {
		return nil
	}
	return fmt.Errorf("slacktest: the challenge was answered with %d %.100q: %w", a.Status, a.Body, errors.New("url_not_verified"))
}

// verification is the token that stands in payloads since before signatures; it
// proves nothing.
const verification = "Jhj5dZrVaK7ZwHHjRyZWjbDl"

// answered reads the JSON or text that an acknowledgement of a command carries.
func answered(body string) (o obj, problem string) {
	body = strings.TrimSpace(body)
	if body == "" {
		return nil, ""
	}
	if !strings.HasPrefix(body, "{") {
		return obj{"text": body}, ""
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(body)))
	if err := dec.Decode(&o); err != nil {
		return nil, "the answer begins like JSON and is none: " + err.Error()
	}
	return o, ""
}
