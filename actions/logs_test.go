package actions_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

// aRun stores a run that is under way and takes its environment's lease.
func aRun(tb testing.TB, s *actions.Store, id string) *actions.Lease {
	tb.Helper()
	run := &actions.Run{ID: id, Order: actions.Order{Env: shop42, Verb: actions.VerbDeploy}, State: actions.RunRunning, StartedAt: time.Now()}
	if err := actions.PutRun(tb.Context(), s, run); err != nil {
		tb.Fatal(err)
	}
	l, err := s.Acquire(tb.Context(), shop42, "w", time.Hour)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func numbered(from, to int) []string {
	lines := make([]string, 0, to-from)
	for i := from; i < to; i++ {
		lines = append(lines, fmt.Sprint("line ", i))
	}
	return lines
}

// wantLines checks that a log is exactly these lines.
func wantLines(tb testing.TB, events []actions.Event, lines []string) {
	tb.Helper()
	if len(events) != len(lines) {
		tb.Fatalf("%d lines, want %d", len(events), len(lines))
	}
	for i, e := range events {
		if e.Text != lines[i] {
			tb.Fatalf("line %d is %q, want %q", i, e.Text, lines[i])
		}
	}
}

func TestALogIsReadOnAcrossItsChunks(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	s := actions.NewStore(rdb, actions.StoreOptions{})
	ctx := t.Context()
	l := aRun(t, s, "run1")
	lines := numbered(0, 1900)
	if err := actions.AppendLog(ctx, s, l, "run1", lines...); err != nil {
		t.Fatal(err)
	}
	stream, log := s.Key(shop42, "events:run1"), s.Key(shop42, "log:run1")
	if raw, chunks := rdb.XLen(ctx, stream).Val(), rdb.HLen(ctx, log).Val()-1; raw >= 750 || chunks < 2 {
		t.Fatalf("while it runs there are %d lines in the stream and %d chunks", raw, chunks)
	}
	before, err := readAll(ctx, s, "run1", 1000)
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, before, lines)
	if err := actions.Fold(ctx, s, shop42, "run1"); err != nil {
		t.Fatal(err)
	}
	if raw := rdb.XLen(ctx, stream).Val(); raw != 0 {
		t.Errorf("%d lines are not compressed", raw)
	}
	for _, page := range []int{1000, 500, 499, 77} {
		after, err := readAll(ctx, s, "run1", page)
		if err != nil {
			t.Fatal(err)
		}
		for i := range after {
			if after[i] != before[i] {
				t.Fatalf("page %d: event %d became %+v, was %+v", page, i, after[i], before[i])
			}
		}
		wantLines(t, after, lines)
	}
	for _, i := range []int{0, 498, 499, 500, 999, 1000, 1898} {
		next, err := s.Events(ctx, "run1", before[i].ID, 1, 0)
		if err != nil || len(next) != 1 || next[0] != before[i+1] {
			t.Errorf("after event %d comes %+v, %v", i, next, err)
		}
	}
	if rest, err := s.Events(ctx, "run1", before[1899].ID, 0, 0); err != nil || len(rest) != 0 {
		t.Errorf("after the last: %+v, %v", rest, err)
	}
	if err := actions.AppendLog(ctx, s, l, "run1", "one more"); err != nil {
		t.Fatal(err)
	}
	if rest, err := s.Events(ctx, "run1", before[1899].ID, 0, 0); err != nil || len(rest) != 1 || rest[0].Text != "one more" {
		t.Errorf("after it went on: %+v, %v", rest, err)
	}
}

func TestACutCountsTheLinesThatNeverCameToTheLog(t *testing.T) {
	t.Parallel()
	s := actions.NewStore(redistest.Client(t), actions.StoreOptions{})
	ctx := t.Context()
	l := aRun(t, s, "run1")
	for i := range 20 { // of each 600 lines, 100 are dropped
		if err := actions.AppendLog(ctx, s, l, "run1", numbered(i*600, i*600+500)...); err != nil {
			t.Fatal(err)
		}
		if err := actions.AppendDropped(ctx, s, l, "run1", 100); err != nil {
			t.Fatal(err)
		}
	}
	all, err := readAll(ctx, s, "run1", 1000)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, e := range all {
		said := 0
		if n, _ := fmt.Sscanf(e.Text, "… %d lines", &said); n == 1 {
			lines += said
		} else {
			lines++
		}
	}
	if len(all) > 6500 || lines != 20*600 {
		t.Errorf("%d events account for %d lines, want %d", len(all), lines, 20*600)
	}
}

