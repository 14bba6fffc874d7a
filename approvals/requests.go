package approvals

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
)

// Keys that belong to no environment. They only help to find records; what they
// say is checked against the records.
const (
	indexKey       = "berth:requests"        // sorted set of "ID app/name", by ID and so by time
	activeIndexKey = "berth:requests:active" // the same, of those that have not ended
)

const (
	// keepKeys is how long an idempotency key is known. GitHub redelivers
	// webhooks for three days, chat platforms for less.
	// Source: https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks
	keepKeys = 7 * 24 * time.Hour
	// defaultKeep is how long a request stays readable after its end; its audit
	// records stay for ever.
	defaultKeep = 90 * 24 * time.Hour
	// defaultPatience is how long a request waits for decisions.
	defaultPatience = 72 * time.Hour
	// system is the actor of changes that nobody in particular made.
	system = "berth"
)

// Options are what Requests need besides Redis and the Store.
type Options struct {
	Now     func() time.Time // nil means time.Now
	Log     *slog.Logger     // nil means none
	NewID   func() string    // a ULID in lower case; nil means a random one of now
	Metrics *Metrics         // nil means that nothing is counted
	Policy  Policy           // what a request needs before it runs; nil means ReleaseAtOnce

	Keep     time.Duration // how long an ended request can be read; 0 means 90 days, and 8 days is the least
	Patience time.Duration // how long a request waits for decisions before it expires; 0 means 72 hours
}

// Requests keeps the records of requests in Redis and moves them through their
// states. All that changes of one request changes in one atomic operation,
// together with its audit record.
type Requests struct {
	rdb     redis.UniversalClient
	store   *actions.Store
	queue   *queue
	metrics *Metrics
	policy  atomic.Pointer[Policy]
	turns   [64]chan struct{} // see retry
	now     func() time.Time
	newID   func() string
	log     *slog.Logger

	keep, patience time.Duration
}

// NewRequests makes Requests on rdb, which stays its caller's to close.
func NewRequests(rdb redis.UniversalClient, store *actions.Store, o Options) *Requests {
	q := &Requests{
		rdb: rdb, store: store, metrics: o.Metrics, now: o.Now, newID: o.NewID, log: o.Log,
		keep: o.Keep, patience: o.Patience,
	}
	if q.now == nil {
		q.now = time.Now
	}
	if q.log == nil {
		q.log = slog.New(slog.DiscardHandler)
	}
	if q.metrics == nil {
		q.metrics = NewMetrics()
	}
	for i := range q.turns {
		q.turns[i] = make(chan struct{}, 1)
	}
	q.SetPolicy(o.Policy)
	if q.newID == nil {
		q.newID = newIDs(q.now)
	}
	if q.keep == 0 {
		q.keep = defaultKeep
	}
	q.keep = max(q.keep, keepKeys+24*time.Hour) // what a key leads to must be there as long as the key
	if q.patience == 0 {
		q.patience = defaultPatience
	}
	q.queue = newQueue(rdb, store.Pipe(), q.log)
	return q
}

// newIDs makes ids that sort by time, those of one millisecond by their order.
func newIDs(now func() time.Time) func() string {
	var turn sync.Mutex
	entropy := ulid.Monotonic(rand.Reader, 0)
	return func() string {
		turn.Lock()
		defer turn.Unlock()
		id, err := ulid.New(ulid.Timestamp(now()), entropy)
		if err != nil { // 2^80 ids within one millisecond
			id = ulid.MustNew(ulid.Timestamp(now()), rand.Reader)
		}
		return strings.ToLower(id.String())
	}
}

// validID tells whether s is a ULID in lower case.
func validID(s string) bool {
	if len(s) != ulid.EncodedSize || s != strings.ToLower(s) {
		return false
	}
	_, err := ulid.ParseStrict(s)
	return err == nil
}

// idTime is when the ULID id was made.
func idTime(id string) time.Time {
	u, err := ulid.ParseStrict(id)
	if err != nil {
		return time.Time{}
	}
	return ulid.Time(u.Time())
}

// clock is the time that goes into records.
func (q *Requests) clock() time.Time { return q.now().UTC().Round(0) }

func (q *Requests) recordKey(env actions.Name, id string) string {
	return q.store.Key(env, "request:"+id)
}

func (q *Requests) planKey(env actions.Name, id string) string {
	return q.store.Key(env, "request:"+id+":plan")
}

