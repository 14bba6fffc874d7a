package chat

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// keptTails is how many runs' logs are read on from where they were left.
	keptTails = 64
	// eventsPage is how many events of a log are read at once.
	eventsPage = 1000
	// longestLine is how much of a line of a log is shown, in bytes.
	longestLine = 500
)

// tail is the end of a run's log, and how far its parts are.
type tail struct {
	after    string // the last event that was read
	lines    []string
	total    int
	progress map[string]string // by part, while it says so
}

// tails keeps the ends of logs, so that a long one is not read from its start
// each time that a message is edited. The zero value is ready.
type tails struct {
	mu sync.Mutex
	m  map[string]tail
}

// read reads on to the end of a run's log as it is now. Of a run that nobody
// knows there is none.
func (t *tails) read(ctx context.Context, store Records, runID string) (tail, error) {
	t.mu.Lock()
	end := t.m[runID].clone()
	t.mu.Unlock()
	for {
		events, err := store.Events(ctx, runID, end.after, eventsPage, 0)
		if actions.CodeOf(err) == actions.CodeNotFound {
			return tail{}, nil
		}
		if err != nil {
			return tail{}, err
		}
		for _, e := range events {
			end.add(e)
		}
		if len(events) < eventsPage {
			break
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil || len(t.m) >= keptTails {
		t.m = map[string]tail{}
	}
	t.m[runID] = end.clone()
	return end, nil
}

func (l tail) clone() tail {
	l.lines = slices.Clone(l.lines)
	l.progress = maps.Clone(l.progress)
	return l
}

func (l *tail) add(e actions.Event) {
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
	l.lines = append(l.lines, clip(line, longestLine))
	if len(l.lines) > 2*tailShown {
		l.lines = slices.Clone(l.lines[len(l.lines)-tailShown:])
	}
}
