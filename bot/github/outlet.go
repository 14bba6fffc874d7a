package github

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// severityIcons are what a notice begins with.
var severityIcons = map[bot.Severity]string{bot.SeverityInfo: "ℹ️", bot.SeverityWarning: "⚠️", bot.SeverityError: "🚨"}

// Tell has a notice posted where its environment lives: as a comment on its pull
// request, and on those that its components are from, since whoever works there
// uses it as well. That is once in each for each n.Key, whatever becomes of this
// process. It returns once the posts are stored. It returns CodeNotFound for a
// notice about an environment that lives on no pull request.
func (s *Surface) Tell(ctx context.Context, n bot.Notice) error {
	const op = "github.tell"
	if n.Env.IsZero() {
		return actions.Errorf(op, actions.CodeNotFound, "The notice is about no environment, so that no pull request is its place.")
	}
	env, err := s.environment(ctx, n.Env)
	if err != nil {
		return err
	}
	app, err := s.catalog.App(n.Env.App)
	if err != nil {
		app = nil // it may have been taken out of the config
	}
	if env == nil {
		env = &actions.Environment{Name: n.Env}
	}
	told := map[string]bool{}
	tell := func(repo string, number int) error {
		place := strings.ToLower(placeID(repo, number))
		if number == 0 || !validRepo(repo) || told[place] {
			return nil
		}
		told[place] = true
		return s.postTold(ctx, repo, number, n)
	}
	if err := tell(s.home(env, app)); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(env.Components)) {
		if err := tell(env.Components[name].Repo, env.Components[name].PullRequest); err != nil {
			return err
		}
	}
	if len(told) == 0 {
		return actions.Errorf(op, actions.CodeNotFound, "%s lives on no pull request.", n.Env)
	}
	return nil
}

// TellIn has a notice posted on an issue or pull request: channel is
// "owner/repo#7". It is idempotent by n.Key in each channel, as Tell is. It
// returns CodeInvalid for what is no channel.
func (s *Surface) TellIn(ctx context.Context, channel string, n bot.Notice) error {
	repo, number, ok := parsePlace(channel)
	if !ok {
		return actions.Errorf("github.tell", actions.CodeInvalid, "%q is no place on GitHub; write it as owner/repo#7.", clip(channel, 100))
	}
	return s.postTold(ctx, repo, number, n)
}

// postTold queues the comment. Answers are made within the budgets, found again
// by their markers after a crash, and never made twice.
func (s *Surface) postTold(ctx context.Context, repo string, number int, n bot.Notice) error {
	if n.Key == "" {
		return actions.Errorf("github.tell", actions.CodeInvalid, "A notice needs a key, by which it is told once.")
	}
	id := "t" + shortHash(n.Key) + "-" + shortHash(strings.ToLower(placeID(repo, number))+"\n"+n.Key)
	return s.queuePost(ctx, id, post{Repo: repo, Number: number, Text: s.toldText(repo, number, n), At: s.now().UTC()})
}

// toldText is a notice as a comment. Nobody is called by what others wrote.
func (s *Surface) toldText(repo string, number int, n bot.Notice) string {
	var b strings.Builder
	b.WriteString(strings.TrimSpace(severityIcons[n.Severity] + " **" + bot.Escape(n.Title, 300) + "**"))
	if text := strings.TrimSpace(n.Text); text != "" {
		b.WriteString("\n\n" + quiet(text))
	}
	if len(n.Commands) == 0 {
		return b.String()
	}
	// Where the environment does not live, commands are not followed.
	if where := s.commandPlace(repo, number, n); where != "" {
		b.WriteString("\n\nTo type " + where + ":\n")
	} else {
		b.WriteString("\n\nTo type here:\n")
	}
	for _, c := range n.Commands {
		fmt.Fprintf(&b, "\n- %s – %s", bot.Code("/"+c.Command, 200), bot.Escape(c.Label, 100))
	}
	return b.String()
}

// commandPlace says where commands on a notice are typed; "" is right there.
func (s *Surface) commandPlace(repo string, number int, n bot.Notice) string {
	app, err := s.catalog.App(n.Env.App)
	if n.Env.IsZero() || err != nil {
		return "where the environment lives"
	}
	home, own := s.home(&actions.Environment{Name: n.Env}, app)
	switch {
	case own == 0:
		return "in a terminal, as " + bot.Code("berth …", 20)
	case own == number && strings.EqualFold(home, repo):
		return ""
	default:
		return "on " + s.pullLink(home, own)
	}
}
