package discord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// stage is a Discord that answers as a test says, by "METHOD path".
type stage struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string][]answer
	asked   []string // "METHOD path"
	bodies  []string
	tokens  []string // Authorization
}

type answer struct {
	status int
	body   string
	header map[string]string
}

func newStage(t *testing.T) *stage {
	st := &stage{answers: map[string][]answer{}}
	st.Server = httptest.NewServer(st)
	t.Cleanup(st.Close)
	return st
}

// on answers a call, in turn; the last answer stays.
func (st *stage) on(call string, answers ...answer) { st.answers[call] = answers }

func (st *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	st.mu.Lock()
	defer st.mu.Unlock()
	call := r.Method + " " + r.URL.Path
	body, _ := io.ReadAll(r.Body)
	st.asked, st.bodies, st.tokens = append(st.asked, call), append(st.bodies, string(body)), append(st.tokens, r.Header.Get("Authorization"))
	a := answer{status: 404, body: `{"code": 0, "message": "404: Not Found"}`}
	if all := st.answers[call]; len(all) > 0 {
		if a = all[0]; len(all) > 1 {
			st.answers[call] = all[1:]
		}
	}
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.status)
	fmt.Fprint(w, a.body)
}

// clock is a time that stands still.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func onStage(t *testing.T) (*Surface, *stage, *clock) {
	st, c := newStage(t), &clock{time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	s, err := New(Options{ApplicationID: "100", PublicKey: strings.Repeat("ab", 32), BotToken: "secret-token", APIURL: st.URL, Now: c.now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s, st, c
}

var (
	inChannel = bot.ChatPlace{Platform: bot.PlatformDiscord, Workspace: "1", Channel: "10"}
	inThread  = bot.ChatPlace{Platform: bot.PlatformDiscord, Workspace: "1", Channel: "10", Thread: "20"}
	hello     = bot.ChatMessage{Title: "hello", Text: "you"}
)

func refusal(status, code int) answer {
	return answer{status: status, body: fmt.Sprintf(`{"code": %d, "message": "no"}`, code)}
}

func TestPostSaysWhereTheMessageStandsAndIsOneByItsKey(t *testing.T) {
	s, st, _ := onStage(t)
	st.on("POST /channels/10/messages", answer{status: 200, body: `{"id": "30", "channel_id": "10"}`})
	for range 2 {
		sent, err := s.Post(context.Background(), inChannel, "k", hello)
		if err != nil || sent.ID != "30" || sent.Place != inChannel || sent.URL != "https://discord.com/channels/1/10/30" {
			t.Fatalf("%+v, %v", sent, err)
		}
	}
	if st.bodies[0] != st.bodies[1] || !strings.Contains(st.bodies[0], `"enforce_nonce":true`) || st.tokens[0] != "Bot secret-token" {
		t.Errorf("sent %s and %s by %s", st.bodies[0], st.bodies[1], st.tokens[0])
	}
	var p sentPayload
	if err := json.Unmarshal([]byte(st.bodies[0]), &p); err != nil || p.Nonce == "" || len(breaches(p)) > 0 {
		t.Errorf("%+v %v %v", p, breaches(p), err)
	}
}

func TestFindKnowsAMessageByItsMarkAndAuthor(t *testing.T) {
	s, st, c := onStage(t)
	st.on("GET /users/@me", answer{status: 200, body: `{"id": "100"}`})
	st.on("GET /channels/10/messages", answer{status: 200, body: fmt.Sprintf(
		`[{"id": "33", "author": {"id": "5"}, "content": "x%[1]s"}, {"id": "32", "author": {"id": "100"}, "content": "x%[2]s"}, {"id": "31", "author": {"id": "100"}, "embeds": [{"title": "x%[1]s"}]}]`,
		marked("k"), marked("other"))})
	sent, err := s.Find(context.Background(), inChannel, "k", c.at)
	if err != nil || sent.ID != "31" || sent.Place != inChannel {
		t.Errorf("%+v, %v", sent, err)
	}
	if sent, err = s.Find(context.Background(), inChannel, "none", c.at); err != nil || sent.ID != "" {
		t.Errorf("%+v, %v", sent, err)
	}
}

func TestPostToAThread(t *testing.T) {
	made := answer{status: 200, body: `{"id": "30"}`}
	tests := map[string]struct {
		answers map[string][]answer
		at      bot.ChatPlace
		asked   string
		reply   bool
	}{
		"that is there goes into it": {
			answers: map[string][]answer{"POST /channels/20/messages": {made}}, at: inThread, asked: "POST /channels/20/messages",
		},
		"that is not there yet starts it": {
			answers: map[string][]answer{"POST /channels/20/messages": {refusal(404, 10003), made}, "POST /channels/10/messages/20/threads": {{status: 201, body: `{"id": "20"}`}}},
			at:      inThread, asked: "POST /channels/20/messages, POST /channels/10/messages/20/threads, POST /channels/20/messages",
		},
		"of a server without threads is a reply": {
			answers: map[string][]answer{"POST /channels/20/messages": {{status: 404, body: "nothing here"}}, "POST /channels/10/messages/20/threads": {{status: 404, body: "nothing here"}}, "POST /channels/10/messages": {made}},
			at:      inChannel, asked: "POST /channels/20/messages, POST /channels/10/messages/20/threads, POST /channels/10/messages", reply: true,
		},
		"that is started by nobody there is a reply": {
			answers: map[string][]answer{"POST /channels/20/messages": {refusal(404, 10003)}, "POST /channels/10/messages/20/threads": {refusal(405, 0)}, "POST /channels/10/messages": {made}},
			at:      inChannel, asked: "POST /channels/20/messages, POST /channels/10/messages/20/threads, POST /channels/10/messages", reply: true,
		},
		"that another replica started meanwhile goes into it": {
			answers: map[string][]answer{"POST /channels/20/messages": {refusal(404, 10003), made}, "POST /channels/10/messages/20/threads": {refusal(400, 160004)}},
			at:      inThread, asked: "POST /channels/20/messages, POST /channels/10/messages/20/threads, POST /channels/20/messages",
		},
		"that may not be started is a reply": {
			answers: map[string][]answer{"POST /channels/20/messages": {refusal(404, 10003)}, "POST /channels/10/messages/20/threads": {refusal(403, 50013)}, "POST /channels/10/messages": {made}},
			at:      inChannel, asked: "POST /channels/20/messages, POST /channels/10/messages/20/threads, POST /channels/10/messages", reply: true,
		},
		"that is locked is a reply": {
			answers: map[string][]answer{"POST /channels/20/messages": {refusal(400, 160005)}, "POST /channels/10/messages": {made}},
			at:      inChannel, asked: "POST /channels/20/messages, POST /channels/10/messages", reply: true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, st, _ := onStage(t)
			for call, answers := range tt.answers {
				st.on(call, answers...)
			}
			sent, err := s.Post(context.Background(), inThread, "k", hello)
			if err != nil || sent.ID != "30" || sent.Place != tt.at {
				t.Errorf("%+v, %v", sent, err)
			}
			if got := strings.Join(st.asked, ", "); got != tt.asked {
				t.Errorf("asked %s", got)
			}
			if got := strings.Contains(st.bodies[len(st.bodies)-1], `"message_reference":{"message_id":"20"`); got != tt.reply {
				t.Errorf("a reply: %v", got)
			}
		})
	}
}

func TestAChannelThatARouteNamesIsInItsGuild(t *testing.T) {
	s, st, _ := onStage(t)
	st.on("GET /channels/10", answer{status: 200, body: `{"id": "10", "type": 0, "guild_id": "1"}`})
	st.on("POST /channels/10/messages", answer{status: 200, body: `{"id": "30"}`})
	st.on("POST /channels/20/messages", answer{status: 200, body: `{"id": "30"}`})
	at := bot.ChatPlace{Platform: bot.PlatformDiscord, Channel: "10"}
	for range 2 {
		sent, err := s.Post(t.Context(), at, "k", hello)
		if err != nil || sent.Place.Workspace != "1" || !strings.HasPrefix(sent.URL, "https://discord.com/channels/1/10/") {
			t.Fatalf("it stands at %+v, %v", sent, err)
		}
	}
	at.Thread = "20"
	if sent, err := s.Post(t.Context(), at, "k", hello); err != nil || sent.Place.Thread != "20" {
		t.Errorf("in its thread it stands at %+v, %v", sent, err)
	}
	if got, want := strings.Join(st.asked, ", "), "GET /channels/10, POST /channels/10/messages, POST /channels/10/messages, POST /channels/20/messages"; got != want {
		t.Errorf("Discord was asked %s, want %s", got, want)
	}
}

func TestRefusals(t *testing.T) {
	tests := map[string]struct {
		answer answer
		want   actions.Code
	}{
		"a channel that is gone":        {refusal(404, 10003), actions.CodeNotFound},
		"a message that is gone":        {refusal(404, 10008), actions.CodeNotFound},
		"a channel that is not shown":   {refusal(403, 50001), actions.CodeForbidden},
		"a missing permission":          {refusal(403, 50013), actions.CodeForbidden},
		"no direct messages":            {refusal(403, 50007), actions.CodeForbidden},
		"a form that is wrong":          {refusal(400, 50035), actions.CodeInvalid},
		"a token that is wrong":         {refusal(401, 0), actions.CodeUnavailable},
		"Discord is down":               {answer{status: 503, body: "<html>"}, actions.CodeUnavailable},
		"an answer that is not JSON":    {answer{status: 200, body: "<html>"}, actions.CodeUnavailable},
		"an answer without a message":   {answer{status: 200, body: "{}"}, actions.CodeUnavailable},
		"a redirect, which is not done": {answer{status: 302, header: map[string]string{"Location": "/channels/11/messages"}}, actions.CodeInvalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, st, _ := onStage(t)
			st.on("POST /channels/10/messages", tt.answer)
			_, err := s.Post(context.Background(), inChannel, "k", hello)
			if actions.CodeOf(err) != tt.want || strings.Contains(fmt.Sprint(err), "secret-token") {
				t.Errorf("%v is %s", err, actions.CodeOf(err))
			}
		})
	}
}

