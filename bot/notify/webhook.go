package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// SignatureHeader has "sha256=" and the HMAC-SHA256 of the body, in hex, by
	// which the receiver knows that Berth sent it.
	SignatureHeader = "X-Berth-Signature-256"
	// KeyHeader is the same whenever a notice is sent again.
	KeyHeader = "Idempotency-Key"

	webhookWithin = 10 * time.Second
	// mostAnswer is how much of an answer is read, so that the connection can be
	// used again.
	mostAnswer = 16 << 10
)

// Hook is where a webhook goes. Both its fields may be secret.
type Hook struct {
	URL    string // https, or http on this machine
	Secret string // what messages are signed with; never empty
}

// Webhooks is the outlet that sends notices as signed JSON. Its channels are names
// of hooks, which are kept in Redis and shown in logs, and so must hold no secret.
type Webhooks struct {
	hooks  map[string]Hook
	client *http.Client
	now    func() time.Time
}

// Message is the body of a webhook.
type Message struct {
	Version     int          `json:"version"` // 1
	Key         string       `json:"key"`     // the same whenever a notice is sent again
	Event       string       `json:"event"`
	Severity    bot.Severity `json:"severity"`
	Environment string       `json:"environment,omitempty"` // "shop/pr-42"
	App         string       `json:"app,omitempty"`
	Title       string       `json:"title"` // one line, plain text
	Text        string       `json:"text,omitempty"`
	Commands    []Command    `json:"commands,omitempty"` // what can be typed in answer
	At          time.Time    `json:"at"`                 // when it happened
	SentAt      time.Time    `json:"sent_at"`
}

// Command is a bot.Suggestion.
type Command struct {
	Label   string `json:"label"`
	Command string `json:"command"`
}

// NewWebhooks makes the outlet. now may be nil.
func NewWebhooks(hooks map[string]Hook, now func() time.Time) *Webhooks {
	if now == nil {
		now = time.Now
	}
	return &Webhooks{hooks: hooks, now: now, client: &http.Client{
		Timeout: webhookWithin,
		// Whoever answers for the address must not send what is signed elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    webhookWithin,
			ResponseHeaderTimeout:  webhookWithin,
			MaxResponseHeaderBytes: mostAnswer,
			MaxIdleConns:           10,
			IdleConnTimeout:        time.Minute,
		},
	}}
}

// Tell sends n. Its error holds neither the address nor the secret.
func (w *Webhooks) Tell(ctx context.Context, channel string, n bot.Notice) error {
	hook, known := w.hooks[channel]
	if !known {
		return Final(errors.New("the config has no such webhook any more"))
	}
	body, err := json.Marshal(w.message(n))
	if err != nil {
		return Final(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("its address cannot be used")
	}
	mac := hmac.New(sha256.New, []byte(hook.Secret))
	mac.Write(body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "berth")
	req.Header.Set(SignatureHeader, "sha256="+hex.EncodeToString(mac.Sum(nil)))
	req.Header.Set(KeyHeader, headerKey(n.Key))
	resp, err := w.client.Do(req)
	if err != nil {
		return unreached(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, mostAnswer))
	return answered(resp)
}

func (w *Webhooks) message(n bot.Notice) Message {
	m := Message{
		Version: 1, Key: n.Key, Event: n.Event, Severity: n.Severity, App: n.Env.App, Title: n.Title, Text: n.Text,
		At: n.At, SentAt: w.now().UTC().Truncate(time.Millisecond),
	}
	if !n.Env.IsZero() {
		m.Environment = n.Env.String()
	}
	for _, c := range n.Commands {
		m.Commands = append(m.Commands, Command(c))
	}
	return m
}

// headerKey is a key as a header may hold it.
func headerKey(key string) string {
	if len(key) > 200 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "sha256-" + digest(key)
	}
	return key
}

// answered says whether an answer means that the notice was taken.
func answered(resp *http.Response) error {
	err := fmt.Errorf("the receiver answered %d", resp.StatusCode)
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return fmt.Errorf("%w, a redirect, which is not followed; write the address that it leads to", err)
	case code == http.StatusBadRequest, code == http.StatusGone, code == http.StatusRequestEntityTooLarge,
		code == http.StatusUnsupportedMediaType, code == http.StatusUnprocessableEntity:
		return Final(err)
	}
	if seconds, bad := strconv.Atoi(resp.Header.Get("Retry-After")); bad == nil && seconds > 0 {
		return waitError{err, time.Duration(min(seconds, 24*3600)) * time.Second}
	}
	return err
}

// unreached says why nobody answered, in words of its own: those of the client
// hold the address.
func unreached(err error) error {
	if errors.Is(err, context.Canceled) {
		return &actions.Error{Op: "webhook", Code: actions.CodeCancelled, Msg: "It was stopped."}
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok && wrapped.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the receiver did not answer within %s", webhookWithin)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return errors.New("the receiver's certificate is not one to be trusted")
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return errors.New("the receiver's name could not be looked up")
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return errors.New("the receiver could not be reached")
	}
	return errors.New("the receiver did not answer as a web server does")
}
