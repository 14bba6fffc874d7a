package approvals_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
)

func TestADeployRunsWithinMillisecondsOfItsSubmission(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	f, h := newFloor(t), newHeld()
	f.onRun = h.run
	b.work(approvals.WorkerOptions{Floor: f})
	best := time.Hour
	for range 5 {
		began := time.Now()
		r := b.submit(shop42, actions.VerbDeploy)
		req := h.next(t)
		best = min(best, time.Since(began))
		if req.RequestID != r.ID || req.Digest == "" || req.Order.Commit.SHA == "" {
			t.Errorf("it runs %+v", req)
		}
		h.finish(t, actions.RunSucceeded)
		r = b.untilState(r.ID, approvals.StateSucceeded)
		if r.RunID != req.ID || r.Digest != req.Digest || r.Plan == nil || r.Plan.Summary != "one part" || r.Reason != "" {
			t.Errorf("it ended as %+v", r)
		}
		wantEqual(t, "audit", b.kinds(shop42, r.ID), []string{"request.submitted", "request.released", "request.running", "request.succeeded"})
	}
	// Milliseconds are those of a machine that is not busy: on another one they are
	// as long as some of its round trips to Redis.
	pace := time.Hour
	for range 5 {
		began := time.Now()
		for range 50 {
			if err := b.rdb.Ping(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		pace = min(pace, time.Since(began))
	}
	t.Logf("from submission to run: %s at best; 50 round trips: %s", best, pace)
	if best > max(100*time.Millisecond, 5*pace) {
		t.Errorf("from submission to run it takes %s at best, and 50 round trips %s", best, pace)
	}
}

// policy is a Policy of one function.
type policy func(r *approvals.Request) (approvals.Outcome, error)

func (p policy) Evaluate(_ context.Context, r *approvals.Request) (approvals.Outcome, error) {
	return p(r)
}

// twoApprove asks for the approvals of two who are not the requester.
func twoApprove(r *approvals.Request) (approvals.Outcome, error) {
	n := 0
	for _, d := range r.Decisions {
		if d.Verdict == approvals.Approve && d.By.Actor != r.Requester.Actor && d.Digest == r.Digest {
			n++
		}
	}
	if n >= 2 {
		return approvals.Outcome{Effect: approvals.EffectRelease, Rules: []approvals.RuleOutcome{{Rule: "two"}}}, nil
	}
	return approvals.Outcome{Effect: approvals.EffectApprove, Reason: "Two others must agree.", Rules: []approvals.RuleOutcome{{Rule: "two"}}}, nil
}

func TestHowRequestsEnd(t *testing.T) {
	t.Parallel()
	refuse := func(*approvals.Request) (approvals.Outcome, error) {
		return approvals.Outcome{Effect: approvals.EffectRefuse, Reason: "Not on a Friday.", Rules: []approvals.RuleOutcome{{Rule: "friday"}}}, nil
	}
	planFails := func(err error) func(*floor) {
		return func(f *floor) { f.onPlan = func(context.Context, actions.Order, int) error { return err } }
	}
	runFails := func(err error) func(*floor) {
		return func(f *floor) {
			f.onRun = func(context.Context, actions.RunRequest, int) (actions.RunState, error) { return "", err }
		}
	}
	tests := map[string]struct {
		floor  func(*floor)
		policy approvals.Policy
		dry    bool
		state  approvals.State
		code   actions.Code
		reason string
		kinds  []string
	}{
		"a dry run ends with its plan": {
			dry: true, state: approvals.StateSucceeded, kinds: []string{"succeeded"},
		},
		"a policy refuses": {
			policy: policy(refuse), state: approvals.StateRefused, code: actions.CodeForbidden, reason: "Not on a Friday.", kinds: []string{"refused"},
		},
		"a policy that cannot tell releases nothing": {
			policy: policy(func(*approvals.Request) (approvals.Outcome, error) { return approvals.Outcome{}, errors.New("boom") }),
			state:  approvals.StateFailed, code: actions.CodeInternal, reason: "Something went wrong inside Berth; its log says what.", kinds: []string{"failed"},
		},
		"a policy with an answer of its own releases nothing": {
			policy: policy(func(*approvals.Request) (approvals.Outcome, error) { return approvals.Outcome{Effect: "yes"}, nil }),
			state:  approvals.StateFailed, code: actions.CodeInternal, reason: "The policy gave an answer that Berth does not know.", kinds: []string{"failed"},
		},
		"a policy that panics releases nothing": {
			policy: policy(func(*approvals.Request) (approvals.Outcome, error) { panic("boom") }),
			state:  approvals.StateFailed, code: actions.CodeInternal, reason: "A bug in Berth stopped this; its log says where.", kinds: []string{"failed"},
		},
		"a ref that is not there is refused": {
			floor: planFails(actions.Errorf("source.resolve", actions.CodeNotFound, "There is no branch nope in acme/shop.")),
			state: approvals.StateRefused, code: actions.CodeNotFound, reason: "There is no branch nope in acme/shop.", kinds: []string{"refused"},
		},
		"a cluster that refuses to be asked is a failure": {
			floor: planFails(actions.Errorf("helm.plan", actions.CodeDownstream, "The cluster says no.")),
			state: approvals.StateFailed, code: actions.CodeDownstream, reason: "The cluster says no.", kinds: []string{"failed"},
		},
		"a panic while planning is a failure": {
			floor: func(f *floor) { f.onPlan = func(context.Context, actions.Order, int) error { panic("boom") } },
			state: approvals.StateFailed, code: actions.CodeInternal, reason: "A bug in Berth stopped this; its log says where.", kinds: []string{"failed"},
		},
		"a run that fails says why": {
			floor: func(f *floor) {
				f.onRun = func(context.Context, actions.RunRequest, int) (actions.RunState, error) {
					return actions.RunFailed, nil
				}
			},
			state: approvals.StateFailed, code: actions.CodeDownstream, reason: "The pods of web are not ready.",
			kinds: []string{"released", "running", "failed"},
		},
		"a panic while running is a failure": {
			floor: func(f *floor) {
				f.onRun = func(context.Context, actions.RunRequest, int) (actions.RunState, error) { panic("boom") }
			},
			state: approvals.StateFailed, code: actions.CodeInternal, reason: "A bug in Berth stopped this; its log says where.",
			kinds: []string{"released", "running", "failed"},
		},
		"a run that cannot be made is a failure": {
			floor: runFails(actions.Errorf("runner.run", actions.CodeInvalid, "The app shop has no parts any more.")),
			state: approvals.StateFailed, code: actions.CodeInvalid, reason: "The app shop has no parts any more.",
			kinds: []string{"released", "running", "failed"},
		},
		"what would run changes without end": {
			floor: runFails(actions.Errorf("runner.run", actions.CodeStale, "There is a new commit.")),
			state: approvals.StateFailed, code: actions.CodeStale,
			reason: "What would run kept changing while it was planned, 4 times; ask again once it stands still. There is a new commit.",
			kinds: []string{
				"released", "running", "replanned", "released", "running", "replanned",
				"released", "running", "replanned", "released", "running", "failed",
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			metrics := approvals.NewMetrics()
			b := newBench(t, redistest.Client(t), approvals.Options{Metrics: metrics})
			f := newFloor(t)
			if test.floor != nil {
				test.floor(f)
			}
			b.SetPolicy(test.policy)
			b.work(approvals.WorkerOptions{Floor: f})
			r := b.submit(shop42, actions.VerbDeploy, func(r *approvals.Request) { r.DryRun = test.dry })
			r = b.until(r.ID, "ended", func(r *approvals.Request) bool { return r.State.Ended() })
			if r.State != test.state || r.Code != test.code || r.Reason != test.reason || r.EndedAt.IsZero() {
				t.Errorf("it ended as %s, %s: %q", r.State, r.Code, r.Reason)
			}
			if (r.RunID != "") != slices.Contains(test.kinds, "running") {
				t.Errorf("its run is %q", r.RunID)
			}
			want := []string{"request.submitted"}
			for _, kind := range test.kinds {
				want = append(want, "request."+kind)
			}
			wantEqual(t, "audit", b.kinds(shop42, r.ID), want)
			b.untilIdle()
			if n := ended(t, metrics, string(test.state)); n != 1 {
				t.Errorf("%v requests are counted as %s", n, test.state)
			}
		})
	}
}

// ended is how many requests m counts as ended in state.
func ended(t *testing.T, m *approvals.Metrics, state string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "berth_requests_ended_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "state" && label.GetValue() == state {
					return metric.GetCounter().GetValue()
				}
			}
		}
	}
	return 0
}

