package chat

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// maxCalled is how many people and groups a message calls at most.
const maxCalled = 10

// Holders are people who know who has a role. *people.People is such: where
// Options.People is none, roles call nobody.
type Holders interface {
	// Holders are those whom the config gives a role.
	Holders(ctx context.Context, role string) ([]approvals.Person, error)
}

// tellNews tells, in the card's thread, what nobody would hear of by an edit.
// Each piece is told once.
func (s *Surface) tellNews(ctx context.Context, k *card, v View) error {
	for _, n := range NewsOf(v) {
		if k.told[n.Kind] == n.Key {
			continue
		}
		call, needed, err := s.called(ctx, k, v, n)
		if err != nil {
			return err
		}
		if needed {
			n.Message.Call = call
			_, err = s.put(ctx, k, draft{slot: "news:" + n.Kind + ":" + n.Key, at: threadOf(k), message: n.Message, end: true})
		}
		if refused(err) {
			s.log.WarnContext(ctx, "people could not be told", "request_id", k.request, "place", k.place.ID(), "what", n.Kind, "error", err)
			err = s.unclaim(ctx, k)
		}
		if err != nil {
			return err
		}
		if err := s.saveTold(ctx, k, n.Kind, n.Key); err != nil {
			return err
		}
	}
	return nil
}

// endWithoutCard tells whoever asked how their request ended, where its card was
// deleted or is out of reach before it could say so, and closes the card. Until
// then the card is only not written.
func (s *Surface) endWithoutCard(ctx context.Context, k *card, v View) error {
	if !v.Request.State.Ended() {
		return nil
	}
	to, known := accountPlace(k.place, v.Request.Requester.Identity)
	for _, n := range endNews(v) {
		if !known || !isHome(k, v.Request) || k.told[n.Kind] == n.Key {
			continue
		}
		_, err := s.put(ctx, k, draft{slot: "direct:" + n.Kind + ":" + n.Key, at: to, message: n.Message, end: true})
		if refused(err) {
			s.log.WarnContext(ctx, "who asked could not be told how it ended", "request_id", k.request, "place", to.ID(), "error", err)
			err = nil
		}
		if err != nil {
			return err
		}
		if err := s.saveTold(ctx, k, n.Kind, n.Key); err != nil {
			return err
		}
	}
	return s.closeCard(ctx, k)
}

// callByCard is whom a card calls itself when it is made, and what it tells by
// that.
func (s *Surface) callByCard(ctx context.Context, k *card, v View) (call []string, tells map[string]string, err error) {
	for _, n := range NewsOf(v) {
		names, _, err := s.called(ctx, k, v, n)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range names {
			if !slices.Contains(call, name) && len(call) < maxCalled {
				call = append(call, name)
			}
		}
		if tells == nil {
			tells = map[string]string{}
		}
		tells[n.Kind] = n.Key
	}
	return call, tells, nil
}

// called is whom a piece of news calls where a card stands, and whether it is to
// be told there at all. Nobody is called to two places for the same thing.
func (s *Surface) called(ctx context.Context, k *card, v View, n News) (names []string, needed bool, err error) {
	r := v.Request
	who := map[string]string{} // by name: the person or group
	var order []string
	add := func(name, person string) {
		if _, known := who[name]; !known && len(order) < maxCalled {
			who[name] = person
			order = append(order, name)
		}
	}
	if _, known := accountPlace(k.place, r.Requester.Identity); n.Requester && known && isHome(k, r) {
		add(r.Requester.Identity, "requester")
		needed = true
	}
	if !private(k, r) { // nobody else reads somebody's direct messages
		var groups []string
		if n.Deciders {
			groups = groupsOf(bot.Lacking(r))
		}
		if n.Bypassed {
			groups, needed = bypassed(r), true
		}
		if err := s.callable(ctx, k.place, r, groups, add); err != nil {
			return nil, false, err
		}
	}
	for _, name := range order {
		first, err := s.firstToCall(ctx, k, n, who[name])
		if err != nil {
			return nil, false, err
		}
		if first {
			names = append(names, name)
		}
	}
	return names, needed || len(names) > 0, nil
}

// firstToCall tells whether a card is the one that calls a person for a piece of
// news.
func (s *Surface) firstToCall(ctx context.Context, k *card, n News, person string) (bool, error) {
	field := n.Kind + ":" + n.Key + ":" + person
	var by *redis.StringCmd
	_, err := s.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.HSetNX(ctx, keyTold(k.request), field, k.id)
		by = pipe.HGet(ctx, keyTold(k.request), field)
		pipe.Expire(ctx, keyTold(k.request), rememberCard)
		return nil
	})
	return err == nil && by.Val() == k.id, storeError(err)
}

// unclaimScript forgets what a card was the first to call people for.
//
//	KEYS  1 who called whom for what: a hash
//	ARGV  1 the card
var unclaimScript = redis.NewScript(`
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
	if all[i + 1] == ARGV[1] then redis.call('HDEL', KEYS[1], all[i]) end
end
return 0`)

