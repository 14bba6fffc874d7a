package actions_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
)

func TestEventsOfARun(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.app.Parts = h.app.Parts[:1]
	h.world.before["db"] = func(_ context.Context, _ actions.Step, sink func(actions.Event)) error {
		sink(actions.Event{Kind: actions.EventLog, Part: "other", State: "x", Text: "bad \xff line\n"})
		sink(actions.Event{Kind: actions.EventProgress, Text: "1 of 2", Done: 1, Total: 2})
		sink(actions.Event{Kind: actions.EventRun, State: "succeeded", Text: "I am done"})
		sink(actions.Event{Kind: actions.EventLog, Text: strings.Repeat("x", 10_000)})
		return nil
	}
	run := h.perform(actions.Order{Verb: actions.VerbDeploy})
	want := []string{
		"run running", "step db running", "log db bad \uFFFD line", "progress db 1 of 2", "log db I am done", "log db " + strings.Repeat("x", 4093) + "…",
		"step db done", "progress looking at how the parts are", "run succeeded",
	}
	if got := h.texts(run.ID); !slices.Equal(got, want) {
		t.Errorf("events\n%s", strings.Join(got, "\n"))
	}
	all, _ := h.store.Events(h.ctx, run.ID, "", 0, 0)
	rest, err := h.store.Events(h.ctx, run.ID, all[2].ID, 2, 0)
	if err != nil || len(rest) != 2 || rest[0].ID != all[3].ID {
		t.Errorf("resumed: %v, %v", rest, err)
	}
	for _, bad := range []string{"nonsense", "-", "1-", "99999999999999999999", "1-99999999999999999999", "+", "1-2-3", "$", " 1"} {
		_, err = h.store.Events(h.ctx, run.ID, bad, 2, 0)
		wantCode(t, err, actions.CodeInvalid)
	}
	_, err = h.store.Events(h.ctx, "nonsense", "", 2, 0)
	wantCode(t, err, actions.CodeNotFound)
}

func TestAChattyPartIsCutAndSaysSo(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.app.Parts = h.app.Parts[:1]
	const lines = 8_000
	h.world.before["db"] = func(_ context.Context, _ actions.Step, sink func(actions.Event)) error {
		for i := range lines {
			sink(actions.Event{Kind: actions.EventLog, Text: fmt.Sprint("line ", i)})
		}
		return nil
	}
	run := h.perform(actions.Order{Verb: actions.VerbDeploy})
	events, err := h.store.Events(h.ctx, run.ID, "", 1000, 0)
	if err != nil || events[0].ID != "" || !strings.Contains(events[0].Text, "were dropped") {
		t.Fatalf("first event %+v, %v", events[0], err)
	}
	kept, last := 0, actions.Event{}
	for after := ""; ; {
		events, err := h.store.Events(h.ctx, run.ID, after, 1000, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 {
			break
		}
		kept += len(events)
		last = events[len(events)-1]
		after = last.ID
	}
	if kept < 5000 || kept > 5300 || last.State != "succeeded" {
		t.Errorf("%d events kept, the last %+v", kept, last)
	}
}
