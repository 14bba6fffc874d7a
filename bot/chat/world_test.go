package chat

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

// said is a message of the platform.
type said struct {
	place bot.ChatPlace
	key   string
	m     bot.ChatMessage
	edits int
}

// answered is an answer to somebody alone.
type answered struct {
	event string
	nth   int
	m     bot.ChatMessage
}

// platform is a chat platform that keeps what it is told. It has no sooner
// answered than it has done what it was asked.
type platform struct {
	name   string
	limits bot.ChatLimits
	// fail fails a call before anything is done; method is "post", "edit", "find",
	// "answer", "page" or "unfurl".
	fail func(method string) error

	mu       sync.Mutex
	messages []*said
	answers  []answered
	pages    map[string]bot.ChatPage
	unfurled map[string]bot.ChatMessage
	changed  chan struct{} // closed, and made anew, with each change
}

func newPlatform(name string) *platform {
	return &platform{
		name: name, limits: bot.ChatLimits{Posts: 1000, Edits: 1000, Window: time.Second},
		pages: map[string]bot.ChatPage{}, changed: make(chan struct{}),
	}
}

func (p *platform) Name() string           { return p.name }
func (p *platform) Limits() bot.ChatLimits { return p.limits }

// call does change, unless the call is to fail.
func (p *platform) call(method string, change func()) error {
	if p.fail != nil {
		if err := p.fail(method); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

func (p *platform) Post(_ context.Context, at bot.ChatPlace, key string, m bot.ChatMessage) (sent bot.ChatSent, err error) {
	err = p.call("post", func() {
		p.messages = append(p.messages, &said{place: at, key: key, m: m})
		sent = p.sent(len(p.messages) - 1)
	})
	return sent, err
}

func (p *platform) sent(i int) bot.ChatSent {
	id := fmt.Sprint("m", i)
	at := p.messages[i].place
	if at.Channel == "" {
		at.Channel = "D" + at.User
	}
	return bot.ChatSent{Place: at, ID: id, URL: "https://chat.example/" + id}
}

func (p *platform) Find(_ context.Context, at bot.ChatPlace, key string, _ time.Time) (sent bot.ChatSent, err error) {
	err = p.call("find", func() {
		for i, m := range p.messages {
			if m.key == key && m.place == at {
				sent = p.sent(i)
			}
		}
	})
	return sent, err
}

func (p *platform) Edit(_ context.Context, sent bot.ChatSent, m bot.ChatMessage) error {
	return p.call("edit", func() {
		for i, was := range p.messages {
			if sent.ID == fmt.Sprint("m", i) {
				was.m = m
				was.edits++
			}
		}
	})
}

func (p *platform) Answer(_ context.Context, e bot.ChatEvent, nth int, m bot.ChatMessage) error {
	return p.call("answer", func() { p.answers = append(p.answers, answered{e.ID, nth, m}) })
}

func (p *platform) Page(_ context.Context, workspace, user string, page bot.ChatPage) error {
	return p.call("page", func() { p.pages[workspace+"/"+user] = page })
}

func (p *platform) Unfurl(_ context.Context, _ bot.ChatEvent, found map[string]bot.ChatMessage) error {
	return p.call("unfurl", func() { p.unfurled = found })
}

// until waits for the platform to be as wanted; is is called under its lock.
func (p *platform) until(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	timeout := time.After(2 * time.Minute)
	for {
		p.mu.Lock()
		ok, changed := is(), p.changed
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			tb.Fatalf("%s did not come; the answers are %+v", what, p.answers)
		}
	}
}

// answer waits for an answer to an event and returns the last one.
func (p *platform) answer(tb testing.TB, event string) bot.ChatMessage {
	tb.Helper()
	var found bot.ChatMessage
	p.until(tb, "an answer to "+event, func() bool {
		for _, a := range p.answers {
			if a.event == event {
				found = a.m
				return true
			}
		}
		return false
	})
	return found
}

// count is how many answers an event got.
func (p *platform) count(event string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.answers {
		if a.event == event {
			n++
		}
	}
	return n
}

// team is whom the config names.
func team() []bottest.Actor {
	return []bottest.Actor{
		{Name: "ana", Roles: []string{"deployer"}, Identities: []string{"slack:U1", "discord:1", "github:ana"}},
		{Name: "ben", Roles: []string{"sre"}, Identities: []string{"slack:U2", "discord:2"}},
		{Name: "vic", Roles: []string{bot.RoleViewer}, Identities: []string{"slack:U3"}},
	}
}

// twoPeople is a rule that somebody who is sre must agree, besides whoever asks.
func twoPeople() bottest.Rule {
	return bottest.Rule{Name: "sre agrees", Approve: &bottest.Approve{NotRequester: true, Needs: []bottest.Need{{From: []string{"role:sre"}}}}}
}

// replica is one process of Berth's chat.
type replica struct {
	*Surface
	world *bottest.World
	slack *platform
	stop  func() // and wait until it has
}

// newReplica makes a process on a Redis; nothing of it runs yet.
func newReplica(tb testing.TB, rdb redis.UniversalClient, name string, slack *platform, change ...func(*Options)) *replica {
	tb.Helper()
	w := bottest.New(tb, rdb)
	w.People.Reload(team(), nil)
	o := Options{
		Platforms: []Platform{slack}, Redis: rdb, Service: w.Service, Store: w.Store, Requests: w.Requests, Catalog: w.Catalog, People: w.People,
		PublicURL: "https://berth.example.org", Replica: name, Log: slog.New(slog.NewTextHandler(testLog{tb}, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	s, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	s.slowAfter = 12 * time.Hour // a busy machine earns nobody a word that it takes long
	return &replica{Surface: s, world: w, slack: slack}
}

// testLog writes a log to the test's, as long as that goes on.
type testLog struct{ tb testing.TB }

func (l testLog) Write(line []byte) (int, error) {
	if l.tb.Context().Err() == nil {
		l.tb.Log(strings.TrimSpace(string(line)))
	}
	return len(line), nil
}

// run lets a process run until the test ends.
func (r *replica) run(tb testing.TB) *replica {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := r.Run(ctx); err != nil {
			tb.Error(err)
		}
	})
	r.stop = func() { cancel(); group.Wait() }
	tb.Cleanup(r.stop)
	return r
}

// newWorld is one process that runs.
func newWorld(tb testing.TB, change ...func(*Options)) *replica {
	tb.Helper()
	return newReplica(tb, redistest.Client(tb), "a", newPlatform(bot.PlatformSlack), change...).run(tb)
}

// event is a command that somebody typed in a channel.
func event(id, user, line string) bot.ChatEvent {
	return bot.ChatEvent{
		ID: id, Kind: bot.ChatCommand, Place: bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: "T1", Channel: "C1"},
		Identity: "slack:" + user, User: user, Name: "name of " + user, Line: line, Answer: "https://hooks.example/secret", Until: time.Now().Add(30 * time.Minute), At: time.Now(),
	}
}

func (r *replica) take(tb testing.TB, e bot.ChatEvent) {
	tb.Helper()
	if err := r.Take(context.Background(), e); err != nil {
		tb.Fatal(err)
	}
}

// done waits until an event is forgotten but for its mark.
func (r *replica) done(tb testing.TB, rdb redis.Cmdable, id string) {
	tb.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(2 * time.Millisecond) {
		if text, err := rdb.Get(context.Background(), keyEvent(bot.PlatformSlack, id)).Result(); err == nil && text == "" {
			return
		}
		if time.Now().After(end) {
			tb.Fatalf("event %s is not done", id)
		}
	}
}

// asked is the only request that there is.
func (r *replica) asked(tb testing.TB) string {
	tb.Helper()
	all, _, err := r.world.Requests.List(context.Background(), filterAll)
	if err != nil || len(all) != 1 {
		tb.Fatalf("%d requests, want 1: %v", len(all), err)
	}
	return all[0].ID
}

var pr7 = actions.Name{App: "shop", Env: "pr-7"}
