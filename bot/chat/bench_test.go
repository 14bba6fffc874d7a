package chat

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

// BenchmarkTake is how many events a second one replica takes in, from 64 that
// come at once, beside the least that anybody has to do who loses none: one write
// of the same size for each, in pipelines of a hundred.
func BenchmarkTake(b *testing.B) {
	body := strings.Repeat("x", 600)
	b.Run("floor", func(b *testing.B) {
		rdb := redistest.Client(b)
		ctx := context.Background()
		for i := 0; i < b.N; i += 100 {
			if _, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				for j := range min(100, b.N-i) {
					pipe.Set(ctx, fmt.Sprint("event", i+j), body, time.Hour)
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("taken", func(b *testing.B) {
		w := newReplica(b, redistest.Client(b), "a", newPlatform(bot.PlatformSlack))
		took := takeAll(b, w, b.N, 64)
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	})
}

// takeAll takes n commands, some at once, and returns how long each took, sorted.
func takeAll(tb testing.TB, w *replica, n, atOnce int) []time.Duration {
	took := make([]time.Duration, n)
	var next atomic.Int64
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				began := time.Now()
				if err := w.Take(context.Background(), event(fmt.Sprint("e", i), "U1", "help status")); err != nil {
					tb.Error(err)
				}
				took[i] = time.Since(began)
			}
		})
	}
	group.Wait()
	slices.Sort(took)
	return took
}

// BenchmarkEventsHandled is how many commands a second one replica takes, does
// and answers, by what they are: one that Redis is not asked for anything, one that
// reads, one that decides nothing but makes a request and its card. Beside it stand
// four bare writes for each in pipelines of a hundred, which is what taking,
// claiming, giving back and forgetting an event cannot do without.
func BenchmarkEventsHandled(b *testing.B) {
	b.Run("floor", func(b *testing.B) {
		rdb := redistest.Client(b)
		ctx := context.Background()
		body := strings.Repeat("x", 600)
		for i := 0; i < b.N; i += 100 {
			if _, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				for j := range min(100, b.N-i) {
					id := fmt.Sprint("event", i+j)
					pipe.Set(ctx, id, body, time.Hour)
					pipe.ZAdd(ctx, "due", redis.Z{Score: 1, Member: id})
					pipe.ZRem(ctx, "due", id)
					pipe.Set(ctx, id, "", time.Hour)
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	lines := map[string]func(i int) string{
		"help":   func(int) string { return "help deploy" },
		"list":   func(int) string { return "list shop" },
		"deploy": func(i int) string { return fmt.Sprintf("deploy shop/b-%d", i) },
	}
	for _, name := range []string{"help", "list", "deploy"} {
		b.Run(name, func(b *testing.B) {
			slack := newPlatform(bot.PlatformSlack)
			slack.limits = bot.ChatLimits{Posts: 1 << 30, Edits: 1 << 30, Window: time.Second}
			w := newReplica(b, redistest.Client(b), "a", slack, func(o *Options) { o.Log = nil }).run(b)
			w.world.People.Reload([]bottest.Actor{{Name: "ana", Roles: []string{"deployer"}, Identities: []string{"slack:U1"}}}, nil)
			b.ResetTimer()
			var group sync.WaitGroup
			for lane := range 16 {
				group.Go(func() {
					for i := lane; i < b.N; i += 16 {
						if err := w.Take(context.Background(), event(fmt.Sprint("e", i), "U1", lines[name](i))); err != nil {
							b.Error(err)
						}
					}
				})
			}
			group.Wait()
			slack.until(b, "the last answer", func() bool { return len(slack.answers) >= b.N })
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.StopTimer()
			if n := len(slack.answers); n != b.N {
				b.Errorf("%d answers to %d commands", n, b.N)
			}
		})
	}
}
