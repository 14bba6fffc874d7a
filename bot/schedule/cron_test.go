package schedule

import (
	"testing"
	"time"

	"github.com/robfig/cron/v3"
)

// ticksBetween are all ticks after from, until to.
func ticksBetween(c *Cron, from, to time.Time) []time.Time {
	var all []time.Time
	for t := c.Next(from); !t.IsZero() && !t.After(to); t = c.Next(t) {
		all = append(all, t)
	}
	return all
}

func mustCron(tb testing.TB, spec, zone string) *Cron {
	tb.Helper()
	c, err := ParseCron(spec, zone)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func at(tb testing.TB, text string) time.Time {
	tb.Helper()
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		tb.Fatal(err)
	}
	return t.UTC()
}

const (
	berlin   = "Europe/Berlin"       // 2026: forward on 29 March at 02:00 (01:00Z), back on 25 October at 03:00 (01:00Z)
	newYork  = "America/New_York"    // 2026: forward on 8 March at 02:00 (07:00Z), back on 1 November at 02:00 (06:00Z)
	lordHowe = "Australia/Lord_Howe" // by 30 minutes; 2026: back on 5 April at 02:00 (4 April 15:00Z), forward on 4 October at 02:00 (3 October 15:30Z)
)

// TestTicksWhereTheClockChanges is the table of expected ticks. Its offsets are
// what the clock on the wall says then.
func TestTicksWhereTheClockChanges(t *testing.T) {
	tests := map[string]struct {
		spec, zone, from, to string
		want                 []string
	}{
		"a fixed hour in the gap comes right after it": {
			"30 2 * * *", berlin, "2026-03-28T00:00:00+01:00", "2026-03-31T00:00:00+02:00",
			[]string{"2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"},
		},
		"several times in the gap come once": {
			"*/15 2 * * *", berlin, "2026-03-29T00:00:00+01:00", "2026-03-30T02:10:00+02:00",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"},
		},
		"the end of the gap itself and what was in it are one": {
			"0 2,3 * * *", berlin, "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00",
			[]string{"2026-03-29T03:00:00+02:00"},
		},
		"a fixed hour that comes twice is meant once": {
			"30 2 * * *", berlin, "2026-10-24T12:00:00+02:00", "2026-10-26T12:00:00+01:00",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		},
		"several times of the doubled hour come once each": {
			"0,30 1-3 * * *", berlin, "2026-10-25T00:00:00+02:00", "2026-10-25T04:00:00+01:00",
			[]string{
				"2026-10-25T01:00:00+02:00", "2026-10-25T01:30:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00",
				"2026-10-25T03:00:00+01:00", "2026-10-25T03:30:00+01:00",
			},
		},
		"every hour leaves no hour out when one is skipped": {
			"0 * * * *", berlin, "2026-03-29T00:30:00+01:00", "2026-03-29T04:30:00+02:00",
			[]string{"2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"},
		},
		"every hour comes in both of the doubled ones": {
			"0 * * * *", berlin, "2026-10-25T01:30:00+02:00", "2026-10-25T03:30:00+01:00",
			[]string{"2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"},
		},
		"all hours by number are every hour": {
			"0 0-23 * * *", berlin, "2026-10-25T01:30:00+02:00", "2026-10-25T03:30:00+01:00",
			[]string{"2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"},
		},
		"every second hour is when the clock shows it": {
			"0 */2 * * *", berlin, "2026-03-29T00:30:00+01:00", "2026-03-29T06:30:00+02:00",
			[]string{"2026-03-29T04:00:00+02:00", "2026-03-29T06:00:00+02:00"},
		},
		"New York forward": {
			"15 2 * * *", newYork, "2026-03-07T00:00:00-05:00", "2026-03-10T00:00:00-04:00",
			[]string{"2026-03-07T02:15:00-05:00", "2026-03-08T03:00:00-04:00", "2026-03-09T02:15:00-04:00"},
		},
		"New York back": {
			"15 1 * * *", newYork, "2026-10-31T12:00:00-04:00", "2026-11-02T12:00:00-05:00",
			[]string{"2026-11-01T01:15:00-04:00", "2026-11-02T01:15:00-05:00"},
		},
		"New York every half hour": {
			"*/30 * * * *", newYork, "2026-11-01T00:45:00-04:00", "2026-11-01T02:00:00-05:00",
			[]string{
				"2026-11-01T01:00:00-04:00", "2026-11-01T01:30:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-01T01:30:00-05:00", "2026-11-01T02:00:00-05:00",
			},
		},
		"Lord Howe forward by half an hour": {
			"15 2 * * *", lordHowe, "2026-10-03T00:00:00+10:30", "2026-10-05T12:00:00+11:00",
			[]string{"2026-10-03T02:15:00+10:30", "2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"},
		},
		"Lord Howe forward, after the half hour": {
			"45 2 * * *", lordHowe, "2026-10-04T00:00:00+10:30", "2026-10-04T12:00:00+11:00",
			[]string{"2026-10-04T02:45:00+11:00"},
		},
		"Lord Howe back by half an hour": {
			"45 1 * * *", lordHowe, "2026-04-04T12:00:00+11:00", "2026-04-06T12:00:00+10:30",
			[]string{"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"},
		},
		"Lord Howe back, every quarter": {
			"*/15 * * * *", lordHowe, "2026-04-05T01:10:00+11:00", "2026-04-05T02:00:00+10:30",
			[]string{
				"2026-04-05T01:15:00+11:00", "2026-04-05T01:30:00+11:00", "2026-04-05T01:45:00+11:00",
				"2026-04-05T01:30:00+10:30", "2026-04-05T01:45:00+10:30", "2026-04-05T02:00:00+10:30",
			},
		},
		"midnight that there is not": {
			"0 0 * * *", "America/Santiago", "2026-09-05T12:00:00-04:00", "2026-09-07T12:00:00-03:00",
			[]string{"2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00"},
		},
		"the weekday is the wall's": {
			"0 22 * * FRI", newYork, "2026-11-16T00:00:00Z", "2026-11-30T00:00:00Z",
			[]string{"2026-11-20T22:00:00-05:00", "2026-11-27T22:00:00-05:00"},
		},
		"UTC when no zone is named": {
			"30 2 * * *", "", "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z", []string{"2026-03-29T02:30:00Z"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := ticksBetween(mustCron(t, test.spec, test.zone), at(t, test.from), at(t, test.to))
			if len(got) != len(test.want) {
				t.Fatalf("ticks %v, want %v", got, test.want)
			}
			for i, want := range test.want {
				if !got[i].Equal(at(t, want)) {
					t.Errorf("tick %d is %v, want %v", i, got[i], want)
				}
			}
		})
	}
}

