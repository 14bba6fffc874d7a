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
	// lineKept is how long the place in the line is kept of a write that was to come
	// back: it may be made no more.
	lineKept = 10 * time.Second
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

// spendScript counts one write, or says how long it has to wait. A short wait is
// reserved: whoever asks next gets the turn after it. Who has to wait for long
// stands in a line, and is told to come back when their turn may be, so that many
// who wait do not ask over and over, nor are overtaken by those who just came.
//
//	KEYS  1 the workspace's writes of this kind, 2 its pause, 3 when the channel is free, in ms,
//	      4 the line: a sorted set of names by when they are to come back, in ms
//	ARGV  1 a unique name for the write, 2 how many fit the window, 3 the window in ms, 4 how far messages
//	      to the channel are apart in ms, 5 the longest wait that is reserved, in ms, 6 who
//	      waits, 7 "1" for who stands in no line, 8 how long the place of one who does not come back
//	      is kept, in ms
//	→     1 when it is reserved, else 0; 2 how many ms to wait
var spendScript = redis.NewScript(`
local pause = redis.call('PTTL', KEYS[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local most, window, apart, who = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[6]
local at = math.max(now, now + pause)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
if most > 0 then
	local nth = redis.call('ZREVRANGE', KEYS[1], most - 1, most - 1, 'WITHSCORES')
	if nth[2] then at = math.max(at, tonumber(nth[2]) + window) end
end
if apart > 0 then at = math.max(at, tonumber(redis.call('GET', KEYS[3]) or '0')) end
if ARGV[7] ~= '1' then
	redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - tonumber(ARGV[8]))
	local before = redis.call('ZRANK', KEYS[4], who) or redis.call('ZCARD', KEYS[4])
	local each = apart
	if most > 0 then each = math.max(each, window / most) end
	at = math.floor(at + before * each)
end
local wait = at - now
if wait > tonumber(ARGV[5]) then
	if ARGV[7] ~= '1' then
		redis.call('ZADD', KEYS[4], at, who)
		redis.call('PEXPIRE', KEYS[4], wait + tonumber(ARGV[8]))
	end
	return {0, wait}
end
redis.call('ZREM', KEYS[4], who)
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
// *bot.Limited. who is the same when the same write is tried again. Of edits, those
// that nobody waits for leave a quarter for those that are awaited.
func (b *budget) spend(ctx context.Context, at bot.ChatPlace, limits bot.ChatLimits, kind, who string, awaited bool) error {
	most, apart, channel := limits.Posts, limits.ChannelEvery, at.Channel
	if channel == "" {
		channel = "@" + at.User
	}
	line, first := keyLine(account(at), kind+":"+channel), ""
	if kind == writeEdit {
		line = keyLine(account(at), kind)
		if most, apart = limits.Edits, 0; !awaited {
			most -= most / 4
		} else {
			first = "1"
		}
	}
	window := limits.Window
	if window <= 0 {
		window, most = time.Millisecond, 0
	}
	name := b.replica + "-" + strconv.FormatInt(b.count.Add(1), 10)
	out, err := spendScript.Run(ctx, b.rdb, []string{keySpent(account(at), kind), keyBlocked(account(at), kind), keyNext(account(at), channel), line},
		name, most, window.Milliseconds(), apart.Milliseconds(), shortWait.Milliseconds(), who, first, lineKept.Milliseconds()).Int64Slice()
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
