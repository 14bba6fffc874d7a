package actions

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// appKey holds the basis of a run, so that a worker that takes the run
// up goes on with what was agreed on, whatever the configuration says by then.
func appKey(id string) string { return "run:" + id + ":app" }

// saveWithin is how long one try at writing a record may take.
const saveWithin = 10 * time.Second

// journal is the record of a run that is being run, and of its environment.
// Every change is in Redis before the run goes on.
type journal struct {
	store    *Store
	lease    *Lease
	events   *eventLog
	patience time.Duration // how long to wait for Redis to come back
	origin   Origin        // where the run was asked for, for its audit records

	mu  sync.Mutex
	run *Run
	env *Environment
}

// Origin is where an action was asked for. A run's audit records carry it, so
// that each of them says by itself who had it done and from where.
type Origin struct {
	Surface string `json:"surface,omitempty"` // "github", "cli", "api"
	Address string `json:"address,omitempty"` // the remote address
}

// entry is one change that a journal records.
type entry struct {
	kind   string // of the audit record: "run.step.done"
	detail map[string]string
	events []Event
	app    string // see saving
	// change makes the change. It is called again, on newer records, when
	// somebody else changed the environment at the same moment.
	change func(run *Run, env *Environment)
}

// snapshot is the run and the environment as last written. They are the
// caller's own.
func (j *journal) snapshot() (*Run, *Environment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return cloneRun(j.run), cloneEnv(j.env)
}

func cloneRun(r *Run) *Run {
	c := *r
	c.Steps = slices.Clone(r.Steps)
	return &c
}

func cloneEnv(e *Environment) *Environment {
	c := *e
	c.Parts = maps.Clone(e.Parts)
	c.Links = slices.Clone(e.Links)
	return &c
}

// write records a change. A change that has happened is recorded even when ctx
// has ended since. It returns CodeFenced when the lease is lost, and
// CodeUnavailable when Redis did not come back in time.
func (j *journal) write(ctx context.Context, e entry) error {
	ctx = context.WithoutCancel(ctx)
	j.events.flush() // what was said before comes before
	j.mu.Lock()
	defer j.mu.Unlock()
	until := time.Now().Add(j.patience)
	for try := 1; ; try++ {
		run, env := cloneRun(j.run), cloneEnv(j.env)
		e.change(run, env)
		err := j.save(ctx, saving{env: env, token: j.lease.Token, run: run, events: e.events, app: e.app, rec: j.record(run, e)})
		switch {
		case err == nil:
			j.run, j.env = run, env
			return nil
		case CodeOf(err) == CodeConflict && try < saveTries:
			if err := j.reload(ctx); err != nil && !Retryable(err) {
				return err
			}
		case Retryable(err) && time.Now().Before(until):
			if err := pauseFor(ctx, min(time.Duration(try)*100*time.Millisecond, 2*time.Second)); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// patiently does something in Redis, again while it does not answer, for as long
// as a change of a record is tried.
func (j *journal) patiently(ctx context.Context, do func(context.Context) error) error {
	ctx = context.WithoutCancel(ctx)
	until := time.Now().Add(j.patience)
	for try := 1; ; try++ {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, saveWithin)
			defer cancel()
			return do(ctx)
		}()
		if err == nil || !Retryable(err) || time.Now().After(until) {
			return err
		}
		if err := pauseFor(ctx, min(time.Duration(try)*100*time.Millisecond, 2*time.Second)); err != nil {
			return err
		}
	}
}

func (j *journal) save(ctx context.Context, c saving) error {
	ctx, cancel := context.WithTimeout(ctx, saveWithin)
	defer cancel()
	return j.store.save(ctx, j.lease.Env, c)
}

// reload reads the environment again, since somebody else has changed it.
func (j *journal) reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, saveWithin)
	defer cancel()
	env, err := j.store.Environment(ctx, j.lease.Env)
	if CodeOf(err) == CodeNotFound {
		return nil
	}
	if err == nil {
		j.env = env
	}
	return err
}

// record is the audit record of e. Those of a run that begins, or that another
// worker takes up, say which worker has it now, and by which lease.
func (j *journal) record(run *Run, e entry) Record {
	detail := e.detail
	if e.kind == "run.started" || e.kind == "run.resumed" {
		detail = maps.Clone(e.detail)
		detail["worker"], detail["lease"] = j.lease.Holder, strconv.FormatInt(j.lease.Token, 10)
	}
	return Record{
		Kind: e.kind, Actor: run.Order.By, Identity: run.Order.Identity, Surface: j.origin.Surface, Address: j.origin.Address,
		RequestID: run.RequestID, RunID: run.ID, Digest: run.Digest, Detail: detail,
	}
}

// stepEvent is the event that a step changed its state.
func (j *journal) stepEvent(part string, state StepState, text string) Event {
	return Event{Time: j.store.clock(), Kind: EventStep, Part: part, State: string(state), Text: text}
}

func (j *journal) runEvent(state RunState, text string) Event {
	return Event{Time: j.store.clock(), Kind: EventRun, State: string(state), Text: text}
}

// basis is what a run goes by, as it was when the run began.
type basis struct {
	App *App
	Ref string            // what the commit was asked for as
	PR  int               // the pull request's number
	Set map[string]string // what is set, be it by the order or as it was before
	// Agreed are the inputs of the plan that was agreed on, by part.
	Agreed map[string]map[string]string `json:",omitempty"`
	Then   precedent                    `json:",omitzero"`
}

// basis is what the scene's run goes by.
func (sc *scene) basis() basis {
	return basis{App: sc.app, Ref: sc.ref, PR: sc.pr, Set: sc.set, Agreed: sc.agreed, Then: sc.then}
}

func (b basis) encode() (string, error) {
	text, err := json.Marshal(b)
	if err != nil {
		return "", Wrap("run.begin", CodeInvalid, err, "The app's configuration holds a value that cannot be written down.")
	}
	return string(text), nil
}

// decodeBasis reads what encode wrote. Whole numbers stay whole.
func decodeBasis(text []byte) (*basis, error) {
	const op = "run.resume"
	var b basis
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, Wrap(op, CodeInternal, err, "What the run began with cannot be read.")
	}
	var raw struct {
		App struct {
			Parts []struct{ With json.RawMessage }
		}
	}
	if err := json.Unmarshal(text, &raw); err != nil || b.App == nil {
		return nil, Wrap(op, CodeInternal, err, "What the run began with cannot be read.")
	}
	for i := range b.App.Parts {
		b.App.Parts[i].With, _ = whole(b.App.Parts[i].With, raw.App.Parts[i].With).(map[string]any)
	}
	return &b, nil
}

// whole gives numbers that were written without a point or exponent their
// integer type back.
func whole(v any, text json.RawMessage) any {
	switch v := v.(type) {
	case map[string]any:
		var raw map[string]json.RawMessage
		if json.Unmarshal(text, &raw) == nil {
			for key := range v {
				v[key] = whole(v[key], raw[key])
			}
		}
	case []any:
		var raw []json.RawMessage
		if json.Unmarshal(text, &raw) == nil {
			for i := range v {
				v[i] = whole(v[i], raw[i])
			}
		}
	case float64:
		if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
			return n
		}
	}
	return v
}
