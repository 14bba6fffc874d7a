package chat

import (
	"context"
	"time"

	"github.com/berth-dev/berth/bot"
)

// post makes a message within the budget. It returns *bot.Limited when that is
// spent, and then has done nothing. Its other errors are Platform's.
func (s *Surface) post(ctx context.Context, at bot.ChatPlace, key string, m bot.ChatMessage) (bot.ChatSent, error) {
	return s.platforms[at.Platform].Post(ctx, at, key, m)
}

// edit replaces a message within the budget; end tells that what it says is the
// end, which waits behind nothing that only changes on the way there.
func (s *Surface) edit(ctx context.Context, sent bot.ChatSent, m bot.ChatMessage, end bool) error {
	return s.platforms[sent.Place.Platform].Edit(ctx, sent, m)
}

// find looks for the message that was posted with key after since; see
// Platform.Find.
func (s *Surface) find(ctx context.Context, at bot.ChatPlace, key string, since time.Time) (bot.ChatSent, error) {
	return s.platforms[at.Platform].Find(ctx, at, key, since)
}

// answer tells the one who did e, and nobody else.
func (s *Surface) answer(ctx context.Context, e bot.ChatEvent, nth int, m bot.ChatMessage) error {
	return s.platforms[e.Place.Platform].Answer(ctx, e, nth, m)
}
