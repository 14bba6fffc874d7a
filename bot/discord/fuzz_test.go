package discord

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/berth-dev/berth/bot"
)

// FuzzInteraction gives an interaction of each type what anybody may have put
// into it: whatever it is, it is refused or answered within Discord's limits, and
// what is stored is one line at a place that can be read back.
func FuzzInteraction(f *testing.F) {
	for _, seed := range []string{
		`{"id":"1","application_id":"` + testApp + `","type":1}`,
		done(typeCommand, `{"name":"berth","type":1,"options":[{"name":"deploy","type":1,"options":[{"name":"target","type":3,"value":"shop/pr-1"},{"name":"to","type":4,"value":3},{"name":"dry-run","type":5,"value":true}]}]}`),
		done(typeCommand, `{"name":"berth","type":1,"options":[{"name":"vars","type":2,"options":[{"name":"set","type":1,"options":[{"name":"variables","type":3,"value":"A=\"1 2\""}]}]}]}`),
		done(typeCommand, `{"name":"Deploy with Berth","type":3,"target_id":"5","resolved":{"messages":{"5":{"id":"5","content":"shop/pr-1 https://github.com/acme/api/pull/3"}}}}`),
		done(typeComponent, `{"custom_id":"b1|ab|cr|deny x","component_type":2}`, "message", card("b1|ab|cr|deny x", "Deny")),
		done(typeComponent, `{"custom_id":"b1|||approve x","component_type":2}`, "message", card("b1|||approve x", "Approve")),
		done(typeAutocomplete, `{"name":"berth","type":1,"options":[{"name":"deploy","type":1,"options":[{"name":"ref","type":3,"value":"m","focused":true}]}]}`),
		done(typeModal, `{"custom_id":"b1|ab|r|deny x","components":[{"type":18,"component":{"type":4,"custom_id":"reason","value":"why"}}]}`),
		done(typeCommand, `{"name":"berth","type":1}`, "guild_id", "", "member", "", "user", `{"id":"1"}`, "channel", `{"id":"`+testPlace+`","type":11,"parent_id":"2"}`),
	} {
		f.Add([]byte(seed))
	}
	public, _ := testKey()
	f.Fuzz(func(t *testing.T, body []byte) {
		in := &taken{}
		s, err := New(Options{ApplicationID: testApp, PublicKey: public, BotToken: "x", Verbs: testVerbs, Apps: testApps})
		if err != nil {
			t.Fatal(err)
		}
		s.Attach(in, suggester(func(_ context.Context, _ bot.ChatPlace, _, _, _, typed string) []string {
			return []string{typed, typed + "x"}
		}))
		i, err := decodeInteraction(body)
		if err != nil || i.Channel == nil && i.GuildID != "" { // Discord would be asked
			return
		}
		answer, err := s.handle(t.Context(), i)
		if err != nil {
			return
		}
		text, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		if d := answer.Data; d != nil {
			if utf8.RuneCountInString(d.Content) > 2000 || utf8.RuneCountInString(d.Title) > maxTitle || len(d.CustomID) > maxCustomID || d.Choices != nil && len(*d.Choices) > maxChoices || len(d.Components) > 5 {
				t.Errorf("beyond the limits: %s", text)
			}
			if answer.Type != answerModal && answer.Type != answerAutocomplete && d.Flags != flagEphemeral {
				t.Errorf("everybody sees it: %s", text)
			}
		}
		for _, e := range in.all() {
			if strings.ContainsAny(e.Line, "\r\n") || e.Line == "" || !utf8.ValidString(e.Line) || len(e.ID) > 200 || e.Identity != "discord:"+e.User {
				t.Errorf("%+v", e)
			}
			if p, err := bot.ParseChatPlace("discord", e.Place.ID()); err != nil || p != e.Place {
				t.Errorf("%+v is read back as %+v: %v", e.Place, p, err)
			}
		}
	})
}

func FuzzPress(f *testing.F) {
	for _, id := range []string{"b1|||deploy x", "b1|0123456789abcdef|cr|deny x", "b1||", "", "b1|||a|b|c", "b1|||a1|m12|0", "b1|||a1|m|-1"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		p, ok := decodePress(id)
		if !ok {
			return
		}
		if event, nth, ok := decodeShow(p.line); ok && showLine(event, nth) != p.line {
			t.Errorf("%q is of %q, %d", p.line, event, nth)
		}
		again, fits := p.encode()
		q, back := decodePress(again)
		if !fits || !back || p != q {
			t.Errorf("%q is %+v, then %+v", id, p, q)
		}
	})
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"id":"1","channel_id":"2","guild_id":"3","author":{"id":"4"},"content":"<@` + testMe + `> status"}`))
	f.Add([]byte(`{"id":"1","channel_id":"2","author":{"id":"4"},"content":"/berth"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := decodeMessage(raw)
		if err != nil {
			return
		}
		line, ok := m.command(testMe)
		if ok != (line != "") || strings.Contains(line, "\n") {
			t.Errorf("%q %v", line, ok)
		}
		if e := m.event(bot.ChatPlace{}, line, testNow); e.User == "" || len(e.ID) > 200 {
			t.Errorf("%+v", e)
		}
	})
}

func FuzzReady(f *testing.F) {
	f.Add([]byte(`{"user":{"id":"1"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := decodeReady(raw); err == nil && !isID(r.User.ID) {
			t.Errorf("%q", r.User.ID)
		}
	})
}

func FuzzCommandThatIsThere(f *testing.F) {
	f.Add([]byte(`{"id":"1","type":1,"name":"berth","description":"x","options":[{"type":1,"name":"a","description":"b","min_value":0}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var raw map[string]json.RawMessage
		if json.Unmarshal(text, &raw) != nil {
			return
		}
		if c, err := readCommand(raw); err == nil && !c.equal(c) {
			t.Errorf("%+v is not itself", c)
		}
		if _, err := json.Marshal(again(raw)); err != nil {
			t.Error(err)
		}
	})
}

// FuzzRequest gives the handler bytes that nobody signed: nothing but a refusal
// comes of them.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"type":1}`), "00", "1")
	public, _ := testKey()
	f.Fuzz(func(t *testing.T, body []byte, signature, timestamp string) {
		in := &taken{}
		s, err := New(Options{ApplicationID: testApp, PublicKey: public, BotToken: "x"})
		if err != nil {
			t.Fatal(err)
		}
		s.Attach(in, nil)
		r := signed(testNow, string(body))
		r.Header = http.Header{"X-Signature-Ed25519": {signature}, "X-Signature-Timestamp": {timestamp}}
		w := &discarded{}
		s.Handler().ServeHTTP(w, r)
		if w.code != http.StatusUnauthorized && w.code != http.StatusRequestEntityTooLarge || len(in.all()) != 0 {
			t.Errorf("%d", w.code)
		}
	})
}

// discarded keeps the status of an answer.
type discarded struct {
	code   int
	header http.Header
}

func (d *discarded) Header() http.Header {
	if d.header == nil {
		d.header = http.Header{}
	}
	return d.header
}
func (d *discarded) WriteHeader(code int)        { d.code = code }
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
