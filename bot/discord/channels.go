package discord

import (
	"context"
	"errors"
	"net/http"
	"sync"

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
	channel, ok := s.channels.get(id)
	if !ok {
		if err := s.client.call(ctx, http.MethodGet, "channels/"+id, nil, &channel); err != nil {
			return bot.ChatPlace{}, err
		}
		if channel.ID != id {
			return bot.ChatPlace{}, errors.New("another channel was answered with")
		}
		s.channels.put(channel)
	}
	if channel.thread() {
		p.Channel, p.Thread = channel.ParentID, id
	}
	return p, nil
}
