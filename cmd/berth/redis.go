package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/configs"
)

// poolSize bounds the connections to Redis. Webhooks at concurrency 64 find one
// each, and blocking reads of the queues have theirs.
const poolSize = 96

// dialRedis connects to the Redis of the config. It does not wait for it: one
// that does not answer is tried again for as long as Berth runs.
func dialRedis(c *configs.Redis) (redis.UniversalClient, error) {
	opts := &redis.UniversalOptions{
		Addrs: c.Addrs, MasterName: c.Master, Username: c.Username, DB: c.DB,
		IsClusterMode: len(c.Addrs) > 1 && c.Master == "",
	}
	if !c.Password.IsZero() {
		password, err := c.Password.Value()
		if err != nil {
			return nil, fmt.Errorf("redis.password: %w", err)
		}
		opts.Password = password
	}
	if c.TLS {
		opts.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return newRedisClient(opts), nil
}

func newRedisClient(opts *redis.UniversalOptions) redis.UniversalClient {
	opts.PoolSize = poolSize
	opts.DialTimeout = 2 * time.Second
	opts.ReadTimeout, opts.WriteTimeout = 3*time.Second, 3*time.Second
	opts.ContextTimeoutEnabled = true
	return redis.NewUniversalClient(opts)
}

// ownRedis is the store that Berth starts when the config names none: a child
// redis-server with an append-only file, or one in this process's memory.
type ownRedis struct {
	client   redis.UniversalClient
	volatile bool // nothing outlives this process
	stop     func()
}

// startOwnRedis starts the child where redis-server is installed. The child
// listens on a socket in the data directory only.
func startOwnRedis(ctx context.Context, dir *dataDir, log *slog.Logger) (*ownRedis, error) {
	program, err := exec.LookPath("redis-server")
	if errors.Is(err, exec.ErrNotFound) {
		return startMemoryRedis(log)
	}
	if err != nil {
		return nil, fmt.Errorf("redis-server: %w", err)
	}
	child := &redisChild{program: program, dir: dir.join("redis"), log: log}
	if err := os.MkdirAll(child.dir, 0o700); err != nil {
		return nil, fmt.Errorf("own redis: %w", err)
	}
	if child.socket, err = socketPath(child.dir); err != nil {
		return nil, err
	}
	client := newRedisClient(&redis.UniversalOptions{Addrs: []string{child.socket}})
	child.client = client
	child.retirePredecessor(ctx)
	supervised, cancel := context.WithCancel(context.WithoutCancel(ctx))
	started, done := make(chan error), make(chan struct{})
	go func() { defer close(done); child.supervise(supervised, started) }()
	if err := <-started; err != nil {
		_ = client.Close() // it has nothing to tell
		cancel()
		return nil, err
	}
	stop := func() {
		_ = client.Close() // it has nothing to tell
		cancel()
		<-done
	}
	if err := child.awaitStart(ctx); err != nil {
		stop()
		return nil, err
	}
	return &ownRedis{client: client, stop: stop}, nil
}

// socketPath is where the child listens. A Unix socket's path has room for 107
// bytes (sun_path in unix(7)), which a deep data directory can exceed.
func socketPath(dir string) (string, error) {
	const longest = 107
	if path := filepath.Join(dir, "redis.sock"); len(path) <= longest {
		return path, nil
	}
	short, err := os.MkdirTemp("", "berth-redis-")
	if err != nil {
		return "", fmt.Errorf("own redis: %w", err)
	}
	return filepath.Join(short, "redis.sock"), nil
}

// redisChild is a redis-server process that Berth looks after.
type redisChild struct {
	program, dir, socket string
	client               redis.UniversalClient
	log                  *slog.Logger
	cmd                  *exec.Cmd
	exited               chan error
}

// retirePredecessor stops the server that a killed Berth may have left on these
// files, and waits until it is gone: two servers would spoil them.
func (r *redisChild) retirePredecessor(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", r.socket)
	if err != nil {
		return // nobody listens
	}
	_ = conn.Close() // that it opened is all that was asked
	probe := redis.NewClient(&redis.Options{Network: "unix", Addr: r.socket, MaxRetries: -1, DialTimeout: time.Second})
	defer func() { _ = probe.Close() }()
	// One that still reads its files back answers everything with LOADING, but
	// holds them all the same.
	alive := func() bool {
		err := probe.Ping(ctx).Err()
		return err == nil || redis.IsLoadingError(err)
	}
	if !alive() {
		return
	}
	r.log.Warn("a redis-server of an earlier run is still there; stopping it", "socket", r.socket)
	probe.Shutdown(ctx)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil && alive() {
		<-tick.C
	}
}

func (r *redisChild) start() error {
	logFile, err := os.OpenFile(filepath.Join(r.dir, "redis.log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("own redis: %w", err)
	}
	defer logFile.Close()
	// What was acknowledged must survive a power cut (appendfsync always), and
	// must never be evicted. Its long lists, the audit's chains, are read at
	// their ends and kept compressed between them.
	r.cmd = exec.Command(r.program, //nolint:gosec,noctx // redis-server as PATH has it; it is stopped in order, not killed with a context
		"--port", "0", "--unixsocket", r.socket, "--unixsocketperm", "700",
		"--dir", r.dir, "--appendonly", "yes", "--appendfsync", "always", "--save", "",
		"--maxmemory-policy", "noeviction", "--list-compress-depth", "1", "--daemonize", "no")
	r.cmd.Stdout, r.cmd.Stderr = logFile, logFile
	r.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	r.cmd.SysProcAttr = childAttributes()
	if err := r.cmd.Start(); err != nil {
		return fmt.Errorf("own redis: %w", err)
	}
	r.exited = make(chan error, 1)
	go func(cmd *exec.Cmd, exited chan<- error) { exited <- cmd.Wait() }(r.cmd, r.exited)
	return nil
}

// awaitStart waits until the child takes connections: it may have a large file
// to read first, while it answers that it is loading.
func (r *redisChild) awaitStart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", r.socket)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("own redis: it does not start; see %s", filepath.Join(r.dir, "redis.log"))
		}
	}
}

