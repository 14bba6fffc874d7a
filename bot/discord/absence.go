package discord

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// This file is what is done about the time in which nobody listened. A session
// that is resumed is told what it missed. One that begins is not: another
// replica's was lost with it, or Discord has forgotten it. What mentions Berth is
// then looked for over REST, and handed on as if the gateway had told of it: what
// was done already is known by its id. Interactions cannot be looked for.

const (
	// missedFor is how old a mention may be that is done after all. Whoever waited
	// for longer has turned to something else.
	missedFor = 10 * time.Minute
	// missedOverlap is how far before the moment until which Berth heard everything
	// it is read again: clocks differ, and what had come may not have been stored.
	missedOverlap = 2 * time.Minute
	// missedChannels is how many channels are read after an absence, those first in
	// which something was said last, and missedPages how many times a hundred messages of each.
	missedChannels, missedPages, missedPage = 200, 5, 100
	// missedApart is how far the reading calls are apart, so that most of the 50 in a
	// second that Discord allows are left to what people wait for.
	missedApart = 50 * time.Millisecond
	// missedCall is how long one of them may take.
	missedCall = 10 * time.Second
	// guildsWithin is how long Discord may take to tell of a session's guilds until
	// those are begun with that it has told of.
	guildsWithin = 5 * time.Second
	// heardEvery is how often it is kept until when all was heard.
	heardEvery = 5 * time.Second
	// missedPause is the longest pause between tries.
	missedPause = 30 * time.Second
)

// absence is the time before a session in which nobody listened, until what was
// said in it is read.
type absence struct {
	me    string    // Berth's own account
	began time.Time // when the session did

	mu   sync.Mutex
	left map[string]bool // guilds that Discord has not told of yet
	came []guildObject   // guilds that it told of, which nobody has looked at

	// These are follow's alone.
	found    bool      // until when Berth heard is known, or cannot be
	since    time.Time // that moment; zero when nobody knows
	directs  bool      // direct messages are among todo, or are read
	todo     []unread
	channels int // that were begun with, of missedChannels
	failures int // in a row
	told     absenceTold
}

// absenceTold is what is logged of an absence.
type absenceTold struct{ channels, commands, refused, cut, dropped int }

// newAbsence is what there was before a new session.
func newAbsence(r ready) *absence {
	a := &absence{me: r.User.ID, began: time.Now(), left: map[string]bool{}}
	for _, g := range r.Guilds {
		a.left[g.ID] = true
	}
	return a
}

// guild takes a guild in that Discord tells of, once for each session.
func (c *connection) guild(raw []byte) error {
	a := c.absence.Load()
	if a == nil || c.s.heard.rdb == nil {
		return nil
	}
	g, err := decodeGuild(raw)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left[g.ID] && !g.Unavailable {
		delete(a.left, g.ID)
		a.came = append(a.came, g)
		signal(c.guilds)
	}
	return nil
}

// take gives the guilds out that came. wait is how long others are to be waited
// for before that.
func (a *absence) take() (guilds []guildObject, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if wait = guildsWithin - time.Since(a.began); wait > 0 && len(a.left) > 0 {
		return nil, wait
	}
	guilds, a.came = a.came, nil
	return guilds, 0
}

