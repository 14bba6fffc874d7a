package schedule

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

var (
	shop1 = actions.Name{App: "shop", Env: "pr-1"}
	shop2 = actions.Name{App: "shop", Env: "pr-2"}
)

// nightly cleans up at 02:00 what nobody used for three days.
var nightly = Schedule{Name: "nightly", Cron: "0 2 * * *", Verb: actions.VerbCleanup, Where: idle(72 * time.Hour), Reason: "unused previews cost money"}

func TestWhatATickTakesIsWarnedOf(t *testing.T) {
	// The tick is on Wednesday at 02:00: an environment that was used on Sunday at
	// 01:00 is idle for long enough then, and not the night before.
	sunday := time.Date(2026, 11, 15, 1, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		edit func(*actions.Environment) // on Wednesday at 00:30, between the warnings
		late func(*actions.Environment) // at 01:30, after both
		want []string                   // what was told, then what was asked for
		// notes is how many are left of whom was warned: none, unless another tick is
		// about it.
		notes int64
	}{
		"told twice, then taken": {
			want: []string{"17 01:58 shop/pr-1 will be cleaned up in 24 hours", "18 00:58 shop/pr-1 will be cleaned up in 1 hour", "18 02:00 cleanup shop/pr-1"},
		},
		"used in between": {
			edit: func(e *actions.Environment) { e.UsedAt = time.Date(2026, 11, 18, 0, 30, 0, 0, time.UTC) },
			want: []string{"17 01:58 shop/pr-1 will be cleaned up in 24 hours"},
		},
		"kept in between": {
			edit: func(e *actions.Environment) { e.Keep = true },
			want: []string{"17 01:58 shop/pr-1 will be cleaned up in 24 hours"},
		},
		"locked in between": {
			edit: func(e *actions.Environment) { e.Lock = &actions.Lock{By: "ana"} },
			want: []string{"17 01:58 shop/pr-1 will be cleaned up in 24 hours"},
		},
		"used in the last moment": {
			late: func(e *actions.Environment) { e.UsedAt = time.Date(2026, 11, 18, 1, 30, 0, 0, time.UTC) },
			want: []string{"17 01:58 shop/pr-1 will be cleaned up in 24 hours", "18 00:58 shop/pr-1 will be cleaned up in 1 hour"},
		},
		"locked in the last moment": {
			late: func(e *actions.Environment) { e.Lock = &actions.Lock{By: "ana"} },
			want: []string{"17 01:58 shop/pr-1 will be cleaned up in 24 hours", "18 00:58 shop/pr-1 will be cleaned up in 1 hour"},
		},
		"in the middle of an action": {
			late: func(e *actions.Environment) { e.State, e.RunID = actions.StateUpdatePending, "run" },
			want: []string{"17 01:58 shop/pr-1 will be cleaned up in 24 hours", "18 00:58 shop/pr-1 will be cleaned up in 1 hour"},
		},
		"another of the same name since": {
			late: func(e *actions.Environment) { e.CreatedAt = e.CreatedAt.Add(time.Hour) },
			want: []string{
				"17 01:58 shop/pr-1 will be cleaned up in 24 hours", "18 00:58 shop/pr-1 will be cleaned up in 1 hour",
				"18 01:58 shop/pr-1 will be cleaned up in 24 hours",
			},
			notes: 1,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestWorld(t, monday)
			w.add("shop/pr-1")
			w.edit(shop1, func(e *actions.Environment) { e.UsedAt = sunday })
			s, token := w.scheduler(t, nil, nightly), w.lead(t)
			w.until(t, s, token, time.Date(2026, 11, 18, 0, 30, 0, 0, time.UTC))
			if test.edit != nil {
				w.edit(shop1, test.edit)
			}
			w.until(t, s, token, time.Date(2026, 11, 18, 1, 30, 0, 0, time.UTC))
			if test.late != nil {
				w.edit(shop1, test.late)
			}
			w.until(t, s, token, time.Date(2026, 11, 18, 12, 0, 0, 0, time.UTC))
			wantLines(t, "what happened", append(w.said(bot.EventExpiring), w.made()...), test.want...)
			if left := w.rdb.HLen(t.Context(), s.keys.notes).Val(); left != test.notes {
				t.Errorf("%d notes are left", left)
			}
		})
	}
}

