package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// lives gives shop/pr-1 a lifetime from monday on.
func (w *world) lives(ttl time.Duration) {
	w.add("shop/pr-1")
	w.edit(shop1, func(e *actions.Environment) {
		e.CreatedAt, e.UsedAt, e.TTL, e.ExpiresAt = monday, monday, ttl, monday.Add(ttl)
	})
}

func TestLifetimes(t *testing.T) {
	extended := func(by time.Duration) func(*actions.Environment) {
		return func(e *actions.Environment) { e.ExpiresAt = e.ExpiresAt.Add(by) }
	}
	tests := map[string]struct {
		ttl  time.Duration
		app  *actions.App
		at   time.Duration // when edit happens
		edit func(*actions.Environment)
		upTo time.Duration
		want []string
	}{
		"told twice, then taken": {
			ttl: 72 * time.Hour, upTo: 80 * time.Hour,
			want: []string{"18 11:5 shop/pr-1 will be cleaned up in 24 hours", "19 10:5 shop/pr-1 will be cleaned up in 1 hour", "19 12:0 cleanup shop/pr-1"},
		},
		"archived where the app says so": {
			ttl: 72 * time.Hour, upTo: 80 * time.Hour, app: &actions.App{Name: "shop", OnExpiry: actions.VerbArchive},
			want: []string{"18 11:5 shop/pr-1 will be archived in 24 hours", "19 10:5 shop/pr-1 will be archived in 1 hour", "19 12:0 archive shop/pr-1"},
		},
		"extended in between": {
			ttl: 72 * time.Hour, at: 71*time.Hour + 30*time.Minute, edit: extended(24 * time.Hour), upTo: 97 * time.Hour,
			want: []string{
				"18 11:5 shop/pr-1 will be cleaned up in 24 hours", "19 10:5 shop/pr-1 will be cleaned up in 1 hour", "19 11:5 shop/pr-1 will be cleaned up in 24 hours",
				"20 10:5 shop/pr-1 will be cleaned up in 1 hour", "20 12:0 cleanup shop/pr-1",
			},
		},
		"extended by a moment: it is warned anew, and waits": {
			ttl: 72 * time.Hour, at: 71*time.Hour + 40*time.Minute, edit: extended(10 * time.Minute), upTo: 80 * time.Hour,
			want: []string{
				"18 11:5 shop/pr-1 will be cleaned up in 24 hours", "19 10:5 shop/pr-1 will be cleaned up in 1 hour", "19 12:1 shop/pr-1 will be cleaned up in 1 hour", "19 13:1 cleanup shop/pr-1",
			},
		},
		"kept": {
			ttl: 72 * time.Hour, at: 71 * time.Hour, edit: func(e *actions.Environment) { e.Keep, e.ExpiresAt = true, time.Time{} }, upTo: 200 * time.Hour,
			want: []string{"18 11:5 shop/pr-1 will be cleaned up in 24 hours", "19 10:5 shop/pr-1 will be cleaned up in 1 hour"},
		},
		"locked": {
			ttl: 72 * time.Hour, at: 71*time.Hour + 30*time.Minute, edit: func(e *actions.Environment) { e.Lock = &actions.Lock{By: "ana"} }, upTo: 200 * time.Hour,
			want: []string{"18 11:5 shop/pr-1 will be cleaned up in 24 hours", "19 10:5 shop/pr-1 will be cleaned up in 1 hour"},
		},
		"in the middle of an action": {
			ttl: 72 * time.Hour, at: 71*time.Hour + 30*time.Minute, edit: func(e *actions.Environment) { e.State, e.RunID = actions.StateUpdatePending, "run" }, upTo: 200 * time.Hour,
			want: []string{"18 11:5 shop/pr-1 will be cleaned up in 24 hours", "19 10:5 shop/pr-1 will be cleaned up in 1 hour"},
		},
		"a brief life was asked for, and needs no warning": {
			ttl: 30 * time.Minute, upTo: 3 * time.Hour, want: []string{"16 12:3 cleanup shop/pr-1"},
		},
		"a little longer one is warned of once": {
			ttl: 65 * time.Minute, upTo: 3 * time.Hour, want: []string{"16 12:0 shop/pr-1 will be cleaned up in 1 hour", "16 13:0 cleanup shop/pr-1"},
		},
		"a day asked for is warned of an hour before": {
			ttl: 24 * time.Hour, upTo: 30 * time.Hour, want: []string{"17 10:5 shop/pr-1 will be cleaned up in 1 hour", "17 12:0 cleanup shop/pr-1"},
		},
		"a brief one that was extended by much is warned of": {
			ttl: 30 * time.Minute, at: 20 * time.Minute, edit: extended(5 * time.Hour), upTo: 8 * time.Hour,
			want: []string{"16 16:2 shop/pr-1 will be cleaned up in 1 hour", "16 17:3 cleanup shop/pr-1"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestWorld(t, monday)
			w.every = time.Minute
			if test.app != nil {
				w.apps = []*actions.App{test.app}
			}
			w.lives(test.ttl)
			s, token := w.scheduler(t, nil), w.lead(t)
			if test.edit != nil {
				w.until(t, s, token, monday.Add(test.at))
				w.edit(shop1, test.edit)
			}
			w.until(t, s, token, monday.Add(test.upTo))
			var got []string
			for _, line := range append(w.said(bot.EventExpiring), w.made()...) {
				got = append(got, line[:7]+line[8:]) // to within ten minutes
			}
			wantLines(t, "what happened", got, test.want...)
		})
	}
}

