package schedule

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// maxReason is how long a text of the config or of a request may be that a
// notice repeats, in letters.
const maxReason = 500

// clock is a moment as people read it: "Mon 23 Nov 07:00 UTC".
func clock(t time.Time) string { return t.UTC().Format("Mon 2 Jan 15:04 UTC") }

// length is a length of time as people say it: "24 hours", "90 minutes".
func length(d time.Duration) string {
	unit := func(n int64, word string) string {
		if n == 1 {
			return "1 " + word
		}
		return fmt.Sprintf("%d %ss", n, word)
	}
	switch d = d.Round(time.Minute); {
	case d >= 48*time.Hour && d%(24*time.Hour) == 0:
		return unit(int64(d/(24*time.Hour)), "day")
	case d >= time.Hour && d%time.Hour == 0:
		return unit(int64(d/time.Hour), "hour")
	case d >= 3*time.Hour:
		return unit(int64(d.Round(time.Hour)/time.Hour), "hour")
	default:
		return unit(max(int64(d/time.Minute), 1), "minute")
	}
}

// within is "in 24 hours". A warning is given a little before its time, and that
// little is not told.
func within(d time.Duration) string {
	for _, round := range []time.Duration{time.Hour, time.Minute} {
		if whole := d.Round(round); whole >= round && (d-whole).Abs() <= early(whole)+time.Second {
			return "in " + length(whole)
		}
	}
	return "in " + length(d)
}

