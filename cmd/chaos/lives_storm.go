package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// killReplicas kills a replica every few seconds, half of the time with its
// plugins, and starts it again at once.
func (l *lives) killReplicas(ctx context.Context) error {
	r := l.random("kill", 0)
	for pass(ctx, 2500*time.Millisecond) {
		victim := l.replicas[r.IntN(len(l.replicas))]
		if victim.age() < leastAge {
			continue
		}
		if !victim.alive() {
			return fmt.Errorf("%s ended by itself; its log is in %s", victim.name, victim.dir)
		}
		victim.kill(r.IntN(2) == 0)
		if err := victim.start(); err != nil {
			return err
		}
		l.kills.Lock()
		l.kills.replicas++
		l.kills.Unlock()
	}
	return nil
}

// killPlugins kills the executors of a replica that lives on.
func (l *lives) killPlugins(ctx context.Context) error {
	r := l.random("plugins", 0)
	for pass(ctx, 4*time.Second) {
		for _, id := range l.replicas[r.IntN(len(l.replicas))].children() {
			if syscall.Kill(id, syscall.SIGKILL) == nil {
				l.kills.Lock()
				l.kills.plugins++
				l.kills.Unlock()
			}
		}
	}
	return nil
}

// troubleLines lets one line after another suffer: replicas' to Redis, and those
// to the clusters.
func (l *lives) troubleLines(ctx context.Context) error {
	r := l.random("trouble", 0)
	for n := 0; pass(ctx, time.Duration(500+r.IntN(2500))*time.Millisecond); n++ {
		line := l.clusters[n%2].line
		if r.IntN(2) == 0 {
			line = l.replicas[r.IntN(len(l.replicas))].line
		}
		t := troubles[r.IntN(len(troubles))]
		if err := line.suffer(t); err != nil {
			return err
		}
		l.kills.Lock()
		l.kills.troubles[t.name]++
		l.kills.Unlock()
		pass(ctx, time.Duration(300+r.IntN(2700))*time.Millisecond)
		if err := line.mend(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// restartRedis stops Redis as an operator does at a third of the way, and kills
// it at two thirds.
func (l *lives) restartRedis(ctx context.Context) error {
	for part, how := range []string{"SIGTERM", "SIGKILL"} {
		if !l.wait(ctx, part+1, 3) {
			return nil
		}
		if how == "SIGTERM" {
			if err := l.store.stop(); err != nil {
				return err
			}
		} else {
			l.store.process.kill()
		}
		pass(ctx, time.Second)
		if err := l.store.start(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		l.kills.Lock()
		l.kills.redis = append(l.kills.redis, how)
		l.kills.Unlock()
	}
	return nil
}

// restartClusters stops the control planes, one after the other, and starts them
// again a while later.
func (l *lives) restartClusters(ctx context.Context) error {
	for n := 1; n <= 4; n++ {
		if !l.wait(ctx, n, 5) {
			return nil
		}
		c := l.clusters[n%2]
		if n > 2 {
			c.process.kill()
		} else if err := c.process.stop(patience); err != nil {
			return err
		}
		pass(ctx, 3*time.Second)
		if err := c.start(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		l.kills.Lock()
		l.kills.clusters++
		l.kills.Unlock()
	}
	return nil
}

// wait waits until part of parts of the actions is asked for.
func (l *lives) wait(ctx context.Context, part, parts int) bool {
	for l.deeds.count() < l.options.environments*l.options.actions*part/parts {
		if !pass(ctx, 50*time.Millisecond) {
			return false
		}
	}
	return true
}
