package github

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/tidwall/gjson"

	"github.com/berth-dev/berth/actions"
)

const (
	consumerGroup = "berth"
	// lanes is how many deliveries a replica handles at once. Those of one pull
	// request share a lane, so that they are handled in their order.
	lanes     = 16
	laneDepth = 8
	// handleTimeout is how long one try of a delivery may take, and claimAfter
	// how long one must have been left alone before another replica takes it.
	handleTimeout = 25 * time.Second
	claimAfter    = 35 * time.Second
	claimEvery    = 5 * time.Second
	readBlock     = time.Second
	// maxTries is how often a delivery is tried when GitHub or Redis does not
	// answer: some hours, for an outage of theirs to pass.
	maxTries = 300
	// maxFaults is the same for failures that are no outage.
	maxFaults = 5
	// keptDead is about how many deliveries that could not be handled are kept.
	keptDead = 1000
	// quietConsumer is when the name of a replica that is gone is forgotten.
	quietConsumer = 24 * time.Hour
)

// errMalformed says that a payload is not what its event should be.
var errMalformed = errors.New("malformed")

// parcel is a delivery to be handled.
type parcel struct {
	entry, delivery, event string
	body                   []byte
	tries                  int64
}

// consume reads deliveries and hands them to lanes until ctx ends.
func (s *Surface) consume(ctx context.Context) {
	queues := make([]chan parcel, lanes)
	var group sync.WaitGroup
	defer group.Wait()
	for i := range queues {
		queues[i] = make(chan parcel, laneDepth)
		group.Go(func() {
			for p := range queues[i] {
				if ctx.Err() == nil { // else another replica gets it
					s.handle(ctx, p)
				}
			}
		})
	}
	defer func() {
		for _, q := range queues {
			close(q)
		}
	}()
	// A replica that comes back under its name goes on with what it held.
	from, failures := "0", 0
	for ctx.Err() == nil {
		parcels, err := s.read(ctx, from)
		if err == nil {
			from = ">"
		}
		if err != nil {
			failures++
			s.log.WarnContext(ctx, "deliveries cannot be read; trying again", "error", err)
			pause(ctx, backOff(failures, 250*time.Millisecond, 5*time.Second))
			continue
		}
		failures = 0
		for _, p := range parcels {
			select {
			case queues[laneOf(p)] <- p:
			case <-ctx.Done():
				return
			}
		}
	}
}

// backOff doubles from first up to most.
func backOff(failures int, first, most time.Duration) time.Duration {
	return min(most, first<<min(max(failures-1, 0), 20))
}

// read waits for new deliveries (from ">"), or returns those that this replica
// was given before and has not handled (from "0"). The group is made when it is
// not there, be it because Redis lost it.
func (s *Surface) read(ctx context.Context, from string) ([]parcel, error) {
	streams, err := s.rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: consumerGroup, Consumer: s.replica, Streams: []string{keyIntake, from}, Count: 2 * lanes, Block: readBlock,
	}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil && strings.HasPrefix(err.Error(), "NOGROUP"):
		return nil, s.makeGroup(ctx)
	case err != nil:
		return nil, err
	}
	return s.parcels(ctx, streams[0].Messages)
}

func (s *Surface) makeGroup(ctx context.Context) error {
	err := s.rdb.XGroupCreateMkStream(ctx, keyIntake, consumerGroup, "0").Err()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return err
	}
	return nil
}

// parcels reads the payloads of entries. One that is empty has been handled:
// its entry is that of a duplicate.
func (s *Surface) parcels(ctx context.Context, entries []redis.XMessage) ([]parcel, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	keys := make([]string, len(entries))
	for i, e := range entries {
		delivery, _ := e.Values[fieldDelivery].(string)
		keys[i] = keyDelivery(delivery)
	}
	bodies, err := s.rdb.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, err
	}
	var found []parcel
	for i, e := range entries {
		p := parcel{entry: e.ID, tries: 1}
		p.delivery, _ = e.Values[fieldDelivery].(string)
		p.event, _ = e.Values[fieldEvent].(string)
		body, _ := bodies[i].(string)
		if body == "" {
			if err := s.drop(ctx, p); err != nil {
				return found, err
			}
			continue
		}
		p.body = []byte(body)
		found = append(found, p)
	}
	return found, nil
}

// laneOf sends everything of one pull request the same way.
func laneOf(p parcel) int {
	found := gjson.GetManyBytes(p.body, "repository.full_name", "issue.number", "pull_request.number")
	h := fnv.New32a()
	fmt.Fprintf(h, "%s#%d", strings.ToLower(found[0].String()), max(found[1].Int(), found[2].Int()))
	return int(h.Sum32() % lanes)
}

// handle sees a delivery to its end, or leaves it to be tried again.
func (s *Surface) handle(ctx context.Context, p parcel) {
	if !s.handling.add(p.entry) {
		return // this replica is at it already
	}
	defer s.handling.remove(p.entry)
	ctx, stop := lingering(ctx)
	defer stop()
	work, cancel := context.WithTimeout(ctx, handleTimeout)
	defer cancel()
	err := s.tryHandle(work, p)
	log := s.log.With("delivery_id", p.delivery, "event", p.event)
	switch {
	case err == nil:
		err = s.finish(ctx, p)
	case errors.Is(err, errMalformed), p.tries >= maxTries, p.tries >= maxFaults && !passing(err):
		log.ErrorContext(ctx, "a delivery could not be handled and was put aside", "error", err, "tries", p.tries)
		err = s.bury(ctx, p, err)
	default:
		log.WarnContext(ctx, "a delivery could not be handled; it is tried again", "error", err, "tries", p.tries)
		return
	}
	if err != nil {
		log.WarnContext(ctx, "a delivery that was handled could not be marked so; it is handled again, and its commands do nothing twice", "error", err)
	}
}

