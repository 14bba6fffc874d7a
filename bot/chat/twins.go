package chat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/bot"
)

const (
	// twinWithin is how far clicks of one person on one button are apart, as the
	// platform says, that are meant as one.
	twinWithin = 3 * time.Second
	// rememberClick is longer than any event is tried.
	rememberClick = 2 * time.Hour
)

// twinScript finds the click that another repeats. A click that is done again,
// after whatever came between, gets the same answer, or its own.
//
//	KEYS  1 the first click of the last ones on a button by somebody: "MS ID"
//	ARGV  1 when the click was made in ms, 2 its id, 3 how near a repetition is in ms, 4 how long the
//	      first is known in ms
//	→     the id of the click that it repeats, or its own
var twinScript = redis.NewScript(`
local at, id = string.match(redis.call('GET', KEYS[1]) or '', '^(-?%d+) (.+)$')
if at then
	local later = tonumber(ARGV[1]) - tonumber(at)
	if math.abs(later) < tonumber(ARGV[3]) then return id end
	if later < 0 then return ARGV[2] end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[4])
return ARGV[2]`)

// first is the id of the event that makes e one with it: of a double click the
// first, since platforms give each click an id of its own. Of all else it is e's
// own.
func (s *Surface) first(ctx context.Context, e bot.ChatEvent) (string, error) {
	if !e.Clicked {
		return e.ID, nil
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{e.Place.Platform, e.Place.ID(), e.Message, e.Identity, e.Digest, e.Line}, "\x00")))
	id, err := twinScript.Run(ctx, s.rdb, []string{keyClick(hex.EncodeToString(sum[:16]))},
		e.At.UnixMilli(), e.ID, twinWithin.Milliseconds(), rememberClick.Milliseconds()).Text()
	if err != nil {
		return "", unavailable("chat.click", err)
	}
	return id, nil
}
