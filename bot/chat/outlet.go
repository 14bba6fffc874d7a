package chat

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// rememberNotice is how long it is known that a notice was told.
	rememberNotice = rememberCard
	// staleNotice is when a notice that could not be told helps nobody any more.
	staleNotice = 24 * time.Hour
	// noticeSlot tells the message of a notice from those of cards.
	noticeSlot = "notice"
)

func keyNotice(id string) string { return keyPrefix + "notice:" + id }

// Outlet is a platform's channels as places where notices are told.
type Outlet struct {
	s        *Surface
	platform string
}

// Outlet returns the outlet of a platform, which routes of the config name by the
// same name.
func (s *Surface) Outlet(platform string) *Outlet { return &Outlet{s: s, platform: platform} }

// storedNotice is a notice as it is kept until it is told.
type storedNotice struct {
	Place  bot.ChatPlace `json:"place"`
	Notice bot.Notice    `json:"notice,omitzero"`
	At     time.Time     `json:"at"`
	Done   bool          `json:"done,omitempty"`
	// Sent is what is known of the message.
	Sent written `json:"sent,omitzero"`
}

// Tell has a notice posted in a channel: "C0123", or "T0001/C0123" in a workspace
// of its own. One about a request that waits is the request's card. That is once
// for each n.Key, whatever becomes of this process. It returns once the notice is
// stored; CodeInvalid for what is no channel, or a notice without a key; and
// CodeUnavailable when Redis does not answer.
func (o *Outlet) Tell(ctx context.Context, channel string, n bot.Notice) error {
	s := o.s
	at, err := routePlace(o.platform, channel)
	if err != nil {
		return err
	}
	if n.Key == "" {
		return actions.Errorf("chat.tell", actions.CodeInvalid, "A notice needs a key, by which it is told once.")
	}
	if _, err := s.platform(o.platform); err != nil {
		return err
	}
	text, err := json.Marshal(storedNotice{Place: at, Notice: n, At: s.now().UTC()})
	if err != nil {
		return actions.Wrap("chat.tell", actions.CodeInternal, err, "The notice cannot be stored.")
	}
	id := o.platform + ":" + at.Channel + ":" + shortHash(at.Channel+"\n"+n.Key)
	// If the first is stored and the second is not, whoever asked tries again and
	// comes by here again.
	if _, err := s.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.SetNX(ctx, keyNotice(id), text, rememberNotice)
		s.agenda.Mark(ctx, pipe, markNotice+id, s.now())
		return nil
	}); err != nil {
		return storeError(err)
	}
	s.agenda.Nudge()
	return nil
}

// tellNotice tells a notice that Outlet stored. It returns when to try again.
func (s *Surface) tellNotice(ctx context.Context, id string) (again time.Duration, err error) {
	text, err := s.rdb.Get(ctx, keyNotice(id)).Bytes()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, storeError(err)
	}
	var k storedNotice
	if json.Unmarshal(text, &k) != nil || k.Done {
		return 0, nil // what cannot be read was not written by us
	}
	err = s.tellNoticeNow(ctx, id, &k)
	if limited, ok := errors.AsType[*bot.Limited](err); ok {
		return max(limited.After, busyPause), nil
	}
	if err != nil && passing(err) && s.now().Sub(k.At) < staleNotice {
		return 0, err
	}
	if err != nil {
		s.log.ErrorContext(ctx, "a notice could not be told", "platform", k.Place.Platform, "place", k.Place.ID(), "event", k.Notice.Event, "error", err)
	}
	k.Done, k.Notice = true, bot.Notice{}
	return 0, s.keepNotice(ctx, id, k)
}

func (s *Surface) keepNotice(ctx context.Context, id string, k storedNotice) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return storeError(s.rdb.Set(context.WithoutCancel(ctx), keyNotice(id), text, rememberNotice).Err())
}

// tellNoticeNow posts a notice, or finds that it stands already.
func (s *Surface) tellNoticeNow(ctx context.Context, id string, k *storedNotice) error {
	n := k.Notice
	if n.Request != "" && (n.Event == bot.EventWaiting || n.Event == bot.EventGlass) {
		r, err := s.requests.Get(ctx, n.Request)
		if err != nil && actions.CodeOf(err) != actions.CodeNotFound {
			return err
		}
		if err == nil {
			if n.Event == bot.EventWaiting && r.State.Ended() {
				return nil // nobody is waited for any more
			}
			_, err = s.showRequest(ctx, k.Place, r, "")
			return err
		}
	}
	key := postKey(id, noticeSlot, 0)
	if !k.Sent.Begun.IsZero() {
		sent, err := s.find(ctx, k.Place, key, k.Sent.Begun.Add(-findSkew))
		if err != nil || sent.ID != "" {
			return err
		}
	}
	k.Sent.Begun = s.now()
	if err := s.keepNotice(ctx, id, *k); err != nil {
		return err
	}
	_, err := s.post(ctx, k.Place, key, NoticeMessage(s.view(k.Place, n.Env), n))
	if _, limited := errors.AsType[*bot.Limited](err); limited { // it was not made
		k.Sent.Begun = time.Time{}
		if errKept := s.keepNotice(ctx, id, *k); errKept != nil {
			return errKept
		}
	}
	return err
}
