package aws

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/sdk"
)

// TestOfSeveralFaultsTheSameIsToldEachTime holds that a refusal does not depend on
// the order in which Go happens to walk a map: who asks again, or asks another
// replica, is told the same.
func TestOfSeveralFaultsTheSameIsToldEachTime(t *testing.T) {
	t.Parallel()
	many := func(key, value string) string {
		var out []string
		for i := range 9 {
			out = append(out, fmt.Sprintf("%q: %s", fmt.Sprintf(key, i), value))
		}
		return "{" + strings.Join(out, ", ") + "}"
	}
	for name, with := range map[string]string{
		"tags that are reserved":       `{"secret": {}, "tags": ` + many("aws:%d", `"x"`) + `}`,
		"secrets that are written out": `{"secret": {"secrets": ` + many("k%d", `"x"`) + `}}`,
		"parameters written out":       `{"stack": {"template": "{}", "secrets": ` + many("K%d", `"x"`) + `}}`,
		"policies that are none":       `{"iam_role": {"policies": ` + many("p %d", `"x"`) + `}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			step := sdk.Step{ID: "1", App: "shop", Env: "pr-42", Part: "db", Verb: sdk.Deploy, Settings: map[string]any{"region": "eu-central-1", "endpoint": "http://127.0.0.1:1"}}
			if err := json.Unmarshal([]byte(with), &step.With); err != nil {
				t.Fatal(err)
			}
			said := map[string]bool{}
			for range 30 {
				_, err := New(Options{}).open(t.Context(), step)
				if err == nil {
					t.Fatal("it is accepted")
				}
				said[err.Error()] = true
			}
			if len(said) != 1 {
				t.Errorf("%d different refusals: %v", len(said), said)
			}
		})
	}
}
