package chat

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// rememberEvent is how long what was done is known, and how long what cannot be
	// done is kept. Platforms deliver again within an hour.
	// Source: https://docs.slack.dev/apis/events-api/#retries
	rememberEvent = 24 * time.Hour
	// longestID bounds the id of an event, as ChatEvent says.
	longestID = 200
)

// Take stores what somebody did, so that it is done whatever becomes of this
// process. Taking the same event again changes nothing. It returns CodeInvalid
// for an event that is none, and CodeUnavailable when Redis does not answer
// before ctx ends; then it may or may not be stored, and may be taken again.
func (s *Surface) Take(ctx context.Context, e bot.ChatEvent) error {
	const op = "chat.take"
	if err := ctx.Err(); err != nil {
		return unavailable(op, err)
	}
	agenda := s.events[e.Place.Platform]
	switch {
	case agenda == nil:
		return actions.Errorf(op, actions.CodeInvalid, "Berth is not connected to %q.", e.Place.Platform)
	case e.ID == "" || len(e.ID) > longestID:
		return actions.Errorf(op, actions.CodeInvalid, "The event's id must have between 1 and %d bytes.", longestID)
	case e.Kind != bot.ChatCommand && e.Kind != bot.ChatHome && e.Kind != bot.ChatLinks:
		return actions.Errorf(op, actions.CodeInvalid, "The event is of no known kind.")
	}
	body, err := json.Marshal(e)
	if err != nil {
		return actions.Wrap(op, actions.CodeInvalid, err, "The event cannot be stored.")
	}
	t := &taking{ctx: ctx, member: e.ID, key: keyEvent(e.Place.Platform, e.ID), agenda: agenda, body: body, done: make(chan error, 1)}
	if !s.takings.add(t) {
		return unavailable(op, errTooMany)
	}
	s.storeTakings() //nolint:contextcheck // it is stored together with others, whom the end of this event must not stop
	// The client waits for Redis whatever becomes of ctx, and people wait for us.
	select {
	case err = <-t.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return unavailable(op, err)
	}
	agenda.Nudge()
	return nil
}

const (
	// takeAtOnce is how many events one transaction stores, and takeWriters how many
	// of those are under way.
	takeAtOnce, takeWriters = 128, 2
	// takeMost is how many events wait for a transaction: more come when Redis does
	// not answer, and are told so at once.
	takeMost = 4096
)

var errTooMany = errors.New("too many events wait for Redis already")

// taking is an event on its way into Redis.
type taking struct {
	ctx    context.Context // of the one who waits for done, who gives up when it ends
	member string
	key    string
	agenda *actions.Agenda
	body   []byte
	done   chan error // holds one
}

// takings are those that come while others are stored: they are stored together.
type takings struct {
	mu      sync.Mutex
	waiting []*taking
	writers int
}

// add tells whether there was room.
func (q *takings) add(t *taking) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= takeMost {
		q.waiting = slices.DeleteFunc(q.waiting, func(t *taking) bool { return t.ctx.Err() != nil })
	}
	if len(q.waiting) >= takeMost {
		return false
	}
	q.waiting = append(q.waiting, t)
	return true
}

// begin tells whether another writer is wanted.
func (q *takings) begin() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.writers == takeWriters || len(q.waiting) == 0 {
		return false
	}
	q.writers++
	return true
}

// next is what a writer stores next; nothing ends it.
func (q *takings) next() []*taking {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(t *taking) bool { return t.ctx.Err() != nil })
	n := min(len(q.waiting), takeAtOnce)
	if n == 0 {
		q.writers--
		return nil
	}
	next := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	return next
}

// storeTakings has what waits stored, by a writer that ends when nothing does.
func (s *Surface) storeTakings() {
	if !s.takings.begin() {
		return
	}
	go func() {
		ctx := context.Background()
		for batch := s.takings.next(); batch != nil; batch = s.takings.next() {
			_, err := s.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
				for _, t := range batch {
					pipe.SetNX(ctx, t.key, t.body, rememberEvent)
					t.agenda.Mark(ctx, pipe, t.member, s.now())
				}
				return nil
			})
			for _, t := range batch {
				t.done <- err
			}
		}
	}()
}

func unavailable(op string, err error) error {
	return &actions.Error{Op: op, Code: actions.CodeUnavailable, Msg: "Berth's store did not answer; try again in a moment.", Err: err, Retry: true}
}

// readEvent reads what Take wrote. It returns CodeInvalid for anything else.
func readEvent(platform, id, body string) (e bot.ChatEvent, err error) {
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		return e, actions.Wrap("chat.event", actions.CodeInvalid, err, "What was stored is no event.")
	}
	if e.Place.Platform != platform || e.ID != id {
		return e, actions.Errorf("chat.event", actions.CodeInvalid, "What was stored is another event.")
	}
	return e, nil
}
