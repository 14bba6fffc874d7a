package actions_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-dev/berth/actions"
)

func TestValidateParts(t *testing.T) {
	t.Parallel()
	part := func(name string, needs ...string) actions.Part {
		return actions.Part{Name: name, Use: "x", Needs: needs}
	}
	tests := map[string]struct {
		parts []actions.Part
		want  []string
	}{
		"none are fine":            {nil, nil},
		"a chain is fine":          {[]actions.Part{part("cc", "bb"), part("bb", "aa"), part("aa")}, nil},
		"two of one name":          {[]actions.Part{part("aa"), part("aa")}, []string{"part aa: there are two parts of that name; rename one."}},
		"one that needs itself":    {[]actions.Part{part("aa", "aa")}, []string{"part aa: it needs itself; remove that."}},
		"one that needs a nobody":  {[]actions.Part{part("aa", "bb"), part("cc")}, []string{`part aa: it needs "bb", which is no part; there are aa, cc.`}},
		"one that needs one twice": {[]actions.Part{part("aa"), part("bb", "aa", "aa")}, []string{"part bb: it needs aa twice; name it once."}},
		"a circle": {[]actions.Part{part("aa", "cc"), part("bb", "aa"), part("cc", "bb"), part("dd", "aa")},
			[]string{"parts aa → cc → bb → aa need each other in a circle; remove one of these needs."}},
		"no executor and a bad name": {[]actions.Part{{Name: "A"}},
			[]string{`part 1: "A" cannot be a name: use 2 to 40 of a-z, 0-9 and "-", starting with a letter.`, "part A: use is missing; name the executor that handles it."}},
		"a template that is none": {[]actions.Part{{Name: "aa", Use: "x", With: map[string]any{"a": []any{"{{ .SHA"}, "b": "{{ nofunc }}"}}},
			[]string{"part aa: with.a[0]: unclosed action.", `part aa: with.b: function "nofunc" not defined.`}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := actions.ValidateParts(tc.parts)
			var got []string
			if joined, ok := err.(interface{ Unwrap() []error }); ok {
				for _, e := range joined.Unwrap() {
					wantCode(t, e, actions.CodeInvalid)
					got = append(got, actions.Message(e))
				}
			}
			if strings.Join(got, "\n") != strings.Join(tc.want, "\n") {
				t.Errorf("faults\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}

// Whatever the graph and whichever parts fail: a part runs only when all those
// that it waits for are done, once, and every part's end is recorded.
func TestOrderOfAnyGraph(t *testing.T) {
	h := newHarness(t)
	rapid.Check(t, func(rt *rapid.T) {
		h.rdb.FlushDB(h.ctx)
		h.world = newWorld()
		h.store = actions.NewStore(h.rdb, actions.StoreOptions{Now: h.now})
		h.run = h.runner()
		n := rapid.IntRange(1, 7).Draw(rt, "parts")
		at := rapid.Permutation(indexes(n)).Draw(rt, "order in the configuration")
		h.app.Parts = make([]actions.Part, n)
		needs, failing := map[string][]string{}, map[string]bool{}
		for i := range n { // part i needs some of the parts before it
			name := fmt.Sprint("p", i)
			for j := range i {
				if rapid.Bool().Draw(rt, "needs") {
					needs[name] = append(needs[name], fmt.Sprint("p", j))
				}
			}
			failing[name] = rapid.IntRange(0, 5).Draw(rt, "fails") == 0
			h.app.Parts[at[i]] = actions.Part{Name: name, Use: "x", Needs: needs[name]}
		}
		if err := actions.ValidateParts(h.app.Parts); err != nil {
			rt.Fatal(err)
		}
		if h.perform(actions.Order{Verb: actions.VerbDeploy}).State != actions.RunSucceeded {
			rt.Fatal("the first deploy failed")
		}
		verb := rapid.SampledFrom([]actions.Verb{actions.VerbDeploy, actions.VerbCleanup}).Draw(rt, "verb")
		waits := needs
		if verb == actions.VerbCleanup {
			waits = map[string][]string{}
			for who, list := range needs {
				for _, n := range list {
					waits[n] = append(waits[n], who)
				}
			}
		}
		var mu sync.Mutex
		ran, done := map[string]int{}, map[string]bool{}
		for i := range n {
			name := fmt.Sprint("p", i)
			h.world.before[name] = func(_ context.Context, s actions.Step, _ func(actions.Event)) error {
				mu.Lock()
				defer mu.Unlock()
				ran[s.Part]++
				for _, w := range waits[s.Part] {
					if !done[w] {
						rt.Errorf("%s ran before %s was done", s.Part, w)
					}
				}
				if failing[s.Part] {
					return actions.Errorf("x", actions.CodeDownstream, "No.")
				}
				done[s.Part] = true
				return nil
			}
		}
		run := h.perform(actions.Order{Verb: verb})
		for _, s := range run.Steps {
			blocked := false
			for _, w := range waits[s.Part] {
				blocked = blocked || !done[w]
			}
			want := actions.StepDone
			switch {
			case blocked:
				want = actions.StepSkipped
			case failing[s.Part]:
				want = actions.StepFailed
			}
			if s.State != want || (ran[s.Part] == 1) == blocked || ran[s.Part] > 1 {
				rt.Errorf("%s is %s after %d runs, want %s", s.Part, s.State, ran[s.Part], want)
			}
		}
	})
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
