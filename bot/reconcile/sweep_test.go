package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

func TestAClosedPullRequestWhoseWebhookWasLostIsCleanedUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	env, open := w.deploy("pr-7", ""), w.deploy("pr-8", "")
	w.pulls.open = []int{8}
	w.pulls.close(7, w.now())
	report := w.sweep()
	if !slices.Equal(report.Asked, []string{"shop/pr-7"}) || report.Closed != 1 || w.pulls.looks != 1 {
		t.Errorf("report = %+v, %d looks", report, w.pulls.looks)
	}
	if n := len(w.cleanups(env)); n != 1 || len(w.cleanups(open)) != 0 {
		t.Fatalf("%d cleanups were asked for", n)
	}
	w.later(10 * time.Minute)
	if report := w.sweep(); len(report.Asked) != 0 || len(w.cleanups(env)) != 1 {
		t.Errorf("it is asked for again while it is under way: %+v", report)
	}
}

// A record that was spoilt keeps what is its environment's, and nothing else.
func TestARecordThatCannotBeReadStopsNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Orphans = OrphansCleanup })
	spoilt, closed := w.deploy("pr-7", ""), w.deploy("pr-8", "")
	w.pulls.close(7, w.now())
	w.pulls.close(8, w.now())
	w.rdb.Set(t.Context(), w.store.Key(spoilt, "env"), "nonsense", 0)
	for range 3 {
		w.sweep()
		w.later(10 * time.Minute)
	}
	if report := w.sweep(); report.Orphans != 0 || !slices.Contains(report.Unseen, "record of shop/pr-7") {
		t.Errorf("report = %+v", report)
	}
	if len(w.cleanups(closed)) != 1 || len(w.cleanups(spoilt)) != 0 {
		t.Errorf("%d cleanups of the other, %d of the spoilt one", len(w.cleanups(closed)), len(w.cleanups(spoilt)))
	}
	if n := len(w.told.of(bot.EventUnreachable)); n != 1 {
		t.Errorf("it was told %d times", n)
	}
}

func TestACleanupThatEndedWithoutOneIsAskedForAgainDaily(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	env := w.deploy("pr-7", "")
	w.pulls.close(7, w.now())
	w.later(time.Minute)
	w.sweep()
	w.cancel(w.cleanups(env)[0])
	for _, step := range []struct {
		after time.Duration
		want  int
		what  string
	}{
		{10 * time.Minute, 1, "ten minutes later nothing is asked"},
		{23 * time.Hour, 1, "nor within a day"},
		{2 * time.Hour, 2, "a day later it is"},
		{10 * time.Minute, 2, "and that once"},
	} {
		w.later(step.after)
		w.sweep()
		if n := len(w.cleanups(env)); n != step.want {
			t.Fatalf("%s: %d cleanups, want %d", step.what, n, step.want)
		}
	}
}

func TestWhatSomebodyWantsAfterItsPullRequestsEndStays(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		verb  actions.Verb
		after time.Duration
		asked int
	}{
		"a deploy long after the end says that it is wanted": {actions.VerbDeploy, time.Hour, 0},
		"so does an extend": {actions.VerbExtend, time.Hour, 0},
		"a deploy that crossed the end on the way does not": {actions.VerbDeploy, time.Second, 1},
		"an archive does not":                               {actions.VerbArchive, time.Hour, 1},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			env := w.deploy("pr-7", "")
			w.pulls.close(7, w.now())
			w.later(tt.after)
			_, _, err := w.requests.Submit(t.Context(), approvals.Request{
				Order: actions.Order{Env: env, Verb: tt.verb, By: "ana"}, Command: "x", Requester: approvals.Requester{Actor: "ana", Identity: "token:ana"}, Place: approvals.Place{Surface: "cli"},
			})
			w.must(err)
			w.later(time.Hour)
			w.sweep()
			if n := len(w.cleanups(env)); n != tt.asked {
				t.Errorf("%d cleanups were asked for, want %d", n, tt.asked)
			}
		})
	}
}

