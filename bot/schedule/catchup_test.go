package schedule

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

var monday = time.Date(2026, 11, 16, 12, 0, 0, 0, time.UTC)

func TestDowntime(t *testing.T) {
	hourly := Schedule{Name: "hourly", Cron: "0 * * * *", Verb: actions.VerbRestart}
	minutely := Schedule{Name: "minutely", Cron: "* * * * *", Verb: actions.VerbRestart}
	tests := map[string]struct {
		schedule Schedule
		catchUp  CatchUp
		away     time.Duration // from 12:30:10 on
		ticks    []string      // that were done between then and an hour later
		missed   string        // what was told; "" for nothing
	}{
		"a change of leaders is no downtime": {
			schedule: minutely, catchUp: CatchUpNone, away: 55 * time.Second, ticks: []string{"12:31", "12:32"},
		},
		"the last of many stands for all": {
			schedule: hourly, catchUp: CatchUpOne, away: 5 * time.Hour, ticks: []string{"17:00", "18:00"}, missed: "stands for 4 before it",
		},
		"one is what nothing means": {
			schedule: hourly, away: 5 * time.Hour, ticks: []string{"17:00", "18:00"}, missed: "stands for 4 before it",
		},
		"none leaves them out": {
			schedule: hourly, catchUp: CatchUpNone, away: 5 * time.Hour, ticks: []string{"18:00"}, missed: "leaves out what it misses",
		},
		"one alone is done late": {
			schedule: hourly, catchUp: CatchUpOne, away: 40 * time.Minute, ticks: []string{"13:00", "14:00"}, missed: "does it now",
		},
		"one alone is left out": {
			schedule: hourly, catchUp: CatchUpNone, away: 40 * time.Minute, ticks: []string{"14:00"}, missed: "Berth was not there at Mon 16 Nov 13:00 UTC",
		},
		"no tick came": {
			schedule: hourly, catchUp: CatchUpOne, away: 20 * time.Minute, ticks: []string{"13:00"},
		},
		"ticks of minutes are left out too": {
			schedule: minutely, catchUp: CatchUpNone, away: 150 * time.Second, ticks: []string{"12:33"}, missed: "leaves out",
		},
		"and one of them is done": {
			schedule: minutely, catchUp: CatchUpOne, away: 150 * time.Second, ticks: []string{"12:32", "12:33"}, missed: "stands for 1 before it",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestWorld(t, monday)
			w.every = 10 * time.Second
			w.add("shop/pr-1")
			test.schedule.CatchUp = test.catchUp
			s, token := w.scheduler(t, nil, test.schedule), w.lead(t)
			gone := monday.Add(30*time.Minute + 10*time.Second)
			w.until(t, s, token, gone)
			w.rest(t, s, token)
			before := len(w.requests)
			back := gone.Add(test.away)
			w.set(back)
			other, token := w.scheduler(t, nil, test.schedule), w.lead(t)
			if test.schedule.Name == "hourly" {
				w.until(t, other, token, back.Add(time.Hour))
			} else {
				w.until(t, other, token, back.Add(time.Minute))
			}
			var got []string
			for _, a := range w.requests[before:] {
				got = append(got, time.Unix(tickOf(t, a.r.Key), 0).UTC().Format("15:04"))
			}
			wantLines(t, "ticks that were done", got, test.ticks...)
			var told []string
			for _, n := range w.notices {
				if n.Event == bot.EventMissed {
					told = append(told, n.Text)
				}
			}
			if (test.missed == "") != (len(told) == 0) || len(told) > 1 || test.missed != "" && !strings.Contains(told[0], test.missed) {
				t.Errorf("what was told is %q, want %q", told, test.missed)
			}
		})
	}
}

