package apiclient

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot/api"
)

const (
	// outage is how long a watch outlives its server: long enough for a restart
	// or a roll-out.
	outage = 2 * time.Minute
	// silence is how long a stream may be silent; the server says something
	// every 15 seconds.
	silence = 50 * time.Second
	// maxFrame bounds one event. The server's largest is a line of a log.
	maxFrame = 8 << 20
)

// Events hands the events that a run has so far to take, in order.
func (c *Client) Events(ctx context.Context, runID string, take func(actions.Event) error) error {
	_, err := (&watch{client: c, runID: runID, take: take, sofar: true}).stream(ctx)
	return err
}

// Watch hands the events of a run to take, in order and each once, until the
// run has ended, and returns it. A stream that breaks is taken up again where it
// broke.
func (c *Client) Watch(ctx context.Context, runID string, take func(actions.Event) error) (*api.Run, error) {
	w := &watch{client: c, runID: runID, take: take}
	nap, since := firstNap, time.Now()
	for {
		before := w.last
		run, err := w.stream(ctx)
		if run != nil {
			return run, nil
		}
		if ctx.Err() != nil {
			return nil, actions.Wrap("apiclient.watch", actions.CodeCancelled, ctx.Err(), "Stopped watching; what runs goes on.")
		}
		if _, ours := errors.AsType[*takeError](err); ours {
			return nil, err
		}
		if err != nil && !actions.Retryable(err) {
			return nil, err
		}
		if w.last != before || err == nil {
			nap, since = firstNap, time.Now()
		}
		if time.Since(since) > outage {
			return nil, err
		}
		if sleep(ctx, nap) {
			nap = min(2*nap, longNap)
		}
	}
}

type watch struct {
	client *Client
	runID  string
	last   string // id of the last event that was taken
	take   func(actions.Event) error
	sofar  bool // end after what there is
}

// takeError is an error of the watcher's own function.
type takeError struct{ error }

func (e *takeError) Unwrap() error { return e.error }

// stream reads one stream. It returns the run when that has ended, and neither
// run nor error when the stream ended before it did.
func (w *watch) stream(ctx context.Context) (*api.Run, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	quiet := time.AfterFunc(silence, cancel)
	defer quiet.Stop()
	header := http.Header{"Accept": {"text/event-stream"}}
	if w.last != "" {
		header.Set("Last-Event-ID", w.last)
	}
	l := call{method: http.MethodGet, path: "/api/v1/runs/" + url.PathEscape(w.runID) + "/events"}
	if w.sofar {
		l.query = url.Values{"follow": {"false"}}
	}
	res, err := w.client.send(ctx, l, nil, header)
	if err != nil {
		return nil, w.quiet(err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent: // all has been told already
		return w.client.Run(ctx, w.runID)
	default:
		return nil, w.client.problem(res)
	}
	frames := &frames{in: bufio.NewReaderSize(res.Body, 32<<10), alive: func() { quiet.Reset(silence) }}
	for {
		f, err := frames.next()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, w.quiet(w.client.unreachable(err))
		}
		if f.event == "end" {
			var run api.Run
			if err := json.Unmarshal([]byte(f.data), &run); err != nil {
				return nil, w.client.stranger(res, err)
			}
			return &run, nil
		}
		if f.data == "" {
			continue
		}
		var e actions.Event
		if err := json.Unmarshal([]byte(f.data), &e); err != nil {
			return nil, w.client.stranger(res, err)
		}
		if err := w.take(e); err != nil {
			return nil, &takeError{err}
		}
		if f.id != "" {
			w.last = f.id
		}
	}
}

// quiet makes a stream that was cut because it was silent one to take up again.
func (w *watch) quiet(err error) error {
	if actions.CodeOf(err) == actions.CodeCancelled {
		return &actions.Error{Op: "apiclient.watch", Code: actions.CodeUnavailable, Msg: "Berth stopped talking.", Err: err, Retry: true}
	}
	return err
}

// frame is one event of a stream.
type frame struct{ id, event, data string }

// frames reads the events of a stream.
// Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
type frames struct {
	in    *bufio.Reader
	alive func() // called for every line
}

// next returns the next event, io.EOF at the end. What is not yet a whole event
// when the stream ends is dropped.
func (f *frames) next() (frame, error) {
	var (
		out  frame
		data []string
		size int
	)
	for {
		line, err := f.line(maxFrame - size)
		if err != nil {
			return frame{}, err
		}
		size += len(line)
		if line == "" {
			if len(data) > 0 || out.event != "" {
				out.data = strings.Join(data, "\n")
				return out, nil
			}
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			if !strings.Contains(value, "\x00") {
				out.id = value
			}
		case "event":
			out.event = value
		case "data":
			data = append(data, value)
		}
	}
}

// line reads a line of at most room bytes.
func (f *frames) line(room int) (string, error) {
	var b strings.Builder
	for {
		piece, err := f.in.ReadSlice('\n')
		if b.Len()+len(piece) > room {
			return "", fmt.Errorf("an event is larger than %d bytes", maxFrame)
		}
		b.Write(piece)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return "", err
		}
		if f.alive != nil {
			f.alive()
		}
		return strings.TrimRight(b.String(), "\r\n"), nil
	}
}
