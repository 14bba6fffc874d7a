package approvals_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
)

// wire is a way to Redis that can be cut for good, as a crash does.
type wire struct {
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut && err == nil {
		_ = conn.Close()
		err = errors.New("cut")
	}
	if err != nil {
		return nil, err
	}
	w.conns = append(w.conns, conn)
	return conn, nil
}

func (w *wire) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for _, conn := range w.conns {
		_ = conn.Close()
	}
}

// client is a client over w that gives up soon.
func (w *wire) client(o *redis.Options) *redis.Client {
	c := *o
	c.Dialer, c.MaxRetries, c.DialerRetries, c.DialerRetryTimeout = w.dial, -1, 1, time.Millisecond
	return redis.NewClient(&c)
}

// world is what all replicas of one try of the property share: what happened to
// the environments, as a cluster would know it.
type world struct {
	mu      sync.Mutex
	busy    map[actions.Name]*mortal // who is at work where
	order   []string                 // request ids, as their runs first began
	ends    map[string]int           // run id: how often it came to its end
	tries   map[string]int
	faults  []string
	seed    uint64
	planned map[string]int
}

// mortal is the floor of one replica, which ends with it.
type mortal struct {
	*world
	dead chan struct{}
	gone bool
}

// die ends all that m does, at once.
func (m *mortal) die() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone = true
	close(m.dead)
	for env, other := range m.busy {
		if other == m {
			delete(m.busy, env)
		}
	}
}

func (m *mortal) Plan(_ context.Context, order actions.Order, _ bool) (*actions.Plan, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.planned[order.Reason]++
	n := m.planned[order.Reason]
	switch what := m.fate("plan " + order.Reason); {
	case what < 5:
		return nil, actions.Errorf("plan", actions.CodeNotFound, "There is no such ref.")
	case what < 10 && n == 1:
		return nil, actions.Errorf("plan", actions.CodeUnavailable, "GitHub does not answer.")
	}
	return &actions.Plan{Digest: fmt.Sprintf("digest %d of %s", n, order.Reason), Order: order}, nil
}

// fate is a number below 100 that is the same each time for the same what.
func (w *world) fate(what string) int {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %s", w.seed, what)
	return int(h.Sum64() % 100)
}

