package sdktest

import (
	"strings"
	"testing"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
	"github.com/berth-dev/berth/plugins/sdk"
)

// maxFacts is how many facts Berth shows of a part. Source: sdk.Observation.
const maxFacts = 16

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
	for _, f := range o.GetFacts() {
		b.seen.text("the facts of Observe", f.GetName(), f.GetText())
	}
	b.seen.text("what Observe says about renewal", o.GetRenew())
	return o
}

func (b *bench) healthy(t *testing.T) {
	if !b.about.GetObserves() {
		t.Skip("the executor does not observe")
	}
	before := b.snapshot(t)
	var last *executorv1.ObserveResponse
	if !within(b.HealthyWithin, func() bool {
		last = b.observe(t)
		return last.GetHealth() == executorv1.Health_HEALTH_HEALTHY
	}) {
		t.Errorf("Observe says %s (%s) after a deploy", last.GetHealth(), last.GetText())
	}
	b.facts(t, last)
	if last.GetRenew() != "" {
		t.Errorf("Observe asks for another deploy right after one: %q; there is no end to that", last.GetRenew())
	}
	if after := b.snapshot(t); after != before {
		t.Errorf("Observe changed the world: %s", difference(before, after))
	}
}

// facts checks what o tells beside health.
func (b *bench) facts(t *testing.T, o *executorv1.ObserveResponse) {
	t.Helper()
	if n := len(o.GetFacts()); n > maxFacts {
		t.Errorf("Observe tells %d facts; Berth shows %d", n, maxFacts)
	}
	names := map[string]bool{}
	for _, f := range o.GetFacts() {
		switch {
		case !oneLine(f.GetName()) || !oneLine(f.GetText()):
			t.Errorf("a fact of Observe is not a name and a text of one line each: %q, %q", f.GetName(), f.GetText())
		case names[f.GetName()]:
			t.Errorf("Observe tells the fact %q twice", f.GetName())
		}
		names[f.GetName()] = true
	}
}

// oneLine tells whether s says something in one line.
func oneLine(s string) bool { return strings.TrimSpace(s) != "" && !strings.ContainsAny(s, "\r\n") }

func (b *bench) absent(t *testing.T) {
	if !b.about.GetObserves() {
		t.Skip("the executor does not observe")
	}
	o := b.observe(t)
	if o.GetHealth() != executorv1.Health_HEALTH_ABSENT {
		t.Errorf("Observe says %s (%s) after a cleanup", o.GetHealth(), o.GetText())
	}
	if o.GetRenew() != "" {
		t.Errorf("Observe asks for a deploy of what was cleaned up: %q", o.GetRenew())
	}
}
