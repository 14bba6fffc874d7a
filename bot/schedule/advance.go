package schedule

import (
	"maps"
	"time"
)

const (
	// awayAfter is how long no leader was there when Berth is said to have been
	// away. A change of leaders takes much less: the lease, and a third of it.
	awayAfter = time.Minute
	// lateAfter is how far behind the ticks of a schedule may be while Berth is
	// there, because there is so much to do; then the last one stands for all.
	lateAfter = 10 * time.Minute
	// mostEarly is how much earlier than asked for a warning is given, so that the
	// time that was promised is there even when something is late.
	mostEarly = 2 * time.Minute
)

// taken is the track of the ticks themselves; warnings have one each, named by
// how long before a tick they come.
const taken = "take"

// missed says which ticks nobody did.
type missed struct {
	first, last time.Time
	count       int  // how many were left out, without the one that stands for them
	instead     bool // the last is done now, late
}

// early is how much earlier than w before a tick its warning is given.
func early(w time.Duration) time.Duration { return min(w/20, mostEarly) }

// begin is where a plan stands that was never seen before.
func begin(p *plan, now time.Time) *progress {
	return &progress{Of: p.identity(), Marks: map[string]int64{taken: now.Unix()}}
}

// advance begins the ticks of a plan that have come, and returns where it stands
// then, with what was missed, nil when nothing was. away tells that no leader was
// there for a while. It decides by what it is given alone, so that it decides the
// same again when what it decided could not be written.
func advance(p *plan, before *progress, now time.Time, away bool) (*progress, *missed) {
	pr := &progress{Of: before.Of, Marks: maps.Clone(before.Marks), Jobs: maps.Clone(before.Jobs), Later: before.Later}
	m := pr.advanceTicks(p, now, away)
	for _, w := range p.warn {
		pr.advanceWarning(p, w, now)
	}
	for track := range pr.Jobs { // of warnings that the plan does not give any more
		if _, ok := pr.Marks[track]; !ok {
			delete(pr.Jobs, track)
		}
	}
	return pr, m
}

// advanceTicks begins the next tick, or what stands for those that passed.
func (pr *progress) advanceTicks(p *plan, now time.Time, away bool) *missed {
	due := between(p.cron, time.Unix(pr.Marks[taken], 0), now)
	running, busy := pr.Jobs[taken]
	switch late := due.count > 0 && now.Sub(due.first) > lateAfter; {
	case away:
		return pr.resume(p, due, running, busy)
	case late && busy: // what waits becomes one, which comes after what is worked on
		pr.Marks[taken] = max(pr.Marks[taken], due.last.Unix()-1)
		return due.but(1)
	case late:
		pr.start(taken, due.last)
		return due.but(1)
	case due.count > 0 && !busy:
		pr.start(taken, due.first)
	}
	return nil
}

// resume decides on the ticks of a time in which no leader was there, among them
// one that was being worked on.
func (pr *progress) resume(p *plan, due run, running job, busy bool) *missed {
	if busy {
		tick := time.Unix(running.Tick, 0)
		if due.count == 0 {
			due.last = tick
		}
		due.first, due.count = tick, due.count+1
	}
	if due.count == 0 {
		return nil
	}
	m := &missed{first: due.first, last: due.last, count: due.count}
	if p.CatchUp == CatchUpNone {
		delete(pr.Jobs, taken)
		pr.Marks[taken] = max(pr.Marks[taken], due.last.Unix())
		return m
	}
	m.count, m.instead = m.count-1, true
	if !busy || running.Tick != due.last.Unix() { // else it goes on where it was
		pr.start(taken, due.last)
	}
	return m
}

// advanceWarning begins the warning w of the last tick that it is time for. One
// whose tick has come is too late to be given.
func (pr *progress) advanceWarning(p *plan, w time.Duration, now time.Time) {
	track := w.String()
	if _, ok := pr.Marks[track]; !ok { // the plan warns of it since now
		pr.Marks[track] = now.Unix()
	}
	if _, busy := pr.Jobs[track]; busy {
		return
	}
	mark := time.Unix(pr.Marks[track], 0)
	if mark.Before(now) {
		mark = now
	}
	if due := between(p.cron, mark, now.Add(w+early(w))); due.count > 0 {
		pr.start(track, due.last)
	}
}

func (pr *progress) start(track string, tick time.Time) {
	if pr.Jobs == nil {
		pr.Jobs = map[string]job{}
	}
	pr.Jobs[track] = job{Tick: tick.Unix()}
	pr.Marks[track] = tick.Unix()
}

// run are ticks that follow each other.
type run struct {
	first, last time.Time
	count       int
}

// but is what is missed of a run of which the last n are done.
func (r run) but(n int) *missed {
	if r.count <= n {
		return nil
	}
	return &missed{first: r.first, last: r.last, count: r.count - n, instead: true}
}

// between are the ticks after from and until to.
func between(c *Cron, from, to time.Time) (r run) {
	for t := c.Next(from); !t.IsZero() && !t.After(to); t = c.Next(t) {
		if r.count == 0 {
			r.first = t
		}
		r.last = t
		r.count++
	}
	return r
}

// soonest is when a plan has something to begin next, seen from now; zero means
// never.
func soonest(p *plan, pr *progress, now time.Time) time.Time {
	var first time.Time
	add := func(t time.Time) {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	add(p.cron.Next(time.Unix(pr.Marks[taken], 0)))
	for _, w := range p.warn {
		// Warnings of ticks that have come are not given any more.
		if t := p.cron.Next(time.Unix(max(pr.Marks[w.String()], now.Unix()), 0)); !t.IsZero() {
			add(t.Add(-w - early(w)))
		}
	}
	if pr.Later > 0 {
		add(time.Unix(pr.Later, 0))
	}
	return first
}
