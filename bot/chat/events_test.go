package chat

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

var filterAll = approvals.Filter{Limit: 200}

func pending(r *approvals.Request) bool { return r.State == approvals.StatePending }

// Both what is delivered twice and what arrives at two replicas is one command.
func TestACommandIsOneWhereverItArrives(t *testing.T) {
	t.Parallel()
	rdb, slack := redistest.Client(t), newPlatform(bot.PlatformSlack)
	a, b := newReplica(t, rdb, "a", slack).run(t), newReplica(t, rdb, "b", slack).run(t)
	e := event("e1", "U1", "deploy shop/pr-7")
	var group sync.WaitGroup
	for i := range 20 {
		to := []*replica{a, b}[i%2]
		group.Go(func() {
			if err := to.Take(context.Background(), e); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	a.done(t, rdb, "e1")
	a.take(t, e)
	a.take(t, event("e2", "U1", "help"))
	a.done(t, rdb, "e2")
	if n := slack.count("e1"); n != 1 {
		t.Errorf("%d answers, want 1", n)
	}
	a.asked(t)
	if m := slack.answer(t, "e1"); m.Text != "On it: `deploy shop/pr-7`. [Its card](https://chat.example/m0) says how it goes." {
		t.Errorf("the answer says %q", m.Text)
	}
}

func TestAClickThatComesTwiceIsOneDecision(t *testing.T) {
	t.Parallel()
	rdb, slack := redistest.Client(t), newPlatform(bot.PlatformSlack)
	a, b := newReplica(t, rdb, "a", slack).run(t), newReplica(t, rdb, "b", slack).run(t)
	a.world.Govern(team(), twoPeople())
	a.take(t, event("e1", "U1", "deploy shop/pr-7"))
	a.done(t, rdb, "e1")
	r := a.world.Await(a.asked(t), pending)
	click := event("c1", "U2", "approve "+r.ID)
	click.Clicked, click.Digest, click.Message = true, r.Digest[:16], "m0"
	for range 3 {
		a.take(t, click)
		b.take(t, click)
	}
	again := click
	again.ID = "c2" // a double click that the platform counts as two
	b.take(t, again)
	a.done(t, rdb, "c1")
	a.done(t, rdb, "c2")
	r = a.world.Await(r.ID, func(r *approvals.Request) bool { return r.State.Ended() })
	if r.State != approvals.StateSucceeded || len(r.Decisions) != 1 || r.Decisions[0].Place.ID != "T1/C1" {
		t.Errorf("%s with the decisions %+v", r.State, r.Decisions)
	}
	if n := slack.count("c1"); n != 1 {
		t.Errorf("the click has %d answers", n)
	}
}

// A card that was made before the plan changed decides nothing any more.
func TestAClickOnAnOldCardDecidesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.world.Govern(team(), twoPeople())
	w.take(t, event("e1", "U1", "deploy shop/pr-7"))
	w.slack.answer(t, "e1")
	r := w.world.Await(w.asked(t), pending)
	click := event("c1", "U2", "approve "+r.ID)
	click.Clicked, click.Digest = true, "0123456789abcdef"
	w.take(t, click)
	if m := w.slack.answer(t, "c1"); m.Tone != bot.ChatBad && m.Tone != bot.ChatWarning || !strings.Contains(m.Text, "as it is now") {
		t.Errorf("answered %+v", m)
	}
	if r = w.world.Await(r.ID, func(*approvals.Request) bool { return true }); len(r.Decisions) != 0 {
		t.Errorf("it decided: %+v", r.Decisions)
	}
}

func TestWhoMayDoWhatWhere(t *testing.T) {
	t.Parallel()
	rules := func(at bot.ChatPlace) Rules {
		switch at.Channel {
		case "CSHOP":
			return Rules{Apps: []string{"shop"}}
		case "CLOOK":
			return Rules{Verbs: []string{bot.VerbStatus, bot.VerbList}}
		case "CGUEST":
			return Rules{Guests: []string{bot.RoleViewer}}
		default:
			return Rules{}
		}
	}
	w := newWorld(t, func(o *Options) { o.Rules = rules })
	tests := map[string]struct {
		user, channel, line string
		accepted            bool
		says                string
	}{
		"a channel of one app implies it":             {user: "U1", channel: "CSHOP", line: "deploy pr-1", accepted: true},
		"a channel can be for looking alone":          {user: "U1", channel: "CLOOK", line: "deploy shop/pr-2", says: "slack.channels"},
		"whom nobody knows is asked to link":          {user: "U9", channel: "C1", line: "deploy shop/pr-3", says: "link"},
		"a guest may do what the config says":         {user: "U9", channel: "CGUEST", line: "list", says: "environment"},
		"and no more than that":                       {user: "U9", channel: "CGUEST", line: "deploy shop/pr-4", says: "viewer"},
		"somebody whom the config names is no guest":  {user: "U1", channel: "CGUEST", line: "deploy shop/pr-5", accepted: true},
		"who may look may not deploy":                 {user: "U3", channel: "C1", line: "deploy shop/pr-6", says: "viewer"},
		"nothing typed is a question":                 {user: "U1", channel: "C1", line: " ", says: "deploy"},
		"what is mistyped is answered with what is":   {user: "U1", channel: "C1", line: "deplyo shop/pr-7", says: "deploy"},
		"who is unknown may ask how to be known":      {user: "U9", channel: "C1", line: "help link", says: "link"},
		"an app that is not there is told what there": {user: "U1", channel: "C1", line: "deploy shpo/pr-7", says: "shop"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := event(name, tt.user, tt.line)
			e.Place.Channel = tt.channel
			w.take(t, e)
			m := w.slack.answer(t, name)
			if (m.Tone == bot.ChatWorking) != tt.accepted || !strings.Contains(m.Text, tt.says) {
				t.Errorf("answered %q: %s", m.Tone, m.Text)
			}
		})
	}
}

// A platform that wants a pause gets it: nothing is lost, and nobody is told
// twice.
func TestAPlatformThatIsLimitedIsWrittenToLater(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"post", "answer"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			slack := newPlatform(bot.PlatformSlack)
			var mu sync.Mutex
			left := 3
			slack.fail = func(m string) error {
				mu.Lock()
				defer mu.Unlock()
				if m != method || left == 0 {
					return nil
				}
				left--
				return &bot.Limited{After: 300 * time.Millisecond}
			}
			w := newReplica(t, redistest.Client(t), "a", slack).run(t)
			w.take(t, event("e1", "U1", "deploy shop/pr-7"))
			w.done(t, w.rdb, "e1")
			if n := slack.count("e1"); n != 1 {
				t.Errorf("%d answers, want 1", n)
			}
			slack.until(t, "the card", func() bool { return len(slack.messages) > 0 })
			w.asked(t)
		})
	}
}

