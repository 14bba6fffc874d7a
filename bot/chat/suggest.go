package chat

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

const (
	// mostSuggested is how many answers there are at most.
	// Source: https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-response-object-autocomplete
	mostSuggested = 25
	// suggestTimeout leaves the platform time for its own three seconds.
	suggestTimeout = 2 * time.Second
)

// What can be suggested.
const (
	suggestVerb        = "verb"
	suggestApp         = "app"
	suggestEnvironment = "environment" // "app/name"
	suggestTarget      = "target"      // an environment, or an app
	suggestRequest     = "request"     // an id of one that has not ended
	suggestRef         = "ref"         // of target's repository
)

// Suggest are the words that somebody may go on with who typed some of one: at
// most 25, those that begin so before those that hold it elsewhere. It tells
// nothing to who may not look, and nothing of apps that the place is not for. What
// cannot be found in time is left out.
func (s *Surface) Suggest(ctx context.Context, at bot.ChatPlace, identity, what, target, typed string) []string {
	ctx, cancel := context.WithTimeout(ctx, suggestTimeout)
	defer cancel()
	got := make(chan []string, 1)
	go func() {
		var found []string
		if err := guarded(func() (err error) {
			found, err = s.suggest(ctx, at, identity, what, target, typed)
			return err
		}); err != nil {
			s.log.DebugContext(ctx, "nothing could be suggested", "what", what, "error", err)
		}
		got <- found
	}()
	select {
	case found := <-got:
		return found
	case <-ctx.Done():
		return nil
	}
}

func (s *Surface) suggest(ctx context.Context, at bot.ChatPlace, identity, what, target, typed string) ([]string, error) {
	rules := s.rules(at)
	if what == suggestVerb {
		return matching(slices.DeleteFunc(verbs(), func(verb string) bool { return !rules.allows(verb) }), typed), nil
	}
	actor, err := s.actor(ctx, bot.ChatEvent{Identity: identity}, rules)
	if err != nil || len(actor.Roles) == 0 {
		return nil, err
	}
	switch what {
	case suggestApp:
		return matching(s.apps(rules), typed), nil
	case suggestEnvironment, suggestTarget:
		envs, err := s.environments(ctx)
		if err != nil {
			return nil, err
		}
		var names []string
		for _, env := range envs {
			if rules.reaches(env.Name.App) {
				names = append(names, env.Name.String())
			}
		}
		if what == suggestTarget {
			names = append(names, s.apps(rules)...)
		}
		return matching(names, typed), nil
	case suggestRequest:
		return s.suggestRequests(ctx, rules, target, typed)
	case suggestRef:
		return s.suggestRefs(ctx, rules, target, typed)
	default:
		return nil, nil
	}
}

// suggestRequests are the ids of requests that have not ended, also by the name of
// their environment.
func (s *Surface) suggestRequests(ctx context.Context, rules Rules, target, typed string) ([]string, error) {
	recent, err := s.recent(ctx)
	if err != nil {
		return nil, err
	}
	waiting, err := s.waiting(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, r := range slices.Concat(waiting, recent) {
		env := r.Order.Env.String()
		if !rules.reaches(r.Order.Env.App) || r.State.Ended() && r.State != approvals.StateFailed || target != "" && env != target || slices.Contains(ids, r.ID) {
			continue
		}
		if strings.HasPrefix(r.ID, strings.ToLower(typed)) || strings.Contains(env, strings.ToLower(typed)) {
			ids = append(ids, r.ID)
		}
	}
	return ids[:min(len(ids), mostSuggested)], nil
}

// suggestRefs are branches and tags of the repository of target's app, or of the
// only app that the place is for.
func (s *Surface) suggestRefs(ctx context.Context, rules Rules, target, typed string) ([]string, error) {
	name, _, _ := strings.Cut(target, "/")
	app, err := s.catalog.App(name)
	if apps := s.apps(rules); err != nil && len(apps) == 1 {
		app, err = s.catalog.App(apps[0]) // "pr-42" alone means its environment
	}
	if err != nil || s.refs == nil || app.Repo == "" || !rules.reaches(app.Name) {
		return nil, nil // there is nothing to suggest
	}
	refs, err := s.refs.Refs(ctx, app.Repo, typed)
	return refs[:min(len(refs), mostSuggested)], err
}

// apps are those that the place is for, by name.
func (s *Surface) apps(rules Rules) (names []string) {
	for _, app := range s.catalog.Apps() {
		if rules.reaches(app.Name) {
			names = append(names, app.Name)
		}
	}
	return names
}

// verbs are all that can be typed, those that people type most first.
func verbs() []string {
	all := []string{string(actions.VerbDeploy), bot.VerbStatus, bot.VerbList, bot.VerbLogs, bot.VerbApprove, bot.VerbDeny}
	more := []string{
		bot.VerbCancel, bot.VerbDiff, bot.VerbExplain, bot.VerbHelp, bot.VerbHistory, bot.VerbLink, bot.VerbLock, bot.VerbRetry,
		bot.VerbSet, bot.VerbUnlock, bot.VerbUnset, bot.VerbVars,
	}
	for _, verb := range actions.Verbs() {
		more = append(more, string(verb))
	}
	slices.Sort(more)
	for _, verb := range more {
		if !slices.Contains(all, verb) {
			all = append(all, verb)
		}
	}
	return all
}

// matching are the words that begin with what was typed, then those that hold it,
// each in their order; case does not matter.
func matching(words []string, typed string) []string {
	typed = strings.ToLower(strings.TrimSpace(typed))
	var begin, hold []string
	for _, word := range words {
		switch i := strings.Index(strings.ToLower(word), typed); {
		case i == 0:
			begin = append(begin, word)
		case i > 0:
			hold = append(hold, word)
		}
	}
	found := slices.Concat(begin, hold)
	return found[:min(len(found), mostSuggested)]
}
