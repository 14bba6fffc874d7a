package githubtest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" // GitHub still sends the older signature as well.
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Webhook is where events go.
type Webhook struct {
	URL         string
	Secret      string   // Empty sends no signatures.
	ContentType string   // "json" or "form"; empty is "json".
	Events      []string // Empty or "*" is all.
	// AsApp makes it the App's webhook rather than one of each repository:
	// payloads then name the installation, and only repositories on which the
	// App is installed have events.
	AsApp bool
}

// hook is a webhook of one repository, or of the App if repo is nil.
type hook struct {
	id      int64
	repo    *repo
	created time.Time
	last    *delivery
}

// Delivery is one attempt to deliver an event.
type Delivery struct {
	ID         int64
	GUID       string // the same for each attempt to deliver an event
	Event      string
	Action     string // empty if the event has none
	Repo       string
	Payload    json.RawMessage
	Redelivery bool
	Done       bool
	At         time.Time
	Duration   time.Duration
	StatusCode int    // of the answer; 502 without one, 504 for one that took too long
	Status     string // "OK" for 2xx, else what was wrong, in GitHub's words
	Response   string // the answer's body
}

type delivery struct {
	Delivery
	hook       *hook
	repo       *repo
	to         Webhook
	sent, back http.Header
}

// SetWebhook sends events of all repositories, also of those made later, to w.
// A former one is replaced; its deliveries stay recorded.
func (s *Server) SetWebhook(w Webhook) error {
	if w.ContentType == "" {
		w.ContentType = "json"
	}
	if w.AsApp && s.opts.App == nil {
		return errors.New("githubtest: there is no App, see Options.App")
	}
	if len(w.Events) == 0 {
		w.Events = []string{"*"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhook = &w
	if w.AsApp {
		if s.appHook == nil {
			s.appHook = s.newHook(nil)
		}
		return nil
	}
	for _, name := range sortedKeys(s.repos) {
		if r := s.repos[name]; len(r.hooks) == 0 {
			r.hooks = append(r.hooks, s.newHook(r))
		}
	}
	return nil
}

func (s *Server) newHook(r *repo) *hook {
	return &hook{id: s.nextID(), repo: r, created: s.now()}
}

// hookFor is the hook that gets the events of r, and the installation that its
// payloads name; nil if there is none.
func (s *Server) hookFor(r *repo, event string) (*hook, *installation) {
	w := s.webhook
	if w == nil || w.URL == "" || (!slices.Contains(w.Events, "*") && !slices.Contains(w.Events, event) && event != "ping") {
		return nil, nil
	}
	if w.AsApp {
		if i := s.installationFor(r); i != nil {
			return s.appHook, i
		}
		return nil, nil
	}
	if len(r.hooks) == 0 {
		return nil, nil
	}
	return r.hooks[0], nil
}

// enqueue records a delivery and hands it over to be sent. The caller holds s.mu.
func (s *Server) enqueue(d *delivery) {
	d.ID, d.At = s.nextID(), s.opts.Now().UTC()
	s.deliveries = append(s.deliveries, d)
	s.pending++
	s.sending.Add(1)
	select {
	case <-s.closing:
		s.finish(d, nil, "", errors.New("the server is closed"), 0)
		return
	default:
	}
	select {
	case s.queue <- d:
	default:
		s.finish(d, nil, "", errors.New("too many deliveries wait"), 0)
	}
}

// deliverAll sends what is queued, one after the other so that a test sees the
// events in order. GitHub promises no order.
func (s *Server) deliverAll() {
	for {
		select {
		case d := <-s.queue:
			s.deliver(d)
		case <-s.closing:
			for {
				select {
				case d := <-s.queue:
					s.mu.Lock()
					s.finish(d, nil, "", errors.New("the server was closed"), 0)
					s.mu.Unlock()
				default:
					return
				}
			}
		}
	}
}

// deliver posts one event. There is no second attempt, as there is none at
// GitHub.
func (s *Server) deliver(d *delivery) {
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.WebhookTimeout)
	defer cancel()
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	start := time.Now()
	var res *http.Response
	var answer []byte
	req, err := s.hookRequest(ctx, d)
	if err == nil {
		d.sent = req.Header
		if res, err = s.client.Do(req); err == nil {
			answer, err = io.ReadAll(io.LimitReader(res.Body, 1<<16))
			drain(res.Body)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish(d, res, string(answer), err, time.Since(start))
}

// hookRequest makes the request with the headers that GitHub sends.
// Source: docs.github.com/webhooks/webhook-events-and-payloads#delivery-headers
func (s *Server) hookRequest(ctx context.Context, d *delivery) (*http.Request, error) {
	body, contentType := []byte(d.Payload), "application/json"
	if d.to.ContentType == "form" {
		body = []byte(url.Values{"payload": {string(d.Payload)}}.Encode())
		contentType = "application/x-www-form-urlencoded"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.to.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	var target int64
	kind := "integration"
	if d.hook.repo != nil {
		target, kind = d.hook.repo.id, "repository"
	} else {
		target = s.opts.App.ID
	}
	for key, value := range map[string]string{
		"Accept": "*/*", "Content-Type": contentType, "User-Agent": "GitHub-Hookshot/0b1c2d3",
		"X-GitHub-Event": d.Event, "X-GitHub-Delivery": d.GUID, "X-GitHub-Hook-ID": fmt.Sprint(d.hook.id),
		"X-GitHub-Hook-Installation-Target-ID":   fmt.Sprint(target),
		"X-GitHub-Hook-Installation-Target-Type": kind,
	} {
		req.Header.Set(key, value)
	}
	if d.to.Secret != "" {
		req.Header.Set("X-Hub-Signature", "sha1="+SignSHA1(d.to.Secret, body))
		req.Header.Set("X-Hub-Signature-256", "sha256="+Sign(d.to.Secret, body))
	}
	return req, nil
}

// Sign is the HMAC-SHA256 of a webhook's body in hex, without "sha256=".
func Sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// SignSHA1 is the older HMAC-SHA1, without "sha1=".
func SignSHA1(secret string, body []byte) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// finish records how a delivery ended. The caller holds s.mu.
func (s *Server) finish(d *delivery, res *http.Response, answer string, err error, took time.Duration) {
	d.Done, d.Duration, d.Response = true, took, answer
	var late interface{ Timeout() bool }
	switch {
	case errors.As(err, &late) && late.Timeout():
		d.StatusCode, d.Status = http.StatusGatewayTimeout, "timed out"
	case err != nil:
		d.StatusCode, d.Status = http.StatusBadGateway, "failed to connect to host"
	default:
		d.StatusCode, d.back = res.StatusCode, res.Header
		d.Status = "OK"
		if res.StatusCode < 200 || res.StatusCode > 299 {
			d.Status = fmt.Sprintf("Invalid HTTP Response: %d", res.StatusCode)
		}
	}
	d.hook.last = d
	s.pending--
	s.sending.Done()
	s.opts.Log.Debug("delivery", "event", d.Event, "action", d.Action, "delivery_id", d.GUID, "status", d.StatusCode)
	s.touch()
}

// Flush waits until everything that was queued has been delivered, or failed.
func (s *Server) Flush(ctx context.Context) error {
	return s.WaitFor(ctx, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.pending == 0
	})
}

// Deliveries lists all attempts so far, oldest first.
func (s *Server) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Delivery, len(s.deliveries))
	for i, d := range s.deliveries {
		out[i] = d.Delivery
	}
	return out
}

// redeliverWithin is how long GitHub keeps a delivery for another attempt.
// Source: docs.github.com/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks
const redeliverWithin = 3 * 24 * time.Hour

// Redeliver sends a delivery again, to where the webhook points now, with the
// same GUID and body.
func (s *Server) Redeliver(id int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.deliveries {
		if d.ID == id {
			return s.again(d)
		}
	}
	return fmt.Errorf("githubtest: there is no delivery %d", id)
}

func (s *Server) again(d *delivery) error {
	if s.opts.Now().Sub(d.At) > redeliverWithin {
		return fmt.Errorf("githubtest: delivery %d is more than three days old", d.ID)
	}
	s.enqueue(&delivery{
		Delivery: Delivery{
			GUID: d.GUID, Event: d.Event, Action: d.Action, Repo: d.Repo, Payload: d.Payload, Redelivery: true,
		},
		hook: d.hook, repo: d.repo, to: *s.webhook,
	})
	return nil
}