func TestWhatIsUnlockedIsWarnedAnew(t *testing.T) {
	w := newTestWorld(t, monday)
	w.lives(72 * time.Hour)
	s, token := w.scheduler(t, nil), w.lead(t)
	w.until(t, s, token, monday.Add(71*time.Hour+30*time.Minute))
	w.edit(shop1, func(e *actions.Environment) { e.Lock = &actions.Lock{By: "ana"} })
	w.until(t, s, token, monday.Add(100*time.Hour))
	w.edit(shop1, func(e *actions.Environment) { e.Lock = nil })
	w.until(t, s, token, monday.Add(100*time.Hour+50*time.Minute))
	if len(w.requests) != 0 || len(w.said(bot.EventExpiring)) != 3 {
		t.Fatalf("it was told %q and asked for %q", w.said(bot.EventExpiring), w.made())
	}
	w.until(t, s, token, monday.Add(101*time.Hour+10*time.Minute))
	if len(w.requests) != 1 {
		t.Errorf("after the warning it was asked for %q", w.made())
	}
}

func TestWhatWasNotTakenIsToldAndAskedForTheNextDay(t *testing.T) {
	w := newTestWorld(t, monday)
	w.open = true
	w.lives(72 * time.Hour)
	s, token := w.scheduler(t, nil), w.lead(t)
	w.until(t, s, token, monday.Add(72*time.Hour+30*time.Minute))
	if len(w.requests) != 1 {
		t.Fatalf("it was asked for %q", w.made())
	}
	w.end(w.requests[0].r.ID, approvals.StateFailed, actions.CodeDownstream, "The cluster did not answer.")
	w.until(t, s, token, monday.Add(95*time.Hour))
	if told := w.said(bot.EventNotTaken); len(w.requests) != 1 || len(told) != 1 || !strings.HasSuffix(told[0], "shop/pr-1 was not cleaned up") {
		t.Fatalf("it was told %q and asked for %q", told, w.made())
	}
	if n := w.notices[len(w.notices)-1]; !strings.Contains(n.Text, "that failed: The cluster did not answer") || !strings.Contains(n.Text, "tomorrow") {
		t.Errorf("the notice says %q", n.Text)
	}
	// The next day it is asked for anew, and denied.
	w.until(t, s, token, monday.Add(97*time.Hour))
	if len(w.requests) != 2 {
		t.Fatalf("it was asked for %q", w.made())
	}
	w.end(w.requests[1].r.ID, approvals.StateDenied, "", "ben said no.")
	w.until(t, s, token, monday.Add(98*time.Hour))
	if told := w.said(bot.EventNotTaken); len(told) != 2 {
		t.Errorf("it was told %q", told)
	}
	// What was withdrawn, or not possible any more, is no news.
	for i, state := range []approvals.State{approvals.StateCancelled, approvals.StateRefused} {
		w.until(t, s, token, monday.Add(time.Duration(122+24*i)*time.Hour))
		if len(w.requests) != 3+i {
			t.Fatalf("it was asked for %q", w.made())
		}
		w.end(w.requests[2+i].r.ID, state, actions.CodeConflict, "shop/pr-1 is locked.")
		w.until(t, s, token, monday.Add(time.Duration(123+24*i)*time.Hour))
		if told := w.said(bot.EventNotTaken); len(told) != 2 {
			t.Errorf("it was told %q", told)
		}
	}
}

