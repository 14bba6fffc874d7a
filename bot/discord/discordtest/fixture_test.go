package discordtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// world is a Discord with a guild, two people, a channel, and a bot with an
// endpoint that answers as the test says.
type world struct {
	*Server
	t                                     *testing.T
	guild, channel, ana, ben, carl, admin string
	bot                                   *httptest.Server
	mu                                    sync.Mutex
	answer                                func(w http.ResponseWriter, in obj)
	got                                   []obj
	now                                   time.Time
}

const commandsJSON = `[{"name":"berth","description":"Environments","options":[
	{"type":1,"name":"deploy","description":"Deploy","options":[
		{"type":3,"name":"environment","description":"Which","required":true,"autocomplete":true},
		{"type":3,"name":"ref","description":"What","autocomplete":true},
		{"type":5,"name":"dry-run","description":"Only say"}]},
	{"type":1,"name":"approve","description":"Say yes","options":[
		{"type":3,"name":"request","description":"Which","required":true},
		{"type":3,"name":"reason","description":"Why","max_length":200}]},
	{"type":1,"name":"list","description":"List","options":null}]},
	{"name":"Details","type":3}]`

func newWorld(t *testing.T, opts Options) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 20, 15, 4, 0, 0, time.UTC)}
	if opts.Now == nil {
		opts.Now = func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now }
	}
	w.Server = Run(t, opts)
	w.guild = w.id(w.AddGuild(Guild{Name: "Acme"}))
	w.admin = w.id(w.AddRole(Role{Guild: w.guild, Name: "sre", Color: 0x2ecc71, Mentionable: true}))
	w.channel = w.id(w.AddChannel(Channel{Guild: w.guild, Name: "deploys", Topic: "What runs where"}))
	w.ana = w.id(w.AddUser(User{ID: "987", Name: "Ana", Guilds: []string{w.guild}, Roles: []string{w.admin}}))
	w.ben = w.id(w.AddUser(User{ID: "988", Name: "Ben", Guilds: []string{w.guild}}))
	w.carl = w.id(w.AddUser(User{ID: "989", Name: "Carl", NoDMs: true, Guilds: []string{w.guild}}))
	w.bot = httptest.NewServer(http.HandlerFunc(w.serveBot))
	t.Cleanup(w.bot.Close)
	return w
}

func (w *world) id(id string, err error) string {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) later(by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(by)
}

// listen registers commands and the endpoint.
func (w *world) listen() {
	w.t.Helper()
	w.ok(w.api("PUT", "applications/"+w.ApplicationID()+"/guilds/"+w.guild+"/commands", commandsJSON), 200)
	w.must(w.SetEndpoint(soon(w.t), w.bot.URL))
}

func (w *world) serveBot(out http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Error(err)
	}
	key, _ := hex.DecodeString(w.PublicKey())
	sig, _ := hex.DecodeString(r.Header.Get("X-Signature-Ed25519"))
	if !ed25519.Verify(key, append([]byte(r.Header.Get("X-Signature-Timestamp")), body...), sig) {
		out.WriteHeader(http.StatusUnauthorized)
		return
	}
	var in obj
	if err := json.Unmarshal(body, &in); err != nil {
		w.t.Error(err)
	}
	if in["type"] == 1.0 {
		reply(out, `{"type":1}`)
		return
	}
	w.mu.Lock()
	w.got = append(w.got, in)
	answer := w.answer
	w.mu.Unlock()
	answer(out, in)
}

func (w *world) answers(body string) {
	w.answersBy(func(out http.ResponseWriter, _ obj) { reply(out, body) })
}

func (w *world) answersBy(f func(http.ResponseWriter, obj)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

func (w *world) last() obj {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got[len(w.got)-1]
}

func reply(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, body)
}

type response struct {
	status int
	header http.Header
	raw    []byte
	body   obj
}

func (r response) code() int {
	n, _ := r.body["code"].(float64)
	return int(n)
}

func (w *world) api(method, path, body string) response {
	w.t.Helper()
	return w.do(method, path, "application/json", []byte(body), "Bot "+w.Token())
}

func (w *world) do(method, path, kind string, body []byte, token string) response {
	w.t.Helper()
	req, err := http.NewRequest(method, w.APIURL()+path, bytes.NewReader(body))
	w.must(err)
	req.Header.Set("User-Agent", "DiscordBot (https://example.org, 1)")
	if len(body) > 0 {
		req.Header.Set("Content-Type", kind)
	}
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	res, err := http.DefaultClient.Do(req)
	w.must(err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	w.must(err)
	out := response{status: res.StatusCode, header: res.Header, raw: raw}
	_ = json.Unmarshal(raw, &out.body)
	return out
}

func (w *world) ok(r response, status int) response {
	w.t.Helper()
	if r.status != status {
		w.t.Fatalf("got %d %s, want %d", r.status, r.raw, status)
	}
	return r
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