func (m *mortal) Run(ctx context.Context, _ *actions.Lease, req actions.RunRequest) (*actions.Run, error) {
	env := req.Order.Env
	m.mu.Lock()
	if m.gone {
		m.mu.Unlock()
		return nil, errors.New("dead")
	}
	m.tries[req.ID]++
	n, fate := m.tries[req.ID], m.fate("run "+req.Order.Reason)
	if m.busy[env] != nil {
		m.faults = append(m.faults, fmt.Sprintf("run %s of %s begins while one goes on", req.ID, env))
	}
	m.busy[env] = m
	if !slices.Contains(m.order, req.RequestID) {
		m.order = append(m.order, req.RequestID)
	}
	m.mu.Unlock()

	run := &actions.Run{ID: req.ID, RequestID: req.RequestID, State: actions.RunSucceeded, Attempt: n}
	err := error(nil)
	stale := m.fate("stale "+req.Digest) < 15
	switch {
	case fate < 10:
		run.State, run.Error, run.Code = actions.RunFailed, "The pods are not ready.", actions.CodeDownstream
	case fate < 20 && n == 1:
		err = actions.Errorf("run", actions.CodeUnavailable, "It could not be ended.")
	case stale:
		err = actions.Errorf("run", actions.CodeStale, "There is a new commit.")
	}
	select {
	case <-time.After(time.Duration(fate/2) * time.Millisecond):
	case <-m.dead: // what follows is not done by anybody
		err = errors.New("dead")
	case <-ctx.Done():
		if err = context.Cause(ctx); actions.CodeOf(err) == actions.CodeCancelled {
			run.State, err = actions.RunCancelled, nil
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return nil, errors.New("dead")
	}
	delete(m.busy, env)
	if err != nil {
		return nil, err
	}
	m.ends[req.ID]++
	return run, nil
}

// replica is a worker that can be stopped or killed.
type replica struct {
	name string
	stop context.CancelFunc
	done chan struct{}
	wire *wire
	does *mortal
	rdb  *redis.Client
}

// machineLease is short, and long enough for a busy machine to renew in.
const machineLease = time.Second

func (m *machine) start(name string) *replica {
	r := &replica{name: name, done: make(chan struct{}), wire: &wire{}, does: &mortal{world: m.world, dead: make(chan struct{})}}
	r.rdb = r.wire.client(m.options)
	store := actions.NewStore(r.rdb, actions.StoreOptions{})
	w := approvals.NewWorker(approvals.WorkerOptions{
		Requests: approvals.NewRequests(r.rdb, store, approvals.Options{Policy: policy(archiveNeedsOne)}), Store: store, Replica: name,
		Floor: r.does, Lease: machineLease, Grace: -1, Concurrency: 4,
	})
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() {
		defer close(r.done)
		_ = w.Run(ctx)
	}()
	return r
}

// archiveNeedsOne asks for a decision on each archive.
func archiveNeedsOne(r *approvals.Request) (approvals.Outcome, error) {
	if r.Order.Verb != actions.VerbArchive || len(r.Decisions) > 0 {
		return approvals.Outcome{Effect: approvals.EffectRelease}, nil
	}
	return approvals.Outcome{Effect: approvals.EffectApprove, Reason: "Somebody must agree."}, nil
}

// kill ends r as kill -9 does: nothing that it would do reaches Redis any more.
func (r *replica) kill() {
	r.wire.sever()
	r.does.die()
	r.stop()
}

// machine is the state of one try of the property.
type machine struct {
	*world
	t        *rapid.T
	options  *redis.Options
	bench    *bench
	replicas []*replica
	former   []*replica
	keys     map[string]string // idempotency key: the id of its request
	ids      []string
	names    int
}

func (m *machine) submit() {
	env := rapid.SampledFrom([]actions.Name{shop42, shop43}).Draw(m.t, "env")
	r := approvals.Request{
		Order:     actions.Order{Env: env, Verb: rapid.SampledFrom([]actions.Verb{"deploy", "deploy", "restart", "archive", "cleanup"}).Draw(m.t, "verb")},
		Requester: ana, DryRun: rapid.IntRange(0, 9).Draw(m.t, "dry") == 0,
	}
	r.Order.Reason = fmt.Sprint("wish ", len(m.ids)) // tells the floor one from another
	if key := rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(m.t, "key"); key != "" {
		r.Key = key + env.Env
	}
	got, created, err := m.bench.Submit(context.Background(), r)
	if err != nil {
		m.t.Fatalf("submit: %v", err)
	}
	if known := m.keys[r.Key]; r.Key != "" && known != "" {
		if created || got.ID != known {
			m.t.Fatalf("key %s led to %s, created %t; it was %s", r.Key, got.ID, created, known)
		}
		return
	}
	if !created {
		m.t.Fatalf("a new request is not created but %s", got.ID)
	}
	if r.Key != "" {
		m.keys[r.Key] = got.ID
	}
	m.ids = append(m.ids, got.ID)
}

func (m *machine) some() string { return rapid.SampledFrom(m.ids).Draw(m.t, "request") }

func (m *machine) cancel() {
	if len(m.ids) > 0 {
		_, err := m.bench.Cancel(context.Background(), m.some(), ben, "")
		m.may(err)
	}
}

func (m *machine) decide() {
	if len(m.ids) > 0 {
		verdict := rapid.SampledFrom([]approvals.Verdict{approvals.Approve, approvals.Approve, approvals.Deny}).Draw(m.t, "verdict")
		_, err := m.bench.Decide(context.Background(), m.some(), approvals.Decision{Verdict: verdict, By: ben})
		m.may(err)
	}
}

// may lets a refusal pass that says that the request is in another state.
func (m *machine) may(err error) {
	if err != nil && actions.CodeOf(err) != actions.CodeConflict {
		m.t.Fatal(err)
	}
}

// replace ends a replica in some way and starts its successor, which has its
// name or another.
func (m *machine) replace(end func(*replica)) {
	i := rapid.IntRange(0, len(m.replicas)-1).Draw(m.t, "replica")
	old := m.replicas[i]
	end(old)
	m.former = append(m.former, old)
	name := old.name
	if rapid.Bool().Draw(m.t, "another name") {
		m.names++
		name = fmt.Sprint("replica-", m.names)
	} else if !old.does.gone {
		<-old.done // no two run under one name at once
	}
	m.replicas[i] = m.start(name)
}

func (m *machine) lose() {
	ctx, what := context.Background(), rapid.IntRange(0, 3).Draw(m.t, "what")
	switch what {
	case 0:
		m.bench.rdb.Del(ctx, approvals.ReadyKey)
	case 1:
		m.bench.rdb.Del(ctx, approvals.WorkersKey, approvals.HeldKey+m.replicas[0].name)
	case 2:
		m.bench.rdb.Del(ctx, approvals.LaterKey)
	case 3: // leases run out at once
		for _, env := range []actions.Name{shop42, shop43} {
			m.mu.Lock()
			if _, ok := m.busy[env]; !ok {
				m.bench.rdb.Del(ctx, m.bench.store.Key(env, "lease"))
			}
			m.mu.Unlock()
		}
	}
}

func (m *machine) pass() {
	_, _ = m.bench.store.Changes(context.Background(), "$", time.Duration(rapid.IntRange(1, 80).Draw(m.t, "ms"))*time.Millisecond)
}

func TestRequestsEndOnceWhateverHappens(t *testing.T) {
	setChecks(t, 8)
	o := redistest.Options(t)
	rdb := newClient(t, o)
	rapid.Check(t, func(rt *rapid.T) {
		if err := rdb.FlushDB(context.Background()).Err(); err != nil {
			rt.Fatal(err)
		}
		m := &machine{
			t: rt, options: o, bench: newBench(t, rdb, approvals.Options{Policy: policy(archiveNeedsOne)}), keys: map[string]string{},
			world: &world{
				busy: map[actions.Name]*mortal{}, ends: map[string]int{}, tries: map[string]int{}, planned: map[string]int{}, seed: rapid.Uint64().Draw(rt, "fate"),
			},
		}
		m.replicas = []*replica{m.start("one"), m.start("two")}
		defer m.close()
		doings := map[string]func(){
			"submit": m.submit, "submit one more": m.submit, "submit another": m.submit, "cancel": m.cancel, "decide": m.decide,
			"lose hints": m.lose, "pass time": m.pass, "pass more time": m.pass,
			"kill": func() { m.replace((*replica).kill) }, "stop": func() { m.replace(func(r *replica) { r.stop() }) },
		}
		names := slices.Sorted(func(yield func(string) bool) {
			for name := range doings {
				if !yield(name) {
					return
				}
			}
		})
		for range rapid.IntRange(5, 40).Draw(rt, "doings") {
			doings[rapid.SampledFrom(names).Draw(rt, "doing")]()
		}
		m.settle()
		m.check()
	})
}

// setChecks bounds how often a property is tried, unless the command line says.
func setChecks(t *testing.T, n int) {
	t.Helper()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "rapid.checks" })
	if !said {
		if err := flag.Set("rapid.checks", fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
	}
}

