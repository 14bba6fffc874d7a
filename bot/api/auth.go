package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// Token lets whoever has it act as Actor. The token itself is nowhere kept.
type Token struct {
	Actor  string
	SHA256 string // of the token, 64 hex digits
	Roles  []string
}

// keyring finds actors by the hash of what they sent. Since the hash, and not
// the token, is looked up, the time it takes tells nothing about any token.
type keyring map[[sha256.Size]byte]bot.Actor

func newKeyring(tokens []Token) (keyring, error) {
	ring := make(keyring, len(tokens))
	for _, t := range tokens {
		raw, err := hex.DecodeString(t.SHA256)
		if err != nil || len(raw) != sha256.Size {
			return nil, actions.Errorf("api.tokens", actions.CodeInvalid, "The token of %q needs `sha256`: 64 hex digits, as `printf %%s TOKEN | sha256sum` prints them.", t.Actor)
		}
		ring[[sha256.Size]byte(raw)] = bot.Actor{Name: t.Actor, Identity: "token:" + t.Actor, Roles: t.Roles}
	}
	return ring, nil
}

// bearer is the token that a request came with, or says why there is none.
func bearer(r *http.Request) (string, *Problem) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", problem(actions.CodeUnauthenticated, "This needs a token: send `Authorization: Bearer TOKEN`, or run `berth login`.")
	}
	if len(r.Header.Values("Authorization")) > 1 {
		return "", problem(actions.CodeUnauthenticated, "There are several Authorization headers; send one, so that it is plain who asks.")
	}
	scheme, token, _ := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", problem(actions.CodeUnauthenticated, "The Authorization header must be `Bearer TOKEN`.")
	}
	return token, nil
}

// actor finds who sent a request. Its error says why nobody is known to, or
// what kept Berth from finding out.
func (a *API) actor(r *http.Request) (bot.Actor, error) {
	keys, issuers := *a.keys.Load(), *a.issuers.Load()
	if len(keys) == 0 && len(issuers) == 0 {
		return bot.Actor{}, problem(actions.CodeUnauthenticated,
			"No tokens are configured, so nobody can use the API. Make a token (`openssl rand -hex 24`), put its SHA-256 under `tokens` in Berth's config, or name an issuer to sign in at under `oidc`.")
	}
	token, refusal := bearer(r)
	if refusal != nil {
		return bot.Actor{}, refusal
	}
	if actor, ok := keys[sha256.Sum256([]byte(token))]; ok {
		return actor, nil
	}
	if len(issuers) == 0 || !looksSigned(token) {
		return bot.Actor{}, problem(actions.CodeUnauthenticated, "That token is not known here. Somebody who keeps Berth's config can add its SHA-256 under `tokens`.")
	}
	actor, err := a.signedIn(r.Context(), token)
	if err == nil && len(actor.Roles) == 0 && !forStrangers(r) {
		err = problem(actions.CodeForbidden, actor.Identity+" has no role here, so nothing was done; somebody who keeps Berth's config can give you one under `actors`, and whoever has one can link this account: `berth link "+actor.Identity+"`.")
	}
	return actor, err
}

// forStrangers tells whether a request may be made by whoever an issuer has an
// account for, without any role: to see who one is, and to link the account by a
// code. Every other command is refused by the core.
func forStrangers(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path == "/api/v1/actor" || r.Method == http.MethodPost && r.URL.Path == "/api/v1/commands"
}

// caller is who asks and from where.
type caller struct {
	actor bot.Actor
	place approvals.Place
}

type callerKey struct{}

// from is the caller that authenticate put into the context.
func from(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// authenticate lets only callers with a token through.
func (a *API) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		actor, err := a.actor(r)
		if err != nil {
			refusal := problemOf(err)
			_, told := errors.AsType[*Problem](err) // and logged where it arose, once and not for each call
			switch {
			case refusal.Status == http.StatusUnauthorized:
				w.Header().Set("WWW-Authenticate", `Bearer realm="berth"`)
			case refusal.Status >= 500 && r.Context().Err() == nil && !told:
				a.log.WarnContext(r.Context(), "nobody can tell who asks", "error", err)
			}
			refusal.write(w)
			return
		}
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		surface := "api"
		if strings.HasPrefix(r.UserAgent(), CLIAgent+"/") {
			surface = "cli"
		}
		c := caller{actor: actor, place: approvals.Place{Surface: surface, Address: host}}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

// CLIAgent is the product in the User-Agent of Berth's own command line, whose
// requests are recorded and answered as typed there.
const CLIAgent = "berth-cli"

// key makes an Idempotency-Key the caller's own, so that nobody meets the
// request of somebody else by it.
func (c caller) key(header string) string {
	if header == "" {
		return ""
	}
	return fmt.Sprintf("api:%s:%s", c.actor.Identity, header)
}
