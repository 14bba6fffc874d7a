package actions

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// RunsKept is how many runs of an environment are kept, the newest ones.
	RunsKept = 50
	// EventsKept is how long the events of a run are kept once it has ended.
	EventsKept = 30 * 24 * time.Hour
	// maxLine is the longest text of an event, in bytes.
	maxLine = 4 << 10
	// eventPoll is how often a waiting reader looks for new events. Readers do
	// not block in Redis, since each would hold a connection of the pool.
	eventPoll = 150 * time.Millisecond
	// eventBuffer is how many events may wait to be written, and eventBatch how
	// many are written at once.
	eventBuffer, eventBatch = 10_000, 500
)

// encodeEvent is an event as it stands in the stream, with its texts cleaned.
func encodeEvent(e Event) (string, error) {
	e.ID = ""
	e.Text = short(strings.TrimRight(e.Text, "\r\n"), maxLine)
	e.Part, e.State = short(e.Part, maxDetail), short(e.State, maxDetail)
	if e.Resource != nil {
		r := *e.Resource
		r.Kind, r.Name, r.Namespace = short(r.Kind, maxDetail), short(r.Name, maxDetail), short(r.Namespace, maxDetail)
		e.Resource = &r
	}
	text, err := json.Marshal(e)
	if err != nil {
		return "", Wrap("event.encode", CodeInternal, err, "An event could not be written.")
	}
	return string(text), nil
}

// Events returns up to limit (at most 1000, which is also what 0 means) events
// of a run after the one with ID after, "" meaning from the start, the oldest
// first. When there is none yet it waits for one up to block. Fewer than limit
// are all that there are so far. Of a long log the middle is cut out: a line in
// its place says so, whose ID is that of the last event that is gone. It returns CodeNotFound for an unknown
// run and CodeInvalid for an after that is no ID.
func (s *Store) Events(ctx context.Context, runID, after string, limit int, block time.Duration) ([]Event, error) {
	const op, most = "store.events", 1000
	if limit <= 0 || limit > most {
		limit = most
	}
	var from *logID
	if after != "" {
		id, ok := parseLogID(after)
		if !ok {
			return nil, Errorf(op, CodeInvalid, "%q is no event's id; leave it out to read from the start.", clip(after))
		}
		from = &id
	}
	name, err := s.runEnv(ctx, runID)
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(block)
	for {
		events, err := s.eventsNow(ctx, name, runID, from, limit)
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

// eventsNow reads limit events after the given ID, or all there are when those
// are fewer.
func (s *Store) eventsNow(ctx context.Context, name Name, runID string, after *logID, limit int) ([]Event, error) {
	var events []Event
	for len(events) < limit {
		part, err := s.readLog(ctx, name, runID, after, limit-len(events))
		if err != nil {
			return nil, err
		}
		lines := part.withCut(after)
		for _, l := range lines[:min(len(lines), limit-len(events))] {
			var e Event
			if err := json.Unmarshal([]byte(l.text), &e); err != nil {
				s.log.ErrorContext(ctx, "an event of a run cannot be read", "env", name.String(), "run_id", runID, "event", l.id.String(), "error", err)
				e = Event{Kind: EventLog, Text: "… a line cannot be read here; Berth's log says why."}
			}
			e.ID, after = l.id.String(), &l.id
			events = append(events, e)
		}
		if part.end || len(lines) == 0 {
			break
		}
	}
	return events, nil
}

// eventsScript appends events of a run, unless a later lease was taken.
//
//	KEYS[1]  the events        KEYS[2]  the counter of lease tokens
//	ARGV[1]  the writer's token
//	ARGV[2]…  events, JSON
//	output   how many there are in the stream then, or -1 when the writer is fenced
var eventsScript = redis.NewScript(`
local token = redis.call('GET', KEYS[2])
if token and tonumber(token) > tonumber(ARGV[1]) then return -1 end
for i = 2, #ARGV do
	redis.call('XADD', KEYS[1], '*', 'e', ARGV[i])
end
return redis.call('XLEN', KEYS[1])`)
