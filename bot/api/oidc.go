package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// MaxJWT is how many bytes a signed token may have. Those of large companies,
	// with all groups of a person in them, have some 8 KiB.
	MaxJWT = 16 << 10
	// clockLeeway is how far the clocks of an issuer and of Berth may be apart.
	clockLeeway = time.Minute
	// maxSubject is how long `sub` may be.
	// Source: https://openid.net/specs/openid-connect-core-1_0.html#IDToken
	maxSubject = 255
	// ClaimEmail is the claim that names people unless the config says another.
	ClaimEmail = "email"
	// oidcPrefix begins the identity of an account at an issuer.
	oidcPrefix = "oidc:"
)

// Issuer is an OpenID Connect provider whose word Berth takes for who somebody is.
type Issuer struct {
	URL      string // exactly as the tokens' `iss` says it
	Audience string // what must be among the tokens' `aud`
	Claim    string // which claim names the account; ClaimEmail when empty
	// Domains are those after the "@" that this issuer alone speaks for, and the
	// only ones that it does; none means those that no other issuer lists.
	Domains []string
}

// Pins remembers which account a name belonged to first. *people.People is one.
type Pins interface {
	// Pin returns CodeForbidden when another account than number has a name to
	// which rights are given, and CodeUnavailable when nobody knows just now.
	Pin(ctx context.Context, identity, number string) error
}

// provider is an issuer with its keys.
type provider struct {
	Issuer
	keys      *keySet
	elsewhere []string // the domains that other issuers speak for
}

// SetIssuers makes these the issuers whose tokens are taken from now on. Keys
// that were read from those that stay are kept.
func (a *API) SetIssuers(issuers []Issuer) {
	was := *a.issuers.Load()
	now := make(map[string]*provider, len(issuers))
	for _, i := range issuers {
		if i.Claim == "" {
			i.Claim = ClaimEmail
		}
		p := &provider{Issuer: i}
		for _, other := range issuers {
			if other.URL != i.URL {
				p.elsewhere = append(p.elsewhere, other.Domains...)
			}
		}
		if old := was[i.URL]; old != nil {
			p.keys = old.keys
		} else {
			p.keys = a.newKeySet(i.URL)
		}
		now[i.URL] = p
	}
	a.issuers.Store(&now)
}

// looksSigned tells whether a bearer token could be a JWT: three parts with
// dots between them.
func looksSigned(token string) bool { return strings.Count(token, ".") == 2 }

// signedIn is whom a signed token stands for. Its error is a Problem, or what
// pinning or looking the person up returned.
func (a *API) signedIn(ctx context.Context, raw string) (bot.Actor, error) {
	if len(raw) > MaxJWT {
		return bot.Actor{}, problem(actions.CodeUnauthenticated, fmt.Sprintf("That token is longer than %d KiB; ask its issuer for one with fewer claims.", MaxJWT>>10))
	}
	// What the token says is only used to choose the issuer whose keys decide,
	// and to tell an expired one without asking anybody.
	said, ok := unverified(raw)
	if !ok {
		return bot.Actor{}, problem(actions.CodeUnauthenticated, "That token is neither known here nor one that an issuer has signed. Copy it again, or run `berth login`.")
	}
	from := (*a.issuers.Load())[said.text("iss")]
	if from == nil {
		return bot.Actor{}, problem(actions.CodeUnauthenticated, "That token is from an issuer whose word is not taken here. Somebody who keeps Berth's config can add the issuer under `oidc`.")
	}
	if refusal := said.inTime(a.now()); refusal != nil {
		return bot.Actor{}, refusal
	}
	claims, refusal := from.verify(ctx, raw, a.now)
	if refusal != nil {
		return bot.Actor{}, refusal
	}
	name, refusal := from.name(claims)
	if refusal != nil {
		return bot.Actor{}, refusal
	}
	actor := bot.Actor{Name: name, Identity: oidcPrefix + name}
	if a.pins != nil {
		if err := a.pins.Pin(ctx, actor.Identity, from.URL+" "+claims.text("sub")); err != nil {
			return bot.Actor{}, err
		}
	}
	return a.service.Identify(ctx, actor)
}