func TestAPauseThatDiscordWantsIsKept(t *testing.T) {
	limited := func(t *testing.T, err error) time.Duration {
		t.Helper()
		l, ok := errors.AsType[*bot.Limited](err)
		if !ok {
			t.Fatalf("%v is no pause", err)
		}
		return l.After
	}
	ctx := context.Background()
	t.Run("of one channel after a refusal", func(t *testing.T) {
		s, st, c := onStage(t)
		st.on("POST /channels/10/messages", answer{status: 429, body: `{"retry_after": 1.5, "global": false}`}, answer{status: 200, body: `{"id": "30"}`})
		st.on("POST /channels/11/messages", answer{status: 200, body: `{"id": "31"}`})
		_, err := s.Post(ctx, inChannel, "k", hello)
		if after := limited(t, err); after != 1500*time.Millisecond {
			t.Errorf("after %s", after)
		}
		if _, err = s.Post(ctx, inChannel, "k", hello); limited(t, err) <= 0 || len(st.asked) != 1 {
			t.Errorf("asked %s", st.asked)
		}
		if _, err = s.Post(ctx, bot.ChatPlace{Workspace: "1", Channel: "11"}, "k", hello); err != nil {
			t.Error(err)
		}
		c.at = c.at.Add(1500 * time.Millisecond)
		if _, err = s.Post(ctx, inChannel, "k", hello); err != nil {
			t.Error(err)
		}
	})
	t.Run("of all channels when it is global, but not of answers", func(t *testing.T) {
		s, st, _ := onStage(t)
		st.on("POST /channels/10/messages", answer{status: 429, body: `{"retry_after": 2, "global": true}`})
		st.on("PATCH /webhooks/100/tok/messages/@original", answer{status: 200, body: `{}`})
		_, err := s.Post(ctx, inChannel, "k", hello)
		limited(t, err)
		_, err = s.Post(ctx, bot.ChatPlace{Workspace: "1", Channel: "11"}, "k", hello)
		limited(t, err)
		if err := s.Answer(ctx, bot.ChatEvent{ID: "1", Answer: "tok"}, 0, hello); err != nil {
			t.Error(err)
		}
	})
	t.Run("before Discord has to refuse", func(t *testing.T) {
		s, st, c := onStage(t)
		st.on("POST /channels/10/messages", answer{status: 200, body: `{"id": "30"}`, header: map[string]string{
			"X-RateLimit-Limit": "5", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "4.5", "X-RateLimit-Bucket": "abc",
		}})
		if _, err := s.Post(ctx, inChannel, "k", hello); err != nil {
			t.Fatal(err)
		}
		_, err := s.Post(ctx, inChannel, "k", hello)
		if after := limited(t, err); after != 4500*time.Millisecond || len(st.asked) != 1 {
			t.Errorf("after %s", after)
		}
		c.at = c.at.Add(5 * time.Second)
		if _, err := s.Post(ctx, inChannel, "k", hello); err != nil {
			t.Error(err)
		}
	})
	t.Run("of everything when too much was refused", func(t *testing.T) {
		s, st, c := onStage(t)
		st.on("POST /channels/10/messages", refusal(403, 50001))
		for range maxInvalid {
			c.at = c.at.Add(30 * time.Millisecond)
			if _, err := s.Post(ctx, inChannel, "k", hello); actions.CodeOf(err) != actions.CodeForbidden {
				t.Fatal(err)
			}
		}
		_, err := s.Post(ctx, inChannel, "k", hello)
		limited(t, err)
		if len(st.asked) != maxInvalid {
			t.Errorf("asked %d times", len(st.asked))
		}
	})
	t.Run("of all once a second is full", func(t *testing.T) {
		s, st, _ := onStage(t)
		st.on("POST /channels/10/messages", answer{status: 200, body: `{"id": "30"}`})
		for range perSecond {
			if _, err := s.Post(ctx, inChannel, "k", hello); err != nil {
				t.Fatal(err)
			}
		}
		_, err := s.Post(ctx, inChannel, "k", hello)
		limited(t, err)
	})
}

