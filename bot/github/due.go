package github

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
)

const (
	// reporters is how many things a replica shows at once.
	reporters = 4
	// showTimeout is how long showing one thing may take; leaseTime is how long
	// it stays with its replica when that dies.
	showTimeout = 30 * time.Second
	leaseTime   = 45 * time.Second
	// lookAgain is how long a claimed thing stays away from other replicas.
	lookAgain = leaseTime + 5*time.Second
	// idleLook is how often what is due is looked for when nothing says so.
	idleLook = time.Second
)

// markDue has something looked at, at the time given or before.
func markDue(ctx context.Context, rdb redis.Cmdable, member string, at time.Time) {
	rdb.ZAddLT(ctx, keyDue, redis.Z{Score: float64(at.UnixMilli()), Member: member})
}

// claimDue takes the first thing that is due.
//
//	KEYS  1 what is due
//	ARGV  1 now, 2 when it is due again if nothing comes of this, both in ms
//	→ the thing, or nothing; 2nd: when the next is due
var claimDue = redis.NewScript(`
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if not first[1] then return {'', 0} end
if tonumber(first[2]) > tonumber(ARGV[1]) then return {'', tonumber(first[2])} end
redis.call('ZADD', KEYS[1], ARGV[2], first[1])
return {first[1], tonumber(first[2])}`)

// settleDue ends a claim, unless the thing was marked again meanwhile.
//
//	KEYS  1 what is due
//	ARGV  1 the thing, 2 when it would be due again by the claim, 3 when it shall be; "" is never
var settleDue = redis.NewScript(`
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '0') ~= tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then return redis.call('ZREM', KEYS[1], ARGV[1]) end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
return 1`)

