package chat

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

const (
	// progressEvery is how far edits of the message about a run are apart, and how
	// often a run that goes on is looked at. One that goes on for long is looked at
	// less and less, to progressMost.
	progressEvery, progressMost = 3 * time.Second, 20 * time.Second
	// busyPause is when somebody else's write of a card is looked after, and
	// busyMost how long that is waited for on the spot.
	busyPause, busyMost = 50 * time.Millisecond, 4 * time.Second
)

// showRequest makes the card of r stand in a place, and says how r is. It answers
// the message reply, "" being none. Where
// Berth may not write, the card goes to who asked, if they are known there. It
// returns *bot.Limited when there is no room for it yet.
func (s *Surface) showRequest(ctx context.Context, at bot.ChatPlace, r *approvals.Request, reply string) (bot.ChatSent, error) {
	k := &card{id: cardID(at, r.ID), env: r.Order.Env, request: r.ID, asked: at, place: at, reply: reply, slots: map[string]written{}, told: map[string]string{}}
	for waited := time.Duration(0); ; waited += busyPause {
		found, known, err := s.loadCard(ctx, k.id)
		if err != nil {
			return bot.ChatSent{}, err
		}
		if known {
			k = found
		}
		if sent := k.slots[slotCard].Sent; sent.ID != "" || k.final {
			s.markNow(ctx, k.env)
			return sent, nil
		}
		if err := s.openCard(ctx, k); err != nil {
			return bot.ChatSent{}, err
		}
		// How it is now: the answer may have taken a while.
		whole, err := s.requests.Get(ctx, r.ID)
		if err != nil {
			return bot.ChatSent{}, err
		}
		v, err := s.look(ctx, k.place, k.env, whole)
		if err != nil {
			return bot.ChatSent{}, err
		}
		_, err = s.level(ctx, k, v)
		if errors.Is(err, errBusy) && waited < busyMost {
			if err := pause(ctx, busyPause); err != nil {
				return bot.ChatSent{}, err
			}
			continue
		}
		if errors.Is(err, errBusy) {
			return bot.ChatSent{}, &bot.Limited{After: busyMost}
		}
		s.markNow(ctx, k.env)
		return k.slots[slotCard].Sent, err
	}
}

// show makes all cards of an environment say how things are. It returns when
// there may be more to say, 0 when nothing but a change can make that so.
func (s *Surface) show(ctx context.Context, name actions.Name) (again time.Duration, err error) {
	cards, err := s.openCards(ctx, name)
	if err != nil {
		return 0, err
	}
	if len(cards) == 0 {
		return 0, s.unwatch(ctx, name)
	}
	views, err := s.lookAll(ctx, name, cards)
	if err != nil {
		return 0, err
	}
	// A platform that does not answer keeps the cards of no other waiting.
	var mu sync.Mutex
	var group sync.WaitGroup
	var errs []error
	for platform := range s.platforms {
		group.Go(func() {
			for i, k := range cards {
				if k.asked.Platform != platform || views[i] == nil {
					continue
				}
				var wait time.Duration
				err := guarded(func() (err error) {
					wait, err = s.showOne(ctx, k, *views[i])
					return err
				})
				mu.Lock()
				again, errs = soonest(again, wait), append(errs, err)
				mu.Unlock()
				if err != nil && passing(err) {
					return // it would be as long in not answering about the next one
				}
			}
		})
	}
	group.Wait()
	return again, errors.Join(errs...)
}

// openCards are the open cards of an environment, by the age of their requests.
func (s *Surface) openCards(ctx context.Context, name actions.Name) ([]*card, error) {
	ids, err := s.rdb.SMembers(ctx, keyCards(name.String())).Result()
	if err != nil {
		return nil, storeError(err)
	}
	slices.Sort(ids) // which begin with their request's
	var cards []*card
	for _, id := range ids {
		k, known, err := s.loadCard(ctx, id)
		if err != nil {
			return nil, err
		}
		if !known || k.final {
			if err := s.rdb.SRem(ctx, keyCards(name.String()), id).Err(); err != nil {
				return nil, storeError(err)
			}
			continue
		}
		cards = append(cards, k)
	}
	return cards, nil
}

