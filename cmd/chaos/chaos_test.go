package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/sdk"
)

// TestMain lets the test's program be the replicas' executor, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == executorMode {
		sdk.Serve(newExecutor(os.Getenv(ledgerVariable)))
		return
	}
	os.Exit(m.Run())
}

func TestAHundredRequestsSurviveAStorm(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir+"/", "../berth").CombinedOutput(); err != nil {
		t.Fatalf("building berth: %v\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = run(t.Context(), options{requests: 100, seed: 7, berth: filepath.Join(dir, "berth"), program: self}, &out)
	t.Log("\n" + out.String())
	if err != nil {
		t.Fatal(err)
	}
}

func TestEnvironmentsLiveThroughAStorm(t *testing.T) {
	devcluster := os.Getenv("DEVCLUSTER")
	if devcluster == "" {
		t.Skip("needs a control plane: set DEVCLUSTER, as make test does")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir+"/", "../berth", "../berth-helm").CombinedOutput(); err != nil {
		t.Fatalf("building berth: %v\n%s", err, out)
	}
	chart, err := filepath.Abs("../../charts/preview")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = runLives(t.Context(), livesOptions{
		environments: 8, actions: 4, seed: 7, berth: filepath.Join(dir, "berth"), devcluster: devcluster, chart: chart,
	}, &out)
	t.Log("\n" + out.String())
	if err != nil {
		t.Fatal(err)
	}
}

// newTestLedger is a ledger whose steps have these fates.
func newTestLedger(t *testing.T) *ledger {
	t.Helper()
	l, err := newLedger(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

// stepWith is the id of a step with a fate that is wanted.
func stepWith(t *testing.T, l *ledger, wanted func(fate) bool) string {
	t.Helper()
	for n := range 10_000 {
		if id := fmt.Sprintf("run%d/web/deploy", n); wanted(l.fate(id)) {
			return id
		}
	}
	t.Fatal("no step has such a fate")
	return ""
}

func TestWhatTheLedgerHolds(t *testing.T) {
	l := newTestLedger(t)
	x := newExecutor(l.url)
	tests := map[string]struct {
		fate     func(fate) bool
		tries    int
		giveUp   bool // once it has arrived
		outcomes []string
		effects  int
	}{
		"a step that is run twice has one effect": {
			fate: func(f fate) bool { return !f.refused && f.busy+f.mute+f.hangs == 0 }, tries: 2, outcomes: []string{"done", "known"}, effects: 1,
		},
		"a step whose answer is lost has its effect": {
			fate: func(f fate) bool { return f.mute == 1 }, tries: 1, outcomes: []string{"done"}, effects: 1,
		},
		"a step that comes too early has none": {fate: func(f fate) bool { return f.busy == 1 }, tries: 1, outcomes: []string{"busy"}},
		"a step that is refused has none":      {fate: func(f fate) bool { return f.refused }, tries: 1, outcomes: []string{"refused"}},
		"work ends with whoever asked for it": {
			fate: func(f fate) bool { return f.hangs == 1 }, tries: 1, giveUp: true, outcomes: []string{"broken off"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			id := stepWith(t, l, test.fate)
			for range test.tries {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				if test.giveUp {
					go func() {
						_ = await(ctx, patience, "the work to arrive", func() (bool, error) { // in vain is seen below
							_, arrivals := l.entries()
							return slices.ContainsFunc(arrivals, func(a arrival) bool { return a.Step == id }), nil
						})
						cancel()
					}()
				}
				_ = x.Run(ctx, sdk.Step{ID: id, App: "shop", Env: "e0", Part: "web", Verb: sdk.Deploy}, nobody{})
				cancel()
			}
			var outcomes []string
			effects := 0
			err := await(t.Context(), patience, "the work to end", func() (bool, error) {
				outcomes, effects = nil, 0
				all, arrivals := l.entries()
				for _, e := range all {
					if e.Step == id {
						effects++
					}
				}
				for _, a := range arrivals {
					if a.Step == id && !a.end.IsZero() {
						outcomes = append(outcomes, a.outcome)
					}
				}
				return len(outcomes) == test.tries, nil
			})
			if err != nil || effects != test.effects || fmt.Sprint(outcomes) != fmt.Sprint(test.outcomes) {
				t.Errorf("%d effects and the outcomes %v, %v; want %d and %v", effects, outcomes, err, test.effects, test.outcomes)
			}
		})
	}
}

// nobody hears what an executor tells.
type nobody struct{}

func (nobody) Log(string)                {}
func (nobody) Progress(string, int, int) {}
func (nobody) Output(string, string)     {}
func (nobody) Receipt(sdk.Resource)      {}
