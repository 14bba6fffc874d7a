package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// tellAgain is how often people are told of something that stays the matter.
const tellAgain = 24 * time.Hour

// deletion is a cleanup that is due.
type deletion struct {
	env actions.Name
	why string // for people: "acme/shop#7 is closed since …"
	// hinges are what must have been seen whole for it: a repository, a cluster.
	hinges []string
	// ask asks for it, and tells whether a request is there now.
	ask func(context.Context) (bool, error)
}

// act asks for the cleanups that are due, unless the breaker holds them back.
// All of them are known before the first is asked for.
func (s *sweep) act(ctx context.Context) error {
	due, err := s.pullDeletions(ctx)
	if err != nil {
		return err
	}
	orphans, err := s.orphanDeletions(ctx)
	if err != nil {
		return err
	}
	due, err = s.seen(ctx, once(append(due, orphans...)))
	if err != nil {
		return err
	}
	if len(due) > max(0, s.o.MaxDeletions) {
		return s.stop(ctx, "limit", due, fmt.Sprintf("%s due in one sweep, and %d at most may be asked for", areDue(len(due)), max(0, s.o.MaxDeletions)),
			fmt.Sprintf("Look whether they are right. If they are, set `reconcile.max_deletions` to %d or more, or clean them up by command.", len(due)))
	}
	if err := s.over(ctx, "stopped:limit"); err != nil || len(due) == 0 {
		return err
	}
	// Only the leader asks. Who took over in between would ask for the same, under
	// the same keys.
	if err := s.lease.Renew(ctx); err != nil {
		return err
	}
	var failed error
	for _, d := range due {
		asked, err := d.ask(ctx)
		if err != nil {
			s.log.WarnContext(ctx, "a cleanup could not be asked for; the next sweep tries again", "env", d.env.String(), "why", d.why, "error", err)
			failed = errors.Join(failed, fmt.Errorf("%s: %w", d.env, err))
			continue
		}
		if asked {
			s.report.Asked = append(s.report.Asked, d.env.String())
			s.log.InfoContext(ctx, "a cleanup was asked for", "env", d.env.String(), "why", d.why)
		}
	}
	return failed
}

// once leaves one deletion of each environment.
func once(due []deletion) []deletion {
	known := map[actions.Name]bool{}
	return slices.DeleteFunc(due, func(d deletion) bool {
		double := known[d.env]
		known[d.env] = true
		return double
	})
}

// seen leaves the deletions for which everything could be seen, and tells of the
// others.
func (s *sweep) seen(ctx context.Context, due []deletion) (left []deletion, err error) {
	held := map[string][]deletion{}
	for _, d := range due {
		at := slices.IndexFunc(d.hinges, s.blindTo)
		if at < 0 {
			left = append(left, d)
			continue
		}
		held[d.hinges[at]] = append(held[d.hinges[at]], d)
	}
	for _, what := range slices.Sorted(maps.Keys(held)) {
		if err := s.stop(ctx, what, held[what], fmt.Sprintf("%s could not be seen whole", what),
			"Failing to see something is not seeing that it is gone. The next sweep that sees all of it goes on; Berth's log and `berth doctor` say what is wrong."); err != nil {
			return nil, err
		}
	}
	for what := range s.saved.episodes {
		if what, ok := strings.CutPrefix(what, "stopped:"); ok && what != "limit" && held[what] == nil && !s.blindTo(what) {
			if err := s.over(ctx, "stopped:"+what); err != nil {
				return nil, err
			}
		}
	}
	return left, nil
}

// stop holds deletions back, and tells so: once, and daily while it lasts.
func (s *sweep) stop(ctx context.Context, what string, due []deletion, why, todo string) error {
	lines := make([]string, 0, len(due))
	for _, d := range due {
		s.report.Stopped = append(s.report.Stopped, d.env.String())
		if len(lines) < mostNamed {
			lines = append(lines, fmt.Sprintf("- %s: %s", bot.Code(d.env.String(), 100), bot.Escape(d.why, 300)))
		}
	}
	if left := len(due) - len(lines); left > 0 {
		lines = append(lines, fmt.Sprintf("- and %d more", left))
	}
	n := bot.Notice{
		Event: bot.EventStopped, Severity: bot.SeverityError, At: s.begun,
		Title: "A sweep took nothing away: " + why,
		Text:  "These would have been cleaned up, and stay:\n\n" + strings.Join(lines, "\n") + "\n\n" + bot.Escape(why, 300) + ". " + todo,
	}
	if len(due) == 1 {
		n.Env = due[0].env
	}
	for _, d := range due[:min(len(due), 3)] {
		n.Commands = append(n.Commands, bot.Suggestion{Label: "Clean up " + d.env.String(), Command: "cleanup " + d.env.String()})
	}
	return s.lasting(ctx, "stopped:"+what, n, true)
}

// tellUnseen tells of what could not be seen in two sweeps in a row: once may
// be a hiccup.
func (s *sweep) tellUnseen(ctx context.Context) error {
	for _, what := range slices.Sorted(maps.Keys(s.unseen)) {
		since, known := s.saved.episodes["unseen:"+what]
		n := bot.Notice{
			Event: bot.EventUnreachable, Severity: bot.SeverityWarning, At: s.begun,
			Title: what + " cannot be seen",
			Text: fmt.Sprintf("Berth could not look at %s since %s: %s Nothing there is taken away meanwhile, and drift and leftovers are not noticed.",
				bot.Code(what, 200), moment(time.UnixMilli(since.Since)), bot.Escape(actions.Message(s.unseen[what]), 500)),
		}
		if err := s.lasting(ctx, "unseen:"+what, n, known); err != nil {
			return err
		}
	}
	for what := range s.saved.episodes {
		if what, ok := strings.CutPrefix(what, "unseen:"); ok && !s.blindTo(what) {
			if err := s.over(ctx, "unseen:"+what); err != nil {
				return err
			}
		}
	}
	return nil
}

// lasting remembers since when something is the matter, and tells people once
// and then daily. The key of the notice is made of what is remembered, so that a
// crash before that is remembered tells nobody twice.
func (s *sweep) lasting(ctx context.Context, what string, n bot.Notice, tell bool) error {
	e, known := s.saved.episodes[what]
	if !known {
		e.Since = s.begun.UnixMilli()
	}
	if tell && (e.Told == 0 || s.begun.Sub(time.UnixMilli(e.Told)) >= tellAgain) {
		if !known {
			if err := s.state.setJSON(ctx, s.lease.Token, fieldEpisode+what, e); err != nil {
				return err
			}
		}
		n.Key = fmt.Sprintf("reconcile:%s:%d:%d", digest([]string{what}), e.Since, e.Told)
		if err := s.o.Notifier.Notify(ctx, n); err != nil {
			return err
		}
		e.Told = s.begun.UnixMilli()
	} else if known {
		return nil
	}
	s.saved.episodes[what] = e
	return s.state.setJSON(ctx, s.lease.Token, fieldEpisode+what, e)
}

// over forgets what was the matter.
func (s *sweep) over(ctx context.Context, what string) error {
	if _, known := s.saved.episodes[what]; !known {
		return nil
	}
	delete(s.saved.episodes, what)
	return s.state.set(ctx, s.lease.Token, fieldEpisode+what, "")
}

func areDue(n int) string {
	if n == 1 {
		return "1 cleanup is"
	}
	return fmt.Sprintf("%d cleanups are", n)
}

// digest tells lists of words apart in a key.
func digest(words []string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\n")))
	return hex.EncodeToString(sum[:12])
}
