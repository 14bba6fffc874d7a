package discord

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot"
)

func TestMessagesThatAreCommands(t *testing.T) {
	t.Parallel()
	text := func(s string) string {
		quoted, _ := json.Marshal(s)
		return `"content":` + string(quoted)
	}
	const to = "<@" + testMe + ">"
	for name, c := range map[string]struct {
		fields string
		direct bool
		line   string
		ok     bool
	}{
		"a mention first":                         {fields: text(to + " deploy shop/pr-1"), line: "deploy shop/pr-1", ok: true},
		"a mention as older clients write it":     {fields: text("<@!" + testMe + ">   status"), line: "status", ok: true},
		"a mention with a comma":                  {fields: text(to + ", status"), line: "status", ok: true},
		"a mention alone is help":                 {fields: text(to), line: "help", ok: true},
		"a pasted command":                        {fields: text(to + " /berth deploy shop"), line: "deploy shop", ok: true},
		"a mention that begins a later line":      {fields: text("look:\n" + to + " status shop/pr-1\nthanks"), line: "status shop/pr-1", ok: true},
		"a reply":                                 {fields: text(to+" status") + `,"type":19`, line: "status", ok: true},
		"a mention in a sentence":                 {fields: text("ask " + to + " about it")},
		"somebody else's mention":                 {fields: text("<@1> status")},
		"no mention":                              {fields: text("deploy shop")},
		"a direct message needs no mention":       {fields: text("deploy shop"), direct: true, line: "deploy shop", ok: true},
		"a direct message with a slash":           {fields: text("/berth deploy shop"), direct: true, line: "deploy shop", ok: true},
		"an empty direct message":                 {fields: text(""), direct: true},
		"a program's":                             {fields: text(to+" status") + `,"author":{"id":"9","bot":true}`},
		"a webhook's":                             {fields: text(to+" status") + `,"webhook_id":"9"`},
		"Berth's own":                             {fields: text(to+" status") + `,"author":{"id":"` + testMe + `"}`},
		"a notice that somebody pinned something": {fields: text(to+" status") + `,"type":6`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := `{"id":"` + interactionID + `","channel_id":"` + testPlace + `","author":{"id":"` + testUser + `","username":"ana"},`
			if !c.direct {
				raw += `"guild_id":"` + testGuild + `",`
			}
			m, err := decodeMessage([]byte(raw + c.fields + `}`))
			if err != nil {
				t.Fatal(err)
			}
			line, ok := m.command(testMe)
			if line != c.line || ok != c.ok {
				t.Errorf("%q %v", line, ok)
			}
		})
	}
}

// mention is a message in a channel.
func mention(channel, text string) posted {
	return posted{ID: interactionID, ChannelID: channel, GuildID: testGuild, Author: user{ID: testUser, Username: "ana"}, Content: text}
}

func TestAMentionInAThreadIsOfItsChannel(t *testing.T) {
	t.Parallel()
	in := &taken{}
	api := newRest(t)
	api.on("GET channels/88", 200, `{"id":"88","type":11,"parent_id":"`+testPlace+`","guild_id":"`+testGuild+`"}`)
	s, _ := surfaceOf(t, api, in, nil)
	for range 2 {
		s.mentioned(t.Context(), mention("88", ""), "status")
	}
	want := bot.ChatPlace{Platform: "discord", Workspace: testGuild, Channel: testPlace, Thread: "88"}
	got := in.all()
	if len(got) != 2 || got[0].Place != want || got[0].ID != "m"+interactionID || got[0].Message != interactionID || got[0].Answer != "" || !got[0].At.Equal(testNow.Truncate(time.Millisecond)) {
		t.Errorf("%+v", got)
	}
	if n := api.count("GET channels/88"); n != 1 {
		t.Errorf("looked %d times", n)
	}
	if n := api.count("PUT channels/88/messages/" + interactionID + "/reactions/👀/@me"); n != 2 {
		t.Errorf("reacted %d times", n)
	}
}

func TestAMentionInAChannelThatCannotBeLookedAt(t *testing.T) {
	t.Parallel()
	for name, plain := range map[string]bool{"is taken where its rules are known": true, "is left alone where it could be a thread of a limited one": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := &taken{}
			s, _ := surfaceOf(t, newRest(t), in, func(o *Options) { o.Plain = func(id string) bool { return plain && id == "88" } })
			s.mentioned(t.Context(), mention("88", ""), "status")
			want := bot.ChatPlace{Platform: "discord", Workspace: testGuild, Channel: "88"}
			if got := in.all(); (len(got) == 1 && got[0].Place == want) != plain {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAMentionWhoseIdTellsOfAnotherTimeIsMadeNow(t *testing.T) {
	t.Parallel()
	in := &taken{}
	api := newRest(t)
	s, _ := surfaceOf(t, api, in, nil)
	m := mention("88", "")
	m.ID = "12345"
	s.mentioned(t.Context(), m, "status")
	if got := in.all(); len(got) != 1 || got[0].ID != "m12345" || !got[0].At.Equal(testNow) {
		t.Errorf("%+v", got)
	}
}

func TestAMentionInAChannelThatIsGoneIsLeftAlone(t *testing.T) {
	t.Parallel()
	in := &taken{}
	api := newRest(t)
	api.on("GET channels/88", 404, `{"code":10003,"message":"Unknown Channel"}`)
	s, _ := surfaceOf(t, api, in, nil)
	s.mentioned(t.Context(), mention("88", ""), "status")
	if got := in.all(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestAMentionThatCannotBeStoredIsAnsweredDirectly(t *testing.T) {
	t.Parallel()
	in := &taken{fail: func(int) error { return errDown }}
	api := newRest(t)
	api.on("GET channels/"+testPlace, 200, `{"id":"`+testPlace+`","type":0}`)
	api.on("POST users/@me/channels", 200, `{"id":"99","type":1}`)
	var nonces []string
	api.answer("POST channels/99/messages", func(body []byte) (int, string) {
		var sent struct{ Nonce string }
		_ = json.Unmarshal(body, &sent)
		nonces = append(nonces, sent.Nonce)
		return http.StatusOK, `{"id":"5","channel_id":"99"}`
	})
	s, _ := surfaceOf(t, api, in, nil)
	s.patience = 40 * time.Millisecond
	s.mentioned(t.Context(), mention(testPlace, ""), "deploy shop")
	s.work.stop()
	if len(nonces) != 2 || nonces[0] == nonces[1] {
		t.Errorf("told as %q", nonces)
	}
}

func TestInteractionsOfTheGateway(t *testing.T) {
	t.Parallel()
	in := &taken{}
	api := newRest(t)
	callback := "POST interactions/" + interactionID + "/tok.en-1/callback"
	tries := 0
	api.answer(callback, func([]byte) (int, string) {
		if tries++; tries == 1 {
			return http.StatusBadGateway, ""
		}
		return http.StatusNoContent, ""
	})
	s, log := surfaceOf(t, api, in, nil)
	s.interacted(t.Context(), []byte(done(typeCommand, `{"name":"berth","type":1,"options":[{"name":"help","type":1}]}`)))
	if call := api.await(t, callback); !strings.Contains(call.body, `{"type":5,"data":{"flags":64}}`) || call.auth != "" {
		t.Errorf("%+v", call)
	}
	if n := api.count(callback); n != 2 || len(in.all()) != 1 {
		t.Errorf("acknowledged %d times, %d events", n, len(in.all()))
	}
	s.interacted(t.Context(), []byte(`{"type":2}`))
	if strings.Contains(log.String(), "tok.en-1") {
		t.Error("the log has the token")
	}
}
