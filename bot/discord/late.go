package discord

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// lateMost is how many events are held in memory that could not be stored yet.
	// Their senders know that they are not; beyond that they are told so at once.
	lateMost = 1000
	// lateFor is how long storing an event is tried.
	lateFor = time.Minute
	// lateEvery is how far the tries are apart.
	lateEvery = time.Second
	// lateTell is how long telling somebody that nothing was done may take.
	lateTell = 10 * time.Second
)

// work is what goes on beside what asked for it. The zero value is ready.
type work struct {
	mu      sync.Mutex
	over    bool
	stopped chan struct{} // closed when the replica stops; nil until somebody waits for that
	group   sync.WaitGroup
	late    int // events that could not be stored yet
}

// begin does something in a goroutine of its own. It is false once the replica
// stops.
func (w *work) begin(do func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return false
	}
	w.group.Go(do)
	return true
}

// stopping is closed when the replica stops.
func (w *work) stopping() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped == nil {
		w.stopped = make(chan struct{})
	}
	return w.stopped
}

// stop has what goes on come to its end, and waits for it.
func (w *work) stop() {
	stopped := w.stopping()
	w.mu.Lock()
	if !w.over {
		w.over = true
		close(w.stopped)
	}
	w.mu.Unlock()
	<-stopped
	w.group.Wait()
}

// hold makes room for one more event that could not be stored. It is false when
// there is none.
func (w *work) hold() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.late >= lateMost {
		return false
	}
	w.late++
	return true
}

func (w *work) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late--
}

// keepTrying goes on storing an event that could not be stored because of why,
// and tells its sender when it never could. It is false when too many are held
// already.
func (s *Surface) keepTrying(ctx context.Context, e bot.ChatEvent, why error) bool {
	if !s.work.hold() {
		s.log.ErrorContext(ctx, "an event could not be stored, and too many wait already; its sender is told", "event", e.ID, "error", why)
		return false
	}
	ctx = context.WithoutCancel(ctx)
	begun := s.work.begin(func() {
		defer s.work.release()
		if err := s.storeLate(ctx, e); err != nil {
			s.log.ErrorContext(ctx, "an event was not stored in a minute; its sender is told", "event", e.ID, "error", err)
			s.tellLost(ctx, e)
		}
	})
	if !begun {
		s.work.release()
		return false
	}
	s.log.WarnContext(ctx, "an event could not be stored; it is tried for a minute", "event", e.ID, "error", why)
	return true
}

// storeLate tries until it is stored, lateFor is over or the replica stops.
func (s *Surface) storeLate(ctx context.Context, e bot.ChatEvent) error {
	over := time.NewTimer(s.patience)
	defer over.Stop()
	again := time.NewTicker(min(lateEvery, s.patience/4))
	defer again.Stop()
	for last := false; ; {
		select {
		case <-again.C:
		case <-s.work.stopping():
			last = true
		case <-over.C:
			last = true
		}
		within, cancel := context.WithTimeout(ctx, takeWithin)
		err := s.intake.Take(within, e)
		cancel()
		if err == nil || last || actions.CodeOf(err) == actions.CodeInvalid {
			return err
		}
	}
}

// tellLost says that an event was not done.
func (s *Surface) tellLost(ctx context.Context, e bot.ChatEvent) {
	// What was set may be a secret, so that the verb alone is repeated.
	verb, _, _ := strings.Cut(e.Line, " ")
	s.tell(ctx, e, noteLost, "Not done", "Berth's store did not answer for a minute, so nothing was done about "+bot.Code("/berth "+verb, 60)+
		". Please do it again later; should Berth answer here after all, it was done.")
}

// The numbers of what is said to whoever did an event before the engine has it,
// which counts its own answers from 0.
const (
	noteLate = -1
	noteLost = -2
)

// tell says something of Berth's store to whoever did e, without that store.
func (s *Surface) tell(ctx context.Context, e bot.ChatEvent, nth int, title, text string) {
	ctx, cancel := context.WithTimeout(ctx, lateTell)
	defer cancel()
	if err := s.Answer(ctx, e, nth, bot.ChatMessage{Tone: bot.ChatBad, Icon: "⚠️", Title: title, Text: text}); err != nil {
		s.log.ErrorContext(ctx, "somebody could not be told what became of what they asked for", "event", e.ID, "error", err)
	}
}
