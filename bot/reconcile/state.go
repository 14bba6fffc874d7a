package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
)

// The fields of the state. Times are in Unix milliseconds.
const (
	fieldLast    = "last"    // when the last sweep began
	fieldMended  = "mended"  // when indexes were mended
	fieldOrphan  = "orphan:" // + cluster + "|" + environment: an orphan
	fieldEpisode = "episode:"
)

// state is what sweeps know of those before them: a hash, and a sorted set of
// environments by when they were last looked at.
type state struct {
	rdb         redis.UniversalClient
	key, sights string
}

// saved is the state as a sweep finds it.
type saved struct {
	mended   time.Time
	orphans  map[string]orphan  // by cluster + "|" + environment
	episodes map[string]episode // by what is the matter
}

// orphan is what is known of things that no environment accounts for.
type orphan struct {
	First int64 `json:"first"`           // when they were seen first
	Told  bool  `json:"told,omitempty"`  // people were told
	Asked int64 `json:"asked,omitempty"` // when their cleanup was first to be asked for
}

// episode is something that is the matter for some time, and not only now.
type episode struct {
	Since int64 `json:"since"`
	Told  int64 `json:"told,omitempty"` // when people were last told
}

func stamp(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

func unstamp(text string) time.Time {
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func (t *state) last(ctx context.Context) (time.Time, error) {
	text, err := t.rdb.HGet(ctx, t.key, fieldLast).Result()
	if errors.Is(err, redis.Nil) {
		return time.Time{}, nil
	}
	return unstamp(text), err
}

// begin notes the start of a sweep and reads what the others left.
func (t *state) begin(ctx context.Context, token int64, now time.Time) (saved, error) {
	if err := t.set(ctx, token, fieldLast, stamp(now)); err != nil {
		return saved{}, err
	}
	fields, err := t.rdb.HGetAll(ctx, t.key).Result()
	if err != nil {
		return saved{}, err
	}
	s := saved{mended: unstamp(fields[fieldMended]), orphans: map[string]orphan{}, episodes: map[string]episode{}}
	for field, text := range fields {
		// What cannot be read was not written by us, and counts as not there.
		if name, ok := strings.CutPrefix(field, fieldOrphan); ok {
			var o orphan
			if json.Unmarshal([]byte(text), &o) == nil {
				s.orphans[name] = o
			}
		}
		if name, ok := strings.CutPrefix(field, fieldEpisode); ok {
			var e episode
			if json.Unmarshal([]byte(text), &e) == nil {
				s.episodes[name] = e
			}
		}
	}
	return s, nil
}

// writeScript changes fields of the state for as long as nobody with a later
// lease did.
//
//	KEYS[1]  the state
//	ARGV     1 the lease's token, then pairs of a field and its value; "" deletes it
//	output   1, or 0 when a later leader wrote
var writeScript = redis.NewScript(`
local token = tonumber(ARGV[1])
if tonumber(redis.call('HGET', KEYS[1], 'fence') or '0') > token then return 0 end
redis.call('HSET', KEYS[1], 'fence', ARGV[1])
for i = 2, #ARGV, 2 do
	if ARGV[i + 1] == '' then
		redis.call('HDEL', KEYS[1], ARGV[i])
	else
		redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
	end
end
return 1`)

// set writes pairs of fields and values; "" deletes a field. It returns
// CodeFenced when a later leader wrote.
func (t *state) set(ctx context.Context, token int64, pairs ...string) error {
	args := make([]any, 0, len(pairs)+1)
	args = append(args, token)
	for _, p := range pairs {
		args = append(args, p)
	}
	written, err := writeScript.Run(ctx, t.rdb, []string{t.key}, args...).Int()
	if err == nil && written == 0 {
		return actions.Errorf("reconcile.state", actions.CodeFenced, "Another replica sweeps by now; this one stops.")
	}
	return err
}

// setJSON writes a value as JSON.
func (t *state) setJSON(ctx context.Context, token int64, field string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return t.set(ctx, token, field, string(text))
}
