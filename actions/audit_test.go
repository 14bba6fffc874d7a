package actions_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

var (
	shop42 = actions.Name{App: "shop", Env: "pr-42"}

	// noteScript remembers a word and how often it was told to.
	noteScript = actions.NewScript(`
if A[1] == 'nothing' then return 'unchanged' end
audit()
redis.call('SET', K[1], A[1])
return {A[1], redis.call('INCR', K[2])}`)
)

func note(ctx context.Context, s *actions.Store, env actions.Name, word string, rec actions.Record) (any, error) {
	return s.Exec(ctx, env, noteScript, []string{s.Key(env, "word"), s.Key(env, "count")}, []any{word}, rec)
}

func TestAChangeAndItsAuditRecordAreOne(t *testing.T) {
	ctx, rdb := t.Context(), redistest.Client(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("x", 3600))
	s := actions.NewStore(rdb, actions.StoreOptions{Now: func() time.Time { return at }})

	got, err := note(ctx, s, shop42, "hello", actions.Record{Kind: "word.set", Actor: "ana", RequestID: "r1", Detail: map[string]string{"bad": "\xff<x>", "long": strings.Repeat("é", 600)}})
	if err != nil || fmt.Sprint(got) != "[hello 1]" {
		t.Fatalf("Exec = %v, %v", got, err)
	}
	if got, err := note(ctx, s, shop42, "nothing", actions.Record{Kind: "word.set"}); err != nil || got != "unchanged" {
		t.Fatalf("Exec = %v, %v", got, err)
	}
	if _, err := note(ctx, s, shop42, "bye", actions.Record{Kind: "word.set", Actor: "ben"}); err != nil {
		t.Fatal(err)
	}
	records, err := s.Audit(ctx, shop42, 0, 0)
	if err != nil || len(records) != 2 {
		t.Fatalf("Audit = %v, %v; want two records", records, err)
	}
	first, second := records[0], records[1]
	if first.Seq != 1 || first.Prev != "" || second.Seq != 2 || second.Prev != first.Hash || first.Env != shop42 || !first.Time.Equal(at) || first.Time.Location() != time.UTC {
		t.Errorf("chain is %+v", records)
	}
	if len(first.Detail["long"]) > 512 || !strings.HasSuffix(first.Detail["long"], "…") || first.Detail["bad"] != "\uFFFD<x>" {
		t.Errorf("detail is %q", first.Detail)
	}
	if err := s.VerifyAudit(ctx, shop42); err != nil {
		t.Errorf("VerifyAudit: %v", err)
	}
	if later, err := s.Audit(ctx, shop42, 1, 10); err != nil || len(later) != 1 || later[0].Actor != "ben" {
		t.Errorf("Audit after 1 = %v, %v", later, err)
	}
	var changes []actions.Change // a hint is published soon after its change
	for last := ""; len(changes) < 2; last = changes[len(changes)-1].ID {
		more, err := s.Changes(ctx, last, 10*time.Second)
		if err != nil || len(more) == 0 {
			t.Fatalf("Changes = %+v, %v; want one for each change made", more, err)
		}
		changes = append(changes, more...)
	}
	if len(changes) != 2 || changes[0].Env != shop42 || changes[0].RequestID != "r1" {
		t.Errorf("Changes = %+v; want one for each change made", changes)
	}
}

func TestManyWritersKeepOneChain(t *testing.T) {
	t.Parallel()
	ctx, o := t.Context(), redistest.Options(t)
	const replicas, writers, each = 3, 8, 10
	var wg sync.WaitGroup
	var main *actions.Store
	for range replicas {
		rdb := redis.NewClient(o)
		t.Cleanup(func() { _ = rdb.Close() })
		s := actions.NewStore(rdb, actions.StoreOptions{})
		main = s
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					if _, err := note(ctx, s, shop42, fmt.Sprint(w, i), actions.Record{Kind: "word.set"}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if err := main.VerifyAudit(ctx, shop42); err != nil {
		t.Error(err)
	}
	records, err := main.Audit(ctx, shop42, 0, 1000)
	if err != nil || len(records) != replicas*writers*each {
		t.Errorf("%d records, %v", len(records), err)
	}
}

// lostReply lets a script run and then pretends that its reply was lost, which
// makes the client run it again.
type lostReply struct{ left int }

func (h *lostReply) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h *lostReply) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if h.left > 0 && err == nil && slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return cmd.Name() == "evalsha" }) {
			h.left--
			return next(ctx, cmds)
		}
		return err
	}
}

