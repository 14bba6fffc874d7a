package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/berth-dev/berth/bot/api"
)

// tally counts what people did.
type tally struct {
	mu                                      sync.Mutex
	counted, notCounted, tooLate, cancelled int
}

// lookEvery is how often a person looks at what waits.
const lookEvery = 250 * time.Millisecond

// decideAll has every approver look for what waits and say what they think of
// it, until ctx ends.
func (w *world) decideAll(ctx context.Context) {
	var people sync.WaitGroup
	for i, p := range w.cast.approvers {
		people.Go(func() { w.decideAs(ctx, p, w.random("approver", i)) })
	}
	people.Go(func() { w.withdraw(ctx, w.random("second thoughts", 0)) })
	people.Wait()
}

// stance is what p thinks of a request with this digest: the same each time.
func (w *world) stance(p person, r *api.Request) string {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %s %s %s", w.options.seed, p.name, r.ID, r.Digest)
	switch n := h.Sum64() % 100; {
	case n < 3:
		return "deny"
	case n < 75:
		return "approve"
	default:
		return "" // has not seen it
	}
}

// decideAs is one approver. A decision is sent until there is an answer, one
// time in four through two replicas at once.
func (w *world) decideAs(ctx context.Context, p person, r *rand.Rand) {
	c := newClient(p.token)
	said := map[string]bool{} // by id and digest
	for pass(ctx, lookEvery) {
		waiting, err := c.requests(ctx, w.some(r), "pending")
		if err != nil {
			continue
		}
		for _, q := range waiting {
			key := q.ID + " " + q.Digest
			decision := w.stance(p, &q)
			if said[key] || decision == "" {
				continue
			}
			said[key] = true
			var clicks sync.WaitGroup
			for range 1 + max(0, r.IntN(4)-2) {
				first := r.IntN(len(w.replicas))
				clicks.Go(func() { w.say(ctx, c, p, q.ID, decision, first) })
			}
			clicks.Wait()
		}
	}
}

// say sends one decision until there is an answer.
func (w *world) say(ctx context.Context, c *client, p person, id, decision string, first int) {
	for n := first; ctx.Err() == nil; n++ {
		_, err := c.decide(ctx, w.replicas[n%len(w.replicas)].url, id, decision)
		no, refused := errors.AsType[*refusal](err)
		if err != nil && !refused {
			pass(ctx, 100*time.Millisecond)
			continue
		}
		w.tally.mu.Lock()
		defer w.tally.mu.Unlock()
		switch {
		case err == nil:
			w.tally.counted++
		case no.status == http.StatusForbidden:
			w.tally.notCounted++
		case no.status == http.StatusConflict:
			w.tally.tooLate++
		default:
			w.fault("%s, deciding on %s, got %v", p.name, id, err)
		}
		return
	}
}

// withdraw has people think again about one request in fifty, whatever it is
// doing by then.
func (w *world) withdraw(ctx context.Context, r *rand.Rand) {
	for seen := 0; pass(ctx, lookEvery); {
		w.wishes.mu.Lock()
		fresh := w.wishes.accepted[seen:len(w.wishes.accepted):len(w.wishes.accepted)]
		seen = len(w.wishes.accepted)
		w.wishes.mu.Unlock()
		for _, s := range fresh {
			if r.IntN(50) > 0 {
				continue
			}
			err := newClient(s.by.token).cancel(ctx, w.some(r), s.id)
			if err == nil {
				w.tally.mu.Lock()
				w.tally.cancelled++
				w.tally.mu.Unlock()
			}
		}
	}
}