func TestAWarningSaysWhatCanBeDone(t *testing.T) {
	w := newTestWorld(t, monday)
	w.apps = append(w.apps, &actions.App{Name: "old", MaxAge: 200 * 24 * time.Hour})
	w.add("shop/pr-1", "shop/pr-2", "blog/pr-3", "old/pr-4")
	w.edit(shop1, func(e *actions.Environment) { e.ExpiresAt = monday.Add(1000 * time.Hour) })
	w.edit(shop2, func(e *actions.Environment) { e.State, e.HasArchive = actions.StateArchived, true })
	s, token := w.scheduler(t, nil, nightly), w.lead(t)
	w.until(t, s, token, monday.Add(time.Hour))
	want := map[string][]string{
		"shop/pr-1": {"Extend by 3 days: extend shop/pr-1 --ttl 72h", "Keep: extend shop/pr-1 --keep", "Archive: archive shop/pr-1"},
		"shop/pr-2": {"Restore: restore shop/pr-2"},
		"blog/pr-3": {"Keep: extend blog/pr-3 --keep", "Archive: archive blog/pr-3"},
		"old/pr-4":  {"Archive: archive old/pr-4"},
	}
	for _, n := range w.notices {
		var got []string
		for _, c := range n.Commands {
			got = append(got, c.Label+": "+c.Command)
		}
		wantLines(t, n.Env.String(), got, want[n.Env.String()]...)
		delete(want, n.Env.String())
		if n.Event != bot.EventExpiring || !strings.Contains(n.Title, "in 14 hours") || !strings.Contains(n.Text, "Tue 17 Nov 02:00 UTC: unused previews cost money.") || !strings.Contains(n.Text, "its data too") {
			t.Errorf("the notice is %+v", n)
		}
	}
	if len(want) != 0 {
		t.Errorf("nobody heard of %v", want)
	}
	// Archiving needs no warning of lost data, and is not offered instead of itself.
	archive := nightly
	archive.Name, archive.Verb = "weekly", actions.VerbArchive
	if err := s.Replace([]Schedule{archive}); err != nil {
		t.Fatal(err)
	}
	w.rest(t, s, token)
	last := w.notices[len(w.notices)-1]
	if !strings.Contains(last.Title, "will be archived") || !strings.Contains(last.Text, "its data stays") || slices.ContainsFunc(last.Commands, func(c bot.Suggestion) bool { return c.Label == "Archive" }) {
		t.Errorf("the notice is %+v", last)
	}
}

func TestWhatIsWarnedLateWaits(t *testing.T) {
	w := newTestWorld(t, monday)
	s, token := w.scheduler(t, nil, nightly), w.lead(t)
	w.until(t, s, token, time.Date(2026, 11, 18, 1, 59, 0, 0, time.UTC))
	w.add("shop/pr-1", "shop/pr-2") // as after a restore of lost data: nobody was warned
	w.until(t, s, token, time.Date(2026, 11, 18, 2, 30, 0, 0, time.UTC))
	w.edit(shop2, func(e *actions.Environment) { e.UsedAt = w.Now() })
	w.until(t, s, token, time.Date(2026, 11, 18, 6, 0, 0, 0, time.UTC))
	wantLines(t, "what happened", append(w.said(bot.EventExpiring), w.made()...),
		"18 02:00 shop/pr-1 will be cleaned up in 1 hour", "18 02:00 shop/pr-2 will be cleaned up in 1 hour", "18 03:00 cleanup shop/pr-1")
	if key := w.requests[0].r.Key; !strings.Contains(key, ":1794967200:") {
		t.Errorf("the key %s is not of the tick at 02:00", key)
	}
}

