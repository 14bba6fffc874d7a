package github

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// What an account may write, of which calm writes leave some for those that
// cannot wait.
// Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
const (
	perMinute, perHour         = 80, 500
	calmPerMinute, calmPerHour = 60, 400
	// shortWait is how long a write waits on the spot. Whoever would wait longer
	// does something else meanwhile.
	shortWait = 2 * time.Second
)

// budget counts the writes of each account in Redis, for all replicas together.
type budget struct {
	rdb redis.UniversalClient
	now func() time.Time
	log *slog.Logger
	// replica and count make what is counted unique.
	replica string
	count   atomic.Int64
}

// spendScript counts one write if it fits.
//
//	KEYS  1 the account's writes of the last hour, 2 its pause
//	ARGV  1 now in ms, 2 a unique name, 3 how many a minute, 4 how many an hour, 5 "1" to count
//	→ 0, or how many ms to wait
var spendScript = redis.NewScript(`
local pause = redis.call('PTTL', KEYS[2])
if pause > 0 then return pause end
if ARGV[5] ~= '1' then return 0 end
local now = tonumber(ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 3600000)
local function wait(most, window)
	local n = redis.call('ZCOUNT', KEYS[1], '(' .. (now - window), '+inf')
	if n < most then return 0 end
	local first = redis.call('ZRANGE', KEYS[1], -most, -most, 'WITHSCORES')
	return math.max(1, first[2] + window - now)
end
local ms = math.max(wait(tonumber(ARGV[3]), 60000), wait(tonumber(ARGV[4]), 3600000))
if ms > 0 then return ms end
redis.call('ZADD', KEYS[1], now, ARGV[2])
redis.call('PEXPIRE', KEYS[1], 3600000)
return 0`)

// spend lets a call pass, after a short wait if need be, or returns
// *limitedError. Reads are not counted and only honour a pause.
func (b *budget) spend(ctx context.Context, account string, write, calm bool) error {
	for {
		wait, err := b.ask(ctx, account, write, calm)
		if err != nil && !write {
			return nil // at worst GitHub says again that it wants a pause
		}
		if err != nil {
			return fmt.Errorf("ask the budget of %s: %w", account, err)
		}
		if wait <= 0 {
			return nil
		}
		if wait > shortWait {
			return &limitedError{after: wait}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func (b *budget) ask(ctx context.Context, account string, write, calm bool) (time.Duration, error) {
	if b.rdb == nil {
		return 0, nil // whoever only looks, as `berth doctor` does, shares no budget
	}
	minute, hour, counted := perMinute, perHour, 0
	if calm {
		minute, hour = calmPerMinute, calmPerHour
	}
	if write {
		counted = 1
	}
	ms, err := spendScript.Run(ctx, b.rdb, []string{keyBudget(account), keyBlocked(account)},
		b.now().UnixMilli(), fmt.Sprintf("%s-%d", b.replica, b.count.Add(1)), minute, hour, counted).Int64()
	return time.Duration(ms) * time.Millisecond, err
}

// block lets nothing of the account pass for a while.
func (b *budget) block(ctx context.Context, account string, pause time.Duration) {
	if b.rdb == nil {
		return
	}
	if err := b.rdb.Set(context.WithoutCancel(ctx), keyBlocked(account), "1", pause).Err(); err != nil {
		b.log.WarnContext(ctx, "GitHub's wish for a pause could not be kept", "account", account, "error", err)
	}
}
