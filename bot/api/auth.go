package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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

// actor finds who sent a request, or says why nobody is known to.
func (k keyring) actor(r *http.Request) (bot.Actor, *Problem) {
	if len(k) == 0 {
		return bot.Actor{}, problem(actions.CodeUnauthenticated,
			"No tokens are configured, so nobody can use the API. Make a token (`openssl rand -hex 24`), put its SHA-256 under `tokens` in Berth's config and start it again.")
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return bot.Actor{}, problem(actions.CodeUnauthenticated, "This needs a token: send `Authorization: Bearer TOKEN`, or run `berth login`.")
	}
	if len(r.Header.Values("Authorization")) > 1 {
		return bot.Actor{}, problem(actions.CodeUnauthenticated, "There are several Authorization headers; send one, so that it is plain who asks.")
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(token) == "" {
		return bot.Actor{}, problem(actions.CodeUnauthenticated, "The Authorization header must be `Bearer TOKEN`.")
	}
	actor, ok := k[sha256.Sum256([]byte(strings.TrimSpace(token)))]
	if !ok {
		return bot.Actor{}, problem(actions.CodeUnauthenticated, "That token is not known here. Somebody who keeps Berth's config can add its SHA-256 under `tokens`.")
	}
	return actor, nil
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
		actor, refusal := a.keys.Load().actor(r)
		if refusal != nil {
			w.Header().Set("WWW-Authenticate", `Bearer realm="berth"`)
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
