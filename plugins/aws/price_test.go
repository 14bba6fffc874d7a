package aws

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

func TestAPlanEstimatesTheCost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	for name, test := range map[string]struct {
		with map[string]any
		says []string
	}{
		"a small instance":        {postgres("class", "db.t4g.micro"), []string{"about $14 a month", "db.t4g.micro, 20 GiB", "a rough estimate", "2025"}},
		"one with a standby":      {postgres("class", "db.t4g.micro", "multi_az", true), []string{"about $28 a month", "in two zones"}},
		"a serverless cluster":    {map[string]any{"aurora": map[string]any{"engine": "aurora-mysql"}}, []string{"about $44 a month", "0.5 to 2 ACUs"}},
		"a class without a price": {postgres("class", "db.x9z.huge"), []string{"no price is known for rds", "db.x9z.huge"}},
		"several kinds together":  {map[string]any{"rds": map[string]any{"engine": "mysql"}, "secret": map[string]any{}}, []string{"about $14 a month", "and"}},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := w.executor().Plan(t.Context(), w.step(sdk.Deploy, test.with))
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range test.says {
				if !strings.Contains(plan.Cost, word) {
					t.Errorf("it says %q; want %q in it", plan.Cost, word)
				}
			}
		})
	}
}