// untilIdle waits until no hints are left.
func (b *bench) untilIdle() {
	b.tb.Helper()
	ctx := context.Background()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		ready, _ := b.rdb.ZCard(ctx, approvals.ReadyKey).Result()
		later, _ := b.rdb.ZCard(ctx, approvals.LaterKey).Result()
		held, err := b.rdb.Keys(ctx, approvals.HeldKey+"[^d]*").Result() // what "dead" has was given up
		if err == nil && ready == 0 && later == 0 && len(held) == 0 {
			return
		}
		// Nobody tells when a stream gets shorter; a change of a record is near it.
		_, _ = b.store.Changes(ctx, "$", 50*time.Millisecond)
	}
	b.tb.Error("hints are left in the queue")
}

func TestWhatDoesNotAnswerIsAskedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	f := newFloor(t)
	away := &actions.Error{Op: "plan", Code: actions.CodeUnavailable, Msg: "GitHub does not answer.", Retry: true}
	f.onPlan = func(_ context.Context, _ actions.Order, n int) error {
		if n < 3 {
			return away
		}
		return nil
	}
	f.onRun = func(_ context.Context, _ actions.RunRequest, n int) (actions.RunState, error) {
		if n < 3 {
			return "", away
		}
		return actions.RunSucceeded, nil
	}
	b.work(approvals.WorkerOptions{Floor: f})
	r := b.submit(shop42, actions.VerbDeploy)
	r = b.untilState(r.ID, approvals.StateSucceeded, approvals.StateFailed)
	if r.State != approvals.StateSucceeded || f.runs(r.RunID) != 3 {
		t.Errorf("%s after %d calls of one run: %s", r.State, f.runs(r.RunID), r.Reason)
	}
	wantEqual(t, "audit", b.kinds(shop42, r.ID), []string{"request.submitted", "request.released", "request.running", "request.succeeded"})
}

func TestPlanningGivesUpOnWhatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	f := newFloor(t)
	f.onPlan = func(context.Context, actions.Order, int) error {
		return actions.Errorf("plan", actions.CodeUnavailable, "GitHub does not answer.")
	}
	b.work(approvals.WorkerOptions{Floor: f})
	r := b.submit(shop42, actions.VerbDeploy)
	r = b.until(r.ID, "ended", func(r *approvals.Request) bool { return r.State.Ended() })
	if r.State != approvals.StateFailed || r.Code != actions.CodeUnavailable || r.Reason != "GitHub does not answer." || f.planned[shop42] != 5 {
		t.Errorf("it ended as %s after %d tries: %q", r.State, f.planned[shop42], r.Reason)
	}
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	f := newFloor(t)
	b.SetPolicy(policy(twoApprove))
	b.work(approvals.WorkerOptions{Floor: f})
	decide := func(id string, v approvals.Verdict, by approvals.Requester) *approvals.Request {
		t.Helper()
		r, err := b.Decide(t.Context(), id, approvals.Decision{Verdict: v, By: by, Reason: "as " + by.Actor})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	cem := approvals.Requester{Actor: "cem", Identity: "slack:C"}

	r := b.untilState(b.submit(shop42, actions.VerbDeploy).ID, approvals.StatePending)
	if r.Reason != "Two others must agree." || r.Plan == nil || r.Digest == "" {
		t.Errorf("it is pending as %+v", r)
	}
	_, err := b.Decide(t.Context(), r.ID, approvals.Decision{Verdict: "maybe", By: ben})
	wantCode(t, err, actions.CodeInvalid)
	_, err = b.Decide(t.Context(), r.ID, approvals.Decision{Verdict: approvals.Approve})
	wantCode(t, err, actions.CodeInvalid)
	_, err = b.Decide(t.Context(), "01m7xpv4h8q4h52fmqnz7aa3em", approvals.Decision{Verdict: approvals.Approve, By: ben})
	wantCode(t, err, actions.CodeNotFound)
	decide(r.ID, approvals.Approve, ana) // the requester's own does not count in this policy
	decide(r.ID, approvals.Approve, ben)
	if again := decide(r.ID, approvals.Approve, ben); len(again.Decisions) != 2 || again.State != approvals.StatePending {
		t.Errorf("the same click again left %+v", again)
	}
	decide(r.ID, approvals.Approve, cem)
	r = b.untilState(r.ID, approvals.StateSucceeded)
	wantEqual(t, "audit", b.kinds(shop42, r.ID), []string{
		"request.submitted", "request.pending", "request.approved", "request.approved", "request.approved",
		"request.running", "request.succeeded",
	})
	_, err = b.Decide(t.Context(), r.ID, approvals.Decision{Verdict: approvals.Deny, By: ben})
	wantCode(t, err, actions.CodeConflict)

	r = b.untilState(b.submit(shop42, actions.VerbRestart).ID, approvals.StatePending)
	r = decide(r.ID, approvals.Deny, ben)
	if r.State != approvals.StateDenied || r.Reason != "Denied by ben: as ben." || len(r.Decisions) != 1 {
		t.Errorf("denied as %+v", r)
	}
	wantEqual(t, "audit", b.kinds(shop42, r.ID), []string{"request.submitted", "request.pending", "request.denied"})
	b.untilIdle() // a pending request does not spin, and nor does a denied one
}

func TestAPendingRequestHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	b.SetPolicy(policy(func(r *approvals.Request) (approvals.Outcome, error) {
		if r.Order.Verb == actions.VerbArchive {
			return approvals.Outcome{Effect: approvals.EffectApprove, Reason: "Somebody must agree."}, nil
		}
		return approvals.Outcome{Effect: approvals.EffectRelease}, nil
	}))
	b.work(approvals.WorkerOptions{Floor: newFloor(t)})
	waits := b.untilState(b.submit(shop42, actions.VerbArchive).ID, approvals.StatePending)
	b.untilState(b.submit(shop42, actions.VerbDeploy).ID, approvals.StateSucceeded)
	if r, err := b.Get(t.Context(), waits.ID); err != nil || r.State != approvals.StatePending {
		t.Errorf("it is %+v, %v", r, err)
	}
	b.untilIdle()
}

func TestAPendingRequestExpires(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{Patience: time.Second})
	b.SetPolicy(policy(twoApprove))
	b.work(approvals.WorkerOptions{Floor: newFloor(t)})
	r := b.untilState(b.submit(shop42, actions.VerbDeploy).ID, approvals.StateExpired)
	if !strings.Contains(r.Reason, "within 1s") {
		t.Errorf("it says %q", r.Reason)
	}
	wantEqual(t, "audit", b.kinds(shop42, r.ID), []string{"request.submitted", "request.pending", "request.expired"})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	f, h := newFloor(t), newHeld()
	f.onRun = h.run
	b.work(approvals.WorkerOptions{Floor: f})
	runs := b.submit(shop42, actions.VerbDeploy)
	h.next(t)
	waits := b.untilState(b.submit(shop42, actions.VerbRestart).ID, approvals.StateReleased)

	r, err := b.Cancel(t.Context(), waits.ID, ben, "not needed")
	if err != nil || r.State != approvals.StateCancelled || r.Reason != "Cancelled by ben: not needed." {
		t.Fatalf("a waiting one is %+v, %v", r, err)
	}
	if r, err = b.Cancel(t.Context(), waits.ID, ana, ""); err != nil || r.Reason != "Cancelled by ben: not needed." {
		t.Errorf("cancelled again it is %+v, %v", r, err)
	}
	r, err = b.Cancel(t.Context(), runs.ID, ben, "wrong commit!")
	if err != nil || r.State != approvals.StateRunning || r.Stop == nil {
		t.Fatalf("a running one is %+v, %v", r, err)
	}
	r = b.untilState(runs.ID, approvals.StateCancelled)
	if approvals.StopLook > time.Second || r.Reason != "Stopped by ben: wrong commit!" || r.Code != actions.CodeCancelled {
		t.Errorf("within %s it is %s: %q", approvals.StopLook, r.State, r.Reason)
	}
	wantEqual(t, "audit", b.kinds(shop42, runs.ID), []string{"request.submitted", "request.released", "request.running", "request.stop", "request.cancelled"})
	wantEqual(t, "audit", b.kinds(shop42, waits.ID), []string{"request.submitted", "request.released", "request.cancelled"})

	_, err = b.Cancel(t.Context(), runs.ID, approvals.Requester{}, "")
	wantCode(t, err, actions.CodeInvalid)
	done := b.submit(shop43, actions.VerbDeploy)
	h.next(t)
	h.finish(t, actions.RunSucceeded)
	b.untilState(done.ID, approvals.StateSucceeded)
	_, err = b.Cancel(t.Context(), done.ID, ben, "")
	wantCode(t, err, actions.CodeConflict)
}

