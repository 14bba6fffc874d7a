// Package people knows whose account an identity is: what the config says, and
// what people proved themselves by linking their accounts. Ids decide; names are
// for display.
package people

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// Actor is somebody whom the config names.
type Actor struct {
	Name       string
	Roles      []string
	Identities []string // "github:ana", "slack:U0123"
}

// Token lets whoever has it act as the actor of that name. Roles are added to
// those that the actor has.
type Token struct {
	Actor string
	Roles []string
}

// Options are what People needs.
type Options struct {
	Redis  redis.UniversalClient
	Store  *actions.Store // on the same Redis; links and their audit records are one change
	Actors []Actor
	Tokens []Token
	Now    func() time.Time // nil means time.Now
	Log    *slog.Logger     // nil means none
}

// People finds out whose account an identity is. It is safe for concurrent use.
type People struct {
	rdb   redis.UniversalClient
	store *actions.Store
	now   func() time.Time
	log   *slog.Logger
	named atomic.Pointer[roster]
	code  func() string // a new code; tests choose it
}

// New makes a People.
func New(o Options) *People {
	p := &People{rdb: o.Redis, store: o.Store, now: o.Now, log: o.Log, code: newCode}
	if p.now == nil {
		p.now = time.Now
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.Reload(o.Actors, o.Tokens)
	return p
}

// Reload takes over what the config says now. Links stay as they are.
func (p *People) Reload(actors []Actor, tokens []Token) { p.named.Store(newRoster(actors, tokens)) }

// Holders are those whom the config gives a role, sorted by name. It returns
// CodeUnavailable when Redis does not answer.
func (p *People) Holders(ctx context.Context, role string) ([]approvals.Person, error) {
	var holders []approvals.Person
	named := p.named.Load()
	for _, name := range slices.Sorted(maps.Keys(named.actors)) {
		if !slices.Contains(named.actors[name].Roles, role) {
			continue
		}
		person, err := p.Person(ctx, actorPrefix+name)
		if err != nil {
			return nil, err
		}
		holders = append(holders, person)
	}
	return holders, nil
}

// roster is the config's part: who is named, and by which identities.
type roster struct {
	actors map[string]*Actor // by name
	owners map[string]string // the actor's name by identity
}

func newRoster(actors []Actor, tokens []Token) *roster {
	r := &roster{actors: map[string]*Actor{}, owners: map[string]string{}}
	add := func(name string, roles, identities []string) {
		a := r.actors[name]
		if a == nil {
			a = &Actor{Name: name}
			r.actors[name], r.owners[actorPrefix+name] = a, name
		}
		for _, role := range roles {
			if !slices.Contains(a.Roles, role) {
				a.Roles = append(a.Roles, role)
			}
		}
		for _, identity := range identities {
			identity = Canonical(identity)
			if _, taken := r.owners[identity]; !taken && identity != "" {
				r.owners[identity] = name
				a.Identities = append(a.Identities, identity)
			}
		}
	}
	for _, a := range actors {
		add(a.Name, a.Roles, a.Identities)
	}
	for _, t := range tokens {
		add(t.Actor, t.Roles, []string{TokenIdentity(t.Actor)})
	}
	return r
}

// actorPrefix begins the id of a person whom the config names. With it the person
// is found by name; no account has such an identity.
const actorPrefix = "actor:"

// TokenIdentity is the identity of whoever holds a token of the actor.
func TokenIdentity(actor string) string { return "token:" + actor }

// Canonical is an identity in the form in which identities are compared: the
// kind in lower case, and a GitHub login too, since GitHub tells no two logins
// apart by case, and an address that an OpenID Connect issuer tells. It is ""
// for what is no identity.
func Canonical(identity string) string {
	kind, name, ok := strings.Cut(strings.TrimSpace(identity), ":")
	if !ok || kind == "" || name == "" {
		return ""
	}
	if kind = strings.ToLower(kind); kind == "github" || kind == "oidc" && strings.Contains(name, "@") {
		name = strings.ToLower(name)
	}
	return kind + ":" + name
}

// Person says whose account the identity is, as config and links say now. An
// identity that nobody has linked and no config names is a person of its own,
// without roles. It takes one round trip to Redis, and one more only for a
// linked account whose person the config gives further ones. It returns
// CodeUnavailable when Redis does not answer, and CodeInvalid for what is no
// identity.
func (p *People) Person(ctx context.Context, identity string) (approvals.Person, error) {
	id := Canonical(identity)
	if id == "" {
		return approvals.Person{}, actions.Errorf("people.person", actions.CodeInvalid, "%q is no identity; one is written github:ana.", identity)
	}
	named := p.named.Load()
	ask := []string{id}
	if owner, ok := named.owners[id]; ok {
		ask = named.actors[owner].Identities
	}
	sets, err := p.read(ctx, ask)
	if err != nil {
		return approvals.Person{}, err
	}
	owner := named.owner(id, sets[id])
	if owner == "" {
		return stranger(id, sets[id]), nil
	}
	var more []string
	for _, other := range named.actors[owner].Identities {
		if !slices.Contains(ask, other) && !sets[id].has(other) {
			more = append(more, other)
		}
	}
	if len(more) > 0 {
		others, err := p.read(ctx, more)
		if err != nil {
			return approvals.Person{}, err
		}
		for other, set := range others {
			sets[other] = set
		}
	}
	return named.person(owner, id, sets), nil
}

// owner is the name of the actor whose account id is: by the config itself, or
// else by the first account that it is linked to and the config names. "" means
// that the config names nobody.
func (r *roster) owner(id string, set set) string {
	if owner, ok := r.owners[id]; ok {
		return owner
	}
	past := ""
	for _, other := range set.Accounts {
		switch owner, ok := r.owners[other]; {
		case ok && !set.left(other) && !set.left(id):
			return owner
		case ok && past == "":
			past = owner
		}
	}
	return past
}

// entitled tells whether id is an account of owner now, not only one that was.
func (r *roster) entitled(owner, id string, set set) bool {
	if r.owners[id] == owner {
		return true
	}
	return !set.left(id) && slices.ContainsFunc(set.Accounts, func(other string) bool { return r.owners[other] == owner && !set.left(other) })
}

// person is the actor with all accounts that are theirs. An account that they
// took away again gets none of their roles, yet stays theirs for a while, so
// that it does not count beside them.
func (r *roster) person(owner, id string, sets map[string]set) approvals.Person {
	actor := r.actors[owner]
	out := approvals.Person{ID: actorPrefix + owner, Name: owner}
	if !r.entitled(owner, id, sets[id]) {
		out.Identities = []string{id}
		return out
	}
	out.Roles = slices.Clone(actor.Roles)
	out.Identities = slices.Clone(actor.Identities)
	if id != out.ID {
		out.Identities = append(out.Identities, id)
	}
	for _, set := range sets {
		for _, other := range set.Accounts {
			if theirs, named := r.owners[other]; (!named || theirs == owner) && r.entitled(owner, other, set) {
				out.Identities = append(out.Identities, other)
			}
		}
	}
	slices.Sort(out.Identities)
	out.Identities = slices.Compact(out.Identities)
	return out
}

// stranger is somebody whom the config does not name.
func stranger(id string, set set) approvals.Person {
	out := approvals.Person{ID: id, Identities: []string{id}}
	if len(set.Accounts) > 0 {
		out.ID = set.Accounts[0]
	}
	if set.left(id) {
		return out
	}
	for _, other := range set.Accounts {
		if other != id && !set.left(other) {
			out.Identities = append(out.Identities, other)
		}
	}
	slices.Sort(out.Identities)
	return out
}
