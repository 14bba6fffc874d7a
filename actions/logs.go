package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// The log of a run is a stream, "events:ID", of its newest events, and, once
// there are many or the run has ended, a hash, "log:ID", of the ones before them
// in compressed chunks. An event keeps the ID that it had in the stream, so that
// readers go on from one into the other.
const (
	// logHead and logTail are how many events of a run are kept at least: the
	// first ones, in which it says what it is about to do, and the last ones, in
	// which it says why it failed. A helm release makes some dozens; a script that
	// builds may make thousands.
	logHead, logTail = 1_000, 4_000
	// foldAt is at how many events in the stream the oldest are made a chunk.
	foldAt = chunkEvents + chunkEvents/2
	// maxRunsKept and maxLogsKept bound what an app may ask to be kept.
	maxRunsKept = 500
	maxLogsKept = 10 * 365 * 24 * time.Hour
	// untidied is how many earlier runs are looked at when one ends, since a
	// worker that died may have left their logs as they were.
	untidied = 3
)

func logKey(id string) string { return "log:" + id }

// kept is how much of the past of an app's environments is kept.
func (s *Store) kept(app string) Keep {
	var k Keep
	if s.keepOf != nil {
		k = s.keepOf(app)
	}
	if k.Runs <= 0 {
		k.Runs = RunsKept
	}
	if k.Logs <= 0 {
		k.Logs = EventsKept
	}
	k.Runs, k.Logs = min(k.Runs, maxRunsKept), min(k.Logs, maxLogsKept)
	return k
}

// foldScript puts a chunk in place of the events that it was made of, and cuts
// what is too much out of the middle of the log. All of it happens or nothing: a
// chunk of events that somebody else has folded is not taken.
//
//	KEYS[1]  the events        KEYS[2]  the chunks
//	ARGV[1]  the ID of the chunk's first event, ARGV[2] of its last
//	ARGV[3]  the first ID that comes after it
//	ARGV[4]  the chunk
//	ARGV[5]  how many events are kept at the head, ARGV[6] at the tail
//	ARGV[7]  how many lines more than it has events the chunk stands for
//	output   1, or 0 when the events are not the oldest of the stream any more
//
// The hash has a field for each chunk, by the ID of its last event, and "meta":
// chunks as [ID, number of events, lines more that they stand for], and how many
// lines were cut and up to which.
var foldScript = redis.NewScript(`
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
if #oldest == 0 or oldest[1][1] ~= ARGV[1] then return 0 end
local count = redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[3])
local text = redis.call('HGET', KEYS[2], 'meta')
local meta = text and cjson.decode(text) or {chunks = {}, cut = 0, upto = ''}
table.insert(meta.chunks, {ARGV[2], count, tonumber(ARGV[7])})
local head, tail, first = 0, redis.call('XLEN', KEYS[1]), 1
for _, c in ipairs(meta.chunks) do
	if head < tonumber(ARGV[5]) then head, first = head + c[2], first + 1 else tail = tail + c[2] end
end
while meta.chunks[first] and tail - meta.chunks[first][2] >= tonumber(ARGV[6]) do
	local c = table.remove(meta.chunks, first)
	redis.call('HDEL', KEYS[2], c[1])
	meta.cut, meta.upto, tail = meta.cut + c[2] + (c[3] or 0), c[1], tail - c[2]
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[4], 'meta', cjson.encode(meta))
local ttl = redis.call('PTTL', KEYS[1])
if ttl > 0 then redis.call('PEXPIRE', KEYS[2], ttl) end
return 1`)

