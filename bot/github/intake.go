package github

import (
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/berth-dev/berth/bot"
)

const (
	// MaxPayload is the largest delivery that is taken, in bytes: GitHub sends
	// none above 25 MB.
	// Source: https://docs.github.com/webhooks/webhook-events-and-payloads
	MaxPayload = 25 << 20
	// readTimeout is how long a delivery may take to arrive once its headers are
	// there. GitHub itself waits 10 s for the whole exchange.
	readTimeout = 10 * time.Second
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
	bodies   bot.Bodies
}

func newIntake(secret []byte, m *mailbox, log *slog.Logger) *intake {
	return &intake{verifier: newVerifier(secret), mailbox: m, log: log, bodies: bot.Bodies{Max: MaxPayload, Within: readTimeout}}
}

func (in *intake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in.bodies.Take(w, r, func(body []byte) { in.serve(w, r, body) })
}

// serve answers a delivery that has arrived whole.
func (in *intake) serve(w http.ResponseWriter, r *http.Request, body []byte) {
	if !in.verifier.genuine(r.Header.Get("X-Hub-Signature-256"), body) {
		bot.WriteLine(w, http.StatusUnauthorized, "X-Hub-Signature-256 is not this payload's, made with the secret of this webhook")
		return
	}
	l, fault := open(r.Header, body)
	switch {
	case fault != "":
		bot.WriteLine(w, http.StatusBadRequest, fault)
		return
	case !slices.Contains(wanted, l.event):
		// Nothing of it would be lost with Redis, but a list of green deliveries
		// must not hide that others fail.
		if in.mailbox.down.Load() {
			unavailable(w)
			return
		}
		bot.WriteLine(w, http.StatusAccepted, "nothing to do for this event")
		return
	}
	fresh, err := in.mailbox.put(l) //nolint:contextcheck // it is stored together with others, whom the end of this request must not stop
	switch {
	case err != nil:
		in.log.ErrorContext(r.Context(), "a delivery could not be stored; GitHub shows it as failed, and it can be redelivered there",
			"delivery_id", l.delivery, "event", l.event, "error", err)
		unavailable(w)
	case !fresh:
		bot.WriteLine(w, http.StatusAccepted, "stored before")
	default:
		bot.WriteLine(w, http.StatusAccepted, "stored")
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

func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", retryAfter)
	bot.WriteLine(w, http.StatusServiceUnavailable, "Redis is not there, so nothing can be stored; redeliver this later")
}