// TestATickThatWasBegun holds what becomes of a tick in the middle of which Berth
// was stopped.
func TestATickThatWasBegun(t *testing.T) {
	for catchUp, want := range map[CatchUp]int{CatchUpOne: 2*pageSize + 5, CatchUpNone: pageSize} {
		w := newTestWorld(t, monday)
		for i := range 2*pageSize + 5 {
			w.add("shop/e" + string(rune('a'+i/26)) + string(rune('a'+i%26)))
		}
		list := []Schedule{{Name: "daily", Cron: "0 13 * * *", Verb: actions.VerbRestart, CatchUp: catchUp}}
		s, token := w.scheduler(t, nil, list...), w.lead(t)
		w.until(t, s, token, monday.Add(time.Hour-time.Second))
		w.set(monday.Add(time.Hour))
		if _, err := s.turn(t.Context(), token); err != nil { // one page, and no more
			t.Fatal(err)
		}
		if len(w.requests) != pageSize {
			t.Fatalf("%d requests in a turn", len(w.requests))
		}
		w.set(monday.Add(3 * time.Hour))
		s, token = w.scheduler(t, nil, list...), w.lead(t)
		w.rest(t, s, token)
		if got := len(w.requests); got != want {
			t.Errorf("catch_up %s: %d requests in all, want %d", catchUp, got, want)
		}
		if len(w.said(bot.EventMissed)) != 1 {
			t.Errorf("catch_up %s: told %q", catchUp, w.said(bot.EventMissed))
		}
	}
}

func TestSchedulesThatAreReplaced(t *testing.T) {
	w := newTestWorld(t, monday)
	w.add("shop/pr-1")
	hourly := Schedule{Name: "hourly", Cron: "0 * * * *", Verb: actions.VerbRestart}
	s, token := w.scheduler(t, nil, hourly), w.lead(t)
	w.until(t, s, token, monday.Add(90*time.Minute)) // 13:00
	replace := func(list ...Schedule) {
		t.Helper()
		if err := s.Replace(list); err != nil {
			t.Fatal(err)
		}
	}
	// Another cron begins anew from now: its 13:15 is over.
	hourly.Cron = "15 * * * *"
	replace(hourly)
	w.until(t, s, token, monday.Add(150*time.Minute)) // 14:15
	// What is removed is forgotten, and begins anew when it comes back.
	replace()
	w.until(t, s, token, monday.Add(210*time.Minute))
	if fields := w.rdb.HKeys(t.Context(), s.keys.progress).Val(); len(fields) != 1 || fields[0] != Expiry {
		t.Errorf("what is kept is %q", fields)
	}
	replace(hourly)
	w.until(t, s, token, monday.Add(280*time.Minute)) // 16:15
	// One that stays the same but for its condition goes on where it was.
	hourly.Where = idle(time.Hour)
	replace(hourly)
	w.until(t, s, token, monday.Add(320*time.Minute)) // 17:15
	wantLines(t, "requests", w.made(), "16 13:00 restart shop/pr-1", "16 14:15 restart shop/pr-1", "16 16:15 restart shop/pr-1", "16 17:15 restart shop/pr-1")
	// What is wrong changes nothing.
	if err := s.Replace([]Schedule{{Name: "bad", Cron: "0 25 * * *", Verb: actions.VerbSleep}}); err == nil {
		t.Error("a wrong schedule was taken")
	}
	w.until(t, s, token, monday.Add(380*time.Minute))
	if got := len(w.requests); got != 5 {
		t.Errorf("%d requests in all after a wrong reload", got)
	}
}

func TestSchedulesThatCannotBe(t *testing.T) {
	good := Schedule{Name: "nightly", Cron: "0 2 * * *", Verb: actions.VerbSleep}
	tests := map[string]func(*Schedule){
		"the name of lifetimes":      func(s *Schedule) { s.Name = Expiry },
		"no name":                    func(s *Schedule) { s.Name = "" },
		"a name that is none":        func(s *Schedule) { s.Name = "a b" },
		"a cron that is none":        func(s *Schedule) { s.Cron = "soon" },
		"a zone that there is not":   func(s *Schedule) { s.TimeZone = "Mars" },
		"a verb that needs a person": func(s *Schedule) { s.Verb = actions.VerbDeploy },
		"a verb that is none":        func(s *Schedule) { s.Verb = "destroy" },
		"another way to catch up":    func(s *Schedule) { s.CatchUp = "all" },
		"a warning in the past":      func(s *Schedule) { s.Verb, s.Warn = actions.VerbCleanup, []time.Duration{-time.Hour} },
		"a warning ages before":      func(s *Schedule) { s.Verb, s.Warn = actions.VerbCleanup, []time.Duration{90 * 24 * time.Hour} },
		"two of one name":            func(*Schedule) {},
	}
	for name, edit := range tests {
		t.Run(name, func(t *testing.T) {
			w := newTestWorld(t, monday)
			s := w.scheduler(t, nil)
			bad := good
			edit(&bad)
			if err := s.Replace([]Schedule{bad, good}); err == nil {
				t.Error("it was taken")
			}
		})
	}
}
