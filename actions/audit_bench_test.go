package actions_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

// life are records as one deploy makes them: two parts, approved by one person.
func life(i int) []actions.Record {
	random := fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
	id, run := "01kahzq3v0"+random[:16], "01kahzr9q2"+random[16:32]
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(id)))
	ana := actions.Record{Actor: "ana", Identity: "github:ana", Surface: "github", Address: "140.82.115.7", RequestID: id}
	record := func(kind string, detail map[string]string) actions.Record {
		r := ana
		r.Kind, r.Detail = kind, detail
		if kind != "request.submitted" {
			r.Digest = digest
		}
		if strings.HasPrefix(kind, "run.") {
			r.RunID = run
		}
		return r
	}
	move := func(from, to string) map[string]string { return map[string]string{"from": from, "to": to} }
	step := func(part, use string) map[string]string {
		return map[string]string{"part": part, "use": use, "verb": "deploy", "try": "1"}
	}
	return []actions.Record{
		record("request.submitted", map[string]string{"verb": "deploy", "command": "deploy shop/pr-42 --ref 4f0c1d2", "to": "planning"}),
		record("request.pending", move("planning", "pending")),
		record("request.approved", map[string]string{"from": "pending", "to": "pending", "reason": "looks right"}),
		record("request.released", move("pending", "released")),
		record("request.running", move("released", "running")),
		record("run.started", map[string]string{"verb": "deploy", "commit": "4f0c1d2e5a6b7c8d9e0f4f0c1d2e5a6b7c8d9e0f", "worker": "berth-6c9f-1", "lease": "17"}),
		record("run.step.started", step("db", "aws")), record("run.step.done", step("db", "aws")),
		record("run.step.started", step("web", "helm")), record("run.step.done", step("web", "helm")),
		record("run.succeeded", map[string]string{"state": "Running"}),
		record("request.succeeded", move("running", "succeeded")),
	}
}

// BenchmarkAuditMemory prints what audit records take in Redis: the chains of
// 20 environments with 25 deploys each, and their anchors, with Redis'
// own settings and with the inner nodes of lists compressed.
func BenchmarkAuditMemory(b *testing.B) {
	for name, extra := range map[string][]string{
		"as_redis_comes":       nil,
		"list-compress-depth1": {"--list-compress-depth", "1"},
	} {
		b.Run(name, func(b *testing.B) {
			s := redistest.Start(b, append([]string{"--appendfsync", "no"}, extra...)...)
			rdb := s.Client(b)
			store := actions.NewStore(rdb, actions.StoreOptions{})
			const envs, deploys = 20, 25
			var records, chains, total, text int64
			for b.Loop() {
				rdb.FlushDB(b.Context())
				records, chains = 0, 0
				for e := range envs {
					env := actions.Name{App: "shop", Env: fmt.Sprint("pr-", e)}
					for d := range deploys {
						for _, r := range life(e*deploys + d) {
							if _, err := note(b.Context(), store, env, "w", r); err != nil {
								b.Fatal(err)
							}
							records++
						}
					}
					if _, err := store.Anchor(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				text = 0
				for e := range envs {
					key := store.Key(actions.Name{App: "shop", Env: fmt.Sprint("pr-", e)}, "audit")
					chains += usage(b, rdb, key) + usage(b, rdb, key+":head")
					for _, line := range rdb.LRange(b.Context(), key, 0, -1).Val() {
						text += int64(len(line))
					}
				}
				total = usage(b, rdb, anchorsKey) + usage(b, rdb, anchorsKey+":head") + usage(b, rdb, anchoredKey)
			}
			b.ReportMetric(float64(text)/float64(records), "JSON-B/record")
			b.ReportMetric(float64(chains)/float64(records), "B/record")
			b.ReportMetric(float64(chains)/float64(records)*1000/1024, "KiB/1000-records")
			b.ReportMetric(float64(total)/envs, "anchor-B/head")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func usage(b *testing.B, rdb *redis.Client, key string) int64 {
	b.Helper()
	n, err := rdb.MemoryUsage(b.Context(), key, 0).Result()
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkAnchor makes anchors of 10,000 chains, of which ten move each time.
func BenchmarkAnchor(b *testing.B) {
	const envs, moving = 10_000, 10
	s := redistest.Start(b, "--appendfsync", "no")
	store := actions.NewStore(s.Client(b), actions.StoreOptions{})
	env := func(i int) actions.Name { return actions.Name{App: "shop", Env: fmt.Sprint("pr-", i%envs)} }
	for i := range envs {
		if _, err := note(b.Context(), store, env(i), "w", actions.Record{Kind: "word.set"}); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := store.Anchor(b.Context()); err != nil {
		b.Fatal(err)
	}
	next := 0
	for b.Loop() {
		b.StopTimer()
		for range moving {
			next++
			if _, err := note(b.Context(), store, env(next), "w", actions.Record{Kind: "word.set"}); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		if _, err := store.Anchor(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify verifies one chain of 10,000 records.
func BenchmarkVerify(b *testing.B) {
	const records = 10_000
	s := redistest.Start(b, "--appendfsync", "no")
	store := actions.NewStore(s.Client(b), actions.StoreOptions{})
	for i := 0; i < records; {
		for _, r := range life(i) {
			if _, err := note(b.Context(), store, shop42, "w", r); err != nil {
				b.Fatal(err)
			}
			i++
		}
	}
	for b.Loop() {
		if err := store.VerifyAudit(b.Context(), shop42); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
