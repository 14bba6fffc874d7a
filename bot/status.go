package bot

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// observePatience is how long a status waits for executors to look. Chat
// platforms want an answer within three seconds; see docs of each surface.
const observePatience = 2 * time.Second

// status says how an environment is.
func (s *Service) status(ctx context.Context, in Input, c Command) (Reply, error) {
	app, name, err := s.target(in, c)
	if err != nil {
		return Reply{}, err
	}
	active, err := s.active(ctx, name)
	if err != nil {
		return Reply{}, err
	}
	env, err := s.store.Environment(ctx, name)
	if isNotFound(err) {
		if len(active) == 0 {
			return Reply{}, s.noEnvironment(ctx, in, name)
		}
		return Reply{Tone: ToneInfo, Request: active[0], Text: Code(name.String(), 100) + " is not there yet.\n\n" + s.underWay(in, active)}, nil
	}
	if err != nil {
		return Reply{}, err
	}
	seen := s.Observe(ctx, env)
	var b strings.Builder
	b.WriteString("**" + Escape(name.String(), 100) + "** " + Sentence(env) + ".")
	for _, line := range s.marks(ctx, in, app, env) {
		b.WriteString("\n" + line)
	}
	if env.State != actions.StateCleaned && env.State != actions.StateArchived {
		b.WriteString(partsTable(app, env, seen))
		if drift := DriftText(app, env, seen); drift != "" {
			b.WriteString("\n\n" + drift)
		}
	}
	if len(active) > 0 {
		b.WriteString("\n\n" + s.underWay(in, active))
	} else if next := s.next(in, env); next != "" {
		b.WriteString("\n\n" + next)
	}
	return Reply{Tone: ToneInfo, Environment: env, Text: b.String()}, nil
}

// Observe looks at the environment's parts, for a moment. What could not be
// seen is not in the result, which is not the same as being absent.
func (s *Service) Observe(ctx context.Context, env *actions.Environment) map[string]actions.Observation {
	if s.observer == nil || env.State == actions.StateCleaned {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, observePatience)
	defer cancel()
	seen, err := s.observer.Observe(ctx, env.Name)
	if err != nil {
		s.log.WarnContext(ctx, "the parts could not be seen", "env", env.Name.String(), "error", err)
	}
	return seen
}

