package approvals_test

import (
	"context"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
)

// shelf is a catalog of one app, whose one part it also executes: what a worker
// and the real floor need, without a platform.
type shelf struct {
	begun chan actions.Step
	end   chan error
	value string // in the part's `with`: another value is another digest
}

func (s *shelf) App(name string) (*actions.App, error) {
	if name != "shop" {
		return nil, actions.Errorf("catalog", actions.CodeNotFound, "There is no app %q; there is shop.", name)
	}
	return &actions.App{Name: "shop", Parts: []actions.Part{{Name: "web", Use: "shelf", With: map[string]any{"value": s.value}}}}, nil
}

func (s *shelf) Apps() []*actions.App {
	app, _ := s.App("shop")
	return []*actions.App{app}
}

func (s *shelf) Executor(context.Context, string) (actions.Executor, error) { return s, nil }

func (s *shelf) Describe(context.Context) (actions.Description, error) {
	return actions.Description{Name: "shelf", Version: "1", Verbs: actions.Verbs()}, nil
}

func (s *shelf) Plan(_ context.Context, step actions.Step) (actions.PartPlan, error) {
	value, _ := step.With["value"].(string)
	return actions.PartPlan{Part: step.Part, Use: "shelf", Summary: "put it there", Inputs: map[string]string{"value": value}}, nil
}

func (s *shelf) Run(ctx context.Context, step actions.Step, _ func(actions.Event)) (actions.Outputs, error) {
	s.begun <- step
	select {
	case err := <-s.end:
		return nil, err
	case <-ctx.Done():
		return nil, actions.Wrap("shelf.run", actions.CodeCancelled, ctx.Err(), "It was stopped.")
	}
}

func (s *shelf) Observe(context.Context, actions.Step) (actions.Observation, error) {
	return actions.Observation{Health: actions.Healthy}, nil
}

func (b *bench) runner(s *shelf) approvals.Floor {
	return actions.NewRunner(actions.RunnerOptions{Store: b.store, Catalog: s, Executors: s})
}

func TestWorkersAndTheRealRunnerAgree(t *testing.T) {
	t.Parallel()
	o := redistest.Options(t)
	b := newBench(t, newClient(t, o), approvals.Options{})
	s := &shelf{begun: make(chan actions.Step, 10), end: make(chan error, 10)}
	b.work(approvals.WorkerOptions{Floor: b.runner(s), Replica: "one"})

	// It runs, and the environment says so.
	r := b.submit(shop42, actions.VerbDeploy)
	<-s.begun
	s.end <- nil
	r = b.untilState(r.ID, approvals.StateSucceeded, approvals.StateFailed)
	env, err := b.store.Environment(t.Context(), shop42)
	if err != nil || env.State != actions.StateRunning || env.LastAction == nil || env.LastAction.RequestID != r.ID {
		t.Fatalf("after %s (%s) the environment is %+v, %v", r.State, r.Reason, env, err)
	}

	// It fails, for the reason that the executor gave.
	r = b.submit(shop42, actions.VerbDeploy)
	<-s.begun
	s.end <- actions.Errorf("shelf.run", actions.CodeDownstream, "The shelf is full.")
	r = b.untilState(r.ID, approvals.StateFailed)
	if r.Code != actions.CodeDownstream || r.Reason == "" {
		t.Errorf("it failed as %s: %q", r.Code, r.Reason)
	}

	// It is stopped.
	r = b.submit(shop42, actions.VerbDeploy)
	<-s.begun
	if _, err := b.Cancel(t.Context(), r.ID, ben, ""); err != nil {
		t.Fatal(err)
	}
	r = b.untilState(r.ID, approvals.StateCancelled)
	run, err := b.store.Run(t.Context(), r.RunID)
	if err != nil || run.State != actions.RunCancelled || run.Error != "Stopped by ben." || run.Left != "web is as its deploy left it" || r.Reason != run.Error || r.Left != run.Left {
		t.Errorf("its run is %+v, %v; the request says %q", run, err, r.Reason)
	}

	// An app that is not there is refused.
	r = b.submit(actions.Name{App: "nope", Env: "pr-1"}, actions.VerbDeploy)
	r = b.untilState(r.ID, approvals.StateRefused, approvals.StateFailed)
	if r.State != approvals.StateRefused || r.Code != actions.CodeNotFound {
		t.Errorf("an unknown app is %s, %s: %q", r.State, r.Code, r.Reason)
	}
	if err := b.store.VerifyAudit(t.Context(), shop42); err != nil {
		t.Error(err)
	}
}

