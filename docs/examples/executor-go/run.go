package main

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/plugins/sdk"
)

// batch is how many keys are copied or deleted at once.
const batch = 500

// Run makes the step so. It may have been begun before, or be done already.
func (x executor) Run(ctx context.Context, step sdk.Step, out sdk.Events) error {
	s, err := x.open(ctx, step)
	if err != nil {
		return err
	}
	defer s.close()
	if step.Verb == sdk.Cleanup {
		return s.cleanup(ctx, out)
	}
	return s.deploy(ctx, step, out)
}

func (s *share) deploy(ctx context.Context, step sdk.Step, out sdk.Events) error {
	want, err := wanted(ctx, s.name, step)
	if err != nil {
		return err
	}
	now, err := s.look(ctx)
	if err != nil {
		return err
	}
	// The mark comes first: whatever happens from here on, what is made is found.
	if err := s.claim(ctx, now); err != nil {
		return err
	}
	if !now.has(want) {
		out.Progress("giving the user "+s.name+" its rules", 0, 0)
		if err := s.setUser(ctx, want); err != nil {
			return err
		}
	}
	if want.template != "" && now.seeded == "" {
		if err := s.seed(ctx, want.template, out); err != nil {
			return err
		}
	}
	out.Output("address", s.address)
	out.Output("user", s.name)
	out.Output("prefix", s.prefix())
	return nil
}

// setUser gives the user exactly the rules that are wanted, and notes at the mark
// what Redis made of them, so that a later change by hand shows.
func (s *share) setUser(ctx context.Context, want rules) error {
	if err := s.db.ACLSetUser(ctx, s.name, want.all()...).Err(); err != nil {
		return away("The user cannot be made", err)
	}
	if err := s.saveUsers(ctx); err != nil {
		return err
	}
	made, err := s.user(ctx)
	if err != nil {
		return err
	}
	return away("The mark cannot be written", s.db.HSet(ctx, s.mark(), "rules", want.text, "user", made.digest).Err())
}

// saveUsers keeps the users over a restart of Redis, if it has a file for them.
func (s *share) saveUsers(ctx context.Context) error {
	err := s.db.Do(ctx, "ACL", "SAVE").Err()
	if err != nil && strings.Contains(err.Error(), "not configured to use an ACL file") {
		return nil
	}
	return away("The users cannot be saved", err)
}

// seed copies the template's keys, and never over a key that is there: the
// environment's programs may be at work already when a step is run again.
func (s *share) seed(ctx context.Context, template string, out sdk.Events) error {
	done := 0
	err := s.keys(ctx, template, func(keys []string) error {
		pipe := s.db.Pipeline()
		for _, key := range keys {
			pipe.Copy(ctx, key, s.prefix()+strings.TrimPrefix(key, template), 0, false)
		}
		_, err := pipe.Exec(ctx)
		done += len(keys)
		out.Progress("copying keys of "+template, done, 0)
		return away("The template cannot be copied", err)
	})
	if err != nil {
		return err
	}
	return away("The mark cannot be written", s.db.HSet(ctx, s.mark(), "seeded", template).Err())
}

// cleanup takes away what is marked as this environment's, and the mark last: a
// cleanup that is cut off finds the rest when it is run again.
func (s *share) cleanup(ctx context.Context, out sdk.Events) error {
	now, err := s.look(ctx)
	if err != nil {
		return err
	}
	if now.owner != s.owner {
		out.Log("There is nothing of this environment.")
		return nil
	}
	gone, err := s.db.ACLDelUser(ctx, s.name).Result()
	if err != nil {
		return away("The user cannot be deleted", err)
	}
	if err := s.saveUsers(ctx); err != nil {
		return err
	}
	if gone > 0 {
		out.Receipt(sdk.Resource{Kind: "Redis user", Name: s.name})
	}
	some := false
	if err := s.keys(ctx, s.prefix(), func(keys []string) error {
		some = true
		return away("Keys cannot be deleted", s.db.Unlink(ctx, keys...).Err())
	}); err != nil {
		return err
	}
	if some {
		out.Receipt(sdk.Resource{Kind: "Redis keys", Name: s.prefix() + "*"})
	}
	return away("The mark cannot be deleted", s.db.Del(ctx, s.mark()).Err())
}

// keys calls do with the keys under a prefix, some at a time.
func (s *share) keys(ctx context.Context, prefix string, do func(keys []string) error) error {
	literal := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(prefix)
	for cursor := uint64(0); ; {
		keys, next, err := s.db.Scan(ctx, cursor, literal+"*", batch).Result()
		if err != nil {
			return away("Keys cannot be listed", err)
		}
		if len(keys) > 0 {
			if err := do(keys); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// away is what a failure of Redis means to people: it is not their input, and
// the same step may succeed later. The error itself is for Berth's log.
func away(what string, err error) error {
	var refused redis.Error
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &refused):
		return &sdk.Error{Fault: sdk.FaultDownstream, Msg: what + ": Redis refuses. `berth doctor` says whether the administrator's rights suffice.", Err: err}
	}
	return (&sdk.Error{Fault: sdk.FaultDownstream, Msg: what + ": Redis does not answer as it should. Look whether it runs, and try again.", Err: err}).WithRetry()
}
