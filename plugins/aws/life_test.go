package aws

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// life is all that can happen to a part, in an order in which each leaves what
// the next one needs.
var life = []sdk.Verb{sdk.Deploy, sdk.Restart, sdk.Sleep, sdk.Wake, sdk.Archive, sdk.Restore, sdk.Archive, sdk.Restore, sdk.Cleanup}

// TestAKillAtAnyCallOfAnyVerbLeavesOneOfEverything kills the executor at the
// n-th call of each verb, for each n, and runs the step again.
func TestAKillAtAnyCallOfAnyVerbLeavesOneOfEverything(t *testing.T) {
	t.Parallel()
	for name, with := range everyKind {
		if with["rds"] == nil && with["aurora"] == nil {
			continue // it has deploy and cleanup alone, at each call of which TestConformance kills
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			with := maps.Clone(with)
			with["retain"] = "7d"
			whole := ownedAfter(t, with, 0)
			for n := 1; ; n++ {
				const most = 400
				if n > most {
					t.Fatal("it is cut off for ever")
				}
				now := ownedAfter(t, with, n)
				cut := now["cut"] != ""
				delete(now, "cut")
				for _, key := range slices.Sorted(maps.Keys(whole)) {
					if now[key] != whole[key] {
						t.Fatalf("cut off at call %d, after %s there is\n%s\nwant\n%s", n, key, now[key], whole[key])
					}
				}
				if !cut {
					break
				}
			}
		})
	}
}

// ownedAfter goes through a life in which each step's first try dies at its n-th
// call (0: never), and tells what there is after each, with "cut" when any died.
func ownedAfter(t *testing.T, with map[string]any, n int) map[string]string {
	t.Helper()
	w := newWorld(t, awstest.Options{Polls: 1})
	out := map[string]string{}
	once := []sdk.Verb{sdk.Deploy, sdk.Restart, sdk.Sleep, sdk.Wake, sdk.Archive, sdk.Restore, sdk.Cleanup}
	for i, verb := range once {
		step := w.step(verb, with)
		step.ID = fmt.Sprint("step-", i)
		if n > 0 && w.dies(t, step, n) {
			out["cut"] = "yes"
		}
		w.must(t, step)
		w.Settle()
		out[fmt.Sprint(i, " ", verb)] = w.owned()
	}
	return out
}

// dies runs a step with an executor that dies at its n-th call, whose answer is
// lost: killed between two calls, it leaves what it leaves right after the first
// of them. It tells whether it came to that.
func (w *world) dies(t *testing.T, step sdk.Step, n int) bool {
	t.Helper()
	o := w.options()
	cut := sdktest.NewCut(n)
	o.Transport = cut.Transport(http.DefaultTransport)
	return cut.Executor(New(o)).Run(t.Context(), step, &said{outputs: map[string]string{}}) != nil
}

func TestASecondRunChangesNothing(t *testing.T) {
	t.Parallel()
	for name, with := range everyKind {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, awstest.Options{Polls: 2})
			for _, verb := range life {
				step := w.step(verb, with)
				first := w.must(t, step)
				changes, dump := w.Changes(), w.Dump()
				second := w.must(t, step)
				if n := w.Changes() - changes; n != 0 {
					t.Errorf("a second %s makes %d changing calls: %v", verb, n, w.Calls()[len(w.Calls())-n:])
				}
				if now := w.Dump(); now != dump {
					t.Errorf("a second %s changed\n%s\nto\n%s", verb, dump, now)
				}
				if !maps.Equal(first.outputs, second.outputs) {
					t.Errorf("a second %s tells %v, the first %v", verb, second.outputs, first.outputs)
				}
			}
			if left := w.Things(); len(left) > 0 {
				t.Errorf("there is left: %s", strings.Join(left, ", "))
			}
		})
	}
}

func TestWhatAWSDoesWrongIsRiddenOut(t *testing.T) {
	t.Parallel()
	faults := map[string]awstest.Faults{
		"every third call is throttled": {ThrottleEvery: 3},
		"every fourth call fails":       {FailEvery: 4},
		"both at once":                  {ThrottleEvery: 5, FailEvery: 7},
		"a call is never answered":      {HangAt: 4},
	}
	for name, with := range everyKind {
		for what, f := range faults {
			t.Run(name+", and "+what, func(t *testing.T) {
				t.Parallel()
				calm, rough := newWorld(t, awstest.Options{Polls: 1}), newWorld(t, awstest.Options{Polls: 1})
				if f.HangAt > 0 {
					rough.callTimeout = 300 * time.Millisecond
				}
				for _, verb := range []sdk.Verb{sdk.Deploy, sdk.Sleep, sdk.Wake, sdk.Archive, sdk.Restore, sdk.Cleanup} {
					calm.must(t, calm.step(verb, with))
					rough.SetFaults(f)
					rough.must(t, rough.step(verb, with))
					rough.Heal()
					if got, want := rough.owned(), calm.owned(); got != want {
						t.Fatalf("after %s there is\n%s\nwant\n%s", verb, got, want)
					}
				}
			})
		}
	}
}

func TestPlanAndObserveChangeNothing(t *testing.T) {
	t.Parallel()
	for name, with := range everyKind {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, awstest.Options{})
			for _, verb := range life {
				step := w.step(verb, with)
				changes, dump := w.Changes(), w.Dump()
				if _, err := w.executor().Plan(t.Context(), step); err != nil {
					t.Fatalf("the plan of %s: %v", verb, err)
				}
				if _, err := w.executor().Observe(t.Context(), step); err != nil {
					t.Fatal(err)
				}
				if n := w.Changes() - changes; n != 0 || w.Dump() != dump {
					t.Errorf("a look before %s makes %d changing calls", verb, n)
				}
				w.must(t, step)
			}
		})
	}
}
