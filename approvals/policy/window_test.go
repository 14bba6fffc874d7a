package policy

import (
	"testing"
	"time"
)

func TestWindows(t *testing.T) {
	weekend := Window{Cron: "0 16 * * FRI", For: 64 * time.Hour, TimeZone: "Europe/Berlin"}
	nights := Window{Cron: "30 2 * * *", For: time.Hour, TimeZone: "Europe/Berlin"}
	once := Window{From: at("2026-12-24T00:00:00Z"), Until: at("2027-01-02T00:00:00Z")}
	tests := map[string]struct {
		window  Window
		now     string
		within  bool
		changes string // "" for never
	}{
		"before the weekend in winter":            {weekend, "2026-11-20T14:59:59Z", false, "2026-11-20T15:00:00Z"},
		"the weekend begins in winter":            {weekend, "2026-11-20T15:00:00Z", true, "2026-11-23T07:00:00Z"},
		"the weekend ends in winter":              {weekend, "2026-11-23T07:00:00Z", false, "2026-11-27T15:00:00Z"},
		"the weekend begins in summer":            {weekend, "2026-07-17T14:00:00Z", true, "2026-07-20T06:00:00Z"},
		"an hour before it begins in summer":      {weekend, "2026-07-17T13:59:59Z", false, "2026-07-17T14:00:00Z"},
		"the weekend that has an hour more":       {weekend, "2026-10-26T05:59:59Z", true, "2026-10-26T06:00:00Z"},
		"the weekend that has an hour less":       {weekend, "2026-03-30T06:59:59Z", true, "2026-03-30T07:00:00Z"},
		"a beginning in the hour that is skipped": {nights, "2026-03-29T01:30:00Z", true, "2026-03-29T02:30:00Z"},
		"right before that":                       {nights, "2026-03-29T01:29:59Z", false, "2026-03-29T01:30:00Z"},
		"the first time of a repeated hour":       {nights, "2026-10-25T00:30:00Z", true, "2026-10-25T02:30:00Z"},
		"the second time of a repeated hour":      {nights, "2026-10-25T01:45:00Z", true, "2026-10-25T02:30:00Z"},
		"after both":                              {nights, "2026-10-25T02:30:00Z", false, "2026-10-26T01:30:00Z"},
		"windows that follow each other are one":  {Window{Cron: "0 * * * *", For: 90 * time.Minute}, "2026-11-20T15:30:00Z", true, "*"},
		"before one that comes once":              {once, "2026-12-23T23:59:59Z", false, "2026-12-24T00:00:00Z"},
		"within one that comes once":              {once, "2026-12-24T00:00:00Z", true, "2027-01-02T00:00:00Z"},
		"after one that comes once":               {once, "2027-01-02T00:00:00Z", false, ""},
		"one without an end":                      {Window{From: at("2026-01-01T00:00:00Z")}, "2026-12-24T00:00:00Z", true, ""},
		"one without a beginning":                 {Window{Until: at("2026-12-31T00:00:00Z")}, "2026-12-24T00:00:00Z", true, "2026-12-31T00:00:00Z"},
		"where a day was left out":                {Window{Cron: "0 12 30 12 *", For: time.Hour, TimeZone: "Pacific/Apia"}, "2011-12-29T22:00:00Z", false, "*"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w, path, err := newWindow(test.window)
			if err != nil {
				t.Fatal(path, err)
			}
			now := at(test.now)
			within, changes := w.at(now)
			if within != test.within {
				t.Errorf("within = %v, want %v", within, test.within)
			}
			switch test.changes {
			case "":
				if !changes.IsZero() {
					t.Errorf("changes at %v, want never", changes)
				}
			case "*":
				if !changes.After(now) {
					t.Errorf("changes at %v, which is past", changes)
				}
			default:
				if !changes.Equal(at(test.changes)) {
					t.Errorf("changes at %v, want %v", changes.UTC(), test.changes)
				}
			}
		})
	}
}

func TestWindowFaults(t *testing.T) {
	tests := map[string]struct {
		window Window
		path   string
	}{
		"a zone that is none":          {Window{Cron: "0 0 * * *", For: time.Hour, TimeZone: "Europe/Berln"}, "time_zone"},
		"the zone of the machine":      {Window{Cron: "0 0 * * *", For: time.Hour, TimeZone: "Local"}, "time_zone"},
		"a path for a zone":            {Window{Cron: "0 0 * * *", For: time.Hour, TimeZone: "../../etc/passwd"}, "time_zone"},
		"six fields":                   {Window{Cron: "0 0 0 * * *", For: time.Hour}, "cron"},
		"a day that there is not":      {Window{Cron: "0 0 30 2 *", For: time.Hour}, "cron"},
		"a zone within the expression": {Window{Cron: "TZ=Europe/Berlin 0 0 * *", For: time.Hour}, "cron"},
		"a word":                       {Window{Cron: "@every 1h", For: time.Hour}, "cron"},
		"an hour of 25":                {Window{Cron: "0 25 * * *", For: time.Hour}, "cron"},
		"no length":                    {Window{Cron: "0 0 * * *"}, "for"},
		"nothing":                      {Window{}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, path, err := newWindow(test.window)
			if err == nil || path != test.path {
				t.Errorf("fault at %q, want %q: %v", path, test.path, err)
			}
		})
	}
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func FuzzWindow(f *testing.F) {
	f.Add("0 16 * * FRI", int64(64*time.Hour), "Europe/Berlin", int64(1_793_000_000))
	f.Add("*/5 0-3 1,15 JAN-MAR ?", int64(time.Minute), "America/St_Johns", int64(0))
	f.Add("TZ=0", int64(1), "", int64(0))
	f.Add("59 23 29 2 *", int64(366*24*time.Hour), "Pacific/Apia", int64(1_325_000_000))
	f.Fuzz(func(t *testing.T, spec string, length int64, zone string, unix int64) {
		if length > int64(366*24*time.Hour) || unix < 0 || unix > 1<<33 {
			return
		}
		w, _, err := newWindow(Window{Cron: spec, For: time.Duration(length), TimeZone: zone})
		if err != nil || spec == "" {
			return
		}
		now := time.Unix(unix, 0)
		within, changes := w.at(now)
		if !changes.IsZero() && !changes.After(now) {
			t.Fatalf("it changes at %v, which is not after %v", changes, now)
		}
		if within && changes.IsZero() {
			t.Fatal("a window that comes again never ends")
		}
		if !within && !changes.IsZero() {
			if opened, _ := w.at(changes); !opened {
				t.Fatalf("it should open at %v", changes)
			}
			if early, _ := w.at(changes.Add(-time.Nanosecond)); early {
				t.Fatalf("it opens before %v", changes)
			}
		}
	})
}
