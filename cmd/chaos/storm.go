package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	// killEvery is how often a replica is killed.
	killEvery = time.Second
	// leastAge is how long a replica is left alone after its start, so that it
	// has something in hand when it is killed.
	leastAge = 1500 * time.Millisecond
	// moveEvery is how often what a version means moves.
	moveEvery = 4 * time.Second
)

// storm is what is done to the system.
type storm struct {
	mu       sync.Mutex
	kills    int
	restarts []string       // of Redis
	cuts     map[string]int // by kind of trouble
	moves    int
	spared   *replica // is not killed, since its line is in trouble for longer than a lease
}

// rage does all of it until ctx ends, but for the restarts of Redis, which come
// when so much of the requests is accepted. An error is one of the chaos's own.
func (w *world) rage(ctx context.Context) error {
	var parts sync.WaitGroup
	errs := make(chan error, 4)
	for _, part := range []func(context.Context) error{w.kill, w.trouble, w.move, w.restartRedis} {
		parts.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				errs <- err
			}
		})
	}
	parts.Wait()
	close(errs)
	return <-errs
}

// kill kills a replica every second and starts it again at once.
func (w *world) kill(ctx context.Context) error {
	r := w.random("kill", 0)
	tick := time.NewTicker(killEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		w.storm.mu.Lock()
		spared := w.storm.spared
		w.storm.mu.Unlock()
		var grown []*replica
		for _, one := range w.replicas {
			if one != spared && one.age() >= leastAge {
				grown = append(grown, one)
			}
		}
		if len(grown) == 0 {
			continue
		}
		victim := grown[r.IntN(len(grown))]
		if !victim.alive() {
			return fmt.Errorf("%s ended by itself; its log is %s", victim.name, victim.dir)
		}
		victim.kill(r.IntN(2) == 0)
		if err := victim.start(); err != nil {
			return err
		}
		w.storm.mu.Lock()
		w.storm.kills++
		w.storm.mu.Unlock()
	}
}

// trouble lets one line after another suffer in some way, now and then for
// longer than a lease holds.
func (w *world) trouble(ctx context.Context) error {
	r := w.random("trouble", 0)
	for n := 0; pass(ctx, time.Duration(500+r.IntN(1500))*time.Millisecond); n++ {
		one, t := w.replicas[r.IntN(len(w.replicas))], troubles[n%len(troubles)]
		lasts := time.Duration(300+r.IntN(2700)) * time.Millisecond
		if n%4 == 3 {
			one, t = w.atWork(ctx, one), troubles[n/4%lasting]
			lasts = leaseTime + time.Duration(500+r.IntN(2500))*time.Millisecond
			w.spare(one)
		}
		if err := one.line.suffer(t); err != nil {
			return err
		}
		w.storm.mu.Lock()
		w.storm.cuts[t.name]++
		w.storm.mu.Unlock()
		pass(ctx, lasts)
		if err := one.line.mend(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		w.spare(nil)
	}
	return nil
}

// atWork is a replica that has just begun what takes longer than a lease holds,
// or else, when none does so for a while, other.
func (w *world) atWork(ctx context.Context, other *replica) *replica {
	for range 100 {
		for _, id := range w.ledger.hanging() {
			for _, one := range w.replicas {
				if slices.Contains(one.children(), id) {
					return one
				}
			}
		}
		if !pass(ctx, 50*time.Millisecond) {
			break
		}
	}
	return other
}

func (w *world) spare(r *replica) {
	w.storm.mu.Lock()
	defer w.storm.mu.Unlock()
	w.storm.spared = r
}

// move makes new versions of what is deployed, so that plans that were agreed
// on no longer hold.
func (w *world) move(ctx context.Context) error {
	r := w.random("move", 0)
	var moving []string
	for _, a := range theApps {
		if a.moves {
			moving = append(moving, a.name)
		}
	}
	for pass(ctx, moveEvery) {
		w.ledger.move(moving[r.IntN(len(moving))])
		w.storm.mu.Lock()
		w.storm.moves++
		w.storm.mu.Unlock()
	}
	return nil
}

// restartRedis stops Redis as an operator does when a third of the requests is
// accepted, and kills it at two thirds.
func (w *world) restartRedis(ctx context.Context) error {
	r := w.random("redis", 0)
	for part, how := range []string{"SIGTERM", "SIGKILL"} {
		for w.wishes.count() < w.options.requests*(part+1)/3 {
			if !pass(ctx, 50*time.Millisecond) {
				return nil
			}
		}
		if how == "SIGTERM" {
			if err := w.store.stop(); err != nil {
				return err
			}
		} else {
			w.store.process.kill()
		}
		away := time.Duration(500+r.IntN(1500)) * time.Millisecond
		pass(ctx, away)
		if err := w.store.start(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		w.storm.mu.Lock()
		w.storm.restarts = append(w.storm.restarts, fmt.Sprintf("%s, away for %s", how, away.Round(100*time.Millisecond)))
		w.storm.mu.Unlock()
	}
	return nil
}

// random is a source for one part of the chaos, so that what one does does not
// change what another does.
func (w *world) random(part string, n int) *rand.Rand {
	return rand.New(rand.NewPCG(w.options.seed, hashOf(fmt.Sprint(part, n)))) //nolint:gosec // it is to be repeatable
}

// some is the address of a replica.
func (w *world) some(r *rand.Rand) string { return w.replicas[r.IntN(len(w.replicas))].url }