// supervise starts the child, says so, and starts it again whenever it ends,
// until ctx does; then it stops the child and waits for it. It keeps its thread
// to itself because the child ends with the thread that started it.
func (r *redisChild) supervise(ctx context.Context, started chan<- error) {
	runtime.LockOSThread()
	err := r.start()
	started <- err
	if err != nil {
		return
	}
	const shortest, longest = 100 * time.Millisecond, 5 * time.Second
	pause := shortest
	for {
		since := time.Now()
		select {
		case <-ctx.Done():
			r.terminate()
			return
		case err := <-r.exited:
			r.log.Error("redis-server ended; starting it again", "error", err, "log", filepath.Join(r.dir, "redis.log"))
		}
		if time.Since(since) > time.Minute {
			pause = shortest
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
		if err := r.start(); err != nil {
			r.log.Error("redis-server does not start", "error", err)
			r.exited = make(chan error, 1)
			r.exited <- err
		}
	}
}

// terminate lets the child end by itself, which is quick, and kills it if it
// does not.
func (r *redisChild) terminate() {
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return
	}
	select {
	case err := <-r.exited:
		r.log.Debug("redis-server stopped", "status", err)
	case <-time.After(10 * time.Second):
		r.log.Error("redis-server does not stop; killing it", "error", r.cmd.Process.Kill())
		r.log.Debug("redis-server is dead", "status", <-r.exited)
	}
	if filepath.Dir(r.socket) != r.dir {
		_ = os.RemoveAll(filepath.Dir(r.socket)) // it is in the system's folder for such things
	}
}

// startMemoryRedis is the last resort, good for a first look.
func startMemoryRedis(log *slog.Logger) (*ownRedis, error) {
	log.Warn("STATE IS IN MEMORY ONLY: redis-server is not installed, so everything is lost when Berth stops; install it (apt-get install redis-server) or set redis.addrs")
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("in-memory redis: %w", err)
	}
	// Its keys expire only when it is told that time has passed.
	const step = 100 * time.Millisecond
	ticker, done := time.NewTicker(step), make(chan struct{})
	go func() {
		for {
			select {
			case <-ticker.C:
				server.FastForward(step)
			case <-done:
				return
			}
		}
	}()
	client := newRedisClient(&redis.UniversalOptions{Addrs: []string{server.Addr()}})
	return &ownRedis{client: client, volatile: true, stop: func() {
		_ = client.Close() // it has nothing to tell
		ticker.Stop()
		close(done)
		server.Close()
	}}, nil
}
