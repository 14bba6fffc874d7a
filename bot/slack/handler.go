package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// MaxBody is the largest request that is taken, in bytes. Slack documents no
	// limit; what it sends has a message of at most 50 blocks in it and stays far
	// below this.
	MaxBody = 1 << 20
	// readTimeout is how long a request may take to arrive once its headers are
	// there. Slack itself waits 3 s for the whole exchange.
	readTimeout = 5 * time.Second
	// firstRead is how much room is made for a request before anything of it is
	// seen, whatever length it claims.
	firstRead = 16 << 10
	// maxPooled is the largest buffer that is kept for the next request.
	maxPooled = 256 << 10
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
	front := &front{s: s}
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
	s       *Surface
	buffers sync.Pool // *[]byte
}

// door hands requests on that Slack signed, with when it did.
func (f *front) door(do func(ctx context.Context, signed time.Time, body []byte) reply) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			line(w, http.StatusMethodNotAllowed, "Slack POSTs here")
			return
		}
		if r.ContentLength > MaxBody {
			w.Header().Set("Connection", "close") // the rest of it is not read
			line(w, http.StatusRequestEntityTooLarge, "a request has 1 MiB at most")
			return
		}
		buf, _ := f.buffers.Get().(*[]byte)
		if buf == nil {
			b := make([]byte, 0, firstRead)
			buf = &b
		}
		// A recorder in a test has no deadline to set, which is no matter.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout))
		body, err := readBody(r.Body, *buf)
		if err != nil {
			status, text := http.StatusBadRequest, "the request did not arrive whole"
			if errors.Is(err, errTooLarge) {
				status, text = http.StatusRequestEntityTooLarge, "a request has 1 MiB at most"
			}
			w.Header().Set("Connection", "close")
			line(w, status, text)
			return
		}
		f.serve(w, r, body, do)
		if cap(body) <= maxPooled {
			*buf = body[:0]
			f.buffers.Put(buf)
		}
	})
}

// serve answers a request that has arrived whole.
func (f *front) serve(w http.ResponseWriter, r *http.Request, body []byte, do func(context.Context, time.Time, []byte) reply) {
	signed, genuine := f.s.verifier.genuine(r.Header, body, f.s.now())
	if !genuine {
		line(w, http.StatusUnauthorized, "X-Slack-Signature is not this request's, made now with the signing secret of this app")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	out := do(ctx, signed, body)
	switch {
	case out.status == http.StatusBadRequest:
		line(w, out.status, "the request is signed, and yet cannot be read")
	case out.status == http.StatusServiceUnavailable:
		line(w, out.status, "it could not be stored; deliver it again")
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

var errTooLarge = errors.New("too large")

// readBody reads r into buf, which grows as bytes arrive and not by what their
// sender promised.
func readBody(r io.Reader, buf []byte) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, min(max(cap(buf), bytes.MinRead), MaxBody))
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) > MaxBody {
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

// line answers with one line of text, for whoever looks why it was refused.
func line(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}