// lookAll reads what cards show. The view of one whose request is not kept any
// more is nil, and the card is closed.
func (s *Surface) lookAll(ctx context.Context, name actions.Name, cards []*card) ([]*View, error) {
	requests := map[string]*approvals.Request{}
	views := make([]*View, len(cards))
	for i, k := range cards {
		v, err := s.lookAtCard(ctx, name, k, requests)
		switch {
		case actions.CodeOf(err) == actions.CodeNotFound:
			err = s.closeCard(ctx, k)
		case err != nil && !passing(err): // the others can be shown all the same
			s.log.ErrorContext(ctx, "what a card is to show cannot be read", "request_id", k.request, "env", name.String(), "error", err)
			err = nil
		case err == nil:
			views[i] = &v
		}
		if err != nil {
			return nil, err
		}
	}
	markOld(cards, views)
	return views, nil
}

// lookAtCard reads what one card shows; requests are those that were read
// already. It returns CodeNotFound when its request is not kept any more.
func (s *Surface) lookAtCard(ctx context.Context, name actions.Name, k *card, requests map[string]*approvals.Request) (v View, err error) {
	r := requests[k.request]
	if r == nil {
		if r, err = s.requests.Get(ctx, k.request); err != nil {
			return v, err
		}
		requests[k.request] = r
	}
	if v, err = s.look(ctx, k.place, name, r); err != nil {
		return v, err
	}
	if w := k.slots[slotProgress]; w.Gone || w.End && r.State.Ended() {
		return v, nil // it is told to its end
	}
	return v, s.lookAtRun(ctx, &v)
}

// markOld finds the cards whose environment a newer one in the same channel
// shows.
func markOld(cards []*card, views []*View) {
	newest := map[bot.ChatPlace]string{}
	for i, k := range cards {
		if v := views[i]; v != nil && settled(v.Request) {
			newest[channelOf(k.place)] = k.request // they are sorted
		}
	}
	for i, k := range cards {
		if v := views[i]; v != nil && settled(v.Request) {
			v.Old = newest[channelOf(k.place)] != k.request
		}
	}
}

// channelOf is a place without its thread.
func channelOf(at bot.ChatPlace) bot.ChatPlace {
	if at.Thread = ""; at.Channel != "" {
		at.Workspace = "" // see cardID
	}
	return at
}

// settled tells whether a request has ended in a way that its card shows what
// became of its environment.
func settled(r *approvals.Request) bool {
	return !r.DryRun && (r.State == approvals.StateSucceeded || r.State == approvals.StateFailed)
}

// over tells whether the card will never say anything else.
func over(v View) bool {
	if !v.Request.State.Ended() {
		return false
	}
	return v.Old || !settled(v.Request) || v.Environment == nil || v.Environment.State == actions.StateCleaned
}

// showOne makes one card say how things are, with its progress and its news.
func (s *Surface) showOne(ctx context.Context, k *card, v View) (again time.Duration, err error) {
	later := func(wait time.Duration, err error) (goOn bool, _ error) {
		again = soonest(again, wait)
		limited, _ := errors.AsType[*bot.Limited](err)
		switch {
		case limited != nil:
			again = soonest(again, max(limited.After, busyPause))
			return false, nil
		case errors.Is(err, errBusy):
			again = soonest(again, 6*busyPause)
			return false, nil
		default:
			return err == nil, err
		}
	}
	if goOn, err := later(s.level(ctx, k, v)); !goOn || k.final {
		return again, err
	}
	if k.slots[slotCard].Gone {
		_, err := later(0, s.endWithoutCard(ctx, k, v))
		return again, err
	}
	if goOn, err := later(s.showProgress(ctx, k, v)); !goOn {
		return again, err
	}
	if goOn, err := later(0, s.tellNews(ctx, k, v)); !goOn {
		return again, err
	}
	if over(v) {
		if again > 0 {
			return again, nil
		}
		return 0, s.closeCard(ctx, k)
	}
	if next := v.agesAt(); v.Request.State.Ended() && !next.IsZero() {
		again = soonest(again, max(time.Second, next.Sub(v.Now)))
	}
	return again, nil
}

