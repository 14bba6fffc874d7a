package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/api"
)

// progress tells a person how a request goes.
type progress interface {
	note(text string)      // something about the request
	begin(run *api.Run)    // it runs
	event(e actions.Event) // something happened in its run
	stop()                 // no more is told
}

// newProgress makes the progress that fits w: a display that is drawn again and
// again on a terminal, and lines with their time elsewhere.
func newProgress(w io.Writer, title string) progress {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || os.Getenv("TERM") == "dumb" {
		return &plainProgress{out: w, now: time.Now}
	}
	d := &display{
		out: file, title: title, now: time.Now, color: os.Getenv("NO_COLOR") == "",
		size: func() (columns, rows int) {
			columns, rows, err := term.GetSize(int(file.Fd()))
			if err != nil || columns < 20 || rows < 4 {
				return 80, 24
			}
			return columns, rows
		},
	}
	d.start()
	return d
}

// plainProgress writes lines, each with its time.
type plainProgress struct {
	out io.Writer
	now func() time.Time
}

func (p *plainProgress) line(at time.Time, text string) {
	// That nobody reads any more is no reason to stop waiting.
	_, _ = fmt.Fprintf(p.out, "%s %s\n", at.Local().Format("15:04:05"), oneLine(text))
}

func (p *plainProgress) note(text string) { p.line(p.now(), text) }

func (p *plainProgress) begin(run *api.Run) {
	p.line(run.StartedAt, fmt.Sprintf("running as %s", run.ID))
}

func (p *plainProgress) event(e actions.Event) {
	if text := bot.EventLine(e); text != "" {
		p.line(e.Time, text)
	}
}

func (p *plainProgress) stop() {}

// display is a block of lines on a terminal, one for each part, that is drawn
// over itself.
type display struct {
	out   io.Writer
	size  func() (columns, rows int)
	now   func() time.Time
	color bool
	title string

	mu     sync.Mutex
	began  time.Time
	status string
	parts  []partLine
	drawn  []string // what stands on the terminal
	turn   int
	quit   chan struct{}
	ended  sync.WaitGroup
}

// partLine is one part's line.
type partLine struct {
	name, state, text string
	from, to          time.Time
}

// redraw is how often the display is drawn: often enough for a spinner to spin.
const redraw = 120 * time.Millisecond

func (d *display) start() {
	d.began, d.quit = d.now(), make(chan struct{})
	_, _ = io.WriteString(d.out, "\x1b[?25l") // without the cursor; stop brings it back
	d.ended.Go(func() {
		tick := time.NewTicker(redraw)
		defer tick.Stop()
		for {
			select {
			case <-d.quit:
				return
			case <-tick.C:
				d.mu.Lock()
				d.turn++
				d.draw()
				d.mu.Unlock()
			}
		}
	})
}

func (d *display) stop() {
	close(d.quit)
	d.ended.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.draw()
	_, _ = io.WriteString(d.out, "\x1b[?25h")
}

func (d *display) note(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status = oneLine(text)
}

func (d *display) begin(run *api.Run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status, d.parts = "", nil
	if run.Commit != "" {
		d.status = bot.Short(run.Commit)
	}
	for _, s := range run.Steps {
		d.parts = append(d.parts, partLine{name: oneLine(s.Part), state: string(s.State), from: s.StartedAt, to: s.EndedAt})
	}
}

func (d *display) event(e actions.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.Part == "" {
		return
	}
	name := oneLine(e.Part)
	i := slices.IndexFunc(d.parts, func(p partLine) bool { return p.name == name })
	if i < 0 {
		d.parts = append(d.parts, partLine{name: name, state: string(actions.StepRunning), from: e.Time})
		i = len(d.parts) - 1
	}
	p := &d.parts[i]
	switch e.Kind {
	case actions.EventStep:
		p.state, p.text = e.State, oneLine(e.Text)
		if e.State == string(actions.StepRunning) {
			p.from, p.to = e.Time, time.Time{}
		} else {
			p.to = e.Time
		}
	case actions.EventProgress, actions.EventLog, actions.EventReceipt:
		p.text = oneLine(e.Text)
		if e.Total > 0 && !strings.ContainsAny(p.text, "0123456789") {
			p.text = fmt.Sprintf("%s (%d of %d)", p.text, e.Done, e.Total)
		}
	}
}

var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// frame is what is to stand on the terminal, each line no wider than columns.
func (d *display) frame(columns int) []string {
	now := d.now()
	lines := []string{cut(strings.TrimSpace(fmt.Sprintf("%s  %s  %s", d.title, elapsed(d.began, now), d.status)), columns)}
	names, states := 0, 0
	for _, p := range d.parts {
		names, states = max(names, width(p.name)), max(states, width(p.state))
	}
	for _, p := range d.parts {
		took, end := "", p.to
		if end.IsZero() {
			end = now
		}
		if !p.from.IsZero() {
			took = elapsed(p.from, end)
		}
		mark, color := d.mark(p.state)
		text := fmt.Sprintf("%s%s  %s%s  %5s  %s", p.name, pad(names, p.name), p.state, pad(states, p.state), took, p.text)
		text = strings.TrimRight(cut(text, columns-4), " ")
		if d.color && color != "" {
			mark = "\x1b[" + color + "m" + mark + "\x1b[0m"
		}
		lines = append(lines, "  "+mark+" "+text)
	}
	return lines
}

func pad(columns int, s string) string { return strings.Repeat(" ", columns-width(s)) }

// mark is the sign and the color of a state.
func (d *display) mark(state string) (sign, color string) {
	switch actions.StepState(state) {
	case actions.StepRunning:
		return spinner[d.turn%len(spinner)], "36"
	case actions.StepDone:
		return "✓", "32"
	case actions.StepFailed:
		return "✗", "31"
	case actions.StepSkipped, actions.StepCancelled:
		return "–", "33"
	default:
		return "·", ""
	}
}

func elapsed(from, to time.Time) string {
	d := max(to.Sub(from), 0).Round(time.Second)
	if d < time.Hour {
		return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
	}
	return d.String()
}

// draw writes the frame over the one before. If the terminal was made narrower
// in between, what stands there takes more lines than it did.
func (d *display) draw() {
	columns, rows := d.size()
	var b strings.Builder
	if up := d.rows(columns); up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	b.WriteString("\r\x1b[J")
	d.drawn = d.frame(columns)
	if most := rows - 2; len(d.drawn) > most { // what is scrolled away could not be drawn over
		d.drawn = append(d.drawn[:most], fmt.Sprintf("  … and %d more", len(d.drawn)-most))
	}
	for _, line := range d.drawn {
		b.WriteString(line + "\r\n")
	}
	_, _ = io.WriteString(d.out, b.String()) // the terminal is gone if this fails
}

// rows is how many lines of a terminal that wide the drawn ones take.
func (d *display) rows(columns int) (n int) {
	for _, line := range d.drawn {
		n += max(1, (width(bot.Plain(line))+columns-1)/columns)
	}
	return n
}
