package chat

import (
	"context"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// replyMessage is what the one who did something is answered.
func (s *Surface) replyMessage(_ context.Context, _ bot.Input, reply bot.Reply) bot.ChatMessage {
	return bot.ChatMessage{Text: reply.Text}
}

// environmentMessage is how an environment is.
func (s *Surface) environmentMessage(ctx context.Context, name actions.Name) (bot.ChatMessage, error) {
	env, err := s.store.Environment(ctx, name)
	if err != nil {
		return bot.ChatMessage{}, err
	}
	return bot.ChatMessage{Title: env.Name.String(), Text: bot.Sentence(env)}, nil
}

// requestMessage is how a request is.
func (s *Surface) requestMessage(_ context.Context, r *approvals.Request) bot.ChatMessage {
	return bot.ChatMessage{Title: r.Order.Env.String(), Text: bot.Code(r.Command, 300)}
}