// Readers that follow a log while two replicas compress it, one of which is
// fenced, see each line once and in order.
func TestReadersOfALogThatIsBeingCompressed(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	s, other := actions.NewStore(rdb, actions.StoreOptions{}), actions.NewStore(rdb, actions.StoreOptions{})
	ctx := t.Context()
	l := aRun(t, s, "run1")
	const total = 4_400 // less than what is cut
	var all sync.WaitGroup
	var written atomic.Bool
	for _, by := range []*actions.Store{s, other} {
		all.Go(func() {
			for !written.Load() {
				if err := actions.Fold(ctx, by, shop42, "run1"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for _, page := range []int{1000, 130} {
		all.Go(func() {
			seen, after := 0, ""
			for seen < total {
				events, err := other.Events(ctx, "run1", after, page, 10*time.Second)
				if err != nil || len(events) == 0 {
					t.Errorf("after %d lines: %v", seen, err)
					return
				}
				for _, e := range events {
					if want := fmt.Sprint("line ", seen); e.Text != want {
						t.Errorf("got %q, want %q", e.Text, want)
						return
					}
					seen++
				}
				after = events[len(events)-1].ID
			}
		})
	}
	for at := 0; at < total; at += 110 {
		if err := actions.AppendLog(ctx, s, l, "run1", numbered(at, at+110)...); err != nil {
			t.Fatal(err)
		}
	}
	written.Store(true)
	all.Wait()
	events, err := readAll(ctx, s, "run1", 1000)
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, events, numbered(0, total))
}

// lostReplies lets scripts with such an argument run, and then says that the
// connection broke, as when a worker dies between the two.
type lostReplies struct {
	has  string
	left int
}

func (h *lostReplies) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h *lostReplies) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *lostReplies) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if args := cmd.Args(); err == nil && h.left > 0 && len(args) > 4 && strings.Contains(fmt.Sprint(args[4]), h.has) {
			h.left--
			err = errors.New("the connection broke")
			cmd.SetErr(err)
		}
		return err
	}
}

func TestACrashWhileALogIsCompressedLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	o := redistest.Options(t)
	dying := redis.NewClient(o)
	t.Cleanup(func() { _ = dying.Close() })
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	dying.AddHook(&lostReplies{has: "log:run1", left: 1})
	doomed, heir := actions.NewStore(dying, actions.StoreOptions{}), actions.NewStore(rdb, actions.StoreOptions{})
	ctx := t.Context()
	l := aRun(t, heir, "run1")
	lines := numbered(0, 700)
	if err := actions.AppendLog(ctx, heir, l, "run1", lines...); err != nil {
		t.Fatal(err)
	}
	wantCode(t, actions.Fold(ctx, doomed, shop42, "run1"), actions.CodeUnavailable)
	if n := rdb.HLen(ctx, heir.Key(shop42, "log:run1")).Val(); n != 2 {
		t.Fatalf("the chunk that the worker died over is not there: %d fields", n)
	}
	for range 2 {
		if err := actions.Fold(ctx, heir, shop42, "run1"); err != nil {
			t.Fatal(err)
		}
		events, err := readAll(ctx, heir, "run1", 300)
		if err != nil {
			t.Fatal(err)
		}
		wantLines(t, events, lines)
	}
}

func TestAWriterThatIsFencedAddsNothingToALog(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	s := actions.NewStore(rdb, actions.StoreOptions{})
	ctx := t.Context()
	old := aRun(t, s, "run1")
	if err := actions.AppendLog(ctx, s, old, "run1", "before"); err != nil {
		t.Fatal(err)
	}
	rdb.Del(ctx, s.Key(shop42, "lease"))
	if _, err := s.Acquire(ctx, shop42, "w2", time.Hour); err != nil {
		t.Fatal(err)
	}
	wantCode(t, actions.AppendLog(ctx, s, old, "run1", numbered(0, 2000)...), actions.CodeFenced)
	events, err := readAll(ctx, s, "run1", 10)
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, events, []string{"before"})
}

