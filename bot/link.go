package bot

import (
	"context"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// People knows whose account an identity is and lets people link theirs.
// *people.People is one.
type People interface {
	approvals.People
	// Issue makes a code that links account to by's, once account types it.
	Issue(ctx context.Context, by approvals.Requester, account string) (code string, err error)
	// Redeem takes a code that by typed, and returns whose account by is now.
	Redeem(ctx context.Context, by approvals.Requester, at approvals.Place, code string) (approvals.Person, error)
	// Remove takes an account away from by's person.
	Remove(ctx context.Context, by approvals.Requester, at approvals.Place, account string) error
}

// Identify tells who the actor is: their person's id, name and, where the surface
// gave no roles, the roles that the config gives them. It returns CodeUnavailable
// when Redis does not answer.
func (s *Service) Identify(ctx context.Context, a Actor) (Actor, error) { return s.identify(ctx, a) }

// identify fills in who the actor is, where the surface left it open. Roles that
// the surface gave stand: a token may have fewer than its person.
func (s *Service) identify(ctx context.Context, a Actor) (Actor, error) {
	if s.people == nil || a.ID != "" || a.Identity == "" {
		return a, nil
	}
	person, err := s.people.Person(ctx, a.Identity)
	if err != nil {
		return a, err
	}
	a.ID = person.ID
	if person.Name != "" {
		a.Name = person.Name
	}
	if len(a.Roles) == 0 {
		a.Roles = person.Roles
	}
	return a, nil
}

// link shows, makes and removes links between accounts of one person.
func (s *Service) link(ctx context.Context, in Input, c Command) (Reply, error) {
	if s.people == nil || in.Actor.Identity == "" {
		return Reply{}, refusal(actions.CodeInvalid, "Accounts cannot be linked here, since nobody knows which account asks.")
	}
	by := in.Actor.requester()
	switch {
	case c.Code != "":
		person, err := s.people.Redeem(ctx, by, in.Place, c.Code)
		if err != nil {
			return Reply{}, err
		}
		return info("Linked. %s", s.accounts(in, person)), nil
	case c.Remove:
		if err := s.people.Remove(ctx, by, in.Place, c.Account); err != nil {
			return Reply{}, err
		}
		return info("%s is linked to you no more and has none of your roles. For 30 days it still counts as you where decisions are counted, and cannot be linked to somebody else.",
			Code(c.Account, 140)), nil
	case c.Account != "":
		return s.linkCode(ctx, in, c.Account)
	}
	person, err := s.people.Person(ctx, in.Actor.Identity)
	if err != nil {
		return Reply{}, err
	}
	text := s.accounts(in, person)
	if in.Private {
		return info("%s %s gives a code for another account of yours.", text, in.code(VerbLink, "github:LOGIN")), nil
	}
	return info("%s To link another account, type `berth link %s` in a terminal where you are known; it gives a code to type here.", text, in.Actor.Identity), nil
}

// linkable are the kinds of accounts that can type a code.
var linkable = []string{"github", "token", "oidc", PlatformSlack, PlatformDiscord}

// linkCode gives a code for an account. Whoever reads it beside its owner could
// not use it either, but codes are kept out of public places all the same.
func (s *Service) linkCode(ctx context.Context, in Input, account string) (Reply, error) {
	if !in.Private {
		return Reply{}, refusal(actions.CodeForbidden, "Everybody reads along here, so no code is given. Type `berth link %s` in a terminal, and the code that it answers here.", in.Actor.Identity)
	}
	kind, name, _ := strings.Cut(account, ":")
	if !slices.Contains(linkable, kind) {
		return Reply{}, refusal(actions.CodeInvalid, "Accounts of %s cannot be linked in this version of Berth, since nothing could be typed there; somebody who keeps Berth's config can put %s under `actors`.",
			Code(kind, 40), Code(account, 140))
	}
	person, err := s.people.Person(ctx, in.Actor.Identity)
	if err != nil {
		return Reply{}, err
	}
	// What is no account at all is refused where codes are made.
	if other, err := s.people.Person(ctx, account); err == nil && other.ID == person.ID {
		return info("%s is yours already, so there is nothing to link. %s", Code(account, 140), s.accounts(in, person)), nil
	}
	code, err := s.people.Issue(ctx, in.Actor.requester(), account)
	if err != nil {
		return Reply{}, err
	}
	how := "write `/link " + code + "` as %s in a comment on a pull request that Berth serves"
	switch kind {
	case PlatformSlack, PlatformDiscord:
		how = "type `/berth link " + code + "` as the account %s there"
	case "token":
		how = "run `berth link " + code + "` with a token of %s"
	case "oidc":
		how = "run `berth link " + code + "` with a token that %s's issuer has signed (in BERTH_TOKEN, say)"
	}
	return info("To show that %s is yours too, "+how+", within ten minutes. The code works once and for that account alone; whoever types it becomes one person with you, so use it yourself.",
		Code(account, 140), Escape(name, 140)), nil
}

// accounts says whose account the one that asks is.
func (s *Service) accounts(in Input, p approvals.Person) string {
	var others []string
	for _, identity := range p.Identities {
		if !strings.EqualFold(identity, in.Actor.Identity) {
			others = append(others, Code(identity, 140))
		}
	}
	text := "This is " + Code(in.Actor.Identity, 140)
	if p.Name != "" {
		text += ", " + Escape(p.Name, 80) + "'s account"
	}
	if roles := slices.Clone(p.Roles); len(roles) > 0 {
		for i, role := range roles {
			roles[i] = Code(role, 60)
		}
		text += " with " + plural(len(roles), "role") + " " + Join(roles, "and")
	}
	if len(others) == 0 {
		return text + ". No other account is linked to it."
	}
	return text + ". The same person's: " + Join(others, "and") + "."
}

func plural(n int, noun string) string {
	if n == 1 {
		return "the " + noun
	}
	return "the " + noun + "s"
}