// fold makes chunks of a log's oldest events, while the stream has at least least
// of them. Whoever does the same at the same time does no harm.
func (s *Store) fold(ctx context.Context, name Name, runID string, least int64) error {
	const op = "events.fold"
	key := s.Key(name, eventsKey(runID))
	for {
		var length *redis.IntCmd
		var oldest *redis.XMessageSliceCmd
		_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			length, oldest = p.XLen(ctx, key), p.XRangeN(ctx, key, "-", "+", chunkEvents)
			return nil
		})
		if err != nil {
			return redisError(op, err)
		}
		lines := linesOf(oldest.Val())
		if length.Val() < max(least, 1) || len(lines) == 0 {
			return nil
		}
		chunk, err := packLines(lines)
		if err != nil {
			return Wrap(op, CodeInternal, err, "A part of a run's log could not be compressed.")
		}
		last := lines[len(lines)-1].id
		taken, err := foldScript.Run(ctx, s.rdb, []string{key, s.Key(name, logKey(runID))},
			lines[0].id.String(), last.String(), last.next().String(), chunk, logHead, logTail, leftOut(lines)).Bool()
		if err != nil || !taken {
			return redisError(op, err)
		}
	}
}

// leftOut is how many lines were left out where lines say so, but for the lines
// that say it.
func leftOut(lines []logLine) (n int) {
	for _, l := range lines {
		var e Event
		if strings.Contains(l.text, `"left":`) && json.Unmarshal([]byte(l.text), &e) == nil && e.Left > 0 {
			n += e.Left - 1
		}
	}
	return n
}

// linesOf are the entries of a stream that make up one chunk.
func linesOf(messages []redis.XMessage) []logLine {
	lines, size := make([]logLine, 0, len(messages)), 0
	for _, m := range messages {
		id, _ := parseLogID(m.ID)
		text, _ := m.Values["e"].(string)
		if size += len(text); size > chunkBytes && len(lines) > 0 {
			break
		}
		lines = append(lines, logLine{id, text})
	}
	return lines
}

// logScript reads on in a log, at one moment.
//
//	KEYS[1]  the events        KEYS[2]  the chunks
//	ARGV[1]  the ID that is read from, as XRANGE takes it
//	ARGV[2]  the same ID's milliseconds, ARGV[3] its number; -1 for the start
//	ARGV[4]  how many events are wanted
//	output   {how many lines were cut, up to which ID,
//	         the IDs and sizes of chunks, the chunks, entries of the stream};
//	         entries only when there is no further chunk before them
var logScript = redis.NewScript(`
local text = redis.call('HGET', KEYS[2], 'meta')
local cut, upto, ids, chunks = 0, '', {}, {}
local ms, seq, most, rest = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), true
if text then
	local meta, got = cjson.decode(text), 0
	cut, upto = meta.cut, meta.upto
	for _, c in ipairs(meta.chunks) do
		local m, n = c[1]:match('^(%d+)-(%d+)$')
		m, n = tonumber(m), tonumber(n)
		if m > ms or (m == ms and n > seq) then
			if got >= most then rest = false; break end
			table.insert(ids, c[1])
			table.insert(ids, c[2])
			table.insert(chunks, redis.call('HGET', KEYS[2], c[1]) or '')
			if #chunks > 1 then got = got + c[2] end -- the first may be read in part already
		end
	end
end
local entries = {}
if rest then entries = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', most) end
return {cut, upto, ids, chunks, entries}`)

// logPart is what one reading of a log gives.
type logPart struct {
	lines []logLine
	cut   int64 // lines that were cut out of the log
	upto  logID // up to which
	end   bool  // there is no more yet
}

// readLog reads at least limit events after the given ID, the zero ID for all,
// or what there is.
func (s *Store) readLog(ctx context.Context, name Name, runID string, after *logID, limit int) (logPart, error) {
	const op = "store.events"
	from, ms, seq := "-", "-1", "-1"
	if after != nil {
		from, ms, seq = "("+after.String(), fmt.Sprint(after.ms), fmt.Sprint(after.seq)
	}
	reply, err := logScript.Run(ctx, s.rdb, []string{s.Key(name, eventsKey(runID)), s.Key(name, logKey(runID))}, from, ms, seq, limit).Slice()
	if err != nil {
		return logPart{}, redisError(op, err)
	}
	if len(reply) != 5 {
		return logPart{}, Errorf(op, CodeInternal, "Redis gave an unexpected answer.")
	}
	var part logPart
	part.cut, _ = reply[0].(int64)
	upto, _ := reply[1].(string)
	part.upto, _ = parseLogID(upto)
	ids, _ := reply[2].([]any)
	chunks, _ := reply[3].([]any)
	for i, c := range chunks {
		chunk, _ := c.(string)
		lines, err := unpackLines([]byte(chunk))
		if err != nil {
			s.log.ErrorContext(ctx, "a part of a run's log cannot be read", "env", name.String(), "run_id", runID, "chunk", ids[2*i], "error", err)
			lines = unreadableChunk(ids[2*i], ids[2*i+1])
		}
		for _, l := range lines {
			if after == nil || l.id.after(*after) {
				part.lines = append(part.lines, l)
			}
		}
	}
	entries, _ := reply[4].([]any)
	part.end = len(entries) < limit && len(part.lines) < limit
	for _, e := range entries {
		part.lines = append(part.lines, entryLine(e))
	}
	return part, nil
}

