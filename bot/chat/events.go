package chat

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// do does what somebody did. It may be done any number of times, since it can
// end anywhere: commands have a key, cards are found again, and only an answer may
// be given twice.
func (s *Surface) do(ctx context.Context, platform, id string) (again time.Duration, err error) {
	body, err := s.rdb.Get(ctx, keyEvent(platform, id)).Result()
	if errors.Is(err, redis.Nil) || err == nil && body == "" {
		return 0, nil // it is done, or so old that nobody waits for it
	}
	if err != nil {
		return 0, unavailable("chat.event", err)
	}
	e, err := readEvent(platform, id, body)
	if err != nil {
		s.log.ErrorContext(ctx, "what was stored is no event; it is left alone", "platform", platform, "event_id", id, "error", err)
		return 0, s.finish(ctx, platform, id)
	}
	switch e.Kind {
	case bot.ChatCommand:
		return 0, s.doCommand(ctx, e)
	case bot.ChatHome:
		err = s.openPage(ctx, e)
	case bot.ChatLinks:
		again, err = s.unfurl(ctx, e)
	}
	if again > 0 || err != nil {
		return again, err
	}
	return 0, s.finish(ctx, platform, id)
}

// finish forgets what an event was, and remembers that it was done.
func (s *Surface) finish(ctx context.Context, platform, id string) error {
	if err := s.rdb.Set(context.WithoutCancel(ctx), keyEvent(platform, id), "", rememberEvent).Err(); err != nil {
		return unavailable("chat.event", err)
	}
	return nil
}

// doCommand does a command and answers. Who waits for long is told so, and who
// waited in vain as well.
func (s *Surface) doCommand(ctx context.Context, e bot.ChatEvent) (err error) {
	t, done := s.troubles.begin(e.Place.Platform, e.ID, s.began(e))
	defer func() { done(err != nil) }()
	if t.isTold() { // all that is left is to keep that
		return s.finish(ctx, e.Place.Platform, e.ID)
	}
	defer s.tellWhenSlow(ctx, e, t)()

	in, reply, err := s.execute(ctx, e)
	if err != nil {
		return s.failed(ctx, e, t, err)
	}
	m := s.replyMessage(ctx, in, reply)
	if err := s.showCard(ctx, e, reply, &m); err != nil {
		return s.failed(ctx, e, t, err)
	}
	if err := s.tell(ctx, e, t, m); err != nil {
		return s.failed(ctx, e, t, err)
	}
	return s.finish(ctx, e.Place.Platform, e.ID)
}

// execute does the line of a command as if whoever did the event had typed it at
// its place.
func (s *Surface) execute(ctx context.Context, e bot.ChatEvent) (bot.Input, bot.Reply, error) {
	rules := s.rules(e.Place)
	in := bot.Input{
		Line: strings.TrimSpace(e.Line), Private: true, Apps: rules.Apps, Verbs: rules.Verbs, At: e.At,
		Place: approvals.Place{Surface: e.Place.Platform, ID: e.Place.ID(), Message: e.Message},
	}
	if in.Place.Message == "" {
		in.Place.Message = e.ID
	}
	if in.Line == "" {
		in.Line = bot.VerbHelp
	}
	first, err := s.first(ctx, e)
	if err != nil {
		return in, bot.Reply{}, err
	}
	in.Key = "chat:" + e.Place.Platform + ":" + first
	if in.Actor, err = s.doer(ctx, e, rules); err != nil {
		return in, bot.Reply{}, err
	}
	if in.Digest, err = s.decidesOn(ctx, e); err != nil {
		return in, bot.Reply{}, err
	}
	reply, err := s.service.Execute(ctx, in)
	if err == nil && e.Clicked && reply.Code == actions.CodeStale {
		reply.Text += "\n\nThe plan has changed since that card was made: look at the card as it is now, and decide again."
	}
	if err == nil && reply.Request != nil {
		s.markNow(ctx, reply.Request.Order.Env)
	}
	return in, reply, err
}

// actor is who did e, with what the config lets guests do where it knows them not.
func (s *Surface) actor(ctx context.Context, e bot.ChatEvent, rules Rules) (bot.Actor, error) {
	a, _, err := s.identify(ctx, e, rules)
	return a, err
}

