package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
)

// lagTime is how long a Run waits for an earlier one of the same part that was
// cancelled and has not returned yet.
const lagTime = 30 * time.Second

// server turns calls over the wire into calls of an Executor.
type server struct {
	executorv1.UnimplementedExecutorServiceServer
	x     Executor
	about func() Description // x's, asked once
	log   *slog.Logger
	lag   time.Duration
	calls sync.WaitGroup

	mu      sync.Mutex
	running map[string]chan struct{}       // by part: closed when its Run returns
	stops   map[*context.CancelFunc]string // of each Run, to the ID of its step
	ended   context.Context                // done when the executor is to end
	end     context.CancelFunc
}

func newServer(x Executor, log *slog.Logger) *server {
	ctx, cancel := context.WithCancel(context.Background())
	return &server{x: x, about: sync.OnceValue(x.Describe), log: log, lag: lagTime, running: map[string]chan struct{}{}, stops: map[*context.CancelFunc]string{}, ended: ctx, end: cancel}
}

// drain cancels the calls that are being served and waits for them, for as long
// as limit.
func (s *server) drain(limit time.Duration) {
	s.mu.Lock() // no call is counted after this
	s.end()
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.calls.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// serve runs call with a context that also ends with the executor, and makes an
// error fit for the wire of whatever comes out of it, a panic included. hide
// knows the secrets that call has looked up so far.
func (s *server) serve(ctx context.Context, method string, call func(context.Context, *hider) error) (err error) {
	s.mu.Lock()
	if s.ended.Err() != nil {
		s.mu.Unlock()
		return status.Error(codes.Unavailable, "the executor is ending")
	}
	s.calls.Add(1)
	s.mu.Unlock()
	defer s.calls.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ended, cancel)() //nolint:contextcheck // It is the executor's end, which ends every call beside the caller's own.
	ctx, hide := withHider(ctx)
	defer func() {
		if p := recover(); p != nil {
			said := hide.text(fmt.Sprint(p))
			s.log.Error("the executor panicked", "method", method, "panic", said, "stack", string(debug.Stack()))
			err = statusOf(&Error{
				Fault: FaultInternal,
				Msg:   "The executor hit a bug and gave up on this step; Berth's log has the details.",
				Err:   fmt.Errorf("panic in %s: %s", method, said),
			})
		}
	}()
	err = call(ctx, hide)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		return status.FromContextError(ctx.Err()).Err()
	}
	if a, ok := errors.AsType[absent](err); ok {
		return status.Error(codes.Unimplemented, string(a))
	}
	return statusOf(hide.failure(err))
}

// absent is a capability that the executor lacks.
type absent string

func (a absent) Error() string { return string(a) }

func (s *server) Describe(ctx context.Context, _ *executorv1.DescribeRequest) (r *executorv1.DescribeResponse, err error) {
	err = s.serve(ctx, "Describe", func(context.Context, *hider) error {
		r, err = describe(s.x, s.about())
		return err
	})
	return r, err
}

func (s *server) Plan(ctx context.Context, req *executorv1.PlanRequest) (r *executorv1.PlanResponse, err error) {
	err = s.serve(ctx, "Plan", func(ctx context.Context, hide *hider) error {
		planner, ok := s.x.(Planner)
		if !ok {
			return absent("this executor cannot plan")
		}
		step, err := s.step(req.GetStep(), req.GetBrief())
		if err != nil {
			return err
		}
		step.Agreed = req.GetAgreed()
		plan, err := planner.Plan(ctx, step)
		if err != nil {
			return err
		}
		r = planTo(hide.plan(plan))
		return nil
	})
	return r, err
}

func (s *server) Observe(ctx context.Context, req *executorv1.ObserveRequest) (r *executorv1.ObserveResponse, err error) {
	err = s.serve(ctx, "Observe", func(ctx context.Context, hide *hider) error {
		observer, ok := s.x.(Observer)
		if !ok {
			return absent("this executor cannot observe")
		}
		o, err := observer.Observe(ctx, stepFrom(req.GetStep(), false))
		if err != nil {
			return err
		}
		r = observationTo(hide.observation(o))
		return nil
	})
	return r, err
}

func (s *server) Run(req *executorv1.RunRequest, stream grpc.ServerStreamingServer[executorv1.RunResponse]) error {
	ctx, forget := s.stoppable(stream.Context(), req.GetStep().GetId())
	defer forget()
	return s.serve(ctx, "Run", func(ctx context.Context, hide *hider) error {
		step, err := s.step(req.GetStep(), false)
		if err != nil {
			return err
		}
		step.Agreed = req.GetAgreed()
		release, err := s.claim(ctx, step)
		if err != nil {
			return err
		}
		defer release()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		out := &events{stream: stream, hide: hide}
		defer out.close()
		if err := s.x.Run(ctx, step, out); err != nil {
			return err
		}
		// A Run that came back without an error after it was cancelled may have
		// stopped half-way; only a call that is still wanted is done.
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return out.send(&executorv1.RunResponse{Event: &executorv1.RunResponse_Done{Done: &executorv1.Done{}}})
	})
}

