package chat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

const (
	// freshPage is how long after somebody opened their page it is kept level.
	freshPage = 24 * time.Hour
	// mostMine and mostWaiting are how many of each a page shows.
	mostMine, mostWaiting = 10, 10
)

// pageOf is whose page it is.
type pageOf struct{ platform, workspace, user string }

func (p pageOf) String() string { return p.platform + "/" + p.workspace + "/" + p.user }

func parsePageOf(text string) (p pageOf, ok bool) {
	words := strings.Split(text, "/")
	if len(words) != 3 {
		return p, false
	}
	return pageOf{words[0], words[1], words[2]}, true
}

// openPage has the page of whoever opened it shown, and kept level for a day.
func (s *Surface) openPage(ctx context.Context, e bot.ChatEvent) error {
	who := pageOf{e.Place.Platform, e.Place.Workspace, e.User}.String()
	now := s.now()
	_, err := s.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.HSet(ctx, keyPage(who), "identity", e.Identity, "name", e.Name)
		pipe.HDel(ctx, keyPage(who), "sum")
		pipe.Expire(ctx, keyPage(who), freshPage)
		pipe.ZAdd(ctx, keyPages, redis.Z{Score: float64(now.UnixMilli()), Member: who})
		pipe.Expire(ctx, keyPages, freshPage)
		s.agenda.Mark(ctx, pipe, markPage+who, now)
		return nil
	})
	if err != nil {
		return unavailable("chat.page", err)
	}
	s.agenda.Nudge()
	return nil
}

// showPages makes somebody's page say how things are; all that were opened of
// late when nobody is named.
func (s *Surface) showPages(ctx context.Context, who string) error {
	if who != "" {
		return s.showPage(ctx, who)
	}
	old := strconv.FormatInt(s.now().Add(-freshPage).UnixMilli(), 10)
	if err := s.rdb.ZRemRangeByScore(ctx, keyPages, "-inf", old).Err(); err != nil {
		return unavailable("chat.page", err)
	}
	all, err := s.rdb.ZRange(ctx, keyPages, 0, -1).Result()
	if err != nil {
		return unavailable("chat.page", err)
	}
	if len(all) == 0 {
		return nil
	}
	_, err = s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, who := range all {
			s.agenda.Mark(ctx, pipe, markPage+who, s.now())
		}
		return nil
	})
	if err != nil {
		return unavailable("chat.page", err)
	}
	s.agenda.Nudge()
	return nil
}

