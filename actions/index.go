package actions

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Expiring lists up to limit (at most 500, which is also what 0 means) environments
// whose time is over after from and at until at the latest, the soonest first.
func (s *Store) Expiring(ctx context.Context, from, until time.Time, limit int) ([]*Environment, error) {
	const most = 500
	if limit <= 0 || limit > most {
		limit = most
	}
	var due []*Environment
	for cursor := ""; ; {
		page, next, err := s.Environments(ctx, EnvFilter{Cursor: cursor, Limit: most})
		if err != nil {
			return nil, err
		}
		for _, env := range page {
			if env.expires(from, until) {
				due = append(due, env)
			}
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	slices.SortFunc(due, sooner)
	return due[:min(len(due), limit)], nil
}

// expires tells whether the environment's time is over after from and at until at
// the latest.
func (e *Environment) expires(from, until time.Time) bool {
	return e.State != StateCleaned && !e.ExpiresAt.IsZero() && e.ExpiresAt.After(from) && !e.ExpiresAt.After(until)
}

// sooner orders environments by when their time is over.
func sooner(a, b *Environment) int {
	if c := a.ExpiresAt.Compare(b.ExpiresAt); c != 0 {
		return c
	}
	return strings.Compare(a.Name.String(), b.Name.String())
}

// MendIndexes makes the hints by which environments are found agree with them.
func (s *Store) MendIndexes(ctx context.Context) error {
	for cursor := ""; ; {
		page, next, err := s.Environments(ctx, EnvFilter{All: true, Cursor: cursor, Limit: 500})
		if err != nil {
			return err
		}
		for _, env := range page {
			if err := s.list(ctx, env.Name, env.State != StateCleaned); err != nil {
				return err
			}
		}
		if cursor = next; cursor == "" {
			return nil
		}
	}
}
