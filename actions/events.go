package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// RunsKept is how many runs of an environment are kept, the newest ones.
	RunsKept = 50
	// EventsKept is how long the events of a run are kept once it has ended.
	EventsKept = 30 * 24 * time.Hour
	// maxEvents is about how many events of a run are kept, the newest ones. A
	// helm release makes some dozens; a script that builds may make thousands.
	maxEvents = 5_000
	// maxLine is the longest text of an event, in bytes.
	maxLine = 4 << 10
	// eventPoll is how often a waiting reader looks for new events. Readers do
	// not block in Redis, since each would hold a connection of the pool.
	eventPoll = 150 * time.Millisecond
	// eventBuffer is how many events may wait to be written, and eventBatch how
	// many are written at once.
	eventBuffer, eventBatch = 10_000, 500
)

// encodeEvent is an event as it stands in the stream, with its text cleaned.
func encodeEvent(e Event) (string, error) {
	e.ID = ""
	e.Text = short(strings.TrimRight(e.Text, "\r\n"), maxLine)
	text, err := json.Marshal(e)
	if err != nil {
		return "", Wrap("event.encode", CodeInternal, err, "An event could not be written.")
	}
	return string(text), nil
}

// Events returns up to limit (at most 1000, which is also what 0 means) events
// of a run after the one with ID after, "" meaning from the start, the oldest
// first. When there is none yet it waits for one up to block. When events
// between after and the first one returned were dropped, since only the newest
// are kept, an event without ID says so. It returns CodeNotFound for an unknown
// run and CodeInvalid for an after that is no ID.
func (s *Store) Events(ctx context.Context, runID, after string, limit int, block time.Duration) ([]Event, error) {
	const op, most = "store.events", 1000
	if limit <= 0 || limit > most {
		limit = most
	}
	from := "-"
	if after != "" {
		if !streamID(after) {
			return nil, Errorf(op, CodeInvalid, "%q is no event's id; leave it out to read from the start.", clip(after))
		}
		from = "(" + after
	}
	name, err := s.runEnv(ctx, runID)
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(block)
	for {
		events, err := s.eventsNow(ctx, s.Key(name, eventsKey(runID)), from, limit)
		if err != nil || len(events) > 0 {
			return events, err
		}
		wait := min(eventPoll, time.Until(end))
		if wait <= 0 {
			return nil, nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, redisError(op, ctx.Err())
		case <-timer.C:
		}
	}
}

// streamID tells whether s is an ID of a stream's entry: two numbers.
func streamID(s string) bool {
	ms, seq, ok := strings.Cut(s, "-")
	number := func(t string) bool { _, err := strconv.ParseUint(t, 10, 64); return err == nil }
	return number(ms) && (!ok || number(seq))
}

func (s *Store) eventsNow(ctx context.Context, key, from string, limit int) ([]Event, error) {
	const op = "store.events"
	var found, oldest *redis.XMessageSliceCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		found, oldest = p.XRangeN(ctx, key, from, "+", int64(limit)), p.XRangeN(ctx, key, "-", "+", 1)
		return nil
	})
	if err != nil {
		return nil, redisError(op, err)
	}
	events := make([]Event, 0, len(found.Val())+1)
	for _, m := range found.Val() {
		text, _ := m.Values["e"].(string)
		var e Event
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			return nil, Wrap(op, CodeInternal, err, fmt.Sprintf("Event %s cannot be read.", m.ID))
		}
		e.ID = m.ID
		events = append(events, e)
	}
	if o := oldest.Val(); len(events) > 0 && len(o) > 0 && o[0].ID == events[0].ID && o[0].Values["first"] != "1" {
		cut := Event{Time: events[0].Time, Kind: EventLog, Text: fmt.Sprintf("… earlier events were dropped: the newest %d or so of a run are kept.", maxEvents)}
		events = append([]Event{cut}, events...)
	}
	return events, nil
}

// eventsScript appends events of a run, unless a later lease was taken.
//
//	KEYS[1]  the events        KEYS[2]  the counter of lease tokens
//	ARGV[1]  the writer's token
//	ARGV[2]  how many events to keep
//	ARGV[3]…  events, JSON
//	output   1, or 0 when the writer is fenced
var eventsScript = redis.NewScript(`
local token = redis.call('GET', KEYS[2])
if token and tonumber(token) > tonumber(ARGV[1]) then return 0 end
for i = 3, #ARGV do
	redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'e', ARGV[i], 'first', '0')
end
return 1`)
