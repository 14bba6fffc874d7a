// Package redistest runs real Redis servers for tests. They listen on loopback
// on ports of their own, keep their data in folders of their own, and end with
// the test.
//
//	func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }
//
//	func TestX(t *testing.T) {
//		rdb := redistest.Client(t) // an empty database of its own
//	}
//
// A test that stops or kills its server takes one of its own with Start.
package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience is how long a server may take to come up on a busy machine.
const patience = 2 * time.Minute

// databases is how many tests can have a database of the shared server.
const databases = 100_000

// Server is a redis-server process.
type Server struct {
	Addr string // "127.0.0.1:PORT"; the same after a restart

	dir   string
	extra []string
	args  []string // in place of the usual ones
	up    string   // what it prints when it serves, when it is not the usual line
	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has ended
}

// Start runs a server that writes every change to disk before it answers, and
// stops it when the test ends. extra are more arguments of redis-server.
func Start(tb testing.TB, extra ...string) *Server {
	tb.Helper()
	s, err := newServer(tb.TempDir(), append([]string{"--appendfsync", "always"}, extra...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Kill)
	return s
}

// newServer finds a free port. Another process may take it before the server
// does, so it tries some.
func newServer(dir string, extra ...string) (*Server, error) {
	var last error
	for range 5 {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		s := &Server{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), dir: dir, extra: extra}
		if last = s.start(); last == nil {
			return s, nil
		}
		if errors.Is(last, exec.ErrNotFound) {
			break
		}
	}
	return nil, last
}

// firstPort and ports are those that servers get: below the ones that systems give
// out to whoever asks for any, so that nobody is given a server's port while it is
// restarted.
// Source: ip_local_port_range in ip(7) (from 32768); RFC 6335, section 6 (from 49152).
const firstPort, ports = 20_000, 12_000

// freePort is a port on which nobody listens.
func freePort() (port int, err error) {
	for range 100 {
		port = firstPort + rand.IntN(ports)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}

// Client is a client of the server, closed when the test ends.
func (s *Server) Client(tb testing.TB) *redis.Client {
	tb.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr})
	tb.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// Stop ends the server as an operator does: it saves and exits.
func (s *Server) Stop(tb testing.TB) { s.signal(tb, syscall.SIGTERM) }

// Kill ends the server with kill -9. A server that has ended stays ended.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		<-s.ended
		s.cmd = nil
	}
}

// Pause lets the server answer nobody, as a hung machine does, until Resume.
func (s *Server) Pause(tb testing.TB) { s.send(tb, syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume(tb testing.TB) { s.send(tb, syscall.SIGCONT) }

// Restart starts the server again at the same address with the same data.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) send(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		tb.Fatal("redistest: the server has ended")
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) signal(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	s.send(tb, sig)
	s.mu.Lock()
	defer s.mu.Unlock()
	<-s.ended
	s.cmd = nil
}

// start runs the process and returns when it serves.
func (s *Server) start() error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return fmt.Errorf("redistest: these tests run a real Redis; install it with: apt-get install -y redis-server: %w", err)
	}
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	args := append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--appendonly", "yes", "--save", "",
		"--daemonize", "no", "--databases", strconv.Itoa(databases),
	}, s.extra...)
	serves := "Ready to accept connections"
	if s.args != nil {
		args, serves = s.args, s.up
	}
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = sysProcAttr()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	var said strings.Builder
	go func() {
		lines, up := bufio.NewScanner(out), false
		for lines.Scan() {
			if up {
				continue
			}
			said.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), serves) {
				up = true
				close(ready)
			}
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		close(ended)
	}()
	select {
	case <-ready:
	case <-ended:
		return fmt.Errorf("redistest: redis-server ended at once:\n%s", said.String())
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-ended
		return fmt.Errorf("redistest: redis-server did not come up within %v:\n%s", patience, said.String())
	}
	s.mu.Lock()
	s.cmd, s.ended = cmd, ended
	s.mu.Unlock()
	return nil
}

var (
	shared *Server
	taken  atomic.Int64
)

// Main runs a package's tests with one server for all of them, which Client
// gives out databases of. Its result is for os.Exit.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "redistest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if shared, err = newServer(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.Kill()
	return m.Run()
}

// Options are those of a client of an empty database of the shared server that
// no other test has. A second client, or another process, takes the same ones.
func Options(tb testing.TB) *redis.Options {
	tb.Helper()
	if shared == nil {
		tb.Fatal("redistest: TestMain must be: func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }")
	}
	n := taken.Add(1)
	if n >= databases {
		tb.Fatal("redistest: too many databases were asked for")
	}
	return &redis.Options{Addr: shared.Addr, DB: int(n)}
}

// Client is a client of an empty database of the shared server that no other
// test has, closed when the test ends.
func Client(tb testing.TB) *redis.Client {
	tb.Helper()
	rdb := redis.NewClient(Options(tb))
	tb.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// StartCluster runs a Redis Cluster of three masters with a replica each, and
// returns a client of it. Everything ends with the test.
func StartCluster(tb testing.TB) *redis.ClusterClient {
	tb.Helper()
	cli, err := exec.LookPath("redis-cli")
	if err != nil {
		tb.Fatal("redistest: install redis-cli with: apt-get install -y redis-tools")
	}
	args := []string{"--cluster", "create"}
	var addrs []string
	for i := range 6 {
		dir := filepath.Join(tb.TempDir(), strconv.Itoa(i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			tb.Fatal(err)
		}
		s := startNode(tb, dir)
		addrs = append(addrs, s.Addr)
	}
	args = append(append(args, addrs...), "--cluster-replicas", "1", "--cluster-yes")
	if out, err := exec.Command(cli, args...).CombinedOutput(); err != nil {
		tb.Fatalf("redistest: redis-cli --cluster create: %v\n%s", err, out)
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	tb.Cleanup(func() { _ = rdb.Close() })
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	for _, addr := range addrs {
		if err := joined(ctx, addr, len(addrs)); err != nil {
			tb.Fatalf("redistest: the cluster did not come up: %v", err)
		}
	}
	return rdb
}

// joined waits until a node serves and knows all others. A cluster is not up
// when one of its nodes says so.
func joined(ctx context.Context, addr string, nodes int) error {
	node := redis.NewClient(&redis.Options{Addr: addr})
	defer node.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := node.ClusterInfo(ctx).Result()
		if err == nil && strings.Contains(info, "cluster_state:ok") &&
			strings.Contains(info, "cluster_known_nodes:"+strconv.Itoa(nodes)) && strings.Contains(info, "cluster_slots_ok:16384") {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w\n%s", addr, ctx.Err(), err, info)
		}
	}
}

// startNode runs one node of a cluster. Its bus listens on a port of its own,
// since the customary one, port+10000, may not exist.
func startNode(tb testing.TB, dir string) *Server {
	tb.Helper()
	var last error
	for range 3 { // another process may take a port that was free
		bus, err := freePort()
		if err != nil {
			tb.Fatal(err)
		}
		s, err := newServer(dir, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "15000",
			"--cluster-port", strconv.Itoa(bus), "--appendfsync", "no", "--databases", "1")
		if err == nil {
			tb.Cleanup(s.Kill)
			return s
		}
		last = err
	}
	tb.Fatal(last)
	return nil
}