func TestRequestsOfOneEnvironmentRunInTheirOrder(t *testing.T) {
	t.Parallel()
	o := redistest.Options(t)
	b := newBench(t, newClient(t, o), approvals.Options{})
	f := newFloor(t)
	f.onPlan = func(_ context.Context, _ actions.Order, n int) error {
		if n == 1 { // the first is the slowest to plan
			<-time.After(300 * time.Millisecond)
		}
		return nil
	}
	var want []string
	for _, verb := range []actions.Verb{"archive", "restore", "restart", "sleep", "wake", "extend", "restart", "deploy", "restart"} {
		want = append(want, b.submit(shop42, verb).ID)
	}
	b.work(approvals.WorkerOptions{Floor: f, Replica: "one"})
	newBench(t, newClient(t, o), approvals.Options{}).work(approvals.WorkerOptions{Floor: f, Replica: "two"})
	began := time.Now()
	for _, id := range want {
		b.untilState(id, approvals.StateSucceeded)
	}
	wantEqual(t, "they ran", f.began(), want)
	t.Logf("all took %s", time.Since(began))
	b.untilIdle()
}

func TestStoppingHandsOver(t *testing.T) {
	t.Parallel()
	o := redistest.Options(t)
	b := newBench(t, newClient(t, o), approvals.Options{})
	f, h := newFloor(t), newHeld()
	f.onRun = h.run
	const lease = 10 * patience // for which nobody here waits
	stop := b.work(approvals.WorkerOptions{Floor: f, Replica: "one", Lease: lease})
	r := b.submit(shop42, actions.VerbDeploy)
	first := h.next(t)
	other := newBench(t, newClient(t, o), approvals.Options{})
	other.work(approvals.WorkerOptions{Floor: f, Replica: "two", Lease: lease})
	stop()
	if second := h.next(t); second.ID != first.ID {
		t.Errorf("run %s went on as %s", first.ID, second.ID)
	}
	h.finish(t, actions.RunSucceeded)
	b.untilState(r.ID, approvals.StateSucceeded)
	wantEqual(t, "audit", b.kinds(shop42, r.ID), []string{"request.submitted", "request.released", "request.running", "request.succeeded"})
}

func TestStoppingLeavesTimeToEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	f, h := newFloor(t), newHeld()
	f.onRun = h.run
	stop, stopped := b.start(approvals.WorkerOptions{Floor: f, Grace: patience})
	r := b.submit(shop42, actions.VerbDeploy)
	h.next(t)
	stop()
	waits := b.submit(shop43, actions.VerbDeploy)
	h.finish(t, actions.RunSucceeded)
	b.untilState(r.ID, approvals.StateSucceeded)
	stopped()
	if now, err := b.Get(t.Context(), waits.ID); err != nil || now.State != approvals.StatePlanning || len(f.began()) != 1 {
		t.Errorf("what came while it stopped is %+v, %v", now, err)
	}
	if held, err := b.rdb.Keys(t.Context(), approvals.HeldKey+"*").Result(); err != nil || len(held) != 0 {
		t.Errorf("the worker left with %v in hand, %v", held, err)
	}
	b.work(approvals.WorkerOptions{Floor: newFloor(t)})
	b.untilState(waits.ID, approvals.StateSucceeded)
}

func TestALostLeaseStopsTheRunAndNothingIsWritten(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	f := newFloor(t)
	begun, cause := make(chan actions.RunRequest, 10), make(chan error, 10)
	f.onRun = func(ctx context.Context, req actions.RunRequest, n int) (actions.RunState, error) {
		begun <- req
		if n > 1 {
			return actions.RunSucceeded, nil
		}
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return actions.RunFailed, nil // what it would write must not be written
	}
	b.work(approvals.WorkerOptions{Floor: f, Replica: "one", Lease: 6 * time.Second}) // which is looked after every 2 s
	r := b.submit(shop42, actions.VerbDeploy)
	<-begun
	if freed, err := b.store.ReleaseDead(t.Context(), shop42, func(string) bool { return true }); err != nil || !freed {
		t.Fatal(freed, err)
	}
	thief, err := b.store.Acquire(t.Context(), shop42, "thief", patience)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-cause, actions.CodeFenced)
	if err := thief.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-begun
	b.untilState(r.ID, approvals.StateSucceeded)
	wantEqual(t, "audit", b.kinds(shop42, r.ID), []string{"request.submitted", "request.released", "request.running", "request.succeeded"})
}