// listKey holds the ids of the environment's requests, for reading.
func (q *Requests) listKey(env actions.Name) string { return q.store.Key(env, "requests") }

// activeKey holds the ids of those that have not ended, by order of arrival.
func (q *Requests) activeKey(env actions.Name) string { return q.store.Key(env, "requests:active") }

// Get returns the request with its plan. It returns CodeNotFound for an unknown id.
func (q *Requests) Get(ctx context.Context, id string) (*Request, error) {
	const op = "requests.get"
	if !validID(id) {
		return nil, notFound(op, id)
	}
	// Members that begin with "ID ": '!' is the character after the space.
	found := redis.NewStringSliceCmd(ctx, "zrangebylex", indexKey, "["+id+" ", "("+id+"!", "limit", 0, 1)
	if err := q.store.Pipe().Do(ctx, found); err != nil {
		return nil, redisError(op, err)
	}
	if len(found.Val()) == 0 {
		return nil, notFound(op, id)
	}
	e := parseMember(found.Val()[0])
	if e.env.IsZero() {
		return nil, actions.Errorf(op, actions.CodeInternal, "The index of requests cannot be read; somebody wrote over it.")
	}
	return q.get(ctx, e.env, id)
}

// get is Get for one whose environment is known.
func (q *Requests) get(ctx context.Context, env actions.Name, id string) (*Request, error) {
	const op = "requests.get"
	mget := redis.NewSliceCmd(ctx, "mget", q.recordKey(env, id), q.planKey(env, id))
	if err := q.store.Pipe().Do(ctx, mget); err != nil {
		return nil, redisError(op, err)
	}
	texts := mget.Val()
	record, ok := texts[0].(string)
	if !ok {
		return nil, notFound(op, id)
	}
	r, err := decode(op, record)
	if err != nil {
		return nil, err
	}
	if plan, ok := texts[1].(string); ok {
		if err := json.Unmarshal([]byte(plan), &r.Plan); err != nil {
			return nil, actions.Wrap(op, actions.CodeInternal, err, fmt.Sprintf("The plan of request %s cannot be read.", id))
		}
	}
	return r, q.noteRetries(ctx, op, []*Request{r})
}

// standing returns the requests of env that have not ended, in the order in
// which they came, without their plans.
func (q *Requests) standing(ctx context.Context, env actions.Name) ([]*Request, error) {
	const op = "requests.standing"
	ids, err := q.rdb.ZRange(ctx, q.activeKey(env), 0, -1).Result()
	if err != nil {
		return nil, redisError(op, err)
	}
	return q.load(ctx, op, env, ids)
}

// load reads the records of ids, leaving out those that have ended or gone.
func (q *Requests) load(ctx context.Context, op string, env actions.Name, ids []string) ([]*Request, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = q.recordKey(env, id)
	}
	texts, err := q.rdb.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, redisError(op, err)
	}
	found := make([]*Request, 0, len(ids))
	for _, text := range texts {
		record, ok := text.(string)
		if !ok {
			continue
		}
		r, err := decode(op, record)
		if err != nil {
			return nil, err
		}
		if !r.State.Ended() {
			found = append(found, r)
		}
	}
	return found, nil
}

func decode(op, record string) (*Request, error) {
	var r Request
	if err := json.Unmarshal([]byte(record), &r); err != nil {
		return nil, actions.Wrap(op, actions.CodeInternal, err, "The record of a request cannot be read; somebody wrote over it.")
	}
	return &r, nil
}

// encode is r's record: all of it but the plan, which has a key of its own since
// it can be large and never changes.
func encode(r *Request) ([]byte, error) {
	bare := *r
	bare.Plan = nil
	return json.Marshal(&bare)
}

func notFound(op, id string) error {
	if r := []rune(id); len(r) > ulid.EncodedSize {
		id = string(r[:ulid.EncodedSize]) + "…"
	}
	return actions.Errorf(op, actions.CodeNotFound, "There is no request %q; look at its id again (an ended request can be read for a while only).", id)
}

// redisError says that Redis could not be asked. Whether a change was made is
// then not known.
func redisError(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return actions.Wrap(op, actions.CodeCancelled, err, "It was stopped before Redis answered.")
	}
	return &actions.Error{Op: op, Code: actions.CodeUnavailable, Msg: "Redis did not answer; try again in a moment.", Err: err, Retry: true}
}
