package actions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

// benchEnvs is how many environments there are; BENCH=short takes a tenth.
func benchEnvs() int {
	if os.Getenv("BENCH") == "short" {
		return 10_000
	}
	return 100_000
}

// preview is an environment as a pull request's is after its deploy.
func preview(i int, noon time.Time) *actions.Environment {
	name := actions.Name{App: fmt.Sprintf("app-%02d", i%50), Env: "pr-" + strconv.Itoa(i+1)}
	sha := fmt.Sprintf("%040x", i)
	env := &actions.Environment{
		Name: name, State: actions.StateRunning, Repo: "acme/" + name.App, PullRequest: i + 1, Owner: actions.Owner{Actor: "ana", Identity: "github:ana"},
		Namespace: name.App + "-" + name.Env, Cluster: "staging", Commit: actions.Commit{SHA: sha, Message: "Make the cart faster", Author: "ana", Time: noon},
		Ref: "refs/pull/" + strconv.Itoa(i+1) + "/head", Vars: map[string]string{"LOG_LEVEL": "debug"}, URL: "https://" + name.Env + ".example.org/",
		Links: []actions.Link{{Name: "web", URL: "https://" + name.Env + ".example.org/"}},
		Parts: map[string]actions.PartStatus{
			"web": {Use: "helm", State: "done", Health: actions.Healthy, Outputs: actions.Outputs{"endpoint": "web." + name.Env + ".svc"}, At: noon},
			"db":  {Use: "helm", State: "done", Health: actions.Healthy, At: noon},
		},
		LastAction: &actions.LastAction{Verb: actions.VerbDeploy, RequestID: "01kahzq3v0" + sha[24:], RunID: "01kahzr9q2" + sha[24:], Commit: actions.Commit{SHA: sha}, State: actions.RunSucceeded, By: "ana", At: noon},
		CreatedAt:  noon, UpdatedAt: noon, UsedAt: noon, TTL: 72 * time.Hour, ExpiresAt: noon.Add(time.Hour + time.Duration(i)*time.Second), Deployed: 1,
	}
	if i%10 == 0 {
		env.State = actions.StateFailure
	}
	return env
}

// population is a Redis with many environments.
type population struct {
	rdb   *redis.Client
	store *actions.Store
	n     int
	noon  time.Time
	bytes int64 // that an environment takes
}