// TestTheLibraryAloneWouldNotDo is why Cron does not leave time zones to it.
func TestTheLibraryAloneWouldNotDo(t *testing.T) {
	zone, err := time.LoadLocation(berlin)
	if err != nil {
		t.Fatal(err)
	}
	fields, err := cronParser.Parse("30 2 * * *")
	if err != nil {
		t.Fatal(err)
	}
	fields.(*cron.SpecSchedule).Location = zone
	if next := fields.Next(at(t, "2026-03-29T00:00:00+01:00")); next.Equal(at(t, "2026-03-29T03:00:00+02:00")) {
		t.Error("the library runs a job of the skipped hour by itself now")
	}
}

// TestTicksAgreeWithTheWall compares ticks with a walk over every minute of the
// weeks in which clocks change, in zones whose do and one whose does not.
func TestTicksAgreeWithTheWall(t *testing.T) {
	for _, zone := range []string{berlin, newYork, lordHowe, "America/Santiago", "Asia/Kolkata"} {
		for _, spec := range []string{"30 2 * * *", "*/20 1-3 * * *", "0 0 * * 0", "15 * * * *", "10 */3 * * *", "0 12 1 * *"} {
			c := mustCron(t, spec, zone)
			var got, want []time.Time
			for _, from := range []string{"2026-03-05T00:00:00Z", "2026-03-25T00:00:00Z", "2026-09-01T00:00:00Z", "2026-09-29T00:00:00Z", "2026-10-22T00:00:00Z"} {
				from, to := at(t, from), at(t, from).AddDate(0, 0, 12)
				got, want = append(got, ticksBetween(c, from, to)...), append(want, walked(c, from, to)...)
			}
			if len(got) != len(want) {
				t.Errorf("%s in %s: %d ticks, want %d", spec, zone, len(got), len(want))
				continue
			}
			for i := range got {
				if !got[i].Equal(want[i]) {
					t.Errorf("%s in %s: tick %d is %v, want %v", spec, zone, i, got[i], want[i])
					break
				}
			}
		}
	}
}

// walked finds ticks as a daemon would that looks at the wall each minute.
func walked(c *Cron, from, to time.Time) []time.Time {
	matches := func(naive time.Time) bool { return c.fields.Next(naive.Add(-time.Second)).Equal(naive) }
	var all []time.Time
	shown := map[time.Time]bool{}
	last := onWall(from.In(c.zone))
	for now := from.Add(time.Minute); !now.After(to); now = now.Add(time.Minute) {
		wall := onWall(now.In(c.zone))
		due := matches(wall) && (c.anyHour || !shown[wall])
		shown[wall] = true
		for skipped := last.Add(time.Minute); !c.anyHour && skipped.Before(wall); skipped = skipped.Add(time.Minute) {
			due = due || matches(skipped)
		}
		if due {
			all = append(all, now)
		}
		last = wall
	}
	return all
}

func TestCronsThatCannotBe(t *testing.T) {
	for name, test := range map[string]struct{ spec, zone string }{
		"four fields":               {"0 2 * *", ""},
		"six fields":                {"0 0 2 * * *", ""},
		"words":                     {"every day", ""},
		"a shorthand":               {"@daily", ""},
		"a zone within":             {"TZ=UTC 0 2 * *", ""},
		"an hour that there is not": {"0 24 * * *", ""},
		"a day that never comes":    {"0 0 30 2 *", ""},
		"a zone that there is not":  {"0 2 * * *", "Europe/Bonn"},
		"the machine's zone":        {"0 2 * * *", "Local"},
		"nothing":                   {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := ParseCron(test.spec, test.zone); err == nil {
				t.Errorf("%q was read as %v", test.spec, c)
			}
		})
	}
}

func FuzzParseCron(f *testing.F) {
	f.Add("0 2 * * *", berlin, int64(1774738800))
	f.Add("*/15 0-5,22 1,15 */2 MON-FRI", lordHowe, int64(1775314800))
	f.Add("0 0 29 2 *", newYork, int64(0))
	f.Fuzz(func(t *testing.T, spec, zone string, unix int64) {
		c, err := ParseCron(spec, zone)
		if err != nil {
			return
		}
		from := time.Unix(unix%(1<<33), 0)
		next := c.Next(from)
		if !next.IsZero() && !next.After(from) {
			t.Errorf("%v: after %v comes %v", c, from, next)
		}
		// No tick lies between two that follow each other.
		if !next.IsZero() {
			if again := c.Next(next.Add(-time.Nanosecond)); !again.Equal(next) {
				t.Errorf("%v: just before %v comes %v", c, next, again)
			}
		}
	})
}
