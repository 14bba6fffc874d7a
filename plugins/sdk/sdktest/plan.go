package sdktest

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
	"github.com/berth-dev/berth/plugins/sdk"
)

func (b *bench) plan(t *testing.T) {
	if !b.about.GetPlans() {
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
		first := b.planned(t, s, false, nil)
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // A plan does not tell when it was made.
		second := b.planned(t, s, false, nil)
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

func (b *bench) rotate(t *testing.T) {
	if b.Rotate == nil || !b.about.GetPlans() {
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
