package bot

import (
	"context"
	"errors"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// target finds the app and environment that a command is about: what it names,
// completed by what its place implies.
func (s *Service) target(in Input, c Command) (*actions.App, actions.Name, error) {
	if c.App == "" {
		return s.implied(in, c)
	}
	app, err := s.app(c.App)
	if err != nil {
		return nil, actions.Name{}, s.meantEnvironment(in, c, err)
	}
	if err := in.reach(app.Name); err != nil {
		return nil, actions.Name{}, err
	}
	// Whoever may write to one repository has proved nothing about another.
	if in.Repo != "" && !strings.EqualFold(app.Repo, in.Repo) {
		return nil, actions.Name{}, refusal(actions.CodeForbidden,
			"%s is not an app of %s, and commands here reach only that repository's; use a terminal, chat, or a pull request of its own repository.",
			Code(app.Name, 60), Escape(in.Repo, 140))
	}
	if c.Env != "" {
		return app, actions.Name{App: app.Name, Env: c.Env}, nil
	}
	if in.PullRequest > 0 {
		return app, actions.Name{App: app.Name, Env: actions.PullRequestName(in.PullRequest)}, nil
	}
	return nil, actions.Name{}, whichOf(in, c, app)
}

// whichOf asks for the environment of an app.
func whichOf(in Input, c Command, app *actions.App) error {
	return refusal(actions.CodeInvalid, "Which environment of %s? Write its whole name, such as %s.",
		Code(app.Name, 60), in.code(c.Verb, app.Name+"/pr-42"))
}

// implied is the target of a command that names none.
func (s *Service) implied(in Input, c Command) (*actions.App, actions.Name, error) {
	if in.Repo == "" || in.PullRequest == 0 {
		apps := in.visible(s.catalog.Apps())
		if len(apps) == 0 {
			return nil, actions.Name{}, refusal(actions.CodeNotFound, "No app is configured yet; add one under `apps` in Berth's config.")
		}
		if len(apps) == 1 {
			return nil, actions.Name{}, whichOf(in, c, apps[0])
		}
		return nil, actions.Name{}, refusal(actions.CodeInvalid, "Which environment? Write %s; the apps are %s.",
			in.code(c.Verb, "app/name"), appList(apps))
	}
	apps := s.appsOf(in.Repo)
	switch len(apps) {
	case 0:
		return nil, actions.Name{}, refusal(actions.CodeNotFound,
			"No app of Berth is built from %s; add one with `repo: %s` under `apps` in Berth's config.", Escape(in.Repo, 140), Escape(in.Repo, 140))
	case 1:
		return apps[0], actions.Name{App: apps[0].Name, Env: actions.PullRequestName(in.PullRequest)}, nil
	default:
		choices := make([]string, 0, len(apps))
		for _, app := range apps {
			choices = append(choices, in.code(c.Verb, app.Name))
		}
		return nil, actions.Name{}, refusal(actions.CodeInvalid, "%s has more than one app; say which: %s.", Escape(in.Repo, 140), Join(choices, "or"))
	}
}

// places are the environments of which one can be meant: what a command names,
// or, on a pull request of a repository that more than one app is built from,
// the environments that the pull request has with each, sorted by app.
func (s *Service) places(in Input, c Command) ([]actions.Name, error) {
	if c.App == "" && in.Repo != "" && in.PullRequest > 0 {
		var names []actions.Name
		for _, app := range s.appsOf(in.Repo) {
			names = append(names, actions.Name{App: app.Name, Env: actions.PullRequestName(in.PullRequest)})
		}
		if len(names) > 1 {
			return names, nil
		}
	}
	_, env, err := s.target(in, c)
	if err != nil {
		return nil, err
	}
	return []actions.Name{env}, nil
}

// shownPlaces are environments in a sentence.
func shownPlaces(envs []actions.Name, last string) string {
	names := make([]string, len(envs))
	for i, env := range envs {
		names[i] = Code(env.String(), 100)
	}
	return Join(names, last)
}

// several refuses to guess which of some requests is meant.
func several(in Input, verb, what string, requests []*approvals.Request, envs []actions.Name) error {
	const most = 20
	var lines []string
	for i, r := range requests {
		if i == most {
			lines = append(lines, "- "+number(len(requests)-most, "older one"))
			break
		}
		lines = append(lines, "- "+in.code(verb, r.ID)+": "+command(r)+" by "+Escape(r.Requester.Actor, 80))
	}
	return refusal(actions.CodeConflict, "%d requests %s at %s; say which:\n\n%s", len(requests), what, shownPlaces(envs, "and"), strings.Join(lines, "\n"))
}

// app finds an app by name; a wrong name is answered with the nearest one and
// those that there are.
func (s *Service) app(name string) (*actions.App, error) {
	app, err := s.catalog.App(name)
	if err == nil {
		return app, nil
	}
	if actions.CodeOf(err) != actions.CodeNotFound {
		return nil, err
	}
	apps := s.catalog.Apps()
	names := make([]string, len(apps))
	for i, a := range apps {
		names[i] = a.Name
	}
	switch near := Nearest(name, names); {
	case len(apps) == 0:
		return nil, refusal(actions.CodeNotFound, "There is no app %s; none is configured yet. Add one under `apps` in Berth's config.", Code(name, 60))
	case near != "":
		return nil, refusal(actions.CodeNotFound, "There is no app %s. Did you mean %s? The apps are %s.", Code(name, 60), Code(near, 60), appList(apps))
	default:
		return nil, refusal(actions.CodeNotFound, "There is no app %s; the apps are %s.", Code(name, 60), appList(apps))
	}
}

// meantEnvironment improves the answer to a target such as "pr-42" alone,
// which the grammar reads as an app.
func (s *Service) meantEnvironment(in Input, c Command, err error) error {
	if c.Env != "" || (actions.Name{App: "x", Env: c.App}).PullRequest() == 0 {
		return err
	}
	apps := s.catalog.Apps()
	if in.Repo != "" {
		apps = s.appsOf(in.Repo)
	}
	if len(apps) == 0 {
		return err
	}
	return refusal(actions.CodeNotFound, "%s alone does not say which app; write %s.", Code(c.App, 60), in.code(c.Verb, apps[0].Name+"/"+c.App))
}

// leftBehind improves the answer to a command about an environment whose app is
// gone from the config: nothing can be done at it before the app is back.
func (s *Service) leftBehind(ctx context.Context, in Input, c Command, err error) error {
	if c.App == "" || c.Env == "" || actions.CodeOf(err) != actions.CodeNotFound || s.App(c.App) != nil {
		return err
	}
	env, failed := s.store.Environment(ctx, actions.Name{App: c.App, Env: c.Env})
	if failed != nil || env.State == actions.StateCleaned || (in.Repo != "" && !strings.EqualFold(env.Repo, in.Repo)) {
		return err
	}
	return refusal(actions.CodeNotFound, "%s is there, but Berth's config has no app %s any more, so that nobody can look at it or clean it up. Somebody who keeps the config can put `apps.%s` back until %s is done.",
		Code(env.Name.String(), 100), Code(c.App, 60), env.Name.App, in.code(string(actions.VerbCleanup), env.Name.String()))
}

func (s *Service) appsOf(repo string) (found []*actions.App) {
	for _, app := range s.catalog.Apps() {
		if strings.EqualFold(app.Repo, repo) {
			found = append(found, app)
		}
	}
	return found
}

func appList(apps []*actions.App) string {
	const most = 12
	names := make([]string, 0, min(len(apps), most+1))
	for i, app := range apps {
		if i == most {
			names = append(names, number(len(apps)-most, "other"))
			break
		}
		names = append(names, Code(app.Name, 60))
	}
	return Join(names, "and")
}

// shown is how a command about env is typed where in came from: on its own
// pull request its name can be left out. More words of the command may follow.
func (s *Service) shown(in Input, verb string, env actions.Name, more ...string) string {
	words := []string{verb}
	if in.Repo == "" || in.PullRequest == 0 || env.Env != actions.PullRequestName(in.PullRequest) || len(s.appsOf(in.Repo)) != 1 {
		words = append(words, env.String())
	}
	return in.code(append(words, more...)...)
}

// isNotFound tells whether err says that something is not there.
func isNotFound(err error) bool {
	e, ok := errors.AsType[*actions.Error](err)
	return ok && e.Code == actions.CodeNotFound
}
