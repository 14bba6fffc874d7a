package approvals_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
)

// contenders of a benchmark have as many who enqueue and as many who work.
const (
	benchProducers = 64
	benchWorkers   = 64
	benchEnvs      = 20_000
)

// contender is a queue that is measured: put enqueues one job, whose handling
// ends with a call of done that says its number.
type contender struct {
	name  string
	start func(b *testing.B, rdb *redis.Options, done func(n int)) (put func(n int) error, stop func())
}

// idle is a floor that does nothing and tells done of each run.
type idle struct{ done func(n int) }

func (idle) Plan(_ context.Context, order actions.Order, _ bool) (*actions.Plan, error) {
	order.Commit = actions.Commit{SHA: "9fceb02d0ae598e95dc970b74767f19372d61af8"}
	return &actions.Plan{Digest: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", Order: order, Summary: "nothing"}, nil
}

func (f idle) Run(_ context.Context, _ *actions.Lease, req actions.RunRequest) (*actions.Run, error) {
	if n, err := strconv.Atoi(req.Order.Ref); err == nil {
		f.done(n)
	}
	return &actions.Run{ID: req.ID, RequestID: req.RequestID, Order: req.Order, Digest: req.Digest, State: actions.RunSucceeded, Attempt: 1}, nil
}

// contenders are the whole of Berth's way of a request, with plan, policy, lease,
// fencing and audit; asynq as it comes; and the least that a stream can do.
var contenders = []contender{
	{"berth", func(b *testing.B, o *redis.Options, done func(int)) (func(int) error, func()) {
		bench := newBench(b, benchClient(b, o), approvals.Options{})
		stop := bench.work(approvals.WorkerOptions{Floor: idle{done}, Replica: "bench", Lease: 10 * time.Second, Concurrency: benchWorkers})
		return func(n int) error {
			env := actions.Name{App: "app-" + strconv.Itoa(n%10), Env: "pr-" + strconv.Itoa(n%benchEnvs)}
			_, _, err := bench.Submit(context.Background(), approvals.Request{
				Order:   actions.Order{Env: env, Verb: actions.VerbRestart, By: "ana", Ref: strconv.Itoa(n)},
				Command: "restart " + env.String(), Requester: ana, Place: approvals.Place{Surface: "bench"},
			})
			return err
		}, stop
	}},
	{"asynq", func(b *testing.B, o *redis.Options, done func(int)) (func(int) error, func()) {
		rdb := benchClient(b, o)
		server := asynq.NewServerFromRedisClient(rdb, asynq.Config{Concurrency: benchWorkers, LogLevel: asynq.FatalLevel})
		err := server.Start(asynq.HandlerFunc(func(_ context.Context, task *asynq.Task) error {
			n, err := strconv.Atoi(string(task.Payload()))
			if err == nil {
				done(n)
			}
			return err
		}))
		if err != nil {
			b.Fatal(err)
		}
		client := asynq.NewClientFromRedisClient(rdb)
		return func(n int) error {
			_, err := client.Enqueue(asynq.NewTask("job", []byte(strconv.Itoa(n))))
			return err
		}, server.Shutdown
	}},
	{"loop", func(b *testing.B, o *redis.Options, done func(int)) (func(int) error, func()) {
		rdb, ctx := benchClient(b, o), context.Background()
		if err := rdb.XGroupCreateMkStream(ctx, "jobs", "g", "0").Err(); err != nil {
			b.Fatal(err)
		}
		var workers sync.WaitGroup
		running, stop := context.WithCancel(ctx)
		for i := range benchWorkers {
			workers.Go(func() {
				for running.Err() == nil {
					streams, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: strconv.Itoa(i), Streams: []string{"jobs", ">"}, Count: 10, Block: 200 * time.Millisecond}).Result()
					if err != nil {
						continue
					}
					for _, m := range streams[0].Messages {
						text, _ := m.Values["n"].(string)
						if n, err := strconv.Atoi(text); err == nil {
							done(n)
						}
						_, _ = rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
							p.XAck(ctx, "jobs", "g", m.ID)
							p.XDel(ctx, "jobs", m.ID)
							return nil
						})
					}
				}
			})
		}
		return func(n int) error {
			return rdb.XAdd(ctx, &redis.XAddArgs{Stream: "jobs", Values: []any{"n", n}}).Err()
		}, func() { stop(); workers.Wait() }
	}},
}

