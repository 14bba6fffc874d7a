package configs

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // what is a time zone must not depend on what the machine has installed

	"github.com/robfig/cron/v3"
)

// Schedule asks for an action again and again. What it asks for passes the
// policies like anybody's request.
type Schedule struct {
	Name string `yaml:"name" json:"name"`
	// Cron is when: minute, hour, day of month, month, day of week.
	Cron     string `yaml:"cron" json:"cron"`
	TimeZone string `yaml:"time_zone" json:"time_zone,omitempty"` // an IANA name; UTC when empty
	Verb     string `yaml:"verb" json:"verb" jsonschema:"enum=cleanup,enum=archive,enum=sleep,enum=wake,enum=restart"`
	// Where says which environments, in CEL; all of the apps' when empty.
	Where string   `yaml:"where" json:"where,omitempty"`
	Apps  []string `yaml:"apps" json:"apps,omitempty"` // whose environments; every app's when empty
	// CatchUp is what becomes of ticks that passed while Berth was away: one (when
	// empty) stands for all of them, or none.
	CatchUp string `yaml:"catch_up" json:"catch_up,omitempty" jsonschema:"enum=one,enum=none"`
	// Warn is how long before an environment is cleaned up or archived people are
	// told: [24h, 1h] when absent.
	Warn   []Duration `yaml:"warn" json:"warn,omitempty"`
	Reason string     `yaml:"reason" json:"reason,omitempty"` // what requests and warnings say it is for
}

// scheduleVerbs are what a schedule may ask for; takesAway are those of them
// after which an environment cannot be used.
var (
	scheduleVerbs = []string{"cleanup", "archive", "sleep", "wake", "restart"}
	takesAway     = []string{"cleanup", "archive"}
)

const (
	mostSchedules = 200
	mostWarnings  = 5
	minWarn       = time.Minute
	maxWarn       = 30 * 24 * time.Hour
	maxReason     = 500
	// expirySchedule is what Berth itself calls the one that ends lifetimes.
	expirySchedule = "expiry"
)

// cronParser reads the five fields that crontab(5) has.
var cronParser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// schedules checks all that needs no CEL.
func (d *document) schedules(c *Config) {
	if len(c.Schedules) > mostSchedules {
		d.fault("schedules", "there are %d schedules, which is more than %d", len(c.Schedules), mostSchedules)
	}
	first := map[string]int{}
	for i, s := range c.Schedules {
		path := fmt.Sprintf("schedules[%d]", i)
		switch other, taken := first[s.Name]; {
		case s.Name == "":
			d.fault(path+".name", "a schedule needs a name, by which requests and warnings call it")
		case taken:
			d.fault(path+".name", "schedules[%d] is called %s too", other, s.Name)
		case s.Name == expirySchedule:
			d.fault(path+".name", "%q is Berth's own, which ends lifetimes; choose another name", s.Name)
		default:
			first[s.Name] = i
			d.name(path+".name", s.Name)
		}
		d.ticks(path, s)
		d.scheduleVerb(path+".verb", s.Verb)
		if len(s.Where) > maxWhen {
			d.fault(path+".where", "the condition is longer than %d KiB", maxWhen>>10)
		}
		d.apps(c, path+".apps", s.Apps)
		d.word(path+".catch_up", s.CatchUp, []string{"one", "none"})
		d.warnings(path+".warn", s)
		if len(s.Reason) > maxReason {
			d.fault(path+".reason", "the reason is longer than %d bytes", maxReason)
		}
	}
}

// ticks checks when a schedule comes.
func (d *document) ticks(path string, s Schedule) {
	if why := cronFault(s.Cron); why != "" {
		d.fault(path+".cron", "%s", why)
	}
	if s.TimeZone != "" {
		if _, err := time.LoadLocation(s.TimeZone); err != nil || s.TimeZone == "Local" {
			d.fault(path+".time_zone", "%q is no time zone; write UTC, or a name such as Europe/Berlin", s.TimeZone)
		}
	}
}

// cronFault says what is wrong with a time that comes again, "" when nothing is.
func cronFault(spec string) (why string) {
	const how = "five fields are needed: minute, hour, day of month, month, day of week, such as \"0 20 * * MON-FRI\""
	wrong := fmt.Sprintf("%.100q is no time that comes again: %s", spec, how)
	if spec == "" {
		return "say when: " + how
	}
	if strings.ContainsAny(spec, "=@") || len(strings.Fields(spec)) != 5 || len(spec) > 200 {
		return wrong
	}
	defer func() { // the library has panicked about input before
		if recover() != nil {
			why = wrong
		}
	}()
	ticks, err := cronParser.Parse(spec)
	if err != nil {
		return fmt.Sprintf("%q is no time that comes again: %s; %s", spec, strings.ReplaceAll(err.Error(), spec, "it"), how)
	}
	if ticks.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return fmt.Sprintf("%q never comes", spec)
	}
	return ""
}

func (d *document) scheduleVerb(path, verb string) {
	switch verb {
	case "":
		d.fault(path, "say what is to be done: %s", strings.Join(scheduleVerbs, ", "))
	case "deploy", "restore", "rollback", "extend":
		d.fault(path, "%s needs somebody who says of what; a schedule may ask for %s", verb, strings.Join(scheduleVerbs, ", "))
	default:
		d.word(path, verb, scheduleVerbs)
	}
}

// warnings checks when people are warned. What is taken away is never taken
// without a word.
func (d *document) warnings(path string, s Schedule) {
	if !d.written(path) {
		return
	}
	switch {
	case !slices.Contains(takesAway, s.Verb):
		d.fault(path, "only cleanup and archive are warned of, since nothing else takes anything away; leave it out")
	case len(s.Warn) == 0:
		d.fault(path, "say how long before people are told, such as [24h, 1h], which it also is when it is left out")
	case len(s.Warn) > mostWarnings:
		d.fault(path, "there are %d warnings, which is more than %d", len(s.Warn), mostWarnings)
	}
	for i, warn := range s.Warn {
		at := fmt.Sprintf("%s[%d]", path, i)
		if w := time.Duration(warn); w < minWarn || w > maxWarn {
			d.fault(at, "this should be between %s and %d days", minWarn, int(maxWarn.Hours()/24))
		} else if slices.Index(s.Warn, warn) < i {
			d.fault(at, "%s stands here twice", w)
		}
	}
}

// apps checks names of apps.
func (d *document) apps(c *Config, path string, apps []string) {
	for i, app := range apps {
		at := fmt.Sprintf("%s[%d]", path, i)
		if slices.Index(apps, app) < i {
			d.fault(at, "the app %q stands here twice", app)
		}
		known(d, at, "app", app, c.Apps)
	}
}

// word checks that what is written is one of words; nothing written is fine.
func (d *document) word(path, is string, words []string) {
	if is == "" && !d.written(path) || slices.Contains(words, is) {
		return
	}
	if near := nearName(is, words); near != "" {
		d.fault(path, "%q is not one of %s; did you mean %q?", is, strings.Join(words, ", "), near)
		return
	}
	d.fault(path, "%q is not one of %s", is, strings.Join(words, ", "))
}