func TestNothingIsTakenAwayOnAnAnswerThatIsNone(t *testing.T) {
	t.Parallel()
	hidden := actions.Errorf("x", actions.CodeNotFound, "It is hidden.")
	for what, tt := range map[string]struct {
		change  func(*world)
		asked   []string
		stopped []string
		unseen  []string
	}{
		"a list that is empty proves nothing": {func(w *world) { w.pulls.closed = nil }, nil, nil, nil},
		"a list that fails stops the repository": {
			func(w *world) { w.pulls.listErr = errors.New("500") }, nil, nil, []string{"acme/shop"},
		},
		"one that is hidden stays, and says nothing of the others": {
			func(w *world) { w.pulls.fails[7] = hidden }, []string{"shop/pr-8"}, nil, nil,
		},
		"an error stops those that were seen, too": {
			func(w *world) { w.pulls.fails[9] = errors.New("502") }, nil, []string{"shop/pr-7", "shop/pr-8"}, []string{"acme/shop"},
		},
		"a closing without a time is none": {
			func(w *world) { w.pulls.closed[7] = time.Time{} }, []string{"shop/pr-8"}, nil, nil,
		},
		"a cluster that cannot be seen keeps what is in it": {
			func(w *world) { w.things.fail("eu", errors.New("refused")) }, []string{"shop/pr-7"}, []string{"shop/pr-8"}, []string{"cluster eu"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.deploy("pr-7", "staging")
			w.deploy("pr-8", "eu")
			w.deploy("pr-9", "staging")
			w.pulls.close(7, w.now())
			w.pulls.close(8, w.now())
			tt.change(w)
			for range 3 {
				w.later(time.Minute)
				report := w.sweep()
				if len(report.Asked) > 0 && !slices.Equal(report.Asked, tt.asked) || !slices.Equal(report.Stopped, tt.stopped) || !slices.Equal(report.Unseen, tt.unseen) {
					t.Errorf("report = %+v", report)
				}
			}
			for _, name := range []string{"pr-7", "pr-8", "pr-9"} {
				want := 0
				if slices.Contains(tt.asked, "shop/"+name) {
					want = 1
				}
				if n := len(w.cleanups(actions.Name{App: "shop", Env: name})); n != want {
					t.Errorf("%s: %d cleanups, want %d", name, n, want)
				}
			}
			if n := len(w.told.of(bot.EventStopped)); n != min(1, len(tt.stopped)) {
				t.Errorf("people were told %d times that something was stopped", n)
			}
			if n := len(w.told.of(bot.EventUnreachable)); n != len(tt.unseen) {
				t.Errorf("people were told %d times of what cannot be seen", n)
			}
		})
	}
}

func TestMoreDeletionsThanAllowedAreNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.MaxDeletions = 2 })
	for i := 1; i <= 3; i++ {
		w.deploy(fmt.Sprintf("pr-%d", i), "")
		w.pulls.close(i, w.now())
	}
	for range 5 {
		w.later(10 * time.Minute)
		if report := w.sweep(); len(report.Asked) != 0 || len(report.Stopped) != 3 {
			t.Fatalf("report = %+v", report)
		}
	}
	stopped := w.told.of(bot.EventStopped)
	if len(stopped) != 1 {
		t.Fatalf("people were told %d times", len(stopped))
	}
	for _, want := range []string{"shop/pr-1", "shop/pr-2", "shop/pr-3", "max_deletions", "is closed since"} {
		if !strings.Contains(stopped[0].Text, want) {
			t.Errorf("the notice does not say %q:\n%s", want, stopped[0].Text)
		}
	}
	w.later(24 * time.Hour)
	w.sweep()
	if n := len(w.told.of(bot.EventStopped)); n != 2 {
		t.Errorf("a day later people were told %d times in all, want 2", n)
	}
	w.o.MaxDeletions = 3
	if report := w.sweep(); len(report.Asked) != 3 {
		t.Errorf("once they are allowed: %+v", report)
	}
}

