package aws

import (
	"net/http"
	"testing"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// TestConformance runs the suite that every executor passes, for each kind: it
// is killed at each of its calls in turn, among other things.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, with := range everyKind {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, awstest.Options{Polls: 1})
			sdktest.Run(t, sdktest.Suite{
				New:      func() sdk.Executor { return w.executor() },
				Step:     sdk.Step{With: with, Settings: w.settings()},
				Snapshot: func(*testing.T) string { w.Settle(); return w.Dump() },
				Owned:    func(*testing.T) []string { return w.Owned() },
				Interrupted: func(_ *testing.T, n int) sdk.Executor {
					cut := sdktest.NewCut(n)
					o := w.options()
					o.Transport = cut.Transport(http.DefaultTransport)
					return cut.Executor(New(o))
				},
				Invalid: map[string]map[string]any{
					"nothing asked for":    {},
					"an unknown kind":      {"mainframe": map[string]any{}},
					"a region of no one":   {"secret": map[string]any{}, "region": "mars-north-1"},
					"an unknown account":   {"secret": map[string]any{}, "account": "moon"},
					"a wrong retention":    {"secret": map[string]any{}, "retain": "a while"},
					"a reserved tag":       {"secret": map[string]any{}, "tags": map[string]any{"berth:app": "x"}},
					"a written-out secret": {"secret": map[string]any{"secrets": map[string]any{"token": "s3cret"}}},
					"a database of what":   {"rds": map[string]any{}},
				},
				InvalidSettings: map[string]map[string]any{
					"an unknown key": {"region": testRegion, "rgion": "x"},
					"no region":      {"region": "here"},
				},
			})
		})
	}
}