// unclaim lets other cards call those whom k was to call, where it may not.
func (s *Surface) unclaim(ctx context.Context, k *card) error {
	return storeError(unclaimScript.Run(context.WithoutCancel(ctx), s.rdb, []string{keyTold(k.request)}, k.id).Err())
}

// isHome tells whether a card stands, or was to stand, where its request was made.
func isHome(k *card, r *approvals.Request) bool {
	if r.Place.Surface != k.asked.Platform {
		return false
	}
	at, err := bot.ParseChatPlace(r.Place.Surface, r.Place.ID)
	return err == nil && channelOf(at) == channelOf(k.asked)
}

// private tells whether a card stands in somebody's direct messages. A channel of
// Discord without a guild is such, unless it is one that a route names.
func private(k *card, r *approvals.Request) bool {
	switch {
	case k.place.Channel == "":
		return true
	case k.place.Platform == bot.PlatformSlack:
		return strings.HasPrefix(k.place.Channel, "D")
	case k.place.Platform == bot.PlatformDiscord:
		return k.place.Workspace == "" && isHome(k, r)
	default:
		return false
	}
}

func groupsOf(needs []bot.Need) (groups []string) {
	for _, n := range needs {
		groups = append(groups, n.Group.From...)
	}
	return groups
}

// bypassed are the groups whose word was not waited for.
func bypassed(r *approvals.Request) (groups []string) {
	if r.Outcome == nil {
		return nil
	}
	for _, rule := range r.Outcome.Rules {
		for _, g := range rule.Groups {
			if rule.BrokenBy != "" {
				groups = append(groups, g.From...)
			}
		}
	}
	return groups
}

// callable finds those of groups who can be called at a place, but for who asked
// and who has agreed already.
func (s *Surface) callable(ctx context.Context, at bot.ChatPlace, r *approvals.Request, groups []string, add func(name, person string)) error {
	for _, group := range groups {
		kind, name, _ := strings.Cut(group, ":")
		switch kind {
		case "slack-group", "discord-role":
			if groupIsAt(at, kind, name) {
				add(group, group)
			}
		case "actor":
			if s.people == nil {
				continue
			}
			p, err := s.people.Person(ctx, group)
			if err != nil {
				return err
			}
			addPerson(at, r, p, add)
		case "role":
			holders, ok := s.people.(Holders)
			if !ok {
				continue
			}
			all, err := holders.Holders(ctx, name)
			if err != nil {
				return err
			}
			for _, p := range all {
				addPerson(at, r, p, add)
			}
		}
	}
	return nil
}

// groupIsAt tells whether a group of a platform can be called at a place.
func groupIsAt(at bot.ChatPlace, kind, name string) bool {
	switch {
	case kind == "slack-group" && at.Platform == bot.PlatformSlack:
		team, _, other := strings.Cut(name, ".")
		return !other || at.Workspace == "" || team == at.Workspace
	case kind == "discord-role" && at.Platform == bot.PlatformDiscord:
		guild, _, ok := strings.Cut(name, "/")
		return ok && (at.Workspace == "" || guild == at.Workspace)
	default:
		return false
	}
}

// addPerson adds the account that somebody has at a place, unless they have said
// what they have to say.
func addPerson(at bot.ChatPlace, r *approvals.Request, p approvals.Person, add func(name, person string)) {
	said := func(identity string) bool {
		if identity == "" {
			return false
		}
		if identity == r.Requester.Identity {
			return true
		}
		return slices.ContainsFunc(r.Decisions, func(d approvals.Decision) bool { return d.By.Identity == identity })
	}
	if slices.ContainsFunc(p.Identities, said) {
		return
	}
	for _, identity := range p.Identities {
		if to, ok := accountPlace(at, identity); ok && (to.Workspace == at.Workspace || at.Workspace == "" || at.Platform != bot.PlatformSlack) {
			add(identity, p.ID)
			return
		}
	}
}

// accountPlace is the direct messages of an account on the platform of a place;
// ok is false for an account elsewhere.
func accountPlace(at bot.ChatPlace, identity string) (to bot.ChatPlace, ok bool) {
	user, ok := strings.CutPrefix(identity, at.Platform+":")
	if !ok || user == "" {
		return to, false
	}
	to = bot.ChatPlace{Platform: at.Platform, Workspace: at.Workspace, User: user}
	if team, account, other := strings.Cut(user, "."); other && at.Platform == bot.PlatformSlack {
		to.Workspace, to.User = team, account
	}
	return to, to.User != ""
}

// routePlace is a channel as routes of the config name it: "C0123" or "T1/C0123".
func routePlace(platform, channel string) (bot.ChatPlace, error) {
	at := bot.ChatPlace{Platform: platform, Channel: channel}
	if workspace, name, ok := strings.Cut(channel, "/"); ok {
		at.Workspace, at.Channel = workspace, name
	}
	if at.Channel == "" || strings.ContainsAny(at.Channel, "/ @") {
		return at, actions.Errorf("chat.route", actions.CodeInvalid, "%q is no channel of %s; write its id, as %s.", clip(channel, 100), platform, fmt.Sprintf("%q or %q", "C0123", "T0001/C0123"))
	}
	return at, nil
}
