package slack

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/slack/slacktest"
)

// town is a whole Slack, with two workspaces that have Berth, one that has not,
// and a shelf that all replicas of Berth store into.
type town struct {
	*slacktest.Server
	t     *testing.T
	shelf *shelf
	guess *guesser
	log   *locked

	hurried bool // its replicas have no more time than Slack gives
}

// newTown is a town in which the app is what its manifest makes it. Its Slack waits
// for a busy machine longer than Slack does, unless o says how long.
func newTown(t *testing.T, socket bool, o slacktest.Options) *town {
	t.Helper()
	if o.AckTimeout == 0 {
		o.AckTimeout = 2 * time.Minute
	}
	town := &town{Server: slacktest.Run(t, o), t: t, shelf: newShelf(), guess: &guesser{}, log: &locked{}}
	town.AddWorkspace(slacktest.Workspace{ID: "T1", Name: "Acme", Bot: "U0BOTA"})
	town.AddWorkspace(slacktest.Workspace{ID: "T2", Name: "Globex", Bot: "U0BOTB"})
	for _, u := range []slacktest.User{{ID: "U1", Name: "ana"}, {ID: "U2", Name: "ben"}, {ID: "U5", Team: "T2", Name: "eva"}, {ID: "U9", Team: "T9", Name: "zoe"}} {
		town.must(town.AddUser(u))
	}
	town.must(town.AddChannel(slacktest.Channel{ID: "C1", Name: "deploys", Members: []string{"U1", "U2", "U9"}}))
	town.must(town.AddChannel(slacktest.Channel{ID: "C2", Team: "T2", Name: "ops", Members: []string{"U5", "U1"}}))
	town.must(town.AddChannel(slacktest.Channel{ID: "C3", Name: "secret", Private: true, NoBot: true, Members: []string{"U1"}}))
	if err := town.Install(manifestJSON(t, "https://berth.example.org", socket)); err != nil {
		t.Fatal(err)
	}
	return town
}

func (w *town) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// replica starts a Berth, and returns it with what stops it.
func (w *town) replica(change ...func(*Options)) (*Surface, func()) {
	w.t.Helper()
	o := Options{
		BotToken: "xoxb-T1", Workspaces: map[string]string{"T2": "xoxb-T2"}, APIURL: w.APIURL(), PublicURL: "https://berth.example.org",
		Log: slog.New(slog.NewTextHandler(w.log, nil)),
	}
	if app := w.App(); app.Socket {
		o.AppToken = app.Token
	} else {
		o.SigningSecret = app.SigningSecret
	}
	for _, c := range change {
		c(&o)
	}
	s, err := New(o)
	w.must(err)
	s.Attach(w.shelf, w.guess)
	if !w.hurried {
		unhurried(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- s.Run(ctx) }()
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-over; err != nil {
				w.t.Error(err)
			}
		}
	}
	w.t.Cleanup(stop)
	if o.AppToken == "" {
		web := httptest.NewServer(s.Handler())
		w.t.Cleanup(web.Close)
		w.Connect(web.URL)
		w.must(w.Verify())
	}
	return s, stop
}

// connected has a replica that is connected, besides n-1 others.
func (w *town) connected(n int, change ...func(*Options)) (*Surface, func()) {
	w.t.Helper()
	s, stop := w.replica(change...)
	if w.App().Socket {
		w.await("Socket Mode is connected", func() bool { return w.Sockets() == n && connected(s.socket) })
	}
	return s, stop
}

// await waits until something in Slack is so.
func (w *town) await(what string, is func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	// What is seen in Berth changes after Slack does, by an instant.
	for ctx.Err() == nil {
		short, done := context.WithTimeout(ctx, 20*time.Millisecond)
		err := w.Until(short, is)
		done()
		if err == nil {
			return
		}
	}
	w.t.Fatalf("it never came to pass that %s; the log is\n%s", what, w.log)
}

// stored waits for the n-th event and returns the one whose line or kind is what.
func (w *town) stored(what string) bot.ChatEvent {
	w.t.Helper()
	var found bot.ChatEvent
	until(w.t, w.shelf.change, what+" is stored", func() bool {
		for _, e := range w.shelf.all() {
			if e.Line == what || e.Line == "" && string(e.Kind) == what {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// acked fails the test for what was not acknowledged.
func (w *town) acked(a slacktest.Ack, err error) slacktest.Ack {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	if !a.OK() {
		w.t.Errorf("it is acknowledged with %+v", a)
	}
	return a
}

// connected tells whether there is a connection now.
func connected(k *socket) bool { return standsNow(k) == nil }

// standsNow is why there is no connection now.
func standsNow(k *socket) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.newest != nil {
		return nil
	}
	return k.why
}
