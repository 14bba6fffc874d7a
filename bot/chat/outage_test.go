package chat

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot"
)

// Redis hangs for five seconds, as a machine does that swaps. What was taken
// before is done after it, once; what comes meanwhile is refused in time, and done
// once when it is delivered again, be it that it had been stored after all.
func TestRedisFreezes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	slack := newPlatform(bot.PlatformSlack)
	a := newReplica(t, server.Client(t), "a", slack).run(t)
	b := newReplica(t, server.Client(t), "b", slack).run(t)

	const each = 30
	id := func(what string, i int) (string, string) {
		return fmt.Sprint(what, i), fmt.Sprintf("deploy shop/%s-%d", what, i)
	}
	for i := range each {
		name, line := id("before", i)
		[]*replica{a, b}[i%2].take(t, event(name, "U1", line))
	}
	server.Pause(t)
	frozen := time.Now()
	time.AfterFunc(5*time.Second, func() { server.Resume(t) })

	var group sync.WaitGroup
	var refusals atomic.Int64
	for i := range each {
		group.Go(func() {
			name, line := id("during", i)
			e := event(name, "U1", line)
			for tries := 0; ; tries++ {
				ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
				err := []*replica{a, b}[(i+tries)%2].Take(ctx, e)
				cancel()
				if err == nil {
					return
				}
				refusals.Add(1)
				if actions.CodeOf(err) != actions.CodeUnavailable {
					t.Errorf("refused: %v", err)
					return
				}
			}
		})
	}
	group.Wait()
	if refusals.Load() == 0 {
		t.Error("nobody was told in time that Redis does not answer")
	}
	if waited := time.Since(frozen); waited < 4*time.Second {
		t.Errorf("an event was taken %s after Redis froze", waited)
	}
	for _, what := range []string{"before", "during"} {
		for i := range each {
			name, _ := id(what, i)
			a.done(t, a.rdb, name)
			// A replica that is frozen right after it answered may lose what it does to the
			// other, which knows nothing of that answer: each answers once at most.
			if n := slack.accepted(name); n < 1 || n > 2 {
				t.Errorf("%s has %d answers", name, n)
			}
		}
	}
	all, err := a.recent(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string]int{}
	for _, r := range all {
		asked[r.Order.Env.String()]++
	}
	for _, what := range []string{"before", "during"} {
		for i := range each {
			if n := asked[fmt.Sprintf("shop/%s-%d", what, i)]; n != 1 {
				t.Errorf("%s %d was asked for %d times", what, i, n)
			}
		}
	}
}

// More events than Redis takes are refused at once: memory is bounded.
func TestTakeIsBounded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newReplica(t, server.Client(t), "a", newPlatform(bot.PlatformSlack))
	server.Pause(t)
	t.Cleanup(func() { server.Resume(t) })
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var group sync.WaitGroup
	var mu sync.Mutex
	refused := 0
	for i := range takeMost + 1000 {
		group.Go(func() {
			err := w.Take(ctx, event(fmt.Sprint(i), "U1", "help"))
			mu.Lock()
			defer mu.Unlock()
			if actions.CodeOf(err) != actions.CodeUnavailable {
				t.Errorf("got %v", err)
			}
			if errors.Is(err, errTooMany) {
				refused++
				cancel() // the others need not wait any longer
			}
		})
	}
	group.Wait()
	if refused == 0 {
		t.Error("none was refused at once")
	}
}

// accepted is how often an event was answered, besides word that it takes long,
// which a busy machine may earn.
func (p *platform) accepted(event string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.answers {
		if a.event == event && a.m.Tone == bot.ChatWorking {
			n++
		}
	}
	return n
}
