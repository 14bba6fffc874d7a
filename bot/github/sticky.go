package github

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

const (
	// editApart is how far apart edits of one comment are; those that only bring
	// the log and progress up to date come less often.
	// Source: secondary limits, see perMinute.
	editApart  = 5 * time.Second
	quietApart = 15 * time.Second
)

// sticky is what Redis knows of an environment's comment.
type sticky struct {
	place string // whose id this is; an app's repository may change
	id    int64
	sum   string    // of what it says
	at    time.Time // when it was last written
	phase string    // of what it says; see phaseOf
}

// stickyPlace is where a comment of an environment is, and is remembered.
type stickyPlace struct {
	key    string
	repo   string
	number int
}

func (s *Surface) loadSticky(ctx context.Context, at stickyPlace) (sticky, error) {
	m, err := s.rdb.HGetAll(ctx, at.key).Result()
	if err != nil {
		return sticky{}, err
	}
	if m["place"] != placeID(at.repo, at.number) {
		return sticky{place: placeID(at.repo, at.number)}, nil
	}
	k := sticky{place: m["place"], sum: m["sum"], phase: m["phase"]}
	k.id, _ = strconv.ParseInt(m["id"], 10, 64) // what cannot be read is looked for again
	if ms, err := strconv.ParseInt(m["at"], 10, 64); err == nil {
		k.at = time.UnixMilli(ms)
	}
	return k, nil
}

func (s *Surface) saveSticky(ctx context.Context, at stickyPlace, k sticky) error {
	return s.rdb.HSet(context.WithoutCancel(ctx), at.key,
		"place", k.place, "id", k.id, "sum", k.sum, "at", k.at.UnixMilli(), "phase", k.phase).Err()
}

// showComment makes the one comment of an environment on its pull request say
// how it is. It returns when there may be more to say.
func (s *Surface) showComment(ctx context.Context, sc *scene) (again time.Duration, err error) {
	at := stickyPlace{key: keySticky(sc.name), repo: sc.repo, number: sc.number}
	worth := worthAComment(sc)
	again, err = s.showSticky(ctx, sc, at, s.render(sc), worth)
	if err == nil && worth && sc.underway() && sc.latest.State != approvals.StatePending {
		again = sooner(again, quietApart)
	}
	return again, err
}

// showSticky makes a comment say body. It makes one only where that is worth it.
// It returns when it may be edited, if it may not yet.
func (s *Surface) showSticky(ctx context.Context, sc *scene, at stickyPlace, body string, worth bool) (again time.Duration, err error) {
	k, err := s.loadSticky(ctx, at)
	if err != nil {
		return 0, err
	}
	if k.id == 0 && !worth {
		return 0, nil
	}
	hash := sha256.Sum256([]byte(body))
	sum, phase := hex.EncodeToString(hash[:]), phaseOf(sc)
	if k.id != 0 && k.sum == sum {
		return 0, nil
	}
	apart := editApart
	switch {
	case phase == k.phase:
		apart = quietApart
	case !sc.underway():
		apart = 0 // that something has ended is said at once
	}
	if wait := k.at.Add(apart).Sub(s.now()); k.id != 0 && wait > 0 {
		return wait, nil
	}
	if k.id, err = s.writeComment(ctx, sc, at, k.id, body); err != nil {
		return 0, err
	}
	k.sum, k.at, k.phase = sum, s.now(), phase
	return 0, s.saveSticky(ctx, at, k)
}

// worthAComment tells whether there is something to show that a first comment
// should be made for: nothing is, when all there is is a request that planning
// refused, or an environment that is gone.
func worthAComment(sc *scene) bool {
	if sc.env != nil {
		return sc.env.State != actions.StateCleaned || sc.underway()
	}
	return sc.underway() && sc.latest.State != approvals.StatePlanning && sc.latest.Order.Verb.Down()
}

// phaseOf is what matters of a scene: what changes beside it can wait a little.
func phaseOf(sc *scene) string {
	var b strings.Builder
	if sc.env != nil {
		fmt.Fprintf(&b, "%s %t %t ", sc.env.State, sc.env.Sleeping, sc.env.Lock != nil)
	}
	if sc.latest != nil {
		fmt.Fprintf(&b, "%s %s ", sc.latest.ID, sc.latest.State)
	}
	if sc.run != nil {
		for _, step := range sc.run.Steps {
			b.WriteString(string(step.State) + " ")
		}
	}
	return b.String()
}

// writeComment edits the comment, or makes it when there is none. Making it is
// preceded by looking for it, so that a crash in between makes no second one;
// the lease that the caller holds keeps other replicas from doing the same.
func (s *Surface) writeComment(ctx context.Context, sc *scene, at stickyPlace, id int64, body string) (int64, error) {
	if id == 0 {
		found, err := s.client.ownComment(ctx, at.repo, at.number, stickyMarker(sc.name), time.Time{})
		if err != nil {
			return 0, err
		}
		id = found
	}
	if id != 0 {
		err := s.client.editComment(ctx, at.repo, id, body, sc.underway())
		if err == nil || (statusOf(err) != http.StatusNotFound && statusOf(err) != http.StatusGone) {
			return id, err
		}
		s.log.InfoContext(ctx, "an environment's comment was deleted; it is made anew", "env", sc.name.String(), "repo", sc.repo, "number", sc.number)
	}
	return s.client.createComment(ctx, at.repo, at.number, body)
}

func stickyMarker(name actions.Name) string { return markerStart + "env=" + name.String() + " -->" }
