package discord

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/discord/discordtest"
)

// mentionOfAna is a mention of Ana's, as an event.
func mentionOfAna(t *testing.T, g *guildOf) bot.ChatEvent {
	t.Helper()
	id, err := g.Mention(g.ana, g.channel, "status shop/pr-1")
	if err != nil {
		t.Fatal(err)
	}
	return posted{ID: id, ChannelID: g.channel, GuildID: g.guild, Author: user{ID: g.ana}}.event(
		bot.ChatPlace{Platform: bot.PlatformDiscord, Workspace: g.guild, Channel: g.channel}, "status shop/pr-1", time.Now())
}

func TestAnAnswerToWhomTakesNoDirectMessagesIsShownToThemAlone(t *testing.T) {
	t.Parallel()
	g := newGuild(t, discordtest.Options{})
	in := &once{more: make(chan struct{}, 1)}
	b := newBerth(t, g, in, func(o *Options) { o.Redis = redistest.Client(t) })
	b.endpoint(g)
	g.SetNoDMs(g.ana, true)
	e := mentionOfAna(t, g)
	private := bot.ChatMessage{Tone: bot.ChatGood, Title: "It runs", Text: "since *today*", Buttons: []bot.ChatButton{{Label: "Sleep", Line: "sleep shop/pr-1"}}}
	for range 2 { // tried again, it is said once
		if err := b.answered(e, private); err != nil {
			t.Fatal(err)
		}
	}
	all := g.Messages(g.channel)
	told := all[len(all)-1]
	if len(all) != 2 || told.ReplyTo != e.Message || !slices.Equal(told.Pings, []string{g.ana}) || strings.Contains(told.Content+embedText(told), "runs") {
		t.Fatalf("%+v", all)
	}
	if _, err := g.Click(g.ben, told.ID, "Show it to me"); err != nil {
		t.Fatal(err)
	}
	g.until(func() bool {
		seen := g.Ephemerals(g.ben)
		return len(seen) == 1 && strings.Contains(seen[0].Content, "somebody else")
	})
	if _, err := g.Click(g.ana, told.ID, "Show it to me"); err != nil {
		t.Fatal(err)
	}
	g.until(func() bool {
		seen := g.Ephemerals(g.ana)
		if len(seen) != 1 || seen[0].Thinking {
			return false
		}
		_, whole := seen[0].Button("Sleep")
		return whole && strings.Contains(embedText(seen[0]), "It runs")
	})
	if lines := in.lines(); len(lines) != 0 {
		t.Errorf("looking at an answer did %q", lines)
	}
	b.heard.rdb.FlushDB(t.Context())
	if _, err := g.Click(g.ana, told.ID, "Show it to me"); err != nil {
		t.Fatal(err)
	}
	g.until(func() bool {
		seen := g.Ephemerals(g.ana)
		return strings.Contains(seen[len(seen)-1].Content, "kept no more")
	})
}

// embedText is what stands in the embeds of a message.
func embedText(m discordtest.Message) (text string) {
	for _, e := range m.Embeds {
		text += e.Title + "\n" + e.Description + "\n"
	}
	return text
}

func TestWhatACardSaysIsNotSaidDirectlyToo(t *testing.T) {
	t.Parallel()
	g := newGuild(t, discordtest.Options{})
	b := newBerth(t, g, &once{more: make(chan struct{}, 1)}, nil)
	e := mentionOfAna(t, g)
	if err := b.answered(e, bot.ChatMessage{Text: "On it.", Shown: true}); err != nil || len(g.DirectMessages(g.ana)) != 0 {
		t.Errorf("%v %+v", err, g.DirectMessages(g.ana))
	}
	if err := b.answered(e, bot.ChatMessage{Text: "No."}); err != nil || len(g.DirectMessages(g.ana)) != 1 {
		t.Errorf("%v %+v", err, g.DirectMessages(g.ana))
	}
}

func TestACardRepliesToWhatAskedForIt(t *testing.T) {
	t.Parallel()
	g := newGuild(t, discordtest.Options{})
	b := newBerth(t, g, &once{more: make(chan struct{}, 1)}, nil)
	e := mentionOfAna(t, g)
	for name, c := range map[string]struct {
		to     string
		denied int64
		reply  bool
	}{
		"a mention":                       {to: e.Message, reply: true},
		"a mention that was deleted":      {to: "5"},
		"no message":                      {to: "x"},
		"where Berth may not read others": {to: e.Message, denied: discordtest.ReadMessageHistory},
	} {
		g.Deny(g.channel, c.denied)
		sent, err := b.Post(t.Context(), e.Place, name, bot.ChatMessage{Text: name, ReplyTo: c.to})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if m := g.Message(sent.ID); (m.ReplyTo == e.Message) != c.reply || len(m.Pings) != 0 {
			t.Errorf("%s: %+v", name, m)
		}
	}
}