func (m *machine) close() {
	for _, r := range m.replicas {
		r.stop()
		<-r.done
		_ = r.rdb.Close()
	}
	for _, r := range m.former {
		<-r.done
		_ = r.rdb.Close()
	}
}

// settle decides what waits for a decision, and waits until all have ended.
func (m *machine) settle() {
	for _, id := range m.ids {
		m.bench.until(id, "ended", func(r *approvals.Request) bool {
			if r.State == approvals.StatePending && len(r.Decisions) == 0 {
				_, err := m.bench.Decide(context.Background(), id, approvals.Decision{Verdict: approvals.Approve, By: ben})
				m.may(err)
			}
			return r.State.Ended()
		})
	}
}

// check looks at what must hold after any history.
func (m *machine) check() {
	ctx := context.Background()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.faults) > 0 {
		m.t.Fatal(strings.Join(m.faults, "\n"))
	}
	list, _, err := m.bench.List(ctx, approvals.Filter{Limit: 200})
	if err != nil || len(list) != len(m.ids) {
		m.t.Fatalf("%d requests are listed, %d were made, %v", len(list), len(m.ids), err)
	}
	trails := make(map[string][]actions.Record)
	for _, env := range []actions.Name{shop42, shop43} {
		if err := m.bench.store.VerifyAudit(ctx, env); err != nil {
			m.t.Fatal(err)
		}
		records, err := m.bench.store.Audit(ctx, env, 0, 0)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, rec := range records {
			trails[rec.RequestID] = append(trails[rec.RequestID], rec)
		}
		if left := m.bench.active(env); len(left) > 0 {
			m.t.Fatalf("%s still has %v", env, left)
		}
	}
	places := make(map[actions.Name][]string)
	for _, r := range list {
		m.checkOne(r, trails[r.ID])
		if slices.Contains(m.order, r.ID) && r.Order.Verb != actions.VerbArchive {
			places[r.Order.Env] = append([]string{r.ID}, places[r.Order.Env]...)
		}
	}
	for env, want := range places {
		got := slices.DeleteFunc(slices.Clone(m.order), func(id string) bool { return !slices.Contains(want, id) })
		if !slices.Equal(got, want) {
			m.t.Fatalf("in %s ran %v, submitted as %v", env, got, want)
		}
	}
}

// checkOne looks at one request and its audit records.
func (m *machine) checkOne(r *approvals.Request, trail []actions.Record) {
	if len(trail) == 0 || trail[0].Kind != "request.submitted" || int64(len(trail)) != r.Revision {
		m.t.Fatalf("request %+v has the audit %+v", r, trail)
	}
	state := approvals.StatePlanning
	for _, rec := range trail[1:] {
		from, to := approvals.State(rec.Detail["from"]), approvals.State(rec.Detail["to"])
		if from != state || !from.CanMove(to) {
			m.t.Fatalf("request %s was %s and is audited as going from %s to %s", r.ID, state, from, to)
		}
		state = to
	}
	if state != r.State {
		m.t.Fatalf("request %s is %s, audited as %s", r.ID, r.State, state)
	}
	began := slices.Contains(m.order, r.ID)
	switch r.State {
	case approvals.StateSucceeded:
		if began == r.DryRun || (!r.DryRun && m.ends[r.RunID] == 0) {
			m.t.Fatalf("request %+v succeeded; began %t, ended %d times", r, began, m.ends[r.RunID])
		}
	case approvals.StateDenied, approvals.StateRefused, approvals.StateExpired:
		if began && r.Replans == 0 {
			m.t.Fatalf("request %s is %s and ran", r.ID, r.State)
		}
	case approvals.StateFailed:
		if r.Reason == "" || r.Code == "" {
			m.t.Fatalf("request %+v failed for no reason", r)
		}
	}
}