func TestOrphansAreReportedOnceAndCleanedUpOnlyWhenTheyStay(t *testing.T) {
	t.Parallel()
	left := actions.Owned{Env: actions.Name{App: "shop", Env: "old"}, Part: "web", Use: "things", Kind: "Thing", Name: "web", Namespace: "shop-old"}
	for _, mode := range []string{OrphansReport, OrphansCleanup} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(o *Options) { o.Orphans = mode })
			w.deploy("pr-1", "staging")
			w.things.add("eu", left)
			for range 3 { // within ten minutes
				if report := w.sweep(); report.Orphans != 1 || len(report.Asked) != 0 {
					t.Fatalf("report = %+v", report)
				}
				w.later(4 * time.Minute)
			}
			report := w.sweep()
			if n := len(w.told.of(bot.EventOrphan)); n != 1 {
				t.Errorf("people were told %d times", n)
			}
			if mode == OrphansReport {
				if len(report.Asked) != 0 || len(w.cleanups(left.Env)) != 0 {
					t.Errorf("report = %+v", report)
				}
				return
			}
			if !slices.Equal(report.Asked, []string{"shop/old"}) {
				t.Fatalf("report = %+v", report)
			}
			env, err := w.store.Environment(t.Context(), left.Env)
			w.must(err)
			if env.State != actions.StateFailure || env.Cluster != "eu" || env.Namespace != "shop-old" {
				t.Errorf("the record is %+v", env)
			}
			w.later(10 * time.Minute)
			w.sweep()
			ids := w.cleanups(left.Env)
			if len(ids) != 1 {
				t.Fatalf("%d cleanups were asked for", len(ids))
			}
			w.cancel(ids[0])
			w.later(25 * time.Hour)
			w.sweep()
			if n := len(w.cleanups(left.Env)); n != 2 {
				t.Errorf("a day after it was cancelled there are %d cleanups", n)
			}
			w.run(actions.Order{Env: left.Env, Verb: actions.VerbCleanup, By: "berth"})
			w.later(10 * time.Minute)
			if report := w.sweep(); report.Orphans != 0 {
				t.Errorf("once it is gone: %+v", report)
			}
		})
	}
}

func TestAnOrphanThatCannotBeSeenIsNeitherGoneNorOlder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Orphans = OrphansCleanup })
	name := actions.Name{App: "shop", Env: "old"}
	w.things.add("eu", actions.Owned{Env: name, Part: "web", Use: "things", Kind: "Thing", Name: "web"})
	w.sweep()
	w.things.fail("eu", errors.New("refused"))
	w.later(time.Hour)
	if report := w.sweep(); len(report.Asked) != 0 || !slices.Equal(report.Unseen, []string{"cluster eu"}) {
		t.Errorf("report = %+v", report)
	}
	w.things.fail("eu", nil)
	w.later(time.Minute)
	if report := w.sweep(); !slices.Equal(report.Asked, []string{"shop/old"}) || len(w.told.of(bot.EventOrphan)) != 1 {
		t.Errorf("report = %+v", report)
	}
}

func TestAClusterThatHangsHoldsUpNobodyAndIsNotEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Orphans, o.InventoryWithin = OrphansCleanup, 2*time.Second })
	w.things.add("staging", actions.Owned{Env: actions.Name{App: "shop", Env: "old"}, Use: "things", Kind: "Thing", Name: "web"})
	w.things.add("eu", actions.Owned{Env: actions.Name{App: "shop", Env: "older"}, Use: "things", Kind: "Thing", Name: "web"})
	w.sweep()
	w.things.mu.Lock()
	w.things.hangs = map[string]bool{"eu": true}
	w.things.mu.Unlock()
	w.later(11 * time.Minute)
	begun := time.Now()
	report := w.sweep()
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("it took %v", took)
	}
	if !slices.Equal(report.Asked, []string{"shop/old"}) || report.Orphans != 1 {
		t.Errorf("report = %+v", report)
	}
}

func TestDriftIsToldOnceForEachChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	env := w.deploy("pr-1", "")
	say := func(drift ...string) {
		t.Helper()
		w.eyes.set(env, actions.Observation{Health: actions.Healthy, Drift: drift})
		for range 2 {
			w.later(10 * time.Minute)
			w.sweep()
		}
	}
	for i, step := range []struct {
		drift []string
		told  int
	}{{nil, 0}, {[]string{"replicas: 3, want 1"}, 1}, {[]string{"replicas: 4, want 1"}, 2}, {nil, 2}, {[]string{"replicas: 3, want 1"}, 3}} {
		say(step.drift...)
		if n := len(w.told.of(bot.EventDrifted)); n != step.told {
			t.Fatalf("step %d: people were told %d times, want %d", i, n, step.told)
		}
	}
	record, err := w.store.Environment(t.Context(), env)
	w.must(err)
	if !slices.Equal(record.Parts["web"].Drift, []string{"replicas: 3, want 1"}) {
		t.Errorf("the record says %q", record.Parts["web"].Drift)
	}
	w.eyes.set(env, actions.Observation{Health: actions.Unknown})
	w.later(10 * time.Minute)
	w.sweep()
	if again, _ := w.store.Environment(t.Context(), env); len(again.Parts["web"].Drift) != 1 {
		t.Error("what could not be seen is taken for no drift")
	}
}

func TestLooksGoRoundAndTheirNumberIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.ObserveMost = 2 })
	var envs []actions.Name
	for i := range 6 {
		env := w.deploy(fmt.Sprintf("pr-%d", i+1), "")
		w.eyes.set(env, actions.Observation{Health: actions.Healthy})
		envs = append(envs, env)
	}
	for range 3 {
		w.later(10 * time.Minute)
		if report := w.sweep(); report.Observed != 2 {
			t.Errorf("report = %+v", report)
		}
	}
	if got := names(w.eyes.looked); !slices.Equal(got, names(envs)) {
		t.Errorf("looked at %v", got)
	}
}

func TestWhatHangsIsSettled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	env := w.deploy("pr-1", "")
	key := w.store.Key(env, "env")
	text := w.rdb.Get(t.Context(), key).Val()
	w.must(w.rdb.Set(t.Context(), key, strings.Replace(text, `"state":"Running"`, `"state":"UpdatePending"`, 1), 0).Err())
	if report := w.sweep(); report.Settled != 0 {
		t.Errorf("at once: %+v", report)
	}
	w.later(3 * time.Minute)
	if report := w.sweep(); report.Settled != 1 || len(w.eyes.settled) != 1 {
		t.Errorf("later: %+v", report)
	}
}

func TestOneReplicaSweepsAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	lease, err := w.store.Acquire(t.Context(), leaderName, "other", time.Minute)
	w.must(err)
	if _, err := w.Sweep(t.Context()); actions.CodeOf(err) != actions.CodeConflict {
		t.Errorf("Sweep beside another's = %v", err)
	}
	w.must(lease.Release(t.Context()))
	w.sweep()
	if due, err := w.due(t.Context()); due || err != nil {
		t.Errorf("due right after a sweep: %v, %v", due, err)
	}
	w.later(10 * time.Minute)
	if due, err := w.due(t.Context()); !due || err != nil {
		t.Errorf("due ten minutes later: %v, %v", due, err)
	}
	// One that was paused for long writes nothing over what its successor wrote.
	if err := w.state.set(t.Context(), lease.Token, fieldMended, "1"); actions.CodeOf(err) != actions.CodeFenced {
		t.Errorf("writing with an old token = %v", err)
	}
}
