package slack

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/berth-dev/berth/bot"
)

const (
	// MaxBody is the largest request that is taken, in bytes. Slack documents no
	// limit; what it sends has a message of at most 50 blocks in it and stays far
	// below this.
	MaxBody = 1 << 20
	// readTimeout is how long a request may take to arrive once its headers are
	// there. Slack itself waits 3 s for the whole exchange.
	readTimeout = 5 * time.Second
)

// reply is what Slack is told at once. Its body is JSON, nil for none.
type reply struct {
	status int
	body   any
}

// ok acknowledges, and says nothing.
var ok = reply{status: http.StatusOK}

// malformed is for what is signed and yet cannot be read.
var malformed = reply{status: http.StatusBadRequest}

// unavailable has Slack deliver an event again.
// Source: https://docs.slack.dev/apis/events-api/#retries
var unavailable = reply{status: http.StatusServiceUnavailable}

// Handler takes in what Slack sends over HTTP: POST /slack/commands,
// /slack/interactions and /slack/events.
func (s *Surface) Handler() http.Handler {
	front := &front{s: s, bodies: bot.Bodies{Max: MaxBody, Within: readTimeout}}
	mux := http.NewServeMux()
	for path, do := range map[string]func(context.Context, time.Time, []byte) reply{
		"/slack/commands":     s.commandForm,
		"/slack/interactions": s.interactionForm,
		"/slack/events":       s.eventBody,
	} {
		mux.Handle(path, front.door(do))
	}
	return mux
}

// front is what all requests pass before anything of them is read.
type front struct {
	s      *Surface
	bodies bot.Bodies
}

// door hands requests on that Slack signed, with when it did.
func (f *front) door(do func(ctx context.Context, signed time.Time, body []byte) reply) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.bodies.Take(w, r, func(body []byte) { f.serve(w, r, body, do) })
	})
}

// serve answers a request that has arrived whole.
func (f *front) serve(w http.ResponseWriter, r *http.Request, body []byte, do func(context.Context, time.Time, []byte) reply) {
	signed, genuine := f.s.verifier.genuine(r.Header, body, f.s.now())
	if !genuine {
		bot.WriteLine(w, http.StatusUnauthorized, "X-Slack-Signature is not this request's, made now with the signing secret of this app")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), f.s.patience)
	defer cancel()
	out := do(ctx, signed, body)
	switch {
	case out.status == http.StatusBadRequest:
		bot.WriteLine(w, out.status, "the request is signed, and yet cannot be read")
	case out.status == http.StatusServiceUnavailable:
		bot.WriteLine(w, out.status, "it could not be stored; deliver it again")
	case out.body == nil:
		w.WriteHeader(out.status)
	default:
		text, err := json.Marshal(out.body)
		if err != nil {
			f.s.log.ErrorContext(ctx, "an answer to Slack could not be written", "error", err)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(out.status)
		_, _ = w.Write(text) // Slack may be gone
	}
}
