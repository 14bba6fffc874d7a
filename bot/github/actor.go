package github

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// identityPrefix begins the identity of a GitHub account: "github:ana".
const identityPrefix = "github:"

// named tells whether the config gives whoever has the login a role: they may
// decide, say, without a right to write to the repository.
func (s *Surface) named(ctx context.Context, login string) (bool, error) {
	if s.people == nil {
		return false, nil
	}
	person, err := s.people.Person(ctx, identityPrefix+login)
	return len(person.Roles) > 0, err
}

// actor is who a GitHub account is to Berth. role is what GitHub says of them,
// "" when that gives them nothing here.
//
// It returns CodeForbidden for an account that has taken over a login which
// belonged to somebody else when it was first seen: roles, links and decisions
// go by the login, and none of them are the newcomer's.
func (s *Surface) actor(ctx context.Context, who account, role string) (bot.Actor, error) {
	identity := identityPrefix + who.Login
	a := bot.Actor{Name: who.Login, Identity: identity}
	if role != "" {
		a.Roles = []string{identityPrefix + role}
	}
	if s.people == nil {
		return a, nil
	}
	if who.ID > 0 { // GitHub always says it
		if err := s.people.Pin(ctx, identity, strconv.FormatInt(who.ID, 10)); err != nil {
			return bot.Actor{}, err
		}
	}
	person, err := s.people.Person(ctx, identity)
	if err != nil {
		return bot.Actor{}, err
	}
	if person.Name != "" && strings.HasPrefix(person.ID, "actor:") {
		a.Name = person.Name // else the login is how people know them here
	}
	a.Roles = append(slices.Clone(person.Roles), a.Roles...)
	return a, nil
}

// requester is who a request is made for that nobody typed.
func requester(a bot.Actor) approvals.Requester {
	return approvals.Requester{Actor: a.Name, Identity: a.Identity, Roles: a.Roles}
}
