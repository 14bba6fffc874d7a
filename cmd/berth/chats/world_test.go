package chats

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/chat"
	"github.com/berth-dev/berth/bot/discord"
	"github.com/berth-dev/berth/bot/discord/discordtest"
	"github.com/berth-dev/berth/bot/slack"
	"github.com/berth-dev/berth/bot/slack/slacktest"
)

// began is the time at which everything here happens.
var began = time.Date(2026, time.November, 21, 14, 30, 0, 0, time.UTC)

// ticking is a clock that goes on by a step each time that it is looked at, so
// that no two messages are of the same moment, and ids are the same each time.
func ticking(step time.Duration) func() time.Time {
	var mu sync.Mutex
	now := began
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(step)
		return now
	}
}

// Where cards are posted, and whom they call.
const (
	guild, channel, role = "100000000000000001", "100000000000000010", "100000000000000020"
	ana, ben             = "100000000000000031", "100000000000000032"
	team, slackChannel   = "T1", "C1"
)

// recorder is what was sent to a stand-in, as it was sent.
type recorder struct {
	mu    sync.Mutex
	calls []sent
}

// sent is one call. Its body is read: JSON, a form, or both with files.
type sent struct {
	Call string `json:"call"`
	Body any    `json:"body,omitempty"`
}

// RoundTrip notes a call and does it.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	var raw []byte
	if req.Body != nil {
		var err error
		if raw, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(raw))
	}
	body, err := read(req.Header.Get("Content-Type"), raw)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err)
	}
	r.mu.Lock()
	r.calls = append(r.calls, sent{req.Method + " " + req.URL.Path, body})
	r.mu.Unlock()
	return http.DefaultTransport.RoundTrip(req)
}

// take are the calls since it was asked last.
func (r *recorder) take() []sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

func read(kind string, raw []byte) (any, error) {
	media, params, _ := mime.ParseMediaType(kind)
	switch media {
	case "application/json":
		var v any
		return v, json.Unmarshal(raw, &v)
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(raw))
		if err != nil {
			return nil, err
		}
		v := map[string]any{}
		for name := range form {
			v[name] = piece(form.Get(name))
		}
		return v, nil
	case "multipart/form-data":
		v := map[string]any{}
		parts := multipart.NewReader(bytes.NewReader(raw), params["boundary"])
		for {
			p, err := parts.NextPart()
			if errors.Is(err, io.EOF) {
				return v, nil
			}
			if err != nil {
				return nil, err
			}
			content, err := io.ReadAll(p)
			if err != nil {
				return nil, err
			}
			v[p.FormName()] = piece(string(content))
		}
	}
	return piece(string(raw)), nil
}

// piece is JSON where it is some, and text otherwise.
func piece(s string) any {
	var v any
	if strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") {
		if json.Unmarshal([]byte(s), &v) == nil {
			return v
		}
	}
	return s
}

// stand is a platform with its stand-in.
type stand struct {
	platform chat.Platform
	at       bot.ChatPlace
	sent     *recorder
	url      string
	odd      func() []string
	page     func(s bot.ChatSent) string // the address where a message is drawn alone
	// called are the people and groups of cards as they are called here, where the
	// stand-in wants other names.
	called map[string]string
	// typed has ana type a command, and returns it as it came in.
	typed func(line string) bot.ChatEvent
	// alone counts what ana alone sees.
	alone func() int
}

// taken is what came in.
type taken chan bot.ChatEvent

func (in taken) Take(_ context.Context, e bot.ChatEvent) error {
	in <- e
	return nil
}

