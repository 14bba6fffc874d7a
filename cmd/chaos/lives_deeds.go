package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/berth-dev/berth/bot/api"
)

// deeds are what people asked for and got accepted.
type deeds struct {
	mu       sync.Mutex
	asked    int // turns that were taken
	accepted map[string][]string
	busy     map[string]bool
	verbs    map[string]int
}

func (d *deeds) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// choose takes an environment that nobody else is at. There are always more of
// them than people, so that one is found soon.
func (d *deeds) choose(names []string, r *rand.Rand) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy == nil {
		d.busy, d.accepted, d.verbs = map[string]bool{}, map[string][]string{}, map[string]int{}
	}
	for {
		if name := names[r.IntN(len(names))]; !d.busy[name] {
			d.busy[name] = true
			return name
		}
	}
}

// done gives the environment back.
func (d *deeds) done(name, verb, id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	d.busy[name] = false
	if id != "" {
		d.accepted[name] = append(d.accepted[name], id)
		d.verbs[verb]++
	}
}

// live has people do things to environments, until enough was done: each of them
// is deployed once at first, then whatever comes.
func (l *lives) live(ctx context.Context) {
	var names []string
	for n := range l.options.environments {
		names = append(names, fmt.Sprintf("%s/e%d", []string{"red", "blue", "both"}[n%3], n))
	}
	turns := make(chan int)
	var people sync.WaitGroup
	people.Go(func() {
		defer close(turns)
		for n := range l.options.environments * l.options.actions {
			select {
			case turns <- n:
			case <-ctx.Done():
				return
			}
		}
	})
	for i := range min(hands, max(l.options.environments/2, 1)) {
		people.Go(func() {
			r, c := l.random("hand", i), newClient(l.token)
			for n := range turns {
				pick := names
				if n < len(names) {
					pick = names[n : n+1]
				}
				name := l.deeds.choose(pick, r)
				verb, id := l.act(ctx, c, r, name)
				l.deeds.done(name, verb, id)
			}
		})
	}
	people.Wait()
}

// act does one thing to an environment and waits until it has ended. id is the
// request's, "" when none was accepted.
func (l *lives) act(ctx context.Context, c *client, r *rand.Rand, name string) (verb, id string) {
	for again := 0; ctx.Err() == nil && again < 20; again++ {
		verb, line, cancel := l.wish(l.seen(ctx, c, r, name), r)
		key := fmt.Sprintf("%s-%d-%d", name, again, r.Uint64())
		req := l.insist(ctx, c, r, verb+" "+name+line, key)
		if req == nil {
			continue
		}
		if cancel && pass(ctx, time.Duration(r.IntN(1500))*time.Millisecond) {
			_ = c.cancel(ctx, l.some(r), req.ID) // it may have ended
		}
		for pass(ctx, 200*time.Millisecond) {
			if now, err := c.request(ctx, l.some(r), req.ID); err == nil && now.EndedAt != nil {
				break
			}
		}
		return verb, req.ID
	}
	return "", ""
}

// glance is what of an environment decides what people do to it.
type glance struct {
	State    string `json:"state"`
	Sleeping bool   `json:"sleeping"`
}

// seen looks at an environment; one that is not there, or cannot be seen, is as
// new.
func (l *lives) seen(ctx context.Context, c *client, r *rand.Rand, name string) glance {
	var g glance
	_ = c.call(ctx, http.MethodGet, l.some(r)+"/api/v1/environments/"+name, "", nil, &g)
	return g
}

// choice is something that people do to an environment.
type choice struct {
	weight int
	verb   string
	line   string
	cancel bool // and think better of it soon after
}

// wish is what somebody does to an environment that looks like g.
func (l *lives) wish(g glance, r *rand.Rand) (verb, line string, cancel bool) {
	good := fmt.Sprintf(" --set image.tag=v%d --set replicaCount=%d", r.IntN(1000), 1+r.IntN(2))
	const bad = " --set image.tag=does-not-exist"
	var choices []choice
	switch {
	case g.State == "Running" && g.Sleeping:
		choices = []choice{{60, "wake", "", false}, {15, "deploy", good, false}, {15, "archive", "", false}, {10, "cleanup", "", false}}
	case g.State == "Running":
		choices = []choice{
			{30, "deploy", good, false}, {6, "deploy", bad, false}, {8, "deploy", good, true}, {16, "sleep", "", false}, {14, "archive", "", false},
			{8, "restart", "", false}, {10, "rollback", "", false}, {8, "cleanup", "", false},
		}
	case g.State == "Archived":
		choices = []choice{{80, "restore", "", false}, {20, "cleanup", "", false}}
	case g.State == "Failure":
		choices = []choice{{50, "deploy", good, false}, {20, "restore", "", false}, {15, "archive", "", false}, {15, "cleanup", "", false}}
	default:
		choices = []choice{{90, "deploy", good, false}, {5, "deploy", bad, false}, {5, "deploy", good, true}}
	}
	total := 0
	for _, c := range choices {
		total += c.weight
	}
	n := r.IntN(total)
	for _, c := range choices {
		if n -= c.weight; n < 0 {
			return c.verb, c.line, c.cancel
		}
	}
	return "deploy", good, false
}

// insist asks one replica after another until one answers. It returns nil when
// the answer was no.
func (l *lives) insist(ctx context.Context, c *client, r *rand.Rand, command, key string) *api.Request {
	for tries := 1; ctx.Err() == nil; tries++ {
		req, err := c.submit(ctx, l.some(r), command, key)
		if err == nil {
			return req
		}
		if _, refused := errors.AsType[*refusal](err); refused {
			return nil
		}
		pass(ctx, min(time.Duration(tries)*50*time.Millisecond, time.Second))
	}
	return nil
}

// some is the address of a replica.
func (l *lives) some(r *rand.Rand) string { return l.replicas[r.IntN(len(l.replicas))].url }
