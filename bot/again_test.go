package bot_test

import (
	"context"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

// keyed is a line that can arrive again.
func keyed(line, key string) bot.Input {
	return bot.Input{Line: line, Key: key, Actor: bottest.Ana(), Place: approvals.Place{Surface: "cli"}}
}

func TestACancelThatArrivesAgainCancelsNothingElse(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Work()
	nothing := keyed("cancel shop/pr-42", "none")
	if reply := w.SayIn(nothing); reply.Code != actions.CodeNotFound {
		t.Fatalf("with nothing under way: %s", reply.Text)
	}
	release := w.Executor.Hold("web")
	deploy := w.Say("deploy shop/pr-42").Request.ID
	running := w.Await(deploy, func(r *approvals.Request) bool { return r.State == approvals.StateRunning && r.RunID != "" })
	awaitProgress(t, w, running.RunID) // the environment is there by then, so that it can be cleaned up
	cleanup := w.Say("cleanup shop/pr-42").Request.ID
	for range 3 {
		if reply := w.SayIn(keyed("cancel shop/pr-42", "one")); reply.Tone != bot.ToneInfo || reply.Request.ID != cleanup {
			t.Fatalf("cancelling the cleanup: %s %s", reply.Tone, reply.Text)
		}
	}
	w.SayIn(nothing)
	r, err := w.Requests.Get(context.Background(), deploy)
	if err != nil || r.State != approvals.StateRunning || r.Stop != nil {
		t.Fatalf("the deploy is %+v, %v", r, err)
	}
	if reply := w.SayIn(keyed("cancel shop/pr-42", "two")); reply.Request == nil || reply.Request.ID != deploy {
		t.Fatalf("cancelling the deploy: %s", reply.Text)
	}
	release()
	w.Await(deploy, func(r *approvals.Request) bool { return r.State.Ended() })
	for _, line := range []string{"cancel shop/pr-42", "cancel " + deploy} {
		if reply := w.SayIn(keyed(line, "two")); reply.Tone != bot.ToneInfo || reply.Request.ID != deploy {
			t.Errorf("%s once it has stopped: %s %s", line, reply.Tone, reply.Text)
		}
	}
}

func TestACancelThatArrivesAgainSucceedsWhateverEndItsRequestTook(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Work()
	done := w.Do("deploy shop/pr-42")
	// As if the first arrival had chosen it and gone down before it could cancel.
	if id, err := w.Requests.Choose(context.Background(), done.Order.Env, "key", done.ID); err != nil || id != done.ID {
		t.Fatal(id, err)
	}
	if reply := w.SayIn(keyed("cancel shop/pr-42", "key")); reply.Tone != bot.ToneInfo || !strings.Contains(reply.Text, "has ended already: it is succeeded") {
		t.Errorf("%s %s", reply.Tone, reply.Text)
	}
	if reply := w.SayIn(keyed("cancel "+done.ID, "another")); reply.Code != actions.CodeConflict {
		t.Errorf("cancelling it for the first time: %s %s", reply.Tone, reply.Text)
	}
}

func TestALockThatArrivesAgainChangesNothing(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Work()
	w.Do("deploy shop/pr-42")
	locked := func() bool {
		t.Helper()
		env, err := w.Store.Environment(context.Background(), actions.Name{App: "shop", Env: "pr-42"})
		if err != nil {
			t.Fatal(err)
		}
		return env.Lock != nil
	}
	for _, step := range []struct {
		line, key string
		locked    bool
	}{
		{"lock shop/pr-42", "a", true},
		{"lock shop/pr-42", "a", true},
		{"unlock shop/pr-42", "b", false},
		{"lock shop/pr-42", "a", false},
		{"lock shop/pr-42 --reason demo", "c", true},
		{"unlock shop/pr-42", "b", true},
	} {
		if reply := w.SayIn(keyed(step.line, step.key)); reply.Tone != bot.ToneInfo || locked() != step.locked {
			t.Errorf("%s with key %s: locked is %t; %s %s", step.line, step.key, locked(), reply.Tone, reply.Text)
		}
	}
}

func TestADecisionThatArrivesAgainIsAnsweredAndNotMadeAnew(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.WorkBy(bottest.Approval{})
	for verb, end := range map[string]approvals.State{"approve": approvals.StateSucceeded, "deny": approvals.StateDenied} {
		id := w.Say("deploy shop/pr-42").Request.ID
		w.Await(id, func(r *approvals.Request) bool { return r.State == approvals.StatePending })
		for range 2 {
			if reply := w.SayIn(keyed(verb+" "+id, verb)); reply.Tone != bot.ToneInfo {
				t.Errorf("%s: %s %s", verb, reply.Tone, reply.Text)
			}
		}
		r := w.Await(id, func(r *approvals.Request) bool { return r.State.Ended() })
		if reply := w.SayIn(keyed(verb+" "+id, verb)); r.State != end || len(r.Decisions) != 1 || reply.Tone != bot.ToneInfo {
			t.Errorf("%s: the request is %s with %d decisions; %s", verb, r.State, len(r.Decisions), reply.Text)
		}
		// Of a plan that is not the one decided on nothing is said by it.
		other := w.Say("deploy shop/pr-43").Request.ID
		p := w.Await(other, func(r *approvals.Request) bool { return r.State == approvals.StatePending })
		if _, err := w.Requests.Choose(context.Background(), p.Order.Env, verb, "an earlier digest"); err != nil {
			t.Fatal(err)
		}
		w.SayIn(keyed(verb+" "+other, verb))
		if p, err := w.Requests.Get(context.Background(), other); err != nil || p.State != approvals.StatePending || len(p.Decisions) != 0 {
			t.Errorf("%s of an earlier plan: %+v, %v", verb, p, err)
		}
	}
}

func TestValuesOfSetAreShownNowhereAndTellCommandsApart(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Work()
	reply := w.SayIn(keyed(`deploy shop/pr-42 --set image.tag="hun ter2"`, "key"))
	r := w.Await(reply.Request.ID, func(r *approvals.Request) bool { return r.State.Ended() })
	if r.State != approvals.StateSucceeded || r.Command != "deploy shop/pr-42 --set image.tag=…" || r.Order.Set["image.tag"] != "hun ter2" {
		t.Errorf("the request is %s, %s with %q: %s", r.State, r.Command, r.Order.Set, r.Reason)
	}
	records, err := w.Store.Audit(context.Background(), r.Order.Env, 0, 0)
	if err != nil || len(records) == 0 {
		t.Fatal(records, err)
	}
	for _, record := range records {
		if strings.Contains(record.Detail["command"], "hun") {
			t.Errorf("the audit says %s", record.Detail["command"])
		}
	}
	for _, line := range []string{"status shop/pr-42", "explain " + r.ID, "list"} {
		if text := w.Say(line).Text; strings.Contains(text, "hun ter2") {
			t.Errorf("%s shows the value: %s", line, text)
		}
	}
	if reply := w.SayIn(keyed("deploy shop/pr-42 --set image.tag=other", "key")); reply.Code != actions.CodeConflict {
		t.Errorf("another value with the same key: %s %s", reply.Tone, reply.Text)
	}
	if reply := w.Say("/" + r.Command); reply.Code != actions.CodeInvalid {
		t.Errorf("a command copied without its values: %s %s", reply.Tone, reply.Text)
	}
}
