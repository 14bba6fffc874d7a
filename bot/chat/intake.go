package chat

import (
	"context"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// Take stores what somebody did, so that it is done whatever becomes of this
// process. Who takes the same event again changes nothing.
func (s *Surface) Take(ctx context.Context, e bot.ChatEvent) error {
	return actions.Errorf("chat.take", actions.CodeUnavailable, "not yet")
}
