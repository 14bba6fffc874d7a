package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/bot"
)

const (
	// agreementKey is a hash: by replica, the version of the policies that it goes
	// by, and when it last said so (Unix seconds).
	agreementKey = "berth:policies"
	// agreementEvery is how often a replica says which policies it goes by.
	agreementEvery = 5 * time.Second
	// agreementAge is how long what a replica said is believed.
	agreementAge = 30 * time.Second
)

// agree tells the other replicas which policies this one goes by, and compares,
// until ctx ends. Each goes by its own file: nobody but the operator can know
// which is right, so that a difference is shown and decides nothing.
func (s *server) agree(ctx context.Context) error {
	tick := time.NewTicker(agreementEvery)
	defer tick.Stop()
	for {
		others, err := s.compare(ctx)
		if err == nil && s.config.differs(others) {
			s.log.WarnContext(ctx, "replicas go by different policies; give all of them the same config", "others", others)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// compare says which policies this replica goes by and returns the replicas that
// go by others.
func (s *server) compare(ctx context.Context) ([]string, error) {
	mine, now := s.config.rulesVersion(), s.clock.Now()
	var said *redis.MapStringStringCmd
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, agreementKey, s.replica, mine+" "+strconv.FormatInt(now.Unix(), 10))
		said = p.HGetAll(ctx, agreementKey)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var others []string
	for replica, text := range said.Val() {
		version, at, _ := strings.Cut(text, " ")
		seconds, err := strconv.ParseInt(at, 10, 64)
		switch {
		case err != nil || now.Sub(time.Unix(seconds, 0)) > agreementAge:
			if err := s.redis.HDel(ctx, agreementKey, replica).Err(); err != nil {
				return nil, err
			}
		case version != mine:
			others = append(others, replica)
		}
	}
	return others, nil
}

// differs notes which replicas go by other policies, and tells whether that is
// news.
func (f *inForce) differs(others []string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	news := len(others) > 0 && len(f.others) == 0
	f.others = others
	return news
}

// checkAgreement tells whether all replicas go by the same policies, for /readyz.
func (f *inForce) checkAgreement() bot.Check {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.others) > 0 {
		return bot.Check{
			Name: "policies", Detail: fmt.Sprintf("%s by other policies than this one", plural(len(f.others), "other replica goes", "other replicas go")),
			Fix: "Give all replicas the same config; until then each goes by its own.",
		}
	}
	return bot.Check{Name: "policies", OK: true, Detail: "version " + f.rules}
}