// TestARequestThatWaitsIsWithdrawn holds that somebody's word counts also while
// others still have to agree.
func TestARequestThatWaitsIsWithdrawn(t *testing.T) {
	tests := map[string]struct {
		list []Schedule
		edit func(*actions.Environment)
		want bool
	}{
		"nothing changed":                  {},
		"its life was extended":            {edit: func(e *actions.Environment) { e.ExpiresAt = monday.Add(100 * time.Hour) }, want: true},
		"it is kept":                       {edit: func(e *actions.Environment) { e.Keep, e.ExpiresAt = true, time.Time{} }, want: true},
		"it was archived":                  {edit: func(e *actions.Environment) { e.State, e.ExpiresAt = actions.StateArchived, time.Time{} }, want: true},
		"used, though idle was the reason": {list: []Schedule{nightly}, edit: func(e *actions.Environment) { e.UsedAt = monday.Add(40 * time.Hour) }, want: true},
		"idle as before":                   {list: []Schedule{nightly}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestWorld(t, monday)
			w.open = true
			w.lives(30 * time.Hour)
			if test.list != nil {
				w.edit(shop1, func(e *actions.Environment) {
					e.CreatedAt, e.UsedAt, e.ExpiresAt, e.TTL = monday.Add(-200*time.Hour), monday.Add(-200*time.Hour), time.Time{}, 0
				})
			}
			s, token := w.scheduler(t, nil, test.list...), w.lead(t)
			w.until(t, s, token, monday.Add(40*time.Hour))
			if len(w.requests) != 1 {
				t.Fatalf("it was asked for %q", w.made())
			}
			if test.edit != nil {
				w.edit(shop1, test.edit)
			}
			w.until(t, s, token, monday.Add(40*time.Hour+10*time.Minute))
			r := w.requests[0].r
			if got := r.State == approvals.StateCancelled; got != test.want {
				t.Errorf("the request is %s: %s", r.State, r.Reason)
			}
		})
	}
}

// TestSweepCostGrowsWithWhatIsDue counts the records that are read.
func TestSweepCostGrowsWithWhatIsDue(t *testing.T) {
	w := newTestWorld(t, monday)
	for i := range 2000 {
		w.add(fmt.Sprintf("shop/e-%d", i))
		if i%2 == 0 {
			w.edit(actions.Name{App: "shop", Env: fmt.Sprintf("e-%d", i)}, func(e *actions.Environment) {
				e.UsedAt, e.TTL, e.ExpiresAt = monday, 25*24*time.Hour, monday.Add(25*24*time.Hour)
			})
		}
	}
	s, token := w.scheduler(t, nil, nightly), w.lead(t)
	w.rest(t, s, token)
	w.reads = 0
	w.until(t, s, token, monday.Add(6*time.Hour))
	if w.reads != 0 {
		t.Errorf("while nothing is due %d records were read", w.reads)
	}
	w.edit(shop1, func(e *actions.Environment) {
		e.State, e.CreatedAt, e.UsedAt, e.TTL, e.ExpiresAt = actions.StateRunning, monday, monday, 30*time.Minute, monday.Add(6*time.Hour+time.Minute)
	})
	w.until(t, s, token, monday.Add(6*time.Hour+30*time.Minute))
	if w.reads > 20 {
		t.Errorf("for one that is due %d records were read", w.reads)
	}
}

// TestManyAtOnce holds that no more than so many requests are made in a second.
func TestManyAtOnce(t *testing.T) {
	w := newTestWorld(t, monday)
	for i := range 500 {
		w.add(fmt.Sprintf("shop/e-%d", i))
	}
	w.add("blog/pr-1")
	s, token := w.scheduler(t, nil,
		Schedule{Name: "big", Cron: "0 13 * * *", Verb: actions.VerbRestart, Apps: []string{"shop"}},
		Schedule{Name: "small", Cron: "0 13 * * *", Verb: actions.VerbRestart, Apps: []string{"blog"}},
	), w.lead(t)
	s.o.PerSecond = 20
	w.until(t, s, token, monday.Add(90*time.Minute))
	seconds := map[time.Time]int{}
	small := -1
	for i, a := range w.requests {
		seconds[a.at.Truncate(time.Second)]++
		if a.r.Place.ID == "small" {
			small = i
		}
	}
	for second, n := range seconds {
		if n > 20 {
			t.Errorf("%d requests at %v", n, second)
		}
	}
	if len(w.requests) != 501 || small < 0 || small > pageSize {
		t.Errorf("%d requests, the small schedule's as number %d", len(w.requests), small)
	}
}
