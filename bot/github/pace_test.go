package github

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot/github/githubtest"
)

// TestADeployIsShownWithFewWrites counts what a whole deploy costs of the
// account's limits, and how soon its end is seen.
func TestADeployIsShownWithFewWrites(t *testing.T) {
	t.Parallel()
	var still atomic.Pointer[time.Time] // when the surface's clock stopped
	began := time.Now()
	w := newWorld(t, worldOptions{GitHub: githubtest.Options{Secondary: &githubtest.SecondaryLimits{}}, Surface: func(o *Options) {
		o.Now = func() time.Time {
			if at := still.Load(); at != nil {
				return *at
			}
			return time.Now()
		}
	}})
	hold := make(chan struct{})
	w.executor.set(nil, hold)
	w.say("ana", "/deploy")
	w.until("it runs", func() bool { return strings.Contains(w.sticky(), "is being deployed") })
	// From here on no time passes: nothing that waits for editApart is ever written.
	now := time.Now()
	still.Store(&now)
	close(hold)
	w.until("its end is shown", func() bool { return strings.Contains(w.sticky(), "🟢") })
	still.Store(nil)
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
	// states of it, and more edits where the machine is slow.
	if total > 10+int(time.Since(began)/editApart) {
		t.Errorf("%d writes: %v", total, writes)
	}
}
