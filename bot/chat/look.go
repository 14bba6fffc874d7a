package chat

import (
	"context"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// view is what is known without asking anything: where a card stands, and what
// the config says.
func (s *Surface) view(at bot.ChatPlace, name actions.Name) View {
	v := View{Name: name, Place: at, PublicURL: s.public, RepoURL: s.repoURL, Rules: s.rules(at), Now: s.now().UTC()}
	if app, err := s.catalog.App(name.App); err == nil {
		v.App = app // else it may have been taken out of the config
	}
	return v
}

// look reads what the card of a request shows, or, without one, of an environment.
func (s *Surface) look(ctx context.Context, at bot.ChatPlace, name actions.Name, r *approvals.Request) (View, error) {
	v := s.view(at, name)
	v.Request = r
	env, err := s.store.Environment(ctx, name)
	switch {
	case err == nil:
		v.Environment = env
	case actions.CodeOf(err) != actions.CodeNotFound:
		return v, err
	}
	standing, err := s.requests.Standing(ctx, name)
	if err != nil {
		return v, err
	}
	for _, other := range standing { // the oldest first
		if !other.DryRun && (r == nil || other.ID != r.ID) {
			v.UnderWay = other
		}
	}
	return v, nil
}

// lookAtRun adds the run of the view's request, and the end of its log.
func (s *Surface) lookAtRun(ctx context.Context, v *View) error {
	if v.Request == nil || v.Request.RunID == "" {
		return nil
	}
	run, err := s.store.Run(ctx, v.Request.RunID)
	if actions.CodeOf(err) == actions.CodeNotFound {
		return nil // it is not begun, or not kept any more
	}
	if err != nil {
		return err
	}
	end, err := s.tails.Read(ctx, s.store, run.ID)
	if err != nil {
		return err
	}
	v.Run, v.Log, v.LogLines, v.Progress = run, end.Lines, end.Total, end.Progress
	return nil
}

// replyMessage is what the one who did something is answered.
func (s *Surface) replyMessage(ctx context.Context, in bot.Input, reply bot.Reply) bot.ChatMessage {
	c, err := s.service.Parse(in.Line)
	if err != nil {
		c = bot.Command{} // the reply says what is wrong with it
	}
	at, err := bot.ParseChatPlace(in.Place.Surface, in.Place.ID)
	if err != nil {
		at = bot.ChatPlace{Platform: in.Place.Surface}
	}
	v := s.view(at, actions.Name{})
	if env := reply.Environment; env != nil {
		if v, err = s.look(ctx, at, env.Name, nil); err != nil {
			v = s.view(at, env.Name) // the answer itself is there already
		}
		v.Environment = env
	}
	return ReplyMessage(v, c, reply)
}

// environmentMessage is how an environment is, for whoever may look at it at a
// place. It
// returns CodeNotFound for one that was never made.
func (s *Surface) environmentMessage(ctx context.Context, at bot.ChatPlace, name actions.Name) (bot.ChatMessage, error) {
	v, err := s.look(ctx, at, name, nil)
	if err == nil && v.Environment == nil {
		err = actions.Errorf("chat.environment", actions.CodeNotFound, "There is no environment %s.", name)
	}
	if err != nil {
		return bot.ChatMessage{}, err
	}
	return EnvironmentCard(v), nil
}

// requestMessage is how a request is, as seen at a place. What cannot be seen of
// its environment is left out.
func (s *Surface) requestMessage(ctx context.Context, at bot.ChatPlace, r *approvals.Request) bot.ChatMessage {
	v, err := s.look(ctx, at, r.Order.Env, r)
	if err != nil {
		s.log.WarnContext(ctx, "a request is shown without its environment", "request_id", r.ID, "error", err)
		v = s.view(at, r.Order.Env)
		v.Request = r
	}
	return RequestCard(v)
}
