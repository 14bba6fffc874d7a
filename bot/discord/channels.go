package discord

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// maxChannels bounds the channels that are remembered; asking again is cheap.
const maxChannels = 10_000

// channels remembers which channels are threads, and below what: that never
// changes. The zero value is ready.
type channels struct {
	mu    sync.Mutex
	known map[string]channelObject
}

func (c *channels) get(id string) (channelObject, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	channel, ok := c.known[id]
	return channel, ok
}

func (c *channels) put(channel channelObject) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxChannels {
		c.known = map[string]channelObject{}
	}
	c.known[channel.ID] = channel
}

// placeOf is the place of a channel or thread. What a channel is for and what may
// be done there is said by the config for channels, so that a thread's channel
// must be known.
func (s *Surface) placeOf(ctx context.Context, guild, id string) (bot.ChatPlace, error) {
	p := bot.ChatPlace{Platform: bot.PlatformDiscord, Workspace: guild, Channel: id}
	if guild == "" {
		return p, nil // there are no threads in direct messages
	}
	channel, err := s.channel(ctx, id)
	if err != nil && unseen(err) && codeOf(err) != codeUnknownChannel && s.plain(id) {
		return p, nil
	}
	if err != nil {
		return bot.ChatPlace{}, err
	}
	if channel.thread() {
		p.Channel, p.Thread = channel.ParentID, id
	}
	return p, nil
}

// unseen tells whether a failure means that Discord has nothing to say of a
// channel, now or later.
func unseen(err error) bool {
	code := actions.CodeOf(err)
	return code == actions.CodeForbidden || code == actions.CodeNotFound
}

// channel is what Discord says of a channel, asked once.
func (s *Surface) channel(ctx context.Context, id string) (channelObject, error) {
	channel, ok := s.channels.get(id)
	if ok {
		return channel, nil
	}
	if err := s.client.call(ctx, http.MethodGet, "channels/"+url.PathEscape(id), nil, &channel); err != nil {
		return channelObject{}, err
	}
	if channel.ID != id {
		return channelObject{}, errors.New("another channel was answered with")
	}
	s.channels.put(channel)
	return channel, nil
}

// whole is a place with all that is to be known of it: the channel of direct
// messages with somebody, and the guild of a channel, which a route of the config
// leaves out and without which there are no threads, no calls of roles and no
// links.
func (s *Surface) whole(ctx context.Context, at bot.ChatPlace) (bot.ChatPlace, error) {
	if at.Channel == "" {
		channel, err := s.direct(ctx, at.User)
		at.Channel, at.Workspace, at.Thread = channel, "", ""
		return at, err
	}
	if at.Workspace != "" {
		return at, nil
	}
	channel, err := s.channel(ctx, at.Channel)
	if err != nil && unseen(err) {
		return at, nil // what is written there says whether it can be
	}
	if err != nil {
		return at, fmt.Errorf("look at channel %s: %w", at.Channel, err)
	}
	if isID(channel.GuildID) {
		at.Workspace = channel.GuildID
	}
	return at, nil
}
