package chat

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

const (
	// keepLists is how long a list is used again: for the many pages that one change
	// concerns, and the letters of a word that somebody types.
	keepLists = 2 * time.Second
	// keepGroup is the same for whether somebody is in a group, which is shown and
	// decides nothing.
	keepGroup = 5 * time.Minute
	// mostListed bounds each list.
	mostListed = 5000
)

// kept are lists that were read a moment ago.
type kept struct {
	envs    list[*actions.Environment]
	waiting list[*approvals.Request]
	recent  list[*approvals.Request]
	members bot.Kept[bool] // who belongs to which group, as was seen a while ago
}

type list[T any] struct {
	mu    sync.Mutex
	at    time.Time
	items []T
}

// get is the list, read anew when it is old. Those who ask meanwhile wait for the
// one who reads. Nobody changes what they get.
func (l *list[T]) get(now time.Time, read func() ([]T, error)) ([]T, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.at.IsZero() && now.Sub(l.at) < keepLists && !now.Before(l.at) {
		return l.items, nil
	}
	items, err := read()
	if err != nil {
		return nil, err
	}
	l.items, l.at = items, now
	return items, nil
}

// environments are those that are not gone, sorted by name.
func (s *Surface) environments(ctx context.Context) ([]*actions.Environment, error) {
	return s.kept.envs.get(s.now(), func() (all []*actions.Environment, err error) {
		for f := (actions.EnvFilter{Limit: 500}); len(all) < mostListed; {
			page, next, err := s.store.Environments(ctx, f)
			if err != nil {
				return nil, err
			}
			all = append(all, page...)
			if f.Cursor = next; next == "" {
				break
			}
		}
		return slices.DeleteFunc(all, func(e *actions.Environment) bool { return e.State == actions.StateCleaned }), nil
	})
}

// waiting are the requests that wait for decisions, the newest first.
func (s *Surface) waiting(ctx context.Context) ([]*approvals.Request, error) {
	return s.kept.waiting.get(s.now(), func() ([]*approvals.Request, error) {
		return s.list(ctx, approvals.Filter{State: approvals.StatePending, Limit: 200}, 1000)
	})
}

// recent are the newest requests.
func (s *Surface) recent(ctx context.Context) ([]*approvals.Request, error) {
	return s.kept.recent.get(s.now(), func() ([]*approvals.Request, error) {
		return s.list(ctx, approvals.Filter{Limit: 200}, 1000)
	})
}

func (s *Surface) list(ctx context.Context, f approvals.Filter, most int) (all []*approvals.Request, err error) {
	for len(all) < most {
		page, next, err := s.requests.List(ctx, f)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if f.Cursor = next; next == "" {
			break
		}
	}
	return all, nil
}
