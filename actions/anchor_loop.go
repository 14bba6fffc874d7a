package actions

import (
	"context"
	"sync"
	"time"
)

const (
	// anchorEvery is how often an anchor is made when something moved.
	anchorEvery = time.Minute
	// anchorLogEvery is how often a new anchor is logged at most. Whoever can
	// write to Redis cannot write to the logs of all replicas.
	anchorLogEvery = 10 * time.Minute
	// retainEvery is how often old records are looked for.
	retainEvery = time.Hour

	anchorTurnKey = keyPrefix + "{audit}:turn:anchor"
	retainTurnKey = keyPrefix + "{audit}:turn:retain"
)

// Anchored is an anchor that stands for all that was recorded before it. Who
// keeps one outside of Redis can show later that nothing was written anew.
type Anchored struct {
	Seq  int64     `json:"seq"`  // 0 when there is none
	Hash string    `json:"hash"` // of the anchor
	Time time.Time `json:"time"` // when it was made
}

// anchoring is what a process knows of the anchors.
type anchoring struct {
	turn  sync.Mutex   // held by who makes anchors
	state *anchorState // guarded by turn; nil when it must be read

	mu     sync.Mutex
	seen   Anchored // the newest anchor that this process saw
	logged time.Time
	last   Anchored  // the one that was logged last
	alarm  time.Time // when watch last said that an anchor is gone
}

// saw remembers an anchor. An anchor with a lower number than one that was seen
// does not take its place: it must not be there.
func (s *Store) saw(a Anchored) {
	s.anchors.mu.Lock()
	defer s.anchors.mu.Unlock()
	if a.Seq > s.anchors.seen.Seq {
		s.anchors.seen = a
	}
}

// LatestAnchor is the newest anchor that this process has seen; its Seq is 0
// before the first one. It asks nobody.
func (s *Store) LatestAnchor() Anchored {
	s.anchors.mu.Lock()
	defer s.anchors.mu.Unlock()
	return s.anchors.seen
}

// Anchoring makes anchors, removes records that StoreOptions.KeepAudit is over
// for, and logs the newest anchor at intervals, until ctx ends. It runs in each
// replica; one of them does the work of an interval. Failures are logged, and
// the next interval tries again.
func (s *Store) Anchoring(ctx context.Context) {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		if err := s.anchorTurn(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "the audit was not anchored; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// anchorTurn is one interval of Anchoring.
func (s *Store) anchorTurn(ctx context.Context) error {
	if err := s.watch(ctx); err != nil {
		return err
	}
	mine, err := s.takeTurn(ctx, anchorTurnKey, s.every)
	if err != nil {
		return err
	}
	if mine {
		_, err = s.Anchor(ctx)
	} else {
		_, err = s.newestAnchor(ctx)
	}
	if err != nil {
		return err
	}
	s.logAnchor(ctx)
	if s.keep <= 0 {
		return nil
	}
	if mine, err = s.takeTurn(ctx, retainTurnKey, retainEvery); err != nil || !mine {
		return err
	}
	removed, err := s.Retain(ctx)
	if removed > 0 {
		s.log.InfoContext(ctx, "old audit records were removed", "records", removed, "keep", s.keep.String())
	}
	return err
}

// takeTurn tells whether this replica does the work of an interval. A turn ends
// a little before the interval does, so that the next one finds it free. Two
// replicas that take one turn do no harm.
func (s *Store) takeTurn(ctx context.Context, key string, every time.Duration) (bool, error) {
	mine, err := s.rdb.SetNX(ctx, key, "taken", max(every-every/10, time.Millisecond)).Result()
	return mine, redisError("store.anchoring", err)
}

// logAnchor says what the newest anchor is, unless that was said just now.
func (s *Store) logAnchor(ctx context.Context) {
	now := s.clock()
	s.anchors.mu.Lock()
	a, due := s.anchors.seen, now.Sub(s.anchors.logged).Abs() >= anchorLogEvery
	if due = due && a != s.anchors.last && a.Seq > 0; due {
		s.anchors.last, s.anchors.logged = a, now
	}
	s.anchors.mu.Unlock()
	if due {
		s.log.InfoContext(ctx, "the audit is anchored", "anchor", a.Seq, "hash", a.Hash, "anchored_at", a.Time)
	}
}

// watch looks whether the newest anchor that this process saw is still there. It
// is not when somebody wrote the anchors anew, or when Redis lost what it had.
func (s *Store) watch(ctx context.Context) error {
	seen := s.LatestAnchor()
	if seen.Seq == 0 {
		return nil
	}
	texts, cut, err := s.page(ctx, anchorsKey, anchorsCutKey, seen.Seq-1, 1)
	if err != nil {
		return err
	}
	if cut.seq >= seen.Seq { // it was the newest one long ago
		return nil
	}
	if len(texts) == 1 {
		if a, sound := readAnchor(texts[0]); sound && a.Seq == seen.Seq && a.Hash == seen.Hash {
			return nil
		}
	}
	now := s.clock()
	s.anchors.mu.Lock()
	due := now.Sub(s.anchors.alarm).Abs() >= anchorLogEvery
	if due {
		s.anchors.alarm = now
	}
	s.anchors.mu.Unlock()
	if !due {
		return nil
	}
	s.log.ErrorContext(ctx, "an anchor of the audit that was there is not there any more: the audit was written over, or Redis lost data",
		"anchor", seen.Seq, "hash", seen.Hash, "anchored_at", seen.Time)
	return nil
}
