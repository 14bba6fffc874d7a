package chat

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// shortWait is how long a write waits on the spot for its turn. Who would wait
	// longer does something else meanwhile.
	shortWait = 2 * time.Second
	// longestBlock bounds a pause that a platform asks for: longer ones are asked
	// for again.
	longestBlock = time.Hour
)

// The kinds of writes, which platforms count apart from one another. Answers
// are not counted: platforms take a few of them for each thing that somebody
// does, and people wait for them.
const (
	writePost = "post"
	writeEdit = "edit"
)

// budget counts the writes to each workspace in Redis, for all replicas
// together.
type budget struct {
	rdb     redis.UniversalClient
	replica string
	count   atomic.Int64 // makes what is counted unique
}

// spendScript counts one write, or says how long it has to wait. A short wait
// is reserved: whoever asks next gets the turn after it.
//
//	KEYS  1 the workspace's writes of this kind, 2 its pause, 3 when the channel is free, in ms
//	ARGV  1 a unique name, 2 how many fit the window, 3 the window in ms, 4 how far messages to the
//	      channel are apart in ms, 5 the longest wait that is reserved, in ms
//	→     1 when it is reserved, else 0; 2 how many ms to wait
var spendScript = redis.NewScript(`
local pause = redis.call('PTTL', KEYS[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local most, window, apart = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local at = math.max(now, now + pause)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
if most > 0 then
	local nth = redis.call('ZREVRANGE', KEYS[1], most - 1, most - 1, 'WITHSCORES')
	if nth[2] then at = math.max(at, tonumber(nth[2]) + window) end
end
if apart > 0 then at = math.max(at, tonumber(redis.call('GET', KEYS[3]) or '0')) end
local wait = at - now
if wait > tonumber(ARGV[5]) then return {0, wait} end
redis.call('ZADD', KEYS[1], at, ARGV[1])
redis.call('PEXPIRE', KEYS[1], window + wait)
if apart > 0 then redis.call('SET', KEYS[3], string.format('%d', at + apart), 'PX', wait + apart) end
return {1, wait}`)

// blockScript begins a pause, unless a longer one lasts.
//
//	KEYS  1 the pause
//	ARGV  1 how long it is, in ms
var blockScript = redis.NewScript(`
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
return 0`)

// account is whose budget a write is of.
func account(at bot.ChatPlace) string { return at.Platform + ":" + at.Workspace }

// spend lets a write pass, after a short wait if need be, or returns
// *bot.Limited. Of edits, those that are no end leave a quarter for those that are.
func (b *budget) spend(ctx context.Context, at bot.ChatPlace, limits bot.ChatLimits, kind string, end bool) error {
	most, apart, channel := limits.Posts, limits.ChannelEvery, at.Channel
	if channel == "" {
		channel = "@" + at.User
	}
	if kind == writeEdit {
		if most, apart = limits.Edits, 0; !end {
			most -= most / 4
		}
	}
	window := limits.Window
	if window <= 0 {
		window, most = time.Millisecond, 0
	}
	name := b.replica + "-" + strconv.FormatInt(b.count.Add(1), 10)
	out, err := spendScript.Run(ctx, b.rdb, []string{keySpent(account(at), kind), keyBlocked(account(at), kind), keyNext(account(at), channel)},
		name, most, window.Milliseconds(), apart.Milliseconds(), shortWait.Milliseconds()).Int64Slice()
	if err != nil || len(out) != 2 {
		return &actions.Error{Op: "chat.budget", Code: actions.CodeUnavailable, Msg: "Redis did not answer; try again in a moment.", Err: err, Retry: true}
	}
	wait := time.Duration(out[1]) * time.Millisecond
	if out[0] == 0 {
		return &bot.Limited{After: wait}
	}
	return pause(ctx, wait)
}

// block lets nothing of the kind pass for a while.
func (b *budget) block(ctx context.Context, at bot.ChatPlace, kind string, after time.Duration) error {
	after = min(max(after, 100*time.Millisecond), longestBlock)
	return blockScript.Run(context.WithoutCancel(ctx), b.rdb, []string{keyBlocked(account(at), kind)}, after.Milliseconds()).Err()
}

// pause waits, unless ctx ends, and returns why it ended.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