// benchClient has a connection for everybody who may need one at once.
func benchClient(tb testing.TB, o *redis.Options) *redis.Client {
	c := *o
	c.PoolSize = benchProducers + benchWorkers + 16
	rdb := redis.NewClient(&c)
	tb.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// BenchmarkThroughput is how many jobs a second go from enqueueing to having
// been worked on, and Berth's share of what asynq and a bare loop do.
func BenchmarkThroughput(b *testing.B) {
	rates := map[string]float64{}
	for _, c := range contenders {
		var left sync.WaitGroup
		o := redistest.Options(b)
		put, stop := c.start(b, o, func(int) { left.Done() })
		for n := range benchProducers { // connections and scripts are there when the clock starts
			left.Add(1)
			if err := put(n); err != nil {
				b.Fatal(err)
			}
		}
		left.Wait()
		rdb := benchClient(b, o)
		busy, began := redisBusy(b, rdb), time.Now()
		produce(b, b.N, func(n int) error {
			left.Add(1)
			return put(n)
		})
		left.Wait()
		rates[c.name] = float64(b.N) / time.Since(began).Seconds()
		b.ReportMetric((redisBusy(b, rdb)-busy)/float64(b.N), c.name+"-redis-µs")
		stop()
	}
	for name, rate := range rates {
		b.ReportMetric(rate, name+"-jobs/s")
	}
	b.ReportMetric(rates["berth"]/rates["asynq"], "of-asynq")
	b.ReportMetric(rates["berth"]/rates["loop"], "of-loop")
	b.ReportMetric(0, "ns/op")
}

// redisBusy is how long the server's one thread that carries commands out has
// worked so far, in microseconds of CPU: what bounds all who share a Redis.
func redisBusy(tb testing.TB, rdb redis.UniversalClient) float64 {
	tb.Helper()
	info, err := rdb.InfoMap(context.Background(), "cpu").Result()
	if err != nil {
		tb.Fatal(err)
	}
	total := 0.0
	for _, part := range []string{"user", "sys"} {
		seconds, err := strconv.ParseFloat(info["CPU"]["used_cpu_"+part+"_main_thread"], 64)
		if err != nil {
			tb.Fatal(err)
		}
		total += seconds
	}
	return total * 1e6
}

// produce calls put for the numbers below n, many at a time.
func produce(b *testing.B, n int, put func(n int) error) {
	var producers sync.WaitGroup
	var next atomic.Int64
	for range benchProducers {
		producers.Go(func() {
			for i := next.Add(1); int(i) <= n; i = next.Add(1) {
				if err := put(int(i - 1)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	producers.Wait()
}

// BenchmarkLatency is how long one job takes from enqueueing to having been
// worked on when nothing else goes on.
func BenchmarkLatency(b *testing.B) {
	p99 := map[string]float64{}
	for _, c := range contenders {
		jobs := b.N
		if c.name == "asynq" {
			jobs = min(jobs, 20) // it looks for work once a second
		}
		worked := make(chan int, 1)
		put, stop := c.start(b, redistest.Options(b), func(n int) { worked <- n })
		took := make([]time.Duration, 0, jobs)
		for n := range jobs + 10 {
			began := time.Now()
			if err := put(n); err != nil {
				b.Fatal(err)
			}
			<-worked
			if n >= 10 { // the first ones warm up
				took = append(took, time.Since(began))
			}
		}
		stop()
		slices.Sort(took)
		at := func(share float64) float64 {
			return float64(took[int(share*float64(len(took)-1))].Microseconds()) / 1000
		}
		p99[c.name] = at(0.99)
		b.ReportMetric(at(0.5), c.name+"-p50-ms")
		b.ReportMetric(p99[c.name], c.name+"-p99-ms")
	}
	b.ReportMetric(p99["berth"]/p99["loop"], "p99-of-loop")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkDecide is one request on which 64 decide in the same moment, until
// each has an answer.
func BenchmarkDecide(b *testing.B) {
	const deciders = 64
	bench := newBench(b, benchClient(b, redistest.Options(b)), approvals.Options{Policy: policy(func(r *approvals.Request) (approvals.Outcome, error) {
		if len(r.Decisions) >= deciders {
			return approvals.Outcome{Effect: approvals.EffectRelease}, nil
		}
		return approvals.Outcome{Effect: approvals.EffectApprove, Reason: "All must agree.", Rules: []approvals.RuleOutcome{{Rule: "all", Effect: approvals.EffectApprove, Groups: []approvals.GroupOutcome{{Count: deciders}}}}}, nil
	})})
	bench.work(approvals.WorkerOptions{Floor: idle{func(int) {}}, Replica: "bench", Lease: 10 * time.Second})
	for b.Loop() {
		b.StopTimer()
		id := bench.untilState(bench.submit(shop42, actions.VerbRestart).ID, approvals.StatePending).ID
		b.StartTimer()
		var all sync.WaitGroup
		for i := range deciders {
			all.Go(func() {
				who := approvals.Requester{Actor: "p" + strconv.Itoa(i), Identity: "github:p" + strconv.Itoa(i)}
				if _, err := bench.Decide(context.Background(), id, approvals.Decision{Verdict: approvals.Approve, By: who}); err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
		b.StopTimer()
		bench.untilState(id, approvals.StateSucceeded)
		b.StartTimer()
	}
	b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N*deciders), "ms/decision")
}

// benchWaiting is how many requests wait in the long queue.
const benchWaiting = 100_000

// BenchmarkSubmitWhileOthersWait is what a new request costs while 100,000 wait
// for decisions, beside an empty queue; and what each that waits takes of Redis.
// The two take turns, so that what else the machine does is the same for both.
func BenchmarkSubmitWhileOthersWait(b *testing.B) {
	count := benchWaiting
	if testing.Short() {
		count /= 10
	}
	empty, stopEmpty := benchQueue(b, 0)
	full, stopFull := benchQueue(b, count)
	defer stopEmpty()
	defer stopFull()
	took := map[string][]time.Duration{}
	for n := range b.N {
		for name, put := range map[string]func(int) error{"empty": empty, "full": full} {
			began := time.Now()
			if err := put(count + n); err != nil {
				b.Fatal(err)
			}
			took[name] = append(took[name], time.Since(began))
		}
	}
	cost := map[string]float64{}
	for name, times := range took {
		slices.Sort(times)
		cost[name] = float64(times[len(times)/2].Nanoseconds()) / 1000
		b.ReportMetric(cost[name], name+"-µs")
	}
	b.ReportMetric(cost["full"]/cost["empty"], "full-of-empty")
	b.ReportMetric(0, "ns/op")
}

// benchQueue is a server and a worker with so many requests that wait for
// decisions. put adds the one with a number.
func benchQueue(b *testing.B, waiting int) (put func(n int) error, stop func()) {
	server := redistest.Start(b, "--appendfsync", "no")
	bench := newBench(b, benchClient(b, &redis.Options{Addr: server.Addr}), approvals.Options{Policy: policy(func(*approvals.Request) (approvals.Outcome, error) {
		return approvals.Outcome{Effect: approvals.EffectApprove, Reason: "Somebody of sre must agree.", Rules: []approvals.RuleOutcome{{Rule: "sre", Effect: approvals.EffectApprove, Groups: []approvals.GroupOutcome{{Count: 1, From: []string{"role:sre"}, Missing: 1}}}}}, nil
	})})
	put = func(n int) error {
		env := actions.Name{App: "app-" + strconv.Itoa(n%10), Env: "pr-" + strconv.Itoa(n)}
		_, _, err := bench.Submit(context.Background(), approvals.Request{
			Order:   actions.Order{Env: env, Verb: actions.VerbDeploy, By: "ana"},
			Command: "deploy " + env.String(), Requester: ana, Place: approvals.Place{Surface: "bench"},
		})
		return err
	}
	empty := usedMemory(b, bench.rdb)
	stop = bench.work(approvals.WorkerOptions{Floor: idle{func(int) {}}, Replica: "bench", Lease: 10 * time.Second, Concurrency: benchWorkers})
	if waiting > 0 {
		produce(b, waiting, put)
		bench.untilPlanned()
		b.ReportMetric(float64(usedMemory(b, bench.rdb)-empty)/float64(waiting), "B/waiting")
	}
	return put, stop
}

// untilPlanned waits until no hint is left, without looking through all keys as
// untilIdle does, of which there are many here.
func (b *bench) untilPlanned() {
	b.tb.Helper()
	ctx := context.Background()
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); {
		ready, _ := b.rdb.ZCard(ctx, approvals.ReadyKey).Result()
		later, _ := b.rdb.ZCard(ctx, approvals.LaterKey).Result()
		held, err := b.rdb.SCard(ctx, approvals.HeldKey+"bench").Result()
		if err == nil && ready+later+held == 0 {
			return
		}
		_, _ = b.store.Changes(ctx, "$", 50*time.Millisecond)
	}
	b.tb.Fatal("hints are left in the queue")
}

// usedMemory is what the server's data takes, in bytes.
func usedMemory(tb testing.TB, rdb redis.UniversalClient) int64 {
	tb.Helper()
	info, err := rdb.InfoMap(context.Background(), "memory").Result()
	if err != nil {
		tb.Fatal(err)
	}
	n, err := strconv.ParseInt(info["Memory"]["used_memory_dataset"], 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
