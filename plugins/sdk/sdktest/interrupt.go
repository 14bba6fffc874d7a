package sdktest

import (
	"fmt"
	"slices"
	"testing"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
	"github.com/berth-dev/berth/plugins/sdk"
)

// maxCalls bounds how many calls of the world outside a deploy is taken to make.
const maxCalls = 5000

// interrupted makes an executor that dies at its n-th call.
func (b *bench) interrupted(t *testing.T, n int) *client {
	t.Helper()
	if b.Interrupted != nil {
		return serve(t, b.Interrupted(t, n), b.seen)
	}
	return launch(t, b.Suite, b.seen, b.InterruptedEnv(t, n))
}

// cutOff tells whether an executor that dies at its n-th call was kept from
// doing the step.
func (b *bench) cutOff(t *testing.T, n int, v sdk.Verb) bool {
	t.Helper()
	_, err := b.interrupted(t, n).run(b.context(t), wire(t, b.do(v)), nil)
	if f := failureOf(err); f.GetFault() == executorv1.Fault_FAULT_INVALID {
		t.Errorf("%s was cut off, and the executor holds the user's input to be at fault: %s", v, f.GetMessage())
	}
	return err != nil
}

// rounds calls round, which tells whether anything was cut off, with each n.
func (b *bench) rounds(t *testing.T, first int, round func(t *testing.T, n int) bool) {
	t.Helper()
	if b.Interrupted == nil && b.InterruptedEnv == nil {
		t.Skip("the suite interrupts nothing")
	}
	last := 0
	for n := first; ; n += max(b.InterruptEvery, 1) {
		cut := false
		if n > maxCalls {
			t.Fatalf("a deploy that is cut off at call %d still fails: is what Interrupted makes ever well?", n)
		}
		if !t.Run(fmt.Sprintf("cut off at call %d", n), func(t *testing.T) { cut = round(t, n) }) {
			b.leaveNothing(t)
			return // later ones would fail for what this one left
		}
		if !cut {
			break
		}
		last = n
	}
	if last == 0 {
		t.Error("a deploy that dies at its first call succeeds: Interrupted interrupts nothing, or the executor looks at nothing")
	}
	t.Logf("the last call at which it was cut off is number %d", last)
}

// leaveNothing leaves the world to the next test as well as it can.
func (b *bench) leaveNothing(t *testing.T) {
	t.Helper()
	if _, err := b.client.run(b.context(t), wire(t, b.do(sdk.Cleanup)), nil); err != nil {
		t.Logf("cleanup, to leave nothing behind: %v", err)
	}
}

// well has the healthy executor do a step.
func (b *bench) well(t *testing.T, v sdk.Verb, after string) {
	t.Helper()
	if _, err := b.client.run(b.context(t), wire(t, b.do(v)), nil); err != nil {
		t.Fatalf("%s %s: %v", v, after, err)
	}
}

// nothingOwned checks that the world holds nothing of the environment.
func (b *bench) nothingOwned(t *testing.T, after string) {
	t.Helper()
	for _, left := range b.Owned(t) {
		t.Errorf("%s leaves %s", after, left)
	}
}

func (b *bench) cleanupAfterCut(t *testing.T) {
	b.rounds(t, 1, func(t *testing.T, n int) bool {
		cut := b.cutOff(t, n, sdk.Deploy)
		b.well(t, sdk.Cleanup, "after a deploy that was cut off")
		b.nothingOwned(t, "cleanup after a deploy that was cut off")
		return cut
	})
}

// deployAfterCut does what Berth does when it finds that an executor has died:
// the same step again. Then it does the same with cleanup.
func (b *bench) deployAfterCut(t *testing.T) {
	var whole []string
	deployed := true
	b.rounds(t, 1+max(b.InterruptEvery, 1)/2, func(t *testing.T, n int) bool {
		if whole == nil {
			b.well(t, sdk.Deploy, "of nothing")
			if whole = b.listOwned(t); len(whole) == 0 {
				t.Fatal("Owned sees nothing of what was deployed")
			}
			b.well(t, sdk.Cleanup, "of it")
		}
		cut := deployed && b.cutOff(t, n, sdk.Deploy)
		deployed = cut
		b.well(t, sdk.Deploy, "after one that was cut off")
		if now := b.listOwned(t); !slices.Equal(now, whole) {
			t.Errorf("after a deploy that was cut off, and another one, there is not what an undisturbed one makes: %s", difference(lines(whole), lines(now)))
		}
		cut = b.cutOff(t, n, sdk.Cleanup) || cut
		b.well(t, sdk.Cleanup, "after one that was cut off")
		b.nothingOwned(t, "cleanup after one that was cut off")
		return cut
	})
}

// listOwned is Owned, sorted; nothing without it.
func (b *bench) listOwned(t *testing.T) []string {
	t.Helper()
	if b.Owned == nil {
		return nil
	}
	all := slices.Clone(b.Owned(t))
	slices.Sort(all)
	return all
}

// lines are texts one beneath the other, those that come again with a number.
func lines(all []string) string {
	out, times := "", map[string]int{}
	for _, s := range all {
		if times[s]++; times[s] > 1 {
			s = fmt.Sprintf("%s (number %d of it)", s, times[s])
		}
		out += s + "\n"
	}
	return out
}
