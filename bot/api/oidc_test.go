package api_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/bottest"
)

// provider is an OpenID Connect issuer on this machine.
type provider struct {
	t   *testing.T
	url string

	mu    sync.Mutex
	keys  []jose.JSONWebKey
	away  bool
	says  string // what its document says the issuer is, when not url
	asked int    // how often its keys were read
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{t: t}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case p.away:
		w.WriteHeader(http.StatusBadGateway)
	case r.URL.Path == "/.well-known/openid-configuration":
		issuer := p.url
		if p.says != "" {
			issuer = p.says
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": issuer, "jwks_uri": p.url + "/keys"})
	case r.URL.Path == "/keys":
		p.asked++
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: p.keys})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (p *provider) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *provider) looks() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// publish makes these the only keys that there are.
func (p *provider) publish(keys ...key) {
	p.change(func() {
		p.keys = nil
		for _, k := range keys {
			p.keys = append(p.keys, jose.JSONWebKey{Key: k.signer.Public(), KeyID: k.id, Use: "sig", Algorithm: string(k.alg)})
		}
	})
}

// key is one that an issuer signs with.
type key struct {
	id     string
	alg    jose.SignatureAlgorithm
	signer crypto.Signer
}

func newRSA(t *testing.T, id string) key {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key{id, jose.RS256, k}
}

func newECDSA(t *testing.T, id string) key {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{id, jose.ES256, k}
}

// sign makes a token of claims. One whose value is nil is left out.
func sign(t *testing.T, alg jose.SignatureAlgorithm, id string, with any, said map[string]any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT")
	if id != "" {
		options = options.WithHeader("kid", id)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: with}, options)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(said)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	out, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (k key) sign(t *testing.T, said map[string]any) string {
	t.Helper()
	return sign(t, k.alg, k.id, k.signer, said)
}

// clock is a time that a test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// trust is an API that takes the word of issuers, and one of them.
type trust struct {
	*server
	api      *api.API
	provider *provider
	rsa      key
	clock    *clock
}

