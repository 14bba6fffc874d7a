package chat

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot"
)

// Every key has an end, but for those that say what is open.
func TestEveryKeyEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.world.Govern(team(), twoPeople())
	w.take(t, event("e1", "U1", "deploy shop/pr-7"))
	w.done(t, w.rdb, "e1")
	r := w.world.Await(w.asked(t), pending)
	home := event("h1", "U2", "")
	home.Kind, home.Place.Channel, home.Place.User = bot.ChatHome, "", "U2"
	w.take(t, home)
	w.slack.pageHas(t, "U2", 0, 1)
	if err := w.Outlet(bot.PlatformSlack).Tell(t.Context(), "C2", bot.Notice{Key: "k", Title: "a notice", Env: pr7}); err != nil {
		t.Fatal(err)
	}
	click := event("c1", "U2", "approve "+r.ID)
	click.Clicked, click.Digest = true, r.Digest[:16]
	w.take(t, click)
	w.done(t, w.rdb, "c1")
	w.slack.until(t, "the end", func() bool {
		return len(w.slack.messages) > 0 && strings.HasSuffix(w.slack.messages[0].m.Title, "is running")
	})
	open := []string{"show:", "events:", "card:", "cards:", "watched"}
	keys, err := w.rdb.Keys(t.Context(), keyPrefix+"*").Result()
	if err != nil || len(keys) < 10 {
		t.Fatalf("the keys are %q: %v", keys, err)
	}
	for _, key := range keys {
		ends, err := w.rdb.PTTL(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		name, listed := strings.TrimPrefix(key, keyPrefix), false
		for _, prefix := range open {
			listed = listed || strings.HasPrefix(name, prefix)
		}
		if ends == -1 && !listed {
			t.Errorf("%s never ends", key)
		}
		if ends > rememberCard+time.Second {
			t.Errorf("%s ends in %s", key, ends)
		}
	}
}