func TestATimeThatWasToldHolds(t *testing.T) {
	w := newTestWorld(t, monday)
	w.add("shop/pr-1")
	w.edit(shop1, func(e *actions.Environment) { e.UsedAt = monday.Add(-50 * time.Hour) }) // idle for 72 hours on Tuesday at 10:00
	hourly := nightly
	hourly.Cron = "0 * * * *"
	s, token := w.scheduler(t, nil, hourly), w.lead(t)
	w.until(t, s, token, monday.Add(48*time.Hour))
	// Each hour looks a day ahead, and yet it is told twice alone.
	wantLines(t, "what happened", append(w.said(bot.EventExpiring)[:2], w.made()[0]),
		"16 12:00 shop/pr-1 will be cleaned up in 24 hours", "17 10:58 shop/pr-1 will be cleaned up in 1 hour", "17 12:00 cleanup shop/pr-1")
}

func TestAConditionThatFails(t *testing.T) {
	w := newTestWorld(t, monday)
	w.add("shop/pr-1", "shop/pr-2", "blog/pr-3")
	broken := nightly
	broken.Where = where(func(env *actions.Environment, _ time.Time) (bool, error) {
		if env.Name == shop1 {
			return true, errors.New("a key is not there")
		}
		return true, nil
	})
	s, token := w.scheduler(t, nil, broken), w.lead(t)
	w.until(t, s, token, monday.Add(20*time.Hour))
	wantLines(t, "requests", w.made(), "17 02:00 cleanup blog/pr-3", "17 02:00 cleanup shop/pr-2")
	// Once a day, and the day changes at midnight.
	wantLines(t, "what was told", w.said(bot.EventNotTaken), "16 12:00 The condition of the schedule nightly fails", "17 00:58 The condition of the schedule nightly fails")
	for _, n := range w.notices {
		if n.Event == bot.EventNotTaken && (!strings.Contains(n.Text, "`shop/pr-1`") || !strings.Contains(n.Text, "a key is not there")) {
			t.Errorf("the notice says %q", n.Text)
		}
	}
}

func TestAnAppThatCannotBeRead(t *testing.T) {
	w := newTestWorld(t, monday)
	w.apps = append([]*actions.App{{Name: "broken"}}, w.apps...)
	w.add("shop/pr-1")
	s, token := w.scheduler(t, nil, Schedule{Name: "evening", Cron: "0 20 * * *", Verb: actions.VerbSleep}), w.lead(t)
	w.until(t, s, token, monday.Add(9*time.Hour))
	wantLines(t, "requests", w.made(), "16 20:00 sleep shop/pr-1")
}

func TestWhoIsPassedOver(t *testing.T) {
	w := newTestWorld(t, monday)
	w.add("shop/runs", "shop/sleeps", "shop/slept-by-ana", "shop/kept", "shop/kept-asleep", "shop/locked", "shop/busy", "blog/runs")
	edit := func(name string, edit func(*actions.Environment)) { w.edit(actions.Name{App: "shop", Env: name}, edit) }
	edit("sleeps", func(e *actions.Environment) { e.Sleeping, e.SleptBy = true, "schedule/evening" })
	edit("slept-by-ana", func(e *actions.Environment) { e.Sleeping, e.SleptBy = true, "ana" })
	edit("kept", func(e *actions.Environment) { e.Keep = true })
	edit("kept-asleep", func(e *actions.Environment) { e.Keep, e.Sleeping, e.SleptBy = true, true, "schedule/evening" })
	edit("locked", func(e *actions.Environment) { e.Lock = &actions.Lock{By: "ana"} })
	edit("busy", func(e *actions.Environment) { e.State, e.RunID = actions.StateUpdatePending, "run" })
	s, token := w.scheduler(t, nil,
		Schedule{Name: "evening", Cron: "0 20 * * *", Verb: actions.VerbSleep, Apps: []string{"shop"}},
		Schedule{Name: "morning", Cron: "0 7 * * *", Verb: actions.VerbWake},
	), w.lead(t)
	w.until(t, s, token, monday.Add(20*time.Hour))
	wantLines(t, "requests", w.made(), "16 20:00 sleep shop/runs", "17 07:00 wake shop/kept-asleep", "17 07:00 wake shop/sleeps")
	r := w.requests[0].r
	if r.Requester.Actor != "schedule/evening" || r.Requester.Identity != "schedule:evening" || !r.Automatic() || r.Place.ID != "evening" || r.Order.By != "schedule/evening" || r.Order.Identity != "schedule:evening" || r.Order.Reason == "" {
		t.Errorf("the request is %+v", r)
	}
}