// stoppable is ctx for a Run of the step with that id, which Cancel ends.
func (s *server) stoppable(ctx context.Context, id string) (_ context.Context, forget func()) {
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stops[&cancel] = id
	return ctx, func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.stops, &cancel)
	}
}

// Cancel asks the Runs of a step to stop. Their streams stay open, so that the
// host hears what they still say, and when they have ended.
func (s *server) Cancel(_ context.Context, req *executorv1.CancelRequest) (*executorv1.CancelResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for cancel, id := range s.stops {
		if id == req.GetStepId() {
			found = true
			(*cancel)()
		}
	}
	return &executorv1.CancelResponse{Found: found}, nil
}

func (s *server) Inventory(ctx context.Context, req *executorv1.InventoryRequest) (r *executorv1.InventoryResponse, err error) {
	err = s.serve(ctx, "Inventory", func(ctx context.Context, _ *hider) error {
		inventory, ok := s.x.(Inventory)
		if !ok {
			return absent("this executor cannot list what it owns")
		}
		owned, err := inventory.Inventory(ctx, Scope{
			Cluster: clusterFrom(req.GetCluster()), Installation: req.GetInstallation(), Settings: object(req.GetSettings()),
		})
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err() // a list that was cut off is not the whole
		}
		r, err = ownedTo(owned)
		return err
	})
	return r, err
}

func (s *server) Check(ctx context.Context, req *executorv1.CheckRequest) (r *executorv1.CheckResponse, err error) {
	err = s.serve(ctx, "Check", func(ctx context.Context, hide *hider) error {
		checker, ok := s.x.(Checker)
		if !ok {
			return absent("this executor has nothing to check")
		}
		found, err := checker.Check(ctx, Scope{
			Cluster: clusterFrom(req.GetCluster()), Namespace: req.GetNamespace(), Installation: req.GetInstallation(), Settings: object(req.GetSettings()),
		})
		if err != nil {
			return err
		}
		r = findingsTo(hide.findings(found))
		return nil
	})
	return r, err
}

// step is what came over the wire, refused when the executor does not know its
// verb.
func (s *server) step(w *executorv1.Step, brief bool) (Step, error) {
	step := stepFrom(w, brief)
	if step.Verb == "" || !slices.Contains(s.about().Verbs, step.Verb) {
		name := string(step.Verb)
		if name == "" {
			name = w.GetVerb().String()
		}
		return Step{}, Invalid("The executor %s cannot %s.", s.about().Name, name)
	}
	return step, nil
}

// claim keeps two Runs of one part apart. A host that cancels a Run learns that
// the call is over before the executor has stopped working; the next one must
// not start beside it.
func (s *server) claim(ctx context.Context, step Step) (release func(), err error) {
	key := step.App + "/" + step.Env + "/" + step.Part
	mine := make(chan struct{})
	timeout := time.NewTimer(s.lag)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		earlier, busy := s.running[key]
		if !busy {
			s.running[key] = mine
			s.mu.Unlock()
			break
		}
		s.mu.Unlock()
		select {
		case <-earlier:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timeout.C:
			return nil, Internal("An earlier step of part %s was stopped, but has not ended yet. Try again in a while.", step.Part).WithRetry()
		}
	}
	return func() {
		s.mu.Lock()
		delete(s.running, key)
		s.mu.Unlock()
		close(mine)
	}, nil
}

// events sends what Run tells. It may outlive its Run in a goroutine that the
// executor forgot; it sends nothing then, for the stream is no longer its own.
type events struct {
	hide   *hider
	mu     sync.Mutex
	stream grpc.ServerStreamingServer[executorv1.RunResponse]
}

func (e *events) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stream = nil
}

func (e *events) send(r *executorv1.RunResponse) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stream == nil {
		return nil
	}
	return e.stream.Send(r)
}

// tell sends what cannot fail in a way that matters: when the host is gone, Run
// is cancelled.
func (e *events) tell(r *executorv1.RunResponse) { _ = e.send(r) }

func (e *events) Log(line string) {
	e.tell(&executorv1.RunResponse{Event: &executorv1.RunResponse_Log{Log: &executorv1.Log{Line: clean(e.hide.text(line), maxLine)}}})
}

func (e *events) Progress(text string, done, total int) {
	e.tell(&executorv1.RunResponse{Event: &executorv1.RunResponse_Progress{Progress: &executorv1.Progress{
		Text: clean(e.hide.text(text), maxLine), Done: count(done), Total: count(total),
	}}})
}

func (e *events) Output(key, value string) {
	e.tell(&executorv1.RunResponse{Event: &executorv1.RunResponse_Output{Output: &executorv1.Output{
		Key: clean(e.hide.text(key), maxLine), Value: clean(e.hide.text(value), maxLine),
	}}})
}

func (e *events) Receipt(r Resource) {
	r.Change = ChangeDelete
	e.tell(&executorv1.RunResponse{Event: &executorv1.RunResponse_Receipt{Receipt: resourceTo(e.hide.resource(r))}})
}

// count is n as the wire carries it.
func count(n int) int32 { return int32(min(max(n, 0), math.MaxInt32)) }
