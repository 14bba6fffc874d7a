package slack

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/bot"
)

// addressFor is how long after it was done an answer waits for a response_url
// that does not work. Who asked has waited for all that time; from then on the
// other ways are tried as well, at the risk that both carry it.
const addressFor = 5 * time.Second

// Answer tells the one who did e, and nobody else; see chat.Platform. It goes to
// the window that waits for it, else to the response_url, else below the
// channel's messages where only they see it, else into a direct message.
func (s *Surface) Answer(ctx context.Context, e bot.ChatEvent, nth int, m bot.ChatMessage) error {
	token, err := s.workspaces.token(ctx, e.Place.Workspace)
	if err != nil {
		return err
	}
	for _, way := range []func(context.Context, string, bot.ChatEvent, int, bot.ChatMessage) (bool, error){s.answerWindow, s.answerAddress, s.answerChannel} {
		done, err := way(ctx, token, e, nth, m)
		if done || err != nil {
			return err
		}
	}
	m.Call = nil
	key := "a:" + e.ID + ":" + strconv.Itoa(nth)
	direct := bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: e.Place.Workspace, User: e.User}
	if e.Private && e.Place.Channel != "" {
		there := direct
		there.Channel, there.Thread = e.Place.Channel, e.Place.Thread
		if _, err = s.Post(ctx, there, key, m); !closed(err) {
			return err
		}
	}
	_, err = s.Post(ctx, direct, key, m)
	return err
}

// answerWindow shows the answer in the window that e opened. A window that was
// closed meanwhile is no way any more.
func (s *Surface) answerWindow(ctx context.Context, token string, e bot.ChatEvent, _ int, m bot.ChatMessage) (bool, error) {
	id, ok := strings.CutPrefix(e.Answer, viewAnswer)
	if !ok {
		return false, nil
	}
	kept, err := note{Team: e.Place.Workspace, Channel: e.Place.Channel, Thread: e.Place.Thread, Message: e.Message}.text()
	if err != nil {
		return false, unwritable(err)
	}
	window := messageModal(m)
	window.CallbackID, window.PrivateMetadata = callbackShow, kept
	text, err := json.Marshal(window)
	if err != nil {
		return false, unwritable(err)
	}
	_, err = s.api.call(ctx, token, "views.update", url.Values{"view_id": {id}, "view": {string(text)}}, nil)
	if closed(err) {
		return false, nil
	}
	return err == nil, err
}

// answerAddress answers at e's response_url, as long as Slack takes it.
func (s *Surface) answerAddress(ctx context.Context, _ string, e bot.ChatEvent, nth int, m bot.ChatMessage) (bool, error) {
	if e.Answer == "" || isViewAnswer(e.Answer) || nth >= responseUses || !e.Until.IsZero() && !s.now().Before(e.Until) {
		return false, nil
	}
	err := s.api.respond(ctx, e.Answer, e.Place.Thread, render(m, "", messageRoom))
	if closed(err) || err != nil && ctx.Err() == nil && s.now().Sub(e.At) > addressFor {
		return false, nil
	}
	return err == nil, err
}

// answerChannel answers where e was done, to be seen by nobody else. In a direct
// message nobody else is.
func (s *Surface) answerChannel(ctx context.Context, token string, e bot.ChatEvent, _ int, m bot.ChatMessage) (bool, error) {
	if e.Private || e.Place.Channel == "" || e.User == "" {
		return false, nil
	}
	values, err := message(e.Place.Channel, render(m, "", messageRoom))
	if err != nil {
		return false, err
	}
	values.Set("user", e.User)
	if e.Place.Thread != "" {
		values.Set("thread_ts", e.Place.Thread)
	}
	_, err = s.api.call(ctx, token, "chat.postEphemeral", values, nil)
	if closed(err) {
		return false, nil
	}
	return err == nil, err
}
