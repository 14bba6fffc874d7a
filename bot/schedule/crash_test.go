package schedule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// replica is a scheduler that can be killed at any command to Redis, and what it
// believes about the lease.
type replica struct {
	s     *Scheduler
	life  *mortal
	token int64
}

func (w *world) replica(t testing.TB, list []Schedule) *replica {
	life := &mortal{left: -1}
	client := redis.NewClient(w.rdb.(*redis.Client).Options())
	t.Cleanup(func() { _ = client.Close() })
	client.AddHook(life)
	r := &replica{s: w.scheduler(t, client, list...), life: life}
	return r
}

// TestNoTickIsLostOrDoubled lets leaders change at random moments: killed at any
// command to Redis, or deposed while they go on believing that they lead.
func TestNoTickIsLostOrDoubled(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newTestWorld(t, monday)
		w.every = 10 * time.Second
		names := []string{"shop/pr-1", "shop/pr-2", "blog/pr-3"}
		w.add(names...)
		// In reach of the cleanup soon: nobody used them for long.
		list := []Schedule{
			{Name: "minutely", Cron: "* * * * *", Verb: actions.VerbRestart, CatchUp: CatchUpNone},
			{Name: "often", Cron: "*/3 * * * *", Verb: actions.VerbCleanup, Apps: []string{"blog"}, Warn: []time.Duration{3 * time.Minute, 2 * time.Minute}},
		}
		replicas := []*replica{w.replica(t, list), w.replica(t, list)}
		leader := 0
		replicas[0].token = w.lead(t)
		w.rest(t, replicas[0].s, replicas[0].token)
		for range rapid.IntRange(20, 60).Draw(rt, "steps") {
			w.set(w.Now().Add(time.Duration(rapid.IntRange(0, 25).Draw(rt, "seconds")) * time.Second))
			switch rapid.SampledFrom([]string{"go on", "go on", "kill", "depose", "believe"}).Draw(rt, "what") {
			case "kill": // in the middle of a turn; another takes its place at once
				replicas[leader].life.left = rapid.IntRange(0, 30).Draw(rt, "commands")
				_, _ = replicas[leader].s.turn(t.Context(), replicas[leader].token)
				replicas[leader] = w.replica(t, list)
				leader = 1 - leader
				replicas[leader].token = w.lead(t)
			case "depose":
				leader = 1 - leader
				replicas[leader].token = w.lead(t)
			case "believe": // the other may have led before
				other := replicas[1-leader]
				if other.token > 0 {
					if _, err := other.s.turn(t.Context(), other.token); !errors.Is(err, errFenced) {
						rt.Fatalf("a leader that was deposed went on: %v", err)
					}
				}
			}
			for {
				now := w.Now()
				next, err := replicas[leader].s.turn(t.Context(), replicas[leader].token)
				if err != nil {
					rt.Fatal(err)
				}
				if next.After(now) {
					break
				}
			}
		}
		w.check(rt, names)
	})
}

// TestAWarningIsToldOnceThoughItsTellerWasKilled kills the leader between telling
// and noting that it told.
func TestAWarningIsToldOnceThoughItsTellerWasKilled(t *testing.T) {
	w := newTestWorld(t, monday)
	w.lives(25 * time.Hour)
	r := w.replica(t, nil)
	r.token = w.lead(t)
	w.until(t, r.s, r.token, monday.Add(23*time.Hour))
	w.set(monday.Add(24*time.Hour - time.Minute))
	w.onNotice = func() { r.life.left = 0 }
	if _, err := r.s.turn(t.Context(), r.token); !errors.Is(err, errKilled) {
		t.Fatalf("it was not killed: %v", err)
	}
	w.onNotice = nil
	w.set(w.Now().Add(30 * time.Second))
	other := w.scheduler(t, nil)
	w.until(t, other, w.lead(t), monday.Add(27*time.Hour))
	if told := w.said(bot.EventExpiring); len(told) != 1 || len(w.requests) != 1 {
		t.Errorf("it was told %q and asked for %q", told, w.made())
	}
}

// check holds what must be true however leaders changed.
func (w *world) check(rt *rapid.T, names []string) {
	now := w.Now()
	var want, got []string
	for tick := monday.Add(time.Minute); !tick.After(now); tick = tick.Add(time.Minute) {
		for _, name := range names {
			want = append(want, fmt.Sprintf("schedule:minutely:%d:%s", tick.Unix(), name))
		}
	}
	told := map[string]time.Time{}
	for _, n := range w.notices {
		if n.Event == bot.EventMissed {
			rt.Errorf("a tick was missed: %s", n.Text)
		}
		parts := strings.Split(n.Key, "/") // schedule/often/blog/pr-3/DUE/SINCE/AHEAD
		which := n.Env.String() + "/" + parts[4] + "/" + parts[len(parts)-1]
		if _, twice := told[which]; twice {
			rt.Errorf("%s was told twice", which)
		}
		told[which] = n.At
	}
	for _, a := range w.requests {
		if a.r.Place.ID == "minutely" {
			got = append(got, a.r.Key)
			continue
		}
		tick := tickOf(rt, a.r.Key)
		first := a.at
		for which, at := range told {
			if strings.HasPrefix(which, fmt.Sprintf("%s/%d/", a.r.Order.Env, tick)) && at.Before(first) {
				first = at
			}
		}
		if warned := a.at.Sub(first); warned < 2*time.Minute {
			rt.Errorf("%s was taken %v after it was told", a.r.Key, warned)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		rt.Errorf("ticks that were done\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(w.requests) == len(got) && now.Sub(monday) > 10*time.Minute {
		rt.Error("nothing was cleaned up")
	}
}
