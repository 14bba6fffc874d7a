package actions_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

// agenda is one replica's, with back-offs that a test has the time for.
func agenda(rdb redis.UniversalClient, replica string, lease time.Duration) *actions.Agenda {
	return actions.NewAgenda(actions.AgendaOptions{
		Redis: rdb, Prefix: "berth:{test}:", Replica: replica, Lease: lease, BackOff: 10 * time.Millisecond, BackOffMost: 50 * time.Millisecond,
	})
}

// running runs an agenda until the test ends, or what it returns is called.
func running(tb testing.TB, a *actions.Agenda, workers int, do actions.AgendaWork) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { a.Run(ctx, workers, do) })
	stop = func() { cancel(); group.Wait() }
	tb.Cleanup(stop)
	return stop
}

func mark(tb testing.TB, a *actions.Agenda, rdb redis.Cmdable, member string, at time.Time) {
	tb.Helper()
	if err := a.Mark(context.Background(), rdb, member, at).Err(); err != nil {
		tb.Fatal(err)
	}
	a.Nudge()
}

// receive waits for something.
func receive[T any](tb testing.TB, from <-chan T, what string) T {
	tb.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(2 * time.Minute):
		tb.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

// forgotten waits until Redis holds nothing of the agenda but turns.
func forgotten(tb testing.TB, rdb redis.UniversalClient) {
	tb.Helper()
	ctx := context.Background()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		n, err := rdb.Exists(ctx, "berth:{test}:due", "berth:{test}:held", "berth:{test}:holder", "berth:{test}:meanwhile", "berth:{test}:tries").Result()
		if err != nil {
			tb.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(end) {
			tb.Fatal("the agenda keeps what is done")
		}
	}
}

func TestAgendaHandlesWhatIsDue(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	a, got := agenda(rdb, "a", 0), make(chan string, 10)
	due := time.Now().Add(300 * time.Millisecond)
	mark(t, a, rdb, "later", due)
	mark(t, a, rdb, "never", time.Now().Add(time.Hour))
	mark(t, a, rdb, "now", time.Now())
	mark(t, a, rdb, "now", time.Now().Add(time.Hour)) // an earlier mark stands
	running(t, a, 2, func(_ context.Context, member string) (time.Duration, error) {
		if early := time.Until(due); member == "later" && early > time.Millisecond { // times are of whole ones
			t.Errorf("%s was handled %s before it was due", member, early)
		}
		got <- member
		return 0, nil
	})
	// Where the machine is slow both are due at once, and come in any order.
	handled := map[string]int{receive(t, got, "the first"): 1}
	handled[receive(t, got, "the second")]++
	if handled["now"] != 1 || handled["later"] != 1 {
		t.Fatalf("handled were %v", handled)
	}
	select {
	case member := <-got:
		t.Errorf("%s was handled, which is not due", member)
	default:
	}
}

// What is marked while it is handled may have changed after the handler looked.
func TestAgendaLooksAgainAtWhatIsMarkedMeanwhile(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	a, b := agenda(rdb, "a", 0), agenda(rdb, "b", 0)
	begun, goOn := make(chan string), make(chan struct{})
	var at atomic.Int32
	do := func(context.Context, string) (time.Duration, error) {
		if at.Add(1) > 1 {
			t.Error("two handle one member at once")
		}
		defer at.Add(-1)
		begun <- ""
		<-goOn
		return 0, nil
	}
	running(t, a, 2, do)
	running(t, b, 2, do)
	mark(t, a, rdb, "x", time.Now())
	receive(t, begun, "the first look")
	mark(t, a, rdb, "x", time.Now())
	mark(t, b, rdb, "x", time.Now())
	mark(t, a, rdb, "y", time.Now().Add(time.Hour))
	goOn <- struct{}{}
	receive(t, begun, "the second look")
	goOn <- struct{}{}
	if err := rdb.ZRem(context.Background(), "berth:{test}:due", "y").Err(); err != nil {
		t.Fatal(err)
	}
	forgotten(t, rdb)
}

func TestAgendaTriesAgain(t *testing.T) {
	t.Parallel()
	tests := map[string]func(try int) (time.Duration, error){
		"after an error, later with each":      func(int) (time.Duration, error) { return 0, errors.New("no") },
		"after a panic":                        func(int) (time.Duration, error) { panic("no") },
		"when the handler says so":             func(int) (time.Duration, error) { return time.Millisecond, nil },
		"after an error when the handler says": func(int) (time.Duration, error) { return time.Millisecond, errors.New("no") },
	}
	for name, fail := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Client(t)
			a, got := agenda(rdb, "a", 0), make(chan int, 10)
			tries := 0 // of one member, so that nobody else counts
			running(t, a, 4, func(context.Context, string) (time.Duration, error) {
				tries++
				got <- tries
				if tries < 4 {
					return fail(tries)
				}
				return 0, nil
			})
			mark(t, a, rdb, "x", time.Now())
			for try := 1; try <= 4; try++ {
				receive(t, got, fmt.Sprintf("try %d", try))
			}
			forgotten(t, rdb)
		})
	}
}

// wire is a way to Redis that can be cut.
type wire struct{ cut atomic.Bool }

var errCut = errors.New("the wire is cut")

func (w *wire) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *wire) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if w.cut.Load() {
			cmd.SetErr(errCut)
			return errCut
		}
		return next(ctx, cmd)
	}
}

func (w *wire) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if w.cut.Load() {
			return errCut
		}
		return next(ctx, cmds)
	}
}

