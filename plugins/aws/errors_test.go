package aws

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

func TestFailuresSayWhoseTheyAreAndWhatToDo(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		f     awstest.Faults
		with  map[string]any
		roles bool
		fault sdk.Fault
		retry bool
		says  []string
	}{
		"a right that is missing": {
			f:     awstest.Faults{Deny: func(call string) bool { return call == "rds:CreateDBInstance" }},
			fault: sdk.FaultDownstream, says: []string{"rds:CreateDBInstance", "Allow that action", "docs/aws.md"},
		},
		"throttled for too long": {f: awstest.Faults{ThrottleEvery: 1}, fault: sdk.FaultDownstream, retry: true, says: []string{"throttled"}},
		"AWS is ill":             {f: awstest.Faults{FailEvery: 1}, fault: sdk.FaultDownstream, retry: true, says: []string{"could not do it just now"}},
		"AWS is away":            {f: awstest.Faults{KillBefore: 1}, fault: sdk.FaultDownstream, retry: true, says: []string{"cannot be reached"}},
		"a role that is not given": {
			with: map[string]any{"secret": map[string]any{}, "account": "prod"}, fault: sdk.FaultDownstream, says: []string{"sts:AssumeRole", "trust policy"},
		},
		"a subnet group that is not there": {with: postgres("subnet_group", "nowhere"), fault: sdk.FaultInvalid, says: []string{"nowhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, awstest.Options{})
			if test.with == nil {
				test.with = postgres()
			}
			step := w.step(sdk.Deploy, test.with)
			step.Settings = w.accounts()
			w.SetFaults(test.f)
			_, err := w.run(t, step)
			e, ok := errors.AsType[*sdk.Error](err)
			if !ok || e.Fault != test.fault || e.Retry != test.retry {
				t.Fatalf("it says %#v (%v); want a fault %q, retry %t", err, err, test.fault, test.retry)
			}
			for _, word := range test.says {
				if !strings.Contains(e.Msg, word) {
					t.Errorf("it says %q; want %q in it", e.Msg, word)
				}
			}
			if strings.ContainsAny(e.Msg, "\n\r") || len(e.Msg) > 1000 {
				t.Errorf("it is not one sentence: %q", e.Msg)
			}
		})
	}
}

func TestATimeThatIsOverTellsWhatWasWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{Polls: 1 << 30})
	with := postgres()
	with["timeout"] = "200ms"
	_, err := w.run(t, w.step(sdk.Deploy, with))
	e, ok := errors.AsType[*sdk.Error](err)
	if !ok || e.Fault != sdk.FaultDownstream || !strings.Contains(e.Msg, "is creating") || !strings.Contains(e.Msg, "200ms") {
		t.Errorf("it says %v", err)
	}
	w.Settle()
	w.must(t, w.step(sdk.Deploy, postgres())) // carries it on
	if n := len(w.ARNs("rds", "db")); n != 1 {
		t.Errorf("there are %d instances", n)
	}
}

func TestACancelledStepEndsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{Polls: 1 << 30})
	ctx, cancel := context.WithCancel(t.Context())
	out := &said{outputs: map[string]string{}}
	o := w.options()
	o.Pause = func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() }
	if err := New(o).Run(ctx, w.step(sdk.Deploy, postgres()), out); !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
}

// TestSecretsAreNeverSaid plants secrets wherever they can be and looks for them
// in all that the executor says and in what AWS shows to those who may only look.
func TestSecretsAreNeverSaid(t *testing.T) {
	t.Parallel()
	const given, next = "c4nary-<given> & kept", "c4nary-'n3xt'"
	w := newWorld(t, awstest.Options{Polls: 1})
	file := filepath.Join(t.TempDir(), "token")
	write := func(value string) {
		if err := os.WriteFile(file, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(given)
	with := map[string]any{
		"secret": map[string]any{"secrets": map[string]any{"token": map[string]any{"file": file}}, "generate": map[string]any{"password": int64(40)}},
		"rds":    map[string]any{"engine": "postgres"},
	}
	var said strings.Builder
	note := func(step sdk.Step) {
		t.Helper()
		plan, err := w.executor().Plan(t.Context(), step)
		said.WriteString(strings.Join([]string{plan.Summary, plan.Diff, plan.Cost, errText(err)}, "\n"))
		for k, v := range plan.Inputs {
			said.WriteString(k + v)
		}
		out, err := w.run(t, step)
		said.WriteString(strings.Join(out.lines, "\n") + errText(err))
		for k, v := range out.outputs {
			said.WriteString(k + v)
		}
		seen, err := w.executor().Observe(t.Context(), step)
		said.WriteString(seen.Text + strings.Join(seen.Drift, "\n") + errText(err))
	}
	note(w.step(sdk.Deploy, with))
	made, err := w.secretValue(t, "berth-shop-pr-42-db")
	if err != nil || made["token"] != given || len(made["password"]) != 40 {
		t.Fatalf("the secret holds the keys %d, %v", len(made), err)
	}
	write(next)
	note(w.step(sdk.Deploy, with))
	again, err := w.secretValue(t, "berth-shop-pr-42-db")
	if err != nil || again["token"] != next || again["password"] != made["password"] {
		t.Errorf("a new value is taken over, and what was generated is kept: %v", err)
	}
	w.SetFaults(awstest.Faults{FailEvery: 1})
	note(w.step(sdk.Deploy, with))
	w.Heal()
	for _, verb := range []sdk.Verb{sdk.Archive, sdk.Restore, sdk.Cleanup} {
		note(w.step(verb, with))
	}
	for what, value := range map[string]string{"the given one": given, "the next one": next, "the generated one": made["password"]} {
		for _, form := range sdk.SecretForms(value) {
			if strings.Contains(said.String(), form) {
				t.Errorf("%s is in what the executor says", what)
			}
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