// shownScript keeps what a page shows, unless nothing is known of it any more.
//
//	KEYS  1 the page
//	ARGV  1 the sum of what it shows
var shownScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'sum', ARGV[1]) end
return 0`)

// showPage makes one page, unless it says so already.
func (s *Surface) showPage(ctx context.Context, who string) error {
	of, ok := parsePageOf(who)
	known, err := s.rdb.HGetAll(ctx, keyPage(who)).Result()
	if err != nil {
		return unavailable("chat.page", err)
	}
	if !ok || known["identity"] == "" || s.platforms[of.platform] == nil {
		return s.closePage(ctx, who)
	}
	at := bot.ChatPlace{Platform: of.platform, Workspace: of.workspace, User: of.user}
	page, err := s.page(ctx, at, known["identity"], known["name"])
	if err != nil {
		return err
	}
	text, err := json.Marshal(page)
	if err != nil {
		return actions.Wrap("chat.page", actions.CodeInternal, err, "The page cannot be made.")
	}
	hash := sha256.Sum256(text)
	sum := hex.EncodeToString(hash[:])
	if known["sum"] == sum {
		return nil
	}
	err = s.write(ctx, at, writeEdit, markPage+who, false, func(ctx context.Context, p Platform) error { return p.Page(ctx, of.workspace, of.user, page) })
	switch {
	case err == nil:
		// The page may have been opened again meanwhile; then it is marked, too.
		if err := shownScript.Run(context.WithoutCancel(ctx), s.rdb, []string{keyPage(who)}, sum).Err(); err != nil {
			return unavailable("chat.page", err)
		}
		return nil
	case passing(err):
		return err
	case !errors.Is(err, errors.ErrUnsupported):
		s.log.WarnContext(ctx, "somebody's page cannot be shown", "platform", of.platform, "workspace", of.workspace, "user", of.user, "error", err)
	}
	return s.closePage(ctx, who)
}

// closePage keeps a page level no more.
func (s *Surface) closePage(ctx context.Context, who string) error {
	_, err := s.rdb.TxPipelined(context.WithoutCancel(ctx), func(pipe redis.Pipeliner) error {
		pipe.ZRem(ctx, keyPages, who)
		pipe.Del(ctx, keyPage(who))
		return nil
	})
	if err != nil {
		return unavailable("chat.page", err)
	}
	return nil
}

// page is what the page of identity says now.
func (s *Surface) page(ctx context.Context, at bot.ChatPlace, identity, name string) (page bot.ChatPage, err error) {
	rules := s.rules(at)
	actor, err := s.actor(ctx, bot.ChatEvent{Identity: identity, Name: name}, rules)
	if err != nil {
		return page, err
	}
	if len(actor.Roles) == 0 {
		page.Text = "Berth does not know this account yet. `/berth link` links it to the one that you have elsewhere, such as on GitHub; or somebody who keeps Berth's config gives it a role under `actors`."
		return page, nil
	}
	person, err := s.person(ctx, actor)
	if err != nil {
		return page, err
	}
	var notes []string
	mine, err := s.mine(ctx, person, rules)
	if err != nil {
		return page, err
	}
	for _, name := range mine[:min(len(mine), mostMine)] {
		m, err := s.environmentMessage(ctx, at, name)
		if actions.CodeOf(err) == actions.CodeNotFound {
			continue
		}
		if err != nil {
			return page, err
		}
		page.Mine = append(page.Mine, m)
	}
	if more := len(mine) - mostMine; more > 0 {
		notes = append(notes, fmt.Sprintf("%d more of your environments are not shown; `/berth list` shows all.", more))
	}
	decide, err := s.waitingFor(ctx, person, rules)
	if err != nil {
		return page, err
	}
	for _, r := range decide[:min(len(decide), mostWaiting)] {
		whole, err := s.requests.Get(ctx, r.ID) // with its plan
		if actions.CodeOf(err) == actions.CodeNotFound {
			continue
		}
		if err != nil {
			return page, err
		}
		page.Waiting = append(page.Waiting, s.requestMessage(ctx, at, whole))
	}
	if more := len(decide) - mostWaiting; more > 0 {
		notes = append(notes, fmt.Sprintf("%d more requests wait for you.", more))
	}
	switch acts := slices.ContainsFunc(actor.Roles, func(role string) bool { return role != bot.RoleViewer }); {
	case len(mine) == 0 && acts:
		notes = append(notes, "None of the environments is yours yet; `/berth deploy app/name` makes one, and `/berth help` says what else there is.")
	case len(mine) == 0:
		notes = append(notes, "You may look: `/berth list` shows the environments, and `/berth help` says what else there is.")
	}
	page.Text = strings.Join(notes, "\n\n")
	return page, nil
}

// person is whose account an actor is.
func (s *Surface) person(ctx context.Context, a bot.Actor) (approvals.Person, error) {
	p := approvals.Person{ID: a.Identity}
	if s.people != nil {
		var err error
		if p, err = s.people.Person(ctx, a.Identity); err != nil {
			return p, err
		}
	}
	if !slices.Contains(p.Identities, a.Identity) {
		p.Identities = append(slices.Clone(p.Identities), a.Identity)
	}
	p.Roles = a.Roles
	return p, nil
}

// mine are the environments that a person had made, or asked for something at of
// late: those of the newest requests first.
func (s *Surface) mine(ctx context.Context, p approvals.Person, rules Rules) ([]actions.Name, error) {
	envs, err := s.environments(ctx)
	if err != nil {
		return nil, err
	}
	recent, err := s.recent(ctx)
	if err != nil {
		return nil, err
	}
	there := make(map[actions.Name]bool, len(envs))
	for _, env := range envs {
		there[env.Name] = rules.reaches(env.Name.App)
	}
	var names []actions.Name
	add := func(identity string, name actions.Name) {
		if there[name] && identity != "" && slices.Contains(p.Identities, identity) {
			there[name] = false // it is in already
			names = append(names, name)
		}
	}
	for _, r := range recent {
		add(r.Requester.Identity, r.Order.Env)
	}
	for _, env := range envs {
		add(env.Owner.Identity, env.Name)
	}
	return names, nil
}

// waitingFor are the requests on which a person could still decide, the oldest
// first.
func (s *Surface) waitingFor(ctx context.Context, p approvals.Person, rules Rules) (found []*approvals.Request, err error) {
	waiting, err := s.waiting(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range slices.Backward(waiting) {
		if rules.reaches(r.Order.Env.App) && s.decidable(ctx, p, r) {
			found = append(found, r)
		}
	}
	return found, nil
}

// decidable tells whether a decision of p would count for r, as far as can be
// seen: it chooses what is shown, and the policy decides.
func (s *Surface) decidable(ctx context.Context, p approvals.Person, r *approvals.Request) bool {
	if slices.ContainsFunc(r.Decisions, func(d approvals.Decision) bool { return slices.Contains(p.Identities, d.By.Identity) }) {
		return false
	}
	asked := slices.Contains(p.Identities, r.Requester.Identity)
	weighed := false
	if r.Outcome != nil {
		for _, rule := range r.Outcome.Rules {
			for _, g := range rule.Groups {
				weighed = true
				if g.Missing > 0 && rule.BrokenBy == "" && (!asked || !rule.NotRequester) && s.inAny(ctx, g.From, r, p) {
					return true
				}
			}
		}
	}
	// No rule says whose yes counts: then anybody's does who may do more than look.
	return !weighed && slices.ContainsFunc(p.Roles, func(role string) bool { return role != bot.RoleViewer })
}

// inAny tells whether p is in one of the groups of a policy.
func (s *Surface) inAny(ctx context.Context, groups []string, r *approvals.Request, p approvals.Person) bool {
	return slices.ContainsFunc(groups, func(group string) bool {
		prefix, rest, _ := strings.Cut(group, ":")
		switch prefix {
		case "role":
			return slices.Contains(p.Roles, rest)
		case "actor":
			return p.ID == group
		}
		known := s.groups[prefix]
		if known == nil {
			return false
		}
		// Some depend on the request: whose code it changes.
		key := group + "\x00" + p.ID
		if rest == "" {
			key += "\x00" + r.ID
		}
		in, err := s.kept.members.Get(s.now(), key, func() (bool, error) {
			in, err := known.Member(ctx, rest, r, p)
			return in && err == nil, nil // what cannot be seen is not asked for again and again
		})
		return in && err == nil
	})
}

// reaches tells whether the place is for an app.
func (r Rules) reaches(app string) bool { return len(r.Apps) == 0 || slices.Contains(r.Apps, app) }

// allows tells whether a verb may be asked for at the place.
func (r Rules) allows(verb string) bool {
	return len(r.Verbs) == 0 || verb == bot.VerbHelp || verb == bot.VerbLink || slices.Contains(r.Verbs, verb)
}
