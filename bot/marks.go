package bot

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
)

// marks are what else there is to say of an environment, each a line of its own:
// what holds it, where it is, what it is made of, and when it goes.
func (s *Service) marks(ctx context.Context, in Input, app *actions.App, env *actions.Environment) []string {
	var lines []string
	add := func(line string) {
		if line != "" {
			lines = append(lines, line)
		}
	}
	if env.Lock != nil {
		text := lockText(env.Lock)
		add(strings.ToUpper(text[:1]) + text[1:] + ". " + s.shown(in, VerbUnlock, env.Name) + " opens it.")
	}
	add(s.held(ctx, env))
	for _, link := range env.Links {
		add(Link(link))
	}
	if env.State == actions.StateCleaned {
		return lines
	}
	if env.Deployed > 1 {
		add(fmt.Sprintf("Revision %d; %s shows those before it.", env.Deployed, s.shown(in, VerbHistory, env.Name)))
	}
	switch {
	case app == nil || env.Cluster == "":
	case !slices.Contains(clusters(app), env.Cluster):
		add("In cluster " + Code(env.Cluster, 63) + ", for which `apps." + app.Name + "` is not configured any more: nothing can be seen or done there until it is put back.")
	case len(app.Clusters) > 1:
		add("In cluster " + Code(env.Cluster, 63) + ".")
	}
	add(ComponentsText(env))
	if own := OwnVariables(env); own != "" {
		add(own + " " + s.shown(in, VerbVars, env.Name) + " shows them.")
	}
	add(s.ExpiryText(in, app, env))
	return lines
}

// held says whose action is at an environment, since when, and until when at
// most. That the run cannot be read is no reason not to say the rest.
func (s *Service) held(ctx context.Context, env *actions.Environment) string {
	if env.RunID == "" {
		return ""
	}
	run, err := s.store.Run(ctx, env.RunID)
	if err != nil {
		s.log.WarnContext(ctx, "the run that holds an environment cannot be read", "env", env.Name.String(), "run", env.RunID, "error", err)
		return ""
	}
	text := "The " + string(run.Order.Verb) + " by " + Escape(run.Order.By, 80) + " runs since " + Moment(run.StartedAt)
	if run.State == actions.RunRunning && run.Error != "" {
		text += ", has stopped, and takes back what it did"
	}
	if !run.Deadline.IsZero() {
		text += ", until " + Moment(run.Deadline) + " at most"
	}
	return text + "."
}

// ComponentsText is what an environment is built from besides its own commit, as
// a sentence; "" when there is nothing else.
func ComponentsText(env *actions.Environment) string {
	if len(env.Components) == 0 {
		return ""
	}
	texts := make([]string, 0, len(env.Components))
	for _, name := range slices.Sorted(maps.Keys(env.Components)) {
		texts = append(texts, Code(name, 63)+" from "+BuiltText(env.Components[name]))
	}
	return "Built with " + Join(texts, "and") + "."
}

// BuiltText is what a component was taken from.
func BuiltText(b actions.Built) string {
	text := Code(b.Repo, 140)
	switch {
	case b.PullRequest > 0:
		text = Code(fmt.Sprintf("%s#%d", b.Repo, b.PullRequest), 160)
	case b.Ref != "" && b.Ref != b.Commit.SHA:
		text += " " + Code(b.Ref, 100)
	}
	if b.Commit.SHA != "" {
		text += " at " + Code(Short(b.Commit.SHA), 40)
	}
	return text
}

// OwnVariables names the variables that people set for an environment, without
// their values; "" when there are none.
func OwnVariables(env *actions.Environment) string {
	const most = 12
	names := slices.Sorted(maps.Keys(env.Overrides))
	if len(names) == 0 {
		return ""
	}
	shown := make([]string, 0, min(len(names), most+1))
	for i, name := range names {
		if i == most {
			shown = append(shown, number(len(names)-most, "other"))
			break
		}
		shown = append(shown, Code(name, 128))
	}
	return "Variables of its own: " + Join(shown, "and") + "."
}

// ExpiryText says when an environment's time is over and what becomes of it then,
// or that it stays; "" for one that simply never expires.
func (s *Service) ExpiryText(in Input, app *actions.App, env *actions.Environment) string {
	extend := string(actions.VerbExtend)
	switch {
	case env.State == actions.StateCleaned:
		return ""
	case env.Keep:
		return "It is kept: it does not expire, and schedules leave it alone, until " + s.shown(in, extend, env.Name, "--ttl 3d") + " gives it a time again."
	case env.ExpiresAt.IsZero():
		return ""
	}
	then := "cleaned up"
	if app != nil && app.OnExpiry == actions.VerbArchive && env.State != actions.StateArchived {
		then = "archived"
	}
	left := env.ExpiresAt.Sub(s.now())
	if left <= 0 {
		return "Its time is over since " + Moment(env.ExpiresAt) + "; it is to be " + then + "."
	}
	text := "Expires in " + Span(left) + ", " + Moment(env.ExpiresAt) + "; then it will be " + then + "."
	if app != nil && app.MaxAge > 0 && !env.ExpiresAt.Add(time.Second).Before(env.CreatedAt.Add(app.MaxAge)) {
		text += " The app lets none live for longer (`max_age`)."
	}
	return text
}
