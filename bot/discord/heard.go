package discord

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// heardKept is how long it is kept until when a shard was heard.
	heardKept = 24 * time.Hour
	// directsKept is how long direct messages are looked at after a word in them, and
	// directsMost of how many people.
	directsKept = 7 * 24 * time.Hour
	directsMost = 50
	// heardWithin is how long Redis may take about any of it.
	heardWithin = 2 * time.Second
)

// keyPrefix begins all keys, which share one hash tag.
const keyPrefix = "berth:{discord}:"

// What is under berth:{discord}: and for how long:
//
//	heard:APPLICATION    until when each shard was heard, in Unix milliseconds, by "SHARD/SHARDS": a
//	                     hash, for a day
//	directs:APPLICATION  channels of direct messages, by when a word was in them last, in Unix
//	                     milliseconds: a sorted set, for a week
//	answer:EVENT:NUMBER  an answer that somebody is to click for, for a day
func keyHeard(app string) string   { return keyPrefix + "heard:" + app }
func keyDirects(app string) string { return keyPrefix + "directs:" + app }

// lastHeard knows, for all replicas, until when all that was said has come.
type lastHeard struct {
	rdb redis.UniversalClient // nil knows nothing
	app string
	now func() time.Time
}

// until is until when a shard was heard; the zero time when nobody knows. Where
// there was another number of shards, it is until when all of those were.
func (h *lastHeard) until(ctx context.Context, n, count int) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, heardWithin)
	defer cancel()
	all, err := h.rdb.HGetAll(ctx, keyHeard(h.app)).Result()
	if err != nil {
		return time.Time{}, fmt.Errorf("ask until when Discord was heard: %w", err)
	}
	var until time.Time
	for shard, text := range all {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms <= 0 || strings.HasSuffix(shard, shardOf("", count)) {
			continue
		}
		if at := time.UnixMilli(ms); until.IsZero() || at.Before(until) {
			until = at
		}
	}
	if ms, err := strconv.ParseInt(all[shardOf(strconv.Itoa(n), count)], 10, 64); err == nil && ms > 0 {
		until = time.UnixMilli(ms)
	}
	if now := h.now(); until.After(now) { // another replica's clock is ahead
		until = now
	}
	return until, nil
}

// keep keeps until when a shard was heard.
func (h *lastHeard) keep(ctx context.Context, n, count int, until time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, heardWithin)
	defer cancel()
	_, err := h.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.HSet(ctx, keyHeard(h.app), shardOf(strconv.Itoa(n), count), until.UnixMilli())
		pipe.Expire(ctx, keyHeard(h.app), heardKept)
		return nil
	})
	return err
}

func shardOf(n string, count int) string { return n + "/" + strconv.Itoa(count) }

// direct keeps that there was a word in a channel of direct messages: Discord
// does not list such channels to a bot.
func (h *lastHeard) direct(ctx context.Context, channel string) error {
	if h.rdb == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, heardWithin)
	defer cancel()
	now := h.now()
	_, err := h.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.ZAdd(ctx, keyDirects(h.app), redis.Z{Score: float64(now.UnixMilli()), Member: channel})
		pipe.ZRemRangeByScore(ctx, keyDirects(h.app), "-inf", strconv.FormatInt(now.Add(-directsKept).UnixMilli(), 10))
		pipe.ZRemRangeByRank(ctx, keyDirects(h.app), 0, -directsMost-1)
		pipe.Expire(ctx, keyDirects(h.app), directsKept)
		return nil
	})
	return err
}

// directs are those channels, the last one first.
func (h *lastHeard) directs(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, heardWithin)
	defer cancel()
	return h.rdb.ZRevRange(ctx, keyDirects(h.app), 0, directsMost-1).Result()
}