// entryLine is an entry of a stream as scripts give it: an ID, and fields and
// values by turns.
func entryLine(entry any) logLine {
	var l logLine
	pair, _ := entry.([]any)
	if len(pair) != 2 {
		return l
	}
	id, _ := pair[0].(string)
	l.id, _ = parseLogID(id)
	fields, _ := pair[1].([]any)
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "e" {
			l.text, _ = fields[i+1].(string)
		}
	}
	return l
}

// unreadableChunk is what is told in place of a chunk that somebody wrote over.
func unreadableChunk(last, count any) []logLine {
	id, _ := last.(string)
	at, _ := parseLogID(id)
	n, _ := count.(int64)
	return []logLine{{at, noticeOf(at, fmt.Sprintf("… %d lines cannot be read here; Berth's log says why.", n))}}
}

// noticeOf is a line that Berth puts into a log in place of others.
func noticeOf(at logID, text string) string {
	line, _ := json.Marshal(Event{Time: time.UnixMilli(int64(min(at.ms, maxSeq))).UTC(), Kind: EventLog, Text: text}) //nolint:errchkjson // nothing in it can fail
	return string(line)
}

// withCut puts the line that tells of a cut where the cut is. It has the ID of
// the last event that is gone, so that readers go on after it.
func (p logPart) withCut(after *logID) []logLine {
	if p.cut == 0 || (after != nil && !p.upto.after(*after)) {
		return p.lines
	}
	for i, l := range p.lines {
		if l.id.after(p.upto) {
			told := noticeOf(p.upto, fmt.Sprintf("… %d lines were cut out here: of a long log, the first %d and the last %d are kept.", p.cut, logHead, logTail))
			lines := append(make([]logLine, 0, len(p.lines)+1), p.lines[:i]...)
			return append(append(lines, logLine{p.upto, told}), p.lines[i:]...)
		}
	}
	return p.lines
}

// tidy is what a run's end leaves to do, and what nothing depends on: its log is
// compressed, and old runs are forgotten.
func (s *Store) tidy(ctx context.Context, name Name, runID string) {
	err := s.foldAll(ctx, name, runID)
	if err == nil {
		err = s.trimRuns(ctx, name)
	}
	if err != nil {
		s.log.WarnContext(ctx, "old runs were not forgotten, or their logs not compressed", "env", name.String(), "error", err)
	}
}

// foldAll compresses the logs of the run that has just ended, and of those before
// it whose worker did not come to it.
func (s *Store) foldAll(ctx context.Context, name Name, runID string) error {
	const op = "events.fold_all"
	ids, err := s.rdb.ZRevRange(ctx, s.Key(name, runsKey), 0, untidied).Result()
	if err != nil {
		return redisError(op, err)
	}
	lengths := make(map[string]*redis.IntCmd, len(ids))
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, id := range append(ids, runID) {
			lengths[id] = p.XLen(ctx, s.Key(name, eventsKey(id)))
		}
		return nil
	})
	if err != nil {
		return redisError(op, err)
	}
	for id, length := range lengths {
		if length.Val() == 0 {
			continue
		}
		if err := s.fold(ctx, name, id, 1); err != nil {
			return err
		}
	}
	return nil
}
