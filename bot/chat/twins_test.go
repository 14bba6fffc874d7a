package chat

import (
	"context"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot"
)

// Discord gives each click of a double click an id of its own. Both are answered,
// and one thing is done.
func TestADoubleClickIsOneClick(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.world.Work()
	w.world.Do("deploy shop/pr-7")
	began := time.Now().Add(-time.Minute)
	click := func(id, user, message, line string, after time.Duration) bot.ChatEvent {
		e := event(id, user, line)
		e.Clicked, e.Message, e.At = true, message, began.Add(after)
		return e
	}
	const line = "extend shop/pr-7 --ttl 24h"
	events := []bot.ChatEvent{
		click("twice-1", "U1", "m1", line, 0),
		click("twice-2", "U1", "m1", line, 2900*time.Millisecond),
		click("later", "U1", "m1", line, 6*time.Second),
		click("other-message", "U1", "m2", line, 0),
		click("other-person", "U2", "m1", line, 0),
		click("other-line", "U1", "m1", "extend shop/pr-7 --ttl 48h", 0),
	}
	for _, e := range events {
		w.take(t, e)
		w.done(t, w.rdb, e.ID)
	}
	for _, e := range events {
		if m := w.slack.answer(t, e.ID); m.Tone != bot.ChatWorking {
			t.Errorf("%s was answered %+v", e.ID, m)
		}
	}
	all, _, err := w.world.Requests.List(context.Background(), filterAll)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, r := range all {
		keys[r.Key] = true
	}
	if len(all) != len(events) || keys["chat:slack:twice-2"] { // the deploy is one more, and one is none
		t.Errorf("%d requests of the keys %v", len(all), keys)
	}

	// Who did the first one anew finds it again, though another came since.
	for id, want := range map[string]string{"twice-1": "twice-1", "later": "later"} {
		for _, e := range events {
			if e.ID != id {
				continue
			}
			if got, err := w.first(context.Background(), e); got != want || err != nil {
				t.Errorf("%s is done again as %q, %v", id, got, err)
			}
		}
	}
	if got, err := w.first(context.Background(), event("typed", "U1", line)); got != "typed" || err != nil {
		t.Errorf("what is typed is one with %q, %v", got, err)
	}
}