func TestAnswersAreForOneAlone(t *testing.T) {
	ok := answer{status: 200, body: `{"id": "30"}`}
	direct := answer{status: 200, body: `{"id": "77"}`}
	mention := bot.ChatEvent{ID: "m1", Place: inChannel, User: "9"}
	tests := map[string]struct {
		event   bot.ChatEvent
		nth     int
		late    time.Duration
		answers map[string][]answer
		asked   string
		code    actions.Code
	}{
		"the first fills in what was deferred": {
			event: bot.ChatEvent{Answer: "tok"}, answers: map[string][]answer{"PATCH /webhooks/100/tok/messages/@original": {ok}}, asked: "PATCH /webhooks/100/tok/messages/@original",
		},
		"later ones follow it": {
			event: bot.ChatEvent{Answer: "tok"}, nth: 1, answers: map[string][]answer{"POST /webhooks/100/tok": {ok}}, asked: "POST /webhooks/100/tok",
		},
		"after a quarter of an hour they are direct messages": {
			event: bot.ChatEvent{Answer: "tok", User: "9"}, late: 16 * time.Minute,
			answers: map[string][]answer{"POST /users/@me/channels": {direct}, "POST /channels/77/messages": {ok}}, asked: "POST /users/@me/channels, POST /channels/77/messages",
		},
		"and where Discord takes the token no more": {
			event: bot.ChatEvent{Answer: "tok", User: "9"},
			answers: map[string][]answer{
				"PATCH /webhooks/100/tok/messages/@original": {refusal(401, 50027)}, "POST /users/@me/channels": {direct}, "POST /channels/77/messages": {ok},
			},
			asked: "PATCH /webhooks/100/tok/messages/@original, POST /users/@me/channels, POST /channels/77/messages",
		},
		"a mention's is a direct message": {
			event: mention, answers: map[string][]answer{"POST /users/@me/channels": {direct}, "POST /channels/77/messages": {ok}}, asked: "POST /users/@me/channels, POST /channels/77/messages",
		},
		"that cannot be delivered is told of where the mention stands": {
			event: mention, answers: map[string][]answer{"POST /users/@me/channels": {direct}, "POST /channels/77/messages": {refusal(403, 50007)}, "POST /channels/" + inChannel.Channel + "/messages": {ok}},
			asked: "POST /users/@me/channels, POST /channels/77/messages, POST /channels/" + inChannel.Channel + "/messages",
		},
		"and is an error where Berth may not write there": {
			event: mention, answers: map[string][]answer{"POST /users/@me/channels": {direct}, "POST /channels/77/messages": {refusal(403, 50007)}, "POST /channels/" + inChannel.Channel + "/messages": {refusal(403, 50013)}},
			asked: "POST /users/@me/channels, POST /channels/77/messages, POST /channels/" + inChannel.Channel + "/messages", code: actions.CodeForbidden,
		},
		"a late answer that cannot be delivered is told of nowhere": {
			event: bot.ChatEvent{Answer: "tok", Place: inChannel, User: "9"}, late: 16 * time.Minute,
			answers: map[string][]answer{"POST /users/@me/channels": {direct}, "POST /channels/77/messages": {refusal(403, 50007)}},
			asked:   "POST /users/@me/channels, POST /channels/77/messages", code: actions.CodeForbidden,
		},
		"what was said in direct messages is answered there": {
			event: bot.ChatEvent{Private: true, Place: bot.ChatPlace{Channel: "66"}, User: "9"}, answers: map[string][]answer{"POST /channels/66/messages": {ok}}, asked: "POST /channels/66/messages",
		},
		"a failure that may pass is tried again": {
			event:   bot.ChatEvent{Answer: "tok", User: "9"},
			answers: map[string][]answer{"PATCH /webhooks/100/tok/messages/@original": {{status: 500}}}, asked: "PATCH /webhooks/100/tok/messages/@original", code: actions.CodeUnavailable,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, st, c := onStage(t)
			for call, answers := range tt.answers {
				st.on(call, answers...)
			}
			tt.event.Until = c.at.Add(15 * time.Minute)
			c.at = c.at.Add(tt.late)
			err := s.Answer(context.Background(), tt.event, tt.nth, bot.ChatMessage{Text: "x", Call: []string{"discord:9"}})
			if actions.CodeOf(err) != tt.code || strings.Contains(fmt.Sprint(err), "tok/") {
				t.Errorf("%v", err)
			}
			if got := strings.Join(st.asked, ", "); got != tt.asked {
				t.Errorf("asked %s", got)
			}
			for i, call := range st.asked {
				byToken := strings.Contains(call, "webhooks")
				if byToken != (st.tokens[i] == "") {
					t.Errorf("%s with %q", call, st.tokens[i])
				}
				if strings.HasPrefix(call, "POST /webhooks") && !strings.Contains(st.bodies[i], `"flags":68`) {
					t.Errorf("%s is public: %s", call, st.bodies[i])
				}
				if public := call == "POST /channels/"+inChannel.Channel+"/messages"; public != strings.Contains(st.bodies[i], `"users"`) {
					t.Errorf("%s calls whom it should not, or not: %s", call, st.bodies[i])
				}
			}
		})
	}
}

