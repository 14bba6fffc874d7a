package bottest

import (
	"context"
	"strings"

	"github.com/berth-dev/berth/actions"
)

// Print has a part's program print lines, which a Logs that follows hears too.
func (x *Executor) Print(part string, lines ...actions.LogLine) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.printed[part] = append(x.printed[part], lines...)
	close(x.more)
	x.more = make(chan struct{})
}

// Logs passes on what the programs of a part print.
func (x *Executor) Logs(ctx context.Context, s actions.Step, q actions.LogQuery, out func(actions.LogLine) error) error {
	x.mu.Lock()
	from := 0
	if n := len(x.printed[s.Part]); q.Tail > 0 && n > q.Tail {
		from = n - q.Tail
	}
	for {
		lines, more := x.printed[s.Part][from:], x.more
		from += len(lines)
		err := x.fails[s.Part].of("logs")
		x.mu.Unlock()
		for _, l := range lines {
			if l.Time.Before(q.Since) || !strings.HasPrefix(l.Source, q.Pod) || !strings.Contains(l.Text, q.Contains) {
				continue
			}
			if err := out(l); err != nil {
				return err
			}
		}
		if err != nil || !q.Follow {
			return err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
		x.mu.Lock()
	}
}
