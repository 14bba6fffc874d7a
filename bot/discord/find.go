package discord

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// nonceOf is by what Discord knows that a message was made already. It is the
// same for as long as the key is.
func nonceOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:18])[:maxNonce-1]
}

// signs are characters that are not seen. Each stands for two bits of a mark.
var signs = [4]string{"\u200b", "\u200c", "\u2060", "\u2063"}

// marked is what a message made with key has in it. Nonces are lost as soon as a
// message is looked up, and not every message has buttons whose custom_id could
// say it, so that it stands in the text, unseen: 48 bits of the key's hash.
func marked(key string) string {
	sum := sha256.Sum256([]byte("mark of " + key))
	var b strings.Builder
	for _, octet := range sum[:6] {
		for shift := 6; shift >= 0; shift -= 2 {
			b.WriteString(signs[octet>>shift&3])
		}
	}
	return b.String()
}

// markSize is how many characters a mark has.
const markSize = 24

// mark puts the mark of key into a message: behind the title, the text or the
// content, whichever is first. Of what is cut to fit, that much room is left.
func mark(p *payload, key string) {
	switch m := marked(key); {
	case len(p.Embeds) > 0 && p.Embeds[0].Title != "":
		p.Embeds[0].Title += m
	case len(p.Embeds) > 0 && p.Embeds[0].Description != "":
		p.Embeds[0].Description += m
	default:
		p.Content += m
	}
}

// The messages that are looked through for one, newest last.
const (
	findPage  = 100
	findPages = 5
	// clockSlack is how far Discord's clock and ours may be apart.
	clockSlack = time.Minute
)

// Find looks for the message that Post made with key after since, by its mark.
// An edited message has none any more.
func (s *Surface) Find(ctx context.Context, at bot.ChatPlace, key string, since time.Time) (bot.ChatSent, error) {
	at, err := s.whole(ctx, at)
	if err != nil {
		return bot.ChatSent{}, err
	}
	me, err := s.client.self(ctx)
	if err != nil {
		return bot.ChatSent{}, err
	}
	if at.Thread != "" && at.Workspace != "" {
		id, err := s.findIn(ctx, at.Thread, me, marked(key), since)
		switch {
		case err == nil && id != "":
			return sentAs(at, at.Thread, id), nil
		case err != nil && !threadless(err):
			return bot.ChatSent{}, fmt.Errorf("look for a message in %s: %w", at.ID(), err)
		}
	}
	at.Thread = ""
	id, err := s.findIn(ctx, at.Channel, me, marked(key), since)
	if err != nil {
		return bot.ChatSent{}, fmt.Errorf("look for a message in %s: %w", at.ID(), err)
	}
	if id == "" {
		return bot.ChatSent{}, nil
	}
	return sentAs(at, at.Channel, id), nil
}

// findIn looks through the messages of a channel that came after since.
func (s *Surface) findIn(ctx context.Context, channel, me, mark string, since time.Time) (string, error) {
	after := snowflake(since.Add(-clockSlack))
	for range findPages {
		var page []discordgo.Message
		path := fmt.Sprintf("channels/%s/messages?limit=%d&after=%d", url.PathEscape(channel), findPage, after)
		if err := s.client.call(ctx, http.MethodGet, path, nil, &page); err != nil {
			return "", err
		}
		last := after
		for _, m := range page {
			if m.Author != nil && m.Author.ID == me && has(m, mark) {
				return m.ID, nil
			}
			if id, err := strconv.ParseUint(m.ID, 10, 64); err == nil {
				last = max(last, id)
			}
		}
		if len(page) < findPage || last == after {
			return "", nil
		}
		after = last
	}
	return "", nil
}

// has tells whether a message has a mark.
func has(m discordgo.Message, mark string) bool {
	if strings.Contains(m.Content, mark) {
		return true
	}
	return len(m.Embeds) > 0 && (strings.Contains(m.Embeds[0].Title, mark) || strings.Contains(m.Embeds[0].Description, mark))
}

// snowflake is the first id of a moment.
func snowflake(t time.Time) uint64 {
	return uint64(max(0, t.UnixMilli()-discordEpoch)) << 22
}

// maxDirects is how many channels of direct messages are remembered.
const maxDirects = 10_000

// directs remembers the channels of direct messages, which do not change.
type directs struct {
	mu       sync.Mutex
	channels map[string]string // by account
	me       string            // Berth's own account
}

// direct is the channel of direct messages with an account.
func (s *Surface) direct(ctx context.Context, user string) (string, error) {
	if !isID(user) {
		return "", actions.Errorf(opPost, actions.CodeNotFound, "There is no such account at Discord.")
	}
	d := &s.client.directs
	d.mu.Lock()
	known := d.channels[user]
	d.mu.Unlock()
	if known != "" {
		return known, nil
	}
	var channel struct {
		ID string `json:"id"`
	}
	if err := s.client.call(ctx, http.MethodPost, "users/@me/channels", map[string]string{"recipient_id": user}, &channel); err != nil {
		return "", fmt.Errorf("open direct messages with %s: %w", user, err)
	}
	if !isID(channel.ID) {
		return "", actions.Errorf(opPost, actions.CodeUnavailable, "Discord did not say where direct messages go.")
	}
	s.keepDirect(ctx, channel.ID) // there may be an answer to what is written there
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.channels == nil || len(d.channels) >= maxDirects {
		d.channels = map[string]string{}
	}
	d.channels[user] = channel.ID
	return channel.ID, nil
}

// self is Berth's own account.
func (c *client) self(ctx context.Context) (string, error) {
	c.directs.mu.Lock()
	known := c.directs.me
	c.directs.mu.Unlock()
	if known != "" {
		return known, nil
	}
	var me user
	if err := c.call(ctx, http.MethodGet, "users/@me", nil, &me); err != nil {
		return "", fmt.Errorf("ask who Berth is: %w", err)
	}
	if !isID(me.ID) {
		return "", actions.Errorf(opCall, actions.CodeUnavailable, "Discord does not say who Berth is.")
	}
	c.directs.mu.Lock()
	defer c.directs.mu.Unlock()
	c.directs.me = me.ID
	return me.ID, nil
}