// follow looks for what was missed before a session began, and keeps until when
// all was heard, until ctx ends. It is called when the session is there, and again
// when it was resumed.
func (c *connection) follow(ctx context.Context) {
	if c.s.heard.rdb == nil {
		return
	}
	for ctx.Err() == nil {
		a := c.absence.Load()
		wait := c.catchUp(ctx, a)
		if wait == 0 {
			wait = heardEvery
			if err := c.keepHeard(ctx, a); err != nil && ctx.Err() == nil {
				c.s.log.DebugContext(ctx, "until when Discord was heard was not kept", "shard", c.n, "error", err)
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-c.guilds:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// keepHeard keeps until when all that was said has come: what came last, or the
// last sign that nothing more had to. Another session than the one that a is
// about may have missed something before that.
func (c *connection) keepHeard(ctx context.Context, a *absence) error {
	c.session.RLock()
	last := c.session.LastHeartbeatAck
	c.session.RUnlock()
	if came := time.Unix(0, c.came.Load()); came.After(last) {
		last = came
	}
	if last.Equal(c.kept) || c.absence.Load() != a {
		return nil
	}
	err := c.s.heard.keep(ctx, c.n, c.count, c.s.now().Add(-time.Since(last)))
	if err == nil {
		c.kept = last
	}
	return err
}

// catchUp reads what was missed, as far as it is known where that can be. It
// returns when to come again, 0 once all is read.
func (c *connection) catchUp(ctx context.Context, a *absence) (again time.Duration) {
	s := c.s
	old := time.Since(a.began) > missedFor // nothing of it is done any more
	if !a.found {
		until, err := s.heard.until(ctx, c.n, c.count)
		if err != nil && !old {
			return c.missedAgain(ctx, a, err)
		}
		a.found, a.since, a.failures = true, until, 0
	}
	guilds, wait := a.take()
	if a.since.IsZero() {
		return 0 // it is the first time, or so long ago that it is not known
	}
	if wait > 0 {
		return wait
	}
	if err := c.plan(ctx, a, guilds); err != nil && !old {
		return c.missedAgain(ctx, a, err)
	}
	for len(a.todo) > 0 && ctx.Err() == nil && c.absence.Load() == a {
		if old = time.Since(a.began) > missedFor; old {
			a.told.dropped += len(a.todo)
			a.todo = nil
			break
		}
		u := a.todo[0]
		a.todo = a.todo[1:]
		err := c.read(ctx, a, &u)
		switch code := actions.CodeOf(err); {
		case err == nil:
			a.told.channels, a.failures = a.told.channels+1, 0
		case code == actions.CodeForbidden, code == actions.CodeNotFound, code == actions.CodeInvalid: // gone, or never ours to read
			a.told.refused++
			s.log.DebugContext(ctx, "a channel cannot be read for what was missed", "channel", u.channel.ID, "error", err)
		default: // others may be read meanwhile
			a.todo = append(a.todo, u)
			return c.missedAgain(ctx, a, err)
		}
	}
	if len(a.todo) > 0 {
		return missedApart // it is over, or another session is
	}
	c.tellMissed(ctx, a)
	return 0
}

// missedAgain is when to try again after a failure, which may pass.
func (c *connection) missedAgain(ctx context.Context, a *absence, err error) time.Duration {
	if limited, ok := errors.AsType[*bot.Limited](err); ok {
		return max(limited.After, missedApart)
	}
	if ctx.Err() == nil && a.failures%10 == 0 {
		c.s.log.WarnContext(ctx, "what was said while nobody listened to Discord cannot be read; trying on", "shard", c.n, "error", err)
	}
	a.failures++
	return backOff(a.failures, missedPause)
}

// plan adds what is to be read of guilds, and of direct messages, which are on
// the first shard.
// Source: https://docs.discord.com/developers/events/gateway#sharding-sharding-formula
func (c *connection) plan(ctx context.Context, a *absence, guilds []guildObject) error {
	s := c.s
	after := max(snowflake(a.since.Add(-missedOverlap)), snowflake(s.now().Add(-missedFor)))
	var found []unread
	for _, g := range guilds {
		if s.allowed(g.ID) {
			found = append(found, g.unread(a.me, after)...)
		}
	}
	slices.SortStableFunc(found, func(x, y unread) int { return cmp.Compare(y.last, x.last) })
	if room := missedChannels - a.channels; len(found) > room {
		a.told.dropped += len(found) - room
		found = found[:room]
	}
	a.channels += len(found)
	for _, u := range found {
		s.channels.put(u.channel)
	}
	a.todo = append(a.todo, found...)
	if a.directs || c.n != 0 {
		return nil
	}
	directs, err := s.heard.directs(ctx)
	if err != nil {
		return fmt.Errorf("ask who wrote directly: %w", err)
	}
	a.directs = true
	for _, id := range directs {
		if isID(id) {
			a.todo = append(a.todo, unread{channel: channelObject{ID: id}, after: after})
		}
	}
	return nil
}

// read reads what was said in a channel, and hands on what speaks to Berth. What
// was read stays so when it fails.
func (c *connection) read(ctx context.Context, a *absence, u *unread) error {
	s := c.s
	for range missedPages {
		s.sleep(ctx, missedApart)
		u.after = max(u.after, snowflake(s.now().Add(-missedFor)))
		messages, full, err := s.said(ctx, u)
		if err != nil {
			return err
		}
		for _, id := range slices.Sorted(maps.Keys(messages)) {
			if line, ok := messages[id].command(a.me); ok {
				a.told.commands++
				if err := c.handOn(ctx, messages[id], line); err != nil {
					return err
				}
			}
			u.after = id
		}
		if !full || len(messages) == 0 {
			return nil
		}
	}
	a.told.cut++
	return nil
}

// said is a page of what was said in a channel, oldest first, by its ids. full
// tells that there may be more.
// Source: https://docs.discord.com/developers/resources/message#get-channel-messages
func (s *Surface) said(ctx context.Context, u *unread) (messages map[uint64]posted, full bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, missedCall)
	defer cancel()
	var page []json.RawMessage
	path := fmt.Sprintf("channels/%s/messages?limit=%d&after=%d", url.PathEscape(u.channel.ID), missedPage, u.after)
	if err := s.client.call(ctx, http.MethodGet, path, nil, &page); err != nil {
		return nil, false, err
	}
	messages = map[uint64]posted{}
	for _, raw := range page {
		m, err := decodeMessage(raw)
		id, errID := strconv.ParseUint(m.ID, 10, 64)
		if err != nil || errID != nil || m.ChannelID != u.channel.ID {
			s.log.WarnContext(ctx, "a message that may have been missed could not be read", "channel", u.channel.ID, "error", errors.Join(err, errID))
			continue
		}
		m.GuildID = u.guild // which is not said over REST
		if id > u.after {
			messages[id] = m
		}
	}
	return messages, len(page) >= missedPage, nil
}

// handOn does what a message tells Berth to do, and waits until that is stored.
func (c *connection) handOn(ctx context.Context, m posted, line string) error {
	done := make(chan struct{})
	c.beside(func() { defer close(done); c.s.mentioned(context.WithoutCancel(ctx), m, line) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tellMissed logs what became of an absence, where there is anything to say.
func (c *connection) tellMissed(ctx context.Context, a *absence) {
	t := a.told
	if t == (absenceTold{}) {
		return
	}
	a.told = absenceTold{}
	say, text := c.s.log.InfoContext, "read what was said while nobody listened to Discord"
	if t.cut > 0 || t.dropped > 0 {
		say, text = c.s.log.WarnContext, "read some of what was said while nobody listened to Discord; a mention in the rest is not heard"
	}
	say(ctx, text, "shard", c.n, "since", a.since.UTC().Format(time.RFC3339), "no_older_than", missedFor.String(), "channels", t.channels, "commands", t.commands,
		"refused", t.refused, "too_long", t.cut, "left_out", t.dropped)
}
