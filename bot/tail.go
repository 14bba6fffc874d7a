package bot

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
)

const (
	// keptTails is how many runs' logs are read on from where they were left.
	keptTails = 64
	// tailPage is how many events of a log are read at once.
	tailPage = 1000
)

// Tail is the end of a run's log, and how far its parts are.
type Tail struct {
	Lines    []string          // the last ones: as many as are shown, and some before them
	Total    int               // how many there are in all
	Progress map[string]string // by part, while its step says so

	after string // the last event that was read
}

// Last are at most n lines.
func (l Tail) Last(n int) []string { return l.Lines[max(0, len(l.Lines)-n):] }

// Add goes on by an event. Of lines it keeps so many at least, each of at most
// width characters.
func (l *Tail) Add(e actions.Event, lines, width int) {
	l.after = e.ID
	switch e.Kind {
	case actions.EventProgress:
		if l.Progress == nil {
			l.Progress = map[string]string{}
		}
		l.Progress[e.Part] = e.Text
		return
	case actions.EventStep:
		delete(l.Progress, e.Part)
	}
	line := EventLine(e)
	if line == "" {
		return
	}
	l.Total++
	l.Lines = append(l.Lines, clip(line, width))
	if len(l.Lines) > 2*lines {
		l.Lines = slices.Clone(l.Lines[len(l.Lines)-lines:])
	}
}

func (l Tail) clone() Tail {
	l.Lines, l.Progress = slices.Clone(l.Lines), maps.Clone(l.Progress)
	return l
}

// Tails keeps the ends of logs, so that a long one is not read from its start
// each time that a message about its run is edited. It is safe for concurrent use.
type Tails struct {
	Lines int // how many are shown
	Width int // how much of each, in characters

	mu sync.Mutex
	m  map[string]Tail
}

// Events are those of runs. *actions.Store has them.
type Events interface {
	Events(ctx context.Context, runID, after string, limit int, block time.Duration) ([]actions.Event, error)
}

// Read reads on to the end of a run's log as it is now. Of a run that nobody
// knows there is none. Its errors are the store's.
func (t *Tails) Read(ctx context.Context, store Events, runID string) (Tail, error) {
	t.mu.Lock()
	end := t.m[runID].clone()
	t.mu.Unlock()
	for {
		events, err := store.Events(ctx, runID, end.after, tailPage, 0)
		if actions.CodeOf(err) == actions.CodeNotFound {
			return Tail{}, nil
		}
		if err != nil {
			return Tail{}, err
		}
		for _, e := range events {
			end.Add(e, t.Lines, t.Width)
		}
		if len(events) < tailPage {
			break
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil || len(t.m) >= keptTails {
		t.m = map[string]Tail{}
	}
	t.m[runID] = end.clone()
	return end, nil
}