// onSlack starts a Slack. Its clock is a real one if it is live.
func onSlack(t *testing.T, live bool) *stand {
	t.Helper()
	now := time.Now
	if !live {
		now = ticking(time.Millisecond)
	}
	s := slacktest.New(slacktest.Options{Now: now})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	w := s.AddWorkspace(slacktest.Workspace{ID: team, Name: "Acme"})
	for id, name := range map[string]string{"U1": "ana", "U2": "ben"} {
		must(t, s.AddUser(slacktest.User{ID: id, Name: name}))
	}
	must(t, s.AddChannel(slacktest.Channel{ID: slackChannel, Name: "deploys"}))
	must(t, s.AddGroup(slacktest.Group{ID: "S0DBA", Handle: "dba", Members: []string{"U2"}}))
	r := &recorder{}
	platform, err := slack.New(slack.Options{
		SigningSecret: slacktest.SigningSecret, BotToken: w.BotToken, APIURL: s.APIURL(), PublicURL: "https://berth.example.org", HTTP: &http.Client{Transport: r},
	})
	must(t, err)
	in := make(taken, 1)
	platform.Attach(in, nil)
	web := httptest.NewServer(platform.Handler())
	t.Cleanup(web.Close)
	s.Connect(web.URL)
	return &stand{
		typed: func(line string) bot.ChatEvent {
			_, err := s.Command("U1", slackChannel, line)
			must(t, err)
			return <-in
		},
		alone:    func() int { return len(s.Ephemerals("U1")) },
		platform: platform, at: bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: team, Channel: slackChannel}, sent: r, url: s.URL(),
		odd: func() []string {
			var odd []string
			for _, o := range s.Odd() {
				odd = append(odd, o.String())
			}
			return odd
		},
		page: func(m bot.ChatSent) string {
			return s.URL() + "/page/message/" + m.Place.Channel + "/" + m.ID + "?bare=1"
		},
	}
}

// onDiscord starts a Discord. Its clock is a real one if it is live.
func onDiscord(t *testing.T, live bool) *stand {
	t.Helper()
	theirs, ours := time.Now, time.Now
	if !live {
		// So much time passes for Berth that no call has to wait for another.
		theirs, ours = ticking(time.Millisecond), ticking(10*time.Second)
	}
	s := discordtest.New(discordtest.Options{Now: theirs, ApplicationID: "100000000000000099"})
	must(t, s.Start())
	t.Cleanup(s.Close)
	_, err := s.AddGuild(discordtest.Guild{ID: guild, Name: "Acme"})
	must(t, err)
	_, err = s.AddRole(discordtest.Role{ID: role, Guild: guild, Name: "db", Color: 0x3498db, Mentionable: true})
	must(t, err)
	for id, name := range map[string]string{ana: "ana", ben: "ben"} {
		_, err = s.AddUser(discordtest.User{ID: id, Name: name, Guilds: []string{guild}})
		must(t, err)
	}
	_, err = s.AddChannel(discordtest.Channel{ID: channel, Guild: guild, Name: "deploys"})
	must(t, err)
	r := &recorder{}
	platform, err := discord.New(discord.Options{
		ApplicationID: "100000000000000099", PublicKey: s.PublicKey(), BotToken: s.Token(), APIURL: s.APIURL(),
		PublicURL: "https://berth.example.org", HTTP: &http.Client{Transport: r}, Now: ours,
		Verbs: []discord.Verb{{Name: "status", Summary: "how an environment is", Arguments: []discord.Option{{Name: "target", Summary: "the environment"}}}},
	})
	must(t, err)
	in := make(taken, 1)
	platform.Attach(in, nil)
	web := httptest.NewServer(platform.Handler())
	t.Cleanup(web.Close)
	if live {
		_, err = platform.Register(t.Context(), []string{guild}, false)
		must(t, err)
		must(t, s.SetEndpoint(t.Context(), web.URL+"/discord/interactions"))
	}
	return &stand{
		typed: func(line string) bot.ChatEvent {
			_, err := s.Command(ana, channel, "/berth "+line)
			must(t, err)
			return <-in
		},
		alone:    func() int { return len(s.Ephemerals(ana)) },
		called:   map[string]string{"discord:987": "discord:" + ben, "discord-role:81/99": "discord-role:" + guild + "/" + role},
		platform: platform, at: bot.ChatPlace{Platform: bot.PlatformDiscord, Workspace: guild, Channel: channel}, sent: r, url: s.URL(),
		odd: s.Odd,
		page: func(m bot.ChatSent) string {
			return s.URL() + "/page/message/" + m.Place.Channel + "/" + m.ID + "?bare=1"
		},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// post makes a message and tells what was sent for it.
func (s *stand) post(t *testing.T, key string, m bot.ChatMessage) (bot.ChatSent, []sent) {
	t.Helper()
	s.sent.take()
	m.Call = slices.Clone(m.Call)
	for i, who := range m.Call {
		m.Call[i] = cmp.Or(s.called[who], who)
	}
	made, err := s.platform.Post(context.Background(), s.at, key, m)
	if err != nil {
		t.Fatalf("post: %v", err)
	}
	return made, s.sent.take()
}
