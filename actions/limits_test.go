package actions_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
)

func TestAStepThatNeverEndsIsStopped(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.run = actions.NewRunner(actions.RunnerOptions{
		Store: h.store, Catalog: catalog{h.app}, Executors: h.world, Sources: h.repos, Now: h.now, StepWithin: time.Second,
	})
	h.world.before["web"] = func(ctx context.Context, _ actions.Step, _ func(actions.Event)) error {
		<-ctx.Done()
		return actions.Wrap("helm.deploy", actions.CodeCancelled, ctx.Err(), "The step was stopped.")
	}
	run := h.perform(actions.Order{Verb: actions.VerbDeploy})
	if run.State != actions.RunFailed || run.Code != actions.CodeDownstream || !strings.Contains(run.Error, "Part web: It was stopped, since it had not ended within 1s") {
		t.Errorf("run %+v", run)
	}
	if s := run.Steps[1]; s.State != actions.StepFailed || s.Tries != 1 || run.Steps[2].State != actions.StepSkipped {
		t.Errorf("steps %+v", run.Steps)
	}
}

// patience is a failure that says how long it lasts.
type patience struct{ d time.Duration }

func (p patience) Error() string             { return "throttled" }
func (p patience) RetryAfter() time.Duration { return p.d }

func TestAnExecutorSaysHowLongToWait(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const asked = 30 * time.Millisecond
	var failed, again time.Time
	h.world.before["web"] = func(context.Context, actions.Step, func(actions.Event)) error {
		if failed.IsZero() {
			failed = time.Now()
			return &actions.Error{Op: "helm.deploy", Code: actions.CodeDownstream, Msg: "Too many requests.", Err: patience{asked}, Retry: true}
		}
		again = time.Now()
		return nil
	}
	if run := h.perform(actions.Order{Verb: actions.VerbDeploy}); run.State != actions.RunSucceeded || run.Steps[1].Tries != 2 {
		t.Fatalf("run %+v", run)
	}
	if waited := again.Sub(failed); waited < asked {
		t.Errorf("waited %s, though the executor asked for %s", waited, asked)
	}
}

func TestAPanicEndsNothingElse(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	h.world.panics = true
	_, err := h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: actions.VerbDeploy}, false)
	wantCode(t, err, actions.CodeInternal)
	seen, err := h.run.Observe(h.ctx, shop42)
	if err != nil || seen["web"].Health != actions.Unknown || !strings.Contains(seen["web"].Text, "failed inside Berth") {
		t.Errorf("seen %+v, %v", seen, err)
	}
}

func TestPlansAreBounded(t *testing.T) {
	t.Parallel()
	line := strings.Repeat("+", 999) + "\n"
	tests := map[string]struct {
		plan actions.PartPlan
		code actions.Code
		ok   func(actions.PartPlan) bool
	}{
		"a diff that nobody reads to its end is cut after a line": {
			plan: actions.PartPlan{Diff: strings.Repeat(line, 50_000)},
			ok: func(p actions.PartPlan) bool {
				return len(p.Diff) < 600<<10 && strings.HasSuffix(p.Diff, "+\n… 49476000 more bytes are left out.\n")
			},
		},
		"a diff of one long line is cut": {
			plan: actions.PartPlan{Diff: strings.Repeat("é", 1<<20)},
			ok:   func(p actions.PartPlan) bool { return len(p.Diff) <= 512<<10 && strings.HasSuffix(p.Diff, "é…") },
		},
		"a diff of the usual length is kept": {
			plan: actions.PartPlan{Diff: line},
			ok:   func(p actions.PartPlan) bool { return p.Diff == line },
		},
		"a summary is cut": {
			plan: actions.PartPlan{Summary: strings.Repeat("x", 1<<20)},
			ok:   func(p actions.PartPlan) bool { return len(p.Summary) <= 4<<10 },
		},
		"inputs cannot be cut": {
			plan: actions.PartPlan{Inputs: map[string]string{"chart": strings.Repeat("x", 1<<20)}},
			code: actions.CodeInternal,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.world.answers["web"] = tt.plan
			plan, err := h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: actions.VerbDeploy}, false)
			if actions.CodeOf(err) != tt.code {
				t.Fatalf("code %q: %v", actions.CodeOf(err), err)
			}
			if err == nil && !tt.ok(plan.Parts[1]) {
				p := plan.Parts[1]
				t.Errorf("diff of %d bytes, ends in %q; summary of %d bytes", len(p.Diff), p.Diff[max(0, len(p.Diff)-60):], len(p.Summary))
			}
		})
	}
}
