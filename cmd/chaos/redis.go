package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"
)

// store is the Redis server of all replicas.
type store struct {
	program string
	dir     string
	addr    string
	process *process
	client  *redis.Client // past the proxies, which stand between it and the replicas only
}

// newStore starts a server that has written a change to disk before it answers.
func newStore(ctx context.Context, dir string) (*store, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("a real Redis is needed; install it with: apt-get install -y redis-server: %w", err)
	}
	s := &store{program: program, dir: filepath.Join(dir, "redis")}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return nil, err
	}
	if s.addr, err = freeAddr(ctx); err != nil {
		return nil, err
	}
	s.client = redis.NewClient(&redis.Options{Addr: s.addr})
	return s, s.start(ctx)
}

// start starts the server on what it has written before, and waits until it
// serves.
func (s *store) start(ctx context.Context) error {
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	s.process, err = start(filepath.Join(s.dir, "redis.log"), os.Environ(), s.program,
		"--port", port, "--bind", host, "--dir", s.dir, "--appendonly", "yes", "--appendfsync", "always", "--save", "")
	if err != nil {
		return err
	}
	return await(ctx, patience, "Redis to serve", func() (bool, error) {
		select {
		case <-s.process.ended:
			return false, fmt.Errorf("redis-server ended; see %s", s.dir)
		default:
			return s.client.Ping(ctx).Err() == nil, nil
		}
	})
}

// stop ends the server as an operator does.
func (s *store) stop() error { return s.process.stop(patience) }

// close ends the server for good.
func (s *store) close() {
	_ = s.client.Close() // nothing is asked of it any more
	s.process.kill()
}

// freeAddr is an address on loopback where nobody listens now.
func freeAddr(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// await asks done at short intervals until it says so.
func await(ctx context.Context, within time.Duration, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); err != nil || ok {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s: %w", what, ctx.Err())
		}
	}
}