// PartNames are the names of the environment's parts in the app's order; those
// that the app has no more come last.
func PartNames(app *actions.App, env *actions.Environment) []string {
	var names, gone []string
	if app != nil {
		for _, p := range app.Parts {
			names = append(names, p.Name)
		}
	}
	for name := range env.Parts {
		if !slices.Contains(names, name) {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	return append(names, gone...)
}

func partsTable(app *actions.App, env *actions.Environment, seen map[string]actions.Observation) string {
	names := PartNames(app, env)
	if len(names) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n\n| part | by | last step | health |\n|---|---|---|---|")
	for _, name := range names {
		status := env.Parts[name]
		use := status.Use
		if part, ok := partOf(app, name); ok && use == "" {
			use = part.Use
		}
		fmt.Fprintf(&b, "\n| %s | %s | %s | %s |", Escape(name, 60), Escape(use, 60), Escape(orDash(status.State), 40), health(seen, name, status))
	}
	return b.String()
}

func partOf(app *actions.App, name string) (actions.Part, bool) {
	if app == nil {
		return actions.Part{}, false
	}
	return app.Part(name)
}

// health is how a part is now, or, when it could not be seen, how it was when it
// was last seen.
func health(seen map[string]actions.Observation, name string, last actions.PartStatus) string {
	o, ok := seen[name]
	if !ok || o.Health == actions.Unknown || o.Health == "" {
		text := "could not be seen"
		if o.Text != "" {
			text += ": " + strings.TrimRight(Escape(o.Text, 200), ".")
		}
		if last.Health != "" && last.Health != actions.Unknown && !last.At.IsZero() {
			text += "; was " + Escape(string(last.Health), 40) + " at " + Moment(last.At)
		}
		return text
	}
	text := Escape(string(o.Health), 40)
	if o.Text != "" {
		text += ": " + Escape(o.Text, 200)
	}
	if n := len(o.Drift); n > 0 {
		text += "; " + number(n, "difference") + " from what was deployed"
	}
	for _, f := range o.Facts[:min(len(o.Facts), factsShown)] {
		text += "; " + Escape(f.Name, 40) + " " + Escape(f.Text, 120)
	}
	if o.Renew != "" {
		text += "; to be renewed: " + Escape(o.Renew, 200)
	}
	return text
}

// factsShown is how many facts of one part a message shows.
const factsShown = 4

// driftShown is how many differences of one part a message shows.
const driftShown = 10

// DriftText says, part by part, how what is there differs from what was deployed:
// as seen now, or as it was last seen where it cannot be seen now. It is "" when
// no difference is known of.
func DriftText(app *actions.App, env *actions.Environment, seen map[string]actions.Observation) string {
	var b strings.Builder
	for _, name := range PartNames(app, env) {
		drift, when := Drift(env, name, seen)
		if len(drift) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\n\n")
		}
		is := "is not what was deployed any more"
		if !when.IsZero() {
			is = "was not what was deployed when it was last seen, " + Moment(when)
		}
		fmt.Fprintf(&b, "**%s** %s:\n", Escape(name, 60), is)
		for i, line := range drift {
			if i == driftShown {
				fmt.Fprintf(&b, "\n- and %s more", number(len(drift)-driftShown, "difference"))
				break
			}
			b.WriteString("\n- " + Escape(line, 300))
		}
	}
	return b.String()
}

// Drift is how a part differs from what was deployed. when is zero where that was
// seen now, else the moment when it was last seen.
func Drift(env *actions.Environment, part string, seen map[string]actions.Observation) (drift []string, when time.Time) {
	if o, ok := seen[part]; ok && o.Health != actions.Unknown && o.Health != "" {
		return o.Drift, time.Time{}
	}
	last := env.Parts[part]
	return last.Drift, last.At
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// underWay lists requests that have not ended, the oldest first.
func (s *Service) underWay(in Input, active []*approvals.Request) string {
	var lines []string
	for _, r := range slices.Backward(active) {
		line := "- " + command(r) + " by " + Escape(r.Requester.Actor, 80) + ": " + requestState(r) + " (request `" + r.ID + "`)"
		lines = append(lines, line)
	}
	newest := active[0]
	hint := in.code(VerbCancel, newest.ID) + " withdraws the newest."
	if newest.RunID != "" {
		hint = in.code(VerbLogs, newest.RunID) + " shows its log, " + in.code(VerbCancel, newest.ID) + " stops it."
	}
	if newest.Stop != nil && newest.RunID != "" {
		hint = in.code(VerbLogs, newest.RunID) + " shows its log."
	}
	return "Under way:\n\n" + strings.Join(lines, "\n") + "\n\n" + hint
}

// next says what can be done now.
func (s *Service) next(in Input, env *actions.Environment) string {
	verb := func(v actions.Verb) string { return s.shown(in, string(v), env.Name) }
	switch env.State {
	case actions.StateRunning:
		if env.Sleeping {
			return verb(actions.VerbWake) + " wakes it, " + verb(actions.VerbCleanup) + " removes it."
		}
		if last := env.LastAction; last != nil && last.State == actions.RunFailed {
			again := verb(retried(env)) + " tries again, "
			if env.Mixed { // else what ran before runs, and a rollback goes further back
				again += verb(actions.VerbRollback) + " brings back what ran before, "
			}
			return s.shown(in, VerbLogs, env.Name) + " shows what happened; " + again + verb(actions.VerbCleanup) + " removes it."
		}
		return verb(actions.VerbDeploy) + " updates it, " + verb(actions.VerbCleanup) + " removes it."
	case actions.StateFailure:
		again := retried(env)
		text := s.shown(in, VerbLogs, env.Name) + " shows what happened; " + verb(again) + " tries again"
		if again == actions.VerbCleanup {
			return text + "."
		}
		return text + ", " + verb(actions.VerbCleanup) + " removes it."
	case actions.StateArchived:
		return verb(actions.VerbRestore) + " brings it back, " + verb(actions.VerbCleanup) + " removes it for good."
	case actions.StateCleaned:
		return verb(actions.VerbDeploy) + " makes it anew."
	default:
		return s.shown(in, VerbLogs, env.Name) + " shows the log of its last run."
	}
}

// retried is the verb that tries again what failed at env, or puts it right.
func retried(env *actions.Environment) actions.Verb {
	last := env.LastAction
	switch {
	case last != nil && actions.Allowed(env.Name, env, last.Verb) == nil && last.Verb != actions.VerbRollback:
		return last.Verb
	case env.HasArchive:
		return actions.VerbRestore // a deploy would start its parts empty
	default:
		return actions.VerbDeploy
	}
}

// Link is an address as Markdown. One that is not of the web is shown, and not
// made a link.
func Link(l actions.Link) string {
	u, err := url.Parse(l.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil ||
		strings.ContainsFunc(l.URL, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("<>\"`\\", r) }) {
		return Code(l.URL, 300)
	}
	return "<" + l.URL + ">"
}

// command is a request's command as inline code.
func command(r *approvals.Request) string { return Code(r.Command, 300) }

// Moment is a time as people of all time zones read it: "2026-11-20 15:04 UTC".
func Moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
