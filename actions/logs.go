package actions

import (
	"context"
	"time"
)

// maxRunsKept and maxLogsKept bound what an app may ask to be kept.
const (
	maxRunsKept = 500
	maxLogsKept = 10 * 365 * 24 * time.Hour
)

// kept is how much of the past of an app's environments is kept.
func (s *Store) kept(app string) Keep {
	var k Keep
	if s.keepOf != nil {
		k = s.keepOf(app)
	}
	if k.Runs <= 0 {
		k.Runs = RunsKept
	}
	if k.Logs <= 0 {
		k.Logs = EventsKept
	}
	k.Runs, k.Logs = min(k.Runs, maxRunsKept), min(k.Logs, maxLogsKept)
	return k
}

// tidy is what a run's end leaves to do, and what nothing depends on: old runs
// are forgotten, and the events of this one will be.
func (s *Store) tidy(ctx context.Context, name Name, runID string) {
	err := s.rdb.Expire(ctx, s.Key(name, eventsKey(runID)), s.kept(name.App).Logs).Err()
	if err == nil {
		err = s.trimRuns(ctx, name)
	}
	if err != nil {
		s.log.WarnContext(ctx, "old runs were not forgotten", "env", name.String(), "error", err)
	}
}
