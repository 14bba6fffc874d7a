package github

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

const (
	// rememberCard is how long it is known that a request's card says its end.
	rememberCard = rememberPost
	// cardSkew is how far GitHub's clock may be behind ours when a card is looked
	// for among the comments since its request was made.
	cardSkew = 10 * time.Minute
)

// shownCard is what Redis knows of a request's card.
type shownCard struct {
	place    string
	id       int64
	sum      string            // of what it says, but for whom it calls
	at       time.Time         // when it was last written
	revision int64             // of the request that it shows
	final    bool              // it says how the request ended
	note     string            // see card
	told     map[string]string // by kind: what was told last
}

func (s *Surface) loadCard(ctx context.Context, requestID string) (shownCard, error) {
	m, err := s.rdb.HGetAll(ctx, keyCard(requestID)).Result()
	if err != nil {
		return shownCard{}, err
	}
	k := shownCard{place: m["place"], sum: m["sum"], final: m["final"] == "1", note: m["note"], told: m}
	k.id, _ = strconv.ParseInt(m["id"], 10, 64) // what cannot be read is looked for again
	k.revision, _ = strconv.ParseInt(m["revision"], 10, 64)
	if ms, err := strconv.ParseInt(m["at"], 10, 64); err == nil {
		k.at = time.UnixMilli(ms)
	}
	return k, nil
}

// saveCard keeps what is shown. A card that says the end is looked at no more.
func (s *Surface) saveCard(ctx context.Context, name actions.Name, requestID string, k shownCard) error {
	ctx = context.WithoutCancel(ctx)
	final := "0"
	if k.final {
		final = "1"
	}
	_, err := s.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.HSet(ctx, keyCard(requestID), "place", k.place, "id", k.id, "sum", k.sum, "at", k.at.UnixMilli(), "revision", k.revision, "final", final, "note", k.note)
		if k.final {
			pipe.SRem(ctx, keyCards(name), requestID)
			pipe.Expire(ctx, keyCard(requestID), rememberCard)
		}
		return nil
	})
	return err
}

// asks tells whether a request is, or was, one that people are asked about, or
// should have been.
func asks(r *approvals.Request) bool {
	if r.DryRun {
		return false
	}
	if r.State == approvals.StatePending || len(r.Decisions) > 0 || len(bot.BrokenRules(r)) > 0 {
		return true
	}
	if r.Outcome == nil {
		return false
	}
	switch r.Outcome.Effect {
	case approvals.EffectApprove, approvals.EffectExpire, approvals.EffectDeny:
		return true
	default:
		return false
	}
}

// cardPlace is the pull request on which people are asked about a request: its
// environment's, else the one where it was asked for.
func (s *Surface) cardPlace(sc *scene, r *approvals.Request) (repo string, number int, ok bool) {
	if sc.number != 0 {
		return sc.repo, sc.number, true
	}
	if r.Place.Surface != "github" {
		return "", 0, false
	}
	return parsePlace(r.Place.ID)
}

// showCards makes the cards of an environment's requests say how those are. It
// returns when there may be more to say.
func (s *Surface) showCards(ctx context.Context, sc *scene) (again time.Duration, err error) {
	open, err := s.rdb.SMembers(ctx, keyCards(sc.name)).Result()
	if err != nil {
		return 0, err
	}
	for _, r := range sc.recent {
		fresh := !r.State.Ended() || s.now().Sub(r.EndedAt) < oldNews
		if fresh && asks(r) && !slices.Contains(open, r.ID) {
			open = append(open, r.ID)
		}
	}
	slices.Sort(open) // by age, so that they stand in their order
	var errs []error
	left := 0
	for _, id := range open {
		wait, done, err := s.showCard(ctx, sc, id)
		if err = s.settle(ctx, sc, "card", err); err != nil {
			errs = append(errs, err)
		}
		again = sooner(again, wait)
		if !done {
			left++
		}
	}
	if left == 0 && len(errs) == 0 {
		errs = append(errs, s.rdb.SRem(ctx, keyAsking, sc.name.String()).Err())
	}
	return again, errors.Join(errs...)
}

