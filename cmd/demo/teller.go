package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// teller prints the demo's story. It is safe for concurrent use.
type teller struct {
	mu    sync.Mutex
	w     io.Writer
	width int
	color bool
	start time.Time
}

func newTeller(w io.Writer, width int, color bool) *teller {
	return &teller{w: w, width: min(width, 110), color: color, start: time.Now()}
}

// paint puts text in an ANSI style, where the output takes one.
func (t *teller) paint(style, text string) string {
	if !t.color {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// title is a headline with room around it.
func (t *teller) title(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "\n%s\n\n", t.paint("1;36", text))
}

// step is one thing that happened, with the time since the start.
func (t *teller) step(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.paint("2", fmt.Sprintf("%6.1fs", time.Since(t.start).Seconds()))
	fmt.Fprintf(t.w, "%s  %s\n", at, fmt.Sprintf(format, args...))
}

// typed shows what a person types.
func (t *teller) typed(who, text string) {
	t.step("%s %s", t.paint("1", who+" types"), t.paint("1;32", text))
}

// quiet is a line of somebody else's output.
func (t *teller) quiet(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "         %s\n", t.paint("2", strings.TrimRight(text, "\r\n")))
}

// plain is a line as it is.
func (t *teller) plain(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintln(t.w, text)
}

// block shows lines with an indent.
func (t *teller) block(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		t.plain("         " + strings.TrimRight(line, "\n"))
	}
}
