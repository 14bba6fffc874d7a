package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// replica is one `berth serve`, on a line of its own to Redis.
type replica struct {
	name string
	url  string
	dir  string
	line *line
	env  []string
	exe  string

	mu      sync.Mutex
	process *process
	since   time.Time // when the process was started
}

// person is somebody with a token.
type person struct {
	name  string
	token string
	roles string // as in the config
}

// cast are all who take part. Requesters ask; approvers decide, some of them
// though nothing that they say counts.
type cast struct{ requesters, approvers []person }

func newCast() cast {
	var c cast
	for i := range 8 {
		c.requesters = append(c.requesters, person{name: fmt.Sprintf("dev%d", i), roles: "deployer"})
	}
	c.requesters = append(c.requesters, person{name: "sam", roles: "deployer, sre"}) // must not agree to what he asks for
	c.approvers = []person{
		c.requesters[len(c.requesters)-1],
		{name: "sam-phone", roles: "deployer"}, // the same person's other account; the config says so
		{name: "sue", roles: "sre"}, {name: "sky", roles: "sre"},
		{name: "dee", roles: "db"}, {name: "dan", roles: "db"},
		{name: "guest", roles: "deployer"}, // is in no group
	}
	for _, people := range [][]person{c.requesters, c.approvers} {
		for i := range people {
			people[i].token = rand.Text()
		}
	}
	c.approvers[0].token = c.requesters[len(c.requesters)-1].token
	return c
}

// tokens is the config's section of that name.
func (c cast) tokens() string {
	var b strings.Builder
	for _, p := range append(c.requesters[:len(c.requesters):len(c.requesters)], c.approvers[1:]...) {
		hash := sha256.Sum256([]byte(p.token))
		fmt.Fprintf(&b, "  - {actor: %s, sha256: %q, roles: [%s]}\n", p.name, hex.EncodeToString(hash[:]), p.roles)
	}
	return b.String()
}

// config is the berth.yaml of a replica. within is how long a request waits for
// people.
func config(addr, dir, redis, program string, c cast, within time.Duration) string {
	return fmt.Sprintf(`server: {listen: %q, data_dir: %q}
redis: {addrs: [%q]}
tokens:
%splugins:
  %s: {path: %q, args: [%s], env: [%s]}
apps:
%s%s`, addr, filepath.Join(dir, "data"), redis, c.tokens(), executorName, program, executorMode, ledgerVariable, apps(), rules(within))
}

// replicaPlan is what replicas have in common.
type replicaPlan struct {
	dir   string // the folder of a replica is in it
	redis string // its address
	berth string // path of the program
	env   []string
	// config is the berth.yaml of a replica that listens at addr, keeps its files in
	// dir and reaches Redis at redis.
	config func(addr, dir, redis string) string
}

// newReplica prepares the i-th replica; start starts it.
func newReplica(ctx context.Context, p replicaPlan, i int) (*replica, error) {
	r := &replica{name: fmt.Sprintf("replica %d", i+1), dir: filepath.Join(p.dir, fmt.Sprintf("replica-%d", i+1)), exe: p.berth}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return nil, err
	}
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	r.url = "http://" + addr
	if r.line, err = newLine(r.name, p.redis); err != nil {
		return nil, err
	}
	r.env = append(os.Environ(), p.env...)
	return r, os.WriteFile(r.file(), []byte(p.config(addr, r.dir, r.line.proxy.Listen)), 0o600)
}

func (r *replica) file() string { return filepath.Join(r.dir, "berth.yaml") }

// start starts the process. It does not wait until it serves.
func (r *replica) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := start(filepath.Join(r.dir, "berth.log"), r.env, r.exe, "serve", "--config", r.file())
	r.process, r.since = p, time.Now()
	return err
}

// kill is kill -9 of the process, and of its plugins where they are not left to
// end by themselves.
func (r *replica) kill(plugins bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var children []int
	if plugins {
		children = r.process.children()
	}
	r.process.kill()
	for _, id := range children {
		_ = syscall.Kill(id, syscall.SIGKILL) // it may have gone with its parent
	}
}

// children are the processes that the replica has started.
func (r *replica) children() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process.children()
}

// age is how long the process has been there.
func (r *replica) age() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.since)
}

// alive tells whether the process is there.
func (r *replica) alive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.process.ended:
		return false
	default:
		return true
	}
}

// stop ends the process in order.
func (r *replica) stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process.stop(patience)
}

// ready tells whether the replica says that it is ready.
func (r *replica) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/readyz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}
