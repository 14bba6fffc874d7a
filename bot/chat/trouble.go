package chat

import (
	"context"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// slowAfter is how long somebody waits before they are told that it takes longer.
	slowAfter = 10 * time.Second
	// slowGrace is how long a try has before they are, who waited longer already.
	slowGrace = 2 * time.Second
	// giveUpAfter is how long what cannot be done is tried, or until the platform
	// takes no more answers to it if that is later.
	giveUpAfter = 15 * time.Minute
	// maxFaults is how often what fails of something that is no outage is tried.
	maxFaults = 4
)

// trouble is what this process knows of an event that it could not do yet.
type trouble struct {
	mu      sync.Mutex
	began   time.Time // when somebody began to wait
	answers int       // that were given
	slow    bool      // they were told that it takes long
	ended   bool      // of this try
	told    bool      // they have the last answer
	faults  int
	active  int
}

// troubles are those of this process, by event. Another that goes on with an event
// knows nothing of them, and at worst tells once more that it takes long.
type troubles struct {
	mu sync.Mutex
	m  map[string]*trouble
}

// begin is one try of an event, which done ends; failed keeps what is known for
// the next.
func (ts *troubles) begin(platform, id string, began time.Time) (t *trouble, done func(failed bool)) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	key := platform + ":" + id
	if ts.m == nil {
		ts.m = map[string]*trouble{}
	}
	if t = ts.m[key]; t == nil {
		t = &trouble{began: began}
		ts.m[key] = t
		ts.prune(began)
	}
	t.active++
	return t, func(failed bool) {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		if t.active--; !failed && t.active == 0 && ts.m[key] == t {
			delete(ts.m, key)
		}
	}
}

// prune forgets events that another process has done.
func (ts *troubles) prune(now time.Time) {
	const many = 10_000
	if len(ts.m)%many != 0 {
		return
	}
	for key, t := range ts.m {
		if t.active == 0 && now.Sub(t.began) > time.Hour {
			delete(ts.m, key)
		}
	}
}

// began is when whoever did e began to wait: when it was done, as far as the
// platform's clock can be believed.
func (s *Surface) began(e bot.ChatEvent) time.Time {
	now := s.now()
	if e.At.After(now) || now.Sub(e.At) > rememberEvent {
		return now
	}
	return e.At
}

// tellWhenSlow tells whoever waits that it takes longer, should it. What it
// returns ends that.
func (s *Surface) tellWhenSlow(ctx context.Context, e bot.ChatEvent, t *trouble) (stop func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = false
	if t.slow {
		return func() {}
	}
	timer := time.AfterFunc(max(slowGrace, s.slowAfter-s.now().Sub(t.began)), func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if !t.ended {
			s.tellSlow(ctx, e, t)
		}
	})
	return func() {
		timer.Stop()
		t.mu.Lock()
		t.ended = true
		t.mu.Unlock()
	}
}

// tellSlow tells, once, that it takes longer. Who calls it holds t.
func (s *Surface) tellSlow(ctx context.Context, e bot.ChatEvent, t *trouble) {
	if t.slow {
		return
	}
	t.slow = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*callTimeout)
	defer cancel()
	if err := s.answer(ctx, e, t.answers, bot.ChatMessage{
		Tone: bot.ChatWarning, Icon: "⏳",
		Text: "This takes longer than it should: Berth cannot reach its store, or something else that it needs, just now. It has what you asked for and goes on trying; there is no need to ask again.",
	}); err != nil {
		s.log.WarnContext(ctx, "somebody could not be told that an answer takes long", "platform", e.Place.Platform, "event_id", e.ID, "error", err)
		return
	}
	t.answers++
}

// tell gives the answer. Whom the platform does not let Berth reach cannot be
// told, which ends it too.
func (s *Surface) tell(ctx context.Context, e bot.ChatEvent, t *trouble, m bot.ChatMessage) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	err := s.answer(ctx, e, t.answers, m)
	if err != nil && !passing(err) {
		s.log.WarnContext(ctx, "an answer reaches nobody", "platform", e.Place.Platform, "event_id", e.ID, "identity", e.Identity, "error", err)
		err = nil
	}
	if err == nil {
		t.answers++
		t.told = true
	}
	return err
}

func (t *trouble) isTold() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.told
}

// late tells whether an event is tried no more.
func (s *Surface) late(e bot.ChatEvent, t *trouble) bool {
	return s.now().After(t.began.Add(giveUpAfter)) && s.now().After(e.Until)
}

// failed tells what becomes of a try that failed: it is err as long as it is tried
// again, and nil once whoever waits was told that it is not.
func (s *Surface) failed(ctx context.Context, e bot.ChatEvent, t *trouble, err error) error {
	if !passing(err) {
		t.mu.Lock()
		t.faults++
		faults := t.faults
		t.mu.Unlock()
		if faults < maxFaults {
			return err
		}
	} else if !s.late(e, t) {
		if s.now().Sub(t.began) >= s.slowAfter {
			t.mu.Lock()
			s.tellSlow(ctx, e, t)
			t.mu.Unlock()
		}
		return err
	}
	s.log.ErrorContext(ctx, "a command could not be done, and is tried no more", "platform", e.Place.Platform, "event_id", e.ID, "identity", e.Identity, "error", err)
	if err := s.tell(context.WithoutCancel(ctx), e, t, bot.ChatMessage{
		Tone: bot.ChatBad, Icon: "⛔",
		Text: "Berth tried this for a while and could not bring it to its end: " + bot.Escape(actions.Message(err), 500) +
			" It is tried no more. `/berth status` or `/berth list` shows whether something came of it; then ask again.",
	}); err != nil {
		return err
	}
	return s.finish(ctx, e.Place.Platform, e.ID)
}
