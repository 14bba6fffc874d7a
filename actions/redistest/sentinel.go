package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Sentinel is a master with replicas, watched by three sentinels that make one of
// the replicas the master when the master is gone.
type Sentinel struct {
	Name  string   // of the master, as the sentinels call it
	Addrs []string // of the sentinels

	tb     testing.TB
	master *Server
}

// sentinelConfig is a sentinel's configuration, which it writes to. A master is
// taken for dead after ten seconds: on a busy machine one that lives can be silent
// for some, and must not lose its place before a test kills it.
const sentinelConfig = `port %d
bind 127.0.0.1
dir %s
sentinel monitor %s 127.0.0.1 %s 2
sentinel down-after-milliseconds %[3]s 10000
sentinel failover-timeout %[3]s 5000
sentinel parallel-syncs %[3]s 1
`

// StartSentinel runs a master, a replica and three sentinels, and returns when the
// sentinels know the replica. Everything ends with the test.
func StartSentinel(tb testing.TB) *Sentinel {
	tb.Helper()
	s := &Sentinel{Name: "berth", tb: tb, master: Start(tb)}
	_, port, err := net.SplitHostPort(s.master.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	Start(tb, "--replicaof", "127.0.0.1 "+port)
	for i := range 3 {
		s.Addrs = append(s.Addrs, startSentinel(tb, filepath.Join(tb.TempDir(), strconv.Itoa(i)), s.Name, port))
	}
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	for _, addr := range s.Addrs {
		if err := watched(ctx, addr, s.Name); err != nil {
			tb.Fatalf("redistest: the sentinels did not come up: %v", err)
		}
	}
	return s
}

// startSentinel runs one sentinel. It is a redis-server with a configuration of
// its own kind, so that the rest of it is newServer's.
func startSentinel(tb testing.TB, dir, name, master string) string {
	tb.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		tb.Fatal(err)
	}
	config := filepath.Join(dir, "sentinel.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, sentinelConfig, port, dir, name, master), 0o600); err != nil {
		tb.Fatal(err)
	}
	s := &Server{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), dir: dir, args: []string{config, "--sentinel"}, up: "monitor master"}
	if err := s.start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Kill)
	return s.Addr
}

// watched waits until a sentinel knows the master's replica and the two other
// sentinels, without which there is no majority.
func watched(ctx context.Context, addr, name string) error {
	node := redis.NewSentinelClient(&redis.Options{Addr: addr})
	defer node.Close()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		master, err := node.Master(ctx, name).Result()
		if err == nil && master["num-slaves"] == "1" && master["num-other-sentinels"] == "2" {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w: %v", addr, ctx.Err(), err, master)
		}
	}
}

// Client is a client that finds the master by the sentinels, closed when the test
// ends.
func (s *Sentinel) Client() *redis.Client {
	rdb := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.Name, SentinelAddrs: s.Addrs})
	s.tb.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// KillMaster ends the master with kill -9, so that the replica takes its place.
func (s *Sentinel) KillMaster() { s.master.Kill() }
