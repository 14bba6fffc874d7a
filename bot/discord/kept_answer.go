package discord

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// What is answered to a mention is a direct message, where it is for one person
// alone: only interactions have answers that others do not see. For whoever takes
// no direct messages it is kept, and a button where they mentioned Berth shows it:
// a click is an interaction.

const (
	// answerKept is how long such an answer is kept.
	answerKept = 24 * time.Hour
	// showPress begins what those buttons stand for in place of a command:
	// "a1|EVENT|NUMBER".
	showPress = "a1"
	// showWithin is how long showing one may take once it was clicked.
	showWithin = 10 * time.Second
)

// keptAnswer is an answer that waits to be looked at.
type keptAnswer struct {
	User    string          `json:"user"` // whose it is
	Message bot.ChatMessage `json:"message"`
}

// keyAnswer is the nth answer to an event, as keptAnswer.
func keyAnswer(event string, nth int) string {
	return keyPrefix + "answer:" + event + ":" + strconv.Itoa(nth)
}

// showLine is what the button stands for that shows the nth answer to an event.
func showLine(event string, nth int) string {
	return strings.Join([]string{showPress, event, strconv.Itoa(nth)}, "|")
}

// decodeShow reads what showLine wrote. It is false for what is none of ours.
func decodeShow(line string) (event string, nth int, ok bool) {
	words := strings.Split(line, "|")
	if len(words) != 3 || words[0] != showPress || !isID(strings.TrimPrefix(words[1], "m")) {
		return "", 0, false
	}
	nth, err := strconv.Atoi(words[2])
	return words[1], nth, err == nil && nth >= 0 && words[2] == strconv.Itoa(nth)
}

// keepAnswer keeps the nth answer to a mention, and says where Berth was
// mentioned that it is there, once. It returns why nobody could be told when that
// cannot be said either, and CodeUnavailable for what may be tried again.
func (s *Surface) keepAnswer(ctx context.Context, e bot.ChatEvent, nth int, m bot.ChatMessage, why error) error {
	note := bot.ChatMessage{
		Call: []string{identityPrefix + e.User}, ReplyTo: e.Message,
		Text: "Berth's answer is for you alone, and your privacy settings for this server let no direct message of Berth's through.",
	}
	if nth >= 0 && s.heard.rdb != nil { // what else there is to say is that Redis does not answer
		text, err := json.Marshal(keptAnswer{User: e.User, Message: m})
		if err != nil {
			return actions.Wrap(opAnswer, actions.CodeInternal, err, "The answer cannot be kept.")
		}
		within, cancel := context.WithTimeout(ctx, heardWithin)
		defer cancel()
		if err := s.heard.rdb.Set(within, keyAnswer(e.ID, nth), text, answerKept).Err(); err != nil {
			return &actions.Error{Op: opAnswer, Code: actions.CodeUnavailable, Msg: "Berth's store did not answer; try again in a moment.", Err: err, Retry: true}
		}
		note.Text += " The button shows it to you here, for a day."
		note.Buttons = []bot.ChatButton{{Label: "Show it to me", Line: showLine(e.ID, nth), Style: bot.StylePrimary}}
	} else {
		note.Text += " What you type here after `/" + slashCommand + "` is answered here, for you alone."
	}
	_, err := s.Post(ctx, e.Place, "unreached:"+e.ID+":"+strconv.Itoa(nth), note)
	if actions.CodeOf(err) == actions.CodeForbidden || actions.CodeOf(err) == actions.CodeNotFound {
		return why
	}
	return err
}

// showAnswer answers a click on the button of an answer that was kept: with that,
// for whoever it is for.
func (s *Surface) showAnswer(ctx context.Context, i interaction, event string, nth int) response {
	within, cancel := context.WithTimeout(ctx, takeWithin)
	defer cancel()
	kept := keptAnswer{}
	text, err := "", error(redis.Nil)
	if s.heard.rdb != nil {
		text, err = s.heard.rdb.Get(within, keyAnswer(event, nth)).Result()
	}
	switch {
	case errors.Is(err, redis.Nil), err == nil && json.Unmarshal([]byte(text), &kept) != nil:
		return note("That answer is kept no more. Type the command again, after `/" + slashCommand + "`: that is answered here, for you alone.")
	case err != nil:
		s.log.WarnContext(ctx, "an answer that was kept could not be read", "event", event, "error", err)
		return note("Berth's store does not answer at the moment. Please click again in some seconds.")
	case kept.User != i.by().ID:
		return note("That answer is for somebody else.")
	}
	e := i.event("", s.now())
	begun := s.work.begin(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), showWithin)
		defer cancel()
		err := s.answerByToken(ctx, e, 0, kept.Message)
		for err != nil && ctx.Err() == nil { // Discord may not have heard yet that there will be one
			pause := 300 * time.Millisecond
			if limited, ok := errors.AsType[*bot.Limited](err); ok {
				pause = limited.After
			} else if actions.CodeOf(err) == actions.CodeInvalid {
				break
			}
			s.sleep(ctx, pause)
			err = s.answerByToken(ctx, e, 0, kept.Message)
		}
		if err != nil {
			s.log.WarnContext(ctx, "an answer that was kept could not be shown", "event", event, "error", err)
		}
	})
	if !begun {
		return note("This Berth is about to end. Please click again in some seconds.")
	}
	return response{Type: answerDeferred, Data: &responseData{Flags: flagEphemeral}}
}
