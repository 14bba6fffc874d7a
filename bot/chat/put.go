package chat

import (
	"context"
	"errors"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// draft is what a message of a card should say.
type draft struct {
	slot    string
	at      bot.ChatPlace
	message bot.ChatMessage
	end     bool          // it says how its request ended
	apart   time.Duration // how far its edits are apart, of those that say the same stage
	// stage is where what it tells of has come to. People wait for another one: such
	// an edit is made at once, and the budget keeps some room for it, as it does for
	// the end.
	stage string
	// anew has it made anew when somebody deleted it.
	anew bool
	// told is the news, by kind, that it tells by itself when it is made.
	told map[string]string
}

// errBusy says that somebody else writes the card just now.
var errBusy = errors.New("chat: another writes this card")

// put makes a card's message, or edits it, unless it says so already. Whatever
// became of whoever tried before, it stands once. It returns when to come again,
// where it was edited just now. Its errors are post's, and errBusy.
func (s *Surface) put(ctx context.Context, k *card, d draft) (again time.Duration, err error) {
	mine, err := s.writing(ctx, k.id, func(ctx context.Context) error {
		fresh, known, err := s.loadCard(ctx, k.id)
		if err != nil {
			return err
		}
		if known { // another may have written it since k was read
			moved := k.place != fresh.place
			k.slots, k.told, k.place = fresh.slots, fresh.told, fresh.place
			if moved { // it may not stand where d would have it, and another makes it elsewhere
				return errBusy
			}
		}
		again, err = s.putNow(ctx, k, d)
		return err
	})
	if err == nil && !mine {
		err = errBusy
	}
	return again, err
}

func (s *Surface) putNow(ctx context.Context, k *card, d draft) (again time.Duration, err error) {
	sum, err := sumOf(d.message)
	if err != nil {
		return 0, actions.Wrap("chat.card", actions.CodeInternal, err, "The message cannot be compared with what stands.")
	}
	w := k.slots[d.slot]
	if w.Gone {
		return 0, nil
	}
	if w.Sent.ID == "" && !w.Begun.IsZero() {
		if w.Sent, err = s.find(ctx, d.at, postKey(k.id, d.slot, w.Tries), w.Begun.Add(-findSkew)); err != nil {
			return 0, err
		}
		if w.Sent.ID != "" { // and has called whom it was to call then
			w.Begun = time.Time{}
			if err := s.saveSlot(ctx, k, d.slot, w); err != nil {
				return 0, err
			}
			w.Told = nil
		}
	}
	if w.Sent.ID != "" {
		if w.Sum == sum && w.End == d.end {
			return 0, nil
		}
		awaited := d.stage != w.Stage || d.end && !w.End
		// Another replica's clock may be ahead, but nothing waits for longer than apart.
		if wait := w.At.Add(d.apart).Sub(s.now()); wait > 0 && !awaited && w.Sum != sum {
			return min(wait, d.apart), nil
		}
		if w.Sum != sum {
			err = s.edit(ctx, w.Sent, d.message, awaited)
		}
		switch {
		case err == nil:
			w.Sum, w.Stage, w.End, w.At, w.Begun = sum, d.stage, d.end, s.now(), time.Time{}
			return 0, s.saveSlot(ctx, k, d.slot, w)
		case actions.CodeOf(err) != actions.CodeNotFound:
			return 0, s.unwritable(ctx, k, d, w, sum, err)
		case !d.anew:
			w.Gone = true
			return 0, s.saveSlot(ctx, k, d.slot, w)
		}
		s.log.InfoContext(ctx, "a card was deleted; it is made anew, since people must decide", "request_id", k.request, "place", d.at.ID())
		w = written{Tries: w.Tries + 1}
	}
	return 0, s.postNow(ctx, k, d, w, sum)
}

// postNow makes a message, and keeps before that it may be made, so that it is
// looked for when nobody hears of it any more.
func (s *Surface) postNow(ctx context.Context, k *card, d draft, w written, sum string) error {
	w.Begun, w.Told = s.now(), d.told
	if err := s.saveSlot(ctx, k, d.slot, w); err != nil {
		return err
	}
	sent, err := s.post(ctx, d.at, postKey(k.id, d.slot, w.Tries), d.message)
	if err != nil {
		if _, limited := errors.AsType[*bot.Limited](err); limited || !passing(err) { // it was not made
			w.Begun, w.Told = time.Time{}, nil
			if errKept := s.saveSlot(ctx, k, d.slot, w); errKept != nil {
				return errKept
			}
		}
		return s.unwritable(ctx, k, d, w, sum, err)
	}
	w.Sent, w.Sum, w.Stage, w.End, w.At, w.Begun = sent, sum, d.stage, d.end, s.now(), time.Time{}
	return s.saveSlot(ctx, k, d.slot, w)
}

// unwritable is what becomes of an error of a platform: what it will never take
// is logged, and left until there is something else to say.
func (s *Surface) unwritable(ctx context.Context, k *card, d draft, w written, sum string, err error) error {
	if actions.CodeOf(err) != actions.CodeInvalid {
		return err
	}
	s.log.ErrorContext(ctx, "a platform does not take a message", "request_id", k.request, "what", d.slot, "place", d.at.ID(), "error", err)
	if w.Sent.ID == "" {
		return err
	}
	w.Sum, w.Stage, w.End, w.At = sum, d.stage, d.end, s.now()
	return s.saveSlot(ctx, k, d.slot, w)
}
