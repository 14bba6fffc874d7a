package github

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
)

const (
	// reporters is how many things a replica shows at once.
	reporters = 4
	// showTimeout is how long showing one thing may take.
	showTimeout = 30 * time.Second
	// showAgain is how long after a failure it is tried again at first, and
	// showNever when it will not be of use soon.
	showAgain, showNever = 5 * time.Second, 5 * time.Minute
)

// newDue makes the list of what is to be shown: environments and posts.
func newDue(rdb redis.UniversalClient, s *Surface) *actions.Agenda {
	return actions.NewAgenda(actions.AgendaOptions{
		Redis: rdb, Prefix: keyPrefix, Replica: s.replica, Timeout: showTimeout, BackOff: showAgain, BackOffMost: 30 * time.Second, Now: s.now, Log: s.log,
	})
}

// show makes one thing visible: a post, or how an environment is. It returns when
// to look again, 0 when nothing more is to be done.
func (s *Surface) show(ctx context.Context, member string) (again time.Duration, err error) {
	if id, ok := strings.CutPrefix(member, postMark); ok {
		err = s.deliverPost(ctx, id)
	} else if name, errName := actions.ParseName(member); errName != nil {
		s.log.WarnContext(ctx, "what is due is no environment", "what", member)
	} else {
		again, err = s.showEnvironment(ctx, name)
	}
	if limited, ok := errors.AsType[*limitedError](err); ok {
		return max(limited.after, time.Millisecond), nil
	}
	if err != nil {
		again = 0
		if final(err) || errors.Is(err, errNotInstalled) {
			again = showNever
		}
	}
	return again, err
}

// follow marks environments that change. What it misses, the sweep finds.
func (s *Surface) follow(ctx context.Context) {
	s.store.FollowChanges(ctx, func(changes []actions.Change) error { return s.markChanged(ctx, changes) })
}

func (s *Surface) markChanged(ctx context.Context, changes []actions.Change) error {
	_, err := s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		done := map[actions.Name]bool{}
		for _, c := range changes {
			if !done[c.Env] {
				done[c.Env] = true
				s.due.Mark(ctx, pipe, c.Env.String(), s.now())
			}
		}
		return nil
	})
	s.due.Nudge()
	return err
}
