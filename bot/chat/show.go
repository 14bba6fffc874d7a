package chat

import (
	"context"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// showRequest makes the card of r stand in a place, and says how r is. Where
// Berth may not write, the card goes to who asked, if they are known there. It
// returns *bot.Limited when there is no room for it yet.
func (s *Surface) showRequest(ctx context.Context, at bot.ChatPlace, r *approvals.Request) (bot.ChatSent, error) {
	return s.post(ctx, at, "r:"+r.ID, s.requestMessage(ctx, r))
}

// show makes all cards of an environment say how things are. It returns when
// there may be more to say, 0 when nothing but a change can make that so.
func (s *Surface) show(context.Context, actions.Name) (again time.Duration, err error) {
	return 0, nil
}

// tellNotice tells a notice that Outlet stored. It returns when to try again.
func (s *Surface) tellNotice(context.Context, string) (again time.Duration, err error) {
	return 0, nil
}
