package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/berth-dev/berth/bot/api"
)

// wish is what a client asks for, once or several times with one key.
type wish struct {
	n       int
	env     string // "shop/e7"
	verb    string
	by      person
	command string
	key     string
	dry     bool // is planned only

	id       string        // as it was accepted
	answered time.Duration // from the first try to the acceptance
	asked    int           // tries until then
}

// wishes is what all clients have had accepted.
type wishes struct {
	mu         sync.Mutex
	accepted   []*wish
	turnedAway int
	asked      int
	faults     []string
}

// verbs and how often each is asked for, in hundredths.
var verbs = []struct {
	verb   string
	weight int
}{{"deploy", 64}, {"archive", 12}, {"restore", 12}, {"cleanup", 12}}

func someVerb(r *rand.Rand) string {
	n := r.IntN(100)
	for _, v := range verbs {
		if n -= v.weight; n < 0 {
			return v.verb
		}
	}
	return "deploy"
}

// ask has clients make requests until so many are accepted, no faster than one
// every pause. It returns when they are.
func (w *world) ask(ctx context.Context) error {
	var clients sync.WaitGroup
	turns := make(chan int)
	clients.Go(func() {
		defer close(turns)
		tick := time.NewTicker(w.pause)
		defer tick.Stop()
		for n := range w.options.requests {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			turns <- n
		}
	})
	for i := range w.clients {
		clients.Go(func() {
			r := w.random("client", i)
			for n := range turns {
				w.askUntilAccepted(ctx, r, n)
			}
		})
	}
	clients.Wait()
	return ctx.Err()
}

// askUntilAccepted makes the n-th request. What Berth turns away, because the
// environment's state does not allow it, gives way to another wish.
func (w *world) askUntilAccepted(ctx context.Context, r *rand.Rand, n int) {
	for again := 0; ctx.Err() == nil; again++ {
		a := theApps[r.IntN(len(theApps))]
		s := &wish{
			n: n, env: fmt.Sprintf("%s/e%d", a.name, r.IntN(w.environments/len(theApps))), verb: someVerb(r),
			by: w.cast.requesters[r.IntN(len(w.cast.requesters))], key: fmt.Sprintf("wish-%d-%d", n, again),
		}
		if again > 0 && r.IntN(2) == 0 {
			s.verb = "deploy"
		}
		s.command = fmt.Sprintf("%s %s --reason %q", s.verb, s.env, fmt.Sprintf("wish %d", n))
		if s.dry = r.IntN(25) == 0; s.dry {
			s.command += " --dry-run"
		}
		if w.askFor(ctx, r, s) {
			return
		}
	}
}

// askFor asks for s until there is an answer, one time in ten by two clients at
// once as a double click does, and tells whether s was accepted.
func (w *world) askFor(ctx context.Context, r *rand.Rand, s *wish) bool {
	tries := 1
	if r.IntN(10) == 0 {
		tries = 2
	}
	began := time.Now()
	answers := make([]*api.Request, tries)
	var all sync.WaitGroup
	asked := make([]int, tries)
	for i := range tries {
		first := r.IntN(len(w.replicas))
		all.Go(func() { answers[i], asked[i] = w.insist(ctx, s, first) })
	}
	all.Wait()
	w.wishes.mu.Lock()
	defer w.wishes.mu.Unlock()
	for i, answer := range answers {
		w.wishes.asked += asked[i]
		if answer == nil {
			continue
		}
		if s.id != "" && s.id != answer.ID {
			w.wishes.faults = append(w.wishes.faults, fmt.Sprintf("wish %d, sent twice with the key %s, is two requests: %s and %s", s.n, s.key, s.id, answer.ID))
		}
		if answer.Environment != s.env || answer.Verb != s.verb || answer.Requester != s.by.name {
			w.wishes.faults = append(w.wishes.faults, fmt.Sprintf("%s asked to %s %s and was given request %s: %s %s by %s",
				s.by.name, s.verb, s.env, answer.ID, answer.Verb, answer.Environment, answer.Requester))
		}
		s.id, s.asked = answer.ID, asked[i]
	}
	if s.id == "" {
		if ctx.Err() == nil {
			w.wishes.turnedAway++
		}
		return false
	}
	s.answered = time.Since(began)
	w.wishes.accepted = append(w.wishes.accepted, s)
	return true
}

// insist asks one replica after another until one answers. It returns nil when
// the answer was no.
func (w *world) insist(ctx context.Context, s *wish, first int) (answer *api.Request, asked int) {
	c := newClient(s.by.token)
	for asked = 1; ctx.Err() == nil; asked++ {
		answer, err := c.submit(ctx, w.replicas[(first+asked)%len(w.replicas)].url, s.command, s.key)
		no, refused := errors.AsType[*refusal](err)
		switch {
		case err == nil:
			return answer, asked
		case refused && (no.status == http.StatusConflict || no.status == http.StatusNotFound):
			return nil, asked
		case refused:
			w.fault("%s, asking for %q, got %v", s.by.name, s.command, err)
			return nil, asked
		}
		pass(ctx, min(time.Duration(asked)*50*time.Millisecond, time.Second))
	}
	return nil, asked
}

// fault notes something that must not be.
func (w *world) fault(format string, args ...any) {
	w.wishes.mu.Lock()
	defer w.wishes.mu.Unlock()
	w.wishes.faults = append(w.wishes.faults, fmt.Sprintf(format, args...))
}
