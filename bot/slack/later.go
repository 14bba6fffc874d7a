package slack

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-dev/berth/bot"
)

const (
	// maxHeld is how many events wait in memory for a store that does not answer.
	// What comes on top is refused, in words.
	maxHeld = 1000
	// holdFor is how long they are tried.
	holdFor = time.Minute
	// takeWithin is how long one try to store an event may take.
	takeWithin = 1500 * time.Millisecond
	// tellWithin is how long it may take to tell somebody what became of an event.
	tellWithin = 10 * time.Second
	// patience is how long Slack waits for its acknowledgement at most. Slack itself
	// gives 3 s; a second leaves room for the way there and back.
	// Source: https://docs.slack.dev/interactivity/handling-user-interaction/#acknowledgment_response
	patience = 800 * time.Millisecond
)

// arrival is an event with whose account did it, as Slack says: what the account
// is called may not be known yet.
type arrival struct {
	bot.ChatEvent
	team string // the account's own workspace
	// teams are those that the place may be in, while nobody knows which; unplaced
	// tells that nobody does.
	teams    []string
	unplaced bool
	// placed is set once Slack has said whose the workspace and the account are:
	// what goes wrong after that is the store's.
	placed *atomic.Bool
}

// taken is what became of an arrival by the time that Slack must be answered.
type taken int

const (
	stored taken = iota
	held         // it is tried on, and whoever did it is told if it fails
	unheld       // there is nothing that could be done
)

// later tries on what could not be stored at once.
type later struct {
	s     *Surface
	slots chan struct{}
	queue chan kept

	mu   sync.Mutex
	over bool // nobody looks at the queue any more
}

// kept is an arrival that waits. pending is the try that is under way, if one
// is.
type kept struct {
	arrival
	pending <-chan error
	until   time.Time
	tell    bool // at once, that it takes longer
}

func newLater(s *Surface) *later {
	return &later{s: s, slots: make(chan struct{}, maxHeld), queue: make(chan kept, maxHeld)}
}

// take stores a, waiting for no longer than the deadline of ctx. What cannot be
// stored by then is held when hold says so, and tell has whoever did it told
// that, for events whose acknowledgement nobody reads.
func (s *Surface) take(ctx context.Context, a *arrival, hold, tell bool) taken {
	a.placed = new(atomic.Bool)
	mine := *a
	result := make(chan error, 1)
	go func() {
		// It goes on when Slack has its answer: stopping it would not undo it.
		try, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.takeWithin)
		defer cancel()
		result <- s.store(try, mine)
	}()
	pending := (<-chan error)(result)
	select {
	case err := <-result:
		if err == nil {
			s.failing.Store(false)
			return stored
		}
		pending = nil
		if !s.failing.Swap(true) {
			s.log.WarnContext(ctx, "what somebody did in Slack could not be stored at once", "event", a.ID, "held", hold, "error", err)
		}
	case <-ctx.Done():
	}
	if !hold {
		return unheld
	}
	if !s.later.hold(kept{arrival: mine, pending: pending, until: s.now().Add(holdFor), tell: tell}) {
		return unheld
	}
	return held
}

// store hands a to the intake under its account's name.
func (s *Surface) store(ctx context.Context, a arrival) error {
	if a.unplaced {
		team, _, err := s.workspaces.among(ctx, a.teams...)
		if err != nil {
			return err
		}
		a.Place.Workspace = team
	}
	identity, err := s.workspaces.identity(ctx, a.Place.Workspace, a.team, a.User)
	if err != nil {
		return err
	}
	a.Identity = identity
	a.placed.Store(true)
	return s.intake.Take(ctx, a.ChatEvent)
}

// hold takes k in, unless there is no room or run has ended.
func (l *later) hold(k kept) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	select {
	case l.slots <- struct{}{}:
	default:
		return false
	}
	l.queue <- k // there is room for all that have a slot
	return true
}

