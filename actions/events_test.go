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

func TestAChattyPartIsCutInTheMiddleAndSaysSo(t *testing.T) {
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
	texts := h.texts(run.ID)
	if len(texts) < 1000 || texts[0] != "run running" || texts[2] != "log db line 0" || !slices.Contains(texts, "log db line 900") {
		t.Errorf("the head is %q", texts[:min(len(texts), 4)])
	}
	all, err := readAll(h.ctx, h.store, run.ID, 700)
	if err != nil {
		t.Fatal(err)
	}
	cuts, told := 0, 0
	for i, e := range all {
		if strings.Contains(e.Text, "lines were cut out here") {
			cuts++
			if _, err := fmt.Sscanf(e.Text, "… %d lines", &told); err != nil {
				t.Error(err)
			}
			before, after := 0, 0
			_, _ = fmt.Sscanf(all[i-1].Text, "line %d", &before)
			_, _ = fmt.Sscanf(all[i+1].Text, "line %d", &after)
			if after-before-1 != told || before < 990 {
				t.Errorf("%q between %q and %q", e.Text, all[i-1].Text, all[i+1].Text)
			}
		}
	}
	const others = 5 // of the run, the step and looking
	if last := all[len(all)-1]; cuts != 1 || len(all)-1+told != lines+others || len(all) < 5001 || len(all) > 5600 || last.State != "succeeded" {
		t.Errorf("%d events are left, %d cuts of %d, the last is %+v", len(all), cuts, told, last)
	}
}

// readAll reads a log to its end, page by page.
func readAll(ctx context.Context, s *actions.Store, runID string, page int) ([]actions.Event, error) {
	var all []actions.Event
	for after := ""; ; after = all[len(all)-1].ID {
		events, err := s.Events(ctx, runID, after, page, 0)
		if err != nil {
			return nil, err
		}
		if all = append(all, events...); len(events) < page {
			return all, nil
		}
	}
}