func newTrust(t *testing.T, issuers ...api.Issuer) *trust {
	t.Helper()
	w := &trust{provider: newProvider(t), rsa: newRSA(t, "one"), clock: &clock{at: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}}
	w.provider.publish(w.rsa)
	w.server = &server{World: bottest.New(t, redistest.Client(t)), t: t}
	w.People.Reload([]bottest.Actor{{Name: "ana", Roles: []string{"sre"}, Identities: []string{"oidc:Ana@x.org", "github:ana"}}}, nil)
	if issuers == nil {
		issuers = []api.Issuer{{URL: w.provider.url, Audience: "berth"}}
	}
	var err error
	w.api, err = api.New(api.Options{
		Service: w.Service, Pins: w.People, Now: w.clock.now, Issuers: issuers,
		Tokens: []api.Token{{Actor: "ci", SHA256: hashed("a.known.token"), Roles: []string{"deployer"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(w.api)
	t.Cleanup(ts.Close)
	w.url = ts.URL
	return w
}

// ana are the claims of a good token, with some of them others.
func (w *trust) ana(others map[string]any) map[string]any {
	said := map[string]any{
		"iss": w.provider.url, "aud": "berth", "sub": "4711", "email": "Ana@X.org", "email_verified": true,
		"iat": w.clock.now().Unix(), "exp": w.clock.now().Add(time.Hour).Unix(),
	}
	maps.Copy(said, others)
	for name, value := range said {
		if value == nil {
			delete(said, name)
		}
	}
	return said
}

// status asks something that needs a role.
func (w *trust) status(token string) int {
	w.t.Helper()
	return w.raw(http.MethodGet, "/api/v1/environments", token, nil, nil).status
}

func (w *trust) want(status int, token, what string) {
	w.t.Helper()
	if a := w.raw(http.MethodGet, "/api/v1/environments", token, nil, nil); a.status != status {
		w.t.Errorf("%s is answered %d, want %d: %s", what, a.status, status, a.body)
	}
}

func TestWhoSignedInIsThePersonOfTheConfig(t *testing.T) {
	w := newTrust(t)
	var who api.Actor
	a := w.raw(http.MethodGet, "/api/v1/actor", w.rsa.sign(t, w.ana(nil)), nil, nil)
	if err := json.Unmarshal(a.body, &who); err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	if who.ID != "actor:ana" || who.Actor != "ana" || who.Identity != "oidc:ana@x.org" || len(who.Roles) != 1 || who.Roles[0] != "sre" {
		t.Errorf("it is %+v", who)
	}
	w.want(http.StatusOK, "a.known.token", "a configured token that only looks signed")
	if n := w.provider.looks(); n != 1 {
		t.Errorf("the keys were read %d times", n)
	}
}

func TestTokensThatAreNotTaken(t *testing.T) {
	w := newTrust(t)
	other := newProvider(t)
	stranger := newRSA(t, "one")
	public, err := x509.MarshalPKIXPublicKey(w.rsa.signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	good := w.rsa.sign(t, w.ana(nil))
	parts := strings.Split(good, ".")
	text := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	claims := func(others map[string]any) string { return w.rsa.sign(t, w.ana(others)) }
	now := w.clock.now()
	tests := map[string]struct {
		token string
		says  string
	}{
		"one without a signature":                   {text(map[string]string{"alg": "none"}) + "." + parts[1] + ".", "not signed"},
		"one that says it needs none":               {text(map[string]string{"alg": "none"}) + "." + parts[1] + "." + parts[2], "not signed"},
		"one signed with the public key's text":     {sign(t, jose.HS256, "one", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), w.ana(nil)), "not signed"},
		"one signed with the public key's bytes":    {sign(t, jose.HS256, "", public, w.ana(nil)), "not signed"},
		"one of another audience":                   {claims(map[string]any{"aud": "grafana"}), "audience"},
		"one of several audiences, none of them us": {claims(map[string]any{"aud": []string{"a", "b"}}), "audience"},
		"one without an audience":                   {claims(map[string]any{"aud": nil}), "audience"},
		"one of an issuer that is not configured":   {claims(map[string]any{"iss": other.url}), "issuer whose word is not taken"},
		"one of an issuer with a slash more":        {claims(map[string]any{"iss": w.provider.url + "/"}), "issuer whose word is not taken"},
		"one that says no issuer":                   {claims(map[string]any{"iss": nil}), "issuer whose word is not taken"},
		"an expired one":                            {claims(map[string]any{"exp": now.Add(-2 * time.Minute).Unix()}), "Sign in again"},
		"one that never expires":                    {claims(map[string]any{"exp": nil}), "no end"},
		"one that expires in words":                 {claims(map[string]any{"exp": "tomorrow"}), "no end"},
		"one of tomorrow":                           {claims(map[string]any{"nbf": now.Add(24 * time.Hour).Unix()}), "does not count yet"},
		"one that was made in the future":           {claims(map[string]any{"iat": now.Add(5 * time.Minute).Unix()}), "does not count yet"},
		"one whose claims were changed":             {parts[0] + "." + text(w.ana(map[string]any{"email": "boss@x.org"})) + "." + parts[2], "not signed"},
		"one whose signature was cut":               {good[:len(good)-20], "not signed"},
		"one of a key nobody has published":         {newRSA(t, "two").sign(t, w.ana(nil)), "not signed"},
		"one of another key by the same name":       {stranger.sign(t, w.ana(nil)), "not signed"},
		"one of another key without a name":         {sign(t, jose.RS256, "", stranger.signer, w.ana(nil)), "not signed"},
		"one with another algorithm than the key's": {sign(t, jose.PS256, "one", w.rsa.signer, w.ana(nil)), "not signed"},
		"a huge one":                           {claims(map[string]any{"groups": strings.Repeat("g", api.MaxJWT)}), "longer than"},
		"one without a subject":                {claims(map[string]any{"sub": nil}), "names no account"},
		"one with an endless subject":          {claims(map[string]any{"sub": strings.Repeat("s", 256)}), "names no account"},
		"one without an address":               {claims(map[string]any{"email": nil}), "names nobody"},
		"one whose address is a list":          {claims(map[string]any{"email": []string{"ana@x.org"}}), "names nobody"},
		"one whose address has a line in it":   {claims(map[string]any{"email": "ana@x.org\n**boss**"}), "names nobody"},
		"one whose address looks like ana's":   {claims(map[string]any{"email": "аna@x.org"}), "names nobody"},
		"one whose address was not verified":   {claims(map[string]any{"email_verified": false}), "not verified"},
		"one whose address was not, in a word": {claims(map[string]any{"email_verified": "false"}), "not verified"},
		"one that tells of a logout":           {claims(map[string]any{"events": map[string]any{}}), "event"},
		"two dots":                             {"..", "neither known"},
		"three words":                          {"not.a.token", "neither known"},
		"one of four parts":                    {good + ".x", "not known here"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := w.raw(http.MethodGet, "/api/v1/environments", test.token, nil, nil)
			if a.status != http.StatusUnauthorized || !strings.Contains(string(a.body), test.says) {
				t.Errorf("it is answered %d %s, want 401 and %q", a.status, a.body, test.says)
			}
			if a.header.Get("WWW-Authenticate") == "" {
				t.Error("the answer does not say how to authenticate")
			}
		})
	}
	if n := w.provider.looks(); n > 1 {
		t.Errorf("tokens of strangers had the keys read %d times within one moment", n)
	}
	w.want(http.StatusOK, good, "the good one, after all of these,")
}

func TestTokensThatAreTaken(t *testing.T) {
	w := newTrust(t)
	ec := newECDSA(t, "curve")
	w.provider.publish(w.rsa, ec)
	now := w.clock.now()
	for name, token := range map[string]string{
		"one signed with an elliptic curve":           ec.sign(t, w.ana(nil)),
		"one that names no key":                       sign(t, jose.RS256, "", w.rsa.signer, w.ana(nil)),
		"one of several audiences":                    w.rsa.sign(t, w.ana(map[string]any{"aud": []string{"grafana", "berth"}})),
		"one over by less than clocks are apart":      w.rsa.sign(t, w.ana(map[string]any{"exp": now.Add(-30 * time.Second).Unix()})),
		"one begun by less than clocks are apart":     w.rsa.sign(t, w.ana(map[string]any{"nbf": now.Add(30 * time.Second).Unix()})),
		"one that does not say whether it is checked": w.rsa.sign(t, w.ana(map[string]any{"email_verified": nil})),
		"one that says so in a word":                  w.rsa.sign(t, w.ana(map[string]any{"email_verified": "true"})),
	} {
		t.Run(name, func(t *testing.T) {
			if got := w.status(token); got != http.StatusOK {
				t.Errorf("it is answered %d", got)
			}
		})
	}
}

func TestAnIssuerChangesItsKeys(t *testing.T) {
	w := newTrust(t)
	old := w.rsa.sign(t, w.ana(map[string]any{"exp": w.clock.now().Add(5 * time.Hour).Unix()}))
	w.want(http.StatusOK, old, "a token of the first key")
	next := newECDSA(t, "next")
	w.provider.publish(next)
	w.clock.pass(time.Minute)
	w.want(http.StatusOK, next.sign(t, w.ana(nil)), "a token of the next key")
	w.want(http.StatusUnauthorized, old, "a token of the key that was withdrawn")

	w.provider.publish(w.rsa)
	w.clock.pass(30 * time.Minute)
	w.want(http.StatusOK, next.sign(t, w.ana(nil)), "a token of a key withdrawn less than an hour ago")
	w.clock.pass(time.Hour)
	w.want(http.StatusUnauthorized, next.sign(t, w.ana(nil)), "a token of a key withdrawn an hour ago")
}

func TestAnIssuerIsAway(t *testing.T) {
	w := newTrust(t)
	good := w.rsa.sign(t, w.ana(map[string]any{"exp": w.clock.now().Add(5 * time.Hour).Unix()}))
	w.provider.change(func() { w.provider.away = true })
	a := w.raw(http.MethodGet, "/api/v1/environments", good, nil, nil)
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), w.provider.url) {
		t.Errorf("while it is away: %d %v %s", a.status, a.header, a.body)
	}
	w.want(http.StatusOK, "a.known.token", "a configured token meanwhile")
	w.want(http.StatusUnauthorized, w.rsa.sign(t, w.ana(map[string]any{"exp": 1})), "an expired one meanwhile")

	w.provider.change(func() { w.provider.away = false })
	w.clock.pass(10 * time.Second)
	w.want(http.StatusOK, good, "when it is back, a good token")
	w.provider.change(func() { w.provider.away = true })
	w.clock.pass(30 * time.Minute)
	w.want(http.StatusOK, good, "while its keys are known, a good token")
	w.want(http.StatusServiceUnavailable, newRSA(t, "new").sign(t, w.ana(nil)), "one of a key that might be new")
	w.clock.pass(time.Hour)
	w.want(http.StatusServiceUnavailable, good, "an hour later, a good token")

	w.provider.change(func() { w.provider.away, w.provider.says = false, "https://elsewhere.example.org" })
	w.clock.pass(time.Minute)
	w.want(http.StatusServiceUnavailable, good, "while another issuer answers there, a good token")
}

func TestAnAddressThatChangedHandsIsNotInherited(t *testing.T) {
	w := newTrust(t)
	w.want(http.StatusOK, w.rsa.sign(t, w.ana(nil)), "ana")
	newcomer := w.raw(http.MethodGet, "/api/v1/environments", w.rsa.sign(t, w.ana(map[string]any{"sub": "4712"})), nil, nil)
	if newcomer.status != http.StatusForbidden || strings.Contains(string(newcomer.body), "4711") {
		t.Errorf("the newcomer is answered %d %s", newcomer.status, newcomer.body)
	}
	w.want(http.StatusOK, w.rsa.sign(t, w.ana(nil)), "ana again")
}

func TestWhoHasNoRoleSeesNothingAndCanBeLinked(t *testing.T) {
	w := newTrust(t)
	token := w.rsa.sign(t, w.ana(map[string]any{"sub": "1", "email": "ana@home.org"}))
	a := w.raw(http.MethodGet, "/api/v1/environments", token, nil, nil)
	if a.status != http.StatusForbidden || !strings.Contains(string(a.body), "under `actors`") {
		t.Fatalf("without a role: %d %s", a.status, a.body)
	}
	if got := w.raw(http.MethodGet, "/api/v1/actor", token, nil, nil).status; got != http.StatusOK {
		t.Errorf("who am I is answered %d", got)
	}
	say := func(token, line string) answer {
		return w.raw(http.MethodPost, "/api/v1/commands", token, map[string]string{"command": line}, nil)
	}
	if got := say(token, "list").status; got != http.StatusForbidden {
		t.Errorf("a command without a role is answered %d", got)
	}
	ana := w.rsa.sign(t, w.ana(nil))
	answer := string(say(ana, "link oidc:ana@home.org").body)
	_, rest, found := strings.Cut(answer, "berth link ")
	code, _, _ := strings.Cut(rest, "`")
	if !found {
		t.Fatalf("no code came: %s", answer)
	}
	if a := say(token, "link "+code); a.status >= 300 {
		t.Fatalf("the code is answered %d %s", a.status, a.body)
	}
	w.want(http.StatusOK, token, "the linked account")
	w.want(http.StatusForbidden, w.rsa.sign(t, w.ana(map[string]any{"sub": "2", "email": "ana@home.org"})), "somebody with its address later")
}

func TestIssuersSpeakForTheirOwnDomains(t *testing.T) {
	w := newTrust(t)
	second, key := newProvider(t), newECDSA(t, "second")
	second.publish(key)
	w.api.SetIssuers([]api.Issuer{
		{URL: w.provider.url, Audience: "berth", Domains: []string{"x.org"}},
		{URL: second.url, Audience: "berth", Claim: "upn"},
	})
	theirs := func(name string) string {
		return key.sign(t, w.ana(map[string]any{"iss": second.url, "upn": name, "sub": "9"}))
	}
	w.want(http.StatusForbidden, theirs("ana@x.org"), "ana by the issuer of somebody else")
	w.want(http.StatusForbidden, theirs("ANA@X.ORG"), "ana in capitals by the issuer of somebody else")
	w.want(http.StatusForbidden, w.rsa.sign(t, w.ana(map[string]any{"email": "bo@y.org"})), "an address of another domain")
	w.want(http.StatusOK, w.rsa.sign(t, w.ana(nil)), "ana by her issuer")
	if a := w.raw(http.MethodGet, "/api/v1/actor", theirs("bo@y.org"), nil, nil); a.status != http.StatusOK || !strings.Contains(string(a.body), "oidc:bo@y.org") {
		t.Errorf("bo is answered %d %s", a.status, a.body)
	}
	w.api.SetIssuers(nil)
	w.want(http.StatusUnauthorized, w.rsa.sign(t, w.ana(nil)), "ana once no issuer is configured")
}

// FuzzBearer holds that nothing but a token which is known or signed lets
// anybody in, and that whatever else comes is answered.
func FuzzBearer(f *testing.F) {
	handler, err := api.New(api.Options{
		Issuers: []api.Issuer{{URL: "http://127.0.0.1:1", Audience: "berth"}},
		Tokens:  []api.Token{{Actor: "ci", SHA256: hashed("known")}},
	})
	if err != nil {
		f.Fatal(err)
	}
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	said := part(`{"iss":"http://127.0.0.1:1","aud":"berth","sub":"1","email":"a@b.c","exp":99999999999}`)
	for _, s := range []string{
		"", "Bearer", "Bearer x", "Basic a.b.c", "Bearer a.b.c", "bearer ..", "Bearer " + part(`{"alg":"none"}`) + "." + said + ".",
		"Bearer " + part(`{"alg":"RS256"}`) + "." + said + ".AAAA", "Bearer " + part(`{"alg":"ES256","kid":"x"}`) + "." + part(`{"exp":1e400}`) + ".AAAA",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest(http.MethodGet, "/api/v1/apps", nil)
		r.Header["Authorization"] = []string{header}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized && w.Code != http.StatusServiceUnavailable {
			t.Fatalf("%q is answered %d", header, w.Code)
		}
	})
}
