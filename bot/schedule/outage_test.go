package schedule

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot"
)

// unanswered is closed once a client has tried in vain to reach Redis.
type unanswered struct {
	once  sync.Once
	heard chan struct{}
}

func (u *unanswered) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			u.once.Do(func() { close(u.heard) })
		}
		return conn, err
	}
}

func (u *unanswered) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (u *unanswered) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// TestARedisThatIsStoppedLosesAndDoublesNoTick stops the real thing under two
// replicas while ticks come, and starts it again.
func TestARedisThatIsStoppedLosesAndDoublesNoTick(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t)
	down := &unanswered{heard: make(chan struct{})}
	client.AddHook(down)
	w := newTestWorld(t, monday)
	w.rdb, w.Store, w.every = client, actions.NewStore(client, actions.StoreOptions{}), 10*time.Second
	w.add("blog/pr-1", "shop/pr-1")
	w.stopAt = monday.Add(20*time.Minute + 30*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.off = cancel

	reached, stopped := make(chan struct{}), make(chan struct{})
	var halfway sync.Once
	minutely := Schedule{Name: "minutely", Cron: "* * * * *", Verb: actions.VerbRestart, CatchUp: CatchUpNone}
	var replicas sync.WaitGroup
	for _, name := range []string{"one", "two"} {
		s, err := New(Options{
			Store: w, Requests: w, Catalog: w, Redis: client, Notifier: w, Schedules: []Schedule{minutely}, PerSecond: 1000, Every: w.every,
			Now: w.Now, Replica: name,
			Wait: func(ctx context.Context, until time.Time) {
				if until.After(monday.Add(10 * time.Minute)) {
					halfway.Do(func() {
						close(reached)
						<-stopped
					})
				}
				w.Wait(ctx, until)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		replicas.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Errorf("replica %s ended: %v", name, err)
			}
		})
	}
	<-reached
	server.Stop(t)
	w.set(w.Now().Add(40 * time.Second)) // time goes on; it is no downtime yet
	close(stopped)
	<-down.heard
	server.Restart(t)
	replicas.Wait()

	var want, got []string
	for tick := monday.Add(time.Minute); tick.Before(monday.Add(20 * time.Minute)); tick = tick.Add(time.Minute) {
		for _, env := range []string{"blog/pr-1", "shop/pr-1"} {
			want = append(want, fmt.Sprintf("schedule:minutely:%d:%s", tick.Unix(), env))
		}
	}
	for _, a := range w.requests {
		if tickOf(t, a.r.Key) < monday.Add(20*time.Minute).Unix() { // the last one may have been cut short
			got = append(got, a.r.Key)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("ticks that were done\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if told := w.said(bot.EventMissed); len(told) != 0 {
		t.Errorf("ticks are told to be missed: %q", told)
	}
}
