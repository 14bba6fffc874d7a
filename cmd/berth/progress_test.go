package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot/api"
)

// shownAt makes a display of a run, twelve seconds in.
func shownAt(out *bytes.Buffer, columns int) *display {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	now := began.Add(12 * time.Second)
	d := &display{out: out, title: "deploy shop/pr-42", began: began, now: func() time.Time { return now }, size: func() (int, int) { return columns, 24 }}
	d.begin(&api.Run{Commit: bottestSHA, Steps: []actions.StepRecord{
		{Part: "db", State: actions.StepDone, StartedAt: began, EndedAt: began.Add(4 * time.Second)},
		{Part: "cache", State: actions.StepFailed, StartedAt: began, EndedAt: began.Add(2 * time.Second), Error: "no"},
		{Part: "web", State: actions.StepWaiting},
		{Part: "url", State: actions.StepWaiting},
	}})
	d.event(actions.Event{Kind: actions.EventStep, Part: "web", State: "running", Time: began.Add(5 * time.Second)})
	d.event(actions.Event{Kind: actions.EventProgress, Part: "web", Text: "1 of 2 pods\x1b[2J ready 日本語", Time: began.Add(6 * time.Second)})
	d.event(actions.Event{Kind: actions.EventStep, Part: "cache", State: "failed", Text: "no room", Time: began.Add(2 * time.Second)})
	return d
}

const bottestSHA = "4242424242424242424242424242424242424242"

func TestDisplay(t *testing.T) {
	for name, c := range map[string]struct {
		columns int
		want    string
	}{
		"a wide terminal": {80, `
deploy shop/pr-42  0:12  4242424
  ✓ db     done      0:04
  ✗ cache  failed    0:02  no room
  ⠋ web    running   0:07  1 of 2 pods ready 日本語
  · url    waiting`},
		"a narrow one": {30, `
deploy shop/pr-42  0:12  4242…
  ✓ db     done      0:04
  ✗ cache  failed    0:02  no…
  ⠋ web    running   0:07  1 …
  · url    waiting`},
	} {
		t.Run(name, func(t *testing.T) {
			lines := shownAt(&bytes.Buffer{}, c.columns).frame(c.columns)
			if got := "\n" + strings.Join(lines, "\n"); got != c.want {
				t.Errorf("got:%s", got)
			}
			for _, line := range lines {
				if width(line) > c.columns {
					t.Errorf("%q is wider than %d", line, c.columns)
				}
			}
		})
	}
}

func TestDisplayIsDrawnOverItself(t *testing.T) {
	var out bytes.Buffer
	d := shownAt(&out, 80)
	d.draw()
	out.Reset()
	d.draw()
	if !strings.HasPrefix(out.String(), "\x1b[5A\r\x1b[J") {
		t.Errorf("the second frame begins with %q", out.String()[:12])
	}
	out.Reset()
	d.size = func() (int, int) { return 20, 24 } // the terminal was made narrower: lines of before take two or three now
	d.draw()
	if !strings.HasPrefix(out.String(), "\x1b[10A") {
		t.Errorf("the narrow frame begins with %q", out.String()[:12])
	}
	out.Reset()
	d.size = func() (int, int) { return 80, 5 }
	d.draw()
	if !strings.HasSuffix(out.String(), "  … and 2 more\r\n") {
		t.Errorf("on a low terminal stands %q", out.String())
	}
	if strings.Contains(out.String(), "\x1b[3") {
		t.Error("there is color without being asked for")
	}
}

func TestPlainProgressKeepsTerminalsSafe(t *testing.T) {
	t.Setenv("TZ", "UTC")
	var out bytes.Buffer
	p := newProgress(&out, "deploy shop/pr-42")
	p.event(actions.Event{Kind: actions.EventLog, Part: "web", Text: "a\x1b]0;owned\x07b\r\nc", Time: time.Now()})
	p.event(actions.Event{Kind: "later", Text: "of a later version", Time: time.Now()})
	p.stop()
	if got := out.String(); !strings.HasSuffix(got, " web: ab c\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q", got)
	}
}

func TestTableAlignsWhatIsWide(t *testing.T) {
	var out bytes.Buffer
	table(&out, [][]string{{"A", "B"}, {"日本", "x\x1b[31m"}, {"abcde", ""}})
	if want := "A      B\n日本   x\nabcde\n"; out.String() != want {
		t.Errorf("got %q", out.String())
	}
}
