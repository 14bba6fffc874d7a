package slack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/slack/slacktest"
)

// freeze has the store take nothing in until it is thawed. Until acked is called
// it does not even give a try up, whatever deadline that has: who waits for the
// store waits for ever.
func (w *town) freeze() (acked, thaw func()) {
	answered, release := make(chan struct{}), make(chan struct{})
	w.shelf.failing(func(ctx context.Context) error {
		select {
		case <-answered:
		case <-w.t.Context().Done():
		}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return func() { close(answered) }, sync.OnceFunc(func() { close(release) })
}

func TestAFrozenStoreKeepsNobodyWaiting(t *testing.T) {
	overBoth(t, func(t *testing.T, w *town, s *Surface) {
		sent, err := s.Post(context.Background(), bot.ChatPlace{Platform: "slack", Workspace: "T1", Channel: "C1"}, "k1", card)
		w.must(err)
		shown, _ := w.Message("C1", sent.ID)
		w.acked(w.Click("U2", shown, "Deny"))
		w.await("the window that asks why is open", func() bool { return w.View("U2") != nil })
		acked, thaw := w.freeze()
		var group sync.WaitGroup
		for n := range 20 {
			group.Go(func() { w.acked(w.Command("U1", "C1", fmt.Sprintf("status shop/pr-%d", n))) })
		}
		group.Go(func() { w.acked(w.Click("U1", shown, "Approve")) })
		group.Go(func() { w.acked(w.Submit(w.View("U2").ID, map[string]string{"Why not?": "late"})) })
		group.Wait()
		acked()
		if v, _ := json.Marshal(w.View("U2")); !strings.Contains(string(v), "does not answer") {
			t.Errorf("the window says %s", v)
		}
		w.await("everybody is told", func() bool { return len(w.Ephemerals("U1")) == 21 })
		for _, m := range w.Ephemerals("U1") {
			if !strings.Contains(m.Words, "goes on trying for a minute") {
				t.Errorf("told is %q", m.Words)
			}
		}
		thaw()
		w.shelf.failing(nil)
		until(t, w.shelf.change, "all of it is stored", func() bool { return len(w.shelf.all()) == 22 })
		if got := len(w.Ephemerals("U1")); got != 21 {
			t.Errorf("%d were told in the end", got)
		}
	}, func(w *town) { w.hurried = true })
}

func TestWhatIsFilledInAndGivenUpIsSaid(t *testing.T) {
	w := newWorld(t).running(t)
	w.shelf.failing(func(context.Context) error { return errDown })
	n := note{Team: "T1", Channel: "C1", Line: "deny 01jd", Answer: w.api.URL + "/answer/kept", Until: w.clock.now().Add(time.Minute * 30).Unix()}
	kept, err := n.text()
	if err != nil {
		t.Fatal(err)
	}
	got := w.post("/slack/interactions", submit(callbackReason, kept, `"reason":{"reason":{"value":"no"}}`, ""))
	if !strings.Contains(got.Body.String(), `"response_action":"update"`) || !strings.Contains(got.Body.String(), "goes on trying") {
		t.Errorf("the answer is %d %s", got.Code, got.Body)
	}
	w.clock.pass(61 * time.Second)
	until(t, w.api.change, "it is told", func() bool { return len(w.api.told()) == 1 })
	if told := w.api.told()[0]; !strings.Contains(told, "was not done") {
		t.Errorf("told is %s", told)
	}
	if len(w.shelf.all()) != 0 {
		t.Errorf("stored is %+v", w.shelf.all())
	}
}

func TestWhatIsHeldIsTriedOnceMoreWhenBerthStops(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- w.Run(ctx) }()
	w.shelf.failing(func(context.Context) error { return errDown })
	w.post("/slack/commands", w.command("list"))
	w.post("/slack/commands", w.command("help", "trigger_id", "7.7"))
	until(t, w.shelf.change, "both were tried", func() bool {
		w.shelf.mu.Lock()
		defer w.shelf.mu.Unlock()
		return w.shelf.takes >= 2
	})
	w.shelf.failing(func(context.Context) error { return nil })
	stop()
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if got := len(w.shelf.all()); got != 2 {
		t.Errorf("%d of 2 are stored", got)
	}
	w = newWorld(t)
	ctx, stop = context.WithCancel(context.Background())
	go func() { over <- w.Run(ctx) }()
	w.shelf.failing(func(context.Context) error { return errDown })
	w.post("/slack/commands", w.command("list"))
	stop()
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if told := w.api.told(); len(told) != 1 || !strings.Contains(told[0], "was not done") {
		t.Errorf("told is %q", told)
	}
	if got := w.post("/slack/commands", w.command("help", "trigger_id", "8.8")); !strings.Contains(got.Body.String(), "was not taken") {
		t.Errorf("what comes when nobody sees it through is answered with %s", got.Body)
	}
}

func TestABurstIsAcknowledgedAndHeldOnce(t *testing.T) {
	w := newWorld(t)
	const people, each = 20, 50
	var group sync.WaitGroup
	for p := range people {
		group.Go(func() {
			for n := range each {
				for range 2 {
					if got := w.post("/slack/commands", w.command("list", "user_id", fmt.Sprintf("U%d", p), "trigger_id", fmt.Sprint(n))); got.Code != http.StatusOK || got.Body.Len() != 0 {
						t.Errorf("the answer is %d %s", got.Code, got.Body)
					}
				}
			}
		})
	}
	group.Wait()
	if got := len(w.shelf.all()); got != people*each {
		t.Errorf("%d of %d are stored", got, people*each)
	}
}

// A reader that is never to be read shows that nothing is parsed, or even read,
// that need not be.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, http.ErrBodyNotAllowed
}

func TestWhatClaimsToBeTooLargeIsNotRead(t *testing.T) {
	town := newTown(t, false, slacktest.Options{})
	town.connected(1)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, town.App().EventsURL, untouched{t})
	town.must(err)
	r.ContentLength = 10 << 20
	r.Header.Set("Expect", "100-continue")
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: 10 * time.Second}}
	defer client.CloseIdleConnections()
	res, err := client.Do(r)
	town.must(err)
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("the answer is %d", res.StatusCode)
	}
}
