package chat

import (
	"context"
	"errors"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// callTimeout bounds one call of a platform: they answer within a second, or
	// not at all.
	callTimeout = 10 * time.Second
	// answerTries is how often an answer is tried on the spot. After that the whole
	// event is done again, which does nothing twice.
	answerTries = 3
)

// platform finds a platform by name.
func (s *Surface) platform(name string) (Platform, error) {
	if p := s.platforms[name]; p != nil {
		return p, nil
	}
	return nil, actions.Errorf("chat.platform", actions.CodeInvalid, "Berth is not connected to %q.", name)
}

// post makes a message within the budget. It returns *bot.Limited when that is
// spent, and then has done nothing. Its other errors are Platform's.
func (s *Surface) post(ctx context.Context, at bot.ChatPlace, key string, m bot.ChatMessage) (sent bot.ChatSent, err error) {
	err = s.write(ctx, at, writePost, key, false, func(ctx context.Context, p Platform) error {
		sent, err = p.Post(ctx, at, key, m)
		return err
	})
	return sent, err
}

// edit replaces a message within the budget; awaited tells that people wait for
// what it says, for which some of the budget is left over by other edits. Its
// errors are post's.
func (s *Surface) edit(ctx context.Context, sent bot.ChatSent, m bot.ChatMessage, awaited bool) error {
	return s.write(ctx, sent.Place, writeEdit, sent.ID, awaited, func(ctx context.Context, p Platform) error { return p.Edit(ctx, sent, m) })
}

// write calls a platform within the budget, and keeps to the pause that it asks
// for.
func (s *Surface) write(ctx context.Context, at bot.ChatPlace, kind, who string, awaited bool, call func(context.Context, Platform) error) error {
	p, err := s.platform(at.Platform)
	if err != nil {
		return err
	}
	if err := s.budget.spend(ctx, at, p.Limits(), kind, who, awaited); err != nil {
		return err
	}
	work, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = call(work, p)
	if limited, ok := errors.AsType[*bot.Limited](err); ok {
		if err := s.budget.block(ctx, at, kind, limited.After); err != nil {
			s.log.WarnContext(ctx, "a platform's wish for a pause could not be kept", "platform", at.Platform, "workspace", at.Workspace, "error", err)
		}
	}
	return err
}

// find looks for the message that was posted with key after since; see
// Platform.Find.
func (s *Surface) find(ctx context.Context, at bot.ChatPlace, key string, since time.Time) (bot.ChatSent, error) {
	p, err := s.platform(at.Platform)
	if err != nil {
		return bot.ChatSent{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return p.Find(ctx, at, key, since)
}

// answer tells the one who did e, and nobody else. What passes quickly it waits
// for. A message that the platform will never take is told in short instead, so
// that nobody is left without an answer. It returns *bot.Limited and
// CodeUnavailable when it may be tried again, and other errors when the account
// cannot be reached at all. It needs no Redis: it is how people hear of that.
func (s *Surface) answer(ctx context.Context, e bot.ChatEvent, nth int, m bot.ChatMessage) error {
	p, err := s.platform(e.Place.Platform)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return err // another may be at it by now
		}
		err = s.answerOnce(ctx, p, e, nth, m)
		if err == nil {
			return nil
		}
		limited, slow := errors.AsType[*bot.Limited](err)
		switch {
		case actions.CodeOf(err) == actions.CodeInvalid && try == 1:
			s.log.WarnContext(ctx, "a platform does not take an answer as it is; it is told in short", "platform", p.Name(), "event_id", e.ID, "error", err)
			m = bot.ChatMessage{Tone: m.Tone, Icon: m.Icon, Title: m.Title, Text: "The whole answer cannot be shown here; the same command in a terminal, after `berth`, shows it."}
		case try == answerTries:
			return err
		case slow && limited.After <= shortWait:
			if pause(ctx, limited.After) != nil {
				return err
			}
		case !slow && actions.CodeOf(err) == actions.CodeUnavailable:
			if pause(ctx, time.Duration(try)*250*time.Millisecond) != nil {
				return err
			}
		default:
			return err
		}
	}
}

func (s *Surface) answerOnce(ctx context.Context, p Platform, e bot.ChatEvent, nth int, m bot.ChatMessage) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return p.Answer(ctx, e, nth, m)
}

// passing tells whether err is of a kind that time may cure.
func passing(err error) bool {
	if _, limited := errors.AsType[*bot.Limited](err); limited {
		return true
	}
	return actions.CodeOf(err) == actions.CodeUnavailable || actions.Retryable(err) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
