package github

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

const (
	// MaxPayload is the largest delivery that is taken, in bytes: GitHub sends
	// none above 25 MB.
	// Source: https://docs.github.com/webhooks/webhook-events-and-payloads
	MaxPayload = 25 << 20
	// readTimeout is how long a delivery may take to arrive once its headers are
	// there. GitHub itself waits 10 s for the whole exchange.
	readTimeout = 10 * time.Second
	// firstRead is how much room is made for a delivery before anything of it
	// is seen, whatever length it claims: most fit, and a lie costs little.
	firstRead = 32 << 10
	// maxPooled is the largest buffer that is kept for the next delivery.
	maxPooled = 256 << 10
	// retryAfter is told to whoever delivers while Redis is gone, in seconds.
	retryAfter = "10"
)

// wanted are the events that Berth acts on. Others are answered and forgotten,
// by their header alone.
var wanted = []string{"issue_comment", "pull_request"}

// intake takes deliveries in. What it answers with 202 is in Redis, unless it
// is of an event that Berth never acts on.
type intake struct {
	verifier *verifier
	mailbox  *mailbox
	log      *slog.Logger
	buffers  sync.Pool // *[]byte
}

func newIntake(secret []byte, m *mailbox, log *slog.Logger) *intake {
	return &intake{verifier: newVerifier(secret), mailbox: m, log: log}
}

func (in *intake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		answer(w, http.StatusMethodNotAllowed, "deliveries are POSTed")
		return
	}
	if r.ContentLength > MaxPayload {
		w.Header().Set("Connection", "close") // the rest of it is not read
		answer(w, http.StatusRequestEntityTooLarge, "a payload has 25 MiB at most")
		return
	}
	buf, _ := in.buffers.Get().(*[]byte)
	if buf == nil {
		b := make([]byte, 0, firstRead)
		buf = &b
	}
	// A recorder in a test has no deadline to set, which is no matter.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout))
	body, err := readBody(r.Body, *buf)
	if err != nil {
		status, text := http.StatusBadRequest, "the payload did not arrive whole"
		if errors.Is(err, errTooLarge) {
			status, text = http.StatusRequestEntityTooLarge, "a payload has 25 MiB at most"
		}
		w.Header().Set("Connection", "close")
		answer(w, status, text)
		return
	}
	in.serve(w, r, body)
	if cap(body) <= maxPooled {
		*buf = body[:0]
		in.buffers.Put(buf)
	}
}

// serve answers a delivery that has arrived whole.
func (in *intake) serve(w http.ResponseWriter, r *http.Request, body []byte) {
	if !in.verifier.genuine(r.Header.Get("X-Hub-Signature-256"), body) {
		answer(w, http.StatusUnauthorized, "X-Hub-Signature-256 is not this payload's, made with the secret of this webhook")
		return
	}
	l, fault := open(r.Header, body)
	switch {
	case fault != "":
		answer(w, http.StatusBadRequest, fault)
		return
	case !slices.Contains(wanted, l.event):
		// Nothing of it would be lost with Redis, but a list of green deliveries
		// must not hide that others fail.
		if in.mailbox.down.Load() {
			unavailable(w)
			return
		}
		answer(w, http.StatusAccepted, "nothing to do for this event")
		return
	}
	fresh, err := in.mailbox.put(l) //nolint:contextcheck // it is stored together with others, whom the end of this request must not stop
	switch {
	case err != nil:
		in.log.ErrorContext(r.Context(), "a delivery could not be stored; GitHub shows it as failed, and it can be redelivered there",
			"delivery_id", l.delivery, "event", l.event, "error", err)
		unavailable(w)
	case !fresh:
		answer(w, http.StatusAccepted, "stored before")
	default:
		answer(w, http.StatusAccepted, "stored")
	}
}

// open reads the envelope of a genuine delivery. It returns what is wrong with
// it when something is.
func open(h http.Header, body []byte) (l *letter, fault string) {
	l = &letter{delivery: h.Get("X-GitHub-Delivery"), event: h.Get("X-GitHub-Event"), body: body, turn: make(chan turn, 1)}
	switch {
	case !token(l.event):
		return nil, "X-GitHub-Event is missing or malformed"
	case !token(l.delivery):
		return nil, "X-GitHub-Delivery is missing or malformed"
	}
	switch media := h.Get("Content-Type"); media {
	case "application/json":
	default:
		media, _, err := mime.ParseMediaType(media)
		switch {
		case err == nil && media == "application/json":
		case err == nil && media == "application/x-www-form-urlencoded":
			form, err := url.ParseQuery(string(body))
			if err != nil || len(form["payload"]) != 1 {
				return nil, "the form has no single field named payload"
			}
			l.body = []byte(form.Get("payload"))
		default:
			return nil, "the content type must be application/json or application/x-www-form-urlencoded"
		}
	}
	if !validObject(l.body) {
		return nil, "the payload is not a JSON object"
	}
	return l, ""
}

// token tells whether s can be an id or the name of an event: 1 to 100 of the
// letters, digits and marks that those are made of.
func token(s string) bool {
	if s == "" || len(s) > 100 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

var errTooLarge = errors.New("too large")

// readBody reads r into buf, which grows as bytes arrive and not by what their
// sender promised.
func readBody(r io.Reader, buf []byte) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, min(max(cap(buf), bytes.MinRead), MaxPayload))
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) > MaxPayload {
			return nil, errTooLarge
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", retryAfter)
	answer(w, http.StatusServiceUnavailable, "Redis is not there, so nothing can be stored; redeliver this later")
}

// answer writes one line of text, which GitHub shows in its list of deliveries.
func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") //nolint:gosec // plain text of our own words; whoever delivered may be gone
}
