package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

const (
	// maxSpec is longer than any five fields that somebody means.
	maxSpec = 200
	// everyHour are the bits of an hour field that means all 24.
	everyHour = 1<<24 - 1
	// mostPeriods bounds how many changes of a zone's clock are looked past for
	// the next tick: two a year, for longer than the library looks ahead.
	mostPeriods = 40
)

// cronParser reads the five fields that crontab(5) has.
var cronParser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// Cron is a time that comes again, on the clocks of a place.
//
// Where the clock is put forward or back, a Cron whose hours are given comes
// once: right after the gap when its time is skipped, the first time round when
// its time comes twice. One with "*" (or "*/N") for its hours goes by the hours
// that really pass: it comes whenever the clock shows such a time.
type Cron struct {
	spec, zoneName string
	fields         cron.Schedule
	zone           *time.Location
	anyHour        bool
}

// ParseCron reads five fields and the IANA name of a time zone, "" for UTC. Its
// error says for whoever wrote them what is wrong.
func ParseCron(spec, zone string) (*Cron, error) {
	where := time.UTC
	if zone != "" {
		var err error
		if where, err = time.LoadLocation(zone); err != nil || zone == "Local" {
			return nil, fmt.Errorf("%q is no time zone; write UTC, or a name such as Europe/Berlin", zone)
		}
	}
	fields, err := parseFields(spec)
	if err != nil {
		return nil, err
	}
	return &Cron{spec: strings.Join(strings.Fields(spec), " "), zoneName: zone, fields: fields, zone: where, anyHour: anyHour(spec, fields)}, nil
}

// parseFields has the library read spec as a clock of UTC's would be compared
// with it; see Next.
func parseFields(spec string) (fields cron.Schedule, err error) {
	const how = "five fields are needed: minute, hour, day of month, month, day of week, such as \"0 2 * * MON-FRI\""
	if strings.ContainsAny(spec, "=@") || len(spec) > maxSpec || len(strings.Fields(spec)) != 5 {
		return nil, fmt.Errorf("%.200q is no time that comes again: %s", spec, how)
	}
	defer func() { // the library has panicked about input before
		if recover() != nil {
			fields, err = nil, fmt.Errorf("%q is no time that comes again: %s", spec, how)
		}
	}()
	if fields, err = cronParser.Parse(spec); err != nil {
		return nil, fmt.Errorf("%q is no time that comes again: %s; %s", spec, strings.ReplaceAll(err.Error(), spec, "it"), how)
	}
	if s, ok := fields.(*cron.SpecSchedule); ok {
		s.Location = time.UTC
	}
	if fields.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("%q never comes", spec)
	}
	return fields, nil
}

// anyHour tells whether the hour field is of the kind that goes by real time.
func anyHour(spec string, fields cron.Schedule) bool {
	for _, part := range strings.Split(strings.Fields(spec)[1], ",") {
		if strings.HasPrefix(part, "*") || strings.HasPrefix(part, "?") {
			return true
		}
	}
	s, ok := fields.(*cron.SpecSchedule)
	return ok && s.Hour&everyHour == everyHour
}

// String is the five fields, and the zone unless it is UTC.
func (c *Cron) String() string {
	if c.zoneName == "" {
		return c.spec
	}
	return c.spec + " " + c.zoneName
}

// Next is the first tick after t, in UTC; zero when there is none within five
// years.
func (c *Cron) Next(t time.Time) time.Time {
	if c.anyHour {
		return c.nextShown(t)
	}
	// The fields are compared with the clock on the wall. The library, given a
	// zone, skips what the wall skips and doubles what it doubles; so it gets a
	// clock of UTC's that shows what the wall shows, and each time that it finds
	// is looked up in the zone. Moments only go forward as the wall's do, so that
	// the first that is late enough is the next.
	naive := onWall(t.In(c.zone))
	for {
		if naive = c.fields.Next(naive); naive.IsZero() {
			return time.Time{}
		}
		if at := c.moment(naive); at.After(t) {
			return at.UTC()
		}
	}
}

// nextShown is the first moment after t at which the wall shows what the fields
// ask for. Between two changes of the clock the wall is a clock like UTC's.
func (c *Cron) nextShown(t time.Time) time.Time {
	for range mostPeriods {
		here := t.In(c.zone)
		_, offset := here.Zone()
		_, end := here.ZoneBounds()
		naive := c.fields.Next(onWall(here))
		if naive.IsZero() {
			return time.Time{}
		}
		at := naive.Add(-time.Duration(offset) * time.Second)
		if end.IsZero() || at.Before(end) {
			return at.UTC()
		}
		// The moment of the change itself may be the next tick.
		_, after := end.Zone()
		if first := onWall(end); c.fields.Next(first.Add(-time.Nanosecond)).Equal(first) {
			return first.Add(-time.Duration(after) * time.Second).UTC()
		}
		t = end
	}
	return time.Time{}
}

// onWall is the time of UTC that looks like t does where it is.
func onWall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// moment is when the wall shows naive: the first time when it does twice, and
// the end of the gap when it never does.
func (c *Cron) moment(naive time.Time) time.Time {
	at := time.Date(naive.Year(), naive.Month(), naive.Day(), naive.Hour(), naive.Minute(), naive.Second(), 0, c.zone)
	start, end := at.ZoneBounds()
	switch shown := onWall(at); {
	case shown.Before(naive): // it was read as of after the gap, and is before it
		return end
	case shown.After(naive):
		return start
	case start.IsZero():
		return at
	}
	// Did the wall show the same before it was put back?
	_, offset := start.Add(-time.Nanosecond).Zone()
	if first := naive.Add(-time.Duration(offset) * time.Second); first.Before(start) && onWall(first.In(c.zone)).Equal(naive) {
		return first
	}
	return at
}
