package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/berth-dev/berth/actions"
)

// How a stream of events is told. A stream reads without blocking, since a
// blocking read holds one of the few connections to Redis for each onlooker.
const (
	pollFast  = 100 * time.Millisecond // while events come
	pollSlow  = time.Second            // when none came for a while
	heartbeat = 15 * time.Second       // proxies cut what is silent for longer, commonly 30 s or more
	writeTime = 20 * time.Second       // for one write; who does not read for so long is gone
	lastWrite = time.Second            // for one write once the server is ending
	batchSize = 500                    // events read at once
)

// hurry has who does not read hold up the end of the server, which ends ctx, for
// no longer than lastWrite. It is over with stop.
func hurry(ctx context.Context, control *http.ResponseController) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = control.SetWriteDeadline(time.Now().Add(lastWrite)) })
}

// patience gives the next write its time. It goes with hurry.
func patience(ctx context.Context, control *http.ResponseController) error {
	err := control.SetWriteDeadline(time.Now().Add(writeTime))
	if err == nil && ctx.Err() != nil { // after the one above, or hurry might have come between
		err = control.SetWriteDeadline(time.Now().Add(lastWrite))
	}
	return err
}

type eventsInput struct {
	ID     string `path:"id" maxLength:"64"`
	After  string `header:"Last-Event-ID" maxLength:"64" doc:"Goes on after this event."`
	Query  string `query:"after" maxLength:"64" doc:"The same, for those who cannot set a header."`
	Follow bool   `query:"follow" default:"true" doc:"Whether to stay until the run has ended, or to end after what there is so far."`
}

// streamOperations registers what is answered with a stream.
func (a *API) streamOperations(h huma.API) {
	events := operation("watch-run", http.MethodGet, "/api/v1/runs/{id}/events", "Watch a run as it happens", http.StatusNotFound, http.StatusUnprocessableEntity)
	events.Description = "Server-Sent Events named log, progress, step and run, whose data is an event as JSON, and one named end, whose data is the run, after which the stream ends. " +
		"It goes on after Last-Event-ID; where nothing is left to tell, the answer is 204, which ends a browser's EventSource."
	schema := h.OpenAPI().Components.Schemas.Schema(typeOf[actions.Event](), true, "Event")
	events.Responses = map[string]*huma.Response{
		"200": {Description: "The events.", Content: map[string]*huma.MediaType{
			"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString, Description: "Each event's data is an Event, the last one's a Run.", Extensions: map[string]any{"x-event": schema}}},
		}},
		"204": {Description: "The run has ended and all has been told."},
	}
	huma.Register(h, events, a.events)
	a.logsOperation(h)
	a.auditOperation(h)
}

func (a *API) events(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	after := in.After
	if after == "" {
		after = in.Query
	}
	run, err := a.soon(ctx, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	first, err := a.service.Events(ctx, run.ID, after, batchSize, 0)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		if after != "" && len(first) == 0 && run.State != actions.RunRunning {
			hc.SetStatus(http.StatusNoContent)
			return
		}
		_, w := humago.Unwrap(hc)
		s := &stream{api: a, ctx: hc.Context(), w: w, control: http.NewResponseController(w), runID: run.ID, after: after, follow: in.Follow}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
		w.WriteHeader(http.StatusOK)
		defer hurry(s.ctx, s.control)()                                                 //nolint:contextcheck // a stream has huma's context of the request
		if err := s.run(hc.Context(), first); err != nil && hc.Context().Err() == nil { //nolint:contextcheck // a stream has huma's context of the request
			a.log.DebugContext(ctx, "a stream of events ended early", "run_id", run.ID, "error", err)
		}
	}}, nil
}

// stream tells one onlooker of one run.
type stream struct {
	api     *API
	ctx     context.Context // the request's, which is all that a stream lives for
	w       http.ResponseWriter
	control *http.ResponseController
	runID   string
	after   string
	follow  bool
}

// run tells until the run has ended, the onlooker or the server goes away, or
// Redis does not answer; the onlooker then comes back with Last-Event-ID.
func (s *stream) run(ctx context.Context, events []actions.Event) error {
	wait, quiet := time.NewTimer(0), time.Now()
	defer wait.Stop()
	if err := s.write("retry: 1000\n\n"); err != nil {
		return err
	}
	for {
		if err := s.tell(events); err != nil {
			return err
		}
		if len(events) > 0 {
			quiet = time.Now()
		}
		if len(events) < batchSize {
			done, err := s.finished(ctx, events)
			if done || err != nil || !s.follow {
				return err
			}
			pause := pollFast
			if time.Since(quiet) > 5*time.Second {
				pause = pollSlow
			}
			wait.Reset(pause)
			select {
			case <-ctx.Done():
				return nil
			case <-wait.C:
			}
		}
		if time.Since(quiet) > heartbeat {
			quiet = time.Now()
			if err := s.write(": still here\n\n"); err != nil {
				return err
			}
		}
		var err error
		if events, err = s.api.service.Events(ctx, s.runID, s.after, batchSize, 0); err != nil {
			return err
		}
	}
}

// finished tells whether the run has ended and all of it has been told, and
// then says so. The record is written before its last event is, or just after,
// so once it says that the run ended, the events are read one last time.
func (s *stream) finished(ctx context.Context, told []actions.Event) (bool, error) {
	if len(told) > 0 && told[len(told)-1].Kind != actions.EventRun {
		return false, nil // it goes on; the record is looked at when it is quiet
	}
	run, err := s.api.service.Run(ctx, s.runID)
	if err != nil || run.State == actions.RunRunning {
		return false, err
	}
	rest, err := s.api.service.Events(ctx, s.runID, s.after, batchSize, 0)
	if err != nil {
		return false, err
	}
	if err := s.tell(rest); err != nil || len(rest) == batchSize {
		return false, err
	}
	data, err := json.Marshal(toRun(run))
	if err != nil {
		return false, err
	}
	return true, s.write(fmt.Sprintf("event: end\ndata: %s\n\n", data))
}

// tell writes events.
func (s *stream) tell(events []actions.Event) error {
	if len(events) == 0 {
		return nil
	}
	var text []byte
	for _, e := range events {
		data, err := json.Marshal(e)
		if err != nil {
			return err
		}
		text = fmt.Appendf(text, "id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Kind, data)
		s.after = e.ID
	}
	return s.write(string(text))
}

func (s *stream) write(text string) error {
	if err := patience(s.ctx, s.control); err != nil {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}
