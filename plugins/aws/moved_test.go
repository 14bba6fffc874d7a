package aws

import (
	"testing"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

func TestNothingIsMadeBesideWhatCannotBeChanged(t *testing.T) {
	t.Parallel()
	fifo := map[string]any{"fifo": true}
	for name, with := range map[string][2]map[string]any{
		"a queue becomes a FIFO queue": {{"sqs": map[string]any{}}, {"sqs": fifo}},
		"a FIFO queue becomes a queue": {{"sqs": fifo}, {"sqs": map[string]any{}}},
		"a topic becomes a FIFO topic": {{"sns": map[string]any{}}, {"sns": fifo}},
		"a FIFO topic becomes a topic": {{"sns": fifo}, {"sns": map[string]any{}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, awstest.Options{})
			w.must(t, w.step(sdk.Deploy, with[0]))
			changes := w.Changes()
			_, err := w.executor().Plan(t.Context(), w.step(sdk.Deploy, with[1]))
			refused(t, err, "cannot change `fifo`")
			_, err = w.run(t, w.step(sdk.Deploy, with[1]))
			refused(t, err, "cannot change `fifo`")
			if n := w.Changes() - changes; n != 0 {
				t.Errorf("it made %d changing calls", n)
			}
		})
	}
}

func TestAFIFOQueueNeedsAFIFOTopic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	_, err := w.executor().Plan(t.Context(), w.step(sdk.Deploy, map[string]any{"sqs": map[string]any{"fifo": true}, "sns": map[string]any{"queue": map[string]any{}}}))
	refused(t, err, "fifo: true")
}

// A part that has moved to another region has left things in the one before.
func TestCleanupFindsWhatAPartHasMovedAwayFrom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{Polls: 1})
	step := func(verb sdk.Verb, region string) sdk.Step {
		s := w.step(verb, map[string]any{"region": region, "rds": map[string]any{"engine": "postgres"}, "sqs": map[string]any{}})
		s.Settings["regions"] = []any{"us-east-1"}
		return s
	}
	w.must(t, step(sdk.Deploy, testRegion))
	w.must(t, step(sdk.Deploy, "us-east-1"))
	w.must(t, step(sdk.Cleanup, "us-east-1"))
	if left := w.Things(); len(left) > 0 {
		t.Errorf("there is left %v", left)
	}
}
