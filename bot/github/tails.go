package github

import (
	"context"
	"sync"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// tailLines is how many lines of a run's log a comment shows.
	tailLines = 60
	// keptTails is how many runs' logs are read on from where they were left.
	keptTails  = 32
	eventsPage = 1000
)

// logTail is the end of a run's log, and what its parts are at.
type logTail struct {
	after    string
	lines    []string
	total    int
	progress map[string]string // by part, while it says so
}

// tails keeps the ends of logs, so that a long one is not read from its start
// each time that a comment is edited.
type tails struct {
	mu sync.Mutex
	m  map[string]*logTail
}

// read reads on to the end of a run's log as it is now.
func (t *tails) read(ctx context.Context, store Records, runID string) (logTail, error) {
	t.mu.Lock()
	tail := logTail{}
	if known, ok := t.m[runID]; ok {
		tail = known.clone()
	}
	t.mu.Unlock()
	for {
		events, err := store.Events(ctx, runID, tail.after, eventsPage, 0)
		if actions.CodeOf(err) == actions.CodeNotFound {
			return logTail{}, nil
		}
		if err != nil {
			return logTail{}, err
		}
		for _, e := range events {
			tail.add(e)
		}
		if len(events) < eventsPage {
			break
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil || len(t.m) >= keptTails {
		t.m = map[string]*logTail{}
	}
	kept := tail.clone()
	t.m[runID] = &kept
	return tail, nil
}

func (l *logTail) clone() logTail {
	c := logTail{after: l.after, total: l.total, lines: append([]string(nil), l.lines...), progress: map[string]string{}}
	for part, text := range l.progress {
		c.progress[part] = text
	}
	return c
}

func (l *logTail) add(e actions.Event) {
	l.after = e.ID
	if l.progress == nil {
		l.progress = map[string]string{}
	}
	switch e.Kind {
	case actions.EventProgress:
		l.progress[e.Part] = e.Text
		return
	case actions.EventStep:
		delete(l.progress, e.Part)
	}
	line := bot.EventLine(e)
	if line == "" {
		return
	}
	l.total++
	l.lines = append(l.lines, clip(line, 1000))
	if len(l.lines) > 2*tailLines {
		l.lines = append(l.lines[:0], l.lines[len(l.lines)-tailLines:]...)
	}
}

// last is the lines that are shown.
func (l *logTail) last() []string { return l.lines[max(0, len(l.lines)-tailLines):] }