func populated(b *testing.B) *population {
	b.Helper()
	s := redistest.Start(b, "--appendonly", "no", "--save", "")
	p := &population{rdb: s.Client(b), n: benchEnvs(), noon: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	p.store = actions.NewStore(p.rdb, actions.StoreOptions{})
	if err := p.store.MendIndexes(b.Context()); err != nil {
		b.Fatal(err)
	}
	before := usedMemory(b, p.rdb)
	var all sync.WaitGroup
	const writers = 64
	for w := range writers {
		all.Go(func() {
			for i := w; i < p.n; i += writers {
				if err := actions.Put(b.Context(), p.store, preview(i, p.noon)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	p.bytes = (usedMemory(b, p.rdb) - before) / int64(p.n)
	return p
}

func usedMemory(b *testing.B, rdb *redis.Client) int64 {
	b.Helper()
	for line := range strings.SplitSeq(rdb.Info(b.Context(), "memory").Val(), "\r\n") {
		if text, ok := strings.CutPrefix(line, "used_memory:"); ok {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("Redis does not say what it uses")
	return 0
}

// beside measures what is asked of it, beside a floor of the same work by turns, and
// reports the medians, the 99th percentile and their ratio.
func beside(b *testing.B, work, floor func(i int) error) {
	b.Helper()
	var took, least []time.Duration
	timed := func(fn func(int) error, i int) time.Duration {
		start := time.Now()
		if err := fn(i); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	i := 0
	for b.Loop() {
		took = append(took, timed(work, i))
		if floor != nil {
			least = append(least, timed(floor, i))
		}
		i++
	}
	at := func(all []time.Duration, percent int) float64 {
		slices.Sort(all)
		return float64(all[len(all)*percent/100].Microseconds())
	}
	b.ReportMetric(at(took, 50), "p50-µs")
	b.ReportMetric(at(took, 99), "p99-µs")
	if floor != nil {
		b.ReportMetric(at(least, 50), "floor-p50-µs")
		b.ReportMetric(at(least, 99), "floor-p99-µs")
		b.ReportMetric(at(took, 50)/at(least, 50), "times-floor")
	}
	b.ReportMetric(0, "ns/op")
}

// page is the floor: what a page of names and records asks of Redis, no more, in
// the same two round trips, with each answer read as JSON.
func (p *population) page(ctx context.Context, prefix, after string) error {
	answers, err := p.bare(ctx, prefix, after)
	if err != nil {
		return err
	}
	for _, answer := range answers {
		text, _ := answer.(*redis.StringCmd).Bytes()
		if err := json.Unmarshal(text, new(actions.Environment)); err != nil {
			return err
		}
	}
	return nil
}

// bare is page with nothing made of the answers.
func (p *population) bare(ctx context.Context, prefix, after string) ([]redis.Cmder, error) {
	const limit = 101
	members, err := p.rdb.ZRangeArgs(ctx, redis.ZRangeArgs{Key: indexKey, Start: "(" + prefix + " " + after, Stop: "(" + prefix + " \xff", ByLex: true, Count: limit}).Result()
	if err != nil {
		return nil, err
	}
	return p.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, m := range members {
			pipe.Get(ctx, "berth:{"+m[len(prefix)+1:]+"}:env")
		}
		return nil
	})
}

// BenchmarkManyEnvironments lists pages of 100, and what is due, of 100,000.
func BenchmarkManyEnvironments(b *testing.B) {
	p := populated(b)
	ctx := b.Context()
	cursor := func(i int) string { return preview((i*7919)%p.n, p.noon).Name.String() }
	list := func(f actions.EnvFilter) func(int) error {
		f.Limit = 100
		return func(i int) error {
			f.Cursor = cursor(i)
			if f.App != "" {
				f.Cursor = ""
			}
			_, _, err := p.store.Environments(ctx, f)
			return err
		}
	}
	b.Run("page", func(b *testing.B) {
		beside(b, list(actions.EnvFilter{}), func(i int) error { return p.page(ctx, "l", cursor(i)) })
		b.ReportMetric(float64(p.n), "environments")
		b.ReportMetric(float64(p.bytes), "B/environment")
	})
	b.Run("page-beside-bare-redis", func(b *testing.B) {
		beside(b, list(actions.EnvFilter{}), func(i int) error { _, err := p.bare(ctx, "l", cursor(i)); return err })
	})
	b.Run("page-of-app", func(b *testing.B) {
		beside(b, list(actions.EnvFilter{App: "app-25"}), func(int) error { return p.page(ctx, "l", "app-25/") })
	})
	b.Run("page-in-state", func(b *testing.B) {
		beside(b, list(actions.EnvFilter{State: actions.StateFailure}), func(i int) error { return p.page(ctx, "sFailure", cursor(i)) })
	})
	b.Run("of-pull-request", func(b *testing.B) {
		beside(b, func(int) error {
			found, _, err := p.store.Environments(ctx, actions.EnvFilter{Repo: "acme/app-07", PullRequest: 8})
			if err == nil && len(found) != 1 {
				err = fmt.Errorf("%d found", len(found))
			}
			return err
		}, nil)
	})
	for _, due := range []int{0, 1, 10, 100, 500} {
		b.Run(fmt.Sprintf("expiring-%d", due), func(b *testing.B) {
			from := p.noon.Add(time.Hour + 999*time.Second)
			beside(b, func(int) error {
				found, err := p.store.Expiring(ctx, from, from.Add(time.Duration(due)*time.Second), 500)
				if err == nil && len(found) != due {
					err = fmt.Errorf("%d found, want %d", len(found), due)
				}
				return err
			}, nil)
		})
	}
}

// BenchmarkLogMemory prints what runs and their logs take of Redis: 1,000 ended
// runs of 200 lines each, in 20 environments, and one run of 100,000 lines.
func BenchmarkLogMemory(b *testing.B) {
	line := func(i int) string {
		return fmt.Sprintf("2026-05-01T12:%02d:%02d.%03dZ INFO deployment shop-pr-%d-web: %d of %d pods ready, waiting for %x", i/60%60, i%60, i%1000, i%97, i%3, 3, i*2654435761%1000003)
	}
	for name, shape := range map[string][3]int{"1000-runs-of-200-lines": {20, 50, 200}, "one-run-of-100000-lines": {1, 1, 100_000}} {
		b.Run(name, func(b *testing.B) {
			if os.Getenv("BENCH") == "short" {
				shape[0] = max(shape[0]/10, 1)
				shape[2] = min(shape[2], 20_000)
			}
			s := redistest.Start(b, "--appendonly", "no", "--save", "")
			rdb := s.Client(b)
			store := actions.NewStore(rdb, actions.StoreOptions{})
			var used, text int64
			runs := shape[0] * shape[1]
			for b.Loop() {
				rdb.FlushAll(b.Context())
				before := usedMemory(b, rdb)
				text = 0
				for r := range runs {
					env := actions.Name{App: "shop", Env: fmt.Sprint("pr-", r%shape[0])}
					id := fmt.Sprintf("01kahzr9q2%016d", r)
					l, err := store.Acquire(b.Context(), env, "w", time.Hour)
					if err != nil {
						b.Fatal(err)
					}
					lines := make([]string, shape[2])
					for i := range lines {
						lines[i] = line(r*31 + i)
						text += int64(len(lines[i]))
					}
					if err := actions.AppendLog(b.Context(), store, l, id, lines...); err != nil {
						b.Fatal(err)
					}
					run := &actions.Run{ID: id, RequestID: id, Order: actions.Order{Env: env, Verb: actions.VerbDeploy, By: "ana"}, State: actions.RunSucceeded, StartedAt: time.Now(), EndedAt: time.Now()}
					if err := actions.PutRun(b.Context(), store, run); err != nil {
						b.Fatal(err)
					}
					if err := l.Release(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				used = usedMemory(b, rdb) - before
			}
			b.ReportMetric(float64(used)/float64(runs)/1024, "KiB/run")
			b.ReportMetric(float64(text)/float64(runs)/1024, "text-KiB/run")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkSave writes a record that moves nothing of the index, and one that
// moves between two states each time.
func BenchmarkSave(b *testing.B) {
	s := redistest.Start(b, "--appendonly", "no", "--save", "")
	for name, states := range map[string][2]actions.State{
		"same-state":    {actions.StateRunning, actions.StateRunning},
		"another-state": {actions.StateRunning, actions.StateFailure},
	} {
		b.Run(name, func(b *testing.B) {
			store := actions.NewStore(s.Client(b), actions.StoreOptions{})
			env := preview(0, time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
			env.Name.Env = name
			for i := 0; b.Loop(); i++ {
				env.State = states[i%2]
				if err := actions.Put(b.Context(), store, env); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