// A replica that is killed leaves what it held: in Redis it looks as one does
// whose context never ends and who renews nothing.
func TestAgendaGoesOnWithWhatAReplicaLeft(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		replica string
		soon    bool
	}{
		"another replica after the lease":          {replica: "b"},
		"one that comes back under its name, soon": {replica: "a", soon: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Client(t)
			lease := time.Second
			if test.soon {
				lease = time.Minute
			}
			wire := &wire{}
			theirs := redis.NewClient(&redis.Options{Addr: rdb.Options().Addr, DB: rdb.Options().DB, MaxRetries: -1})
			t.Cleanup(func() { _ = theirs.Close() })
			theirs.AddHook(wire)
			dead, begun := agenda(theirs, "a", lease), make(chan string, 1)
			block := make(chan struct{})
			running(t, dead, 1, func(_ context.Context, member string) (time.Duration, error) {
				begun <- member
				<-block
				return 0, nil
			})
			t.Cleanup(func() { wire.cut.Store(false); close(block) })
			mark(t, dead, rdb, "x", time.Now())
			receive(t, begun, "the first look")
			wire.cut.Store(true)
			a, got := agenda(rdb, test.replica, lease), make(chan string, 1)
			running(t, a, 1, func(_ context.Context, member string) (time.Duration, error) { got <- member; return 0, nil })
			receive(t, got, "the second look")
			forgotten(t, rdb)
		})
	}
}

// Two that run at once while Redis comes and goes do each member, and never the
// same one at the same time; what is held when an answer is lost is not forgotten.
func TestAgendaLosesNothingWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client(t)
	const members = 300
	var mu sync.Mutex
	at, done := map[string]bool{}, map[string]bool{}
	all := make(chan struct{})
	do := func(ctx context.Context, member string) (time.Duration, error) {
		mu.Lock()
		if at[member] {
			t.Errorf("two handle %s at once", member)
		}
		at[member] = true
		mu.Unlock()
		defer func() { mu.Lock(); delete(at, member); mu.Unlock() }()
		if err := rdb.Incr(ctx, "berth:{test}:count:"+member).Err(); err != nil {
			return 0, err
		}
		mu.Lock()
		defer mu.Unlock()
		if done[member] = true; len(done) == members {
			select {
			case <-all:
			default:
				close(all)
			}
		}
		return 0, nil
	}
	for _, replica := range []string{"a", "b"} { // no lease runs out, which the handling could not hear of in time
		running(t, agenda(rdb, replica, 5*time.Minute), 8, do)
	}
	marker := agenda(rdb, "marker", 0)
	for i := range members {
		mark(t, marker, rdb, fmt.Sprint("m", i), time.Now())
		if i == members/3 {
			server.Pause(t)
			time.AfterFunc(4*time.Second, func() { server.Resume(t) })
		}
	}
	receive(t, all, "the last member")
	forgotten(t, rdb)
}

// A thousand marks a second are no load for one replica: the figure is of marks
// made and handled, the floor what bare commands in pipelines of a hundred cost.
func BenchmarkAgenda(b *testing.B) {
	b.Run("floor", func(b *testing.B) {
		rdb := redistest.Client(b)
		ctx := context.Background()
		for i := 0; i < b.N; i += 100 {
			if _, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				for j := range min(100, b.N-i) {
					pipe.ZAdd(ctx, "due", redis.Z{Score: float64(i + j), Member: i + j})
					pipe.ZRem(ctx, "due", i+j)
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "members/s")
	})
	b.Run("handled", func(b *testing.B) {
		rdb := redistest.Client(b)
		ctx := context.Background()
		a, all := agenda(rdb, "a", 0), make(chan struct{})
		var n atomic.Int64
		want := int64(b.N)
		running(b, a, 64, func(context.Context, string) (time.Duration, error) {
			if n.Add(1) == want {
				close(all)
			}
			return 0, nil
		})
		b.ResetTimer()
		for i := 0; i < b.N; i += 100 {
			if _, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				for j := range min(100, b.N-i) {
					a.Mark(ctx, pipe, fmt.Sprint("m", i+j), time.Now())
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
			a.Nudge()
		}
		<-all
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "members/s")
	})
}

// An agenda on which nothing is due looks for that each second, for ever: it must
// not fill the file that Redis writes changes to.
func TestAgendaWritesNothingWhileNothingIsDue(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client(t)
	a, got := agenda(rdb, "a", 0), make(chan string, 1)
	running(t, a, 2, func(_ context.Context, member string) (time.Duration, error) { got <- member; return 0, nil })
	mark(t, a, rdb, "x", time.Now())
	receive(t, got, "x")
	forgotten(t, rdb)
	ctx := context.Background()
	size := func() string {
		info, err := rdb.InfoMap(ctx, "persistence").Result()
		if err != nil {
			t.Fatal(err)
		}
		return info["Persistence"]["rdb_changes_since_last_save"]
	}
	before, calls := size(), turns(t, rdb)
	for turns(t, rdb) < calls+20 {
		a.Nudge()
	}
	if after := size(); after != before {
		t.Errorf("there were %s changes, and are %s", before, after)
	}
}

// turns is how often a script was called.
func turns(tb testing.TB, rdb *redis.Client) (n int) {
	tb.Helper()
	info, err := rdb.InfoMap(context.Background(), "commandstats").Result()
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := fmt.Sscanf(info["Commandstats"]["cmdstat_evalsha"], "calls=%d", &n); err != nil {
		tb.Fatal(err)
	}
	return n
}
