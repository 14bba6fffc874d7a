package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"
)

// maxDrift is how many differences of a part a record holds.
const maxDrift = 50

// seenScript writes an environment's record without an audit record: what was
// seen is no change that anybody made.
//
//	KEYS[1]  the environment   KEYS[2]  its lease
//	ARGV[1]  the revision that it must have
//	ARGV[2]  the environment, JSON
//	output   1, or 0 when it has changed, or somebody holds it
var seenScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local now = redis.call('GET', KEYS[1])
if not now or cjson.decode(now).revision ~= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1`)

// Seen keeps what was seen of an environment's parts just now: health, drift, and
// why. Only parts that the record has and that are different from what was seen
// before are written, and a part that could not be seen stays as it was last
// seen. While an action is at the environment, or when it has changed since,
// nothing is written: what was seen is old then. It returns CodeNotFound when
// there is no such environment.
func (s *Store) Seen(ctx context.Context, name Name, seen map[string]Observation) error {
	const op = "store.seen"
	env, err := s.Environment(ctx, name)
	if err != nil {
		return err
	}
	if env.RunID != "" || env.State.Pending() || env.State == StateCleaned {
		return nil
	}
	revision, changed := env.Revision, false
	for _, part := range slices.Sorted(maps.Keys(seen)) {
		status, known := env.Parts[part]
		if now, different := status.after(seen[part]); known && different {
			now.At = s.clock()
			env.Parts[part], changed = now, true
		}
	}
	if !changed {
		return nil
	}
	env.Revision++
	text, err := json.Marshal(env)
	if err != nil {
		return Wrap(op, CodeInternal, err, fmt.Sprintf("What was seen of %s could not be written.", name))
	}
	written, err := seenScript.Run(ctx, s.rdb, []string{s.Key(name, envKey), s.Key(name, leaseKey)}, revision, text).Bool()
	if err != nil {
		return redisError(op, err)
	}
	if written {
		s.Touch(ctx, name, "", "")
	}
	return nil
}

// after is a part's status once o was seen of it, and whether that is another.
func (p PartStatus) after(o Observation) (PartStatus, bool) {
	if o.Health == "" || o.Health == Unknown {
		return p, false // failing to see is not seeing something else
	}
	drift := make([]string, 0, min(len(o.Drift), maxDrift))
	for _, d := range o.Drift[:min(len(o.Drift), maxDrift)] {
		drift = append(drift, short(d, maxDetail))
	}
	if p.Health == o.Health && slices.Equal(p.Drift, drift) {
		return p, false
	}
	if p.State != string(StepFailed) { // else Text says how its last step failed, which is worth more
		p.Text = short(o.Text, maxLine)
	}
	p.Health, p.Drift = o.Health, drift
	return p, true
}