// flag is a length of time as --ttl takes it: "72h", "90m".
func flag(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// done is what becomes of something that a verb is done to.
func done(v actions.Verb) string {
	switch v {
	case actions.VerbCleanup:
		return "cleaned up"
	case actions.VerbArchive:
		return "archived"
	case actions.VerbSleep:
		return "put to sleep"
	case actions.VerbWake:
		return "woken"
	case actions.VerbRestart:
		return "restarted"
	default:
		return string(v)
	}
}

// who is how a plan is called in a sentence.
func (p *plan) who() string {
	if p.cron == nil {
		return "The lifetime of environments"
	}
	return "The schedule " + bot.Code(p.Name, 60)
}

// reason is why a plan asks for something, for the request.
func reason(p *plan, env *actions.Environment, tick time.Time) string {
	switch {
	case p.cron == nil:
		return fmt.Sprintf("its time was over on %s", clock(env.ExpiresAt))
	case p.Reason != "":
		return p.Reason
	default:
		return fmt.Sprintf("the schedule %s, %s", p.Name, clock(tick))
	}
}

// warningText says why something goes, what that means and what keeps it.
func warningText(p *plan, w warning, verb actions.Verb, goes time.Time) string {
	var text string
	if p.cron == nil {
		text = fmt.Sprintf("Its time is over on %s", clock(w.env.ExpiresAt))
		if w.env.TTL > 0 {
			text += fmt.Sprintf(" (%s after its last use)", length(w.env.TTL))
		}
		if w.late {
			text += fmt.Sprintf("; nobody could be warned of that before, so it stays until %s", clock(goes))
		}
		text += "."
	} else {
		text = fmt.Sprintf("%s is about to see it %s on %s", p.who(), done(verb), clock(goes))
		if p.Reason != "" {
			text += ": " + strings.TrimSuffix(bot.Escape(p.Reason, maxReason), ".")
		}
		text += "."
	}
	if verb == actions.VerbArchive {
		text += " Its compute goes then; its data stays, and `restore` brings it back."
	} else {
		text += " Everything of it is deleted then, its data too."
	}
	return text + " Whoever still needs it can say so before."
}

// tellMissed tells of ticks that passed while nobody was there.
func (s *Scheduler) tellMissed(ctx context.Context, p *plan, m *missed) error {
	span := clock(m.first)
	if m.last.After(m.first) {
		span += " to " + clock(m.last)
	}
	title := fmt.Sprintf("The schedule %s was late", p.Name)
	text := fmt.Sprintf("Berth was not there at %s; %s does it now.", clock(m.last), p.who())
	switch {
	case !m.instead && m.count == 1:
		title = fmt.Sprintf("The schedule %s missed a tick", p.Name)
		text = fmt.Sprintf("Berth was not there at %s, and %s leaves out what it misses (`catch_up: none`). It goes on with its next tick.", span, lower(p.who()))
	case !m.instead:
		title = fmt.Sprintf("The schedule %s missed %d ticks", p.Name, m.count)
		text = fmt.Sprintf("Berth was not there from %s, and %s leaves out what it misses (`catch_up: none`). It goes on with its next tick.", span, lower(p.who()))
	case m.count > 0:
		title = fmt.Sprintf("The schedule %s missed ticks", p.Name)
		text = fmt.Sprintf("Ticks passed from %s without being done. The last one stands for %d before it and is done now.", span, m.count)
	}
	s.log.WarnContext(ctx, "ticks of a schedule were missed", "schedule", p.Name, "first", m.first.UTC(), "last", m.last.UTC(), "left_out", m.count, "one_is_done_now", m.instead)
	return s.o.Notifier.Notify(ctx, bot.Notice{
		Event: bot.EventMissed, Severity: bot.SeverityWarning, At: s.now(), Title: title, Text: text,
		Key: fmt.Sprintf("schedule/%s/missed/%d/%d", p.Name, m.first.Unix(), m.last.Unix()),
	})
}

func lower(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// tellNotTaken tells, once for each tick, that what a schedule asked for was not
// done; r is the request, nil when there is none.
func (s *Scheduler) tellNotTaken(ctx context.Context, p *plan, env actions.Name, verb actions.Verb, tick time.Time, r *approvals.Request, why string) error {
	text := fmt.Sprintf("%s asked for it", p.who())
	n := bot.Notice{
		Event: bot.EventNotTaken, Severity: bot.SeverityWarning, Env: env, At: s.now(),
		Key:   fmt.Sprintf("schedule/%s/%s/%d/not-taken", p.Name, env, tick.Unix()),
		Title: fmt.Sprintf("%s was not %s", env, done(verb)),
	}
	if r != nil {
		text += fmt.Sprintf(" (request `%s`), and that was %s", r.ID, r.State)
		if r.State == approvals.StateFailed {
			text = fmt.Sprintf("%s asked for it (request `%s`), and that failed", p.who(), r.ID)
		}
		n.Commands = []bot.Suggestion{{Label: "Why", Command: "explain " + r.ID}, {Label: "Status", Command: "status " + env.String()}}
	}
	if why != "" {
		text += ": " + strings.TrimSuffix(bot.Escape(why, maxReason), ".")
	}
	text += ". It is not asked for again before "
	if p.cron == nil {
		text += "tomorrow, while the environment is there and its time is over."
	} else if next := p.cron.Next(s.now()); next.IsZero() {
		text += "the schedule comes again."
	} else {
		text += "the next tick, " + clock(next) + "."
	}
	n.Text = text
	return s.o.Notifier.Notify(ctx, n)
}

// blindness is an environment of which it is not known whether a tick is about it.
type blindness struct {
	env actions.Name
	err error
}

// tellBlind tells, once a day for each schedule, that its condition fails. The
// environments are left alone.
func (s *Scheduler) tellBlind(ctx context.Context, p *plan, blind []blindness) error {
	if len(blind) == 0 {
		return nil
	}
	for _, one := range blind {
		s.log.WarnContext(ctx, "the condition of a schedule fails; the environment is left alone", "schedule", p.Name, "env", one.env.String(), "error", one.err)
	}
	const most = 10
	names := make([]string, 0, most)
	for _, one := range blind[:min(len(blind), most)] {
		names = append(names, bot.Code(one.env.String(), 100))
	}
	if more := len(blind) - most; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return s.o.Notifier.Notify(ctx, bot.Notice{
		Event: bot.EventNotTaken, Severity: bot.SeverityWarning, Env: blind[0].env, At: s.now(),
		Key:   fmt.Sprintf("schedule/%s/where/%s", p.Name, s.now().Format(time.DateOnly)),
		Title: fmt.Sprintf("The condition of the schedule %s fails", p.Name),
		Text: fmt.Sprintf("Whether %s is about %s is not known, so nothing is done to them: %s. Whoever keeps Berth's config has to mend the schedule's `where`. Berth's log names all of them; this is said once a day.",
			lower(p.who()), bot.Join(names, "and"), bot.Escape(blind[0].err.Error(), maxReason)),
	})
}
