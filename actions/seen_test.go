package actions_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
)

func TestWhatIsSeenIsKept(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		seen   actions.Observation
		part   string
		pre    func(*actions.Environment)
		held   bool
		writes bool
		want   actions.PartStatus
	}{
		"another health":                     {seen: actions.Observation{Health: actions.Degraded, Text: "1 of 2 ready"}, writes: true, want: actions.PartStatus{Health: actions.Degraded, Text: "1 of 2 ready"}},
		"drift":                              {seen: actions.Observation{Health: actions.Healthy, Drift: []string{"replicas: 2, deployed 1"}}, writes: true, want: actions.PartStatus{Health: actions.Healthy, Drift: []string{"replicas: 2, deployed 1"}}},
		"the same":                           {seen: actions.Observation{Health: actions.Healthy, Text: "other words"}, want: actions.PartStatus{Health: actions.Healthy}},
		"nothing could be seen":              {seen: actions.Observation{Health: actions.Unknown, Text: "no route"}, want: actions.PartStatus{Health: actions.Healthy}},
		"a part that the record has not":     {part: "new", seen: actions.Observation{Health: actions.Absent}, want: actions.PartStatus{Health: actions.Healthy}},
		"while a run holds it":               {seen: actions.Observation{Health: actions.Absent}, pre: func(e *actions.Environment) { e.RunID = "r" }, want: actions.PartStatus{Health: actions.Healthy}},
		"while somebody is about to run":     {seen: actions.Observation{Health: actions.Absent}, held: true, want: actions.PartStatus{Health: actions.Healthy}},
		"in a pending state that nobody has": {seen: actions.Observation{Health: actions.Absent}, pre: func(e *actions.Environment) { e.State = actions.StateUpdatePending }, want: actions.PartStatus{Health: actions.Healthy}},
		"a failed part keeps its error": {seen: actions.Observation{Health: actions.Degraded, Text: "x"}, writes: true,
			pre:  func(e *actions.Environment) { e.Parts["web"] = actions.PartStatus{State: "failed", Text: "boom"} },
			want: actions.PartStatus{State: "failed", Health: actions.Degraded, Text: "boom"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			env := &actions.Environment{Name: shop42, State: actions.StateRunning, Parts: map[string]actions.PartStatus{"web": {Health: actions.Healthy}}}
			if tc.pre != nil {
				tc.pre(env)
			}
			if err := actions.Put(h.ctx, h.store, env); err != nil {
				t.Fatal(err)
			}
			before := h.env()
			if tc.held {
				h.lease()
			}
			part := tc.part
			if part == "" {
				part = "web"
			}
			if err := h.store.Seen(h.ctx, shop42, map[string]actions.Observation{part: tc.seen}); err != nil {
				t.Fatal(err)
			}
			after := h.env()
			got := after.Parts["web"]
			if got.Health != tc.want.Health || got.Text != tc.want.Text || got.State != tc.want.State || !slices.Equal(got.Drift, tc.want.Drift) || len(after.Parts) != 1 {
				t.Errorf("parts %+v, want %+v", after.Parts, tc.want)
			}
			if wrote := after.Revision != before.Revision; wrote != tc.writes || got.At.Equal(h.now()) != tc.writes {
				t.Errorf("revision %d → %d, at %v", before.Revision, after.Revision, got.At)
			}
			if !after.UpdatedAt.Equal(before.UpdatedAt) {
				t.Error("a look counts as a change")
			}
			if err := h.store.VerifyAudit(h.ctx, shop42); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("of no environment", func(t *testing.T) {
		t.Parallel()
		h := newHarness(t)
		wantCode(t, h.store.Seen(h.ctx, shop42, nil), actions.CodeNotFound)
	})
}

func TestASightThatCameLateIsNotWritten(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	env := &actions.Environment{Name: shop42, State: actions.StateRunning, Parts: map[string]actions.PartStatus{"web": {Health: actions.Healthy}}}
	if err := actions.Put(h.ctx, h.store, env); err != nil {
		t.Fatal(err)
	}
	other := actions.NewStore(h.rdb, actions.StoreOptions{Now: h.now})
	h.rdb.AddHook(&beforeScript{has: `"degraded"`, then: func() { // between Seen's read and its write
		if _, err := other.SetLock(h.ctx, shop42, &actions.Lock{By: "ana"}, actions.Record{Actor: "ana"}); err != nil {
			t.Error(err)
		}
	}})
	if err := h.store.Seen(h.ctx, shop42, map[string]actions.Observation{"web": {Health: actions.Degraded, Text: strings.Repeat("x", 5000)}}); err != nil {
		t.Fatal(err)
	}
	if got := h.env(); got.Lock == nil || got.Parts["web"].Health != actions.Healthy {
		t.Errorf("environment %+v", got)
	}
}
