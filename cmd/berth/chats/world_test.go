package chats

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
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
var began = time.Date(2026, time.November, 20, 12, 0, 0, 0, time.UTC)

// ticking is a clock that goes on by a millisecond each time that it is looked at, so
// that no two messages are of the same moment.
func ticking() func() time.Time {
	var mu sync.Mutex
	now := began
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Millisecond)
		return now
	}
}

// The people whom cards call, and where they are.
const (
	guild, channel, role = "100000000000000001", "100000000000000010", "100000000000000020"
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
			if err == io.EOF {
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
	// event is something that somebody did, which can be answered to them alone.
	page func(s bot.ChatSent) string // the address where a message is drawn alone
}

func onSlack(t *testing.T) *stand {
	t.Helper()
	s := slacktest.New(slacktest.Options{Now: ticking()})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	w := s.AddWorkspace(slacktest.Workspace{ID: team, Name: "Acme"})
	for id, name := range map[string]string{"U1": "ana", "U2": "ben", "U0ANA": "ana.k"} {
		must(t, s.AddUser(slacktest.User{ID: id, Name: name}))
	}
	must(t, s.AddChannel(slacktest.Channel{ID: slackChannel, Name: "deploys"}))
	must(t, s.AddGroup(slacktest.Group{ID: "S1", Handle: "db-team", Members: []string{"U2"}}))
	r := &recorder{}
	platform, err := slack.New(slack.Options{
		SigningSecret: slacktest.SigningSecret, BotToken: w.BotToken, APIURL: s.APIURL(), PublicURL: "https://berth.example.org", HTTP: &http.Client{Transport: r},
	})
	must(t, err)
	return &stand{
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

func onDiscord(t *testing.T) *stand {
	t.Helper()
	s := discordtest.New(discordtest.Options{Now: ticking(), ApplicationID: "100000000000000099"})
	must(t, s.Start())
	t.Cleanup(s.Close)
	_, err := s.AddGuild(discordtest.Guild{ID: guild, Name: "Acme"})
	must(t, err)
	_, err = s.AddRole(discordtest.Role{ID: role, Guild: guild, Name: "db", Color: 0x3498db, Mentionable: true})
	must(t, err)
	_, err = s.AddUser(discordtest.User{ID: "100000000000000031", Name: "ana", Guilds: []string{guild}})
	must(t, err)
	_, err = s.AddChannel(discordtest.Channel{ID: channel, Guild: guild, Name: "deploys"})
	must(t, err)
	r := &recorder{}
	platform, err := discord.New(discord.Options{
		ApplicationID: "100000000000000099", PublicKey: strings.Repeat("ab", 32), BotToken: s.Token(), APIURL: s.APIURL(),
		PublicURL: "https://berth.example.org", HTTP: &http.Client{Transport: r}, Now: ticking10(),
	})
	must(t, err)
	return &stand{
		platform: platform, at: bot.ChatPlace{Platform: bot.PlatformDiscord, Workspace: guild, Channel: channel}, sent: r, url: s.URL(),
		odd:  s.Odd,
		page: func(m bot.ChatSent) string { return s.URL() + "/page/message/" + m.ID + "?bare=1" },
	}
}

// ticking10 is a clock on which ten seconds pass with each look, so that no call
// has to wait for another.
func ticking10() func() time.Time {
	var mu sync.Mutex
	now := began
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(10 * time.Second)
		return now
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
	made, err := s.platform.Post(context.Background(), s.at, key, m)
	if err != nil {
		t.Fatalf("post: %v", err)
	}
	return made, s.sent.take()
}