// level makes the card itself say how its request is.
func (s *Surface) level(ctx context.Context, k *card, v View) (again time.Duration, err error) {
	p, err := s.platform(k.place.Platform)
	if err != nil {
		return 0, err
	}
	d := draft{
		slot: slotCard, at: k.place, message: RequestCard(v), end: v.Request.State.Ended(), apart: p.Limits().EditEvery,
		stage: v.stage(), anew: v.Request.State == approvals.StatePending,
	}
	if k.place == k.asked {
		d.message.ReplyTo = k.reply
	}
	if k.slots[slotCard].Sent.ID == "" { // it calls people itself when it is made
		if d.message.Call, d.told, err = s.callByCard(ctx, k, v); err != nil {
			return 0, err
		}
	}
	again, err = s.put(ctx, k, d)
	if refused(err) && k.slots[slotCard].Sent.ID == "" {
		if err := s.unclaim(ctx, k); err != nil {
			return 0, err
		}
	}
	if actions.CodeOf(err) == actions.CodeForbidden && k.slots[slotCard].Sent.ID == "" {
		return s.levelDirectly(ctx, k, v, d, err)
	}
	switch {
	case !refused(err):
		return again, err
	case k.slots[slotCard].Sent.ID == "" && k.slots[slotCard].Tries == 0: // whoever asked for it hears of it
		return 0, errors.Join(err, s.closeCard(ctx, k))
	default:
		s.log.WarnContext(ctx, "a card cannot be written any more; it stays as it is, and who asked is told how it ends", "request_id", k.request, "place", k.place.ID(), "error", err)
		w := k.slots[slotCard]
		w.Gone = true
		return 0, s.saveSlot(ctx, k, slotCard, w)
	}
}

// levelDirectly has a card that may not stand where its request was made go to
// who asked, as a direct message. forbidden is why.
func (s *Surface) levelDirectly(ctx context.Context, k *card, v View, d draft, forbidden error) (time.Duration, error) {
	to, ok := accountPlace(k.place, v.Request.Requester.Identity)
	if !ok || k.place.Channel == "" || !isHome(k, v.Request) {
		return 0, errors.Join(forbidden, s.closeCard(ctx, k))
	}
	if err := s.moveCard(ctx, k, to); err != nil {
		return 0, err
	}
	v.Place, d.at = to, to
	d.message = RequestCard(v)
	var err error
	if d.message.Call, d.told, err = s.callByCard(ctx, k, v); err != nil {
		return 0, err
	}
	again, err := s.put(ctx, k, d)
	if refused(err) {
		return 0, errors.Join(forbidden, err, s.unclaim(ctx, k), s.closeCard(ctx, k))
	}
	return again, err
}

// refused tells whether a platform will not take a message there whenever it is
// tried.
func refused(err error) bool {
	code := actions.CodeOf(err)
	return code == actions.CodeForbidden || code == actions.CodeNotFound || code == actions.CodeInvalid
}

// showProgress keeps one message in the card's thread saying how far the run is.
// A run that is over before anybody could look has none, unless it failed.
func (s *Surface) showProgress(ctx context.Context, k *card, v View) (again time.Duration, err error) {
	run := v.Run
	if run == nil {
		return 0, nil
	}
	running := run.State == actions.RunRunning
	if w := k.slots[slotProgress]; w.Gone || w.Sent.ID == "" && w.Begun.IsZero() && run.State == actions.RunSucceeded {
		return 0, nil
	}
	pace := min(max(progressEvery, v.Now.Sub(run.StartedAt)/10), progressMost)
	again, err = s.put(ctx, k, draft{slot: slotProgress, at: threadOf(k), message: ProgressMessage(v), end: !running, apart: pace})
	if refused(err) {
		s.log.WarnContext(ctx, "how far a run is cannot be shown", "request_id", k.request, "place", k.place.ID(), "error", err)
		w := k.slots[slotProgress]
		w.Gone = true
		return 0, s.saveSlot(ctx, k, slotProgress, w)
	}
	if running && err == nil {
		again = soonest(again, pace)
	}
	return again, err
}

// threadOf is where what belongs to a card is said.
func threadOf(k *card) bot.ChatPlace {
	sent := k.slots[slotCard].Sent
	at := sent.Place
	if at.Platform == "" {
		at = k.place
	}
	if at.Thread == "" {
		at.Thread = sent.ID
	}
	return at
}
