package approvals_test

import (
	"context"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(childAddr); addr != "" {
		os.Exit(child(addr))
	}
	redis.SetLogger(mute{}) // it logs each connection that a test cuts
	os.Exit(redistest.Main(m))
}

// mute is a logger of the Redis client that logs nothing.
type mute struct{}

func (mute) Printf(context.Context, string, ...any) {}

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

var (
	shop42 = actions.Name{App: "shop", Env: "pr-42"}
	shop43 = actions.Name{App: "shop", Env: "pr-43"}
	ana    = approvals.Requester{Actor: "ana", Identity: "github:ana"}
	ben    = approvals.Requester{Actor: "ben", Identity: "github:ben"}
)

// bench is one Redis with what a replica has on it.
type bench struct {
	tb    testing.TB
	rdb   redis.UniversalClient
	store *actions.Store
	*approvals.Requests
}

func newBench(tb testing.TB, rdb redis.UniversalClient, o approvals.Options) *bench {
	tb.Helper()
	store := actions.NewStore(rdb, actions.StoreOptions{})
	return &bench{tb: tb, rdb: rdb, store: store, Requests: approvals.NewRequests(rdb, store, o)}
}

// work runs a worker, without grace unless o says otherwise, until the test ends
// or the returned function is called.
func (b *bench) work(o approvals.WorkerOptions) (stop func()) {
	b.tb.Helper()
	tell, stopped := b.start(o)
	return func() {
		tell()
		stopped()
	}
}

// start is work whose end is told by one function and waited for by another.
func (b *bench) start(o approvals.WorkerOptions) (stop context.CancelFunc, stopped func()) {
	b.tb.Helper()
	o.Requests, o.Store = b.Requests, b.store
	if o.Grace == 0 {
		o.Grace = -1
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- approvals.NewWorker(o).Run(ctx) }()
	stopped = sync.OnceFunc(func() {
		select {
		case err := <-done:
			if err != nil {
				b.tb.Errorf("the worker returned %v", err)
			}
		case <-time.After(patience):
			b.tb.Error("the worker did not stop")
		}
	})
	b.tb.Cleanup(func() {
		stop()
		stopped()
	})
	return stop, stopped
}

// submit makes a request and fails the test when that fails.
func (b *bench) submit(env actions.Name, verb actions.Verb, edit ...func(*approvals.Request)) *approvals.Request {
	b.tb.Helper()
	r := approvals.Request{
		Order: actions.Order{Env: env, Verb: verb, By: "ana"}, Command: string(verb) + " " + env.String(),
		Requester: ana, Place: approvals.Place{Surface: "test"},
	}
	for _, e := range edit {
		e(&r)
	}
	made, created, err := b.Submit(b.tb.Context(), r)
	if err != nil || !created {
		b.tb.Fatalf("submit %s: created %t, %v", r.Command, created, err)
	}
	return made
}

// until waits for a request to be as ok wants it.
func (b *bench) until(id, what string, ok func(*approvals.Request) bool) *approvals.Request {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	after, _ := b.store.ChangesHead(ctx)
	var r *approvals.Request
	for ctx.Err() == nil {
		var err error
		if r, err = b.Get(ctx, id); err == nil && ok(r) {
			return r
		}
		// Woken by the next change of anything, or to be on the safe side.
		changes, _ := b.store.Changes(ctx, after, 500*time.Millisecond)
		if len(changes) > 0 {
			after = changes[len(changes)-1].ID
		}
	}
	b.tb.Fatalf("request %s is not %s in time; it is %+v", id, what, r)
	return nil
}

func (b *bench) untilState(id string, states ...approvals.State) *approvals.Request {
	b.tb.Helper()
	return b.until(id, string(states[0]), func(r *approvals.Request) bool { return slices.Contains(states, r.State) })
}

// kinds are the kinds of the audit records of a request, in order. The chain
// must be whole.
func (b *bench) kinds(env actions.Name, id string) []string {
	b.tb.Helper()
	ctx := context.Background()
	if err := b.store.VerifyAudit(ctx, env); err != nil {
		b.tb.Fatal(err)
	}
	records, err := b.store.Audit(ctx, env, 0, 0)
	if err != nil {
		b.tb.Fatal(err)
	}
	var kinds []string
	for _, rec := range records {
		if rec.RequestID == id {
			kinds = append(kinds, rec.Kind)
		}
	}
	return kinds
}

func wantCode(tb testing.TB, err error, want actions.Code) {
	tb.Helper()
	if got := actions.CodeOf(err); got != want {
		tb.Fatalf("error %v has code %q, want %q", err, got, want)
	}
}

func wantEqual[T comparable](tb testing.TB, what string, got, want []T) {
	tb.Helper()
	if !slices.Equal(got, want) {
		tb.Errorf("%s: %v, want %v", what, got, want)
	}
}

func newClient(tb testing.TB, o *redis.Options) *redis.Client {
	rdb := redis.NewClient(o)
	tb.Cleanup(func() { _ = rdb.Close() })
	return rdb
}
