package actions

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"time"
)

// AgendaWork handles a member. It returns when to look at the member again, 0
// when nothing more is to be done before it is marked. After an error it is tried
// again, after that time where one is given, else later with each failure. ctx
// ends when the time for one is over, when the member may be another replica's, and
// a while after the replica was told to stop.
type AgendaWork func(ctx context.Context, member string) (again time.Duration, err error)

// agendaRun is one Run of an Agenda.
type agendaRun struct {
	*Agenda
	do AgendaWork

	mu    sync.Mutex
	hands map[string]*hand // what is handled now
	given []handled        // what was, and is to be given back
}

// hand is a member that is handled.
type hand struct {
	token string
	stop  context.CancelFunc
	timer *time.Timer // ends the handling once the lease may have run out
}

// handled is a member that is given back.
type handled struct {
	member, token string
	at            string // see turnScript
}

// turn is what a replica says, and gets, in one round trip.
type turn struct {
	word  string
	first bool // nothing was answered yet
	most  int
	given []handled
	held  map[string]string // what is renewed: members' tokens
}

// Run handles what is due, at most so many members at once, until ctx ends; then
// it lets what has begun come to its end for a few seconds. It outlives Redis'
// absence. An Agenda is run once at a time.
func (a *Agenda) Run(ctx context.Context, workers int, do AgendaWork) {
	r := &agendaRun{Agenda: a, do: do, hands: map[string]*hand{}}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(agendaLinger, cancel); a.Nudge() })()

	word, first, renewed, failures, end := rand.Text(), true, time.Now(), 0, time.Time{}
	for {
		t := r.next(word, first, workers, time.Since(renewed) >= a.lease/3)
		if ctx.Err() != nil {
			if end.IsZero() {
				end = time.Now().Add(agendaLinger + agendaFarewell)
			}
			if t.most = 0; r.idle() || time.Now().After(end) {
				return
			}
		}
		if t.most == 0 && len(t.given) == 0 && t.held == nil && !first {
			r.rest(min(agendaIdle, time.Until(renewed.Add(a.lease/3))))
			continue
		}
		began := time.Now()
		answer, err := a.take(work, t)
		if err != nil {
			failures++
			if work.Err() == nil {
				a.log.WarnContext(ctx, "what is due cannot be read; trying again", "error", err)
			}
			a.pause(ctx, min(5*time.Second, 250*time.Millisecond<<min(failures-1, 10)))
			continue
		}
		word, first, failures = rand.Text(), false, 0
		if t.held != nil {
			renewed = began
		}
		r.settle(t, answer, began)
		r.begin(work, ctx.Err() != nil, answer.taken, a.token(t.word), began)
		if more := len(answer.taken) > 0 && len(answer.taken) == t.most; !more && (ctx.Err() == nil || !r.idle()) {
			r.rest(a.until(answer.due))
		}
	}
}

// pause waits before Redis is asked again, unless ctx ends meanwhile.
func (a *Agenda) pause(ctx context.Context, d time.Duration) {
	stopped := ctx.Done()
	if ctx.Err() != nil {
		stopped = nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-stopped:
	case <-timer.C:
	}
}

// rest waits until something may be due, or has been handled.
func (a *Agenda) rest(d time.Duration) {
	timer := time.NewTimer(max(d, 5*time.Millisecond))
	defer timer.Stop()
	select {
	case <-a.wake:
	case <-timer.C:
	}
}

// until is how long to rest when the next member is due at the time given, in ms.
func (a *Agenda) until(due int64) time.Duration {
	if due == 0 {
		return agendaIdle
	}
	return min(agendaIdle, time.UnixMilli(due).Sub(a.now()))
}

func (a *Agenda) token(word string) string { return word + " " + a.replica }

// turnAnswer is what turnScript answers.
type turnAnswer struct {
	due         int64 // when the next is, in ms; 0 when nothing is
	taken, lost []string
}

