package githubtest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Token is an access token that the server accepts.
type Token struct {
	Value string
	User  string // whose token it is; made if unknown
	// Scopes make it a classic token: "repo", "public_repo", "repo:status",
	// "repo_deployment", "admin:repo_hook", "read:org" and so on.
	Scopes []string
	// Permissions make it a fine-grained one, such as {"issues": "write"}.
	// They win over Scopes.
	Permissions map[string]string
	// Repos are the repositories that a fine-grained token is for; nil is all.
	Repos []string
	// Expires is when it stops to work; zero is never.
	Expires time.Time
}

// AddToken lets requests with the token in; one of the same value is replaced.
func (s *Server) AddToken(t Token) error {
	if t.Value == "" || t.User == "" {
		return errors.New("githubtest: a token needs a value and a user")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	who := &caller{user: s.account(t.User), scopes: t.Scopes, permissions: t.Permissions, repos: t.Repos, expires: t.Expires}
	who.key = "user/" + who.user.login
	s.tokens[t.Value] = who
	return nil
}

// RevokeToken makes the token's next request fail with 401.
func (s *Server) RevokeToken(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, value)
}

// caller is who sends a request, and what the token allows.
type caller struct {
	key          string // whose rate limit it uses
	user         *account
	app          bool // signed in with the App's JWT
	installation *installation
	scopes       []string
	permissions  map[string]string // nil for a classic token
	repos        []string          // nil is all that the user sees
	expires      time.Time
}

func (c *caller) anonymous() bool { return c.user == nil && !c.app }

func (c *caller) name() string {
	switch {
	case c.app:
		return c.key
	case c.user != nil:
		return c.user.login
	}
	return ""
}

// viaApp says whether what the caller makes is shown as the App's.
func (c *caller) viaApp() bool { return c.installation != nil }

// allows says whether a fine-grained or installation token has a permission.
func (c *caller) allows(permission, level string) bool {
	has := c.permissions[permission]
	return has == "admin" || has == "write" || (has == "read" && level == "read")
}

func (c *caller) hasScope(scopes ...string) bool {
	return slices.ContainsFunc(scopes, func(scope string) bool { return slices.Contains(c.scopes, scope) })
}

// authenticate finds out who sends r. The reply is nil when that worked.
func (s *Server) authenticate(r *http.Request) (*caller, *reply) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return &caller{key: "anonymous"}, nil
	}
	scheme, value, _ := strings.Cut(header, " ")
	if user, password, ok := r.BasicAuth(); ok {
		scheme, value = "basic", password
		if value == "" || value == "x-oauth-basic" {
			value = user
		}
	}
	bad := problem(http.StatusUnauthorized, "Bad credentials")
	switch strings.ToLower(scheme) {
	case "bearer", "token", "basic":
	default:
		return nil, bad
	}
	if strings.Count(value, ".") == 2 {
		if complaint := s.checkJWT(value); complaint != "" {
			return nil, problem(http.StatusUnauthorized, complaint)
		}
		return &caller{key: "app/" + s.opts.App.Slug, app: true}, nil
	}
	who, ok := s.tokens[value]
	if !ok || (!who.expires.IsZero() && !s.opts.Now().Before(who.expires)) {
		return nil, bad
	}
	return who, nil
}

// Limits of an App's JWT. Source:
// docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
const (
	jwtLongest = 10 * time.Minute
	jwtSkew    = 60 * time.Second
)

