package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// eventType tells Berth's messages by their metadata, and keyField which one it
	// is: Slack keeps them, shows them to nobody, and hands them back.
	// Source: https://docs.slack.dev/messaging/message-metadata
	eventType = "berth"
	keyField  = "key"

	// findPages are how many pages of findPage messages are searched for one: what
	// was posted a moment ago stands on the first.
	findPages = 3
	findPage  = 100
	// findSkew is how far Slack's clock may be from ours.
	findSkew = 2 * time.Minute
)

// Name is bot.PlatformSlack.
func (s *Surface) Name() string { return bot.PlatformSlack }

// Limits are Slack's, for all replicas together.
// Sources: https://docs.slack.dev/apis/web-api/rate-limits (chat.update is of tier
// 3: 50 a minute and more; messages are posted to a channel at one a second,
// within a limit of the workspace that is not named) and
// https://docs.slack.dev/reference/methods/chat.postMessage#rate_limiting
func (s *Surface) Limits() bot.ChatLimits {
	return bot.ChatLimits{Posts: 100, Edits: 50, Window: time.Minute, ChannelEvery: time.Second, EditEvery: 2 * time.Second}
}

// Post makes a message; see chat.Platform.
func (s *Surface) Post(ctx context.Context, at bot.ChatPlace, key string, m bot.ChatMessage) (bot.ChatSent, error) {
	token, err := s.workspaces.token(ctx, at.Workspace)
	if err != nil {
		return bot.ChatSent{}, err
	}
	channel, err := s.channel(ctx, token, at)
	if err != nil {
		return bot.ChatSent{}, err
	}
	values, err := message(channel, render(m, call(at.Workspace, m.Call), messageRoom))
	if err != nil {
		return bot.ChatSent{}, err
	}
	values.Set("unfurl_links", "false")
	values.Set("unfurl_media", "false")
	if at.Thread != "" {
		values.Set("thread_ts", at.Thread)
	}
	if key != "" {
		metadata, err := marshal(slackapi.SlackMetadata{EventType: eventType, EventPayload: map[string]any{keyField: key}})
		if err != nil {
			return bot.ChatSent{}, unwritable(err)
		}
		values.Set("metadata", metadata)
	}
	var made struct {
		Channel string `json:"channel"`
		TS      string `json:"ts"`
	}
	if _, err := s.api.call(ctx, token, "chat.postMessage", values, &made); err != nil {
		return bot.ChatSent{}, err
	}
	if made.TS == "" {
		return bot.ChatSent{}, passing("chat.postMessage", errors.New("an answer without a message"))
	}
	if made.Channel != "" {
		channel = made.Channel
	}
	return s.sent(ctx, at, channel, made.TS), nil
}

// channel is the channel of a place: that of the direct messages to an account
// where the place is one.
func (s *Surface) channel(ctx context.Context, token string, at bot.ChatPlace) (string, error) {
	if at.Channel != "" {
		return at.Channel, nil
	}
	if !isID(at.User, "UW") {
		return "", actions.Errorf("slack.conversations.open", actions.CodeNotFound, "%.60q is no account of Slack's.", at.User)
	}
	var opened struct {
		Channel struct {
			ID string `json:"id"`
		} `json:"channel"`
	}
	if _, err := s.api.call(ctx, token, "conversations.open", url.Values{"users": {at.User}}, &opened); err != nil {
		switch {
		case absent(err), wordOf(err) == "missing_scope":
			return at.User, nil // chat.postMessage takes an account in place of a channel
		case wordOf(err) == "channel_not_found":
			return "", actions.Wrap("slack.conversations.open", actions.CodeNotFound, err, "Slack opens no conversation with that account.")
		}
		return "", err
	}
	if opened.Channel.ID == "" {
		return "", passing("conversations.open", errors.New("an answer without a channel"))
	}
	return opened.Channel.ID, nil
}

// message are the arguments that each message has.
func message(channel string, r rendered) (url.Values, error) {
	blocks, err := marshal(r.blocks)
	if err != nil {
		return nil, unwritable(err)
	}
	return url.Values{"channel": {channel}, "text": {r.text}, "blocks": {blocks}}, nil
}

func unwritable(err error) error {
	return actions.Wrap("slack.render", actions.CodeInvalid, err, "The message cannot be written for Slack.")
}

// sent is the message ts in channel. Its address needs that of the workspace,
// which is asked for once; a message without an address is one all the same.
func (s *Surface) sent(ctx context.Context, at bot.ChatPlace, channel, ts string) bot.ChatSent {
	at.Platform, at.Channel = bot.PlatformSlack, channel
	made := bot.ChatSent{Place: at, ID: ts}
	home, err := s.workspaces.of(ctx, at.Workspace)
	if err != nil {
		return made
	}
	if h, err := s.workspaces.holder(ctx, home); err == nil {
		made.URL = permalink(h.url, channel, ts, at.Thread)
	}
	return made
}

// permalink is where people read a message, as chat.getPermalink says it.
// Source: https://docs.slack.dev/reference/methods/chat.getPermalink
func permalink(workspace, channel, ts, thread string) string {
	u, err := url.Parse(workspace)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil {
		return ""
	}
	u = u.JoinPath("archives", channel, "p"+strings.ReplaceAll(ts, ".", ""))
	u.RawQuery, u.Fragment = "", ""
	if thread != "" && thread != ts {
		u.RawQuery = url.Values{"thread_ts": {thread}, "cid": {channel}}.Encode()
	}
	return u.String()
}

