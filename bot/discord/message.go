package discord

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// The types of messages that people write.
// Source: https://docs.discord.com/developers/resources/message#message-object-message-types
const (
	messageDefault = 0
	messageReply   = 19
)

// posted is a message that somebody wrote, as the gateway tells it.
type posted struct {
	ID        string `json:"id"`
	Type      int    `json:"type"`
	ChannelID string `json:"channel_id"`
	GuildID   string `json:"guild_id"`
	WebhookID string `json:"webhook_id"`
	Author    user   `json:"author"`
	Member    *struct {
		Nick string `json:"nick"`
	} `json:"member"`
	Content string `json:"content"`
	// Reactions are there over REST alone.
	Reactions []struct {
		Me    bool `json:"me"`
		Emoji struct {
			Name string `json:"name"`
		} `json:"emoji"`
	} `json:"reactions"`
}

// decodeMessage reads a message of the gateway.
func decodeMessage(raw []byte) (posted, error) {
	var m posted
	if err := json.Unmarshal(raw, &m); err != nil {
		return posted{}, errors.New("the message is not the JSON that it should be")
	}
	if !isID(m.ID) || !isID(m.ChannelID) || !isID(m.Author.ID) || m.GuildID != "" && !isID(m.GuildID) {
		return posted{}, errors.New("an id of the message is none")
	}
	return m, nil
}

// command is what the message tells Berth to do, me being Berth's own account. It
// is false for a message that only speaks of Berth, and for those of programs. A
// command is the rest of a line that begins with the mention; in direct messages
// it is the first line, and needs no mention.
func (m posted) command(me string) (line string, ok bool) {
	if m.Author.Bot || m.WebhookID != "" || m.Author.ID == me || me == "" || m.Type != messageDefault && m.Type != messageReply {
		return "", false
	}
	for l := range strings.Lines(m.Content) {
		l = strings.TrimSpace(l)
		rest, to := strings.CutPrefix(l, "<@"+me+">")
		if !to {
			rest, to = strings.CutPrefix(l, "<@!"+me+">") // as clients wrote it before
		}
		if !to && m.GuildID == "" && l != "" {
			rest, to = l, true
		}
		if to {
			return typed(rest), true
		}
	}
	return "", false
}

// typed is what was typed without what names Berth again: "@berth /berth deploy"
// is pasted from somewhere else.
func typed(line string) string {
	line = strings.TrimSpace(strings.TrimLeft(line, " ,:"))
	for _, prefix := range []string{"/" + slashCommand, slashCommand} {
		if rest, ok := strings.CutPrefix(line, prefix+" "); ok {
			line = strings.TrimSpace(rest)
			break
		}
		if line == prefix {
			line = ""
		}
	}
	if line == "" {
		return bot.VerbHelp
	}
	return line
}

// event is the message as a command at its place, which is heard now.
func (m posted) event(place bot.ChatPlace, line string, now time.Time) bot.ChatEvent {
	nick := ""
	if m.Member != nil {
		nick = m.Member.Nick
	}
	return bot.ChatEvent{
		ID: "m" + m.ID, Kind: bot.ChatCommand, Place: place, Private: m.GuildID == "", Message: m.ID,
		Identity: identityPrefix + m.Author.ID, User: m.Author.ID, Name: m.Author.shown(nick), Line: line, At: momentOf(m.ID, now),
	}
}

const (
	// interactWithin is how long an interaction of the gateway may take until it is
	// answered: Discord waits 3 s.
	interactWithin = 2900 * time.Millisecond
	// placeTries is how often the channel of a message is looked at, placeEvery
	// apart, before what it says is given up.
	placeTries = 4
	placeEvery = 2 * time.Second
	// reactWithin is how long the sign that a message was read may take.
	reactWithin = 5 * time.Second
)

// codeAcknowledged says that an interaction was answered before.
// Source: https://docs.discord.com/developers/topics/opcodes-and-status-codes#json-json-error-codes
const codeAcknowledged = 40060

