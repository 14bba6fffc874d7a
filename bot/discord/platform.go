package discord

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// This file is what package chat wants of a platform.
//
// A ChatPlace's Thread is a message of its Channel, or a thread below it: a
// thread that hangs on a message has that message's id. A message for a thread
// that is not there yet starts it on that message; where Discord or the channel's
// permissions have no thread, it is a reply to that message in the channel, and
// the place that is returned then has no Thread. So a card's progress goes to
// {Channel: the card's, Thread: the card's message}, unless the card itself
// stands in a thread, which can have no others below it: then Thread stays.

// Name is bot.PlatformDiscord.
func (s *Surface) Name() string { return bot.PlatformDiscord }

// Limits leave room below Discord's own: it allows a bot 50 calls a second, and
// about five new messages in five seconds to a channel and as many edits, which
// its headers say and the client obeys.
// Source: https://docs.discord.com/developers/topics/rate-limits
func (s *Surface) Limits() bot.ChatLimits {
	return bot.ChatLimits{Posts: 50, Edits: 100, Window: 5 * time.Second, ChannelEvery: time.Second, EditEvery: 2 * time.Second}
}

// Post makes a message. Discord itself returns the message that was made for the
// same key some minutes before in place of making another.
func (s *Surface) Post(ctx context.Context, at bot.ChatPlace, key string, m bot.ChatMessage) (bot.ChatSent, error) {
	at, err := s.whole(ctx, at)
	if err != nil {
		return bot.ChatSent{}, err
	}
	p := render(m, at.Workspace)
	p.Nonce, p.EnforceNonce = nonceOf(key), true
	mark(p, key)
	if isID(m.ReplyTo) {
		p.Reference = replyTo(m.ReplyTo, cmp.Or(at.Thread, at.Channel))
	}
	if at.Thread != "" {
		return s.postBelow(ctx, at, m, p)
	}
	return s.post(ctx, at, at.Channel, p)
}

// post makes a message in a channel or thread.
func (s *Surface) post(ctx context.Context, at bot.ChatPlace, channel string, p *payload) (bot.ChatSent, error) {
	var made discordgo.Message
	path := "channels/" + url.PathEscape(channel) + "/messages"
	err := s.client.send(ctx, http.MethodPost, path, p, p.file, &made)
	if codeOf(err) == codeNoHistory && p.Reference != nil {
		p.Reference = nil
		err = s.client.send(ctx, http.MethodPost, path, p, p.file, &made)
	}
	if err != nil {
		return bot.ChatSent{}, fmt.Errorf("post to %s: %w", at.ID(), err)
	}
	if !isID(made.ID) {
		return bot.ChatSent{}, actions.Errorf(opPost, actions.CodeUnavailable, "Discord did not say which message it made.")
	}
	return sentAs(at, channel, made.ID), nil
}

// postBelow makes a message in a thread, which may have to be started.
func (s *Surface) postBelow(ctx context.Context, at bot.ChatPlace, m bot.ChatMessage, p *payload) (bot.ChatSent, error) {
	if at.Workspace != "" { // direct messages have no threads
		sent, err := s.post(ctx, at, at.Thread, p)
		refused := err != nil && threadless(err)
		if isNotFound(err) {
			if err = s.startThread(ctx, at, m); err == nil {
				sent, err = s.post(ctx, at, at.Thread, p)
				refused = err != nil && threadless(err)
			} else {
				refused = threadRefused(err)
			}
		}
		if !refused {
			return sent, err
		}
	}
	p.Reference = replyTo(at.Thread, at.Channel)
	at.Thread = ""
	return s.post(ctx, at, at.Channel, p)
}

// replyTo makes a message a reply. One to a message that is gone is a message all
// the same.
func replyTo(message, channel string) *discordgo.MessageReference {
	gone := false
	return &discordgo.MessageReference{MessageID: message, ChannelID: channel, FailIfNotExists: &gone}
}

// threadless tells whether a failure means that there can be no thread, or that
// Berth may not write in it, and the channel is to be tried.
func threadless(err error) bool {
	switch codeOf(err) {
	case codeUnknownChannel, codeUnknownMessage, codeDirectOnly, codeWrongChannel, codeArchived, codeThreadLocked, codeManyThreads,
		codeMissingAccess, codeMissingPermissions:
		return true
	}
	return isNotFound(err) || codeOf(err) == 0 && actions.CodeOf(err) == actions.CodeForbidden
}

// threadRefused tells whether Discord starts no thread however often it is asked.
// Not every server of the API has threads, or says why it refuses them, and
// nothing that is to be told depends on there being one.
func threadRefused(err error) bool {
	e, ok := errors.AsType[*apiError](err)
	return ok && (threadless(err) || e.Status == http.StatusNotImplemented || e.Status >= 400 && e.Status < 500 && e.Status != http.StatusUnauthorized)
}

// isNotFound tells whether a thread is not there, as far as Discord says.
func isNotFound(err error) bool {
	return codeOf(err) == codeUnknownChannel || codeOf(err) == 0 && actions.CodeOf(err) == actions.CodeNotFound
}

// threadKept is after how many minutes of silence a thread is folded away.
// Source: https://docs.discord.com/developers/resources/channel#thread-metadata-object
const threadKept = 24 * 60