// Edit replaces a message whole; see chat.Platform. A message that Berth cannot
// reach any more is CodeNotFound, whatever keeps it from there.
func (s *Surface) Edit(ctx context.Context, sent bot.ChatSent, m bot.ChatMessage) error {
	token, err := s.workspaces.token(ctx, sent.Place.Workspace)
	if err != nil {
		return err
	}
	values, err := message(sent.Place.Channel, render(m, "", messageRoom))
	if err != nil {
		return err
	}
	values.Set("ts", sent.ID)
	_, err = s.api.call(ctx, token, "chat.update", values, nil)
	if gone[wordOf(err)] {
		return actions.Wrap("slack.chat.update", actions.CodeNotFound, err, actions.Message(err))
	}
	return err
}

// Find looks for the message that Post made with key after since; see
// chat.Platform. Only a message of Berth's own is one.
func (s *Surface) Find(ctx context.Context, at bot.ChatPlace, key string, since time.Time) (bot.ChatSent, error) {
	own, err := s.workspaces.of(ctx, at.Workspace)
	if err != nil {
		return bot.ChatSent{}, err
	}
	self, err := s.workspaces.holder(ctx, own)
	if err != nil {
		return bot.ChatSent{}, err
	}
	channel, err := s.channel(ctx, own.token, at)
	if err != nil {
		return bot.ChatSent{}, nobodyCanTell(err)
	}
	method := "conversations.history"
	values := url.Values{
		"channel": {channel}, "include_all_metadata": {"true"}, "limit": {strconv.Itoa(findPage)}, "oldest": {stamp(since.Add(-findSkew))},
	}
	if at.Thread != "" {
		method = "conversations.replies"
		values.Set("ts", at.Thread)
	}
	for range findPages {
		var page struct {
			Messages []slackapi.Msg `json:"messages"`
			Metadata struct {
				Next string `json:"next_cursor"`
			} `json:"response_metadata"`
		}
		if _, err := s.api.call(ctx, own.token, method, values, &page); err != nil {
			return bot.ChatSent{}, nobodyCanTell(err)
		}
		for _, found := range page.Messages {
			mine := found.User == self.user && self.user != "" || found.BotID == self.bot && self.bot != "" || self.unsaid != nil && found.BotID != ""
			if mine && found.Metadata.EventType == eventType && found.Metadata.EventPayload[keyField] == key {
				return s.sent(ctx, at, channel, found.Timestamp), nil
			}
		}
		if page.Metadata.Next == "" {
			break
		}
		values.Set("cursor", page.Metadata.Next)
	}
	return bot.ChatSent{}, nil
}

// nobodyCanTell makes no error of what Slack does not let Berth see.
func nobodyCanTell(err error) error {
	switch actions.CodeOf(err) {
	case actions.CodeForbidden, actions.CodeNotFound, actions.CodeInvalid:
		return nil
	}
	return err
}

// stamp is a time as Slack writes those of messages.
func stamp(t time.Time) string {
	if t.Unix() <= 0 {
		return "0"
	}
	return fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000)
}

// Page shows somebody's Home tab; see chat.Platform.
func (s *Surface) Page(ctx context.Context, workspace, user string, p bot.ChatPage) error {
	token, err := s.workspaces.token(ctx, workspace)
	if err != nil {
		return err
	}
	view, err := json.Marshal(homeView(p))
	if err != nil {
		return unwritable(err)
	}
	_, err = s.api.call(ctx, token, "views.publish", url.Values{"user_id": {user}, "view": {string(view)}}, nil)
	return err
}

// tones are the colours of what links lead to. Messages of their own have none.
var tones = map[bot.ChatTone]string{
	bot.ChatWaiting: "#ECB22E", bot.ChatWorking: "#36C5F0", bot.ChatGood: "#2EB67D",
	bot.ChatWarning: "#ECB22E", bot.ChatBad: "#E01E5A", bot.ChatOver: "#868686",
}

// unfurled is what stands below a message for one of its links.
// Source: https://docs.slack.dev/reference/methods/chat.unfurl
type unfurled struct {
	Color    string           `json:"color,omitempty"`
	Fallback string           `json:"fallback,omitempty"`
	Blocks   []slackapi.Block `json:"blocks"`
}

// unfurlRoom is what one link may take.
var unfurlRoom = room{blocks: 12, chars: 4000, parts: 4}

// Unfurl shows what links lead to; see chat.Platform.
func (s *Surface) Unfurl(ctx context.Context, e bot.ChatEvent, found map[string]bot.ChatMessage) error {
	if len(found) == 0 {
		return nil
	}
	token, err := s.workspaces.token(ctx, e.Place.Workspace)
	if err != nil {
		return err
	}
	shown := make(map[string]unfurled, len(found))
	for address, m := range found {
		r := render(m, "", unfurlRoom)
		shown[address] = unfurled{Color: tones[m.Tone], Fallback: r.text, Blocks: r.blocks}
	}
	text, err := marshal(shown)
	if err != nil {
		return unwritable(err)
	}
	_, err = s.api.call(ctx, token, "chat.unfurl", url.Values{"channel": {e.Place.Channel}, "ts": {e.Message}, "unfurls": {text}}, nil)
	return err
}