func TestHostileLinesAreKeptAsTheyMayBeShown(t *testing.T) {
	t.Parallel()
	s := actions.NewStore(redistest.Client(t), actions.StoreOptions{})
	ctx := t.Context()
	l := aRun(t, s, "run1")
	lines := []string{"\xff\xfe\x00", strings.Repeat("\x01", 1<<20), strings.Repeat("é", 5000), "meta", "{\"e\":1}", "!first", ""}
	want := []string{"\uFFFD\x00", strings.Repeat("\x01", 4093) + "…", strings.Repeat("é", 2046) + "…", "meta", "{\"e\":1}", "!first", ""}
	for range 200 { // more than a chunk takes of such
		lines, want = append(lines, lines[1]), append(want, want[1])
	}
	if err := actions.AppendLog(ctx, s, l, "run1", lines...); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		events, err := readAll(ctx, s, "run1", 90)
		if err != nil {
			t.Fatal(err)
		}
		wantLines(t, events, want)
		if err := actions.Fold(ctx, s, shop42, "run1"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAChunkThatSomebodyWroteOverIsSaidSo(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	s := actions.NewStore(rdb, actions.StoreOptions{})
	ctx := t.Context()
	l := aRun(t, s, "run1")
	if err := actions.AppendLog(ctx, s, l, "run1", numbered(0, 1200)...); err != nil {
		t.Fatal(err)
	}
	all, err := readAll(ctx, s, "run1", 1000)
	if err != nil {
		t.Fatal(err)
	}
	log := s.Key(shop42, "log:run1")
	for _, bad := range []string{"", "\x01", "\x02abc", "nonsense"} {
		if err := rdb.HSet(ctx, log, all[499].ID, bad).Err(); err != nil {
			t.Fatal(err)
		}
		events, err := readAll(ctx, s, "run1", 1000)
		if err != nil || len(events) != 701 || !strings.Contains(events[0].Text, "500 lines cannot be read") || events[1].Text != "line 500" {
			t.Errorf("%q: %d events, first %+v, %v", bad, len(events), events[0], err)
		}
	}
}

func TestTheLogOfAnEndedRunIsCompressedAndExpires(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	s := actions.NewStore(rdb, actions.StoreOptions{Keep: func(string) actions.Keep { return actions.Keep{Logs: time.Hour} }})
	ctx := t.Context()
	end := func(id string, last string) {
		t.Helper()
		run := &actions.Run{ID: id, Order: actions.Order{Env: shop42, Verb: actions.VerbDeploy}, State: actions.RunSucceeded, StartedAt: time.Now(), EndedAt: time.Now()}
		if err := actions.PutRun(ctx, s, run, actions.Event{Kind: actions.EventRun, Text: last}); err != nil {
			t.Fatal(err)
		}
	}
	l := aRun(t, s, "run1")
	if err := actions.AppendLog(ctx, s, l, "run1", "a", "b"); err != nil {
		t.Fatal(err)
	}
	// The worker of another one dies before it comes to compressing.
	if err := l.Release(ctx); err != nil {
		t.Fatal(err)
	}
	left := aRun(t, s, "run0")
	if err := actions.AppendLog(ctx, s, left, "run0", "x"); err != nil {
		t.Fatal(err)
	}
	end("run1", "c")
	for id, want := range map[string][]string{"run1": {"a", "b", "c"}, "run0": {"x"}} {
		events, err := readAll(ctx, s, id, 1000)
		if err != nil {
			t.Fatal(err)
		}
		wantLines(t, events, want)
		if n := rdb.XLen(ctx, s.Key(shop42, "events:"+id)).Val(); n != 0 {
			t.Errorf("%d lines of %s are not compressed", n, id)
		}
	}
	for _, key := range []string{"events:run1", "log:run1"} {
		if ttl := rdb.TTL(ctx, s.Key(shop42, key)).Val(); ttl <= 0 || ttl > time.Hour {
			t.Errorf("%s is kept for %v", key, ttl)
		}
	}
}
