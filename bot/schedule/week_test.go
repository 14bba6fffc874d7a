package schedule

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-dev/berth/actions"
)

// TestAWeekOfSchedules runs the weeks in which clocks change, by Run itself, and
// compares what was asked for with a table.
func TestAWeekOfSchedules(t *testing.T) {
	tests := map[string]struct {
		zone, from, to string
		want           map[string][]string // by schedule, when it asked, as the wall shows it
	}{
		"Berlin puts the clock forward": {
			zone: berlin, from: "2026-03-26T12:00:00+01:00", to: "2026-04-01T12:00:00+02:00",
			want: map[string][]string{
				"in-the-gap": {"27 02:30 CET", "28 02:30 CET", "29 03:00 CEST", "30 02:30 CEST", "31 02:30 CEST", "01 02:30 CEST"},
				"weekdays":   {"26 20:00 CET", "27 20:00 CET", "30 20:00 CEST", "31 20:00 CEST"},
				"sunday":     {"29 00:00 CET", "29 01:00 CET", "29 03:00 CEST", "29 04:00 CEST"},
			},
		},
		"Berlin puts it back": {
			zone: berlin, from: "2026-10-23T12:00:00+02:00", to: "2026-10-28T12:00:00+01:00",
			want: map[string][]string{
				"in-the-gap": {"24 02:30 CEST", "25 02:30 CEST", "26 02:30 CET", "27 02:30 CET", "28 02:30 CET"},
				"weekdays":   {"23 20:00 CEST", "26 20:00 CET", "27 20:00 CET"},
				"sunday":     {"25 00:00 CEST", "25 01:00 CEST", "25 02:00 CEST", "25 02:00 CET", "25 03:00 CET", "25 04:00 CET"},
			},
		},
		"New York puts it forward": {
			zone: newYork, from: "2026-03-06T12:00:00-05:00", to: "2026-03-11T12:00:00-04:00",
			want: map[string][]string{
				"in-the-gap": {"07 02:30 EST", "08 03:00 EDT", "09 02:30 EDT", "10 02:30 EDT", "11 02:30 EDT"},
				"weekdays":   {"06 20:00 EST", "09 20:00 EDT", "10 20:00 EDT"},
				"sunday":     {"08 00:00 EST", "08 01:00 EST", "08 03:00 EDT", "08 04:00 EDT"},
			},
		},
		"Lord Howe puts it forward by half an hour": {
			zone: lordHowe, from: "2026-10-02T12:00:00+10:30", to: "2026-10-06T12:00:00+11:00",
			want: map[string][]string{
				"in-the-gap": {"03 02:30 +1030", "04 02:30 +11", "05 02:30 +11", "06 02:30 +11"},
				"weekdays":   {"02 20:00 +1030", "05 20:00 +11"},
				"sunday":     {"04 00:00 +1030", "04 01:00 +1030", "04 03:00 +11", "04 04:00 +11"},
			},
		},
		"Lord Howe puts it back by half an hour": {
			zone: lordHowe, from: "2026-04-03T12:00:00+11:00", to: "2026-04-07T12:00:00+10:30",
			want: map[string][]string{
				"in-the-gap": {"04 02:30 +11", "05 02:30 +1030", "06 02:30 +1030", "07 02:30 +1030"},
				"weekdays":   {"03 20:00 +11", "06 20:00 +1030"},
				"sunday":     {"05 00:00 +11", "05 01:00 +11", "05 02:00 +1030", "05 03:00 +1030", "05 04:00 +1030"},
			},
		},
	}
	early := where(func(*actions.Environment, time.Time) (bool, error) { return true, nil })
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestWorld(t, at(t, test.from))
			w.add("shop/pr-1")
			s := w.scheduler(t, nil,
				Schedule{Name: "in-the-gap", Cron: "30 2 * * *", TimeZone: test.zone, Verb: actions.VerbRestart, Where: early},
				Schedule{Name: "weekdays", Cron: "0 20 * * MON-FRI", TimeZone: test.zone, Verb: actions.VerbSleep},
				Schedule{Name: "sunday", Cron: "0 * * * 0", TimeZone: test.zone, Verb: actions.VerbRestart},
			)
			s.o.Every = time.Hour
			ctx, stop := context.WithCancel(t.Context())
			w.stopAt, w.off = at(t, test.to), stop
			if err := s.Run(ctx); err != nil {
				t.Fatal(err)
			}
			zone, err := time.LoadLocation(test.zone)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string][]string{}
			for _, a := range w.requests {
				when := time.Unix(tickOf(t, a.r.Key), 0)
				if late := a.at.Sub(when); late < 0 || late > time.Second {
					t.Errorf("%s was asked for %v late", a.r.Key, late)
				}
				of := a.r.Place.ID
				shown := when.In(zone).Format("02 15:04 MST")
				if of != "sunday" || when.In(zone).Hour() < 5 {
					got[of] = append(got[of], shown)
				}
			}
			for of, want := range test.want {
				if !slices.Equal(got[of], want) {
					t.Errorf("%s came\n%s, want\n%s", of, strings.Join(got[of], ", "), strings.Join(want, ", "))
				}
			}
		})
	}
}

// tickOf is the tick in a request's key.
func tickOf(tb rapid.TB, key string) int64 {
	tb.Helper()
	parts := strings.Split(key, ":")
	if len(parts) != 4 {
		tb.Fatalf("the key is %q", key)
	}
	tick, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return tick
}