// run sees through what is held, until ctx ends; then each is tried once more,
// and told if that fails.
func (l *later) run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		select {
		case <-ctx.Done():
			l.mu.Lock()
			l.over = true
			l.mu.Unlock()
			for {
				select {
				case k := <-l.queue:
					group.Go(func() { l.see(ctx, k) })
				default:
					return
				}
			}
		case k := <-l.queue:
			group.Go(func() { l.see(ctx, k) })
		}
	}
}

// see tries k until it is stored or its time is over.
func (l *later) see(ctx context.Context, k kept) {
	defer func() { <-l.slots }()
	work := context.WithoutCancel(ctx)
	if k.tell {
		l.s.tell(work, k.arrival, k.text(waitingText))
	}
	for wait := time.Second; ; wait = min(2*wait, 8*time.Second) {
		if l.try(work, &k) {
			return
		}
		left := k.until.Sub(l.s.now())
		if left <= 0 {
			break
		}
		if !pause(ctx, min(wait, left)) {
			if l.try(work, &k) {
				return
			}
			break
		}
	}
	l.s.log.ErrorContext(ctx, "what somebody did in Slack could not be stored, and is given up", "event", k.ID, "user", k.User)
	l.s.tell(work, k.arrival, k.text(givenUpText))
}

// try waits for the try that is under way, or makes another.
func (l *later) try(ctx context.Context, k *kept) bool {
	if k.pending != nil {
		err := <-k.pending // within takeWithin
		k.pending = nil
		return err == nil
	}
	try, cancel := context.WithTimeout(ctx, l.s.takeWithin)
	defer cancel()
	return l.s.store(try, k.arrival) == nil
}

// lacking is what people read, by what does not answer: Berth's store, or Slack
// when it is asked whose the workspace and the account are. That something was
// not done is said as far as it can be seen: a try at the store whose answer was
// lost may have counted.
type lacking struct{ store, slack string }

var (
	waitingText = lacking{
		store: "Berth's store does not answer at the moment. Berth goes on trying for a minute; if that is in vain, you are told here.",
		slack: "Slack does not tell Berth at the moment which workspace this is, so that Berth cannot see who you are. It goes on trying for a minute; if that is in vain, you are told here.",
	}
	givenUpText = lacking{
		store: "This was not done, as far as Berth can see: its store did not answer for a minute. Look with `/berth status` once it does, and then type it again.",
		slack: "This was not done: for a minute Slack did not tell Berth which workspace this is, so that Berth could not see who you are. Type it again later; `berth doctor` tells whoever runs Berth more.",
	}
	refusedText = lacking{
		store: "This was not taken, as far as Berth can see: its store does not answer, and nothing more can wait for it. Look with `/berth status` in a few minutes, and then type it again.",
		slack: "This was not taken: Slack does not tell Berth which workspace this is, and nothing more can wait for it. Type it again in a few minutes.",
	}
)

// text is what somebody reads of a.
func (a *arrival) text(of lacking) string {
	if a.placed != nil && !a.placed.Load() {
		return of.slack
	}
	return of.store
}

const (
	foreignText = "Berth has no token of this Slack workspace, so that it cannot work here. Whoever runs Berth has to add the workspace to `slack.workspaces` in its config."
)

// tell says something to whoever did a, and to nobody else. Its own address is
// tried first: it needs no token.
func (s *Surface) tell(ctx context.Context, a arrival, text string) {
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	m := bot.ChatMessage{Tone: bot.ChatWarning, Icon: "⚠️", Text: text}
	var err error
	if a.Answer != "" && !isViewAnswer(a.Answer) {
		if err = s.api.respond(ctx, a.Answer, a.Place.Thread, render(m, "", messageRoom)); err == nil {
			return
		}
	}
	if other := s.Answer(ctx, a.ChatEvent, responseUses, m); other != nil {
		s.log.WarnContext(ctx, "somebody could not be told what became of what they did in Slack", "event", a.ID, "user", a.User, "error", errors.Join(err, other))
	}
}
