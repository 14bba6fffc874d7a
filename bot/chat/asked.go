package chat

import (
	"context"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// A rule that asks a group of the platform, or somebody by name, calls them when
// a request waits, and shows them its buttons. That they have no role of their
// own in Berth must not keep them from the one thing that they are asked for:
// to say yes or no, and to look at what it is about. All else they may as before.

// asked is a with what it takes to do e, when that is to decide on, or to look
// at, a request that waits for a group of theirs. Whether their word counts, the
// policy says then as for anybody.
func (s *Surface) asked(ctx context.Context, e bot.ChatEvent, rules Rules, a bot.Actor) (bot.Actor, error) {
	if bot.May(a.Roles) == bot.MayAct || s.people == nil {
		return a, nil
	}
	c, err := s.service.Parse(e.Line)
	if err != nil {
		return a, nil //nolint:nilerr // the use case says what is wrong with it
	}
	decides := c.Verb == bot.VerbApprove || c.Verb == bot.VerbDeny
	if !decides && (len(a.Roles) > 0 || c.Verb != bot.VerbExplain && (c.Verb != bot.VerbDiff || c.ID == "")) {
		return a, nil
	}
	waiting, err := s.meant(ctx, rules, c)
	if err != nil || len(waiting) == 0 {
		return a, err
	}
	p, err := s.people.Person(ctx, e.Identity)
	if err != nil {
		return a, err
	}
	if p.ID == "" {
		p.ID = e.Identity
	}
	if !slices.Contains(p.Identities, e.Identity) {
		p.Identities = append(slices.Clone(p.Identities), e.Identity)
	}
	for _, r := range waiting {
		group, err := s.groupOf(ctx, r, p, c.Glass)
		switch {
		case err != nil:
			return a, err
		case group == "":
			continue
		case decides:
			a.Roles = append(slices.Clone(a.Roles), group) // a role is never written so
		default:
			a.Roles = []string{bot.RoleViewer}
		}
		return a, nil
	}
	return a, nil
}

// meant are the requests that wait and that a command can be about.
func (s *Surface) meant(ctx context.Context, rules Rules, c bot.Command) ([]*approvals.Request, error) {
	var all []*approvals.Request
	if c.ID != "" {
		r, err := s.requests.Get(ctx, c.ID)
		switch {
		case actions.CodeOf(err) == actions.CodeNotFound:
			return nil, nil
		case err != nil:
			return nil, err
		}
		all = []*approvals.Request{r}
	} else {
		var err error
		if all, err = s.requests.Active(ctx, c.App); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(r *approvals.Request) bool {
		env := r.Order.Env
		return r.State != approvals.StatePending || !rules.reaches(env.App) || c.ID == "" && (c.App != "" && c.App != env.App || c.Env != "" && c.Env != env.Env)
	}), nil
}

// groupOf is the first group that r's rules ask, or let break the glass, in which
// p is; "" when p is in none. What cannot be seen is an error where that may
// pass, and else no.
func (s *Surface) groupOf(ctx context.Context, r *approvals.Request, p approvals.Person, glass bool) (string, error) {
	for _, n := range bot.Needs(r) {
		groups := n.Group.From
		if glass {
			groups = append(slices.Clone(groups), n.Rule.BreakGlass...)
		}
		for _, group := range groups {
			prefix, rest, _ := strings.Cut(group, ":")
			if prefix == "actor" && p.ID == group {
				return group, nil
			}
			known := s.groups[prefix]
			if known == nil {
				continue
			}
			in, err := known.Member(ctx, rest, r, p)
			if err != nil && passing(err) {
				return "", err
			}
			if err != nil {
				s.log.WarnContext(ctx, "who belongs to a group cannot be seen", "group", group, "request_id", r.ID, "error", err)
			}
			if in && err == nil {
				return group, nil
			}
		}
	}
	return "", nil
}