// checkJWT verifies an App's token. It returns what GitHub says is wrong with
// it, or nothing.
func (s *Server) checkJWT(token string) string {
	const undecodable = "A JSON web token could not be decoded"
	if s.opts.App == nil {
		return undecodable
	}
	parts := strings.Split(token, ".")
	var header struct{ Alg string }
	var claims struct {
		Iss json.RawMessage
		Iat *float64
		Exp *float64
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || decodePart(parts[0], &header) != nil || decodePart(parts[1], &claims) != nil || header.Alg != "RS256" {
		return undecodable
	}
	key, err := s.appKey()
	if err != nil {
		return err.Error()
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature) != nil {
		return undecodable
	}
	now := s.opts.Now()
	switch {
	case claims.Iat == nil || time.Unix(int64(*claims.Iat), 0).After(now.Add(jwtSkew)):
		return "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
	case claims.Exp == nil || !time.Unix(int64(*claims.Exp), 0).After(now):
		return "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
	case time.Unix(int64(*claims.Exp), 0).After(now.Add(jwtLongest + jwtSkew)):
		return "'Expiration time' claim ('exp') is too far in the future"
	}
	issuer := strings.Trim(string(claims.Iss), `"`)
	if issuer != fmt.Sprint(s.opts.App.ID) && issuer != s.opts.App.ClientID {
		return "'Issuer' claim ('iss') must be an Integer"
	}
	return ""
}

func decodePart(part string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

func encodeKey(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// sees says whether the caller may know that r exists.
func (c *caller) sees(r *repo) bool {
	if c.installation != nil {
		return !r.private || c.reaches(r)
	}
	if !r.private {
		return true
	}
	if c.user == nil || roleRank[r.role(c.user.login)] == 0 {
		return false
	}
	if c.permissions == nil {
		return c.hasScope("repo")
	}
	return c.reaches(r)
}

// reaches says whether the token is for r at all.
func (c *caller) reaches(r *repo) bool {
	if c.installation != nil && !c.installation.covers(r) {
		return false
	}
	return c.repos == nil || slices.ContainsFunc(c.repos, func(name string) bool {
		return strings.EqualFold(name, r.fullName())
	})
}

// authorize answers nil when the call is allowed; what GitHub says otherwise.
func (s *Server) authorize(rt *route, c *call) *reply {
	switch rt.auth {
	case byJWT:
		if !c.who.app {
			return problem(http.StatusUnauthorized, "A JSON web token could not be decoded")
		}
	case byInstallation:
		if c.who.installation == nil {
			return problem(http.StatusForbidden, "You must authenticate with an installation access token in order to list repositories for an installation.")
		}
	case byUser:
		if c.who.user == nil {
			return problem(http.StatusUnauthorized, "Requires authentication")
		}
		if c.who.installation != nil {
			return problem(http.StatusForbidden, "Resource not accessible by integration")
		}
	case byToken:
		if c.who.app {
			return problem(http.StatusUnauthorized, "Bad credentials")
		}
	}
	if c.params["repo"] == "" {
		return nil
	}
	c.repo = s.repos[strings.ToLower(c.params["owner"]+"/"+c.params["repo"])]
	if rt.auth == byJWT {
		if c.repo == nil {
			return notFound()
		}
		return nil
	}
	if c.repo == nil || !c.who.sees(c.repo) {
		return notFound()
	}
	return s.authorizeRepo(rt, c)
}

func (s *Server) authorizeRepo(rt *route, c *call) *reply {
	who := c.who
	if rt.level == "" || (rt.level == "read" && !c.repo.private && rt.role == "") {
		return nil
	}
	if who.anonymous() {
		if rt.level == "write" {
			return problem(http.StatusUnauthorized, "Requires authentication")
		}
		return notFound()
	}
	if who.permissions != nil {
		allowed := who.reaches(c.repo) && slices.ContainsFunc(rt.permissions, func(p string) bool {
			return who.allows(p, rt.level)
		})
		if !allowed {
			if who.installation != nil {
				return problem(http.StatusForbidden, "Resource not accessible by integration")
			}
			return problem(http.StatusForbidden, "Resource not accessible by personal access token")
		}
	} else {
		wanted := append([]string{"repo"}, rt.scopes...)
		if !c.repo.private {
			wanted = append(wanted, "public_repo")
		}
		if !who.hasScope(wanted...) {
			return notFound()
		}
	}
	if who.installation != nil {
		return nil
	}
	if rt.appOnly {
		return problem(http.StatusForbidden, "You must authenticate via a GitHub App.")
	}
	if roleRank[c.repo.role(who.user.login)] < roleRank[rt.role] {
		if rt.level == "read" {
			return notFound()
		}
		return problem(http.StatusForbidden, "Must have push access to repository")
	}
	return nil
}
