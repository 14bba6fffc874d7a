package schedule

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

const (
	// followEvery is how often requests are looked at that schedules made.
	followEvery = 5 * time.Second
	// followMost is how many are looked at each time; the others have their turn
	// the next time.
	followMost = 100
)

// follow looks what became of the requests that schedules made: it tells of what
// was not done, and withdraws what has no reason any more, since somebody said
// meanwhile that the environment is needed.
func (s *Scheduler) follow(ctx context.Context, token int64, plans []*plan) error {
	now := s.now()
	if now.Sub(s.followed) < followEvery && !s.followed.After(now) {
		return nil
	}
	all, err := s.o.Redis.HGetAll(ctx, s.keys.open).Result()
	if err != nil {
		return fmt.Errorf("schedule: read what was asked for: %w", err)
	}
	ids := make([]string, 0, len(all))
	for id := range all {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if len(ids) > followMost { // go on after the last one of the time before
		at, same := slices.BinarySearch(ids, s.next)
		if same {
			at++
		}
		ids = append(slices.Clone(ids[at:]), ids[:at]...)[:followMost]
		s.next = ids[followMost-1]
	}
	var b batch
	for _, id := range ids {
		var o open
		ended := true
		if err := json.Unmarshal([]byte(all[id]), &o); err == nil {
			if ended, err = s.became(ctx, id, o, plans); err != nil {
				return err
			}
		}
		if ended {
			b.del(inOpen, id)
		}
	}
	s.followed = now
	if len(b.args) == 0 {
		return nil
	}
	return s.write(ctx, token, &b)
}

// became looks at one request, and tells whether it need not be looked at again.
func (s *Scheduler) became(ctx context.Context, id string, o open, plans []*plan) (bool, error) {
	r, err := s.o.Requests.Get(ctx, id)
	if actions.CodeOf(err) == actions.CodeNotFound {
		return true, nil
	}
	if again(ctx, err) {
		return false, err
	}
	if err != nil { // it says nothing that could be told, now or later
		s.log.ErrorContext(ctx, "what became of a schedule's request cannot be read", "schedule", o.Schedule, "env", o.Env, "request_id", id, "error", err)
		return true, nil
	}
	p := s.expiry
	if o.Schedule != Expiry {
		i := slices.IndexFunc(plans, func(p *plan) bool { return p.Name == o.Schedule })
		if i < 0 {
			return true, nil // the schedule was removed, and forgotten
		}
		p = plans[i]
	}
	tick := time.Unix(o.Tick, 0).UTC()
	if r.State.Ended() {
		return true, s.ended(ctx, p, r, tick)
	}
	if !p.taking || r.State != approvals.StatePending && r.State != approvals.StateReleased {
		return false, nil
	}
	why, err := s.needed(ctx, p, r, tick)
	if err != nil || why == "" {
		return false, err
	}
	_, err = s.o.Requests.Cancel(ctx, id, p.requester(), why)
	if again(ctx, err) {
		return false, err
	}
	s.log.InfoContext(ctx, "a schedule withdrew its request", "schedule", p.Name, "request_id", id, "env", o.Env, "why", why)
	return false, nil // its end is seen the next time
}

// ended tells of a request that was not done. That somebody withdrew it, or that
// its environment was not there any more when its turn came, is no news.
func (s *Scheduler) ended(ctx context.Context, p *plan, r *approvals.Request, tick time.Time) error {
	switch r.State {
	case approvals.StateRefused:
		if r.Code == actions.CodeConflict || r.Code == actions.CodeNotFound {
			s.log.InfoContext(ctx, "what a schedule asked for was not to be done any more", "schedule", p.Name, "request_id", r.ID, "env", r.Order.Env.String(), "why", r.Reason)
			return nil
		}
	case approvals.StateFailed, approvals.StateDenied, approvals.StateExpired:
	default:
		return nil
	}
	return s.tellNotTaken(ctx, p, r.Order.Env, r.Order.Verb, tick, r, r.Reason)
}

// needed is why an environment is not to be taken any more that a request, which
// waits, is about; "" when nothing has changed, or that is not known.
func (s *Scheduler) needed(ctx context.Context, p *plan, r *approvals.Request, tick time.Time) (string, error) {
	env, err := s.environment(ctx, r.Order.Env.String())
	if again(ctx, err) {
		return "", err
	}
	if err != nil || env == nil {
		return "", nil
	}
	switch {
	case env.Keep:
		return "somebody said that it stays", nil
	case p.cron == nil && env.ExpiresAt.IsZero():
		return "it does not expire any more", nil
	case p.cron == nil && env.ExpiresAt.After(s.now()):
		return "it lives until " + clock(env.ExpiresAt) + " now", nil
	case p.cron == nil || p.Where == nil:
		return "", nil
	}
	app, err := s.o.Catalog.App(env.Name.App)
	if err != nil {
		return "", nil
	}
	if is, err := p.Where.Match(env, app, tick); err != nil || is {
		return "", nil
	}
	return "the schedule " + p.Name + " is not about it any more", nil
}
