package actions_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

func TestClocksThatAreWrongAgree(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	clock := func(off time.Duration) *actions.Clock {
		c := actions.NewClock(rdb, func() time.Time { return time.Now().Add(off) }, nil)
		if err := c.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	ahead, behind := clock(5*time.Minute), clock(-5*time.Minute)
	if off := ahead.Now().Sub(behind.Now()).Abs(); off > 2*time.Second {
		t.Errorf("two clocks that are 10 minutes apart are %s apart after both were set", off)
	}
	said, err := rdb.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	if off := ahead.Now().Sub(said).Abs(); off > 2*time.Second {
		t.Errorf("the clock is %s away from Redis'", off)
	}
}

func TestAClockWithoutRedisIsTheMachines(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer rdb.Close()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := actions.NewClock(rdb, func() time.Time { return at }, nil)
	wantCode(t, c.Sync(t.Context()), actions.CodeUnavailable)
	if now := c.Now(); !now.Equal(at) {
		t.Errorf("it is %s", now)
	}
	at = at.Add(time.Hour)
	if now := c.Now(); !now.Equal(at) {
		t.Errorf("an hour later it is %s", now)
	}
}
