package chats

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/chat/chattest"
)

// TestEveryCardIsAnAnswerForOneAlone has ana type a command for each card, and
// answers with it three times: nobody else sees any of that.
func TestEveryCardIsAnAnswerForOneAlone(t *testing.T) {
	for name, start := range platforms {
		t.Run(name, func(t *testing.T) {
			s := start(t, true)
			for i, card := range chattest.Cards() {
				t.Run(card.Name, func(t *testing.T) {
					e := s.typed("status shop/pr-7")
					if e.Line != "status shop/pr-7" || e.Answer == "" {
						t.Fatalf("%+v came in", e)
					}
					before := s.alone()
					for nth := range 3 {
						if err := s.platform.Answer(t.Context(), e, nth, card.Message); err != nil {
							t.Errorf("answer %d: %v", nth, err)
						}
					}
					if got := s.alone() - before; got < 2 {
						t.Errorf("ana sees %d more", got)
					}
					if odd := s.odd(); len(odd) > 0 {
						t.Fatalf("card %d: %s", i, strings.Join(odd, "\n"))
					}
				})
			}
			found, err := s.platform.Find(t.Context(), s.at, "none", began)
			if err != nil || found.ID != "" {
				t.Errorf("%+v was found, %v", found, err)
			}
		})
	}
}

// TestProgressStandsBelowItsCard posts into the thread of a card, and edits it
// there.
func TestProgressStandsBelowItsCard(t *testing.T) {
	for name, start := range platforms {
		t.Run(name, func(t *testing.T) {
			s := start(t, false)
			card, _ := s.post(t, "card", bot.ChatMessage{Tone: bot.ChatWorking, Title: "deploy shop/pr-7", Text: "x"})
			s.at = card.Place
			s.at.Thread = card.ID
			for _, key := range []string{"progress", "news"} {
				made, _ := s.post(t, key, bot.ChatMessage{Tone: bot.ChatWorking, Title: "Progress", Text: "1 of 2"})
				if made.Place.Thread != card.ID || made.Place.Channel != card.Place.Channel {
					t.Errorf("it stands at %+v", made.Place)
				}
				if err := s.platform.Edit(t.Context(), made, bot.ChatMessage{Tone: bot.ChatGood, Title: "Progress", Text: "2 of 2"}); err != nil {
					t.Error(err)
				}
			}
			if odd := s.odd(); len(odd) > 0 {
				t.Error(strings.Join(odd, "\n"))
			}
		})
	}
}
