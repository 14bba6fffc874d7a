package github

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot/github/githubtest"
)

// TestADeployIsShownWithFewWrites counts what a whole deploy costs of the
// account's limits, and how soon its end is seen.
func TestADeployIsShownWithFewWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{GitHub: githubtest.Options{Secondary: &githubtest.SecondaryLimits{}}})
	hold := make(chan struct{})
	w.executor.set(nil, hold)
	w.say("ana", "/deploy")
	w.until("it runs", func() bool { return strings.Contains(w.sticky(), "is being deployed") })
	end := time.Now()
	close(hold)
	w.until("its end is shown", func() bool { return strings.Contains(w.sticky(), "🟢") })
	if took := time.Since(end); took > 3*time.Second { // about 1 s where nothing else runs
		t.Errorf("the end was shown after %v", took)
	}
	w.settled()
	writes := map[string]int{}
	for _, r := range w.Requests() {
		if r.Method != "GET" {
			writes[r.Method+" "+r.Path]++
		}
	}
	total := 0
	for _, n := range writes {
		total += n
	}
	// Two reactions, a comment made and edited twice, a deployment and three
	// states of it, and one more edit where the machine is slow.
	if total > 10 {
		t.Errorf("%d writes: %v", total, writes)
	}
}
