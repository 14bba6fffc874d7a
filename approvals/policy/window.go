package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // freezes must not depend on what the machine has installed

	"github.com/robfig/cron/v3"
)

const (
	// zoneSlack is more than the difference between any two offsets that a place
	// can have within a day, so that no beginning is missed between them.
	zoneSlack = 26 * time.Hour
	// mostJoined bounds how many windows that follow each other are seen as one.
	mostJoined = 1000
)

// cronParser reads the five fields that crontab(5) has.
var cronParser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// window is a Window that was checked.
type window struct {
	schedule    cron.Schedule // nil for one that comes once
	length      time.Duration
	zone        *time.Location
	from, until time.Time
}

// newWindow checks w. The path tells which of its keys is wrong.
func newWindow(w Window) (out window, path string, err error) {
	if w.Cron == "" {
		if w.From.IsZero() && w.Until.IsZero() {
			return out, "", errors.New("the window needs cron and for, or from and until")
		}
		return window{from: w.From, until: w.Until}, "", nil
	}
	if w.For <= 0 {
		return out, "for", errors.New("say how long the window lasts")
	}
	if out.zone, err = zone(w.TimeZone); err != nil {
		return out, "time_zone", err
	}
	if out.schedule, err = parseCron(w.Cron); err != nil {
		return out, "cron", err
	}
	out.length = w.For
	return out, "", nil
}

// zone finds a time zone by its IANA name.
func zone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("%q is no time zone; write UTC, or a name such as Europe/Berlin", name)
	}
	return loc, nil
}

func parseCron(spec string) (schedule cron.Schedule, err error) {
	const how = "five fields are needed: minute, hour, day of month, month, day of week, such as \"0 16 * * FRI\""
	if strings.ContainsAny(spec, "=@") || len(strings.Fields(spec)) != 5 || len(spec) > 200 {
		return nil, fmt.Errorf("%q is no time that comes again: %s", spec, how)
	}
	defer func() { // the library has panicked about input before
		if recover() != nil {
			schedule, err = nil, fmt.Errorf("%q is no time that comes again: %s", spec, how)
		}
	}()
	if schedule, err = cronParser.Parse(spec); err != nil {
		return nil, fmt.Errorf("%q is no time that comes again: %s; %s", spec, strings.ReplaceAll(err.Error(), spec, "it"), how)
	}
	if schedule.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("%q never comes", spec)
	}
	return schedule, nil
}

// at tells whether now is within the window, and when that changes next; zero
// means never.
func (w window) at(now time.Time) (within bool, changes time.Time) {
	if w.schedule == nil {
		switch {
		case !w.from.IsZero() && now.Before(w.from):
			return false, w.from
		case w.until.IsZero():
			return true, time.Time{}
		case now.Before(w.until):
			return true, w.until
		default:
			return false, time.Time{}
		}
	}
	// The fields are compared with the clock on the wall, which skips an hour on
	// one day of the year and repeats one on another. So the schedule runs on a
	// clock of UTC's that shows what the wall shows, and each time that it finds
	// is then looked up in the zone.
	naive := onWall(now.In(w.zone)).Add(-w.length - zoneSlack)
	end := time.Time{}
	for joined := 0; joined < mostJoined; {
		naive = w.schedule.Next(naive)
		if naive.IsZero() {
			break
		}
		ended := true
		for _, start := range w.instants(naive) {
			switch stop := start.Add(w.length); {
			case !stop.After(now): // over
				ended = false
			case start.After(now) && end.IsZero():
				return false, start
			case end.IsZero() || !start.After(end):
				joined++
				ended = false
				if stop.After(end) {
					end = stop
				}
			}
		}
		if ended {
			break
		}
	}
	return !end.IsZero(), end
}

// onWall is the time of UTC that looks like t does where it is.
func onWall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// instants are the moments at which the wall in the window's zone shows naive:
// one; two in the hour that is repeated; and in the hour that is skipped the
// moment that would be it without the change.
func (w window) instants(naive time.Time) []time.Time {
	_, before := naive.Add(-zoneSlack / 2).In(w.zone).Zone()
	_, after := naive.Add(zoneSlack / 2).In(w.zone).Zone()
	first := naive.Add(-time.Duration(before) * time.Second)
	second := naive.Add(-time.Duration(after) * time.Second)
	shows := func(t time.Time) bool { return onWall(t.In(w.zone)).Equal(naive) }
	switch {
	case before == after || !shows(second):
		return []time.Time{first}
	case !shows(first):
		return []time.Time{second}
	case second.Before(first):
		return []time.Time{second, first}
	default:
		return []time.Time{first, second}
	}
}
