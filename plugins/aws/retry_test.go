package aws

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

// quota is what AWS does for all of an account together: it lets so many calls a
// second through, and answers the rest as too many.
type quota struct {
	rate, burst float64

	mu            sync.Mutex
	at            time.Time
	tokens        float64
	made, refused int
}

// exceeded counts a call, and tells whether it is one too many.
func (q *quota) exceeded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := time.Now(); q.at.IsZero() {
		q.at, q.tokens = now, q.burst
	} else {
		q.tokens = min(q.burst, q.tokens+now.Sub(q.at).Seconds()*q.rate)
		q.at = now
	}
	q.made++
	if q.tokens < 1 {
		q.refused++
		return true
	}
	q.tokens--
	return false
}

// direct makes calls without a network, so that simulated time passes while
// nothing but time is waited for.
type direct struct{ to http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	d.to.ServeHTTP(answer, r)
	return answer.Result(), nil
}

// TestThrottlingSlowsAllEnvironmentsDown has many environments be made at once by
// the executor as it is started, in an account that AWS lets make few calls.
func TestThrottlingSlowsAllEnvironmentsDown(t *testing.T) {
	const environments = 40
	for name, test := range map[string]struct {
		with  map[string]any
		owned int // how many things an environment has
	}{
		"databases": {with: postgres(), owned: 1},
		"queues":    {with: map[string]any{"sqs": map[string]any{"dead_letters": map[string]any{"after": int64(3)}}}, owned: 2},
	} {
		w := newWorld(t, awstest.Options{Polls: 3})
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limit := &quota{rate: 5, burst: 10}
				w.SetFaults(awstest.Faults{Throttle: limit.exceeded})
				x, start := New(Options{Transport: direct{w}}), time.Now()
				errs := make([]error, environments)
				var group sync.WaitGroup
				for i := range environments {
					group.Go(func() {
						step := w.step(sdk.Deploy, test.with)
						step.Env = fmt.Sprint("pr-", i)
						errs[i] = x.Run(t.Context(), step, &said{outputs: map[string]string{}})
					})
				}
				group.Wait()
				for i, err := range errs {
					if err != nil {
						t.Errorf("environment %d: %v", i, err)
					}
				}
				if n := len(w.Owned()); n != environments*test.owned {
					t.Errorf("there are %d things; want %d", n, environments*test.owned)
				}
				took := time.Since(start)
				t.Logf("it took %s, %d calls, of which %d were throttled", took, limit.made, limit.refused)
				if limit.refused == 0 || limit.refused > limit.made*3/4 {
					t.Errorf("of %d calls %d were throttled; want some, and not three of four", limit.made, limit.refused)
				}
				if least := time.Duration(float64(limit.made-limit.refused) / limit.rate * float64(time.Second)); took > 4*least {
					t.Errorf("it took %s; AWS would have let all of it be done in %s", took, least)
				}
			})
		})
	}
}