// startThread starts the thread of a message. One that is there is success.
func (s *Surface) startThread(ctx context.Context, at bot.ChatPlace, m bot.ChatMessage) error {
	name := clipLine(m.Title, maxThreadName)
	if name == "" {
		name = "Progress"
	}
	path := "channels/" + url.PathEscape(at.Channel) + "/messages/" + url.PathEscape(at.Thread) + "/threads"
	err := s.client.call(ctx, http.MethodPost, path, map[string]any{"name": name, "auto_archive_duration": threadKept}, nil)
	if codeOf(err) == codeHasThread {
		return nil
	}
	return err
}

// Edit replaces a message whole.
func (s *Surface) Edit(ctx context.Context, sent bot.ChatSent, m bot.ChatMessage) error {
	p := render(m, sent.Place.Workspace)
	p.AllowedMentions.Users, p.AllowedMentions.Roles = nil, nil // an edit calls nobody
	channel := sent.Place.Channel
	if sent.Place.Thread != "" {
		channel = sent.Place.Thread
	}
	path := "channels/" + url.PathEscape(channel) + "/messages/" + url.PathEscape(sent.ID)
	if err := s.client.send(ctx, http.MethodPatch, path, p, p.file, nil); err != nil {
		return fmt.Errorf("edit message %s: %w", sent.ID, err)
	}
	return nil
}

// Answer tells the one who did e, by the interaction's token for as long as it
// is good, and by direct message otherwise: also what was answered to a mention,
// since only interactions have answers that others do not see. What a card says
// already where Berth was mentioned is not said again. For who takes no direct
// messages an answer to a mention is kept, which they are told of there.
func (s *Surface) Answer(ctx context.Context, e bot.ChatEvent, nth int, m bot.ChatMessage) error {
	if e.Answer != "" && (e.Until.IsZero() || s.now().Before(e.Until)) {
		err := s.answerByToken(ctx, e, nth, m)
		if !over(err) {
			return err
		}
		if age := s.now().Sub(e.At); age < tooEarly && age > -tooEarly {
			return actions.Wrap(opAnswer, actions.CodeUnavailable, err, "Discord does not know yet that the interaction was taken.")
		}
		s.log.DebugContext(ctx, "an interaction's time is over; its answer goes by direct message", "event_id", e.ID)
	}
	if e.Answer == "" && m.Shown {
		return nil
	}
	at := bot.ChatPlace{Platform: bot.PlatformDiscord, User: e.User}
	if e.Private && e.Place.Workspace == "" && e.Place.Channel != "" {
		at = bot.ChatPlace{Platform: bot.PlatformDiscord, Channel: e.Place.Channel}
		s.channels.put(channelObject{ID: at.Channel}) // it is in no guild
	}
	direct := m
	direct.Call = nil // a direct message calls by itself
	_, err := s.Post(ctx, at, fmt.Sprintf("answer:%s:%d", e.ID, nth), direct)
	if e.Answer == "" && !e.Private && codeOf(err) == codeNoDirects {
		return s.keepAnswer(ctx, e, nth, m, err)
	}
	return err
}

// over tells whether a failure means that an interaction's token is good no
// more.
func over(err error) bool {
	e, ok := errors.AsType[*apiError](err)
	if !ok {
		return false
	}
	switch e.Code {
	case codeUnknownWebhook, codeInvalidToken, codeUnknownInteraction, codeUnknownMessage:
		return true
	}
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusNotFound
}

// answerByToken fills in the answer that was deferred, and makes further ones.
// Source: https://docs.discord.com/developers/interactions/receiving-and-responding#followup-messages
func (s *Surface) answerByToken(ctx context.Context, e bot.ChatEvent, nth int, m bot.ChatMessage) error {
	p := render(m, e.Place.Workspace)
	p.AllowedMentions.Users, p.AllowedMentions.Roles = nil, nil // whom it is for sees it anyway
	method, path := http.MethodPatch, "webhooks/"+url.PathEscape(s.app)+"/"+url.PathEscape(e.Answer)+"/messages/@original"
	if nth > 0 {
		method, path = http.MethodPost, "webhooks/"+url.PathEscape(s.app)+"/"+url.PathEscape(e.Answer)
		p.Flags |= discordgo.MessageFlagsEphemeral
	}
	if err := s.client.send(ctx, method, path, p, p.file, nil); err != nil {
		return fmt.Errorf("answer %s: %w", e.ID, err)
	}
	return nil
}

// Page returns errors.ErrUnsupported: Discord has no pages of somebody's own.
func (s *Surface) Page(context.Context, string, string, bot.ChatPage) error {
	return errors.ErrUnsupported
}

// Unfurl returns errors.ErrUnsupported: Discord shows what links lead to by
// itself.
func (s *Surface) Unfurl(context.Context, bot.ChatEvent, map[string]bot.ChatMessage) error {
	return errors.ErrUnsupported
}

const (
	opPost   = "discord.post"
	opAnswer = "discord.answer"
)

// tooEarly is how long after an interaction Discord's not knowing it may mean that
// the word that it was taken, for which there are 3 s, is still on its way: it was
// stored, and may be done, before that.
const tooEarly = 5 * time.Second

// codeOf is Discord's own code of a failure, 0 when there is none.
func codeOf(err error) int {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e.Code
	}
	return 0
}

// sentAs is a message that stands in a channel or thread.
func sentAs(at bot.ChatPlace, channel, id string) bot.ChatSent {
	at.Platform, at.User = bot.PlatformDiscord, ""
	guild := at.Workspace
	if guild == "" {
		guild = "@me"
	}
	return bot.ChatSent{Place: at, ID: id, URL: "https://discord.com/channels/" + guild + "/" + channel + "/" + id}
}
