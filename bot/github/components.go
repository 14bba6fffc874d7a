package github

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// looking are the verbs that work on the pull request of a component: those that
// look at an environment. It is changed where it lives.
var looking = []string{bot.VerbStatus, bot.VerbLogs, bot.VerbDiff, "history", bot.VerbHelp}

// componentRepo tells whether a component of some app comes from a repository.
func (s *Surface) componentRepo(repo string) bool {
	return slices.ContainsFunc(s.catalog.Apps(), func(a *actions.App) bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(a.Components)), func(c actions.Component) bool { return strings.EqualFold(c.Repo, repo) })
	})
}

// builtFrom are the environments with components from a pull request.
func (s *Surface) builtFrom(ctx context.Context, repo string, number int) (found []*actions.Environment, err error) {
	if !s.componentRepo(repo) {
		return nil, nil
	}
	for cursor := ""; ; {
		page, next, err := s.store.Environments(ctx, actions.EnvFilter{Repo: repo, PullRequest: number, Cursor: cursor, Limit: 500})
		if err != nil {
			return nil, err
		}
		for _, env := range page {
			if len(componentsFrom(env, repo, number)) > 0 {
				found = append(found, env)
			}
		}
		if next == "" {
			return found, nil
		}
		cursor = next
	}
}

// componentsFrom are the names of the components that env has from a pull
// request.
func componentsFrom(env *actions.Environment, repo string, number int) (names []string) {
	if env == nil || env.State == actions.StateCleaned {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(env.Components)) {
		if b := env.Components[name]; b.PullRequest == number && number > 0 && strings.EqualFold(b.Repo, repo) {
			names = append(names, name)
		}
	}
	return names
}