// showCard makes one card say how its request is. done tells that there will
// be nothing more to say.
func (s *Surface) showCard(ctx context.Context, sc *scene, requestID string) (again time.Duration, done bool, err error) {
	k, err := s.loadCard(ctx, requestID)
	if err != nil {
		return 0, false, err
	}
	if k.final {
		return 0, true, s.rdb.SRem(ctx, keyCards(sc.name), requestID).Err()
	}
	r, err := s.requests.Get(ctx, requestID)
	if actions.CodeOf(err) == actions.CodeNotFound { // it is not kept any more
		return 0, true, s.rdb.SRem(ctx, keyCards(sc.name), requestID).Err()
	}
	if err != nil {
		return 0, false, err
	}
	c := card{sc: sc, r: r}
	var ok bool
	if c.repo, c.number, ok = s.cardPlace(sc, r); !ok {
		return 0, true, nil
	}
	if place := placeID(c.repo, c.number); k.place != place {
		k = shownCard{place: place} // the app's repository has changed
	}
	// It is known to be open before it is made, so that it is found again.
	if k.id == 0 {
		k.note = s.ownerless(ctx, r)
		if _, err := s.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.SAdd(ctx, keyCards(sc.name), r.ID)
			pipe.SAdd(ctx, keyAsking, sc.name.String())
			return nil
		}); err != nil {
			return 0, false, err
		}
	}
	c.note = k.note
	made := k.id == 0
	if again, err = s.writeCard(ctx, c, &k); err != nil || again > 0 {
		return again, false, err
	}
	if r.State == approvals.StatePending && r.ID == latestID(sc) {
		sc.card = s.commentURL(c.repo, c.number, k.id)
	}
	return 0, k.final, s.tellNews(ctx, c, k, made)
}

func latestID(sc *scene) string {
	if sc.latest == nil {
		return ""
	}
	return sc.latest.ID
}

// commentURL is where a comment is read.
func (s *Surface) commentURL(repo string, number int, id int64) string {
	return fmt.Sprintf("%s/%s/pull/%d#issuecomment-%d", s.client.web(), repo, number, id)
}

// writeCard makes or edits the comment, unless it says so already, and keeps
// what it says in k. It returns how long to wait when it was edited just now.
func (s *Surface) writeCard(ctx context.Context, c card, k *shownCard) (again time.Duration, err error) {
	body := s.renderCard(c)
	hash := sha256.Sum256([]byte(body))
	sum, ended := hex.EncodeToString(hash[:]), c.r.State.Ended()
	if k.id != 0 && k.sum == sum {
		if k.revision == c.r.Revision && k.final == ended {
			return 0, nil
		}
		k.revision, k.final = c.r.Revision, ended
		return 0, s.saveCard(ctx, c.r.Order.Env, c.r.ID, *k)
	}
	if wait := k.at.Add(editApart).Sub(s.now()); k.id != 0 && wait > 0 && !ended {
		return wait, nil
	}
	if k.id, err = s.putCard(ctx, c, k.id, body); err != nil {
		return 0, err
	}
	k.sum, k.at, k.revision, k.final = sum, s.now(), c.r.Revision, ended
	return 0, s.saveCard(ctx, c.r.Order.Env, c.r.ID, *k)
}

// putCard edits the comment, or makes it when there is none: as writeComment
// does, but that a new one calls those who can decide, and that one which was
// deleted is not made anew once there is nothing to decide. It returns 0 then.
func (s *Surface) putCard(ctx context.Context, c card, id int64, body string) (int64, error) {
	if id == 0 {
		found, err := s.client.ownComment(ctx, c.repo, c.number, cardMarker(c.r.ID), c.r.CreatedAt.Add(-cardSkew))
		if err != nil {
			return 0, err
		}
		id = found
	}
	if id != 0 {
		err := s.client.editComment(ctx, c.repo, id, body, !c.r.State.Ended())
		if err == nil || (statusOf(err) != http.StatusNotFound && statusOf(err) != http.StatusGone) {
			return id, err
		}
		if c.r.State != approvals.StatePending {
			return id, nil
		}
		s.log.InfoContext(ctx, "a request's comment was deleted; it is made anew", "request_id", c.r.ID, "repo", c.repo, "number", c.number)
	}
	call := ""
	switch {
	case len(bot.BrokenRules(c.r)) > 0:
		call = s.bypassed(ctx, c)
	case c.r.State == approvals.StatePending:
		call = s.callText(ctx, c)
	}
	if call != "" {
		body = fit(body + "\n" + call + "\n")
	}
	return s.client.createComment(ctx, c.repo, c.number, body)
}