// takeLease takes a lease that is free, or that this replica has not been able
// to give back.
//
//	KEYS  1 the lease
//	ARGV  1 the replica, 2 how long it is, in ms
//	→ 1 taken, 0 another's
var takeLease = redis.NewScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`)

// releaseLease deletes a lease that is still the replica's.
var releaseLease = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)

// nudge tells this replica's reporters that something may be due.
func (s *Surface) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// report shows one due thing after another until ctx ends.
func (s *Surface) report(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		member, claimed, next, err := s.claim(ctx)
		switch {
		case err != nil:
			failures++
			if ctx.Err() == nil {
				s.log.WarnContext(ctx, "what is due to be shown cannot be read; trying again", "error", err)
			}
			pause(ctx, backOff(failures, 250*time.Millisecond, 5*time.Second))
		case member == "":
			failures = 0
			wait := idleLook
			if !next.IsZero() {
				wait = min(wait, max(next.Sub(s.now()), 10*time.Millisecond))
			}
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
			case <-s.wake:
			case <-timer.C:
			}
			timer.Stop()
		default:
			failures = 0
			s.nudge() // there may be more, for another reporter
			s.show(ctx, member, claimed)
		}
	}
}

// claim takes what is due first. claimed is what settleDue wants to know.
func (s *Surface) claim(ctx context.Context) (member string, claimed int64, next time.Time, err error) {
	now := s.now()
	claimed = now.Add(lookAgain).UnixMilli()
	out, err := claimDue.Run(ctx, s.rdb, []string{keyDue}, now.UnixMilli(), claimed).Slice()
	if err != nil {
		return "", 0, next, err
	}
	if len(out) != 2 {
		return "", 0, next, fmt.Errorf("claim: Redis answered %v", out)
	}
	member, _ = out[0].(string)
	if at, _ := out[1].(int64); at > 0 {
		next = time.UnixMilli(at)
	}
	return member, claimed, next, nil
}

// show makes one thing visible: a post, or how an environment is. It is done by
// one replica at a time, and tried again later when it fails.
func (s *Surface) show(ctx context.Context, member string, claimed int64) {
	ctx, stop := lingering(ctx)
	defer stop()
	again, err := s.showAlone(ctx, member)
	if limited, ok := errors.AsType[*limitedError](err); ok {
		again, err = limited.after, nil
	}
	if ctx.Err() != nil {
		return // there is no time left; it is due again by its claim
	}
	at := ""
	if err != nil {
		s.log.WarnContext(ctx, "something could not be shown; it is tried again", "what", member, "error", err)
		again = 5 * time.Second
		if final(err) || errors.Is(err, errNotInstalled) {
			again = 5 * time.Minute // nothing will change soon
		}
	}
	if again > 0 {
		at = fmt.Sprint(s.now().Add(again).UnixMilli())
	}
	s.settleClaim(ctx, member, claimed, at)
}

// settleClaim ends a claim, however long Redis is away, within the time that
// the claim lasts: without it nobody would look before that time is over.
func (s *Surface) settleClaim(ctx context.Context, member string, claimed int64, at string) {
	ctx, cancel := context.WithTimeout(ctx, lookAgain)
	defer cancel()
	for failures := 1; ctx.Err() == nil; failures++ {
		err := settleDue.Run(ctx, s.rdb, []string{keyDue}, member, claimed, at).Err()
		if err == nil {
			return
		}
		s.log.WarnContext(ctx, "what was shown could not be marked so; trying again", "what", member, "error", err)
		pause(ctx, backOff(failures, 250*time.Millisecond, 2*time.Second))
	}
}

// showAlone holds a lease while it shows. It returns when to look again, 0 when
// nothing more is to be done.
func (s *Surface) showAlone(ctx context.Context, member string) (again time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, showTimeout)
	defer cancel()
	if !s.showing.add(member) {
		return 500 * time.Millisecond, nil // this replica is at it
	}
	defer s.showing.remove(member)
	key := keyLease(member)
	taken, err := takeLease.Run(ctx, s.rdb, []string{key}, s.replica, leaseTime.Milliseconds()).Int()
	if err != nil {
		return 0, err
	}
	if taken == 0 {
		return 500 * time.Millisecond, nil
	}
	defer func() {
		if err := releaseLease.Run(context.WithoutCancel(ctx), s.rdb, []string{key}, s.replica).Err(); err != nil {
			s.log.WarnContext(ctx, "a lease was not given back; it runs out", "what", member, "error", err)
		}
	}()
	if id, ok := strings.CutPrefix(member, postMark); ok {
		return 0, s.deliverPost(ctx, id)
	}
	name, err := actions.ParseName(member)
	if err != nil {
		s.log.WarnContext(ctx, "what is due is no environment", "what", member)
		return 0, nil
	}
	return s.showEnvironment(ctx, name)
}

// follow marks environments that change. What it misses, the sweep finds.
func (s *Surface) follow(ctx context.Context) {
	after, failures := "", 0
	for ctx.Err() == nil {
		var changes []actions.Change
		var err error
		if after == "" {
			after, err = s.store.ChangesHead(ctx)
		}
		if err == nil {
			changes, err = s.store.Changes(ctx, after, 5*time.Second)
		}
		if err == nil && len(changes) > 0 {
			err = s.markChanged(ctx, changes)
		}
		if err != nil {
			failures++
			if ctx.Err() == nil {
				s.log.WarnContext(ctx, "changes cannot be followed; trying again", "error", err)
			}
			pause(ctx, backOff(failures, 250*time.Millisecond, 5*time.Second))
			continue
		}
		failures = 0
		if len(changes) > 0 {
			after = changes[len(changes)-1].ID
			s.nudge()
		}
	}
}

func (s *Surface) markChanged(ctx context.Context, changes []actions.Change) error {
	_, err := s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		done := map[actions.Name]bool{}
		for _, c := range changes {
			if !done[c.Env] {
				done[c.Env] = true
				markDue(ctx, pipe, c.Env.String(), s.now())
			}
		}
		return nil
	})
	return err
}
