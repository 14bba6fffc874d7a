package chat

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

var errKilled = errors.New("this process was killed")

// life ends a process at one of its calls: of Redis, or of the platform. From
// then on it does nothing that anybody could see. after tells whether the call
// itself still was made, and its answer lost.
type life struct {
	calls atomic.Int64
	last  int64 // 0 means that it lives on
	after bool
	begun atomic.Bool // what is before this does not count
	dead  chan struct{}
	ended atomic.Bool
	over  atomic.Bool // it is dead whatever it calls
}

// next tells whether the next call is made, and whether its answer arrives.
func (l *life) next() (made, heard bool) {
	if !l.begun.Load() {
		return true, true
	}
	if l.over.Load() {
		return false, false
	}
	n := l.calls.Add(1)
	if l.last == 0 || n < l.last {
		return true, true
	}
	if l.ended.CompareAndSwap(false, true) {
		close(l.dead)
	}
	return n == l.last && l.after, false
}

func (l *life) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *life) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !ours(cmd) && !l.ended.Load() && !l.over.Load() {
			return next(ctx, cmd)
		}
		made, heard := l.next()
		if made {
			if err := next(ctx, cmd); err != nil && heard {
				return err
			}
		}
		if !heard {
			cmd.SetErr(errKilled)
			return errKilled
		}
		return nil
	}
}

func (l *life) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		made, heard := l.next()
		if made {
			if err := next(ctx, cmds); err != nil && heard {
				return err
			}
		}
		if !heard {
			for _, cmd := range cmds {
				cmd.SetErr(errKilled)
			}
			return errKilled
		}
		return nil
	}
}

// ours tells calls that do something from the turns and reads that come by the
// clock, which would make the place of each cut a matter of luck.
func ours(cmd redis.Cmder) bool {
	switch cmd.Name() {
	case "xread", "xrevrange", "hello", "client", "ping":
		return false
	case "evalsha", "eval":
		args := cmd.Args()
		if len(args) > 3 {
			key, _ := args[3].(string)
			return key != prefixShow+"due" && key != prefixEvents+bot.PlatformSlack+":due"
		}
	}
	return true
}

// A process may be killed between any two of its calls, and in any of them: the
// one after it does what is left. Somebody clicks once and it is one decision; they
// get their answer; the card is there once.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"a command", "a click"} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, its last call made %v", what, after), func(t *testing.T) {
				t.Parallel()
				for last, lived := int64(1), false; !lived; last++ {
					ok := t.Run(fmt.Sprint("at call ", last), func(t *testing.T) {
						lived = killedAt(t, what, &life{last: last, after: after, dead: make(chan struct{})})
					})
					if !ok {
						return
					}
				}
			})
		}
	}
}

// killedAt kills a process, unless it has done all that it has to before.
func killedAt(t *testing.T, what string, l *life) (lived bool) {
	opts := redistest.Options(t)
	opts.MaxRetries = -1
	dying, rdb := redis.NewClient(opts), redis.NewClient(&redis.Options{Addr: opts.Addr, DB: opts.DB})
	defer func() { _, _ = dying.Close(), rdb.Close() }()
	dying.AddHook(l)
	slack := newPlatform(bot.PlatformSlack)
	mortal := &mortal{platform: slack, l: l}
	a := newReplica(t, dying, "a", slack, func(o *Options) { o.Platforms, o.Log = []Platform{mortal}, nil })
	b := newReplica(t, rdb, "a", slack) // it comes back under its name

	e := event("e1", "U1", "deploy shop/pr-7")
	if what == "a click" {
		b.world.Govern(team(), twoPeople())
		made := b.world.SayIn(bot.Input{Line: "deploy shop/pr-7", Actor: bot.Actor{Identity: "slack:U1"}, Place: approvals.Place{Surface: bot.PlatformSlack, ID: "T1/C1", Message: "x"}})
		r := b.world.Await(made.Request.ID, pending)
		e = event("e1", "U2", "approve "+r.ID)
		e.Clicked, e.Digest = true, r.Digest[:16]
	}
	l.begun.Store(true)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _ = a.Run(ctx) }() // nobody waits for what is dead
	taken := a.Take(context.Background(), e) == nil
	if !taken {
		b.take(t, e) // the platform delivers again what was not acknowledged
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for ctx.Err() == nil {
			if text, err := rdb.Get(ctx, keyEvent(bot.PlatformSlack, "e1")).Result(); err == nil && text == "" {
				return
			}
			_ = pause(ctx, 2e6)
		}
	}()
	select {
	case <-finished:
		lived = !l.ended.Load()
	case <-l.dead:
	}
	l.over.Store(true) // whatever it had left to do is not done
	cancel()
	forgetLeases(t, rdb)
	b.run(t)
	defer b.stop()
	b.done(t, rdb, "e1")
	r, err := b.world.Requests.Get(context.Background(), b.asked(t))
	if err != nil {
		t.Fatal(err)
	}
	if what == "a click" && len(r.Decisions) != 1 {
		t.Errorf("%d decisions", len(r.Decisions))
	}
	if n := slack.count("e1"); n < 1 || n > 2 {
		t.Errorf("%d answers", n)
	}
	slack.mu.Lock()
	defer slack.mu.Unlock()
	cards, key := 0, postKey(cardID(e.Place, r.ID), slotCard, 0)
	for _, m := range slack.messages {
		if m.key == key {
			cards++
		}
	}
	for _, a := range slack.answers {
		if a.m.Tone == bot.ChatBad {
			t.Errorf("they were told: %s", a.m.Text)
		}
	}
	if cards != 1 {
		t.Errorf("the card is there %d times", cards)
	}
	return lived
}

// forgetLeases has the writes end that a dead process had begun, as time would.
func forgetLeases(t *testing.T, rdb *redis.Client) {
	t.Helper()
	ctx := context.Background()
	keys, err := rdb.Keys(ctx, keyWriting("*")).Result()
	if err == nil && len(keys) > 0 {
		err = rdb.Del(ctx, keys...).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// mortal is a platform as a process sees it that may be killed.
type mortal struct {
	*platform
	l *life
}

func (m *mortal) made(call func() error) error {
	made, heard := m.l.next()
	var err error
	if made {
		err = call()
	}
	if !heard {
		return errKilled
	}
	return err
}

func (m *mortal) Post(ctx context.Context, at bot.ChatPlace, key string, msg bot.ChatMessage) (sent bot.ChatSent, err error) {
	err = m.made(func() error { sent, err = m.platform.Post(ctx, at, key, msg); return err })
	return sent, err
}

func (m *mortal) Find(ctx context.Context, at bot.ChatPlace, key string, since time.Time) (sent bot.ChatSent, err error) {
	err = m.made(func() error { sent, err = m.platform.Find(ctx, at, key, since); return err })
	return sent, err
}

func (m *mortal) Edit(ctx context.Context, sent bot.ChatSent, msg bot.ChatMessage) error {
	return m.made(func() error { return m.platform.Edit(ctx, sent, msg) })
}

func (m *mortal) Answer(ctx context.Context, e bot.ChatEvent, nth int, msg bot.ChatMessage) error {
	return m.made(func() error { return m.platform.Answer(ctx, e, nth, msg) })
}
