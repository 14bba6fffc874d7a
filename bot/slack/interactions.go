package slack

import (
	"context"
	"time"

	"github.com/berth-dev/berth/bot"
)

// The kinds of interactions that Berth acts on.
// Source: https://docs.slack.dev/reference/interaction-payloads
const (
	kindClick      = "block_actions"
	kindSubmission = "view_submission"
	kindMessage    = "message_action"
	kindShortcut   = "shortcut"
	kindOptions    = "block_suggestion"
)

// interactionForm is an interaction that came over HTTP.
func (s *Surface) interactionForm(ctx context.Context, signed time.Time, body []byte) reply {
	in, err := decodeInteractionForm(body)
	if err != nil {
		return malformed
	}
	return s.interaction(ctx, s.when(signed), in)
}

// interactionEnvelope is one that came by Socket Mode.
func (s *Surface) interactionEnvelope(ctx context.Context, payload []byte) reply {
	in, err := decodeInteraction(payload)
	if err != nil {
		return malformed
	}
	return s.interaction(ctx, s.now(), in)
}

// interaction takes an interaction. Those that Berth knows nothing of, such as a
// window that was closed, are acknowledged.
func (s *Surface) interaction(ctx context.Context, at time.Time, in *interaction) reply {
	switch in.Type {
	case kindClick:
		return s.click(ctx, at, in)
	case kindSubmission:
		return s.submission(ctx, at, in)
	case kindMessage, kindShortcut:
		return s.shortcut(ctx, at, in)
	case kindOptions:
		return s.options(ctx, in)
	}
	return ok
}

// click takes a click on a button. Each is done as if whoever clicked had typed
// its command.
func (s *Surface) click(ctx context.Context, at time.Time, in *interaction) reply {
	if len(in.Actions) == 0 {
		return ok
	}
	act := in.Actions[0]
	p, err := parseButtonValue(act.Value)
	if err != nil {
		return ok // a link, or a menu in a window that is read when it is submitted
	}
	a := s.clicked(at, in, act, p)
	if !s.serves(ctx, &a, in.teams()...) {
		return s.aside(ctx, func(ctx context.Context) { s.tell(ctx, a, foreignText) })
	}
	inWindow := in.View != nil && in.View.Type == "modal"
	switch {
	case p.Reason != "":
		window := reasonWindow(act.Text.Text, p, notes(&a))
		return s.aside(ctx, func(ctx context.Context) {
			if _, err := s.open(ctx, &a, in.TriggerID, inWindow, window); err != nil {
				s.unopened(ctx, a, err)
			}
		})
	case inWindow:
		a.Answer, a.Until = viewAnswer+in.View.ID, at.Add(answerFor)
	case p.Show || in.View != nil:
		s.look(ctx, &a, in.TriggerID, act.Text.Text)
	}
	switch s.take(ctx, &a, true, true) {
	case stored, held:
		return ok
	default:
		return s.aside(ctx, func(ctx context.Context) { s.tell(ctx, a, a.text(refusedText)) })
	}
}

// clicked is what a click means.
func (s *Surface) clicked(at time.Time, in *interaction, act action, p buttonValue) arrival {
	message := first(in.Container.MessageTS, in.Message.TS)
	where, kept := message, note{}
	if in.View != nil {
		where = in.View.ID
		kept, _ = readNote(in.View.PrivateMetadata)
	}
	a := arrival{team: first(append([]string{in.User.TeamID}, in.teams()...)...), ChatEvent: bot.ChatEvent{
		Kind: bot.ChatCommand, Clicked: true, Line: p.Line, Digest: p.Digest,
		User: in.User.ID, Name: in.name(), At: at,
		Message: first(message, kept.Message), Answer: s.address(in.ResponseURL),
		Place: bot.ChatPlace{Platform: bot.PlatformSlack, Channel: first(in.Container.ChannelID, in.Channel.ID), Thread: first(in.Message.ThreadTS, in.Container.ThreadTS)},
	}}
	a.ID = idOf("click", a.team, a.User, where, act.ActionID, act.Value, act.ActionTS, in.TriggerID)
	a.At = doneAt(act.ActionTS, at)
	if a.Place.Channel == "" {
		a.Place.Channel, a.Place.Thread = kept.Channel, kept.Thread
	}
	s.settle(&a, in)
	return a
}

// settle fills in what follows from where something was done: a direct message
// where there is no channel, no thread where the message itself begins it.
func (s *Surface) settle(a *arrival, in *interaction) {
	a.Place.Workspace = first(in.teams()...)
	if a.Place.Channel == "" {
		a.Place.User = a.User
	}
	if a.Place.Thread == a.Message {
		a.Place.Thread = ""
	}
	a.Private = a.Place.Channel == "" || direct(a.Place.Channel)
	if a.Answer != "" && a.Until.IsZero() {
		a.Until = a.At.Add(answerFor)
	}
}

// aside does what need not be done before Slack is answered. When too much is
// being done already, Slack is told that this failed, and shows it at the
// button.
func (s *Surface) aside(ctx context.Context, do func(ctx context.Context)) reply {
	select {
	case s.opening <- struct{}{}:
	default:
		return unavailable
	}
	work := context.WithoutCancel(ctx)
	go func() {
		defer func() { <-s.opening }()
		ctx, cancel := context.WithTimeout(work, tellWithin)
		defer cancel()
		do(ctx)
	}()
	return ok
}

// submission takes a window that was filled in.
func (s *Surface) submission(ctx context.Context, at time.Time, in *interaction) reply {
	if in.View == nil {
		return malformed
	}
	var (
		n    note
		line string
		err  error
	)
	if n, err = readNote(in.View.PrivateMetadata); err != nil {
		return malformed
	}
	switch in.View.CallbackID {
	case callbackReason:
		var wrong fieldErrors
		if line, wrong = reasonLine(in.View, n); len(wrong) > 0 {
			return wrong.reply()
		}
	case callbackRun:
		var wrong fieldErrors
		if line, wrong = runLine(in.View); len(wrong) > 0 {
			return wrong.reply()
		}
		if chosen := fieldOf(in.View, fieldPlace).SelectedTarget; idPattern.MatchString(chosen) {
			n.Channel, n.Thread, n.Message = chosen, "", ""
		}
		if len(in.ResponseURLs) > 0 {
			n.Answer, n.Until = in.ResponseURLs[0].ResponseURL, at.Add(answerFor).Unix()
		}
	default:
		return ok
	}
	a := arrival{team: first(append([]string{in.User.TeamID}, in.teams()...)...), ChatEvent: bot.ChatEvent{
		ID: idOf("submission", in.User.ID, in.View.ID, in.View.Hash, line), Kind: bot.ChatCommand, Clicked: true,
		User: in.User.ID, Name: in.name(), Line: line, Digest: n.Digest, At: at, Message: n.Message,
		Answer: n.Answer, Place: bot.ChatPlace{Platform: bot.PlatformSlack, Channel: n.Channel, Thread: n.Thread},
	}}
	if !isViewAnswer(n.Answer) {
		a.Answer = s.address(n.Answer)
	}
	if n.Until > 0 {
		a.Until = time.Unix(n.Until, 0).UTC()
	}
	s.settle(&a, in)
	if !s.serves(ctx, &a, append([]string{n.Team}, in.teams()...)...) {
		return instead(foreignText)
	}
	switch s.take(ctx, &a, true, false) {
	case stored:
		return ok
	case held:
		return instead(a.text(waitingText))
	default:
		return instead(a.text(refusedText))
	}
}
