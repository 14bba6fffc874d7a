package chat

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot"
)

func TestBudgetIsOneForAllReplicas(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	a, b := &budget{rdb: rdb, replica: "a"}, &budget{rdb: rdb, replica: "b"}
	at := bot.ChatPlace{Platform: "slack", Workspace: "T1", Channel: "C1"}
	limits := bot.ChatLimits{Posts: 10, Edits: 8, Window: time.Hour}
	spend := func(kind string, end bool) (passed int, after time.Duration) {
		var mu sync.Mutex
		var group sync.WaitGroup
		for i := range 40 {
			group.Go(func() {
				err := []*budget{a, b}[i%2].spend(context.Background(), at, limits, kind, fmt.Sprint("w", i), end)
				limited, ok := errors.AsType[*bot.Limited](err)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					passed++
				case ok:
					after = max(after, limited.After)
				default:
					t.Error(err)
				}
			})
		}
		group.Wait()
		return passed, after
	}
	if n, after := spend(writePost, false); n != 10 || after < 50*time.Minute {
		t.Errorf("%d posts passed, and the others wait %s", n, after)
	}
	if n, _ := spend(writeEdit, false); n != 6 {
		t.Errorf("%d edits passed that are no ends", n)
	}
	if n, _ := spend(writeEdit, true); n != 2 {
		t.Errorf("%d ends passed", n)
	}
	at.Workspace = "T2"
	if n, _ := spend(writePost, false); n != 10 {
		t.Errorf("%d posts to another workspace passed", n)
	}
}

func TestMessagesToAChannelAreApart(t *testing.T) {
	t.Parallel()
	b := &budget{rdb: redistest.Client(t), replica: "a"}
	limits := bot.ChatLimits{Posts: 100, Window: time.Minute, ChannelEvery: 200 * time.Millisecond}
	post := func(channel string) error {
		return b.spend(context.Background(), bot.ChatPlace{Platform: "slack", Workspace: "T1", Channel: channel}, limits, writePost, rand.Text(), false)
	}
	began := time.Now()
	for range 4 {
		if err := post("C1"); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 580*time.Millisecond {
		t.Errorf("four messages to one channel took %s", took)
	}
	limits.ChannelEvery = time.Hour
	if err := post("C2"); err != nil {
		t.Errorf("another channel has to wait: %v", err)
	}
	if limited, ok := errors.AsType[*bot.Limited](post("C2")); !ok || limited.After < 50*time.Minute {
		t.Errorf("the next message there waits %+v", limited)
	}
	if err := post("C3"); err != nil {
		t.Errorf("a third channel has to wait: %v", err)
	}
}

func TestAPauseIsKeptAndNeverShortened(t *testing.T) {
	t.Parallel()
	b := &budget{rdb: redistest.Client(t), replica: "a"}
	at := bot.ChatPlace{Platform: "slack", Workspace: "T1", Channel: "C1"}
	ctx := context.Background()
	for _, after := range []time.Duration{30 * time.Minute, time.Second, 400 * time.Hour} {
		if err := b.block(ctx, at, writePost, after); err != nil {
			t.Fatal(err)
		}
		limits := bot.ChatLimits{Posts: 1, Edits: 1, Window: time.Second}
		limited, ok := errors.AsType[*bot.Limited](b.spend(ctx, at, limits, writePost, "w", false))
		if !ok || limited.After < 20*time.Minute || limited.After > longestBlock {
			t.Errorf("after a pause of %s a post waits %+v", after, limited)
		}
		if after == 30*time.Minute {
			if err := b.spend(ctx, at, limits, writeEdit, "w", true); err != nil {
				t.Errorf("edits wait as well: %v", err)
			}
		}
	}
}

// Many want to write to a channel that takes one in 50 ms. Each is told when
// to come back, and does so once or twice.
func TestManyWhoWaitStandInALine(t *testing.T) {
	t.Parallel()
	b := &budget{rdb: redistest.Client(t), replica: "a"}
	limits := bot.ChatLimits{Posts: 1000, Window: time.Minute, ChannelEvery: 50 * time.Millisecond}
	var mu sync.Mutex
	var group sync.WaitGroup
	const many = 100
	asked := 0
	began := time.Now()
	for i := range many {
		group.Go(func() {
			for {
				err := b.spend(context.Background(), bot.ChatPlace{Platform: "slack", Workspace: "T1", Channel: "C1"}, limits, writePost, fmt.Sprint("w", i), false)
				mu.Lock()
				asked++
				mu.Unlock()
				limited, ok := errors.AsType[*bot.Limited](err)
				if err == nil {
					return
				}
				if !ok {
					t.Error(err)
					return
				}
				if err := pause(context.Background(), limited.After); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if took := time.Since(began); took < (many-1)*limits.ChannelEvery {
		t.Errorf("%d messages took %s", many, took)
	}
	if asked > 4*many {
		t.Errorf("they asked %d times", asked)
	}
}
