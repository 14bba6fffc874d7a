package api

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/berth-dev/berth/actions"
)

type logsQuery struct {
	App       string `path:"app" maxLength:"40"`
	Name      string `path:"name" maxLength:"40"`
	Part      string `query:"part" maxLength:"40" doc:"Only this part's."`
	Pod       string `query:"pod" maxLength:"253" doc:"Only pods whose names begin so."`
	Container string `query:"container" maxLength:"253" doc:"Only containers of this name."`
	Since     string `query:"since" maxLength:"40" doc:"No lines that are older: a time (RFC 3339), or how long ago (10m)." example:"10m"`
	Tail      int    `query:"tail" minimum:"0" maximum:"100000" doc:"The last so many lines of each container; 0 means all."`
	Contains  string `query:"contains" maxLength:"800" doc:"Only lines that hold this text."`
	Follow    bool   `query:"follow" doc:"Stays, and tells what is printed from now on."`
}

// logsOperation registers what an environment's programs print.
func (a *API) logsOperation(h huma.API) {
	op := operation("get-environment-logs", http.MethodGet, "/api/v1/environments/{app}/{name}/logs", "Read what an environment's programs print", http.StatusNotFound, http.StatusUnprocessableEntity)
	op.Description = "One JSON value a line, of all parts and containers merged, in the order of their times. With `follow` it does not end, and is kept alive by empty lines."
	schema := h.OpenAPI().Components.Schemas.Schema(typeOf[actions.LogLine](), true, "LogLine")
	op.Responses = map[string]*huma.Response{"200": {Description: "The lines.", Content: map[string]*huma.MediaType{
		ndjson: {Schema: &huma.Schema{Type: huma.TypeString, Description: "A LogLine a line. When it breaks off, the last line is a problem that says why.", Extensions: map[string]any{"x-line": schema}}},
	}}}
	huma.Register(h, op, a.logs)
}

func (a *API) logs(ctx context.Context, in *logsQuery) (*huma.StreamResponse, error) {
	env, err := a.found(ctx, envPath{App: in.App, Name: in.Name})
	if err != nil {
		return nil, err
	}
	q := actions.LogQuery{Pod: in.Pod, Container: in.Container, Tail: in.Tail, Contains: in.Contains, Follow: in.Follow}
	if q.Since, err = sinceOf(in.Since, time.Now()); err != nil {
		return nil, a.fail(ctx, err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) { //nolint:contextcheck // a stream has huma's context of the request
		_, w := humago.Unwrap(hc)
		p := &printing{ctx: hc.Context(), w: w, control: http.NewResponseController(w)}
		defer hurry(p.ctx, p.control)()
		stop := make(chan struct{})
		var beats sync.WaitGroup
		beats.Go(func() { p.keepAlive(stop) })
		err := a.service.Logs(hc.Context(), env.Name, in.Part, q, p.line)
		close(stop)
		beats.Wait()
		p.end(a, err)
	}}, nil
}

// sinceOf reads a time, or how long ago one was; "" is the zero time.
func sinceOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, actions.Errorf("api.logs", actions.CodeInvalid, "`since` is a time (2026-01-02T15:04:05Z), or how long ago (10m).")
}

// printing sends lines to one reader. Nothing is sent before there is a line, so
// that what fails at once is an answer of its own.
type printing struct {
	ctx     context.Context // the request's, which is all that this lives for
	mu      sync.Mutex
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
	held    bool // something is written and not flushed
	flushed time.Time
}

func (p *printing) line(l actions.LogLine) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return p.send(append(text, '\n'), false)
}

// flushEvery is how long lines are held back at most while others come.
const flushEvery = 50 * time.Millisecond

func (p *printing) send(text []byte, now bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.begun {
		p.begun = true
		p.w.Header().Set("Content-Type", ndjson)
		p.w.Header().Set("Cache-Control", "no-store")
		p.w.Header().Set("X-Accel-Buffering", "no") // nginx would hold lines back
	}
	if err := patience(p.ctx, p.control); err != nil {
		return err
	}
	if _, err := p.w.Write(text); err != nil {
		return err
	}
	if p.held = !now && time.Since(p.flushed) < flushEvery; p.held {
		return nil // keepAlive flushes what is left
	}
	p.flushed = time.Now()
	return p.control.Flush()
}

// keepAlive flushes lines that were held back, and says something from time to
// time when there are none.
func (p *printing) keepAlive(stop <-chan struct{}) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	quiet := time.Now()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		if p.flushed.After(quiet) {
			quiet = p.flushed
		}
		if p.held {
			p.held = false
			_ = p.control.Flush() // a reader that is gone shows at the next line
		}
		p.mu.Unlock()
		if time.Since(quiet) > heartbeat {
			quiet = time.Now()
			_ = p.send([]byte{'\n'}, true)
		}
	}
}

// end says how it ended. A reader who left hears nothing of that.
func (p *printing) end(a *API, err error) {
	if err == nil {
		_ = p.send(nil, true)
		return
	}
	told := problemOf(err)
	if p.ctx.Err() != nil {
		told = problem(actions.CodeUnavailable, "Berth is being stopped before all was told; ask again in a moment.")
	} else {
		_ = a.fail(p.ctx, err) // it logs what is not the caller's
	}
	if !p.begun {
		told.write(p.w)
		return
	}
	if text, err := json.Marshal(told); err == nil {
		_ = p.send(append(text, '\n'), true)
	}
	panic(http.ErrAbortHandler) // the one way to show the client that this is not all
}