// take calls turnScript.
func (a *Agenda) take(ctx context.Context, t turn) (answer turnAnswer, err error) {
	first := ""
	if t.first {
		first = "1"
	}
	args := make([]any, 0, 9+3*len(t.given)+2*len(t.held))
	args = append(args, a.now().UnixMilli(), a.lease.Milliseconds(), t.most, a.replica, t.word, first,
		a.backOff.Milliseconds(), a.backOffMost.Milliseconds(), len(t.given))
	for _, h := range t.given {
		args = append(args, h.member, h.token, h.at)
	}
	for member, token := range t.held {
		args = append(args, member, token)
	}
	out, err := turnScript.Run(ctx, a.rdb, a.keys, args...).Slice()
	if err != nil {
		return answer, redisError("agenda.turn", err)
	}
	if len(out) != 3 {
		return answer, Errorf("agenda.turn", CodeInternal, "Redis gave an unexpected answer.")
	}
	if due, _ := out[0].(string); due != "" {
		ms, err := strconv.ParseFloat(due, 64)
		if err != nil {
			return answer, Wrap("agenda.turn", CodeInternal, err, "Redis gave an unexpected answer.")
		}
		answer.due = int64(ms)
	}
	answer.taken, answer.lost = members(out[1]), members(out[2])
	return answer, nil
}

// members are the strings of an answer of Redis.
func members(answer any) []string {
	all, _ := answer.([]any)
	found := make([]string, 0, len(all))
	for _, one := range all {
		if text, ok := one.(string); ok {
			found = append(found, text)
		}
	}
	return found
}

// next is what there is to say now.
func (r *agendaRun) next(word string, first bool, workers int, renew bool) turn {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := turn{word: word, first: first, most: min(workers-len(r.hands), agendaMost)}
	t.given = r.given[:min(len(r.given), agendaMost):min(len(r.given), agendaMost)]
	if renew && len(r.hands) > 0 {
		t.held = make(map[string]string, len(r.hands))
		for member, h := range r.hands {
			t.held[member] = h.token
		}
	}
	return t
}

// idle tells whether nothing is handled, and nothing is to be given back.
func (r *agendaRun) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.hands) == 0 && len(r.given) == 0
}

// settle notes what Redis has agreed to: what was given back is done with, what
// was renewed holds on, and what is lost must stop.
func (r *agendaRun) settle(t turn, answer turnAnswer, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.given = r.given[len(t.given):]
	for member, token := range t.held {
		if h := r.hands[member]; h != nil && h.token == token {
			h.timer.Reset(r.safe(began))
		}
	}
	for _, member := range answer.lost {
		if h := r.hands[member]; h != nil && h.token == t.held[member] {
			h.stop()
		}
	}
}

// safe is how long what was taken or renewed in a call that began then may be
// handled: a while less than the lease, for what is on its way to come to an end.
func (r *agendaRun) safe(began time.Time) time.Duration {
	return max(0, time.Until(began.Add(r.lease-r.lease/5)))
}

// begin handles what was taken. Once the replica is told to stop, nothing is.
func (r *agendaRun) begin(ctx context.Context, stopping bool, taken []string, token string, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for _, member := range taken {
		switch {
		case stopping:
			r.given = append(r.given, handled{member: member, token: token, at: millis(now)})
		case r.hands[member] != nil: // its lease was lost, and its handling has not ended yet
			r.given = append(r.given, handled{member: member, token: token, at: millis(now.Add(r.backOff))})
		default:
			work, stop := context.WithTimeout(ctx, r.timeout)
			r.hands[member] = &hand{token: token, stop: stop, timer: time.AfterFunc(r.safe(began), stop)}
			go r.handle(ctx, work, member)
		}
	}
}

func millis(at time.Time) string { return strconv.FormatInt(at.UnixMilli(), 10) }

// handle handles one member.
func (r *agendaRun) handle(run, ctx context.Context, member string) {
	again, err := r.guarded(ctx, member)
	at := ""
	switch {
	case err != nil && run.Err() != nil: // the replica stops: another goes on at once
		at = millis(r.now())
	case err != nil && again <= 0:
		at = "+"
	case again > 0:
		at = millis(r.now().Add(again))
	}
	if err != nil && run.Err() == nil {
		r.log.WarnContext(ctx, "something that was due failed; it is tried again", "what", member, "error", err)
	}
	r.mu.Lock()
	h := r.hands[member]
	delete(r.hands, member)
	r.given = append(r.given, handled{member: member, token: h.token, at: at})
	r.mu.Unlock()
	h.timer.Stop()
	h.stop()
	r.Nudge()
}

// guarded is do, whose panic is a failure of that member alone.
func (r *agendaRun) guarded(ctx context.Context, member string) (again time.Duration, err error) {
	defer func() {
		if p := recover(); p != nil {
			again, err = 0, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return r.do(ctx, member)
}