// interacted does what an interaction of the gateway asks for, and answers it.
func (s *Surface) interacted(ctx context.Context, raw []byte) {
	ctx, cancel := context.WithTimeout(ctx, interactWithin)
	defer cancel()
	i, err := decodeInteraction(raw)
	if err == nil && i.Type == typePing {
		return // the gateway has other ways to ask whether somebody is there
	}
	var answer response
	if err == nil {
		answer, err = s.handle(ctx, i)
	}
	if err != nil {
		s.log.WarnContext(ctx, "an interaction of Discord's gateway could not be read", "error", err)
		return
	}
	path := "interactions/" + i.ID + "/" + url.PathEscape(i.Token) + "/callback"
	err = s.client.call(ctx, http.MethodPost, path, answer, nil)
	if actions.CodeOf(err) == actions.CodeUnavailable && ctx.Err() == nil {
		err = s.client.call(ctx, http.MethodPost, path, answer, nil)
	}
	if refused, ok := errors.AsType[*apiError](err); ok && refused.Code == codeAcknowledged {
		return
	}
	if err != nil {
		// What was asked for is done all the same, and the answer finds another way.
		s.log.WarnContext(ctx, "an interaction of Discord's gateway was not acknowledged", "interaction", i.ID, "error", err)
	}
}

// mentioned does what a message tells Berth to do.
func (s *Surface) mentioned(ctx context.Context, m posted, line string) {
	place, err := s.placeOf(ctx, m.GuildID, m.ChannelID)
	for try := 1; err != nil && try < placeTries && actions.CodeOf(err) != actions.CodeNotFound; try++ {
		select {
		case <-s.work.stopping():
			try = placeTries
		case <-time.After(placeEvery):
		}
		place, err = s.placeOf(ctx, m.GuildID, m.ChannelID)
	}
	if err != nil {
		s.log.ErrorContext(ctx, "a message that mentions Berth is left alone, since Discord does not tell of its channel", "message", m.ID, "channel", m.ChannelID, "error", err)
		return
	}
	e := m.event(place, line, s.now())
	within, cancel := context.WithTimeout(ctx, takeWithin)
	err = s.intake.Take(within, e)
	cancel()
	switch {
	case err == nil:
		s.react(ctx, m)
		if m.GuildID == "" {
			s.keepDirect(ctx, m.ChannelID)
		}
	case actions.CodeOf(err) == actions.CodeInvalid:
		s.log.ErrorContext(ctx, "an event was not taken", "event", e.ID, "error", err)
		s.tell(ctx, e, noteLost, "Not done", "Berth does not take this, and nothing was done.")
	case s.keepTrying(ctx, e, err):
		s.tell(ctx, e, noteLate, "Not stored yet", "Berth's store does not answer at the moment. Berth goes on trying for a minute, and says here what became of it.")
	default:
		s.tell(ctx, e, noteLate, "Not done", "Berth's store does not answer, and too much waits for it already: nothing was done. Please do it again in some minutes.")
	}
}

// readSign is the reaction that shows that a message was read.
const readSign = "👀"

// react shows at once that a message was read. Where Berth may not, it goes
// without.
func (s *Surface) react(ctx context.Context, m posted) {
	ctx, cancel := context.WithTimeout(ctx, reactWithin)
	defer cancel()
	for _, r := range m.Reactions {
		if r.Me && r.Emoji.Name == readSign {
			return
		}
	}
	path := "channels/" + m.ChannelID + "/messages/" + m.ID + "/reactions/" + url.PathEscape(readSign) + "/@me"
	err := s.client.call(ctx, http.MethodPut, path, nil, nil)
	for limited, ok := errors.AsType[*bot.Limited](err); ok && limited.After < reactWithin && ctx.Err() == nil; limited, ok = errors.AsType[*bot.Limited](err) {
		s.sleep(ctx, limited.After) // Discord takes four in a second
		err = s.client.call(ctx, http.MethodPut, path, nil, nil)
	}
	if err != nil {
		s.log.DebugContext(ctx, "a message was read without a sign of it", "message", m.ID, "error", err)
	}
}

// keepDirect keeps that there are direct messages in a channel, for the time in
// which nobody listens.
func (s *Surface) keepDirect(ctx context.Context, channel string) {
	if err := s.heard.direct(ctx, channel); err != nil {
		s.log.DebugContext(ctx, "a channel of direct messages was not kept", "channel", channel, "error", err)
	}
}