// passing tells whether err is of a kind that time may cure.
func passing(err error) bool {
	if _, limited := errors.AsType[*limitedError](err); limited {
		return true
	}
	if _, ours := errors.AsType[*actions.Error](err); ours {
		return actions.CodeOf(err) == actions.CodeUnavailable || actions.Retryable(err)
	}
	return !final(err)
}

// tryHandle tries a delivery, and again after short pauses: most outages are
// moments.
func (s *Surface) tryHandle(ctx context.Context, p parcel) (err error) {
	for try := 1; ; try++ {
		if err = s.dispatch(ctx, p); err == nil || errors.Is(err, errMalformed) || !passing(err) || try == 4 {
			return err
		}
		pause(ctx, backOff(try, 500*time.Millisecond, 4*time.Second))
		if ctx.Err() != nil {
			return err
		}
	}
}

// dispatch does what a delivery asks for. A panic is a fault of the delivery.
func (s *Surface) dispatch(ctx context.Context, p parcel) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: panic: %v\n%s", errMalformed, r, debug.Stack())
		}
	}()
	switch p.event {
	case "issue_comment":
		return s.commented(ctx, p)
	case "pull_request":
		return s.pullChanged(ctx, p)
	default:
		return nil
	}
}

// finish forgets a delivery's payload and remembers its id for as long as
// GitHub may deliver it again.
func (s *Surface) finish(ctx context.Context, p parcel) error {
	_, err := s.rdb.TxPipelined(context.WithoutCancel(ctx), func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, keyDelivery(p.delivery), "", rememberDelivery)
		pipe.XAck(ctx, keyIntake, consumerGroup, p.entry)
		pipe.XDel(ctx, keyIntake, p.entry)
		return nil
	})
	return err
}

// drop takes an entry away that there is nothing to do for.
func (s *Surface) drop(ctx context.Context, p parcel) error {
	_, err := s.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.XAck(ctx, keyIntake, consumerGroup, p.entry)
		pipe.XDel(ctx, keyIntake, p.entry)
		return nil
	})
	return err
}

// bury puts a delivery aside that cannot be handled, so that it can be looked at.
func (s *Surface) bury(ctx context.Context, p parcel, why error) error {
	err := s.rdb.XAdd(ctx, &redis.XAddArgs{
		Stream: keyDead, MaxLen: keptDead, Approx: true,
		Values: []any{fieldDelivery, p.delivery, fieldEvent, p.event, "error", clip(why.Error(), 2000), "body", p.body},
	}).Err()
	if err != nil {
		return err
	}
	return s.finish(ctx, p)
}

// reclaim takes over, again and again, what other replicas or earlier tries
// have left.
func (s *Surface) reclaim(ctx context.Context) {
	ticker := time.NewTicker(claimEvery)
	defer ticker.Stop()
	for rounds := 0; ; rounds++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := s.reclaimOnce(ctx); err != nil && ctx.Err() == nil && !strings.HasPrefix(err.Error(), "NOGROUP") {
			s.log.WarnContext(ctx, "deliveries that were left could not be taken over", "error", err)
		}
		if rounds%720 == 0 { // once an hour
			s.forgetConsumers(ctx)
		}
	}
}

func (s *Surface) reclaimOnce(ctx context.Context) error {
	entries, _, err := s.rdb.XAutoClaim(ctx, &redis.XAutoClaimArgs{
		Stream: keyIntake, Group: consumerGroup, Consumer: s.replica, MinIdle: claimAfter, Start: "0", Count: lanes,
	}).Result()
	if err != nil || len(entries) == 0 {
		return err
	}
	parcels, err := s.parcels(ctx, entries)
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	for _, p := range parcels {
		pending, err := s.rdb.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: keyIntake, Group: consumerGroup, Start: p.entry, End: p.entry, Count: 1,
		}).Result()
		if err != nil {
			return err
		}
		if len(pending) == 1 {
			p.tries = pending[0].RetryCount
		}
		group.Go(func() { s.handle(ctx, p) })
	}
	group.Wait()
	return nil
}

// forgetConsumers removes the names of replicas that are long gone, unless
// something is still theirs.
func (s *Surface) forgetConsumers(ctx context.Context) {
	consumers, err := s.rdb.XInfoConsumers(ctx, keyIntake, consumerGroup).Result()
	if err != nil {
		return // the next hour will do
	}
	for _, c := range consumers {
		if c.Pending == 0 && c.Idle > quietConsumer && c.Name != s.replica {
			_ = s.rdb.XGroupDelConsumer(ctx, keyIntake, consumerGroup, c.Name).Err() // the next hour will do
		}
	}
}

// set is what is under way in this process.
type set struct {
	mu sync.Mutex
	m  map[string]bool
}

// add tells whether key was not there.
func (s *set) add(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[key] {
		return false
	}
	if s.m == nil {
		s.m = map[string]bool{}
	}
	s.m[key] = true
	return true
}

func (s *set) remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, key)
}