func TestTheRealRunnerIsHandedOver(t *testing.T) {
	t.Parallel()
	o := redistest.Options(t)
	s := &shelf{begun: make(chan actions.Step, 10), end: make(chan error, 10)}
	b := newBench(t, newClient(t, o), approvals.Options{})
	stop := b.work(approvals.WorkerOptions{Floor: b.runner(s), Replica: "one", Lease: time.Minute})
	r := b.submit(shop42, actions.VerbDeploy)
	first := <-s.begun
	other := newBench(t, newClient(t, o), approvals.Options{})
	other.work(approvals.WorkerOptions{Floor: other.runner(s), Replica: "two", Lease: time.Minute})
	stop()
	if again := <-s.begun; again.ID != first.ID {
		t.Errorf("step %s went on as %s", first.ID, again.ID)
	}
	s.end <- nil
	r = b.untilState(r.ID, approvals.StateSucceeded, approvals.StateFailed)
	run, err := b.store.Run(t.Context(), r.RunID)
	if err != nil || run.State != actions.RunSucceeded || run.Attempt != 2 {
		t.Errorf("the run is %+v, %v", run, err)
	}
	wantEqual(t, "audit of the request", requestKinds(b.kinds(shop42, r.ID)),
		[]string{"request.submitted", "request.released", "request.running", "request.succeeded"})
}

func TestWhatChangedSinceItWasPlannedIsPlannedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	s := &shelf{begun: make(chan actions.Step, 10), end: make(chan error, 10), value: "old"}
	// The value changes between the plan and the run.
	b.SetPolicy(policy(func(*approvals.Request) (approvals.Outcome, error) {
		s.value = "new"
		return approvals.Outcome{Effect: approvals.EffectRelease}, nil
	}))
	b.work(approvals.WorkerOptions{Floor: b.runner(s)})
	r := b.submit(shop42, actions.VerbDeploy)
	step := <-s.begun
	s.end <- nil
	r = b.untilState(r.ID, approvals.StateSucceeded, approvals.StateFailed)
	if r.State != approvals.StateSucceeded || r.Replans != 1 || step.With["value"] != "new" {
		t.Errorf("it ended as %s after %d replans with %v: %s", r.State, r.Replans, step.With, r.Reason)
	}
	wantEqual(t, "audit of the request", requestKinds(b.kinds(shop42, r.ID)), []string{
		"request.submitted", "request.released", "request.running", "request.replanned",
		"request.released", "request.running", "request.succeeded",
	})
}

// requestKinds are those of kinds that a request has, without its run's.
func requestKinds(kinds []string) []string {
	var kept []string
	for _, kind := range kinds {
		if len(kind) > 8 && kind[:8] == "request." {
			kept = append(kept, kind)
		}
	}
	return kept
}

func TestAKeyIsBoundToWhatCameWithIt(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	for _, test := range []struct {
		key, content string
		want         bool
	}{
		{"k", "deploy shop/pr-42", true},
		{"k", "deploy shop/pr-42", true},
		{"k", "deploy shop/pr-43", false},
		{"k2", "deploy shop/pr-43", true},
	} {
		if got, err := b.Claim(t.Context(), test.key, test.content); err != nil || got != test.want {
			t.Errorf("%s with %s: %t, %v", test.key, test.content, got, err)
		}
	}
	r := b.submit(shop42, actions.VerbDeploy, func(r *approvals.Request) { r.Key = "k" })
	if known, err := b.Known(t.Context(), shop42, "k"); err != nil || known == nil || known.ID != r.ID {
		t.Errorf("the key leads to %+v, %v", known, err)
	}
	for _, key := range []string{"", "other"} {
		if known, err := b.Known(t.Context(), shop42, key); err != nil || known != nil {
			t.Errorf("key %q leads to %+v, %v", key, known, err)
		}
	}
}
