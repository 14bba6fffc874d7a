package bot

import (
	"slices"

	"github.com/berth-dev/berth/actions"
)

// bind completes a command by the apps that its channel is for: in a channel of
// one app, "pr-42" alone is that app's environment, unless an app is called so.
func (s *Service) bind(in Input, c Command) (Command, error) {
	if len(in.Apps) == 0 || c.Env != "" || c.App == "" || c.Verb == VerbList || s.App(c.App) != nil || !actions.ValidName(c.App) {
		return c, nil
	}
	if len(in.Apps) == 1 {
		c.App, c.Env = in.Apps[0], c.App
		return c, nil
	}
	choices := make([]string, len(in.Apps))
	for i, app := range in.Apps {
		choices[i] = in.code(c.Verb, app+"/"+c.App)
	}
	return c, refusal(actions.CodeInvalid, "This channel is for more than one app; say which: %s.", Join(choices, "or"))
}

// permitted refuses a verb that may not be asked for in the channel.
func permitted(in Input, verb string) error {
	if len(in.Verbs) == 0 || verb == VerbHelp || verb == VerbLink || slices.Contains(in.Verbs, verb) {
		return nil
	}
	return refusal(actions.CodeForbidden, "In this channel nobody may `%s`; here it is %s. Use another channel, or ask somebody who keeps Berth's config to change `%s.channels`.",
		verb, codes(in.Verbs, "and"), in.Place.Surface)
}

// reach refuses an app that the channel is not for.
func (in Input) reach(app string) error {
	if in.reaches(app) {
		return nil
	}
	return refusal(actions.CodeForbidden, "This channel is for %s, and commands here reach nothing of %s; use another channel, or ask somebody who keeps Berth's config to change `%s.channels`.",
		codes(in.Apps, "and"), Code(app, 60), in.Place.Surface)
}

func (in Input) reaches(app string) bool {
	return len(in.Apps) == 0 || slices.Contains(in.Apps, app)
}

// visible are those of apps that the channel is for.
func (in Input) visible(apps []*actions.App) []*actions.App {
	return slices.DeleteFunc(slices.Clone(apps), func(a *actions.App) bool { return !in.reaches(a.Name) })
}