func TestWhoCannotBeReachedIsGivenUp(t *testing.T) {
	t.Parallel()
	slack := newPlatform(bot.PlatformSlack)
	slack.fail = func(method string) error {
		if method == "answer" {
			return actions.Errorf("slack.answer", actions.CodeNotFound, "There is no such account.")
		}
		return nil
	}
	w := newReplica(t, redistest.Client(t), "a", slack).run(t)
	w.take(t, event("e1", "U1", "deploy shop/pr-7"))
	w.done(t, w.rdb, "e1")
	w.asked(t)
}

// What the platform will never take is told in short.
func TestAnAnswerThatIsNotTakenIsToldInShort(t *testing.T) {
	t.Parallel()
	slack := newPlatform(bot.PlatformSlack)
	var once sync.Once
	slack.fail = func(method string) (err error) {
		if method == "answer" {
			once.Do(func() { err = actions.Errorf("slack.answer", actions.CodeInvalid, "invalid_blocks") })
		}
		return err
	}
	w := newReplica(t, redistest.Client(t), "a", slack).run(t)
	w.take(t, event("e1", "U1", "help"))
	if m := slack.answer(t, "e1"); !strings.Contains(m.Text, "terminal") {
		t.Errorf("answered %q", m.Text)
	}
}

// brokenService fails, until it is mended.
type brokenService struct {
	Commands
	mu  sync.Mutex
	err error
	n   int
}

func (s *brokenService) Execute(ctx context.Context, in bot.Input) (bot.Reply, error) {
	s.mu.Lock()
	s.n++
	err := s.err
	s.mu.Unlock()
	if err != nil {
		return bot.Reply{}, err
	}
	return s.Commands.Execute(ctx, in)
}

func (s *brokenService) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = nil
}

func TestWhoWaitsForLongIsToldSoOnce(t *testing.T) {
	t.Parallel()
	broken := &brokenService{err: &actions.Error{Code: actions.CodeUnavailable, Msg: "Redis did not answer.", Retry: true}}
	w := newWorld(t, func(o *Options) { broken.Commands, o.Service = o.Service, broken })
	e := event("e1", "U1", "deploy shop/pr-7")
	e.At = e.At.Add(-w.slowAfter + time.Second)
	w.take(t, e)
	w.slack.until(t, "word that it takes long", func() bool { return len(w.slack.answers) == 1 })
	if m := w.slack.answer(t, "e1"); m.Tone != bot.ChatWarning || !strings.Contains(m.Text, "goes on trying") {
		t.Errorf("told %+v", m)
	}
	broken.mend()
	w.done(t, w.rdb, "e1")
	w.slack.until(t, "the answer", func() bool { return len(w.slack.answers) == 2 && w.slack.answers[1].nth == 1 })
	w.asked(t)
}