// verify is what a token says, once the issuer's signature, its audience and its
// times are right.
func (p *provider) verify(ctx context.Context, raw string, now func() time.Time) (claims, *Problem) {
	keys := &heard{set: p.keys}
	// The times are looked at below, with the leeway of Berth in both directions.
	token, err := oidc.NewVerifier(p.URL, keys, &oidc.Config{
		ClientID: p.Audience, SupportedSigningAlgs: algorithmNames, SkipExpiryCheck: true, Now: now,
	}).Verify(ctx, raw)
	switch {
	case keys.away != nil:
		return nil, problem(actions.CodeUnavailable, "The issuer of that token, "+p.URL+", does not answer as it should, so nobody can tell whether the token is right. Try again in a moment; Berth's log says more.")
	case err != nil && keys.right:
		return nil, problem(actions.CodeUnauthenticated, "That token was not made for Berth: its audience must be "+p.Audience+". Ask its issuer for one for that audience.")
	case err != nil:
		return nil, problem(actions.CodeUnauthenticated, "That token is not signed by "+p.URL+" as it stands. Sign in again for a new one.")
	}
	var said claims
	if err := token.Claims(&said); err != nil || said.text("iss") != p.URL || !said.audience(p.Audience) {
		return nil, problem(actions.CodeUnauthenticated, "That token does not say whom it is for. Sign in again for a new one.")
	}
	if refusal := said.inTime(now()); refusal != nil {
		return nil, refusal
	}
	if sub := said.text("sub"); sub == "" || len(sub) > maxSubject {
		return nil, problem(actions.CodeUnauthenticated, "That token names no account (claim `sub`), so it stands for nobody here.")
	}
	if said["events"] != nil { // a logout token, which is signed by the same keys
		return nil, problem(actions.CodeUnauthenticated, "That token tells of an event and stands for nobody. Sign in again for a new one.")
	}
	return said, nil
}

// namePattern is what an account may be called: what addresses of mail and
// subjects are made of. Letters that only look alike are not among them.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._@+|:/='~-]{0,199}$`)

// name is what the account is called, if the issuer may say so.
func (p *provider) name(said claims) (string, *Problem) {
	name := said.text(p.Claim)
	if !namePattern.MatchString(name) {
		return "", problem(actions.CodeUnauthenticated, fmt.Sprintf("That token names nobody: Berth looks for the claim %q, and finds nothing in it that can be a name. Ask the issuer for a token with it (for an address, the scope `email`).", p.Claim))
	}
	if p.Claim == ClaimEmail && !said.verified() {
		return "", problem(actions.CodeUnauthenticated, "The issuer says that the address in that token was not verified, so it stands for nobody here. Verify the address there, and sign in again.")
	}
	at := strings.LastIndexByte(name, '@')
	if at >= 0 {
		name = strings.ToLower(name) // addresses are compared without case
	}
	domain := name[at+1:]
	if len(p.Domains) > 0 && (at < 0 || !slices.Contains(p.Domains, domain)) || at >= 0 && slices.Contains(p.elsewhere, domain) {
		return "", problem(actions.CodeForbidden, "The issuer "+p.URL+" does not speak for "+name+" here, as `domains` in Berth's config says. Sign in where that account belongs.")
	}
	return name, nil
}

// claims are what a token says. Names are compared with their case, unlike
// encoding/json does it for structs.
type claims map[string]json.RawMessage

// unverified reads what a token says of itself.
func unverified(raw string) (claims, bool) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, false
	}
	var said claims
	if json.Unmarshal(text, &said) != nil || said == nil {
		return nil, false
	}
	return said, true
}

// text is a claim that is a string, "" for any other.
func (c claims) text(name string) string {
	var s string
	_ = json.Unmarshal(c[name], &s) // what is no string is ""
	return s
}

// audience tells whether the token is for want: `aud` is a string or a list.
func (c claims) audience(want string) bool {
	var list []string
	if json.Unmarshal(c["aud"], &list) == nil {
		return slices.Contains(list, want)
	}
	return want != "" && c.text("aud") == want
}

// verified is false when the issuer says that it did not verify the address.
// Some issuers write the word, and some leave the claim out.
func (c claims) verified() bool {
	word, said := c["email_verified"]
	return !said || string(word) == `true` || string(word) == `"true"`
}

// at is a claim that is a time, in seconds since 1970; ok is false for none.
func (c claims) at(name string) (at time.Time, ok bool) {
	var seconds float64
	if c[name] == nil || json.Unmarshal(c[name], &seconds) != nil || seconds <= 0 || seconds > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}

// inTime refuses a token that is over or has not begun.
func (c claims) inTime(now time.Time) *Problem {
	ends, ok := c.at("exp")
	if !ok {
		return problem(actions.CodeUnauthenticated, "That token has no end (claim `exp`), and is not taken.")
	}
	if now.After(ends.Add(clockLeeway)) {
		return problem(actions.CodeUnauthenticated, "That token expired at "+ends.UTC().Format(time.RFC3339)+". Sign in again for a new one, and give it to `berth login` or BERTH_TOKEN.")
	}
	for _, name := range []string{"nbf", "iat"} {
		if c[name] == nil {
			continue
		}
		if begins, ok := c.at(name); !ok || begins.After(now.Add(clockLeeway)) {
			return problem(actions.CodeUnauthenticated, "That token does not count yet (claim `"+name+"`). If you have signed in just now, the clocks of its issuer and of Berth are apart.")
		}
	}
	return nil
}
