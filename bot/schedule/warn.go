package schedule

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// warning is something to tell of before it is taken away.
type warning struct {
	found
	note  *note
	ahead time.Duration // which warning it is
	late  bool          // it should have been told before: it waits
}

func newNote(env *actions.Environment, due, now time.Time) *note {
	return &note{Due: due.Unix(), Life: env.CreatedAt.Unix(), Since: now.Unix()}
}

// toldBefore tells whether somebody was told so long ago.
func (n *note) toldBefore(now time.Time, ago time.Duration) bool {
	return n.First > 0 && !now.Before(time.Unix(n.First, 0).Add(ago))
}

// warnPage warns of what a tick will take away, as far as nobody was told yet. A
// time that was told holds: an earlier one does not take its place.
func (s *Scheduler) warnPage(ctx context.Context, token int64, p *plan, w time.Duration, tick time.Time, about []found) error {
	notes, err := s.readNotes(ctx, p, envsOf(about))
	if err != nil {
		return err
	}
	var all []warning
	for _, f := range about {
		n := notes[f.env.Name]
		if n == nil {
			n = newNote(f.env, tick, s.now())
		}
		if n.Due == tick.Unix() && !slices.Contains(n.Told, w.String()) {
			all = append(all, warning{found: f, note: n, ahead: w})
		}
	}
	return s.tell(ctx, token, p, all)
}

// tell tells of warnings, each once: their notes are written before, so that
// whoever carries on after a crash tells the same, which the Notifier knows, and
// once more after, since nothing is taken away that was not told.
func (s *Scheduler) tell(ctx context.Context, token int64, p *plan, all []warning) error {
	if len(all) == 0 {
		return nil
	}
	write := func() error {
		var b batch
		for _, w := range all {
			if err := b.set(inNotes, noteField(p, w.env.Name), w.note); err != nil {
				return err
			}
		}
		return s.write(ctx, token, &b)
	}
	now := s.now()
	for _, w := range all {
		if w.late {
			w.note.Take = ceil(now.Add(p.least()))
		}
	}
	if err := write(); err != nil {
		return err
	}
	for _, w := range all {
		if err := s.o.Notifier.Notify(ctx, s.expiring(p, w, now)); err != nil {
			return fmt.Errorf("schedule: warn of %s: %w", w.env.Name, err)
		}
		s.log.InfoContext(ctx, "people were warned that an environment goes", "schedule", p.Name, "env", w.env.Name.String(), "ahead", w.ahead.String(), "late", w.late)
	}
	told := s.now()
	for _, w := range all {
		w.note.Told = append(w.note.Told, w.ahead.String())
		if w.note.First == 0 {
			w.note.First = ceil(told)
		}
		if w.late {
			w.note.Take = ceil(told.Add(p.least()))
		}
	}
	return write()
}

// ceil is t in unix seconds, and not before t.
func ceil(t time.Time) int64 {
	if t.Nanosecond() == 0 {
		return t.Unix()
	}
	return t.Unix() + 1
}

// expiring is the notice of a warning.
func (s *Scheduler) expiring(p *plan, w warning, now time.Time) bot.Notice {
	verb := p.verb(w.app)
	goes := time.Unix(max(w.note.Due, w.note.Take), 0).UTC()
	n := bot.Notice{
		Event: bot.EventExpiring, Severity: bot.SeverityInfo, Env: w.env.Name, At: now,
		Key:      fmt.Sprintf("schedule/%s/%s/%d/%d/%s", p.Name, w.env.Name, w.note.Due, w.note.Since, w.ahead),
		Title:    fmt.Sprintf("%s will be %s %s", w.env.Name, done(verb), within(goes.Sub(now))),
		Commands: suggestions(w.env, w.app, verb),
	}
	if w.ahead == p.least() {
		n.Severity = bot.SeverityWarning
	}
	n.Text = warningText(p, w, verb, goes)
	return n
}

// suggestions are what can be typed so that env stays, as far as each can be done.
func suggestions(env *actions.Environment, app *actions.App, verb actions.Verb) []bot.Suggestion {
	var out []bot.Suggestion
	add := func(v actions.Verb, label, flags string) {
		if actions.Allowed(env.Name, env, v) == nil {
			out = append(out, bot.Suggestion{Label: label, Command: string(v) + " " + env.Name.String() + flags})
		}
	}
	oldest := env.CreatedAt.Add(app.MaxAge)
	if !env.ExpiresAt.IsZero() && (app.MaxAge == 0 || env.ExpiresAt.Before(oldest)) {
		by := extension(app)
		add(actions.VerbExtend, "Extend by "+length(by), " --ttl "+flag(by))
	}
	if app.MaxAge == 0 {
		add(actions.VerbExtend, "Keep", " --keep")
	}
	if verb != actions.VerbArchive {
		add(actions.VerbArchive, "Archive", "")
	}
	if env.State == actions.StateArchived {
		add(actions.VerbRestore, "Restore", "")
	}
	return out
}

// extension is by how much an environment of app is extended unless somebody
// says otherwise.
func extension(app *actions.App) time.Duration {
	if app.TTL > 0 {
		return min(app.TTL, actions.MaxTTL)
	}
	return 24 * time.Hour
}