func (h *lostReply) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if h.left > 0 && cmd.Name() == "evalsha" && err == nil {
			h.left--
			return next(ctx, cmd)
		}
		return err
	}
}

func TestAScriptThatTheClientRepeatsChangesOnce(t *testing.T) {
	ctx, rdb := t.Context(), redistest.Client(t)
	s := actions.NewStore(rdb, actions.StoreOptions{})
	if _, err := note(ctx, s, shop42, "warm", actions.Record{Kind: "word.set"}); err != nil {
		t.Fatal(err)
	}
	rdb.AddHook(&lostReply{left: 1})
	got, err := note(ctx, s, shop42, "twice", actions.Record{Kind: "word.set"})
	if err != nil || fmt.Sprint(got) != "[twice 2]" {
		t.Fatalf("Exec = %v, %v; want the first run's answer", got, err)
	}
	if records, _ := s.Audit(ctx, shop42, 0, 0); len(records) != 2 {
		t.Errorf("%d records; want 2", len(records))
	}
}

func TestTamperingShows(t *testing.T) {
	rdb := redistest.Client(t)
	s := actions.NewStore(rdb, actions.StoreOptions{})
	key := s.Key(shop42, "audit")
	rapid.Check(t, func(rt *rapid.T) {
		ctx := t.Context()
		rdb.FlushDB(ctx)
		s := actions.NewStore(rdb, actions.StoreOptions{})
		n := rapid.IntRange(1, 12).Draw(rt, "records")
		for i := range n {
			if _, err := note(ctx, s, shop42, "w", actions.Record{Kind: "word.set", Actor: fmt.Sprint("actor ", i)}); err != nil {
				rt.Fatal(err)
			}
		}
		if err := s.VerifyAudit(ctx, shop42); err != nil {
			rt.Fatalf("untouched: %v", err)
		}
		all := rdb.LRange(ctx, key, 0, -1).Val()
		at := rapid.IntRange(0, n-1).Draw(rt, "at")
		want := int64(at + 1)
		switch rapid.SampledFrom([]string{"change", "swap", "remove", "insert", "truncate", "rehash", "head"}).Draw(rt, "tamper") {
		case "change":
			all[at] = strings.Replace(all[at], "actor", "hacker", 1)
		case "swap":
			if n == 1 {
				rt.Skip("nothing to swap")
			}
			other := rapid.IntRange(0, n-1).Filter(func(i int) bool { return i != at }).Draw(rt, "with")
			all[at], all[other] = all[other], all[at]
			want = int64(min(at, other) + 1)
		case "remove":
			all = append(all[:at:at], all[at+1:]...)
		case "insert":
			all = append(all[:at:at], append([]string{all[at]}, all[at:]...)...)
			want++
		case "truncate":
			all = all[:at]
		case "rehash":
			var r actions.Record
			if err := json.Unmarshal([]byte(all[at]), &r); err != nil {
				rt.Fatal(err)
			}
			r.Actor = "hacker"
			all[at] = rehash(rt, r)
		case "head":
			rdb.Del(ctx, s.Key(shop42, "audit:head"))
			want = int64(n)
		}
		rdb.Del(ctx, key)
		for _, text := range all {
			rdb.RPush(ctx, key, text)
		}
		err := s.VerifyAudit(ctx, shop42)
		b, ok := errors.AsType[*actions.AuditBreak](err)
		if !ok || b.Seq != want {
			rt.Fatalf("VerifyAudit = %v; want a break at record %d", err, want)
		}
	})
}

func rehash(rt *rapid.T, r actions.Record) string {
	text, err := actions.Rehash(r)
	if err != nil {
		rt.Fatal(err)
	}
	return text
}
