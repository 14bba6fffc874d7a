package actions

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	changesKey = keyPrefix + "changes"
	// maxChanges is about how many hints are kept: some minutes of a very busy
	// Berth. A reader that missed some sweeps the records instead.
	maxChanges = 10_000
	// longestBlock is how long one read waits in Redis; a longer wait is made of
	// several, so that a stopped reader gives its connection back soon.
	longestBlock = 2 * time.Second
)

// Change is a hint that something about an environment changed: look at it
// again. The records are the truth; a hint may come twice, late or not at all.
type Change struct {
	ID        string // where the stream of hints can be resumed
	Env       Name
	RequestID string
	RunID     string
}

// touchWait is how long a hint waits for others about the same, which then are
// one: nobody sees the difference, and a request that moves on quickly is told of
// once.
const touchWait = 10 * time.Millisecond

// touched are the hints that wait to be published.
type touched struct {
	mu      sync.Mutex
	waiting []Change
	last    map[touchedKey]int // the place in waiting of the last one about it
}

type touchedKey struct {
	env     Name
	request string
}

// add puts c beside those that wait, and tells whether it is the first of them.
func (t *touched) add(c Change) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := touchedKey{c.Env, c.RequestID}
	if i, ok := t.last[key]; ok {
		if was := &t.waiting[i]; was.RunID == "" || c.RunID == "" || was.RunID == c.RunID {
			was.RunID = cmp.Or(c.RunID, was.RunID)
			return false
		}
	}
	if t.last == nil {
		t.last = make(map[touchedKey]int)
	}
	t.last[key] = len(t.waiting)
	t.waiting = append(t.waiting, c)
	return len(t.waiting) == 1
}

// take is all that waits.
func (t *touched) take() []Change {
	t.mu.Lock()
	defer t.mu.Unlock()
	waiting := t.waiting
	t.waiting, t.last = nil, nil
	return waiting
}

// Touch publishes a Change, soon after it returns. Its failure is logged only,
// since a hint that is not there costs time and nothing else. What belongs to no
// environment is shown nowhere, and so needs no hint.
func (s *Store) Touch(_ context.Context, env Name, requestID, runID string) {
	if env != BerthChain && s.touched.add(Change{Env: env, RequestID: requestID, RunID: runID}) {
		time.AfterFunc(touchWait, s.publish)
	}
}

// publish publishes the hints that wait.
func (s *Store) publish() {
	ctx := context.Background()
	changes := s.touched.take()
	hints := make([]redis.Cmder, len(changes))
	for i, c := range changes {
		hints[i] = redis.NewStringCmd(ctx, "xadd", changesKey, "maxlen", "~", maxChanges, "*", "app", c.Env.App, "env", c.Env.Env, "request", c.RequestID, "run", c.RunID)
	}
	s.pipe.Later(hints, func(err error) {
		s.log.WarnContext(ctx, "hints of changes were not published", "count", len(changes), "error", err)
	})
}

// Changes returns the hints after the one with ID after, the oldest first, and
// waits up to block for one when there is none; then it returns none. after ""
// means all that are kept and "$" those that come from now on. A reader that
// must not miss any starts at ChangesHead and goes on from the last ID it got.
func (s *Store) Changes(ctx context.Context, after string, block time.Duration) ([]Change, error) {
	const op, most = "store.changes", 500
	switch after {
	case "":
		after = "0-0"
	case "$":
		head, err := s.ChangesHead(ctx)
		if err != nil {
			return nil, err
		}
		after = head
	}
	for end := time.Now().Add(block); ; {
		wait := min(time.Until(end), longestBlock).Truncate(time.Millisecond)
		if wait <= 0 {
			wait = -1 // do not wait at all; 0 would mean for ever
		}
		found, err := s.readStream(ctx, &redis.XReadArgs{Streams: []string{changesKey, after}, Count: most, Block: wait})
		if err != nil {
			return nil, redisError(op, err)
		}
		if len(found) > 0 {
			return readChanges(found), nil
		}
		if wait < 0 || !time.Now().Before(end) {
			return nil, nil
		}
	}
}

// ChangesHead is the ID of the newest hint: what Changes reads on from to get
// those that come later, without a gap between two calls.
func (s *Store) ChangesHead(ctx context.Context) (string, error) {
	last, err := s.rdb.XRevRangeN(ctx, changesKey, "+", "-", 1).Result()
	if err != nil {
		return "", redisError("store.changes_head", err)
	}
	if len(last) == 0 {
		return "0-0", nil
	}
	return last[0].ID, nil
}

// FollowChanges hands take the hints of what changes from now on, in their order,
// until ctx ends. What take does not accept, as while Redis is away, it is handed
// again, later each time.
func (s *Store) FollowChanges(ctx context.Context, take func([]Change) error) {
	after, failures := "", 0
	for ctx.Err() == nil {
		var changes []Change
		var err error
		if after == "" {
			after, err = s.ChangesHead(ctx)
		}
		if err == nil {
			changes, err = s.Changes(ctx, after, longestBlock)
		}
		if err == nil && len(changes) > 0 {
			err = take(changes)
		}
		switch {
		case ctx.Err() != nil:
		case err != nil:
			s.log.WarnContext(ctx, "changes cannot be followed; trying again", "error", err)
			_ = pauseFor(ctx, min(5*time.Second, 250*time.Millisecond<<min(failures, 10))) // the loop looks at ctx
			failures++
		default:
			failures = 0
			if len(changes) > 0 {
				after = changes[len(changes)-1].ID
			}
		}
	}
}

// readStream is XREAD that ends at once when ctx does. The client waits for
// Redis whatever becomes of ctx, so the read goes on alone for as long as it
// blocks, longestBlock at most.
func (s *Store) readStream(ctx context.Context, args *redis.XReadArgs) ([]redis.XMessage, error) {
	type answer struct {
		streams []redis.XStream
		err     error
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	got := make(chan answer, 1)
	go func() {
		streams, err := s.rdb.XRead(ctx, args).Result()
		got <- answer{streams, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case a := <-got:
		if errors.Is(a.err, redis.Nil) || (a.err == nil && len(a.streams) == 0) {
			return nil, nil
		}
		if a.err != nil {
			return nil, a.err
		}
		return a.streams[0].Messages, nil
	}
}

func readChanges(messages []redis.XMessage) []Change {
	changes := make([]Change, 0, len(messages))
	for _, m := range messages {
		text := func(key string) string { v, _ := m.Values[key].(string); return v }
		changes = append(changes, Change{
			ID: m.ID, Env: Name{App: text("app"), Env: text("env")}, RequestID: text("request"), RunID: text("run"),
		})
	}
	return changes
}