// identify is actor, and tells whether it is somebody without a role of their own.
func (s *Surface) identify(ctx context.Context, e bot.ChatEvent, rules Rules) (a bot.Actor, guest bool, err error) {
	a, err = s.service.Identify(ctx, bot.Actor{Identity: e.Identity, Name: e.Name})
	if guest = err == nil && len(a.Roles) == 0; guest {
		a.Roles = slices.Clone(rules.Guests)
	}
	return a, guest, err
}

// doer is who did a command, with what they may do in it.
func (s *Surface) doer(ctx context.Context, e bot.ChatEvent, rules Rules) (bot.Actor, error) {
	a, guest, err := s.identify(ctx, e, rules)
	if err != nil || !guest {
		return a, err // what the config gives somebody is what they have
	}
	return s.asked(ctx, e, rules, a)
}

// decidesOn is the digest of the plan that a clicked card showed. Where the
// request has another by now it stays what the card has of it, which is no plan's,
// so that the use case refuses it, unless it was counted before.
func (s *Surface) decidesOn(ctx context.Context, e bot.ChatEvent) (string, error) {
	if !e.Clicked || e.Digest == "" {
		return "", nil
	}
	c, err := s.service.Parse(e.Line)
	if err != nil || c.ID == "" || (c.Verb != bot.VerbApprove && c.Verb != bot.VerbDeny) {
		return "", nil // it decides nothing, or the use case says what is wrong with it
	}
	r, err := s.requests.Get(ctx, c.ID)
	switch {
	case actions.CodeOf(err) == actions.CodeNotFound:
		return "", nil // the use case says so
	case err != nil:
		return "", err
	case strings.HasPrefix(r.Digest, e.Digest):
		return r.Digest, nil
	default:
		return e.Digest, nil
	}
}

// showCard has the card of the request that an answer is about stand where it was
// asked for, or decided on, and adds to the answer where that is.
func (s *Surface) showCard(ctx context.Context, e bot.ChatEvent, reply bot.Reply, m *bot.ChatMessage) error {
	if reply.Request == nil || reply.Tone != bot.ToneAccepted && (reply.Tone != bot.ToneInfo || !s.decides(e.Line)) {
		return nil
	}
	at := e.Place
	if e.Clicked && at.Thread == e.Message {
		at.Thread = "" // the card itself, on which a thread hangs
	}
	sent, err := s.showRequest(ctx, at, reply.Request, mentionOf(e))
	limited, _ := errors.AsType[*bot.Limited](err)
	switch {
	case limited != nil:
		// It is known to be wanted, and whoever shows the environment makes it.
		if err := s.agenda.Mark(ctx, s.rdb, reply.Request.Order.Env.String(), s.now().Add(limited.After)).Err(); err != nil {
			return unavailable("chat.card", err)
		}
		m.Text += "\n\nIts card follows as soon as there is room for another message here."
	case err != nil && passing(err):
		return err
	case err != nil:
		s.log.WarnContext(ctx, "a card could not be shown", "request_id", reply.Request.ID, "place", at.ID(), "error", err)
		m.Text += "\n\nIts card cannot be shown here: " + bot.Escape(actions.Message(err), 300)
	case elsewhere(at, sent):
		m.Text += "\n\nBerth may not write here, so that its card is in your direct messages" + linked(sent) + ". " + invite(at.Platform)
	case reply.Tone == bot.ToneAccepted && sent.URL != "":
		m.Text, m.Shown = acceptedText(reply.Request, sent.URL), true
	}
	return nil
}

// mentionOf is the message that a command was typed in for all to read, which the
// card then answers; "" where there is none.
func mentionOf(e bot.ChatEvent) string {
	if e.Clicked || e.Private || e.Answer != "" {
		return ""
	}
	return e.Message
}

// decides tells whether a line approves or denies.
func (s *Surface) decides(line string) bool {
	c, err := s.service.Parse(line)
	return err == nil && (c.Verb == bot.VerbApprove || c.Verb == bot.VerbDeny)
}

// elsewhere tells whether what was to stand at a place went to somebody directly.
func elsewhere(at bot.ChatPlace, sent bot.ChatSent) bool {
	return sent.ID != "" && at.Channel != "" && sent.Place.Channel != at.Channel
}

func linked(sent bot.ChatSent) string {
	if sent.URL == "" {
		return ""
	}
	return " ([here](" + sent.URL + "))"
}

// invite says how Berth comes to write in a channel.
func invite(platform string) string {
	if platform == bot.PlatformSlack {
		return "`/invite @Berth` in this channel lets it."
	}
	return "Somebody who runs this server can give Berth the permissions to see this channel and to send messages in it."
}