func TestWhatCannotBeDoneIsToldToHaveFailed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err  error
		ago  time.Duration
		says string
	}{
		"a fault of ours":               {err: errors.New("boom: secret"), says: "its log says what"},
		"an outage that does not pass":  {err: &actions.Error{Code: actions.CodeUnavailable, Msg: "Redis did not answer.", Retry: true}, ago: time.Hour, says: "Redis did not answer"},
		"a fault in what makes answers": {err: &actions.Error{Code: actions.CodeInternal, Msg: "Nothing fits."}, says: "Nothing fits"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(o *Options) { o.Service = &brokenService{Commands: o.Service, err: tt.err} })
			e := event("e1", "U1", "deploy shop/pr-7")
			e.At, e.Until = e.At.Add(-tt.ago), e.Until.Add(-tt.ago)
			w.take(t, e)
			w.done(t, w.rdb, "e1")
			if m := w.slack.answer(t, "e1"); m.Tone != bot.ChatBad || !strings.Contains(m.Text, tt.says) || strings.Contains(m.Text, "secret") {
				t.Errorf("told %+v", m)
			}
		})
	}
}

// Where answers are taken is as good as a password for half an hour: Redis has it
// only as long as it is needed.
func TestTheAnswersAddressIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.take(t, event("e1", "U1", "deploy shop/pr-7"))
	w.done(t, w.rdb, "e1")
	ctx := context.Background()
	keys, err := w.rdb.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		dump, err := w.rdb.Dump(ctx, key).Result()
		if errors.Is(err, redis.Nil) {
			continue // cards are shown meanwhile, and what is due comes and goes
		}
		if err != nil || strings.Contains(dump, "hooks.example") {
			t.Errorf("%s has it: %v", key, err)
		}
	}
}

func TestTakeRefusesWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	w := newReplica(t, redistest.Client(t), "a", newPlatform(bot.PlatformSlack))
	tests := map[string]func(*bot.ChatEvent){
		"of no platform":         func(e *bot.ChatEvent) { e.Place.Platform = "mattermost" },
		"without an id":          func(e *bot.ChatEvent) { e.ID = "" },
		"with too long an id":    func(e *bot.ChatEvent) { e.ID = strings.Repeat("x", 201) },
		"of a kind that is none": func(e *bot.ChatEvent) { e.Kind = "dance" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			e := event("e1", "U1", "help")
			change(&e)
			if err := w.Take(context.Background(), e); actions.CodeOf(err) != actions.CodeInvalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzReadEvent(f *testing.F) {
	body, err := json.Marshal(event("e1", "U1", "deploy shop/pr-7"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("slack", "e1", string(body))
	f.Add("slack", "e1", `{"id":"e1","place":{"platform":"slack"},"links":[null]}`)
	f.Add("slack", "", `{}`)
	f.Fuzz(func(t *testing.T, platform, id, body string) {
		k, err := readEvent(platform, id, body)
		if err != nil {
			if actions.CodeOf(err) != actions.CodeInvalid {
				t.Errorf("code %s", actions.CodeOf(err))
			}
			return
		}
		again, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := readEvent(k.Place.Platform, k.ID, string(again)); err != nil || same.ID != k.ID || same.Line != k.Line || !same.At.Equal(k.At) {
			t.Errorf("%+v was read back as %+v: %v", k, same, err)
		}
	})
}

func FuzzReadLink(f *testing.F) {
	for _, address := range []string{
		"https://berth.example.org/b/environments/shop/pr-7", "https://BERTH.example.org/b/api/v1/runs/01jd/events", "https://berth.example.org/b/requests/01jd?x#y",
		"https://berth.example.org.evil.example/b/requests/01jd", "https://u:p@berth.example.org/b/requests/01jd", "%zz", "https://berth.example.org/b/environments/../..",
	} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		const public = "https://berth.example.org/b"
		l, ok := readLink(public, address)
		if !ok {
			return
		}
		if !strings.HasPrefix(strings.ToLower(address), public[:len("https://berth.example.org")]) {
			t.Errorf("%q is taken for ours", address)
		}
		if (l.env != actions.Name{}) == (l.request != "" || l.run != "") {
			t.Errorf("%q leads to %+v", address, l)
		}
	})
}
