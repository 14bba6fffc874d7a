package sdktest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
	"github.com/berth-dev/berth/plugins/sdk"
)

func (b *bench) unknownVerb(t *testing.T) {
	s := wire(t, b.Step)
	unknown := []executorv1.Verb{executorv1.Verb_VERB_UNSPECIFIED, 99}
	for name, w := range wireVerbs {
		if !b.can(name) {
			unknown = append(unknown, w)
		}
	}
	for _, v := range unknown {
		s.Verb = v
		_, err := b.client.run(b.context(t), s, nil)
		b.refused(t, fmt.Sprintf("Run of %s", v), err)
	}
}

func (b *bench) invalid(t *testing.T) {
	if len(b.Invalid) == 0 {
		t.Skip("the suite has no settings that are wrong")
	}
	for what, with := range b.Invalid {
		t.Run(what, func(t *testing.T) {
			s := b.do(sdk.Deploy)
			s.With = with
			b.unchanged(t, func() {
				_, err := b.client.run(b.context(t), wire(t, s), nil)
				b.refused(t, "Run", err)
				if b.about.GetPlans() {
					_, err := b.client.Plan(b.context(t), &executorv1.PlanRequest{Step: wire(t, s)})
					b.refused(t, "Plan", b.client.note("the error of Plan", err))
				}
			})
		})
	}
}

func (b *bench) invalidSettings(t *testing.T) {
	if len(b.InvalidSettings) == 0 {
		t.Skip("the suite has no settings of the executor that are wrong")
	}
	for what, settings := range b.InvalidSettings {
		t.Run(what, func(t *testing.T) {
			if b.settings != nil && b.settings.Validate(object(t, settings).AsMap()) != nil {
				return // Berth does not start the executor with these.
			}
			s := b.do(sdk.Deploy)
			s.Settings = settings
			b.unchanged(t, func() {
				_, err := b.client.run(b.context(t), wire(t, s), nil)
				b.refused(t, "Run, with settings that the schema accepts,", err)
			})
		})
	}
}

// refused checks that err is the user's fault, in a sentence.
func (b *bench) refused(t *testing.T, what string, err error) {
	t.Helper()
	f := failureOf(err)
	switch {
	case err == nil:
		t.Errorf("%s is a success; want a failure of fault %q", what, sdk.FaultInvalid)
	case f == nil:
		t.Errorf("%s failed without saying whose fault it is: %v", what, err)
	case f.GetFault() != executorv1.Fault_FAULT_INVALID:
		t.Errorf("%s failed with %s, want %s: %s", what, f.GetFault(), executorv1.Fault_FAULT_INVALID, f.GetMessage())
	case f.GetRetry():
		t.Errorf("%s failed for wrong input, which no retry can mend, and asks for one", what)
	case len(strings.Fields(f.GetMessage())) < 3 || strings.Contains(f.GetMessage(), "\n") || len(f.GetMessage()) > 1000:
		t.Errorf("%s failed without a sentence for people: %q", what, f.GetMessage())
	}
}

// missingSecret is for executors that look secrets up: one that is not there is
// refused by its name, and never taken for empty.
func (b *bench) missingSecret(t *testing.T) {
	if len(b.Step.Secrets) == 0 {
		t.Skip("the suite's step has no secrets")
	}
	const name = "sdktest-missing"
	s := b.do(sdk.Deploy)
	s.Secrets = map[string]sdk.SecretRef{}
	for variable := range b.Step.Secrets {
		s.Secrets[variable] = sdk.SecretRef{Name: name, Env: "SDKTEST_NO_SUCH_VARIABLE"}
	}
	named := func(what string, err error) {
		b.refused(t, what, err)
		if f := failureOf(err); f != nil && !strings.Contains(f.GetMessage(), name) {
			t.Errorf("%s does not name the secret %q: %s", what, name, f.GetMessage())
		}
	}
	b.unchanged(t, func() {
		_, err := b.client.run(b.context(t), wire(t, s), nil)
		named("Run without a secret", err)
		if b.about.GetPlans() {
			_, err := b.client.Plan(b.context(t), &executorv1.PlanRequest{Step: wire(t, s)})
			named("Plan without a secret", b.client.note("the error of Plan", err))
		}
	})
}

func (b *bench) noSecrets(t *testing.T) {
	if b.Said != nil {
		b.seen.text("what Said tells", b.Said(t))
	}
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	slices.Sort(b.seen.leaks)
	for _, place := range slices.Compact(b.seen.leaks) {
		t.Errorf("a secret is in %s", place)
	}
}

// unchanged checks that do leaves the world alone.
func (b *bench) unchanged(t *testing.T, do func()) {
	t.Helper()
	state := func() string {
		s := b.snapshot(t)
		if b.about.GetObserves() {
			s += "\nobserved: " + b.observe(t).GetHealth().String()
		}
		return s
	}
	before := state()
	do()
	if after := state(); after != before {
		t.Errorf("it changed the world: %s", difference(before, after))
	}
}

// snapshot is the suite's, "" without one.
func (b *bench) snapshot(t *testing.T) string {
	t.Helper()
	if b.Snapshot == nil {
		return ""
	}
	return b.Snapshot(t)
}

// difference is what lines there are in one text and not in the other.
func difference(before, after string) string {
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	out := ""
	for _, d := range []struct {
		sign     string
		in, lack []string
	}{{"-", was, is}, {"+", is, was}} {
		for _, line := range d.in {
			if !slices.Contains(d.lack, line) {
				out += "\n" + d.sign + " " + line
			}
		}
	}
	if out == "" {
		return "the same lines come in another order or number\n" + before + "\n---\n" + after
	}
	return out
}