func TestAnEditCallsNobodyAndLeavesNothingOfWhatStood(t *testing.T) {
	s, st, _ := onStage(t)
	st.on("PATCH /channels/20/messages/30", answer{status: 200, body: `{"id": "30"}`})
	err := s.Edit(context.Background(), bot.ChatSent{Place: inThread, ID: "30"}, bot.ChatMessage{Text: "x", Call: []string{"discord:9"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"embeds":[]`, `"components":[]`, `"attachments":[]`, `"allowed_mentions":{"parse":[],"replied_user":false}`} {
		if !strings.Contains(st.bodies[0], want) {
			t.Errorf("nothing of %s in %s", want, st.bodies[0])
		}
	}
}

func TestAFileGoesWithItsMessage(t *testing.T) {
	s, st, _ := onStage(t)
	st.on("POST /channels/10/messages", answer{status: 200, body: `{"id": "30"}`})
	m := bot.ChatMessage{Text: "x", File: &bot.ChatFile{Name: "a\"\r\nb.diff", Text: "+x\n"}}
	if _, err := s.Post(context.Background(), inChannel, "k", m); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`name="payload_json"`, `"attachments":[{"id":0,"filename":"a---b.diff"}]`, `name="files[0]"; filename="a---b.diff"`, "\r\n+x\n\r\n"} {
		if !strings.Contains(st.bodies[0], want) {
			t.Errorf("nothing of %s in %s", want, st.bodies[0])
		}
	}
}
