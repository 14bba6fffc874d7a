package aws

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

// TestWhatLostItsMarksIsNeitherChangedNorDeleted takes the tags off what a deploy
// made, or gives them another environment's, for every kind that has no test of
// its own for it: from then on it is a stranger's.
func TestWhatLostItsMarksIsNeitherChangedNorDeleted(t *testing.T) {
	t.Parallel()
	kinds := map[string]struct {
		service, kind string
		with          map[string]any
	}{
		"a queue":      {"sqs", "queue", map[string]any{"sqs": map[string]any{}}},
		"a topic":      {"sns", "topic", map[string]any{"sns": map[string]any{}}},
		"a repository": {"ecr", "repository", map[string]any{"ecr": map[string]any{}}},
		"a role":       {"iam", "role", roleWith(webAccount, nil)},
		"a stack":      {"cloudformation", "stack", stackWith(testTemplate, nil)},
	}
	others := map[string]struct {
		tags map[string]string
		want string
	}{
		"no marks":                  {map[string]string{"berth:app": "", "berth:environment": "", "berth:part": "", "berth:installation": ""}, "Berth did not make it"},
		"another environment's":     {map[string]string{"berth:environment": "pr-43"}, "shop/pr-43"},
		"another installation's":    {map[string]string{"berth:installation": "berth-2"}, "another Berth"},
		"another part's":            {map[string]string{"berth:part": "other"}, "part other"},
		"marks that are half there": {map[string]string{"berth:part": ""}, "Berth did not make it"},
	}
	for name, k := range kinds {
		for whose, o := range others {
			t.Run(name+" with "+whose, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, awstest.Options{})
				step := w.step(sdk.Deploy, k.with)
				w.must(t, step)
				w.Settle()
				for _, arn := range w.ARNs(k.service, k.kind) {
					if strings.Contains(arn, "berth-shop-pr-42-db") {
						w.Tag(arn, o.tags)
					}
				}
				before := w.Dump()
				if _, err := w.executor().Plan(t.Context(), step); err == nil || !strings.Contains(err.Error(), o.want) {
					t.Errorf("plan: %v", err)
				}
				step.ID = "another"
				if _, err := w.run(t, step); err == nil || !strings.Contains(err.Error(), o.want) {
					t.Errorf("deploy: %v", err)
				}
				w.must(t, w.step(sdk.Cleanup, k.with))
				if w.Dump() != before {
					t.Error("what is not ours was changed")
				}
			})
		}
	}
}
