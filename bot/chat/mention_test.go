package chat

import (
	"testing"

	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot"
)

// A card answers the message that asked for it, where there is one that others
// read; whoever asked need then not be told what it says.
func TestACardAnswersTheMentionThatAskedForIt(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(e *bot.ChatEvent)
		reply  string
	}{
		"a mention":             {func(e *bot.ChatEvent) { e.Answer, e.Message = "", "m5" }, "m5"},
		"a command":             {func(*bot.ChatEvent) {}, ""},
		"a click":               {func(e *bot.ChatEvent) { e.Clicked, e.Message = true, "m5" }, ""},
		"written to it alone":   {func(e *bot.ChatEvent) { e.Answer, e.Message, e.Private = "", "m5", true }, ""},
		"a mention in a thread": {func(e *bot.ChatEvent) { e.Answer, e.Message, e.Place.Thread = "", "m5", "m4" }, "m5"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, slack := redistest.Client(t), newPlatform(bot.PlatformSlack)
			w := newReplica(t, rdb, "a", slack).run(t)
			e := event("e1", "U1", "deploy shop/pr-7")
			test.change(&e)
			w.take(t, e)
			w.done(t, rdb, "e1")
			if m := slack.answer(t, "e1"); !m.Shown || m.ReplyTo != "" {
				t.Errorf("the answer is %+v", m)
			}
			slack.until(t, "the card", func() bool { return len(slack.messages) > 0 })
			slack.mu.Lock()
			defer slack.mu.Unlock()
			if got := slack.messages[0].m.ReplyTo; got != test.reply {
				t.Errorf("the card answers %q, want %q", got, test.reply)
			}
		})
	}
}

func TestWhatNoCardSaysIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, line := range []string{"list", "help", "deploy nothing/like-it", "approve 01jd0000000000000000000000"} {
		e := event(line, "U1", line)
		e.Answer, e.Message = "", "m5"
		w.take(t, e)
		if m := w.slack.answer(t, line); m.Shown || m.Text == "" && m.Title == "" {
			t.Errorf("%q is answered with %+v", line, m)
		}
	}
}
