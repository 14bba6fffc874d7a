package sdktest

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/proto"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
	"github.com/berth-dev/berth/plugins/sdk"
)

var (
	// namePattern is what Berth takes for an executor's name.
	namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,38}[a-z0-9]$`)
	// versionPattern is the start of a semantic version. Source: semver.org 2.0.0.
	versionPattern = regexp.MustCompile(`^v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+].*)?$`)
)

func (b *bench) describe(t *testing.T) {
	d, err := b.client.Describe(b.context(t), &executorv1.DescribeRequest{})
	if err != nil {
		t.Fatalf("Describe: %v", err)
	}
	for what, x := range map[string]*client{"the second time": b.client, "after another start": connect(t, b.Suite, b.seen)} {
		again, err := x.Describe(b.context(t), &executorv1.DescribeRequest{})
		if err != nil || !proto.Equal(d, again) {
			t.Errorf("Describe says something else %s: %v, %v, error %v", what, d, again, err)
		}
	}
	b.seen.text("Describe", fmt.Sprint(d))
	if !namePattern.MatchString(d.GetName()) {
		t.Errorf("the name %q is none: 2 to 40 of a-z, 0-9 and \"-\", a letter first", d.GetName())
	}
	if !versionPattern.MatchString(d.GetVersion()) {
		t.Errorf("the version %q is not a semantic one, such as 1.2.3", d.GetVersion())
	}
	b.plans, b.observes = d.GetPlans(), d.GetObserves()
	for _, v := range d.GetVerbs() {
		for name, w := range wireVerbs {
			if w != v {
				continue
			}
			if b.can(name) {
				t.Errorf("the verb %s is described twice", name)
			}
			b.description.Verbs = append(b.description.Verbs, name)
		}
	}
	if !b.can(sdk.Deploy) || !b.can(sdk.Cleanup) {
		t.Errorf("an executor deploys and cleans up; this one describes %v", b.description.Verbs)
	}
	if d.GetSchema() == nil {
		return
	}
	schema, err := compile(d.GetSchema().AsMap())
	if err != nil {
		t.Fatalf("the schema is not a JSON Schema: %v", err)
	}
	if err := schema.Validate(wire(t, b.Step).GetWith().AsMap()); err != nil {
		t.Errorf("the schema refuses the suite's own settings: %v", err)
	}
}

func compile(s map[string]any) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	if err := c.AddResource("executor:with", s); err != nil {
		return nil, err
	}
	return c.Compile("executor:with")
}

type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("it refers to %s; a schema has to stand for itself", url)
}

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
				if b.plans {
					_, err := b.client.Plan(b.context(t), &executorv1.PlanRequest{Step: wire(t, s)})
					b.refused(t, "Plan", b.client.note("the error of Plan", err))
				}
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

// unchanged checks that do leaves the world alone.
func (b *bench) unchanged(t *testing.T, do func()) {
	t.Helper()
	state := func() string {
		s := ""
		if b.Snapshot != nil {
			s = b.Snapshot(t)
		}
		if b.observes {
			s += "\nobserved: " + b.observe(t).GetHealth().String()
		}
		return s
	}
	before := state()
	do()
	if after := state(); after != before {
		t.Errorf("it changed the world from\n%s\nto\n%s", before, after)
	}
}

func (b *bench) plan(t *testing.T) {
	if !b.plans {
		t.Skip("the executor does not plan")
	}
	for _, v := range b.description.Verbs {
		if v != sdk.Deploy && !b.deployed || v == sdk.Restore {
			continue // of what is not there; a restore is planned when there is an archive
		}
		b.planOne(t, v)
	}
}

// planOne plans a verb in all the ways in which Berth does.
func (b *bench) planOne(t *testing.T, v sdk.Verb) {
	t.Helper()
	b.unchanged(t, func() {
		s := wire(t, b.do(v))
		first, second := b.planned(t, s, false, nil), b.planned(t, s, false, nil)
		if !proto.Equal(first, second) {
			t.Errorf("two plans of %s differ:\n%v\n%v", v, first, second)
		}
		if brief := b.planned(t, s, true, nil); !maps.Equal(brief.GetInputs(), first.GetInputs()) {
			t.Errorf("a brief plan of %s has other inputs: %v, %v", v, brief.GetInputs(), first.GetInputs())
		}
		if check := b.planned(t, s, true, first.GetInputs()); !maps.Equal(check.GetInputs(), first.GetInputs()) {
			t.Errorf("a plan of %s that checks what was agreed on has other inputs: %v, %v", v, check.GetInputs(), first.GetInputs())
		}
		resources(t, v, first)
		if sum := first.GetSummary(); strings.TrimSpace(sum) == "" || strings.Contains(sum, "\n") {
			t.Errorf("the summary of %s is not one line: %q", v, sum)
		}
	})
}

// resources checks what a plan says that it touches.
func resources(t *testing.T, v sdk.Verb, p *executorv1.PlanResponse) {
	t.Helper()
	if strings.Contains(p.GetCost(), "\n") {
		t.Errorf("the cost of %s is not one line: %q", v, p.GetCost())
	}
	said := map[string]bool{}
	for _, r := range p.GetResources() {
		what := fmt.Sprintf("%s %s/%s", r.GetKind(), r.GetNamespace(), r.GetName())
		switch {
		case r.GetKind() == "" || r.GetName() == "":
			t.Errorf("the plan of %s has a resource without a kind or a name: %v", v, r)
		case r.GetChange() == executorv1.Change_CHANGE_UNSPECIFIED:
			t.Errorf("the plan of %s does not say what becomes of %s", v, what)
		case said[what]:
			t.Errorf("the plan of %s has %s twice", v, what)
		case r.GetDestructive() && !p.GetDestructive():
			t.Errorf("the plan of %s is not destructive, and what it does to %s is", v, what)
		}
		said[what] = true
	}
}

func (b *bench) planned(t *testing.T, s *executorv1.Step, brief bool, agreed map[string]string) *executorv1.PlanResponse {
	t.Helper()
	p, err := b.client.Plan(b.context(t), &executorv1.PlanRequest{Step: s, Brief: brief, Agreed: agreed})
	if b.client.note("the error of Plan", err) != nil {
		t.Fatalf("Plan: %v", err)
	}
	b.seen.text("the summary of Plan", p.GetSummary())
	b.seen.text("the diff of Plan", p.GetDiff())
	b.seen.text("the cost of Plan", p.GetCost())
	for _, r := range p.GetResources() {
		b.seen.text("the resources of Plan", r.GetKind(), r.GetName(), r.GetNamespace())
	}
	for k, v := range p.GetInputs() {
		b.seen.text("the input "+k+" of Plan", k, v)
	}
	return p
}

// twice runs a step two times and checks that the second is as good as the
// first.
func (b *bench) twice(t *testing.T, v sdk.Verb) {
	t.Helper()
	s := wire(t, b.do(v))
	first, err := b.client.run(b.context(t), s, nil)
	if err != nil {
		t.Fatalf("%s: %v", v, err)
	}
	second, err := b.client.run(b.context(t), s, nil)
	if err != nil {
		t.Fatalf("%s of what is already so: %v", v, err)
	}
	if !maps.Equal(first, second) {
		t.Errorf("the second %s has other outputs: %v, then %v", v, first, second)
	}
}

func (b *bench) deploy(t *testing.T) {
	b.twice(t, sdk.Deploy)
	b.deployed = true
}

func (b *bench) archive(t *testing.T) {
	if !b.can(sdk.Archive) || !b.can(sdk.Restore) {
		t.Skip("the executor does not archive and restore")
	}
	b.twice(t, sdk.Archive)
	if b.plans {
		b.planOne(t, sdk.Restore)
	}
	b.twice(t, sdk.Restore)
	b.healthy(t)
}

// others are the verbs that an executor may leave out.
func (b *bench) others(t *testing.T) {
	some := false
	for _, v := range []sdk.Verb{sdk.Rollback, sdk.Restart, sdk.Sleep, sdk.Wake} {
		if !b.can(v) || v == sdk.Sleep && !b.can(sdk.Wake) {
			continue
		}
		some = true
		b.twice(t, v)
		if v != sdk.Sleep {
			b.healthy(t)
		}
	}
	if !some {
		t.Skip("the executor has none of these verbs")
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
		if b.plans {
			_, err := b.client.Plan(b.context(t), &executorv1.PlanRequest{Step: wire(t, s)})
			named("Plan without a secret", b.client.note("the error of Plan", err))
		}
	})
}

func (b *bench) rotate(t *testing.T) {
	if b.Rotate == nil || !b.plans {
		t.Skip("the suite does not rotate secrets, or the executor does not plan")
	}
	s := wire(t, b.do(sdk.Deploy))
	before := b.planned(t, s, false, nil).GetInputs()
	b.Rotate(t)
	for _, brief := range []bool{true, false} {
		if after := b.planned(t, s, brief, before).GetInputs(); !maps.Equal(before, after) {
			t.Errorf("another value of a secret changes the inputs of a plan (brief %v) from %v to %v", brief, before, after)
		}
	}
}

func (b *bench) cleanup(t *testing.T) {
	b.twice(t, sdk.Cleanup)
	b.deployed = false
}

func (b *bench) observe(t *testing.T) *executorv1.ObserveResponse {
	t.Helper()
	o, err := b.client.Observe(b.context(t), &executorv1.ObserveRequest{Step: wire(t, b.do(sdk.Deploy))})
	if b.client.note("the error of Observe", err) != nil {
		t.Fatalf("Observe: %v", err)
	}
	b.seen.text("Observe", o.GetText())
	b.seen.text("the drift of Observe", o.GetDrift()...)
	for _, l := range o.GetLinks() {
		b.seen.text("the links of Observe", l.GetName(), l.GetUrl())
		if !strings.Contains(l.GetUrl(), "://") {
			t.Errorf("the link %q is not an address", l.GetUrl())
		}
	}
	return o
}

func (b *bench) healthy(t *testing.T) {
	if !b.observes {
		t.Skip("the executor does not observe")
	}
	var last *executorv1.ObserveResponse
	if !within(b.HealthyWithin, func() bool {
		last = b.observe(t)
		return last.GetHealth() == executorv1.Health_HEALTH_HEALTHY
	}) {
		t.Errorf("Observe says %s (%s) after a deploy", last.GetHealth(), last.GetText())
	}
}

func (b *bench) absent(t *testing.T) {
	if !b.observes {
		t.Skip("the executor does not observe")
	}
	if o := b.observe(t); o.GetHealth() != executorv1.Health_HEALTH_ABSENT {
		t.Errorf("Observe says %s (%s) after a cleanup", o.GetHealth(), o.GetText())
	}
}

func (b *bench) cancel(t *testing.T) {
	if b.Slow == nil {
		t.Skip("the suite has no slow step")
	}
	for len(b.client.returned) > 0 {
		<-b.client.returned
	}
	ctx, cancel := context.WithCancel(b.context(t))
	defer cancel()
	// A step that tells nothing is stopped after a moment in which it begins.
	timer := time.AfterFunc(500*time.Millisecond, cancel)
	defer timer.Stop()
	_, err := b.client.run(ctx, wire(t, *b.Slow), cancel)
	if ctx.Err() == nil {
		t.Fatalf("the slow step ended by itself: %v", err)
	}
	if b.client.returned != nil {
		select {
		case <-b.client.returned:
		case <-time.After(b.CancelWithin):
			t.Fatalf("Run still goes on %s after it was cancelled", b.CancelWithin)
		}
	}
	// The next step of the part begins only when the cancelled one has ended.
	s := *b.Slow
	s.Verb, s.ID = sdk.Cleanup, s.ID+"-cleanup"
	if _, err := b.client.run(b.context(t), wire(t, s), nil); err != nil {
		t.Errorf("cleanup after a step that was stopped: %v", err)
	}
}

func (b *bench) noSecrets(t *testing.T) {
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	slices.Sort(b.seen.leaks)
	for _, place := range slices.Compact(b.seen.leaks) {
		t.Errorf("a secret is in %s", place)
	}
}
