package discord

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot"
)

func TestAPingIsAnswered(t *testing.T) {
	t.Parallel()
	s, _ := surfaceOf(t, nil, &taken{}, nil)
	code, _, text := send(t, s, `{"id":"1","application_id":"`+testApp+`","type":1,"version":1}`)
	if code != http.StatusOK || text != `{"type":1}` {
		t.Errorf("%d %s", code, text)
	}
}

func TestWhatIsTypedBecomesACommand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ data, line string }{
		"a verb with a target": {
			`{"name":"berth","type":1,"options":[{"name":"deploy","type":1,"options":[{"name":"target","type":3,"value":"shop/pr-42"}]}]}`, "deploy shop/pr-42"},
		"a verb alone": {
			`{"name":"berth","type":1,"options":[{"name":"deploy","type":1}]}`, "deploy"},
		"flags of every kind, in the order of help": {
			`{"name":"berth","type":1,"options":[{"name":"deploy","type":1,"options":[
				{"name":"reason","type":3,"value":"it's \"late\""},{"name":"dry-run","type":5,"value":true},{"name":"to","type":4,"value":3},
				{"name":"set","type":3,"value":"a=1  b=\"two words\""},{"name":"ref","type":3,"value":"main"},{"name":"target","type":3,"value":"shop"}]}]}`,
			`deploy shop --ref main --set a=1 --set b="two words" --to 3 --dry-run --reason "it's \"late\""`},
		"a switch that is off": {
			`{"name":"berth","type":1,"options":[{"name":"deploy","type":1,"options":[{"name":"dry-run","type":5,"value":false}]}]}`, "deploy"},
		"a target that would be a flag": {
			`{"name":"berth","type":1,"options":[{"name":"deploy","type":1,"options":[{"name":"target","type":3,"value":"--break-glass"}]}]}`, `deploy "--break-glass"`},
		"a text of several lines is one line": {
			`{"name":"berth","type":1,"options":[{"name":"deploy","type":1,"options":[{"name":"reason","type":3,"value":"a\r\nb\u2028c"}]}]}`, `deploy --reason "a b c"`},
		"a verb in a group": {
			`{"name":"berth","type":1,"options":[{"name":"vars","type":2,"options":[{"name":"set","type":1,"options":[{"name":"variables","type":3,"value":"A=1 B=2"},{"name":"target","type":3,"value":"shop/x1"}]}]}]}`,
			"set shop/x1 A=1 B=2"},
		"a verb in a group that is called otherwise there": {
			`{"name":"berth","type":1,"options":[{"name":"vars","type":2,"options":[{"name":"show","type":1}]}]}`, "vars"},
		"a verb of an older Berth goes to the grammar, which says so": {
			`{"name":"berth","type":1,"options":[{"name":"undeploy","type":1,"options":[{"name":"target","type":3,"value":"x"}]}]}`, "undeploy"},
		"nothing at all is help": {`{"name":"berth","type":1}`, "help"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := &taken{}
			s, _ := surfaceOf(t, nil, in, nil)
			code, r, text := send(t, s, done(typeCommand, c.data))
			if code != http.StatusOK || text != `{"type":5,"data":{"flags":64}}` {
				t.Fatalf("%d %+v %s", code, r, text)
			}
			want := bot.ChatEvent{ID: interactionID, Kind: bot.ChatCommand, Place: bot.ChatPlace{Platform: "discord", Workspace: testGuild, Channel: testPlace},
				Identity: "discord:" + testUser, User: testUser, Name: "Ana", Line: c.line, Answer: "tok.en-1", Until: testNow.Add(15 * time.Minute), At: testNow}
			if got := in.all(); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestWhereItWasDone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		more    []string
		place   bot.ChatPlace
		private bool
	}{
		"in a thread": {[]string{"channel", `{"id":"` + testPlace + `","type":11,"parent_id":"77","name":"x"}`},
			bot.ChatPlace{Platform: "discord", Workspace: testGuild, Channel: "77", Thread: testPlace}, false},
		"in a channel of a category": {[]string{"channel", `{"id":"` + testPlace + `","type":0,"parent_id":"77"}`},
			bot.ChatPlace{Platform: "discord", Workspace: testGuild, Channel: testPlace}, false},
		"among people who write to each other": {[]string{"guild_id", "", "member", "", "context", "2", "user", `{"id":"` + testUser + `","username":"ana"}`, "channel", `{"id":"` + testPlace + `","type":3}`},
			bot.ChatPlace{Platform: "discord", User: testUser}, true},
		"in a direct message": {[]string{"guild_id", "", "member", "", "user", `{"id":"` + testUser + `","username":"ana"}`, "channel", `{"id":"` + testPlace + `","type":1}`},
			bot.ChatPlace{Platform: "discord", Channel: testPlace}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := &taken{}
			s, _ := surfaceOf(t, nil, in, nil)
			send(t, s, done(typeCommand, `{"name":"berth","type":1,"options":[{"name":"help","type":1}]}`, c.more...))
			if got := in.all(); len(got) != 1 || got[0].Place != c.place || got[0].Private != c.private || got[0].User != testUser {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAnInteractionThatDoesNotSayItsChannel(t *testing.T) {
	t.Parallel()
	in := &taken{}
	api := newRest(t)
	s, _ := surfaceOf(t, api, in, nil)
	body := done(typeCommand, `{"name":"berth","type":1,"options":[{"name":"help","type":1}]}`, "channel", "")
	api.on("GET channels/"+testPlace, 503, `{}`)
	if _, r, text := send(t, s, body); r.Type != answerMessage || len(in.all()) != 0 {
		t.Errorf("taken without a channel: %s", text)
	}
	api.on("GET channels/"+testPlace, 200, `{"id":"`+testPlace+`","type":12,"parent_id":"77"}`)
	send(t, s, body)
	if got := in.all(); len(got) != 1 || got[0].Place != (bot.ChatPlace{Platform: "discord", Workspace: testGuild, Channel: "77", Thread: testPlace}) {
		t.Errorf("%+v", got)
	}
}

func TestAnInteractionOfAChannelThatCannotBeLookedAtIsOfThatChannel(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"there is nothing to ask":     {404, `{"code":0,"message":"404: Not Found"}`},
		"it is not known":             {404, `{"code":10003,"message":"Unknown Channel"}`},
		"Berth may not see it":        {403, `{"code":50001,"message":"Missing Access"}`},
		"it is refused without words": {403, `no`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := &taken{}
			api := newRest(t)
			api.on("GET channels/"+testPlace, c.status, c.body)
			s, _ := surfaceOf(t, api, in, func(o *Options) { o.Plain = func(string) bool { return false } })
			send(t, s, done(typeCommand, `{"name":"berth","type":1,"options":[{"name":"help","type":1}]}`, "channel", ""))
			if got := in.all(); len(got) != 1 || got[0].Place != (bot.ChatPlace{Platform: "discord", Workspace: testGuild, Channel: testPlace}) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAnIdThatTellsOfAnotherTimeTellsOfNone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		id   string
		when time.Time
	}{
		"a small number":          {"12345", testNow},
		"yesterday":               {strconv.FormatUint(snowflake(testNow.Add(-24*time.Hour)), 10), testNow},
		"tomorrow":                {strconv.FormatUint(snowflake(testNow.Add(24*time.Hour)), 10), testNow},
		"one delivered once more": {strconv.FormatUint(snowflake(testNow.Add(-4*time.Minute)), 10), testNow.Add(-4 * time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := &taken{}
			s, _ := surfaceOf(t, nil, in, nil)
			send(t, s, done(typeCommand, `{"name":"berth","type":1,"options":[{"name":"help","type":1}]}`, "id", `"`+c.id+`"`))
			if got := in.all(); len(got) != 1 || got[0].ID != c.id || got[0].At.Sub(c.when).Abs() > time.Millisecond || !got[0].Until.Equal(got[0].At.Add(tokenLife)) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestCommandsThatAreNotAsBerthKnowsThemDoNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ data, say string }{
		"another command of the application": {`{"name":"other","type":1,"options":[{"name":"deploy","type":1,"options":[{"name":"target","type":3,"value":"shop/x1"}]}]}`, "none of Berth's"},
		"a command of people":                {`{"name":"berth","type":2,"target_id":"5"}`, "none of Berth's"},
		"an option that is not known": {`{"name":"berth","type":1,"options":[{"name":"deploy","type":1,"options":[{"name":"target","type":3,"value":"shop/x1"},{"name":"only-look","type":5,"value":true}]}]}`,
			"`only-look` of `/berth deploy`"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := &taken{}
			s, _ := surfaceOf(t, nil, in, nil)
			_, r, text := send(t, s, done(typeCommand, c.data))
			if r.Type != answerMessage || r.Data.Flags != flagEphemeral || !strings.Contains(r.Data.Content, c.say) || len(in.all()) != 0 {
				t.Errorf("%s %+v", text, in.all())
			}
		})
	}
	s, _ := surfaceOf(t, nil, &taken{}, nil)
	if _, r, text := send(t, s, done(typeAutocomplete, `{"name":"other","type":1,"options":[{"name":"help","type":1,"options":[{"name":"verb","type":3,"value":"dep","focused":true}]}]}`)); r.Type != answerAutocomplete || len(*r.Data.Choices) != 0 {
		t.Errorf("another command is completed: %s", text)
	}
}

func TestWhatIsNotTaken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body string
		want int
	}{
		"no JSON":                          {`{`, 400},
		"a list":                           {`[]`, 400},
		"a type that is not known":         {done(99, `{}`), 400},
		"no id":                            {done(typeCommand, `{}`, "id", ""), 400},
		"an id that is none":               {done(typeCommand, `{}`, "id", `"../x"`), 400},
		"no token":                         {done(typeCommand, `{}`, "token", ""), 400},
		"a token that is a path":           {done(typeCommand, `{}`, "token", `"a/../b"`), 400},
		"nobody":                           {done(typeCommand, `{}`, "member", ""), 400},
		"another application's":            {done(typeCommand, `{"name":"berth","type":1}`, "application_id", `"9"`), 400},
		"data that is no object":           {done(typeCommand, `[]`), 400},
		"an option of the wrong type":      {done(typeCommand, `{"name":"berth","type":1,"options":[{"name":"deploy","type":1,"options":[{"name":"target","type":3,"value":7}]}]}`), 400},
		"an option of a type that is none": {done(typeCommand, `{"name":"berth","type":1,"options":[{"name":"deploy","type":1,"options":[{"name":"target","type":9,"value":"7"}]}]}`), 400},
		"an option twice":                  {done(typeCommand, `{"name":"berth","type":1,"options":[{"name":"deploy","type":1,"options":[{"name":"target","type":3,"value":"a"},{"name":"target","type":3,"value":"b"}]}]}`), 400},
		"a message that does not come":     {done(typeCommand, `{"name":"Deploy with Berth","type":3,"target_id":"5"}`), 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := &taken{}
			s, _ := surfaceOf(t, nil, in, nil)
			if code, _, text := send(t, s, c.body); code != c.want || len(in.all()) != 0 {
				t.Errorf("%d %s %+v", code, text, in.all())
			}
		})
	}
}

func TestRequestsThatAreNotDiscords(t *testing.T) {
	t.Parallel()
	body := done(typeCommand, `{"name":"berth","type":1}`)
	change := func(do func(r *http.Request)) *http.Request {
		r := signed(testNow, body)
		do(r)
		return r
	}
	for name, c := range map[string]struct {
		r    *http.Request
		want int
	}{
		"no signature":        {change(func(r *http.Request) { r.Header.Del("X-Signature-Ed25519") }), 401},
		"a stale one":         {signed(testNow.Add(-6*time.Minute), body), 401},
		"a body of its own":   {change(func(r *http.Request) { r.Body = http.NoBody }), 401},
		"another method":      {change(func(r *http.Request) { r.Method = http.MethodGet }), 405},
		"too large by length": {change(func(r *http.Request) { r.ContentLength = MaxBody + 1 }), 413},
		"too large by bytes":  {signed(testNow, strings.Repeat(" ", MaxBody+1)), 413},
		"another path":        {change(func(r *http.Request) { r.URL.Path = "/discord/other" }), 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := &taken{}
			s, _ := surfaceOf(t, nil, in, nil)
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, c.r)
			if w.Code != c.want || len(in.all()) != 0 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

// A header's name is written in any case: the server of net/http and a real
// connection see to that.
func TestHeadersInAnyCase(t *testing.T) {
	t.Parallel()
	in := &taken{}
	s, _ := surfaceOf(t, nil, in, nil)
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	body := done(typeCommand, `{"name":"berth","type":1}`)
	from := signed(testNow, body)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/discord/interactions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header["x-signature-ed25519"] = []string{from.Header.Get("X-Signature-Ed25519")}
	r.Header["X-SIGNATURE-TIMESTAMP"] = []string{from.Header.Get("X-Signature-Timestamp")}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || len(in.all()) != 1 {
		t.Errorf("%d, %d events", resp.StatusCode, len(in.all()))
	}
}

func TestAReplayedRequestIsTheSameEvent(t *testing.T) {
	t.Parallel()
	in := &taken{}
	s, _ := surfaceOf(t, nil, in, nil)
	body := done(typeCommand, `{"name":"berth","type":1,"options":[{"name":"deploy","type":1}]}`)
	send(t, s, body)
	send(t, s, body)
	if got := in.all(); len(got) != 2 || got[0].ID != got[1].ID {
		t.Errorf("%+v", got)
	}
}

func TestGuildsThatAreNotListenedTo(t *testing.T) {
	t.Parallel()
	in := &taken{}
	s, _ := surfaceOf(t, nil, in, func(o *Options) { o.Guilds = []string{"42"} })
	_, r, _ := send(t, s, done(typeCommand, `{"name":"berth","type":1}`))
	if r.Type != answerMessage || r.Data.Flags != flagEphemeral || !strings.Contains(r.Data.Content, "discord.guilds") || len(in.all()) != 0 {
		t.Errorf("%+v", r)
	}
	if _, r, _ = send(t, s, done(typeAutocomplete, `{"name":"berth","type":1}`)); r.Type != answerAutocomplete {
		t.Errorf("%+v", r)
	}
}

// card is the message that a button stands on.
func card(id, label string) string {
	return `{"id":"66","content":"","components":[{"type":1,"components":[{"type":2,"style":4,"label":"` + label + `","custom_id":"` + id + `"}]}]}`
}

func TestButtons(t *testing.T) {
	t.Parallel()
	const line = "deny 01jd0000000000000000000000"
	t.Run("a plain one is a command", func(t *testing.T) {
		t.Parallel()
		in := &taken{}
		s, _ := surfaceOf(t, nil, in, nil)
		id, ok := customID(bot.ChatButton{Line: "approve 01jd0000000000000000000000", Digest: "0123456789abcdef"})
		if !ok {
			t.Fatal("no custom_id")
		}
		_, r, _ := send(t, s, done(typeComponent, `{"custom_id":"`+id+`","component_type":2}`, "message", card(id, "Approve")))
		got := in.all()
		if r.Type != answerDeferred || r.Data.Flags != flagEphemeral || len(got) != 1 || !got[0].Clicked || got[0].Digest != "0123456789abcdef" ||
			got[0].Line != "approve 01jd0000000000000000000000" || got[0].Message != "66" {
			t.Errorf("%+v %+v", r, got)
		}
	})
	t.Run("one that asks why opens a form at once, which becomes the command", func(t *testing.T) {
		t.Parallel()
		in := &taken{}
		s, _ := surfaceOf(t, nil, in, nil)
		id, _ := customID(bot.ChatButton{Line: line, Reason: "Why?", Digest: "ab"})
		_, r, text := send(t, s, done(typeComponent, `{"custom_id":"`+id+`","component_type":2}`, "message", card(id, "Deny")))
		if r.Type != answerModal || r.Data.Title != "Deny" || len(in.all()) != 0 {
			t.Fatalf("%s", text)
		}
		for shape, components := range map[string]string{
			"in a label": `[{"type":18,"component":{"type":4,"custom_id":"reason","value":"not\nnow \"x\""}}]`,
			"in a row":   `[{"type":1,"components":[{"type":4,"custom_id":"reason","value":"not\nnow \"x\""}]}]`,
		} {
			send(t, s, done(typeModal, `{"custom_id":"`+r.Data.CustomID+`","components":`+components+`}`, "message", card(id, "Deny")))
			got := in.all()
			if e := got[len(got)-1]; e.Line != line+` --reason "not now \"x\""` || !e.Clicked || e.Digest != "ab" {
				t.Errorf("%s: %+v", shape, e)
			}
		}
	})
	t.Run("a form without a reason does nothing", func(t *testing.T) {
		t.Parallel()
		in := &taken{}
		s, _ := surfaceOf(t, nil, in, nil)
		_, r, _ := send(t, s, done(typeModal, `{"custom_id":"b1||r|deny","components":[{"type":18,"component":{"type":4,"custom_id":"reason","value":" \n "}}]}`))
		if r.Type != answerMessage || r.Data.Flags != flagEphemeral || len(in.all()) != 0 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("one that must be confirmed asks with the same button", func(t *testing.T) {
		t.Parallel()
		in := &taken{}
		s, _ := surfaceOf(t, nil, in, nil)
		id, _ := customID(bot.ChatButton{Line: "archive shop/pr-7", Confirm: "Really?"})
		_, r, text := send(t, s, done(typeComponent, `{"custom_id":"`+id+`"}`, "message", card(id, "Archive")))
		if r.Type != answerMessage || r.Data.Flags != flagEphemeral || len(in.all()) != 0 || !strings.Contains(text, `"custom_id":"b1||a|archive shop/pr-7"`) || !strings.Contains(text, `"label":"Yes, archive"`) {
			t.Fatal(text)
		}
		id, _ = customID(bot.ChatButton{Line: "deploy shop/pr-7", Confirm: "Really?"})
		if _, r, _ := send(t, s, done(typeComponent, `{"custom_id":"`+id+`"}`)); r.Data.Content != "Are you sure? This does `/berth deploy shop/pr-7`. It creates an environment, or updates it." {
			t.Error(r.Data.Content)
		}
		_, r, text = send(t, s, done(typeComponent, `{"custom_id":"b1||a|archive shop/pr-7"}`))
		if got := in.all(); len(got) != 1 || got[0].Line != "archive shop/pr-7" {
			t.Errorf("%+v", got)
		}
		if r.Type != answerUpdate || !strings.Contains(text, `"components":[]`) {
			t.Errorf("the question can be said yes to again: %s", text)
		}
	})
	t.Run("one of somebody else's making does nothing", func(t *testing.T) {
		t.Parallel()
		for _, id := range []string{"", "x", "b0|||deploy x", "b1||q|deploy x", "b1||rr|deploy x", "b1|XYZ||deploy x", "b1||| ", "b1|||a\\nb"} {
			in := &taken{}
			s, _ := surfaceOf(t, nil, in, nil)
			code, r, text := send(t, s, done(typeComponent, `{"custom_id":"`+id+`"}`))
			if code != 200 || r.Type != answerMessage || r.Data.Flags != flagEphemeral || len(in.all()) != 0 {
				t.Errorf("%q: %s", id, text)
			}
		}
	})
	t.Run("one that is too long is none", func(t *testing.T) {
		t.Parallel()
		if id, ok := customID(bot.ChatButton{Line: strings.Repeat("x", 96)}); ok {
			t.Errorf("%q", id)
		}
	})
}

func TestRedisThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	const command = `{"name":"berth","type":1,"options":[{"name":"deploy","type":1,"options":[{"name":"target","type":3,"value":"shop/pr-1"}]}]}`
	original := "PATCH webhooks/" + testApp + "/tok.en-1/messages/@original"
	t.Run("its sender is told at once, and it is stored when it is back", func(t *testing.T) {
		t.Parallel()
		in := &taken{told: make(chan bot.ChatEvent, 1), fail: func(n int) error {
			if n < 3 {
				return errDown
			}
			return nil
		}}
		api := newRest(t)
		s, log := surfaceOf(t, api, in, nil)
		s.patience = time.Minute
		_, r, text := send(t, s, done(typeCommand, command))
		if r.Type != answerMessage || r.Data.Flags != flagEphemeral || !strings.Contains(text, "goes on trying for a minute") {
			t.Fatal(text)
		}
		select {
		case e := <-in.told:
			if e.Line != "deploy shop/pr-1" {
				t.Errorf("%+v", e)
			}
		case <-time.After(2 * time.Minute):
			t.Fatal("never stored")
		}
		s.work.stop()
		if n := api.count(original); n != 0 {
			t.Errorf("told %d times that it was lost", n)
		}
		if strings.Contains(log.String(), "tok.en-1") {
			t.Error("the log has the token")
		}
	})
	t.Run("its sender is told that it was not done when it stays away", func(t *testing.T) {
		t.Parallel()
		in := &taken{fail: func(int) error { return errDown }}
		api := newRest(t)
		api.on(original, 200, `{"id":"1"}`)
		s, log := surfaceOf(t, api, in, nil)
		s.patience = 40 * time.Millisecond
		send(t, s, done(typeCommand, command))
		if call := api.await(t, original); !strings.Contains(call.body, "nothing was done about") || strings.Contains(call.body, "shop/pr-1") || call.auth != "" {
			t.Errorf("%+v", call)
		}
		s.work.stop()
		if strings.Contains(log.String(), "tok.en-1") {
			t.Error("the log has the token")
		}
	})
	t.Run("beyond a thousand it is said that nothing was done", func(t *testing.T) {
		t.Parallel()
		in := &taken{fail: func(int) error { return errDown }}
		s, _ := surfaceOf(t, nil, in, nil)
		s.work.late = lateMost
		if _, _, text := send(t, s, done(typeCommand, command)); !strings.Contains(text, "nothing was done") {
			t.Error(text)
		}
	})
	t.Run("a stopping replica tries once more and says so", func(t *testing.T) {
		t.Parallel()
		in := &taken{fail: func(int) error { return errDown }}
		api := newRest(t)
		api.on(original, 200, `{"id":"1"}`)
		s, _ := surfaceOf(t, api, in, nil)
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error)
		go func() { over <- s.Run(ctx) }()
		send(t, s, done(typeCommand, command))
		cancel()
		if err := <-over; err != nil || api.count(original) != 1 {
			t.Errorf("%v, told %d times", err, api.count(original))
		}
	})
	t.Run("a form and a question need no Redis", func(t *testing.T) {
		t.Parallel()
		in := &taken{fail: func(int) error { t.Error("asked"); return errDown }}
		s, _ := surfaceOf(t, nil, in, nil)
		for _, id := range []string{"b1||r|deny x", "b1||c|archive x"} {
			if _, r, text := send(t, s, done(typeComponent, `{"custom_id":"`+id+`"}`)); r.Type != answerModal && r.Type != answerMessage {
				t.Error(text)
			}
		}
	})
}

// BenchmarkInteraction is one signed command from its arrival to its
// acknowledgement, without the store.
func BenchmarkInteraction(b *testing.B) {
	public, _ := testKey()
	s, err := New(Options{ApplicationID: testApp, PublicKey: public, BotToken: "x", Verbs: testVerbs, Now: func() time.Time { return testNow }})
	if err != nil {
		b.Fatal(err)
	}
	s.Attach(nowhere{}, nil)
	h, body := s.Handler(), done(typeCommand, `{"name":"berth","type":1,"options":[{"name":"deploy","type":1,"options":[{"name":"target","type":3,"value":"shop/pr-42"}]}]}`)
	header := signed(testNow, body).Header
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/discord/interactions", strings.NewReader(body))
		r.Header = header
		w := &discarded{}
		h.ServeHTTP(w, r)
		if w.code != 0 && w.code != http.StatusOK {
			b.Fatal(w.code)
		}
	}
}

// nowhere is an Intake that forgets.
type nowhere struct{}

func (nowhere) Take(context.Context, bot.ChatEvent) error { return nil }
