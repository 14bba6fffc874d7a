package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// teller prints what happens. It is safe for concurrent use.
type teller struct {
	mu    sync.Mutex
	w     io.Writer
	began time.Time
}

func newTeller(w io.Writer) *teller { return &teller{w: w, began: time.Now()} }

// step is one thing that happened, with the time since the start.
func (t *teller) step(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "%6.1fs  %s\n", time.Since(t.began).Seconds(), fmt.Sprintf(format, args...))
}

// figure is one line of a table.
func (t *teller) figure(name, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "         %-22s %s\n", name, fmt.Sprintf(format, args...))
}