// componentChanged handles what happens to a pull request that components come
// from: a push updates them where the app says so, and its end changes nothing,
// which is said.
func (s *Surface) componentChanged(ctx context.Context, e pullEvent) error {
	repo := e.Repository.FullName
	envs, err := s.builtFrom(ctx, repo, e.Number)
	if err != nil {
		return err
	}
	for _, env := range envs {
		app, err := s.catalog.App(env.Name.App)
		if err != nil {
			continue // it was taken out of the config
		}
		if e.Action == "synchronize" {
			err = s.componentPushed(ctx, e, app, env)
		} else {
			err = s.componentClosed(ctx, e, app, env)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// componentPushed deploys a component's new commit.
func (s *Surface) componentPushed(ctx context.Context, e pullEvent, app *actions.App, env *actions.Environment) error {
	if !app.AutoUpdate || env.Lock != nil || env.Sleeping || !updatable(env.State) {
		return nil
	}
	repo, sha := e.Repository.FullName, e.PullRequest.Head.SHA
	if !fullSHA.MatchString(sha) {
		return fmt.Errorf("%w: a push without its commit", errMalformed)
	}
	ok, err := s.mayUpdate(ctx, e, app)
	if err != nil || !ok {
		return err
	}
	pusher, err := s.actor(ctx, e.Sender, "sender")
	if actions.CodeOf(err) == actions.CodeForbidden {
		s.log.WarnContext(ctx, "a push changes nothing: its account is not the one of that login", "repo", repo, "number", e.Number, "actor", e.Sender.Login, "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	with := map[string]string{}
	for _, name := range componentsFrom(env, repo, e.Number) {
		with[name] = placeID(repo, e.Number)
	}
	by := requester(pusher)
	_, err = s.submit(ctx, approvals.Request{
		Order: actions.Order{
			Env: env.Name, Verb: actions.VerbDeploy, PullRequest: env.PullRequest, Ref: env.Ref, Set: env.Set, With: with, By: by.Actor, Identity: by.Identity,
			Reason: "a push to " + placeID(repo, e.Number),
		},
		Command: "deploy " + env.Name.String() + " --with " + strings.Join(withText(with), " --with "), Requester: by,
		Place: approvals.Place{Surface: "github", ID: placeID(repo, e.Number)},
		Key:   fmt.Sprintf("github:push:%s#%d:%s", strings.ToLower(repo), e.Number, sha),
	})
	return err
}

// withText is what --with says.
func withText(with map[string]string) (words []string) {
	for _, name := range slices.Sorted(maps.Keys(with)) {
		words = append(words, name+"="+with[name])
	}
	return words
}

// componentClosed says, on the closed pull request and on the environment's own,
// that the environment stays as it is, and what can be done.
func (s *Surface) componentClosed(ctx context.Context, e pullEvent, app *actions.App, env *actions.Environment) error {
	repo := e.Repository.FullName
	now, err := s.client.pull(ctx, repo, e.Number)
	if status := statusOf(err); status == http.StatusNotFound || status == http.StatusGone || (err == nil && now.open) {
		return nil // it cannot be seen, or is open again
	}
	if err != nil {
		return err
	}
	names := componentsFrom(env, repo, e.Number)
	usual := make(map[string]string, len(names))
	for _, name := range names {
		usual[name] = app.Components[name].Ref
		if usual[name] == "" {
			usual[name] = "main"
		}
	}
	text := fmt.Sprintf("%s was closed. %s has its %s from there, and stays as it is. %s takes it from the usual branch instead.",
		bot.Escape(placeID(repo, e.Number), 200), bot.Code(env.Name.String(), 100), bot.Join(slashless(names), "and"),
		bot.Code("/deploy "+env.Name.String()+" --with "+strings.Join(withText(usual), " --with "), 300))
	id := fmt.Sprintf("closed-%s-%s", env.Name, shortHash(strings.ToLower(placeID(repo, e.Number))+closedStamp(now.closedAt)))
	own, number := s.home(env, app)
	if number > 0 && (number != e.Number || !strings.EqualFold(own, repo)) {
		if err := s.queuePost(ctx, id+"-own", post{Repo: own, Number: number, Text: text, At: s.now().UTC()}); err != nil {
			return err
		}
		text += fmt.Sprintf(" That is typed on %s.", s.pullLink(own, number))
	}
	return s.queuePost(ctx, id, post{Repo: repo, Number: e.Number, Text: text, At: s.now().UTC()})
}

func slashless(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = bot.Code(name, 60)
	}
	return out
}

// home is the pull request that an environment belongs to; number 0 when none.
func (s *Surface) home(env *actions.Environment, app *actions.App) (repo string, number int) {
	repo, number = env.Repo, env.PullRequest
	if repo == "" && app != nil {
		repo = app.Repo
	}
	if number == 0 {
		number = env.Name.PullRequest()
	}
	if !validRepo(repo) {
		return "", 0
	}
	return repo, number
}

func (s *Surface) pullLink(repo string, number int) string {
	return fmt.Sprintf("[%s](%s/%s/pull/%d)", bot.Escape(placeID(repo, number), 200), s.client.web(), repo, number)
}

// obeyComponent carries out commands on the pull request of a component. Those
// that look mean the environment that is built from it; those that act are
// refused, and told where they are typed.
func (s *Surface) obeyComponent(ctx context.Context, c conversation, state string, lines []string) error {
	envs, err := s.builtFrom(ctx, c.repo, c.number)
	if err != nil {
		return err
	}
	if len(envs) == 0 {
		s.log.InfoContext(ctx, "commands are not followed on a pull request that no environment is built from", "repo", c.repo, "number", c.number)
		return nil
	}
	acts := slices.IndexFunc(lines, func(line string) bool { return !slices.Contains(looking, verbOf(line)) })
	if acts >= 0 {
		var where []string
		for _, env := range envs {
			app, _ := s.catalog.App(env.Name.App) // without it there is its own repository
			place := "where it lives"
			if repo, number := s.home(env, app); number > 0 {
				place = "on " + s.pullLink(repo, number)
			}
			where = append(where, bot.Code(env.Name.String(), 100)+" "+place)
		}
		return s.refuse(ctx, c, fmt.Sprintf("nothing ran: this pull request is only a part of what is deployed. Type %s for %s; here there are only %s.",
			bot.Code("/"+verbOf(lines[acts]), 40), bot.Join(where, "and for"), bot.Join(slashed(looking), "and")))
	}
	// Whoever may type here need not see anything else of the app's repository:
	// each line names an environment that this pull request is a part of.
	for i, line := range lines {
		words := strings.Fields(line)
		switch {
		case verbOf(line) == bot.VerbHelp:
			continue
		case (len(words) == 1 || strings.HasPrefix(words[1], "-")) && len(envs) == 1:
			words = slices.Insert(words, 1, envs[0].Name.String())
		case len(words) == 1 || !slices.ContainsFunc(envs, func(env *actions.Environment) bool { return env.Name.String() == words[1] }):
			var names []string
			for _, env := range envs {
				names = append(names, env.Name.String())
			}
			return s.refuse(ctx, c, fmt.Sprintf("nothing ran: name what this pull request is a part of, %s.", bot.Join(slashless(names), "or")))
		}
		lines[i] = strings.Join(words, " ")
	}
	app, err := s.catalog.App(envs[0].Name.App)
	if err != nil {
		return nil //nolint:nilerr // it was taken out of the config, and nothing of it can be looked at
	}
	c.as, c.asNumber = s.home(envs[0], app)
	if c.as == "" {
		c.as = app.Repo
	}
	return s.obey(ctx, c, state, lines)
}

// showComponents makes the pull requests that components come from show the
// environment too, and those that they came from before show that they do not
// any more.
func (s *Surface) showComponents(ctx context.Context, sc *scene) (again time.Duration, err error) {
	shown, err := s.rdb.SMembers(ctx, keyComponents(sc.name)).Result()
	if err != nil {
		return 0, err
	}
	places := map[string]bool{}
	for _, place := range shown {
		places[place] = false
	}
	if sc.env != nil && sc.env.State != actions.StateCleaned {
		for _, b := range sc.env.Components {
			own := b.PullRequest == sc.number && strings.EqualFold(b.Repo, sc.repo)
			if b.PullRequest > 0 && validRepo(b.Repo) && !own {
				places[placeID(b.Repo, b.PullRequest)] = true
			}
		}
	}
	for _, place := range slices.Sorted(maps.Keys(places)) {
		repo, number, ok := parsePlace(place)
		if !ok {
			continue
		}
		wait, failed := s.showComponent(ctx, sc, repo, number, places[place])
		again = sooner(again, wait)
		if failed = s.settle(ctx, sc, "comment on "+place, failed); failed != nil {
			return again, failed
		}
	}
	return again, nil
}

// showComponent makes one of them show the environment.
func (s *Surface) showComponent(ctx context.Context, sc *scene, repo string, number int, part bool) (time.Duration, error) {
	place := placeID(repo, number)
	at := stickyPlace{key: keySticky(sc.name) + ":" + strings.ToLower(place), repo: repo, number: number}
	if part { // before the comment: one that nobody remembers would stay as it is
		if err := s.rdb.SAdd(ctx, keyComponents(sc.name), place).Err(); err != nil {
			return 0, err
		}
	}
	again, err := s.showSticky(ctx, sc, at, s.renderComponent(sc, repo, number, part), part)
	if err != nil || again > 0 || part {
		return again, err
	}
	_, err = s.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.SRem(ctx, keyComponents(sc.name), place)
		return nil
	})
	return 0, err
}

// renderComponent is the comment of an environment on the pull request of one of
// its components.
func (s *Surface) renderComponent(sc *scene, repo string, number int, part bool) string {
	var b strings.Builder
	icon, title := headline(sc)
	if !part {
		icon, title = "⚪", "is not built from this pull request any more"
	}
	fmt.Fprintf(&b, "%s\n### %s %s %s\n\n", stickyMarker(sc.name), icon, bot.Code(sc.name.String(), 100), title)
	if part {
		var rows []string
		for _, name := range componentsFrom(sc.env, repo, number) {
			rows = append(rows, fmt.Sprintf("| **%s** | %s |", bot.Escape(name, 60), s.commitLink(repo, sc.env.Components[name].Commit)))
		}
		if own := s.commitLink(sc.repo, sc.env.Commit); own != "" {
			rows = append(rows, fmt.Sprintf("| **%s** | %s |", bot.Escape(sc.name.App, 60), own))
		}
		if sc.env.State == actions.StateRunning && len(sc.env.Links) > 0 {
			rows = append(rows, "| **Address** | "+bot.Link(sc.env.Links[0])+" |")
		}
		if len(rows) > 0 {
			rows = slices.Insert(rows, 1, "|:--|:--|")
			b.WriteString(strings.Join(rows, "\n") + "\n\n")
		}
	}
	if sc.number > 0 {
		fmt.Fprintf(&b, "It lives on %s, where commands are typed; %s works here too.\n", s.pullLink(sc.repo, sc.number), bot.Code("/status", 20))
	} else {
		fmt.Fprintf(&b, "%s looks closer; it belongs to no pull request of its own.\n", bot.Code("/status", 20))
	}
	return fit(b.String())
}
